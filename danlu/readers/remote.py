"""Files elsewhere: ``s3://``, ``gs://``, ``https://`` and every other address that fsspec knows, read as they come.

What fails for a while is tried again, from the byte it stands at; what fails for good ends the run with one line, for
a file that is read in part would be text lost in silence. Settings of a store (keys, an endpoint, ``anon``) are
fsspec's own: the environment (``AWS_PROFILE``, ``FSSPEC_S3_ANON=true`` …) or its configuration files.
"""

from __future__ import annotations

import hashlib
import io
import logging
import os
import re
import tempfile
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, TypeVar
from urllib.parse import unquote

from danlu.errors import InputError, shown
from danlu.files import make_folder
from danlu.optional import optional
from danlu.readers.packed import buffered, copied

ATTEMPTS = 5
WAIT_SECONDS = 0.5
"""Before the second attempt; twice as long before every later one."""
PATIENCE_SECONDS = 30.0
"""After which no third attempt begins, nor a later one: the packages of some stores try for as long by themselves."""
_PIECE = 4 << 20
_URL = re.compile(r"([a-z][a-z0-9+-]{1,30}):/{1,2}(?!/)")
_PACKAGES = {
    "s3": "s3fs", "s3a": "s3fs", "gs": "gcsfs", "gcs": "gcsfs", "http": "aiohttp", "https": "aiohttp",
    "hf": "huggingface_hub", "az": "adlfs", "abfs": "adlfs", "abfss": "adlfs", "adl": "adlfs", "sftp": "paramiko",
    "ssh": "paramiko", "oss": "ossfs", "oci": "ocifs", "smb": "smbprotocol", "webdav": "webdav4", "webhdfs": "requests",
}  # fmt: skip
_DENIED = ("NoCredentials", "DefaultCredentials", "Forbidden", "AccessDenied", "PartialCredentials", "RefreshError")
_Result = TypeVar("_Result")


def remote_url(path: Path) -> str | None:
    """The address that a source names, whose two slashes a path makes one; None for a path on this machine."""
    found = _URL.match(path.as_posix())
    return None if found is None else f"{found[1]}://{path.as_posix()[found.end() :]}"


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """A file elsewhere; ``stamp`` is what the store says to tell its versions apart (ETag, time), with its size.

    With ``cache``, a folder, it is fetched once and read there.
    """

    url: str
    size: int | None
    stamp: str
    cache: Path | None = field(default=None, repr=False)  # where it is kept is no part of what it is

    @property
    def name(self) -> str:
        name = self.url.rpartition("/")[2]
        return unquote(re.split(r"[?#]", name)[0]) if self.url.startswith("http") else name

    def open(self) -> BinaryIO:
        if self.cache is not None:
            return self._fetched(self.cache).open("rb")
        return self._stream()

    def after(self, place: int) -> BinaryIO:
        """The bytes from ``place`` on, as they come."""
        return buffered(_Persistent(self.url, self.size, place))

    def local(self) -> AbstractContextManager[Path]:
        return copied(self) if self.cache is None else nullcontext(self._fetched(self.cache))

    def _stream(self) -> BinaryIO:
        return buffered(_Persistent(self.url, self.size))

    def _fetched(self, cache: Path) -> Path:
        """The file in the cache, where it appears whole."""
        key = hashlib.sha256(f"{self.url}\n{self.stamp}".encode()).hexdigest()[:32]
        ending = "".join(PurePosixPath(self.name).suffixes)[-20:]
        path = cache / f"{key}{ending if re.fullmatch(r'[A-Za-z0-9.]*', ending) else ''}"
        if path.exists():
            return path
        make_folder(cache)
        handle, temporary = tempfile.mkstemp(dir=cache, prefix=f".{path.name}.")
        try:
            with os.fdopen(handle, "wb") as out, self._stream() as stream:
                while piece := stream.read(_PIECE):
                    out.write(piece)
            Path(temporary).replace(path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
        return path


def find_remote(url: str, where: str, cache: Path | None) -> list[tuple[str, RemoteFile]]:
    """The files at an address, below a folder there, or of a pattern, in sorted order, and their names below it.

    Raises:
        InputError: there is none, or it cannot be listed.
    """
    files = _filesystem(url, where)
    path = files._strip_protocol(url)
    is_pattern = any(sign in path for sign in ("*[" if url.startswith("http") else "*?["))

    def listed() -> dict[str, dict[str, Any]]:
        if is_pattern:
            return {name: info for name, info in files.glob(path, detail=True).items() if info["type"] == "file"}
        info = files.info(path)
        return {path: info} if info["type"] == "file" else files.find(path, detail=True)

    found = _trying(url, listed, where)
    if not found:
        raise InputError(f"{where}: no file at {shown(url)}")
    root = _root(path, is_pattern) if is_pattern or [*found] != [path] else path.rpartition("/")[0]
    result = []
    for name in sorted(found):
        info = found[name]
        if info.get("size") is None:  # a page that lists files does not say
            info = _trying(url, partial(files.info, name), where)
        address = name if "://" in name else f"{url.partition('://')[0]}://{name.lstrip('/')}"
        below = name.removeprefix(root).lstrip("/") or name.rpartition("/")[2]
        result.append((below, RemoteFile(address, info.get("size"), _stamp(info), cache)))
    return result


def _root(path: str, is_pattern: bool) -> str:
    return re.split(r"[*?\[]", path)[0].rpartition("/")[0] if is_pattern else path


def _stamp(info: dict[str, Any]) -> str:
    known = ("ETag", "etag", "md5Hash", "Content-MD5", "mtime", "LastModified", "Last-Modified", "updated", "created")
    return f"{next((info[key] for key in known if info.get(key)), '')} {info.get('size')}"


def _filesystem(url: str, where: str) -> Any:
    core = optional("fsspec.core", purpose=f"{where}: {shown(url)}", install="'danlu[remote]'")
    protocol = url.partition("://")[0]
    for package in ("fsspec", "gcsfs", "s3fs"):  # what they log is in our error, and their tracebacks help nobody
        _silence(logging.getLogger(package))
    try:
        files, _ = core.url_to_fs(url)
    except ImportError:
        package = _PACKAGES.get(protocol, f"of fsspec for {protocol}://")
        raise InputError(f"{where}: {shown(url)} needs the package {package}: pip install {package}") from None
    except ValueError as error:
        raise InputError(f"{where}: cannot read {shown(url)}: {error}") from None
    except Exception as error:
        raise InputError(f"{where}: {_said(url, error)}") from None
    return files


def _silence(logger: logging.Logger) -> None:
    """Nobody hears what it logs, unless a handler was set for it, or for all."""
    if not logger.handlers:
        logger.addHandler(logging.NullHandler())


def _trying(url: str, action: Callable[[], _Result], where: str = "") -> _Result:
    """What ``action`` gives, tried again where that may help.

    Raises:
        InputError: it fails for good.
    """
    begun = time.monotonic()
    for attempt in range(ATTEMPTS):
        try:
            return action()
        except InputError:
            raise
        except Exception as raised:  # of the store's package, which may be any
            error = _behind(raised)
            late = attempt > 0 and time.monotonic() - begun >= PATIENCE_SECONDS
            last = late or attempt == ATTEMPTS - 1
            if last or not _may_pass(error):
                tried = f", {attempt + 1} times" if attempt else ""
                raise InputError(f"{where}: {_said(url, error)}{tried}".removeprefix(": ")) from None
            time.sleep(WAIT_SECONDS * 2**attempt)
    raise AssertionError


def _behind(error: Exception) -> Exception:
    """What really happened: for HTTP fsspec calls every failure a file that is not there."""
    cause = error.__cause__
    return cause if isinstance(error, FileNotFoundError) and isinstance(cause, Exception) else error


def _may_pass(error: Exception) -> bool:
    """Can the same request succeed later: after a timeout, a broken connection, an error of the server?"""
    status = _status(error)
    if status is not None:
        return status >= 500 or status in (408, 429)
    if isinstance(error, FileNotFoundError | PermissionError | IsADirectoryError | NotImplementedError | ValueError):
        return False
    return not _denied(error)


def _denied(error: Exception) -> bool:
    """Whether it is about who asks. gcsfs raises a plain OSError for status 403."""
    if isinstance(error, PermissionError) or _status(error) in (401, 403) or str(error).startswith("Forbidden: "):
        return True
    return any(word in type(error).__name__ for word in _DENIED)


def _status(error: BaseException) -> int | None:
    """HTTP's status, as aiohttp, gcsfs and botocore tell it."""
    for name in ("status", "code"):
        status = getattr(error, name, None)
        if isinstance(status, int) and 100 <= status < 600:
            return status
    response = getattr(error, "response", None)
    status = response.get("ResponseMetadata", {}).get("HTTPStatusCode") if isinstance(response, dict) else None
    return status if isinstance(status, int) else None


def _said(url: str, error: Exception) -> str:
    """One line: what went wrong."""
    status = _status(error)
    name = type(error).__name__
    if isinstance(error, FileNotFoundError) or status == 404:
        return f"no file at {shown(url)} (not found)"
    if _denied(error):
        return f"cannot read {shown(url)}: no credentials, or not those that it asks for ({name}: {_line(error)})"
    if isinstance(error, TimeoutError) or "Timeout" in name:
        return f"cannot read {shown(url)}: no answer in time ({name})"
    if status is not None:
        return f"cannot read {shown(url)}: the server answers with status {status}"
    return f"cannot read {shown(url)}: {name}: {_line(error)}"


def _line(error: Exception) -> str:
    return shown(" ".join(str(error).split()))


class _Persistent(io.RawIOBase):
    """A file elsewhere, opened again at the byte where it stands when reading fails."""

    def __init__(self, url: str, size: int | None, place: int = 0) -> None:
        super().__init__()
        self._url = url
        self._size = size
        self._place = place
        self._file: Any = None

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer).cast("B")
        piece = _trying(self._url, lambda: self._read(len(view)))
        view[: len(piece)] = piece
        self._place += len(piece)
        return len(piece)

    def _read(self, size: int) -> bytes:
        try:
            if self._file is None:
                self._file = _filesystem(self._url, "reading").open(self._url, "rb", block_size=_PIECE)
                self._pass_over(self._place)
            piece = bytes(self._file.read(size))
            if size and not piece and self._size is not None and self._place < self._size:
                raise ConnectionError(f"it ends after {self._place} of {self._size} bytes")
        except Exception:
            self._drop()
            raise
        return piece

    def _pass_over(self, size: int) -> None:
        if size and self._file.seekable() and getattr(self._file, "size", None) is not None:
            self._file.seek(size)
            return
        while size and (piece := self._file.read(min(size, _PIECE))):
            size -= len(piece)

    def _drop(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            file.close()

    def close(self) -> None:
        self._drop()
        super().close()
