"""Products of 8 bits where a recipe asks for them, and of how many layers."""

from __future__ import annotations

from danlu.errors import RecipeError
from danlu.nn.float8 import MULTIPLE, multiply_in_float8
from danlu.nn.head import LanguageModelHead
from danlu.nn.int8 import multiply_in_int8
from danlu.nn.int8_head import Int8LanguageModelHead
from danlu.nn.speed import TrainingPrecision
from danlu.nn.targets import LINEARS_OF_BLOCKS, named_layers
from danlu.nn.transformer import Transformer
from danlu.objectives.words import word_head


def in_eight_bits(model: Transformer, precision: TrainingPrecision, *, section: str) -> str:
    """Have the layers of the blocks multiply so where ``precision`` says it; how many do, in words, else nothing.

    In int8 a head that says words does so too.

    Args:
        section: of the recipe, for the error.

    Raises:
        RecipeError: fp8 is asked for, and no layer's sizes allow it.
    """
    if precision == "int8":
        layers = f"{multiply_in_int8(model)} layers"
        if not isinstance(head := word_head(model), LanguageModelHead):
            return f" ({layers})"
        head.__class__ = Int8LanguageModelHead  # the weights stay where they are, by the same names
        return f" ({layers} and the head)"
    if precision != "fp8":
        return ""
    every, narrow = len(named_layers(model, [LINEARS_OF_BLOCKS])), multiply_in_float8(model)
    if not narrow:
        raise RecipeError(
            f"{section}.precision fp8 needs layers whose sizes are multiples of {MULTIPLE}; "
            f"none of the {every} of the blocks is one (choices for others: auto, bf16, fp16, fp32)"
        )
    return f" ({narrow} layers)" if narrow == every else f" ({narrow} of {every} layers, by their sizes)"
