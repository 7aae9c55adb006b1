"""Where a model is: a file or a folder here, or a name on the Hugging Face hub, fetched where there is a network."""

from __future__ import annotations

import errno
import re
from pathlib import Path
from typing import Any

from danlu.errors import InputError
from danlu.optional import optional

NAME = re.compile(r"([A-Za-z0-9][\w.-]*/)?[A-Za-z0-9][\w.-]*")
"""The oldest models, gpt2 and bert-base-chinese among them, have no organisation before their name."""
FETCHED = (
    "*.safetensors", "*.json", "*.jinja", "vocab.txt", "merges.txt",
    "tokenizer.model", "spiece.model", "sentencepiece.bpe.model",
)  # fmt: skip
"""Weights that cannot run code, settings, tokenizers: never a pickle, never a program."""
LEFT = ("*/*.safetensors", "consolidated*", "onnx/*", "openvino/*", "coreml/*", "original/*")
"""The same weights in other forms."""
SECONDS = 10.0
"""How long the hub may take to answer at all."""
OF_THE_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS)


def locate(source: str, *, endpoint: str | None = None) -> Path:
    """The file or folder ``source``, or the folder that the model of this name was fetched to.

    Args:
        endpoint: another hub than https://huggingface.co.

    Raises:
        InputError: there is no such file or folder, and no such model can be fetched.
    """
    place = Path(source).expanduser()
    if place.exists():
        return place
    if not NAME.fullmatch(source):
        raise InputError(f"there is no file or folder {source} (a name on the hub looks like org/model)")
    hub = optional("huggingface_hub", purpose=f"there is no folder {source}; fetching it from the hub")
    return _fetch(hub, source, endpoint)


def _fetch(hub: Any, name: str, endpoint: str | None) -> Path:
    # What it would warn of is said in one line below
    optional("huggingface_hub.utils.logging", purpose="fetching").set_verbosity_error()
    wanted: dict[str, Any] = {"allow_patterns": list(FETCHED), "ignore_patterns": list(LEFT)}
    try:
        # The one call that is not tried again and again: without a network it fails at once.
        hub.HfApi(endpoint=endpoint).model_info(name, timeout=SECONDS)
        return Path(hub.snapshot_download(name, endpoint=endpoint, **wanted))
    except Exception as error:  # of whichever HTTP library this version of the hub's client is built on
        if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno in OF_THE_DISK):
            raise
        fetched = _fetched_before(hub, name, wanted)
        if fetched is None:
            raise InputError(
                f"there is no folder {name}, and it cannot be fetched from the hub: {_reason(error)}"
            ) from None
        return fetched


def _fetched_before(hub: Any, name: str, wanted: dict[str, Any]) -> Path | None:
    try:
        return Path(hub.snapshot_download(name, local_files_only=True, **wanted))
    except Exception:  # it says at length that it is not there
        return None


def _reason(error: Exception) -> str:
    if type(error).__name__ in ("RepositoryNotFoundError", "GatedRepoError"):
        return "there is no such model, or it is not open to everybody (hf auth login)"
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
