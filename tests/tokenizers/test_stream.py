"""What tokens are written as, against ``transformers``: whole, token by token, and as bytes; for every kind."""

from __future__ import annotations

from pathlib import Path

import pytest
import transformers
from hypothesis import given
from hypothesis import strategies as st

from danlu.tokenizers.tokenizer import Tokenizer

LETTERS = "It was the best of times.  \n\t 话说天下大势，é 👩‍ﷺ'ns,?!"
KINDS = ["WordPiece", "Unigram", "byte fallback", "byte level"]
texts = st.one_of(st.text(st.sampled_from(LETTERS)), st.text(st.characters(exclude_categories=["Cs"])))


@pytest.fixture(scope="module")
def both(kinds: dict[str, Path]) -> dict[str, tuple[Tokenizer, transformers.PreTrainedTokenizerBase]]:
    """Ours and that of ``transformers``."""
    return {
        kind: (Tokenizer.load(folder), transformers.AutoTokenizer.from_pretrained(folder))
        for kind, folder in kinds.items()
    }


@given(st.sampled_from(KINDS), texts)
def test_texts_have_the_same_tokens_and_come_back_alike(both: dict, kind: str, text: str) -> None:
    ours, stock = both[kind]
    ids = stock(text, add_special_tokens=False, split_special_tokens=True).input_ids
    assert ours.encode(text) == ours.encode_batch([text])[0] == ids
    assert ours.decode(ids) == stock.decode(ids, skip_special_tokens=True)
    before, after = ours.template()
    assert stock(text, split_special_tokens=True).input_ids == [*before, *ids, *after]
    if kind.startswith("byte"):  # nothing is lost: bytes for every character, spaces as they are
        written = b"".join(ours.token_bytes(id) for id in ids)
        assert written == (" " * (kind == "byte fallback" and text != "") + text).encode()
        assert ours.decode(ids) == text


@given(st.sampled_from(KINDS), st.lists(st.integers(0, 10_000), max_size=60))
def test_any_tokens_are_written_as_transformers_writes_them(both: dict, kind: str, numbers: list[int]) -> None:
    """Half characters, special tokens and pieces of words in any order."""
    ours, stock = both[kind]
    ids = [number % ours.vocab_size for number in numbers]
    stream = ours.stream()
    pieces = [*map(stream.push, ids), stream.flush()]
    assert "".join(pieces) == ours.decode(ids) == stock.decode(ids, skip_special_tokens=True)


@given(st.sampled_from(KINDS), texts)
def test_no_half_character_is_shown(both: dict, kind: str, text: str) -> None:
    ours, _ = both[kind]
    ids, shown = ours.encode(text), ""
    whole = ours.decode(ids)
    stream = ours.stream()
    for id in ids:
        shown += stream.push(id)
        assert whole.startswith(shown)
    assert shown + stream.flush() == whole


def test_one_byte_that_is_no_character_spoils_its_row(both: dict) -> None:
    ours, stock = both["byte fallback"]
    row = [stock.convert_tokens_to_ids(f"<0x{byte:02X}>") for byte in (0x20, *"中".encode(), 0xFF)]
    assert ours.decode(row[:-1]) == "中"
    assert ours.decode(row) == stock.decode(row) == "\ufffd" * 5
    assert ours.decode([*row[:2], ours.eot, *row[2:-1]]) == "中"  # a special token is no text, and parts none


@given(st.sampled_from(KINDS), texts, texts)
def test_what_goes_on_from_a_text_keeps_its_spaces(both: dict, kind: str, prompt: str, text: str) -> None:
    """As ``transformers`` decodes the prompt together with what it wrote behind."""
    ours, stock = both[kind]
    before, ids = ours.encode(prompt), ours.encode(text)
    if kind.startswith("byte"):
        whole = stock.decode([*before, *ids], skip_special_tokens=True)
        assert ours.decode(before) + ours.decode(ids, after=before) == whole
    assert ours.decode(ids, after=[ours.eot]) == ours.decode(ids)
