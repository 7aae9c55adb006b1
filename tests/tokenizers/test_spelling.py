"""How tokens are written where numbers are missing or decoders are odd, against the ``tokenizers`` library."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import tokenizers
import transformers
from tokenizers import Regex, decoders, models, pre_tokenizers

from danlu.errors import InputError
from danlu.tokenizers.spelling import spelling_of
from danlu.tokenizers.tokenizer import Tokenizer


def test_numbers_without_a_token_are_no_text() -> None:
    inner = tokenizers.Tokenizer(models.BPE({"<e>": 0, "a": 1, "b": 7}, []))
    inner.decoder = decoders.ByteLevel()
    inner.add_special_tokens(["<e>"])
    ours = Tokenizer(inner, {"eos_token": "<e>"})
    assert (ours.vocab_size, ours.encode("ab")) == (8, [1, 7])
    for id in range(8):
        assert ours.decode([id]) == inner.decode([id]) == {1: "a", 7: "b"}.get(id, "")
        assert ours.token_bytes(id).decode() == ours.decode([id])
        assert ours.begun([id]) == (id in (1, 7))


def test_a_line_that_stands_twice_in_vocab_txt(tmp_path: Path) -> None:
    """The later number counts, and the earlier one has no token."""
    lines = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "best", "the", "##s"]
    (tmp_path / "vocab.txt").write_text("".join(f"{line}\n" for line in lines))
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    stock, ours = transformers.AutoTokenizer.from_pretrained(tmp_path), Tokenizer.load(tmp_path)
    assert ours.encode("the best bests") == stock("the best bests", add_special_tokens=False).input_ids == [7, 6, 6, 8]
    assert ours.vocab_size == 9
    assert ours.decode([7, 5, 6, 8]) == stock.decode([7, 5, 6, 8]) == "the bests"


@pytest.mark.parametrize("number", [2**24, 2**32 - 1])
def test_a_number_beyond_all_vocabularies_is_told(number: int) -> None:
    inner = tokenizers.Tokenizer(models.BPE({"<e>": 0, "a": number}, []))
    with pytest.raises(InputError, match=rf"gives a token the number {number:,}; Danlu takes numbers below 16,777,216"):
        spelling_of(inner, {})


DECODERS: dict[str, Any] = {
    "none": None,
    "byte level": decoders.ByteLevel(),
    "word pieces": decoders.WordPiece(prefix="##", cleanup=True),
    "a mark that begins": decoders.Metaspace(prepend_scheme="always"),
    "a mark that does not": decoders.Metaspace(prepend_scheme="never"),
    "bytes": decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    ),
}


@pytest.mark.parametrize("kind", DECODERS)
@pytest.mark.parametrize("first", ["▁a", "##b", "Ġc", "n't", "d"])
def test_a_token_is_written_as_the_library_writes_it(kind: str, first: str) -> None:
    words = ["<e>", "▁a", "##b", "Ġc", "n't", "d"]
    inner = tokenizers.Tokenizer(models.WordLevel({word: id for id, word in enumerate(words)}, unk_token="<e>"))
    if DECODERS[kind] is not None:
        inner.decoder = DECODERS[kind]
    spelling = spelling_of(inner, {})
    for then in range(1, len(words)):
        ids = [words.index(first), then]
        written = (spelling.first[ids[0]] + spelling.within[then]).decode()
        dropped = min(len(written) - len(written.lstrip(" ")), spelling.leading_spaces)
        assert written[dropped:] == inner.decode(ids)


@pytest.mark.parametrize(
    ("decoder", "words"),
    [
        (decoders.CTC(), "tokenizer.json has the decoder CTC; Danlu reads ByteFallback, ByteLevel, "),
        (decoders.Replace(Regex("a+"), "b"), "tokenizer.json has a decoder that replaces by a pattern: "),
        (decoders.Sequence([decoders.Fuse(), decoders.Strip("x", 1, 0)]), "a decoder that strips more than leading"),
    ],
)
def test_decoders_that_are_not_built_here_are_told(decoder: Any, words: str) -> None:
    inner = tokenizers.Tokenizer(models.WordLevel({"a": 0}, unk_token="a"))
    inner.pre_tokenizer, inner.decoder = pre_tokenizers.WhitespaceSplit(), decoder
    assert json.loads(inner.to_str())["decoder"] is not None
    with pytest.raises(InputError) as error:
        spelling_of(inner, {})
    assert words in str(error.value) and "\n" not in str(error.value)
