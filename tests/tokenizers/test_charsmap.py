"""Rules for characters: SentencePiece's own are let through, and none that is let through makes the library panic."""

from __future__ import annotations

import io

import pytest
import sentencepiece
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import normalizers

from danlu.tokenizers.charsmap import charsmaps, check_charsmap
from danlu.tokenizers.panic import no_panics
from danlu.tokenizers.sentencepiece import SentencePieceFile

LETTERS = [chr(code) for code in range(1, 0x3000)] + [chr(0xF000 + code) for code in range(0xFFF)] + ["👩🏽", "e\u0301"]


def published(rules: str) -> bytes:
    file = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(["the best of times"] * 3), model_writer=file, minloglevel=2, vocab_size=30,
        hard_vocab_limit=False, normalization_rule_name=rules,
    )  # fmt: skip
    return SentencePieceFile.parse(file.getvalue()).charsmap


@pytest.mark.parametrize("rules", ["nmt_nfkc", "nfkc", "nmt_nfkc_cf", "nfkc_cf"])
def test_sentencepieces_own_rules_are_good(rules: str) -> None:
    charsmap = published(rules)
    assert len(charsmap) > 200_000
    assert check_charsmap(charsmap) == charsmap


@pytest.fixture(scope="module")
def nfkc() -> bytes:
    return published("nfkc")


@given(st.lists(st.tuples(st.integers(0, 230_000), st.integers(0, 255)), min_size=1, max_size=8))
def test_what_is_let_through_makes_no_panic(nfkc: bytes, changes: list[tuple[int, int]]) -> None:
    content = bytearray(nfkc)
    for place, byte in changes:
        content[place] = byte
    try:
        check_charsmap(bytes(content))
    except ValueError as error:
        assert "\n" not in str(error)
        return
    with no_panics():
        normaliser = normalizers.Precompiled(bytes(content))
        for letter in LETTERS:
            normaliser.normalize_str(letter)


def test_maps_are_found_wherever_a_normaliser_has_them() -> None:
    nested = {
        "normalizers": [{"type": "NFC"}, {"precompiled_charsmap": "YQ=="}, {"deep": {"precompiled_charsmap": "Yg=="}}]
    }
    assert list(charsmaps(nested)) == ["YQ==", "Yg=="]
    assert list(charsmaps(None)) == []
