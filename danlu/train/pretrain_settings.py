"""The settings of a pretraining: a family, what it learns, how text becomes rows."""

from __future__ import annotations

from typing import Annotated, ClassVar, Self

from pydantic import Field, SkipValidation, model_validator

from danlu.corpus.blend import Blended
from danlu.corpus.curriculum import Curriculum
from danlu.corpus.mixture import NOT_MIXED, STEPS_OF_THEIR_OWN, Mixture
from danlu.corpus.proportions import Proportions
from danlu.corpus.reading import Reading
from danlu.errors import RecipeError
from danlu.nn.config import TransformerConfig
from danlu.nn.families import GPT, Family
from danlu.objectives.clm import CausalLM
from danlu.objectives.protocol import AnyObjective
from danlu.recipe import OneOf
from danlu.train.dropout import drops
from danlu.train.settings import TrainSettings


class PretrainSettings(TrainSettings):
    """What a recipe says of a training from first weights."""

    section: ClassVar[str] = "pretrain"

    model: Annotated[SkipValidation[Family], OneOf("model")] = GPT()
    """The family and its size."""
    objective: Annotated[SkipValidation[AnyObjective], OneOf("objective")] = CausalLM()
    """What is learned."""
    rows: Annotated[SkipValidation[Reading] | None, OneOf("rows")] = None
    """How documents become rows; by default as the objective reads them best."""
    mixture: Annotated[SkipValidation[Proportions | Curriculum] | None, OneOf("mixture")] = None
    """How much is read of each part of the text; by default all of it equally often."""
    sequence: int = Field(default=512, ge=2)
    """Tokens a row; the longest text that the model sees."""

    @property
    def reading(self) -> Reading:
        """How documents become rows."""
        return self.reading_of(1.0)

    def reading_of(self, share: float) -> Reading:
        """The same for a store that holds this part of the text."""
        reading = self.objective.read_by(self.rows)
        if self.mixture is None:
            return reading
        return Blended(self.mixture, reading, self.batch, self._steps, share)

    def _steps(self, steps_per_epoch: float) -> int | None:
        """Of the whole training; None where only the clock tells."""
        if self.budget.minutes is not None:
            return None
        return self.budget.steps_at_most(tokens_per_step=self.batch * self.sequence, steps_per_epoch=steps_per_epoch)

    def shape(self, vocab_size: int) -> TransformerConfig:
        """The model with the heads that the objective learns, for a tokenizer of so many tokens."""
        rows = -(-vocab_size // self.hardware.vocab_multiple) * self.hardware.vocab_multiple
        return self.objective.config(self.model.config(vocab_size=rows, max_length=self.sequence))

    @model_validator(mode="after")
    def _fits(self) -> Self:
        """Refuse what cannot be when the recipe is loaded."""
        try:
            shape = self.shape(2)
            reading = self.objective.read_by(self.rows)
        except RecipeError as error:
            raise ValueError(str(error)) from None
        if self.dropout_schedule is not None and not drops(shape):
            raise ValueError("dropout_schedule needs a model with dropout, such as model.dropout: 0.1; got none")
        if self.mixture is not None:
            self._can_be_mixed(self.mixture, reading)
        return self

    def _can_be_mixed(self, mixture: Proportions | Curriculum, reading: Reading) -> None:
        if isinstance(reading, Mixture):
            raise ValueError(
                "mixture is for one objective; say documents and share of each task in objective.tasks instead"
            )
        if isinstance(reading, STEPS_OF_THEIR_OWN):
            raise ValueError(f"mixture with rows: {NOT_MIXED}")
        if mixture.counted and self.budget.minutes is not None:
            raise ValueError(
                "mixture: epochs, max_epochs and until as a share need to know how long the training is: set budget "
                "to tokens, steps or epochs; got minutes"
            )
