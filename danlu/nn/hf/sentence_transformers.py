"""What a folder of ``sentence-transformers`` says of its embedding, and of the texts that are embedded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from danlu.errors import CheckpointError, shown
from danlu.files import write_json
from danlu.nn.config import Embedding, Pooling
from danlu.nn.hf.config_file import ConfigFile
from danlu.nn.hf.settings_files import read_settings

MODULES, PROMPTS = "modules.json", "config_sentence_transformers.json"
LENGTHS = tuple(
    f"sentence_{kind}_config.json"
    for kind in ("bert", "roberta", "distilbert", "camembert", "albert", "xlm-roberta", "xlnet")
)
"""The files that may have the greatest length; the first that says anything counts."""
NO_LIMIT = 2**100
"""``transformers`` writes a number somewhat below it where a tokenizer has no greatest length."""
KNOWN = ("Transformer", "Pooling", "Normalize")
MODES: dict[str, Pooling] = {"cls": "first", "mean": "mean", "lasttoken": "last"}
"""What ``pooling_mode`` calls a pooling."""
FLAGS = {"pooling_mode_cls_token": "cls", "pooling_mode_mean_tokens": "mean", "pooling_mode_lasttoken": "lasttoken"}
"""The older form: one flag for each."""


@dataclass(frozen=True, slots=True)
class TextSettings:
    """What is done to a text before the model reads it."""

    max_tokens: int | None = None
    """Tokens of a text, special ones included, that are read; the rest is cut off."""
    lower_case: bool = False
    prompts: Mapping[str, str] = field(default_factory=lambda: {"query": "", "document": ""})
    """What goes before a text, by its name."""
    default_prompt: str | None = None
    """The name of the one that is used where none is named."""
    pools_prompt: bool = True
    """Whether the tokens of a prompt count in the vector."""


def read_texts(folder: Path) -> TextSettings:
    """What the folder says of its texts, as ``sentence-transformers`` 6 reads it.

    A length that is not named is the tokenizer's.

    Raises:
        CheckpointError: a file is damaged, or a value is none that can be.
    """
    lengths = next((known for name in LENGTHS if (known := _file(folder / name)).values), _file(folder / LENGTHS[0]))
    tokenizer = _file(folder / "tokenizer_config.json")
    length = lengths if lengths.get("max_seq_length") is not None else tokenizer
    key = "max_seq_length" if length is lengths else "model_max_length"
    named = _file(folder / PROMPTS)
    prompts = {"query": "", "document": ""}
    for name, prompt in named.mapping("prompts").items():
        if prompt is not None and not isinstance(prompt, str):
            raise named.wrong(f"prompts.{name}", prompt, "a text")
        prompts[name] = prompt or ""
    default = named.get("default_prompt_name")
    return TextSettings(
        max_tokens=None if length.get(key) is None else length.integer(key, most=NO_LIMIT),
        lower_case=lengths.flag("do_lower_case", False),
        prompts=prompts,
        default_prompt=None if default is None else named.word("default_prompt_name", "", prompts),
        pools_prompt=_pools_prompt(folder),
    )


def _pools_prompt(folder: Path) -> bool:
    path = folder / MODULES
    if not path.exists():
        return True
    places = [plain_name(path, each) for each in _modules(path) if str(each.get("type")).endswith("Pooling")]
    return all(_file(folder / place / "config.json").flag("include_prompt", True) for place in places)


def _file(path: Path) -> ConfigFile:
    """A JSON object that may be missing."""
    values = _read(path) if path.exists() else {}
    if not isinstance(values, dict):
        raise CheckpointError(f"{path} must hold a JSON object")
    return ConfigFile(path, values)


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
            raise CheckpointError(f"{path}: type must be {' or '.join(KNOWN)}; got {shown(kind)}")
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
    names = [MODULES, *LENGTHS, PROMPTS, *pooling]
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


def write_texts(folder: Path, texts: TextSettings) -> None:
    """Write what :func:`read_texts` reads, in the files of ``sentence-transformers``."""
    write_json(folder / LENGTHS[0], {"max_seq_length": texts.max_tokens, "do_lower_case": texts.lower_case})
    write_json(folder / PROMPTS, {
        "prompts": dict(texts.prompts), "default_prompt_name": texts.default_prompt, "similarity_fn_name": "cosine"
    })  # fmt: skip


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
        raise CheckpointError(f"{path}: path must name a folder in the same folder; got {shown(repr(name))}")
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
        raise CheckpointError(f"{path}: pooling_mode must be one of {', '.join(MODES)}; got {shown(repr(mode))}")
    return MODES[mode]


def _read(path: Path) -> Any:
    try:
        return read_settings(path)
    except (FileNotFoundError, NotADirectoryError):
        raise CheckpointError(f"{path} is missing") from None
