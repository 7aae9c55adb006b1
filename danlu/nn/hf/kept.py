"""Whether a folder would hold a model whole: nothing is written that would read back as another model."""

from __future__ import annotations

import json
from collections.abc import Iterator, Set
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any

from danlu.errors import CheckpointError, RecipeError
from danlu.nn.config import Embedding, TransformerConfig
from danlu.nn.hf.config_file import ConfigFile
from danlu.nn.hf.family import FolderFamily


def check_kept(folder: Path, config: TransformerConfig, family: FolderFamily, weights: Set[str]) -> None:
    """Refuse what the family's form has no place for.

    Args:
        weights: the names of the model's weights.

    Raises:
        CheckpointError: a weight or a switch would be lost; the line says which.
    """
    names = family.weight_names(config)
    if not names.keys() <= weights:
        raise CheckpointError(
            f"{folder}: the model has adapters or quantised weights, which no {config.family} folder holds; "
            "merge the adapters first, or save them alone"
        )
    lost = weights - names.keys() - ({config.words_weight} if config.tied else set())
    if lost:
        raise CheckpointError(f"{folder}: a {config.family} folder has no place for the weight {min(lost)}")
    stored = {name for where in names.values() for name in where.names}
    written = {
        "architectures": [family.architecture(config)],
        "model_type": config.family,
        **family.write_config(config),
    }
    file = ConfigFile(folder / "config.json", json.loads(json.dumps(written)), stored)
    try:
        again = family.read_config(file)
    except RecipeError as error:
        raise CheckpointError(f"{folder}: {error}") from None
    if isinstance(config.head, Embedding) and isinstance(again.head, Embedding):
        again = replace(again, head=config.head)  # how rows are pooled stands in other files
    difference = next(_differences(config, again), None)
    if difference is not None:
        raise CheckpointError(f"{folder}: a {config.family} folder cannot say {difference}")


def _differences(ours: Any, theirs: Any, name: str = "") -> Iterator[str]:
    """Where two trees of records differ, as ``decoder.layers.0.attention.pattern is Window(…)``."""
    if ours == theirs:
        return
    if is_dataclass(ours) and type(ours) is type(theirs):
        for each in fields(ours):
            inner = f"{name}.{each.name}" if name else each.name
            yield from _differences(getattr(ours, each.name), getattr(theirs, each.name), inner)
    elif isinstance(ours, tuple) and isinstance(theirs, tuple) and len(ours) == len(theirs):
        for place, (mine, other) in enumerate(zip(ours, theirs, strict=True)):
            yield from _differences(mine, other, f"{name}.{place}")
    else:
        yield f"that {name} is {ours!r:.80}"
