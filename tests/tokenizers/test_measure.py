"""Bytes per token and tokens per word or character, counted by hand."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from danlu.text.document import Document
from danlu.tokenizers.bpe import BPE
from danlu.tokenizers.char import Char
from danlu.tokenizers.measure import BATCH_CHARACTERS, cost_figures, count_units, measure


def documents(*pairs: tuple[str, str]) -> list[Document]:
    return [Document(str(place), text, {"language": language}) for place, (language, text) in enumerate(pairs)]


def test_costs_by_language() -> None:
    tokenizer = Char().train(["abc de\n", "天下"])
    mixed = documents(("zh", "天下 大\n"), ("en", "abc de\n"), ("zh", "天"))
    figures = cost_figures(measure(tokenizer, mixed), with_unknown=True)
    assert figures == {
        "bytes_per_token.en": 1.0,
        "tokens_per_word.en": 3.5,
        "unknown_rate.en": 0.0,
        "bytes_per_token.zh": round(14 / 6, 4),
        "tokens_per_character.zh": 1.5,
        "unknown_rate.zh": round(1 / 6, 6),
    }
    assert next(iter(figures)) == "bytes_per_token.en"


def test_byte_tokens_cost_one_byte() -> None:
    tokenizer = BPE(vocab_size=257).train([])
    figures = cost_figures(measure(tokenizer, documents(("en", "two words"), ("zh", "天下"))), with_unknown=False)
    assert figures == {
        "bytes_per_token.en": 1.0,
        "tokens_per_word.en": 4.5,
        "bytes_per_token.zh": 1.0,
        "tokens_per_character.zh": 3.0,
    }


def test_a_part_of_a_large_corpus_is_measured() -> None:
    many = documents(*[("en", "ten bytes!")] * 1000, ("zh", "天下"))
    costs = measure(Char().train(["ten bytes!"]), many, limit_bytes=95)
    assert costs["en"].bytes == 95  # the last text is cut, for one may be as large as the memory
    assert costs["zh"].bytes == 6


@dataclass
class Bytes:
    """Its tokens are bytes; it keeps how much was encoded at once."""

    at_once: list[int] = field(default_factory=list)
    unknown: int | None = None

    def encode_batch(self, texts: list[str]) -> list[list[int]]:
        self.at_once.append(sum(map(len, texts)))
        return [list(text.encode()) for text in texts]


@pytest.mark.parametrize(
    ("language", "text"), [("en", "It was the best of times. " * 100_000), ("zh", "话说天下大势，" * 300_000)]
)
def test_a_long_text_is_encoded_in_parts(language: str, text: str) -> None:
    """What is known of the tokens of 200 MB would not fit in memory."""
    encoder = Bytes()
    [cost] = measure(encoder, documents((language, text), (language, "a b")), limit_bytes=10**8).values()
    size = len(text.encode()) + 3
    assert (cost.bytes, cost.tokens, cost.units) == (size, size, count_units(text, language) + 2)
    assert sum(encoder.at_once) == len(text) + 3 and max(encoder.at_once) < 2 * BATCH_CHARACTERS
    encoder = Bytes()
    measure(encoder, documents(*[("en", "a" * 1000)] * 100))
    assert encoder.at_once == [64_000, 36_000]


def test_empty_documents_cost_nothing() -> None:
    assert cost_figures(measure(Char().train(["a"]), documents(("en", ""))), with_unknown=False) == {
        "bytes_per_token.en": 0.0,
        "tokens_per_word.en": 0.0,
    }


def test_units() -> None:
    assert count_units(" two  words\n", "en") == 2
    assert count_units("天下 大\u3000势\n", "zh") == 4
