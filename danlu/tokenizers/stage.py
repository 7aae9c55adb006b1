"""The stage ``tokenizer``: clean documents in, a tokenizer in Hugging Face form out."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, ClassVar, Protocol

from pydantic import SkipValidation

from danlu.recipe import OneOf
from danlu.runs import Figures, Job, Stage
from danlu.text.document import read_documents
from danlu.tokenizers.measure import cost_figures, measure
from danlu.tokenizers.tokenizer import Tokenizer


class Trainer(Protocol):
    """A kind of tokenizer, with its settings."""

    def train(self, texts: Iterable[str]) -> Tokenizer:
        """Learn from ``texts``, which are read once, one at a time."""


class TrainTokenizer(Stage):
    """Train the tokenizer that the section names: ``tokenizer: {use: bpe, vocab_size: 4096}``."""

    needs: ClassVar[tuple[str, ...]] = ("clean",)
    whole: ClassVar[str | None] = "trainer"

    trainer: Annotated[SkipValidation[Trainer], OneOf("tokenizer")]
    """The kind of tokenizer, with its settings."""

    def run(self, job: Job) -> Figures:
        """Train on all clean documents, save, and measure on them."""
        clean = job.inputs["clean"]
        tokenizer = self.trainer.train(document.text for document in read_documents(clean))
        tokenizer.save(job.out)
        costs = measure(tokenizer, read_documents(clean))
        return {"vocab_size": tokenizer.vocab_size} | cost_figures(costs, with_unknown=tokenizer.unknown is not None)
