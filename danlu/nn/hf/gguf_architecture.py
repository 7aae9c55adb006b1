"""What a ``general.architecture`` of GGUF is here: a table of keys that becomes the ``config.json`` of a family."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from danlu.errors import CheckpointError
from danlu.nn.hf.config_file import ConfigFile
from danlu.nn.hf.gguf_file import GGUFFile

EMBEDDING, OUTPUT = "token_embd.weight", "output.weight"

PLAIN: Mapping[str, tuple[Any, ...]] = {
    "attention.clamp_kqv": (0.0,), "attention.max_alibi_bias": (0.0,), "attention.scale": (0.0,),
    "attention.sliding_window": (0,), "attention.causal": (True,),
    "attn_logit_softcapping": (0.0,), "final_logit_softcapping": (0.0,),
    "logit_scale": (0.0, 1.0), "residual_scale": (0.0, 1.0), "embedding_scale": (0.0, 1.0),
    "expert_count": (0,), "expert_shared_count": (0,), "nextn_predict_layers": (0,), "use_parallel_residual": (False,),
}  # fmt: skip
"""Keys that change the arithmetic -> the values with which they change nothing."""


@dataclass(frozen=True, slots=True)
class Key:
    """A key of the metadata behind the name of the architecture, and how it is read."""

    name: str
    read: Callable[[ConfigFile, str], Any] = ConfigFile.integer
    otherwise: str | None = None
    """The key that counts where there is none."""


@dataclass(frozen=True, slots=True)
class Metadata:
    """A file and what its metadata say behind the name of the architecture."""

    file: GGUFFile
    known: ConfigFile
    prefix: str

    def read(self, key: Key) -> Any:
        """The value of the key."""
        name = self.prefix + key.name
        if key.otherwise is not None and self.known.get(name) is None:
            name = self.prefix + key.otherwise
        return key.read(self.known, name)

    def get(self, key: str) -> Any:
        """The value as it stands; None where there is none."""
        return self.known.get(self.prefix + key)

    def integer(self, key: str, *default: int) -> int:
        """A whole number above 0."""
        return self.known.integer(self.prefix + key, *default)

    def only(self, key: str, *choices: Any) -> None:
        """Refuse other values than ``choices``."""
        self.known.only(self.prefix + key, *choices)


def nothing_more(meta: Metadata) -> dict[str, Any]:
    """Of the architectures that are a table."""
    return {}


@dataclass(frozen=True, slots=True)
class Architecture:
    """What a ``general.architecture`` is here."""

    model_type: str
    name: str
    """The class of ``transformers``."""
    keys: Mapping[str, Key]
    """A key of ``config.json`` -> that of the metadata."""
    fixed: Mapping[str, Any] = field(default_factory=dict)
    """Keys of ``config.json`` of which llama.cpp knows one value only."""
    more: Callable[[Metadata], Mapping[str, Any]] = nothing_more
    """Keys of ``config.json`` that follow from several of the metadata, or from tensors."""
    plain: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    """What differs from :data:`PLAIN`; a key without values is read elsewhere."""
    interleaved: bool = False
    """Whether rows of queries and keys stand pair by pair, for llama.cpp turns neighbours, not halves."""
    ignored: tuple[str, ...] = ()
    """Tensors that some files hold and nobody reads."""


def model_config(file: GGUFFile, architecture: Architecture) -> dict[str, Any]:
    """What the ``config.json`` of the model would hold.

    Raises:
        CheckpointError: a value of the metadata is missing or wrong, or there is no embedding.
    """
    meta = Metadata(file, ConfigFile(file.path, file.metadata), file.metadata["general.architecture"] + ".")
    if EMBEDDING not in file.tensors:
        raise CheckpointError(f"{file.path} lacks tensor {EMBEDDING}")
    for key, values in {**PLAIN, **architecture.plain}.items():
        if values:
            meta.only(key, *values)
    layers = meta.integer("block_count")
    if layers > len(file.tensors):  # before there are names for them all
        raise CheckpointError(
            f"{file.path}: {meta.prefix}block_count is {layers}, but there are only {len(file.tensors)} tensors"
        )
    return {
        "model_type": architecture.model_type,
        "architectures": [architecture.name],
        "vocab_size": file.tensors[EMBEDDING].shape[0],
        "tie_word_embeddings": OUTPUT not in file.tensors,
        **{ours: meta.read(key) for ours, key in architecture.keys.items()},
        **architecture.fixed,
        **architecture.more(meta),
    }
