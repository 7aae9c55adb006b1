"""What the file of a family says: how its ``config.json`` reads and how its tensors are called."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from danlu.nn.config import TransformerConfig
from danlu.nn.hf.config_file import ConfigFile

WeightNames = dict[str, tuple[str, ...]]
"""Our name of a tensor -> the names in the folder; where there are several, they are its rows in equal parts."""


@dataclass(frozen=True, slots=True)
class FolderFamily:
    """A ``model_type`` of ``transformers``; the catalog names one of these for each."""

    architecture: str
    """The class that ``AutoModelForCausalLM`` builds."""
    read_config: Callable[[ConfigFile], TransformerConfig]
    write_config: Callable[[TransformerConfig], dict[str, Any]]
    """What ``config.json`` holds beyond what every family has in common (``nn/hf/folder.py``)."""
    weight_names: Callable[[TransformerConfig], WeightNames]
