"""The stage ``evaluate``: the trained model in, its measures on held-out documents out."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field, SkipValidation

from danlu.corpus.store import TokenStore
from danlu.evaluate.perplexity import Perplexity
from danlu.evaluate.protocol import Measure, Subject
from danlu.nn.hf.folder import load_model
from danlu.recipe import OneOf
from danlu.runs import Figures, Job, Stage
from danlu.tokenizers.tokenizer import Tokenizer


class Evaluate(Stage):
    """Measure the model on documents that it has never seen."""

    needs: ClassVar[tuple[str, ...]] = ("pretrain", "pack", "tokenizer")

    tasks: Annotated[tuple[SkipValidation[Measure], ...], OneOf("measure")] = Field(
        default=(Perplexity(),), min_length=1
    )
    """What is measured."""

    def run(self, job: Job) -> Figures:
        """Load the model once, take every measure."""
        subject = Subject(
            model=load_model(job.inputs["pretrain"] / "model").eval(),
            tokenizer=Tokenizer.load(job.inputs["tokenizer"]),
            train=TokenStore.open(job.inputs["pack"] / "train"),
            heldout=TokenStore.open(job.inputs["pack"] / "heldout"),
            out=job.out,
            seed=job.seed,
        )
        figures: Figures = {}
        for task in self.tasks:
            figures.update(task.measure(subject))
        return figures
