"""Ranks that would read other text, or read it otherwise, do not train together."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import ranks

from danlu.corpus.store import TokenStore
from danlu.errors import InputError
from danlu.nn.families import GPT
from danlu.optim.adamw import AdamW
from danlu.parallel.joining import joined
from danlu.parallel.patience import Watch
from danlu.parallel.world import read_world
from danlu.tokenizers.vocabulary import Vocabulary
from danlu.train.budget import Budget
from danlu.train.pretrain import Pretrain
from danlu.train.setup import set_up


def store() -> TokenStore:
    """20 documents of 9 tokens."""
    generator = np.random.default_rng(3)
    tokens = np.zeros(201, dtype=np.int64)
    for document in range(20):
        tokens[document * 10 + 1 : document * 10 + 10] = generator.integers(1, 16, 9)
    documents = [{"id": str(number), "language": "en", "bytes": 9, "source": "a"} for number in range(20)]
    return TokenStore(tokens, np.arange(0, 201, 10), documents, vocab_size=16, eot=0)


def prepare(otherwise: str) -> str:
    """What the last of two ranks is told, which does something ``otherwise``."""
    world = read_world(os.environ)
    assert world is not None
    text, vocabulary = store(), replace(Vocabulary.bare(16, 0), tokens="a hash")
    if world.rank == 1 and otherwise == "tokenizer":
        vocabulary = replace(vocabulary, tokens="another")
    if world.rank == 1 and otherwise == "roles":
        vocabulary = replace(vocabulary, roles={**vocabulary.roles, "bos": 5})
    if world.rank == 1 and otherwise == "documents":
        text.documents[7]["source"] = "b"  # type: ignore[index]
    if world.rank == 1 and otherwise == "tokens":
        text.tokens[text.tokens == 5] = 6
    settings: dict[str, Any] = {"model": GPT(layers=1, dim=16, heads=1), "optimizer": AdamW(), "sequence": 16}
    recipe = Pretrain(**settings, budget=Budget(steps=4), batch=4, precision="fp32", compile="off")
    with joined(world, Watch()):
        try:
            set_up(recipe, text, vocabulary=vocabulary, seed=3)
        except InputError as error:
            return str(error)
        return "good"


OTHERWISE = {
    "nothing": "good",
    "tokenizer": "has another tokenizer than rank 0",
    "roles": "has another tokenizer than rank 0",
    "documents": "reads other documents than rank 0",
    "tokens": "makes other rows of the same documents than rank 0",
}


@pytest.mark.cluster
@pytest.mark.parametrize("otherwise", OTHERWISE)
def test_what_a_rank_has_otherwise_is_refused(otherwise: str) -> None:
    told = ranks.run(prepare, 2, otherwise)
    assert told[0] == told[1]
    if otherwise == "nothing":
        assert told[0] == "good"
    else:
        assert told[0].startswith("rank 1 (host ")
        assert told[0].endswith(f"{OTHERWISE[otherwise]}: all ranks need the same files and libraries")
