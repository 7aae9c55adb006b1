"""The stage ``evaluate``: the trained model in, its measures on held-out documents out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, ClassVar

from pydantic import Field, SkipValidation

from danlu.corpus.split import PARTS
from danlu.corpus.store import TokenStore
from danlu.evaluate.forgetting import Forgetting, can_tell
from danlu.evaluate.objective import OwnObjective
from danlu.evaluate.perplexity import Perplexity
from danlu.evaluate.protocol import Measure, Subject
from danlu.evaluate.zero_shot import ZeroShot
from danlu.nn.hf.folder import load_model
from danlu.nn.speed import DeviceSetting, choose_device
from danlu.recipe import OneOf
from danlu.stage import Figures, Job, Stage
from danlu.tokenizers.tokenizer import Tokenizer
from danlu.train.pretrain_settings import PretrainSettings


class Evaluate(Stage):
    """Measure the model on documents that it has never seen."""

    needs: ClassVar[tuple[str, ...]] = ("pretrain", "pack", "tokenizer")

    tasks: Annotated[tuple[SkipValidation[Measure], ...] | None, OneOf("measure")] = Field(default=None, min_length=1)
    """What is measured; by default the perplexity of a decoder, the objective of a model with an encoder, and beside
    them what was forgotten where pretraining went on from a folder."""
    device: DeviceSetting = "cpu"
    """Where the model computes: auto is on a GPU where there is one."""

    def external_files(self) -> list[Path]:
        return [path for task in self.tasks or () if isinstance(task, ZeroShot) for path in task.files()]

    def run(self, job: Job) -> Figures:
        """Load the model once, take every measure.

        Raises:
            RecipeError: a GPU is asked for and there is none.
        """
        device = choose_device(self.device, key="evaluate.device")
        model, training = load_model(job.inputs["pretrain"] / "model").eval(), job.recipe.sections.get("pretrain")
        tokenizer = Tokenizer.load(job.inputs["tokenizer"])
        train, heldout = (TokenStore.open_for(tokenizer, job.inputs["pack"] / part) for part in PARTS)
        subject = Subject(
            model=model.to(device),
            tokenizer=tokenizer,
            train=train,
            heldout=heldout,
            out=job.out,
            seed=job.seed,
            training=training if isinstance(training, PretrainSettings) else None,
        )
        figures: Figures = {}
        for task in self.tasks or by_default(subject):
            figures.update(task.measure(subject))
        return figures


def by_default(subject: Subject) -> tuple[Measure, ...]:
    """What is measured where the recipe does not say."""
    own = Perplexity() if subject.model.config.encoder is None else OwnObjective()
    return (own, Forgetting()) if can_tell(subject) else (own,)
