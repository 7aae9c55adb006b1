"""Low-rank adapters as a folder of PEFT: ``adapter_config.json`` and ``adapter_model.safetensors``, in and out.

The names there are those of the modules of ``transformers``. Where one of our layers is several there (gate and
value of a gated MLP), each share of its rows has an adapter of its own; where several of ours are one there
(queries, keys and values), they share ``a`` and each has its rows of ``b``.

Axes: R rank, I inputs, O output rows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn

from danlu.errors import CheckpointError, RecipeError
from danlu.files import atomic_write, write_json
from danlu.nn.config import Embedding, Head
from danlu.nn.hf.family import WeightNames
from danlu.nn.hf.folder import find_family
from danlu.nn.hf.peft_beside import PREFIX, Beside, beside_adapters
from danlu.nn.hf.peft_config import CONFIG, PeftConfig
from danlu.nn.hf.tensors import written
from danlu.nn.lora import (
    AdaptedLinear,
    LowRank,
    adapted_layers,
    freeze_all_but_adapters,
    refuse_second,
    row_lengths,
)
from danlu.nn.quantized import QuantizedLinear
from danlu.nn.targets import put
from danlu.nn.transformer import Transformer

WEIGHTS = "adapter_model.safetensors"
A, B, LENGTHS = "lora_A.weight", "lora_B.weight", "lora_magnitude_vector"
"""What it calls the tensors of one."""

Layer = nn.Linear | QuantizedLinear | AdaptedLinear


class Rows(NamedTuple):
    """The rows of a module there that one of our layers holds, or one of ``shares`` equal parts of the layer's rows."""

    name: str
    """Of our layer."""
    share: int
    shares: int
    transposed: bool


class Piece(NamedTuple):
    """Some rows of a module there, and the adapter that they have."""

    weight_OI: Tensor
    adapter: LowRank | None


def save_adapters(model: Transformer, folder: Path, *, base: str | None = None) -> None:
    """Write the model's adapters as PEFT would for the class that :func:`~danlu.nn.hf.folder.save_model` names.

    What else trains, as the head of a task, is written with them whole; of an embedding the rows that do.

    Args:
        base: where the model without its adapters is: a folder or a name.

    Raises:
        RecipeError: the model has no adapters, or one that is no linear layer in ``transformers``.
    """
    layers = adapted_layers(model)
    if not layers:
        raise RecipeError("the model has no adapters to write")
    family = find_family(model.config.family)
    names = family.weight_names(model.config)
    places = _places(model, names)
    if strangers := layers.keys() - {rows.name for all_rows in places.values() for rows in all_rows}:
        raise RecipeError(f"{min(strangers)} is no linear layer in transformers; its adapter cannot be written")
    # A bare model has no head, and its modules no prefix.
    prefix = family.prefix if isinstance(model.config.head, Embedding) else ""
    whole = {
        module.removeprefix(prefix): joined
        for module, all_rows in places.items()
        if (joined := _join([_piece(model, rows) for rows in all_rows]))
    }
    tensors = {}
    for module, adapter in whole.items():
        for part, tensor in ((A, adapter.a), (B, adapter.b), (LENGTHS, adapter.magnitude)):
            if tensor is not None:
                tensors[f"{PREFIX}{module}.{part}"] = tensor.detach().cpu().clone()
    beside, settings_beside = beside_adapters(model, names, prefix, dtype=next(iter(whole.values())).a.dtype)
    tensors |= beside
    modules = [name.removesuffix(".weight").removeprefix(prefix) for where in names.values() for name in where.names]
    transposed = any(rows.transposed for all_rows in places.values() for rows in all_rows if rows.name in layers)
    folder.mkdir(parents=True, exist_ok=True)
    atomic_write(folder / WEIGHTS, save(tensors, metadata={"format": "pt"}))
    settings = {
        **_sizes(whole),
        "base_model_name_or_path": base,
        "bias": "none",
        "fan_in_fan_out": transposed,
        "inference_mode": True,
        "init_lora_weights": True,
        "lora_dropout": next(iter(layers.values())).dropout,
        **settings_beside,
        "peft_type": "LORA",
        "target_modules": _targets(whole, modules),
        "task_type": _task(model),
        "use_dora": next(iter(layers.values())).dora,
        "use_rslora": next(iter(whole.values())).rank_stabilised,
    }
    write_json(folder / CONFIG, dict(sorted(settings.items())))


def save_beside(model: Transformer, folder: Path) -> None:
    """Write anew what :func:`save_adapters` has written whole, as ``model`` has it now, its adapters merged or not."""
    family = find_family(model.config.family)
    prefix = family.prefix if isinstance(model.config.head, Embedding) else ""
    tensors = load_file(folder / WEIGHTS)
    dtype = next(iter(tensors.values())).dtype
    chosen = {
        ours: where
        for ours, where in family.weight_names(model.config).items()
        if all(f"{PREFIX}{name.removeprefix(prefix)}" in tensors for name in where.names)
    }
    for name, value in written(model.state_dict(), chosen, dtype=dtype):
        tensors[f"{PREFIX}{name.removeprefix(prefix)}"] = value.clone()
    atomic_write(folder / WEIGHTS, save(tensors, metadata={"format": "pt"}))


def load_adapters(model: Transformer, folder: Path) -> None:
    """Give ``model`` the adapters in ``folder``, and what is written whole beside them; freeze everything else.

    What stands beside them takes the place of the model's own, for good: :func:`~danlu.nn.lora.remove` leaves it. Rows
    of an embedding (``nn/trained_rows.py``) are apart until :func:`~danlu.nn.trained_rows.put_back`.

    Raises:
        InputError: there is no adapter.
        CheckpointError: a file is missing or damaged, does not fit the model, or asks for what is not built here.
        RecipeError: the model has adapters already.
    """
    refuse_second(model)
    config = PeftConfig.load(folder)
    family = find_family(model.config.family)
    names = family.weight_names(model.config)
    places = _places(model, names)
    found = _read_file(folder / WEIGHTS)
    beside = Beside.of(found, folder / WEIGHTS, config, model, names, family.prefix)
    layers: dict[str, AdaptedLinear] = {}
    for module, tensors in _adapters_of(found, folder / WEIGHTS, dora=config.dora).items():
        all_rows = places.get(module) or places.get(family.prefix + module)
        if all_rows is None:
            raise CheckpointError(f"{folder / WEIGHTS}: {module} is no linear layer of this model")
        for rows in all_rows:
            if f"{rows.name}.weight" in beside.whole:
                raise CheckpointError(f"{folder / WEIGHTS}: {module} has an adapter and is written whole too")
            if rows.name not in layers:
                layers[rows.name] = AdaptedLinear(_layer(model, rows.name), parts=rows.shares, dropout=config.dropout)  # type: ignore[arg-type]
        bases = [layers[rows.name].base for rows in all_rows]
        count = bases[0].out_features // all_rows[0].shares * len(all_rows)
        _check_shapes(folder / WEIGHTS, module, tensors, rank=config.rank(module), shape=(count, bases[0].in_features))
        like = bases[0].weight
        a_RI = nn.Parameter(tensors[A].to(like))  # one for all of our layers that are one there
        for number, rows in enumerate(all_rows):
            own = {part: _share(tensors[part].to(like), number, len(all_rows)) for part in tensors if part != A}
            adapter = LowRank(
                a_RI, nn.Parameter(own[B]), alpha=config.alpha(module), rank_stabilised=config.rank_stabilised,
                magnitude_O=nn.Parameter(own[LENGTHS]) if config.dora else None,
            )  # fmt: skip
            layers[rows.name].adapt(rows.share, adapter)
    for name, layer in layers.items():
        put(model, name, layer.train(model.training))
    freeze_all_but_adapters(model)
    beside.put(model)


def _layer(model: Transformer, name: str) -> Layer | None:
    """The linear layer of this name, where there is one."""
    parent, _, last = name.rpartition(".")
    try:
        layer = getattr(model.get_submodule(parent), last)
    except AttributeError:
        return None
    return layer if isinstance(layer, Layer) else None


def _places(model: Transformer, names: WeightNames) -> dict[str, list[Rows]]:
    """Module there -> its rows in order, for the modules whose rows are linear layers of ours."""
    places: dict[str, dict[int, Rows]] = {}
    for ours, where in names.items():
        name = ours.removesuffix(".weight")
        if name == ours or _layer(model, name) is None:
            continue
        for share, theirs in enumerate(where.names):
            rows = Rows(name, share, len(where.names), where.transposed)
            places.setdefault(theirs.removesuffix(".weight"), {})[where.part] = rows
    return {module: [rows for _, rows in sorted(parts.items())] for module, parts in places.items()}


def _piece(model: Transformer, rows: Rows) -> Piece:
    layer = _layer(model, rows.name)
    assert layer is not None
    base = layer.base if isinstance(layer, AdaptedLinear) else layer
    weight_OI = _share(base.weight.detach(), rows.share, rows.shares)
    if not isinstance(layer, AdaptedLinear):
        return Piece(weight_OI, None)
    if layer.parts == rows.shares:
        return Piece(weight_OI, layer.adapters.get(rows.share))
    assert layer.parts == 1
    adapter = layer.adapters[0]  # that of the whole layer
    own = LowRank(
        adapter.a, nn.Parameter(_share(adapter.b, rows.share, rows.shares)), alpha=adapter.alpha,
        rank_stabilised=adapter.rank_stabilised,
        magnitude_O=None if adapter.magnitude is None
        else nn.Parameter(_share(adapter.magnitude, rows.share, rows.shares)),
    )  # fmt: skip
    return Piece(weight_OI, own)


@torch.no_grad()
def _join(pieces: list[Piece]) -> LowRank | None:
    """One adapter that does what those of its rows do, exactly; None where no rows have any.

    Where they do not share ``a`` the rank is the sum of theirs, and ``b`` has a block for each.
    """
    adapters = [piece.adapter for piece in pieces if piece.adapter is not None]
    if not adapters:
        return None
    first = adapters[0]
    shared = all(torch.equal(adapter.a, first.a) for adapter in adapters)
    blocks = [
        piece.weight_OI.new_zeros(len(piece.weight_OI), first.rank if shared else 0)
        if piece.adapter is None else piece.adapter.b * (piece.adapter.scale / first.scale)
        for piece in pieces
    ]  # fmt: skip
    a_RI = first.a if shared else torch.cat([adapter.a for adapter in adapters])
    alpha = first.alpha
    if len(a_RI) != first.rank:
        alpha = first.scale * (len(a_RI) ** 0.5 if first.rank_stabilised else len(a_RI))
    lengths_O = None
    if first.magnitude is not None:
        lengths = [
            row_lengths(weight_OI).to(first.magnitude) if adapter is None else adapter.magnitude
            for weight_OI, adapter in pieces
        ]
        lengths_O = nn.Parameter(torch.cat([each for each in lengths if each is not None]))
    b_OR = torch.cat(blocks) if shared else torch.block_diag(*blocks)  # type: ignore[no-untyped-call]
    return LowRank(
        nn.Parameter(a_RI),
        nn.Parameter(b_OR),
        alpha=alpha,
        rank_stabilised=first.rank_stabilised,
        magnitude_O=lengths_O,
    )


def _share(tensor: Tensor, number: int, count: int) -> Tensor:
    return tensor.detach().chunk(count)[number].clone()


def _sizes(whole: Mapping[str, LowRank]) -> dict[str, Any]:
    """The commonest rank and alpha, and the modules that have others."""
    rank = Counter(adapter.rank for adapter in whole.values()).most_common(1)[0][0]
    alpha = Counter(adapter.alpha for adapter in whole.values()).most_common(1)[0][0]
    return {
        "r": rank,
        "lora_alpha": _short(alpha),
        "rank_pattern": {name: adapter.rank for name, adapter in whole.items() if adapter.rank != rank},
        "alpha_pattern": {name: _short(adapter.alpha) for name, adapter in whole.items() if adapter.alpha != alpha},
    }


def _short(number: float) -> float:
    """16 rather than 16.0, as PEFT writes it."""
    return int(number) if float(number).is_integer() else number


def _targets(chosen: Iterable[str], modules: Iterable[str]) -> list[str]:
    """The last parts of names where every module that ends so is chosen; whole names of the others."""
    ends = Counter(name.rpartition(".")[2] for name in set(modules))
    found = Counter(name.rpartition(".")[2] for name in chosen)
    short = {end for end, count in found.items() if count == ends[end]}
    return sorted(short | {name for name in chosen if name.rpartition(".")[2] not in short})


def _task(model: Transformer) -> str | None:
    """PEFT's name for the kind of model, which its ``AutoPeftModel`` goes by; it has none for many.

    That of encoder-decoders is left out: PEFT 0.21 cannot make its class of one of ``transformers`` 5.
    """
    words = isinstance(model.config.head, Head)
    return "CAUSAL_LM" if words and model.config.encoder is None else None


def _read_file(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except FileNotFoundError:
        pickled = path.with_name("adapter_model.bin")
        hint = f"; {pickled.name} is a pickle, which can run code and is never loaded" if pickled.exists() else ""
        raise CheckpointError(f"{path} is missing{hint}") from None
    except SafetensorError as error:
        raise CheckpointError(f"{path} is damaged: {' '.join(str(error).split())}") from None
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror or error}") from None


def _adapters_of(tensors: Mapping[str, Tensor], path: Path, *, dora: bool) -> dict[str, dict[str, Tensor]]:
    """Module -> its tensors, all that an adapter has."""
    wanted = (A, B, LENGTHS) if dora else (A, B)
    found: dict[str, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        if ".lora_embedding_" in name:
            raise CheckpointError(f"{path}: {name} adapts an embedding; only linear layers can have adapters")
        part = next((part for part in wanted if name.startswith(PREFIX) and name.endswith(f".{part}")), None)
        if part is None:
            raise CheckpointError(f"{path} holds the unknown tensor {name}; {CONFIG} says otherwise")
        found.setdefault(name.removeprefix(PREFIX).removesuffix(f".{part}"), {})[part] = tensor
    if not found:
        raise CheckpointError(f"{path} holds no adapter")
    for module, parts in found.items():
        for part in wanted:
            if part not in parts:
                raise CheckpointError(f"{path} lacks tensor {PREFIX}{module}.{part}; {CONFIG} says otherwise")
    return found


def _check_shapes(path: Path, module: str, tensors: Mapping[str, Tensor], *, rank: int, shape: tuple[int, int]) -> None:
    rows, columns = shape
    wanted = {A: [rank, columns], B: [rows, rank], LENGTHS: [rows]}
    for part, tensor in tensors.items():
        if list(tensor.shape) != wanted[part]:
            raise CheckpointError(f"{path}: {PREFIX}{module}.{part} must be {wanted[part]}; got {list(tensor.shape)}")
