"""Several tokenizers on the same texts: what they cost, what they lose, and how fast they are, by language."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from danlu.errors import InputError
from danlu.text.document import Document
from danlu.tokenizers.measure import LANGUAGES_WITHOUT_SPACES, Cost, batches, measure
from danlu.tokenizers.named import NamedTokenizer

PASSES = 5


@dataclass(slots=True)
class Compared:
    """One tokenizer on the texts of one language."""

    cost: Cost
    texts: int
    exact: int
    """Texts that are the same, character by character, when their tokens are decoded."""
    seconds: list[float] = field(default_factory=list)
    """Of one pass through all texts, pass by pass."""
    unit: str = "word"
    """What fertility counts tokens of: words, or characters where words are not parted by spaces."""
    has_unknown: bool = True

    @property
    def bytes_per_token(self) -> float:
        return self.cost.bytes / max(1, self.cost.tokens)

    @property
    def fertility(self) -> float:
        """Tokens a word or character (Rust et al. 2021, How Good is Your Tokenizer?, arXiv:2012.15613)."""
        return self.cost.tokens / max(1, self.cost.units)

    @property
    def unknown_rate(self) -> float | None:
        """Share of the tokens; None where the tokenizer has a token for every text."""
        return self.cost.unknown / max(1, self.cost.tokens) if self.has_unknown else None

    @property
    def exact_share(self) -> float:
        return self.exact / max(1, self.texts)

    @property
    def megabytes_per_second(self) -> float:
        """10⁶ bytes of UTF-8; the median of the passes."""
        return self.cost.bytes / 1e6 / statistics.median(self.seconds)

    @property
    def tokens_per_second(self) -> float:
        return self.cost.tokens / statistics.median(self.seconds)


Comparison = dict[str, list[Compared]]
"""By language, a :class:`Compared` a tokenizer, in their order."""


def compare_tokenizers(
    encoders: Sequence[NamedTokenizer],
    texts: Mapping[str, Sequence[str]],
    *,
    passes: int = PASSES,
    clock: Callable[[], float] = time.perf_counter,
) -> Comparison:
    """Measure all of them; speed in passes in turn, so that a slower moment of the machine meets all alike.

    Args:
        texts: by language.
        passes: that are timed, at least 1; the one that counts tokens comes before and is not.

    Raises:
        InputError: a tokenizer cannot encode or decode a text.
    """
    found = {language: [_measured(encoder, language, each) for encoder in encoders] for language, each in texts.items()}
    for _ in range(passes):
        for language, each in texts.items():
            for encoder, compared in zip(encoders, found[language], strict=True):
                compared.seconds.append(_seconds(encoder, each, clock))
    return found


def _measured(encoder: NamedTokenizer, language: str, texts: Sequence[str]) -> Compared:
    documents = (Document(str(place), text, {"language": language}) for place, text in enumerate(texts))
    size = sum(len(text.encode()) for text in texts)
    try:
        cost = measure(encoder, documents, limit_bytes=size + 1)[language]
        exact = sum(
            decoded == text
            for batch in batches(texts, len)
            for decoded, text in zip(encoder.decode_batch(encoder.encode_batch(batch)), batch, strict=True)
        )
    except (MemoryError, KeyboardInterrupt):
        raise
    except Exception as error:  # the tokenizers library raises bare Exception
        raise InputError(f"{encoder.name} cannot read text in {language}: {error}") from None
    unit = "character" if language in LANGUAGES_WITHOUT_SPACES else "word"
    return Compared(cost, len(texts), exact, unit=unit, has_unknown=encoder.unknown is not None)


def _seconds(encoder: NamedTokenizer, texts: Sequence[str], clock: Callable[[], float]) -> float:
    began = clock()
    for batch in batches(texts, len):
        encoder.encode_batch(batch)
    return clock() - began
