"""Bytes per token and tokens per word or character, counted by hand."""

from __future__ import annotations

from danlu.text.document import Document
from danlu.tokenizers.bpe import BPE
from danlu.tokenizers.char import Char
from danlu.tokenizers.measure import cost_figures, count_units, measure


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


def test_empty_documents_cost_nothing() -> None:
    assert cost_figures(measure(Char().train(["a"]), documents(("en", ""))), with_unknown=False) == {
        "bytes_per_token.en": 0.0,
        "tokens_per_word.en": 0.0,
    }


def test_units() -> None:
    assert count_units(" two  words\n", "en") == 2
    assert count_units("天下 大\u3000势\n", "zh") == 4
