"""What a tokenizer costs: bytes per token and tokens per word or character, language by language."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Protocol, TypeVar

from danlu.stage import Figures
from danlu.text.document import Document
from danlu.tokenizers.word_counts import parts

T = TypeVar("T")

LANGUAGES_WITHOUT_SPACES = frozenset({"zh", "ja", "th", "lo", "km", "my", "bo", "dz", "lzh"})
"""Written without spaces between words, so that tokens are compared with characters."""
LIMIT_BYTES = 5_000_000
"""Text of one language that is measured; the documents after it change little."""
BATCH_TEXTS = 64
BATCH_CHARACTERS = 1 << 20
"""Of those texts, after which no other joins them: what is known of their tokens takes some hundred bytes each."""


class Encoder(Protocol):
    """What is measured."""

    @property
    def unknown(self) -> int | None:
        """The token for text that has none; None where all text has some."""

    def encode_batch(self, texts: list[str]) -> list[list[int]]:
        """The ids of each text, with nothing put around it."""


@dataclass(slots=True)
class Cost:
    """Counts over the documents of one language."""

    bytes: int = 0
    tokens: int = 0
    units: int = 0
    unknown: int = 0


def measure(tokenizer: Encoder, documents: Iterable[Document], *, limit_bytes: int = LIMIT_BYTES) -> dict[str, Cost]:
    """Encode the first ``limit_bytes`` of each language, the last text cut there; the costs by language, sorted.

    A long text is encoded in parts, the tokens of which are more than those of the whole by one or two a part.

    Fertility (tokens a word) is from Rust et al. 2021, How Good is Your Tokenizer?
    """
    costs: dict[str, Cost] = {}
    unknown = tokenizer.unknown
    texts = (
        (document.meta.get("language", "und"), part)
        for document in _limited(documents, limit_bytes)
        for part in parts(document.text)
    )
    for batch in batches(texts, lambda each: len(each[1])):
        for (language, text), ids in zip(batch, tokenizer.encode_batch([text for _, text in batch]), strict=True):
            cost = costs.setdefault(language, Cost())
            cost.bytes += len(text.encode())
            cost.tokens += len(ids)
            cost.units += count_units(text, language)
            cost.unknown += ids.count(unknown) if unknown is not None else 0
    return dict(sorted(costs.items()))


def cost_figures(costs: dict[str, Cost], *, with_unknown: bool) -> Figures:
    """A flat table, one group of lines a language."""
    figures: Figures = {}
    for language, cost in costs.items():
        unit = "character" if language in LANGUAGES_WITHOUT_SPACES else "word"
        figures[f"bytes_per_token.{language}"] = round(cost.bytes / max(1, cost.tokens), 4)
        figures[f"tokens_per_{unit}.{language}"] = round(cost.tokens / max(1, cost.units), 4)
        if with_unknown:
            figures[f"unknown_rate.{language}"] = round(cost.unknown / max(1, cost.tokens), 6)
    return figures


def count_units(text: str, language: str) -> int:
    """Words (runs without white space), or characters but white space where words are not parted by spaces."""
    words = text.split()
    return sum(map(len, words)) if language in LANGUAGES_WITHOUT_SPACES else len(words)


def _limited(documents: Iterable[Document], limit_bytes: int) -> Iterator[Document]:
    sizes: dict[str, int] = {}
    for document in documents:
        language = document.meta.get("language", "und")
        room = limit_bytes - sizes.get(language, 0)
        if room > 0:
            data = document.text.encode()
            sizes[language] = sizes.get(language, 0) + len(data)
            # The tokens of one text of 200 MB would not fit in memory.
            yield document if len(data) <= room else replace(document, text=data[:room].decode(errors="ignore"))


def batches(items: Iterable[T], length: Callable[[T], int]) -> Iterator[list[T]]:
    """As many in a row as are encoded at once.

    Args:
        length: characters of one.
    """
    batch: list[T] = []
    characters = 0
    for item in items:
        batch.append(item)
        characters += length(item)
        if len(batch) == BATCH_TEXTS or characters >= BATCH_CHARACTERS:
            yield batch
            batch, characters = [], 0
    if batch:
        yield batch
