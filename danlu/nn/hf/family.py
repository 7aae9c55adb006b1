"""What the file of a family says: how its ``config.json`` reads and how its tensors are called."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from danlu.nn.config import TransformerConfig
from danlu.nn.hf.config_file import ConfigFile


@dataclass(frozen=True, slots=True)
class Stored:
    """Where one of our tensors stands in a folder.

    Several ``names`` are its rows one after the other, in equal parts. With ``parts`` above 1 ours is
    one of so many equal parts of the rows there, as queries, keys and values often lie in one tensor.
    """

    names: tuple[str, ...]
    part: int = 0
    parts: int = 1
    transposed: bool = False
    """GPT-2 keeps its matrices the other way round."""
    one_row: bool = False
    """BART keeps a vector as a matrix of one row."""


def stored(*names: str) -> Stored:
    """The plain case: the tensor, or its rows, under these names."""
    return Stored(names)


WeightNames = dict[str, Stored]
"""Our name of a tensor -> where it stands."""


@dataclass(frozen=True, slots=True)
class Copy:
    """A tensor of a folder that says again what another one says; where only one of them is there, it is both."""

    name: str
    of: str
    written: bool = False
    """Whether ``transformers`` misses it where it is not there."""
    read: bool = True
    """Whether ``transformers`` reads it; if so the two must be equal, for here they are one."""


def no_copies(config: TransformerConfig) -> tuple[Copy, ...]:
    """Of the families whose folders say everything once."""
    return ()


@dataclass(frozen=True, slots=True)
class FolderFamily:
    """A ``model_type`` of ``transformers``; the catalog names one of these for each."""

    read_config: Callable[[ConfigFile], TransformerConfig]
    write_config: Callable[[TransformerConfig], dict[str, Any]]
    """What ``config.json`` holds beyond what every family has in common (``nn/hf/folder.py``)."""
    architecture: Callable[[TransformerConfig], str]
    """The class of ``transformers`` that holds such a model with such a head."""
    weight_names: Callable[[TransformerConfig], WeightNames]
    prefix: str = "model."
    """What the names of all but the head begin with; folders of the bare model leave it out."""
    copies: Callable[[TransformerConfig], tuple[Copy, ...]] = no_copies
    ignored: tuple[str, ...] = ()
    """Ends of names of tensors that some folders hold and nobody reads."""
    renamed: Mapping[str, str] = field(default_factory=dict)
    """Ends of names in old folders -> what they are now."""
    decoder_start: Literal["pad", "eos"] = "pad"
    """Of models with an encoder: which token the decoder starts from."""
    takes_keys: bool = True
    """Whether its classes take keys and values that no token of the text has, as PEFT's prefixes are given to them."""


def in_layers(stack: str, count: int, theirs: str, block: WeightNames) -> WeightNames:
    """``block``'s names in each layer N: ours below ``stack.blocks.N.``, theirs below ``theirs`` with N for ``{}``."""
    names: WeightNames = {}
    for layer in range(count):
        for ours, where in block.items():
            there = tuple(theirs.format(layer) + name for name in where.names)
            names[f"{stack}.blocks.{layer}.{ours}"] = Stored(there, where.part, where.parts, where.transposed)
    return names


def with_bias(block: WeightNames) -> WeightNames:
    """The names of the weights and, beside each, that of its bias."""
    biases = {
        ours.removesuffix("weight") + "bias": Stored(
            tuple(name.removesuffix("weight") + "bias" for name in where.names), where.part, where.parts
        )
        for ours, where in block.items()
    }
    return {**block, **biases}


def fused(name: str, ours: tuple[str, ...], *, transposed: bool = False) -> WeightNames:
    """Several of our tensors that stand in one, rows after rows."""
    return {each: Stored((name,), part, len(ours), transposed) for part, each in enumerate(ours)}
