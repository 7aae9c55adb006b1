"""The hash of a tokenizer: the same wherever and however often it is saved, another one where any id may differ."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tokenizers
import transformers

from danlu.errors import InputError
from danlu.tokenizers.bpe import BPE
from danlu.tokenizers.byte import Byte
from danlu.tokenizers.char import Char
from danlu.tokenizers.identity import identity
from danlu.tokenizers.special_text import cut_special_text
from danlu.tokenizers.tokenizer import Tokenizer
from danlu.tokenizers.unigram import Unigram
from danlu.tokenizers.word import Word
from danlu.tokenizers.wordpiece import WordPiece

TEXT = ["It was the best of times, it was the worst of times.", "话说天下大势，分久必合，合久必分。"] * 20
TRAINERS: dict[str, Callable[[], Any]] = {
    "bpe": lambda: BPE(vocab_size=300),
    "byte": Byte,
    "char": Char,
    "unigram": lambda: Unigram(vocab_size=370),
    "word": lambda: Word(vocab_size=30),
    "wordpiece": lambda: WordPiece(vocab_size=90, special=("bert",)),
}


def saved(tokenizer: Tokenizer, folder: Path, **how: Any) -> Tokenizer:
    folder.mkdir()
    tokenizer.save(folder, **how)
    return Tokenizer.load(folder)


@pytest.mark.parametrize("kind", TRAINERS)
def test_what_is_trained_here_keeps_its_identity(kind: str, tmp_path: Path) -> None:
    tokenizer = TRAINERS[kind]().train(TEXT)
    once = saved(tokenizer, tmp_path / "once")
    twice = saved(once.padded(), tmp_path / "twice", inputs=("input_ids",))
    assert tokenizer.identity == once.identity == twice.identity == TRAINERS[kind]().train(TEXT).identity
    stock = transformers.AutoTokenizer.from_pretrained(tmp_path / "once")
    stock.save_pretrained(tmp_path / "stock")
    assert Tokenizer.load(tmp_path / "stock").identity == tokenizer.identity
    assert len(tokenizer.identity) == 64


@pytest.mark.parametrize("kind", ["WordPiece", "Unigram", "byte fallback", "byte level"])
def test_what_others_published_keeps_its_identity(kind: str, kinds: dict[str, Path], tmp_path: Path) -> None:
    tokenizer = Tokenizer.load(kinds[kind])
    assert saved(tokenizer, tmp_path / "once").identity == tokenizer.identity
    assert saved(Tokenizer.load(tmp_path / "once"), tmp_path / "twice").identity == tokenizer.identity


def test_kinds_and_texts_differ() -> None:
    identities = {make().train(TEXT).identity for make in TRAINERS.values()}
    identities |= {make().train([text.replace("o", "q") for text in TEXT]).identity for make in TRAINERS.values()}
    assert len(identities) == 2 * len(TRAINERS) - 1, "bytes are the same whatever is learned from"


def changed(state: dict[str, Any], *keys: Any, to: Any) -> dict[str, Any]:
    copy = json.loads(json.dumps(state))
    place = copy
    for key in keys[:-1]:
        place = place[key]
    place[keys[-1]] = to
    return copy


def test_what_decides_ids_counts_and_nothing_else(tmp_path: Path) -> None:
    tokenizer = BPE(vocab_size=300).train(TEXT)
    state = json.loads(tokenizer.to_json())
    names = {id: name for name, id in state["model"]["vocab"].items()}
    swapped = {**state["model"]["vocab"], names[100]: 101, names[101]: 100}
    for other in (
        changed(state, "model", "vocab", to=swapped),
        changed(state, "model", "merges", to=state["model"]["merges"][:-1]),
        changed(state, "model", "ignore_merges", to=True),
        changed(state, "normalizer", to={"type": "NFC"}),
        changed(state, "pre_tokenizer", to={"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True,
                                            "use_regex": True}),
        changed(state, "added_tokens", 0, "normalized", to=True),
    ):  # fmt: skip
        assert tokenizer.rebuilt(json.dumps(other)).identity != tokenizer.identity
    for same in (
        changed(state, "post_processor", to=None),
        changed(state, "decoder", to={"type": "Fuse"}),
        changed(state, "model", to=dict(reversed(state["model"].items()))),
        changed(state, "model", "vocab", to=dict(reversed(state["model"]["vocab"].items()))),
        changed(
            state, "truncation", to={"direction": "Right", "max_length": 4, "strategy": "LongestFirst", "stride": 0}
        ),
    ):
        assert tokenizer.rebuilt(json.dumps(same)).identity == tokenizer.identity


class Written:
    """A tokenizer as some version of the library writes it."""

    def __init__(self, content: str) -> None:
        self._content = content

    def to_str(self) -> str:
        return self._content


def test_how_a_version_of_the_library_writes_it_changes_nothing() -> None:
    """A newer one may write settings that an older one does not know, all of them off, and in another order."""
    state = json.loads(BPE(vocab_size=300).train(TEXT).to_json())
    ends = {"eot": 0}
    was = identity(Written(json.dumps(state)), ends)  # type: ignore[arg-type]
    newer = changed(state, "model", to={"newer": None, **dict(reversed(state["model"].items())), "newest": False})
    newer = changed(newer, "pre_tokenizer", "pretokenizers", 1, "newer", to=None)
    assert identity(Written(json.dumps(dict(reversed(newer.items())), indent=3)), ends) == was  # type: ignore[arg-type]
    on = changed(state, "model", "newest", to=True)
    assert identity(Written(json.dumps(on)), ends) != was  # type: ignore[arg-type]


def test_accents_that_are_kept_are_not_as_where_nothing_is_said_of_them() -> None:
    """BERT's normaliser strips them where it makes letters small and nobody says otherwise: only then does None."""
    tokenizer = WordPiece(vocab_size=90, special=("bert",)).train(["the best, café", "thé best cafe"] * 20)
    state = json.loads(tokenizer.to_json())
    bert = {"type": "BertNormalizer", "clean_text": True, "handle_chinese_chars": True, "lowercase": True}
    kept, unsaid = (
        tokenizer.rebuilt(json.dumps(changed(state, "normalizer", to={**bert, "strip_accents": accents})))
        for accents in (False, None)
    )
    assert kept.encode("thé") != unsaid.encode("thé") == kept.encode("the")
    assert kept.identity != unsaid.identity


def test_scores_of_all_digits_keep_their_identity(tmp_path: Path) -> None:
    """The library reads some numbers as their neighbours: from what a spiece.model says, for one."""
    scores = np.random.default_rng(3).uniform(-15, 0, 2000).astype(np.float32).astype(float)
    pieces = [("<unk>", 0.0), ("</s>", 0.0), *((f"w{number}", score) for number, score in enumerate(scores.tolist()))]
    tokenizer = scored(pieces)
    again = saved(tokenizer, tmp_path / "once")
    assert json.loads(again.to_json())["model"] != json.loads(tokenizer.to_json())["model"]
    assert again.identity == saved(again, tmp_path / "twice").identity == tokenizer.identity
    pieces[5] = (pieces[5][0], pieces[5][1] * (1 + 1e-6))
    assert scored(pieces).identity != tokenizer.identity


def scored(pieces: list[tuple[str, float]]) -> Tokenizer:
    inner = tokenizers.Tokenizer(tokenizers.models.Unigram(pieces, unk_id=0))
    inner.add_special_tokens([tokenizers.AddedToken(name, normalized=False, special=True) for name, _ in pieces[:2]])
    cut_special_text(inner)  # as whatever is read from files
    return Tokenizer(inner, {"eos_token": "</s>", "unk_token": "<unk>"})


def test_what_parts_texts_counts(kinds: dict[str, Path]) -> None:
    """Of the same file, with another token named for the end of a text: the store's borders would be other ones."""
    tokenizer = Tokenizer.load(kinds["byte level"])
    other = Tokenizer(tokenizer._inner, {"eos_token": "<s>"})
    assert (tokenizer.eot, other.eot) == (1, 0) and tokenizer.identity != other.identity
    with pytest.raises(InputError):
        Tokenizer(tokenizer._inner, {})
