"""What labels count where some are rare: as the recipe says, or by how rare each is in train.

Axes: L labels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from danlu.errors import RecipeError, suggestion
from danlu.tasks.task import Known

Weights = Literal["none", "balanced"] | dict[str, Annotated[float, Field(gt=0)]]
"""None, by the data, or those of labels by name, 1 for all others."""


def weights(chosen: Weights, labels: Sequence[str], balanced: Mapping[str, float]) -> dict[str, float]:
    """The numbers of a :class:`danlu.tasks.task.Known` that say what each label counts.

    Args:
        balanced: what each counts by the data.

    Raises:
        RecipeError: the recipe names a label that is none.
    """
    if chosen == "none":
        return {}
    if chosen == "balanced":
        return {_name(label): balanced[label] for label in labels}
    odd = next((label for label in chosen if label not in labels), None)
    if odd is not None:
        raise RecipeError(f"finetune.task.class_weights: there is no label {odd!r}{suggestion(odd, labels)}")
    return {_name(label): chosen.get(label, 1.0) for label in labels}


def weights_of(known: Known, device: torch.device) -> Tensor:
    """``[L]`` what each label counts; 1 where nothing is said."""
    return torch.tensor([known.numbers.get(_name(label), 1.0) for label in known.labels], device=device)


def _name(label: str) -> str:
    return f"weight.{label}"
