"""What stands beside low-rank adapters in a folder of PEFT: modules written whole, and rows of an embedding.

The first are those of ``modules_to_save``, as the head of a task; the others those of ``trainable_token_indices``.

Axes: N tokens whose rows are trained, D model width.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from danlu.errors import CheckpointError
from danlu.nn.hf.family import Stored, WeightNames
from danlu.nn.hf.peft_config import CONFIG, PeftConfig
from danlu.nn.hf.tensors import Readable, read, written
from danlu.nn.lora import is_adapter
from danlu.nn.trained_rows import ROWS, own_rows, replace_rows
from danlu.nn.transformer import Transformer

PREFIX = "base_model.model."
"""What PEFT puts before the name of a module."""
OF_TOKENS = "token_adapter.trainable_tokens_delta"
"""What it calls the rows of an embedding that are trained, which stand in place of the model's own."""
HEADS = ("classifier", "score", "qa_outputs")
"""Heads that it writes whole even where its settings name no modules, as in older versions."""
UNDER_TOKENS = ("token_adapter.base_layer.weight", "original_module.weight")
"""And the whole embedding below them, which it writes too where that has rows that its base model has not."""


def beside_adapters(
    model: Transformer, names: WeightNames, prefix: str, *, dtype: torch.dtype
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """What trains beside the adapters, by PEFT's names, and the settings by which it knows."""
    beside = {name: each for name, each in model.named_parameters() if each.requires_grad and not is_adapter(name)}
    beside.pop(ROWS, None)
    own = {name: names[name] for name in beside}
    tensors = {
        f"{PREFIX}{name.removeprefix(prefix)}": value.clone() for name, value in written(beside, own, dtype=dtype)
    }
    kept = sorted({name.rpartition(".")[0].removeprefix(prefix) for each in own.values() for name in each.names})
    settings: dict[str, Any] = {"modules_to_save": kept or None}
    rows = own_rows(model)
    if rows is not None:
        module = names["embedding.weight"].names[0].removesuffix(".weight").removeprefix(prefix)
        settings["trainable_token_indices"], rows_ND = rows
        tensors[f"{PREFIX}{module}.{OF_TOKENS}"] = rows_ND.to("cpu", dtype, copy=True)
    return tensors, settings


@dataclass(frozen=True)
class _Held:
    """A tensor of the file that is read already."""

    path: Path
    tensor: Tensor

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.tensor.shape)

    def read(self) -> Tensor:
        return self.tensor


@dataclass
class Beside:
    """What a file holds beside adapters, by our names; nothing of the model is changed before :meth:`put`."""

    whole: dict[str, Tensor] = field(default_factory=dict)
    """Weights that learn on."""
    under: dict[str, Tensor] = field(default_factory=dict)
    """Weights that do not: those of an embedding with more rows than the base model's."""
    tokens: list[int] = field(default_factory=list)
    """Rising ids of those that have rows of their own."""
    rows_ND: Tensor | None = None

    @classmethod
    def of(
        cls, found: dict[str, Tensor], path: Path, config: PeftConfig, model: Transformer, names: WeightNames,
        prefix: str,
    ) -> Beside:  # fmt: skip
        """Take from ``found`` what is no adapter and belongs to the model.

        Args:
            prefix: what the names of all but the head begin with, which the file leaves out for a bare model.

        Raises:
            CheckpointError: a tensor is missing or of another shape, or the model cannot hold it.
        """
        return _Reader(found, path, config, model, names, prefix).read()

    @torch.no_grad()
    def put(self, model: Transformer) -> None:
        """Give it to the model, all of which is frozen but for adapters."""
        for name, value in {**self.under, **self.whole}.items():
            model.get_parameter(name).copy_(value)
        for name in self.whole:
            model.get_parameter(name).requires_grad_(True)
        if self.rows_ND is not None:
            replace_rows(model, self.tokens, self.rows_ND)


class _Reader:
    """Of the tensors beside the adapters of one file."""

    def __init__(
        self, found: dict[str, Tensor], path: Path, config: PeftConfig, model: Transformer, names: WeightNames,
        prefix: str,
    ) -> None:  # fmt: skip
        self.found, self.path, self.config, self.model, self.names = found, path, config, model, names
        known = {name for where in names.values() for name in where.names}
        self.known = {name.removeprefix(prefix): name for name in known} | {name: name for name in known}
        """A name as the file may have it -> as ``names`` has it."""
        self.parameters = dict(model.named_parameters())
        whole = [name for name in found if ".lora_" not in name]
        self.kept = config.kept or tuple(head for head in HEADS if any(f".{head}." in name for name in whole))
        """Ends of the names of modules that are written whole."""

    def read(self) -> Beside:
        for name in [name for name in self.found if name.endswith(UNDER_TOKENS)]:
            module = name.removesuffix(next(end for end in UNDER_TOKENS if name.endswith(end)))
            self.found.setdefault(f"{module}weight", self.found.pop(name))
        out = Beside()
        self._read_whole(out)
        self._read_under(out)
        self._read_tokens(out)
        return out

    def _read_whole(self, out: Beside) -> None:
        kept = {ours: where for ours, where in self.names.items() if any(map(self._is_kept, where.names))}
        if self.model.config.tied and "embedding.weight" in kept:
            wanted = "without the embedding, to which the head is tied here"
            raise self.config.file.wrong("modules_to_save", list(self.config.kept), wanted)
        held = self._take(kept)
        for ours, where in kept.items():
            for name in filter(self._is_kept, where.names):
                if name not in held:
                    raise CheckpointError(f"{self.path} lacks tensor {PREFIX}{name}; {CONFIG} says otherwise")
            out.whole[ours] = self._value(ours, where, held)

    def _is_kept(self, name: str) -> bool:
        """Whether PEFT writes the module of this tensor whole: it, or one that it is in, has a name that ends so."""
        modules = name.split(".")[:-1]
        return any(".".join(modules[:count]).endswith(self.kept) for count in range(1, len(modules) + 1))

    def _read_under(self, out: Beside) -> None:
        """An embedding and a head that PEFT writes whole because they have got rows that the base model has not."""
        held = self._take({"embedding.weight": self.names["embedding.weight"]})
        if not held:
            return
        words = self.model.config.words_weight
        own = {name: self.names[name] for name in ("embedding.weight", words) if name in self.names}
        held |= self._take(own)
        for name, where in own.items():
            if held.keys() >= set(where.names):
                out.under[name] = self._value(name, where, held)
        self._drop_copies(out.under["embedding.weight"])

    def _read_tokens(self, out: Beside) -> None:
        """The rows of single tokens."""
        if not self.config.tokens:
            return
        file, key = self.config.file, "trainable_token_indices"
        if "embedding.weight" in out.whole:
            raise file.wrong(key, file.get(key), "null where modules_to_save has the embedding")
        [theirs] = self.names["embedding.weight"].names
        module = theirs.removesuffix(".weight")
        strangers = [name for name in self.config.tokens if name is not None and not module.endswith(name)]
        if strangers:
            raise file.wrong(key, strangers[0], f"of {module}, the embedding of words")
        if len(self.config.tokens) > 1:
            raise file.wrong(key, list(self.config.tokens), "of one embedding")
        [ids] = self.config.tokens.values()
        size, dim = self.model.embedding.weight.shape
        if max(ids) >= size:
            raise file.wrong(key, max(ids), f"below {size:,}, the number of tokens of this model")
        bare = next(short for short, long in self.known.items() if long == theirs)
        names = [f"{PREFIX}{name.removesuffix('.weight')}.{OF_TOKENS}" for name in (theirs, bare)]
        rows = next((self.found.pop(name) for name in names if name in self.found), None)
        if rows is None:
            raise CheckpointError(f"{self.path} lacks tensor {names[0]}; {CONFIG} says otherwise")
        if tuple(rows.shape) != (len(ids), dim):
            raise CheckpointError(f"{self.path}: {names[0]} must be {[len(ids), dim]}; got {list(rows.shape)}")
        self._drop_copies(rows)
        order = sorted(range(len(ids)), key=ids.__getitem__)
        out.tokens, out.rows_ND = [ids[place] for place in order], rows[order]

    def _drop_copies(self, tensor: Tensor) -> None:
        """Take out of the file what says the same of a head that is tied to the embedding."""
        if self.model.config.tied:
            for name in [name for name, each in self.found.items() if each.shape == tensor.shape]:
                if torch.equal(self.found[name].to(tensor), tensor):
                    del self.found[name]

    def _take(self, wanted: WeightNames) -> dict[str, Readable]:
        """Take out of the file the tensors that stand there for some of ours."""
        theirs = {name for where in wanted.values() for name in where.names}
        held: dict[str, Readable] = {}
        for name in list(self.found):
            known = self.known.get(name.removeprefix(PREFIX)) if name.startswith(PREFIX) else None
            if known is not None and known in theirs:
                held[known] = _Held(self.path, self.found.pop(name))
        return held

    def _value(self, ours: str, where: Stored, held: Mapping[str, Readable]) -> Tensor:
        """One of our tensors; where the file has only some of its rows the others are the model's."""
        own = self.parameters.get(ours)
        if own is None:
            raise CheckpointError(f"{self.path}: {where.names[0]} is quantised here, and cannot be read whole")
        if not held.keys() >= set(where.names):
            model = {
                name: _Held(self.path, each) for name, each in written({ours: own}, {ours: where}, dtype=own.dtype)
            }
            held = {**model, **held}
        return read(held, where, tuple(own.shape), own.dtype).detach()
