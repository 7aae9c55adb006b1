"""What a folder of ``sentence-transformers`` says of its embedding: ``modules.json`` and ``1_Pooling/config.json``."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from danlu.errors import CheckpointError
from danlu.files import write_json
from danlu.nn.config import Embedding, Pooling

MODULES = "modules.json"
KNOWN = ("Transformer", "Pooling", "Normalize")
MODES: dict[str, Pooling] = {"cls": "first", "mean": "mean", "lasttoken": "last"}
"""What ``pooling_mode`` calls a pooling."""
FLAGS = {"pooling_mode_cls_token": "cls", "pooling_mode_mean_tokens": "mean", "pooling_mode_lasttoken": "lasttoken"}
"""The older form: one flag for each."""


def read_pooling(folder: Path, head: Embedding) -> Embedding:
    """``head`` with the pooling and the length that the folder's modules give; unchanged where it has none.

    Raises:
        CheckpointError: a file is damaged, or there is a module or a pooling that is not built here.
    """
    path = folder / MODULES
    if not path.exists():
        return head
    listed = _modules(path)
    kinds = [str(module.get("type")).rpartition(".")[2] for module in listed]
    for kind in kinds:
        if kind not in KNOWN:
            raise CheckpointError(f"{path}: type must be {' or '.join(KNOWN)}; got {kind}")
    for module, kind in zip(listed, kinds, strict=True):
        if kind == "Pooling":
            head = replace(head, pooling=_pooling(folder / plain_name(path, module) / "config.json"))
    return replace(head, normalise="Normalize" in kinds)


def module_files(folder: Path) -> list[str]:
    """The files that :func:`read_pooling` reads, and those beside them that ``sentence-transformers`` reads."""
    path = folder / MODULES
    if not path.exists():
        return []
    pooling = [f"{plain_name(path, module)}/config.json" for module in _modules(path) if module.get("path")]
    names = [MODULES, "sentence_bert_config.json", "config_sentence_transformers.json", *pooling]
    return [name for name in names if (folder / name).is_file()]


def write_modules(folder: Path, head: Embedding, *, dim: int) -> None:
    """Write what :func:`read_pooling` reads, in the form that ``sentence-transformers`` has had from the beginning."""
    mode = next(name for name, pooling in MODES.items() if pooling == head.pooling)
    kinds = ["Transformer", "Pooling", *(["Normalize"] if head.normalise else [])]
    listed = [
        {"idx": number, "name": str(number), "path": f"{number}_{kind}" if number else "",
         "type": f"sentence_transformers.models.{kind}"}
        for number, kind in enumerate(kinds)
    ]  # fmt: skip
    flags = {flag: name == mode for flag, name in FLAGS.items()}
    pooling = folder / "1_Pooling"
    pooling.mkdir(exist_ok=True)
    write_json(pooling / "config.json", {"word_embedding_dimension": dim, **flags})
    write_json(folder / MODULES, listed)


def _modules(path: Path) -> list[dict[str, Any]]:
    listed = _read(path)
    if not isinstance(listed, list) or not all(isinstance(module, dict) for module in listed):
        raise CheckpointError(f"{path} must hold a list of modules")
    return listed


def plain_name(path: Path, module: dict[str, Any]) -> str:
    """The folder of a module, which lies in that of the model.

    Raises:
        CheckpointError: it lies elsewhere.
    """
    name = module.get("path")
    if not isinstance(name, str) or Path(name).name != name or name == "..":
        raise CheckpointError(f"{path}: path must name a folder in the same folder; got {name!r}")
    return name


def _pooling(path: Path) -> Pooling:
    values = _read(path)
    if not isinstance(values, dict):
        raise CheckpointError(f"{path} must hold a JSON object")
    mode = values.get("pooling_mode")
    if mode is None:
        used = [key for key, value in values.items() if key.startswith("pooling_mode_") and value is True]
        mode = FLAGS.get(used[0], used[0]) if len(used) == 1 else used
    if isinstance(mode, list) and len(mode) == 1:
        mode = mode[0]
    if not isinstance(mode, str) or mode not in MODES:
        raise CheckpointError(f"{path}: pooling_mode must be one of {', '.join(MODES)}; got {mode!r}")
    return MODES[mode]


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CheckpointError(f"{path} is missing") from None
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} is damaged: {error}") from None
