"""What a tokenizer's tokens are for, for those that others made; ``test_special.py`` has those trained here."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tokenizers
import transformers
from tokenizers import models, pre_tokenizers

from danlu.tokenizers.tokenizer import Tokenizer
from danlu.tokenizers.vocabulary import Vocabulary


@pytest.mark.parametrize("kind", ["WordPiece", "Unigram", "byte fallback", "byte level"])
def test_roles_are_those_of_transformers(kinds: dict[str, Path], kind: str) -> None:
    stock = transformers.AutoTokenizer.from_pretrained(kinds[kind])
    tokenizer = Tokenizer.load(kinds[kind])
    vocabulary = Vocabulary.of(tokenizer)
    for role in ("bos", "eos", "unk", "sep", "pad", "cls", "mask"):
        assert vocabulary.roles.get(role) == getattr(stock, f"{role}_token_id")
    assert vocabulary.eot == tokenizer.eot == (stock.sep_token_id if kind == "WordPiece" else stock.eos_token_id)
    assert vocabulary.size == len(stock)
    assert set(stock.all_special_ids) <= set(vocabulary.special.tolist())
    assert vocabulary.special.dtype == vocabulary.ordinary.dtype == np.int64
    assert not set(vocabulary.special) & set(vocabulary.ordinary)
    assert vocabulary.sentinels == ()


def test_sentinels_of_t5_go_downwards(tmp_path: Path) -> None:
    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁a", -1.0), ("b", -2.0)]
    pieces += [(f"<extra_id_{number}>", 0.0) for number in (3, 2, 1, 0)]  # as google/t5-v1_1-small has them
    stock = transformers.T5Tokenizer(vocab=pieces, extra_ids=4)
    stock.save_pretrained(tmp_path)
    vocabulary = Vocabulary.of(Tokenizer.load(tmp_path))
    ids = [stock.convert_tokens_to_ids(f"<extra_id_{number}>") for number in range(4)]
    assert vocabulary.sentinels == tuple(ids)
    assert ids == sorted(ids, reverse=True)
    assert vocabulary.ordinary.tolist() == [3, 4]


def test_rows_that_are_kept_free_are_no_text(tmp_path: Path) -> None:
    tokens = ["[PAD]", "[unused0]", "[unused1]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "##b"]
    (tmp_path / "vocab.txt").write_text("".join(f"{token}\n" for token in tokens))
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    (tmp_path / "tokenizer_config.json").write_text("{}")
    vocabulary = Vocabulary.of(Tokenizer.load(tmp_path))
    assert vocabulary.ordinary.tolist() == [7, 8]
    assert vocabulary.special.tolist() == [0, 3, 4, 5, 6]


@pytest.mark.parametrize("spelling", ["<|{}|>", "<{}>"])
def test_fill_in_the_middle_is_known_by_its_names(spelling: str) -> None:
    roles = ("fim_prefix", "fim_middle", "fim_suffix")
    inner = tokenizers.Tokenizer(models.BPE(vocab={"<|end|>": 0, "a": 1}, merges=[]))
    inner.pre_tokenizer = pre_tokenizers.ByteLevel()
    inner.add_special_tokens(["<|end|>", *(spelling.format(role) for role in roles), "<extra_id_1>"])
    vocabulary = Vocabulary.of(Tokenizer(inner, {"eos_token": "<|end|>"}))
    assert {role: vocabulary.roles[role] for role in roles} == dict(zip(roles, (2, 3, 4), strict=True))
    assert vocabulary.sentinels == ()  # a series begins with 0
    assert vocabulary.ordinary.tolist() == [1]
