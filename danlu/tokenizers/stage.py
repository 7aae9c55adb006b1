"""The stage ``tokenizer``: clean documents in, a tokenizer in Hugging Face form out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, ClassVar, Protocol

from pydantic import SkipValidation

from danlu import log
from danlu.recipe import OneOf, Recipe
from danlu.stage import Figures, Job, Stage
from danlu.text.document import Document, read_documents
from danlu.tokenizers.extend import Extend
from danlu.tokenizers.given import Folder
from danlu.tokenizers.measure import cost_figures, measure
from danlu.tokenizers.tokenizer import Tokenizer
from danlu.tokenizers.word_counts import parts

SAMPLED = 1 << 16
"""Characters of a part of a long document, about."""


class Trainer(Protocol):
    """A kind of tokenizer, with its settings."""

    @property
    def sample_bytes(self) -> int | None:
        """About how much text it learns from; None where it must see all of it."""

    def train(self, texts: Iterable[str]) -> Tokenizer:
        """Learn from ``texts``, which are read once, one at a time."""


class TrainTokenizer(Stage):
    """Train the tokenizer that the section names: ``tokenizer: {use: bpe, vocab_size: 4096}``."""

    needs: ClassVar[tuple[str, ...]] = ("clean",)
    whole: ClassVar[str | None] = "trainer"

    trainer: Annotated[SkipValidation[Trainer], OneOf("tokenizer")]
    """The kind of tokenizer, with its settings."""

    def within(self, recipe: Recipe) -> Stage:
        """Itself; without text in the recipe, as where stores come from elsewhere, the tokenizer of a folder alone."""
        alone = isinstance(self.trainer, Folder) and "clean" not in recipe.sections
        return GivenTokenizer(trainer=self.trainer) if alone else self

    def external_files(self) -> list[Path]:
        return self.trainer.files() if isinstance(self.trainer, Folder | Extend) else []

    def run(self, job: Job) -> Figures:
        """Train on the clean documents, save, and measure on them."""
        clean = job.inputs["clean"]
        limit = self.trainer.sample_bytes
        total = sum(path.stat().st_size for path in clean.glob("documents-*.jsonl"))
        share = 1.0 if limit is None or limit >= total else limit / total
        if share < 1.0:
            log.say(f"tokenizer: learning from {share:.1%} of the text, about tokenizer.sample_bytes {limit}")
        tokenizer = self.trainer.train(sample(_shown(read_documents(clean)), share))
        tokenizer.save(job.out)
        costs = measure(tokenizer, read_documents(clean))
        return {"vocab_size": tokenizer.vocab_size} | cost_figures(costs, with_unknown=tokenizer.unknown is not None)


class GivenTokenizer(TrainTokenizer):
    """The tokenizer of a folder, in a run that has no text to measure it by."""

    needs: ClassVar[tuple[str, ...]] = ()

    def run(self, job: Job) -> Figures:
        tokenizer = self.trainer.train(())
        tokenizer.save(job.out)
        return {"vocab_size": tokenizer.vocab_size}


def sample(documents: Iterable[Document], share: float) -> Iterator[str]:
    """Texts from all over the corpus that make up about ``share`` of it: always the same ones, at least the first.

    Of a long document, parts: one alone may be larger than all that is to be learned from.
    """
    read = taken = 0
    for document in documents:
        for text in parts(document.text, size=SAMPLED) if share < 1.0 else [document.text]:
            if taken <= share * read:
                taken += len(text)
                yield text
            read += len(text)


def _shown(documents: Iterable[Document]) -> Iterator[Document]:
    with log.progress("tokenizer: reading", None, "documents") as progress:
        for number, document in enumerate(documents, start=1):
            yield document
            progress.update(number)
