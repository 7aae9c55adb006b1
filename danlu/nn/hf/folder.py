"""A model as a Hugging Face folder: ``config.json``, ``generation_config.json``, ``model.safetensors``.

What is written loads in stock ``transformers`` with no remote code; code in a folder is never run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from danlu import catalog
from danlu.errors import CheckpointError, RecipeError, shown, suggestion
from danlu.files import write_json
from danlu.nn.config import AnyHead, Embedding, Head, Pretraining, TransformerConfig
from danlu.nn.hf.config_file import ConfigFile
from danlu.nn.hf.family import Copy, FolderFamily
from danlu.nn.hf.kept import check_kept
from danlu.nn.hf.peft_virtual import load_virtual, open_virtual, remove_virtual, save_virtual, with_virtual_of
from danlu.nn.hf.sentence_transformers import MODULES, read_pooling
from danlu.nn.hf.tensors import Readable, narrowest_dtype, read, same, written
from danlu.nn.hf.token_ids import check_padding, input_names, longest_text, token_ids, with_padding
from danlu.nn.hf.weight_files import SHARD_BYTES, StoredTensor, open_weights, weights_path, write_weights
from danlu.nn.prompting import is_virtual, without_virtual
from danlu.nn.transformer import Transformer
from danlu.tokenizers.tokenizer import Tokenizer
from danlu.tokenizers.vocabulary import Vocabulary

IGNORED = ("rotary_emb.inv_freq",)
"""Tensors that old folders hold and nobody reads: they follow from the configuration."""


def save_model(
    model: Transformer,
    folder: Path,
    *,
    dtype: torch.dtype | None = None,
    tokenizer: Path | None = None,
    labels: Sequence[str] = (),
    problem: str | None = None,
    max_shard_bytes: int = SHARD_BYTES,
) -> None:
    """Write the model into ``folder``, which is made where it is not there; each file appears whole or not at all.

    Virtual tokens are written beside it as PEFT does.

    Args:
        dtype: the type of the weights in the file; by default the one that they have.
        tokenizer: a folder with a tokenizer that goes with the model, whose special tokens are named; without
            one token 0 begins and ends texts.
        labels: the names of the labels that the head scores; LABEL_0 and so on where there are none.
        problem: what ``transformers`` takes the scores of labels for, where not of one label each.
        max_shard_bytes: weights above this become several files with an index.

    Raises:
        CheckpointError: the folder of its family cannot hold this model, as with adapters or quantised weights;
            or the tokenizer's padding is not the model's.
    """
    config = without_virtual(model.config)
    family = find_family(config.family)
    state = {name: each for name, each in model.state_dict().items() if not is_virtual(name)}
    check_kept(folder, config, family, state.keys())
    folder.mkdir(parents=True, exist_ok=True)
    dtype = dtype or state["embedding.weight"].dtype
    written_config = family.write_config(config)
    roles = {"eot": 0}
    if tokenizer is not None:
        loaded = with_padding(Tokenizer.load(tokenizer), config)
        roles = Vocabulary.of(loaded).roles
        check_padding(config, written_config, roles)
        loaded.save(folder, inputs=input_names(config), longest=longest_text(config))
    names, copies = family.weight_names(config), family.copies(config)
    write_weights(folder, written(state, names, dtype=dtype, copies=copies), max_shard_bytes=max_shard_bytes)
    if model.config.virtual is not None:
        save_virtual(model, folder, names, dtype=dtype)
    else:
        remove_virtual(folder)
    ids, when_writing = token_ids(config, family, roles)
    whole = {
        "architectures": [family.architecture(config)],
        "model_type": config.family,
        "dtype": str(dtype).removeprefix("torch."),
        **ids,
        **written_config,
        **_named(labels),
        **({} if problem is None else {"problem_type": problem}),
    }
    write_json(folder / "generation_config.json", when_writing)
    write_json(folder / "config.json", dict(sorted(whole.items())))


def _named(labels: Sequence[str]) -> dict[str, Any]:
    """Labels as ``config.json`` names them."""
    if not labels:
        return {}
    return {
        "id2label": {str(number): label for number, label in enumerate(labels)},
        "label2id": {label: number for number, label in enumerate(labels)},
    }


def load_config(folder: Path) -> TransformerConfig:
    """The configuration of the model in ``folder``, with the head of the class that wrote it.

    Where ``modules.json`` makes an embedding of it and the weights of that head are left out, there is none.

    Raises:
        InputError: there is no ``config.json``.
        CheckpointError: it is damaged, or the model is of a kind that is not built here.
    """
    file = read_file(folder)
    config = read_family_config(file)
    if (folder / MODULES).exists() and file.tensors:
        prefix, bare = find_family(config.family).prefix, _without_head(file, config)
        own = set(_names_of(config)) - set(_names_of(bare))
        if own and not file.holds(*own, *(name.removeprefix(prefix) for name in own)):
            config = bare
    return with_virtual_of(folder, _with_pooling(folder, config))


def load_embedding_config(folder: Path) -> TransformerConfig:
    """The configuration of the model in ``folder`` as it embeds texts: without a head where there is ``modules.json``.

    Raises:
        InputError, CheckpointError: as :func:`load_config`.
    """
    has_modules = (folder / MODULES).exists()
    return with_virtual_of(folder, bare_config(folder)) if has_modules else load_config(folder)


def bare_config(folder: Path) -> TransformerConfig:
    """The same without a head, be there ``modules.json`` or not; with its head where its family has no bare models.

    Virtual tokens are not looked for.

    Raises:
        InputError, CheckpointError: as :func:`load_config`.
    """
    file = read_file(folder)
    return _with_pooling(folder, _without_head(file, read_family_config(file)))


def read_file(folder: Path) -> ConfigFile:
    """``config.json``, which knows the names of the tensors beside it."""
    with ExitStack() as stack:
        try:
            tensors = list(open_weights(folder, stack))
        except CheckpointError:  # which reading the weights will say in its turn
            tensors = []
    return ConfigFile.load(folder, tensors)


def _without_head(file: ConfigFile, config: TransformerConfig) -> TransformerConfig:
    """The bare model; with its head where its family has no class of such models."""
    if isinstance(config.head, Embedding):
        return config
    name = find_family(config.family).architecture(replace(config, head=Embedding()))
    return read_family_config(ConfigFile(file.path, {**file.values, "architectures": [name]}, file.tensors))


def _with_pooling(folder: Path, config: TransformerConfig) -> TransformerConfig:
    if not isinstance(config.head, Embedding):
        return config
    return replace(config, head=read_pooling(folder, config.head))


def read_family_config(file: ConfigFile) -> TransformerConfig:
    """The configuration that the file of its ``model_type``'s family makes of it.

    Raises:
        CheckpointError: as :func:`load_config`.
    """
    model_type = file.get("model_type")
    if not isinstance(model_type, str) or model_type not in catalog.names("family"):
        choices = suggestion(shown(str(model_type)), catalog.names("family"))
        code = "; its auto_map names code of the folder's own, which is never run" if file.get("auto_map") else ""
        raise CheckpointError(f"{file.path}: unknown model_type {model_type!r:.100}{choices}{code}")
    _refuse_quantised(file)
    try:
        return find_family(model_type).read_config(file)
    except RecipeError as error:  # sizes that do not fit each other
        raise CheckpointError(f"{file.path}: {error}") from None


def _refuse_quantised(file: ConfigFile) -> None:
    settings = file.get("quantization_config")
    if settings is None:
        return
    said = settings if isinstance(settings, dict) else {}
    # Folders from before there was a quant_method name what bitsandbytes does.
    method = said.get("quant_method", "bitsandbytes" if {"load_in_8bit", "load_in_4bit"} & said.keys() else settings)
    raise CheckpointError(
        f"{file.path}: quantization_config must be null; got quant_method {shown(repr(method))}, which is not read: "
        "take the model in float32, bfloat16 or float16, or as a GGUF file"
    )


def load_model(folder: Path, *, dtype: torch.dtype = torch.float32) -> Transformer:
    """The model in ``folder``, its weights in ``dtype`` whatever the file's type; without dropout until it trains.

    Raises:
        InputError: there is no model.
        CheckpointError: a file is missing or damaged, a tensor is missing, unknown or of another shape.
    """
    return _load(folder, load_config(folder), dtype)


def load_embedding_model(folder: Path, *, dtype: torch.dtype = torch.float32) -> Transformer:
    """The model in ``folder`` as it embeds texts; a head that ``modules.json`` does not speak of is not read.

    Raises:
        InputError, CheckpointError: as :func:`load_model`.
    """
    return _load(folder, load_embedding_config(folder), dtype)


def _load(folder: Path, config: TransformerConfig, dtype: torch.dtype) -> Transformer:
    config = without_virtual(config)
    whole = read_family_config(read_file(folder)) if isinstance(config.head, Embedding) else config
    with ExitStack() as stack:
        found, copies = open_model(folder, config, stack)
        known = {name for each in (config, whole) for name in (*_names_of(each), *(c.name for c in _copies(each)))}
        _check_names(folder, found, _names_of(config), known, (*IGNORED, *find_family(config.family).ignored))
        model = build_model(config, found, dtype=dtype)
        _check_copies(found, copies)
    load_virtual(model, folder)
    return model


def build_model(config: TransformerConfig, found: Mapping[str, Readable], *, dtype: torch.dtype) -> Transformer:
    """A model with weights from ``found``, which holds every tensor by the name that a folder has for it.

    Raises:
        CheckpointError: a tensor is of another shape.
    """
    with torch.device("meta"):  # no memory and no random numbers for weights that are read anyway
        try:
            model = Transformer(config)
        except (RuntimeError, TypeError, OverflowError) as error:
            # torch has no class of its own for "Storage size calculation overflowed" and "Overflow when unpacking long"
            if not isinstance(error, OverflowError) and "overflow" not in str(error).lower():
                raise
            path = next(iter(found.values())).path
            raise CheckpointError(f"{path}: no machine holds a tensor as large as config.json says") from None
    names = find_family(config.family).weight_names(config)
    shapes = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items() if name in names}
    assert shapes.keys() == names.keys(), shapes.keys() ^ names.keys()
    state = {ours: read(found, where, shapes[ours], dtype) for ours, where in names.items()}
    if config.tied:
        state[config.words_weight] = state["embedding.weight"]
    model.load_state_dict(state, assign=True)  # one parameter stays one where it stands at two places
    model.set_rotary()
    return model.eval()


def stored_dtype(folder: Path) -> torch.dtype:
    """The narrowest type that holds every weight of the model exactly, whatever ``config.json`` says.

    Raises:
        InputError, CheckpointError: as :func:`load_config`; or a file is missing or damaged.
    """
    config = load_config(folder)
    names = _names_of(config)
    with ExitStack() as stack:
        found, _ = open_model(folder, config, stack)
        virtual = [] if config.virtual is None else [open_virtual(folder, stack)]
        return narrowest_dtype([*(found[name] for name in names if name in found), *virtual])


def find_family(name: str) -> FolderFamily:
    """The family whose ``model_type`` is ``name``."""
    family: FolderFamily = catalog.load("family", name, key="model_type")
    return family


def _names_of(config: TransformerConfig) -> list[str]:
    """What the folder's tensors are called."""
    return [name for where in find_family(config.family).weight_names(config).values() for name in where.names]


def open_model(
    folder: Path, config: TransformerConfig, stack: ExitStack
) -> tuple[dict[str, StoredTensor], tuple[Copy, ...]]:
    """The folder's tensors, of two that are one also the one that is left out; and which ones those are."""
    family, copies = find_family(config.family), _copies(config)
    known = {*_names_of(config), *(copy.name for copy in copies)}
    found = _as_whole(open_weights(folder, stack), family, known)
    for copy in copies:
        if copy.of not in found and copy.name in found:
            found[copy.of] = found[copy.name]
    return found, copies


def _as_whole(found: Mapping[str, StoredTensor], family: FolderFamily, known: set[str]) -> dict[str, StoredTensor]:
    """The tensors under today's names of the whole model: folders of the bare model leave its prefix out."""
    for old, new in family.renamed.items():
        found = {name.removesuffix(old) + new if name.endswith(old) else name: each for name, each in found.items()}
    if any(name.startswith(family.prefix) for name in found):
        return dict(found)
    return {family.prefix + name if family.prefix + name in known else name: each for name, each in found.items()}


def _copies(config: TransformerConfig) -> tuple[Copy, ...]:
    """The family's, and the weight of a head that is the embedding's, which a folder may hold besides."""
    family = find_family(config.family)
    if not config.tied:
        return family.copies(config)
    head = family.weight_names(replace(config, head=_untied(config.head)))[config.words_weight]
    embedding = family.weight_names(config)["embedding.weight"]
    tied = (Copy(name, of) for name, of in zip(head.names, embedding.names, strict=True))
    return (*family.copies(config), *tied)


def _untied(head: AnyHead) -> AnyHead:
    if isinstance(head, Pretraining):
        return replace(head, words=replace(head.words, tied=False))
    assert isinstance(head, Head)
    return replace(head, tied=False)


def _check_names(
    folder: Path, found: Mapping[str, StoredTensor], wanted: list[str], known: set[str], ignored: tuple[str, ...]
) -> None:
    missing = [name for name in wanted if name not in found]
    extra = [name for name in found if name not in known and not name.endswith(ignored)]
    for what, odd in (("lacks", missing), ("holds the unknown", extra)):
        if odd:
            more = f" and {len(odd) - 1} more" if len(odd) > 1 else ""
            raise CheckpointError(
                f"{weights_path(folder)} {what} tensor {shown(odd[0])}{more}; config.json says otherwise"
            )


def _check_copies(found: Mapping[str, StoredTensor], copies: tuple[Copy, ...]) -> None:
    for copy in copies:
        if copy.read and copy.name in found and not same(found[copy.name], found[copy.of]):
            raise CheckpointError(f"{found[copy.name].path}: {copy.name} differs from {copy.of}; config.json ties them")
