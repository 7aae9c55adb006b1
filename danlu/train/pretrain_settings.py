"""The settings of a pretraining: a family, what it learns, how text becomes rows."""

from __future__ import annotations

from typing import Annotated, ClassVar, Self

from pydantic import Field, SkipValidation, model_validator

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
    sequence: int = Field(default=512, ge=2)
    """Tokens a row; the longest text that the model sees."""

    @property
    def reading(self) -> Reading:
        """How documents become rows."""
        return self.objective.read_by(self.rows)

    def shape(self, vocab_size: int) -> TransformerConfig:
        """The model with the heads that the objective learns, for a tokenizer of so many tokens."""
        rows = -(-vocab_size // self.hardware.vocab_multiple) * self.hardware.vocab_multiple
        return self.objective.config(self.model.config(vocab_size=rows, max_length=self.sequence))

    @model_validator(mode="after")
    def _fits(self) -> Self:
        """Refuse what cannot be when the recipe is loaded."""
        try:
            shape = self.shape(2)
            self.objective.read_by(self.rows)
        except RecipeError as error:
            raise ValueError(str(error)) from None
        if self.dropout_schedule is not None and not drops(shape):
            raise ValueError("dropout_schedule needs a model with dropout, such as model.dropout: 0.1; got none")
        return self
