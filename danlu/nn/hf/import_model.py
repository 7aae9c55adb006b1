"""``danlu import``: a folder, a GGUF file or a hub's model, checked and written as a complete Hugging Face folder."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from danlu.errors import CheckpointError, InputError, OutputError
from danlu.files import atomic_write, read_json, sync_folder, write_json, writing
from danlu.nn.config import Embedding
from danlu.nn.hf.config_file import ConfigFile
from danlu.nn.hf.folder import load_model, save_model, stored_dtype
from danlu.nn.hf.gguf import load_gguf, pooled, read_gguf_pooling, stored_gguf_dtype, token_ids
from danlu.nn.hf.gguf_file import GGUFFile
from danlu.nn.hf.gguf_tokenizer import write_tokenizer
from danlu.nn.hf.hub import locate
from danlu.nn.hf.sentence_transformers import module_files, write_modules
from danlu.nn.hf.settings_files import check_stays, read_object, read_settings
from danlu.nn.transformer import Transformer
from danlu.tokenizers.folder import READERS, read_tokenizer

IMPORTED = Path("runs/imported")
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
TOKENIZER_FILES = (
    "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "chat_template.jinja",
    "chat_template.json", "vocab.json", "vocab.txt", "merges.txt", "tokenizer.model", "spiece.model",
    "sentencepiece.bpe.model",
)  # fmt: skip
VOCABULARIES = (
    "tokenizer.json",
    "vocab.txt",
    "vocab.json",
    "tokenizer.model",
    "spiece.model",
    "sentencepiece.bpe.model",
)
"""What a tokenizer may lie in, the best first; which of them are read here says ``READERS``."""
TOKEN_IDS = (
    "bos_token_id", "eos_token_id", "pad_token_id", "decoder_start_token_id", "forced_bos_token_id",
    "forced_eos_token_id",
)  # fmt: skip
KEPT = (
    *TOKEN_IDS, "cls_token_id", "sep_token_id", "mask_token_id", "unk_token_id",
    "id2label", "label2id", "problem_type", "task_specific_params",
)  # fmt: skip
"""Keys of ``config.json`` that no arithmetic depends on, taken over as they are."""
GENERATION = "generation_config.json"
CODE = "auto_map"
"""Names Python files that ``transformers`` would run."""


@dataclass(frozen=True, slots=True)
class Source:
    """What was read, and what has to be written beside the weights."""

    place: Path
    model: Transformer
    dtype: torch.dtype
    config: dict[str, Any]
    """Keys of ``config.json`` that the model itself does not hold."""
    generation: dict[str, Any]
    """What ``generation_config.json`` holds."""
    write_others: Callable[[Path], None]
    """Writes the tokenizer, and how rows are pooled."""


def import_model(source: str, out: Path | None = None, *, dtype: str | None = None) -> dict[str, str]:
    """Read ``source`` whole, write ``out``, read that back and compare.

    Args:
        source: a folder, a ``.gguf`` file or a name on the hub.
        out: a folder that is not there yet; ``runs/imported/NAME`` by default. It appears whole or not at all.
        dtype: of the weights that are written; by default the narrowest of theirs that holds all of them
            exactly, which is float32 where they are quantised.

    Returns:
        What was imported, in words: family, parameters, layers, vocabulary, context, tokenizer, where it is.

    Raises:
        InputError: there is no such model.
        CheckpointError: it is damaged, or of a kind that is not built here.
        OutputError: ``out`` is there already, or cannot be written.
    """
    place = locate(source)
    name = place.stem if place.is_file() else Path(source).expanduser().resolve().name
    out = out or IMPORTED / name
    with writing(out):
        if out.exists() and (not out.is_dir() or any(out.iterdir())):
            raise OutputError(f"{out} exists already; remove it or name another folder")
        found = _read(place, DTYPES[dtype] if dtype is not None else None)
        _check_finite(found)
        rows = _write_whole(found, out)
    return {**rows, "written to": str(out)}


def _read(place: Path, dtype: torch.dtype | None) -> Source:
    if place.is_dir():
        files = sorted(place.glob("*.gguf"))
        if (place / "config.json").exists() or not files:
            return _read_folder(place, dtype)
        if len(files) > 1:
            raise InputError(f"{place} holds {len(files)} GGUF files; name one of them, such as {files[0]}")
        place = check_stays(place, files[0])
    elif place.suffix != ".gguf":
        raise InputError(f"{place} must be a folder or a .gguf file")
    return _read_gguf(place, dtype)


def _read_folder(folder: Path, dtype: torch.dtype | None) -> Source:
    config = ConfigFile.load(folder).values
    names = [name for name in (*TOKENIZER_FILES, GENERATION) if (folder / name).is_file()] + module_files(folder)
    for name in ("config.json", *names):
        check_stays(folder, folder / name)
    own = dtype or stored_dtype(folder)
    model = load_model(folder, dtype=own)
    kept = {key: config[key] for key in KEPT if key in config}
    generation = read_object(folder / GENERATION) if GENERATION in names else {}

    def copy(out: Path) -> None:
        for name in names:
            if name != GENERATION:  # which is written with every model
                _copy(folder / name, out / name)

    return Source(folder, model, own, kept, generation or _ids(kept), copy)


def _read_gguf(path: Path, dtype: torch.dtype | None) -> Source:
    file = GGUFFile.open(path)
    own = dtype or stored_gguf_dtype(file)
    ids = token_ids(file)
    generation: dict[str, Any] = dict(ids)
    turn = file.metadata.get("tokenizer.ggml.eot_token_id")
    if isinstance(turn, int) and "eos_token_id" in ids and turn != ids["eos_token_id"]:
        generation["eos_token_id"] = [ids["eos_token_id"], turn]  # an answer ends with either
    config = {**dict.fromkeys(("bos_token_id", "eos_token_id", "pad_token_id")), **ids}
    model = load_gguf(file, dtype=own)
    # A decoder that embeds is written as one that writes too; modules.json says how its rows are pooled.
    head = model.config.head if isinstance(model.config.head, Embedding) else Embedding()
    pooling = read_gguf_pooling(file, head) if pooled(file) else None

    def write(folder: Path) -> None:
        write_tokenizer(file, folder)
        if pooling is not None:
            write_modules(folder, pooling, dim=model.config.dim)

    return Source(path, model, own, config, generation, write)


def _ids(config: dict[str, Any]) -> dict[str, Any]:
    return {key: config[key] for key in TOKEN_IDS if config.get(key) is not None}


def _copy(source: Path, target: Path) -> None:
    """A file as it is, but for the names of code."""
    target.parent.mkdir(exist_ok=True)
    values = read_settings(source) if source.suffix == ".json" else None
    if isinstance(values, dict) and CODE in values:
        write_json(target, {key: value for key, value in values.items() if key != CODE})
    else:
        atomic_write(target, source.read_bytes())


def _check_finite(found: Source) -> None:
    for name, weight in found.model.named_parameters():
        if not torch.isfinite(weight).all():
            dtype = str(found.dtype).removeprefix("torch.")
            raise CheckpointError(f"{found.place}: {name} holds infinity or what is no number, read as {dtype}")


def _write_whole(found: Source, out: Path) -> dict[str, str]:
    """Write ``out``, which appears when it is whole; where it cannot be, no folder is left behind."""
    made = [folder for folder in (out.parent, *out.parent.parents) if not folder.exists()]
    out.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(dir=out.parent, prefix=f".{out.name}."))
    try:
        _write(found, temporary)
        rows = _describe(found, temporary)
        temporary.chmod(0o755)
        temporary.rename(out)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        for folder in made:
            with contextlib.suppress(OSError):  # somebody else has put something there
                folder.rmdir()
        raise
    sync_folder(out.parent)
    return rows


def _write(found: Source, folder: Path) -> None:
    save_model(found.model, folder, dtype=found.dtype)
    config = read_json(folder / "config.json") or {}
    # Not the token ids of a tokenizer trained here: where the source names none, its family's defaults are meant.
    config = {key: value for key, value in config.items() if key not in TOKEN_IDS} | found.config
    write_json(folder / "config.json", dict(sorted(config.items())))
    write_json(folder / GENERATION, found.generation)
    found.write_others(folder)
    again = load_model(folder, dtype=found.dtype)
    there, here = again.state_dict(), found.model.state_dict()
    same = again.config == found.model.config and there.keys() == here.keys()
    if not same or not all(torch.equal(there[name], here[name]) for name in here):
        raise CheckpointError(f"{folder} does not hold the model that was written to it; is the disk sound?")


def _describe(found: Source, folder: Path) -> dict[str, str]:
    config = found.model.config
    parameters = sum(weight.numel() for weight in found.model.parameters())
    stacks = {"encoder": config.encoder, "decoder": config.decoder}
    layers = {name: len(stack.layers) for name, stack in stacks.items() if stack is not None}
    return {
        "family": f"{config.family} ({' and '.join(layers)})",
        "parameters": f"{parameters:,} in {str(found.dtype).removeprefix('torch.')}",
        "layers": " + ".join(map(str, layers.values())),
        "vocabulary": f"{config.vocab_size:,} tokens",
        "context": f"{config.max_length:,} tokens",
        "tokenizer": _describe_tokenizer(found.place, folder),
    }


def _describe_tokenizer(place: Path, folder: Path) -> str:
    there = [name for name in VOCABULARIES if (folder / name).exists()]
    if not there:
        return "none beside the weights"
    if not set(there) & READERS.keys():
        return there[0]
    try:
        inner, config = read_tokenizer(folder)
    except InputError as error:
        raise CheckpointError(str(error).replace(str(folder), str(place))) from None
    chat = "chat_template" in config or any(folder.glob("chat_template.*"))
    return f"{type(inner.model).__name__}, {inner.get_vocab_size():,} tokens{', with a chat template' if chat else ''}"
