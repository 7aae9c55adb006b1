"""A model in a GGUF file, llama.cpp's form: the configuration from its metadata, the tensors dequantised.

What an architecture's metadata mean is a table: ``gguf_decoders.py``, ``gguf_encoders.py``. What its tensors are
called says the package ``gguf``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import torch

from danlu.errors import CheckpointError, suggestion
from danlu.nn.config import Embedding, Experts, Pooling, TransformerConfig
from danlu.nn.hf.config_file import ConfigFile
from danlu.nn.hf.folder import build_model, find_family, read_family_config
from danlu.nn.hf.gguf_architecture import OUTPUT, Architecture, model_config
from danlu.nn.hf.gguf_decoders import GPT2, LLAMA, QWEN2, QWEN3, QWEN3_MOE, llama_or_mistral
from danlu.nn.hf.gguf_encoders import BERT, MODERN_BERT, T5
from danlu.nn.hf.gguf_file import GGUFFile, GGUFTensor, gguf_package
from danlu.nn.hf.gguf_views import Halves, Turned, expert
from danlu.nn.hf.tensors import Readable, narrowest_dtype
from danlu.nn.transformer import Transformer

ARCHITECTURES: Mapping[str, Architecture] = {
    "llama": LLAMA, "qwen2": QWEN2, "qwen3": QWEN3, "qwen3moe": QWEN3_MOE, "gpt2": GPT2,
    "bert": BERT, "modern-bert": MODERN_BERT, "t5": T5,
}  # fmt: skip
"""By ``general.architecture``."""
SHARED: Mapping[str, Callable[[GGUFFile], Architecture]] = {"llama": llama_or_mistral}
"""Those that are several families here -> which of them a file holds."""
TOKEN_IDS = {"bos_token_id": "bos_token_id", "eos_token_id": "eos_token_id", "pad_token_id": "padding_token_id"}
"""What ``config.json`` calls a special token -> what the metadata do."""
POOLING: Mapping[int, Pooling] = {1: "mean", 2: "first", 3: "last"}
"""By ``pooling_type``."""


def load_gguf(file: GGUFFile, *, dtype: torch.dtype = torch.float32) -> Transformer:
    """The model in the file, its weights in ``dtype`` whatever they are there.

    Raises:
        CheckpointError: the architecture is not built here, a value of the metadata is missing or wrong, a
            tensor is missing, unknown, of another shape or of a type that is not read.
    """
    config, architecture = _read_config(file)
    return build_model(config, _found(file, config, architecture), dtype=dtype)


def find_architecture(file: GGUFFile) -> Architecture:
    """What the file holds.

    Raises:
        CheckpointError: it is not built here.
    """
    name = file.metadata.get("general.architecture")
    if not isinstance(name, str) or name not in ARCHITECTURES:
        raise CheckpointError(
            f"{file.path}: unknown general.architecture {name!r:.100}{suggestion(str(name)[:100], ARCHITECTURES)}"
        )
    return SHARED[name](file) if name in SHARED else ARCHITECTURES[name]


def token_ids(file: GGUFFile) -> dict[str, int]:
    """The special tokens that the metadata name, by their keys in ``config.json``."""
    given = {ours: file.metadata.get(f"tokenizer.ggml.{theirs}") for ours, theirs in TOKEN_IDS.items()}
    given["decoder_start_token_id"] = file.metadata.get("t5.decoder_start_token_id")
    return {key: value for key, value in given.items() if isinstance(value, int)}


def pooled(file: GGUFFile) -> bool:
    """Whether the file says how its model makes a row one vector."""
    return bool(file.metadata.get(f"{file.metadata['general.architecture']}.pooling_type"))


def read_gguf_pooling(file: GGUFFile, head: Embedding) -> Embedding:
    """``head`` with the pooling that the metadata name.

    Raises:
        CheckpointError: it is none that is built here.
    """
    key = f"{file.metadata['general.architecture']}.pooling_type"
    meta = ConfigFile(file.path, file.metadata)
    meta.only(key, *POOLING)
    return replace(head, pooling=POOLING[meta.integer(key)])


def stored_gguf_dtype(file: GGUFFile) -> torch.dtype:
    """The narrowest type that holds all weights exactly; float32 where some are quantised, but for rare values.

    Raises:
        CheckpointError: as :func:`load_gguf`.
    """
    config, _ = _read_config(file)
    names = [name for where in find_family(config.family).weight_names(config).values() for name in where.names]
    there = dict.fromkeys(name for name, _ in _places(file, config, names).values())
    return narrowest_dtype([file.tensors[name] for name in there if name in file.tensors])


def _read_config(file: GGUFFile) -> tuple[TransformerConfig, Architecture]:
    architecture = find_architecture(file)
    values = model_config(file, architecture)
    heads = () if values["tie_word_embeddings"] else ("lm_head.weight",)
    config = read_family_config(ConfigFile(file.path, values, heads))
    if isinstance(config.head, Embedding) and pooled(file):
        config = replace(config, head=read_gguf_pooling(file, config.head))
    return config, architecture


def _found(file: GGUFFile, config: TransformerConfig, architecture: Architecture) -> dict[str, Readable]:
    """The file's tensors under the names, and in the form, that they have in a folder."""
    names = find_family(config.family).weight_names(config)
    there = _places(file, config, [name for where in names.values() for name in where.names])
    spare = (*architecture.ignored, *((OUTPUT,) if config.tied else ()))
    known = dict.fromkeys(name for name, _ in there.values())
    missing = [name for name in known if name not in file.tensors]
    extra = [name for name in file.tensors if name not in known and name not in spare]
    for what, odd in (("lacks", missing), ("holds the unknown", extra)):
        if odd:
            more = f" and {len(odd) - 1} more" if len(odd) > 1 else ""
            raise CheckpointError(f"{file.path} {what} tensor {odd[0]}{more}; its metadata say otherwise")
    turned = {name for where in names.values() if where.transposed for name in where.names}
    return {
        theirs: _as_in_a_folder(file.tensors[name], theirs, number, config, architecture, turn=theirs in turned)
        for theirs, (name, number) in there.items()
    }


def _as_in_a_folder(
    tensor: GGUFTensor,
    theirs: str,
    number: int | None,
    config: TransformerConfig,
    architecture: Architecture,
    *,
    turn: bool,
) -> Readable:
    """The tensor that a folder calls ``theirs``: rows put back, the matrix turned, or one expert's part."""
    layer = config.stack.layers[0]
    if number is not None:
        assert isinstance(layer.mlp, Experts)
        return expert(tensor, number, layer.mlp.count)
    heads = {"q_proj": layer.attention.heads, "k_proj": layer.attention.kv_heads}.get(theirs.split(".")[-2])
    if architecture.interleaved and heads is not None:
        return Halves(tensor, heads)
    return Turned(tensor) if turn else tensor


def _places(file: GGUFFile, config: TransformerConfig, names: list[str]) -> dict[str, tuple[str, int | None]]:
    """What a folder calls a tensor -> what the file does, and which expert's part of it is meant."""
    package = gguf_package()
    architecture = file.metadata["general.architecture"]
    number = next(each for each, known in package.MODEL_ARCH_NAMES.items() if known == architecture)
    stacks = [stack for stack in (config.encoder, config.decoder) if stack is not None]
    table = package.get_tensor_name_map(number, max(len(stack.layers) for stack in stacks))
    prefix = find_family(config.family).prefix
    there: dict[str, tuple[str, int | None]] = {}
    for name in names:
        stem, _, ending = name.rpartition(".")
        before, experts, after = stem.partition(".experts.")
        which, _, matrix = after.partition(".")
        plain = f"{before}.experts.{matrix}" if experts else stem
        found = table.get_name(plain) or table.get_name(plain.removeprefix(prefix))
        there[name] = f"{found}.{ending}", int(which) if experts else None
    return there
