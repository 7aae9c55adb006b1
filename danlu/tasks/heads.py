"""One body with several heads, of which one is the model's at a time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import cast

from torch import Tensor, nn

from danlu.nn.config import TransformerConfig
from danlu.nn.head import LanguageModelHead
from danlu.nn.transformer import Transformer

EACH = "head.each."
"""Before a head's own names among those of the model."""


class Heads(nn.Module):
    """The heads of tasks by name, and the shape of the model with each.

    Tasks that write have one head of words together, the one that the folder has: as in T5 (Raffel et al. 2020,
    arXiv:1910.10683) what goes before a text is all that tells one of them from another.
    """

    def __init__(self, models: Mapping[str, Transformer], body: Transformer) -> None:
        super().__init__()
        self.configs: dict[str, TransformerConfig] = {name: model.config for name, model in models.items()}
        writing = [name for name, model in models.items() if isinstance(model.head, LanguageModelHead)]
        self.owners: dict[str, str] = {name: writing[0] if name in writing else name for name in models}
        """The task under whose name the weights of each task's head are."""
        self.each = nn.ModuleDict({name: models[self.owners[name]].head for name in models})
        if writing and self.configs[writing[0]].tied:  # the body may be that of labels
            models[writing[0]].head.tie(body.embedding)


def joined(models: Mapping[str, Transformer]) -> Transformer:
    """The body of the first of ``models``, which begin alike, with the heads of all."""
    body = next(iter(models.values()))
    body.head = Heads(models, body)
    return body


@contextmanager
def as_for(model: Transformer, name: str) -> Iterator[Transformer]:
    """The model with the head of one task."""
    heads, config = cast(Heads, model.head), model.config
    model.head, model.config = heads.each[name], heads.configs[name]
    try:
        yield model
    finally:
        model.head, model.config = heads, config


def alone(weights: Mapping[str, Tensor], owner: str) -> dict[str, Tensor]:
    """Of the weights of a model with several heads those of the model for one task.

    Args:
        owner: under whose name those of its head are.
    """
    own = f"{EACH}{owner}."
    body = {key: weight for key, weight in weights.items() if not key.startswith(EACH)}
    return body | {f"head.{key.removeprefix(own)}": each for key, each in weights.items() if key.startswith(own)}
