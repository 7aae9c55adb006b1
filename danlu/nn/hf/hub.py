"""Where a model is: a file or a folder here, or a name on the Hugging Face hub, fetched where there is a network."""

from __future__ import annotations

import errno
import re
import shlex
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from danlu.errors import DanluError, InputError, shown
from danlu.files import writing
from danlu.log import harmless, say
from danlu.nn.hf.config_file import ConfigFile
from danlu.nn.hf.weight_files import open_weights
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
UNREACHABLE = {
    "ConnectionError", "TimeoutError",  # Python's, and of requests
    "Timeout", "NetworkError", "TimeoutException", "ProxyError", "RemoteProtocolError",  # of requests and httpx
}  # fmt: skip
"""Errors with which there is no answer; every other one is an answer of the hub's, or a bug."""
OF_THE_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS)


def locate(source: str, *, endpoint: str | None = None) -> Path:
    """The file or folder ``source``, or the folder that the model of this name was fetched to.

    Args:
        endpoint: another hub than https://huggingface.co.

    Raises:
        InputError: there is no such file or folder, and no such model can be fetched.
        OutputError: there is no place to fetch it to.
    """
    if (place := _here(source)) is not None:
        return place
    if not NAME.fullmatch(source):
        raise InputError(f"there is no file or folder {source} (a name on the hub looks like org/model)")
    hub = optional("huggingface_hub", purpose=f"there is no folder {source}; fetching it from the hub")
    # What it would warn of is said in one line below
    optional("huggingface_hub.utils.logging", purpose="fetching").set_verbosity_error()
    with writing(Path(optional("huggingface_hub.constants", purpose="fetching").HF_HUB_CACHE)):
        return _fetch(hub, source, endpoint)


def _here(source: str) -> Path | None:
    try:
        place = Path(source).expanduser()
        return place if place.exists() else None
    except RuntimeError:  # ~somebody who has no home here
        return None
    except OSError as error:
        raise InputError(f"{shown(source)} cannot be read: {error.strerror}") from None


def _fetch(hub: Any, name: str, endpoint: str | None) -> Path:
    wanted: dict[str, Any] = {"allow_patterns": list(FETCHED), "ignore_patterns": list(LEFT)}
    try:
        # The one call that is not tried again and again: without a network it fails at once.
        files = [
            each.rfilename for each in hub.HfApi(endpoint=endpoint).model_info(name, timeout=SECONDS).siblings or ()
        ]
    except Exception as error:  # of whichever HTTP library this version of the hub's client is built on
        _raise_again_if_ours(error)
        if not any(each.__name__ in UNREACHABLE for each in type(error).__mro__):
            raise _not_fetched(name, error) from None
        folder = _fetched_before(hub, name, wanted, error)
        say(harmless(f"{name}: the hub is not reached ({_reason(error)}); what was fetched before is used: {folder}"))
        return folder
    _refuse_gguf(name, files)
    try:
        return Path(hub.snapshot_download(name, endpoint=endpoint, **wanted))
    except Exception as error:  # as above; what is there already is only a part
        _raise_again_if_ours(error)
        raise _not_fetched(name, error) from None


def _refuse_gguf(name: str, files: list[str]) -> None:
    found = sorted(file for file in files if file.endswith(".gguf"))
    if found and not any(file.endswith(".safetensors") for file in files):
        fetch = f"hf download {name} {shlex.quote(shown(found[0]))} --local-dir ."
        raise InputError(f"{name} on the hub is {len(found)} GGUF files; download one ({fetch}) and name that file")


def _fetched_before(hub: Any, name: str, wanted: dict[str, Any], why: Exception) -> Path:
    """The folder that an earlier call has fetched whole."""
    try:
        folder = Path(hub.snapshot_download(name, local_files_only=True, **wanted))
        with ExitStack() as stack:  # older versions of the hub's client take a part for the whole
            ConfigFile.load(folder, open_weights(folder, stack))
    except DanluError as error:
        raise _not_fetched(name, why, f"; what was fetched before is not whole: {error}") from None
    except Exception as error:  # it says at length that it is not there
        _raise_again_if_ours(error)
        part = type(error).__name__ == "IncompleteSnapshotError"
        raise _not_fetched(name, why, "; what was fetched before is not whole" if part else "") from None
    return folder


def _raise_again_if_ours(error: Exception) -> None:
    """What has nothing to do with the hub."""
    if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno in OF_THE_DISK):
        raise error


def _not_fetched(name: str, error: Exception, more: str = "") -> InputError:
    return InputError(f"there is no folder {name}, and it cannot be fetched from the hub: {_reason(error)}{more}")


def _reason(error: Exception) -> str:
    if type(error).__name__ in ("RepositoryNotFoundError", "GatedRepoError"):
        return "there is no such model, or it is not open to everybody (hf auth login)"
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {shown(lines[0])}" if lines else type(error).__name__
