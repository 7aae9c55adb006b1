"""Files that appear whole or not at all, their hashes, and the disk's refusals in one clear line."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import hashlib
import json
import math
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from danlu.errors import DanluError, InputError, OutputError, RunLockedError

_REFUSALS = {
    errno.ENOSPC: "no space left on the disk",
    errno.EDQUOT: "the disk quota is used up",
    errno.EFBIG: "the file would be larger than the system allows",
    errno.EACCES: "permission denied",
    errno.EPERM: "permission denied",
    errno.EROFS: "the file system is read-only",
    errno.EIO: "the disk fails to do it (input/output error)",
    errno.ENOTDIR: "a part of the path is a file",
    errno.EEXIST: "a part of the path is a file",
    errno.EISDIR: "it is a folder",
}
_WRITING_ONLY = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)
"""Known by their words, too, where no number is told: nothing that is read ends so."""

PARTIAL = ".partial"
"""How the hidden name of a file ends that :func:`atomic_write` has not finished."""
SYNC_BYTES = 2**25
"""Of a large file that are synced at a time, so that it is seen how far a slow disk has come."""
_synced = 0


@contextmanager
def writing(place: Path) -> Iterator[None]:
    """Turn the operating system's refusals during work in the folder ``place`` into one clear line.

    Raises:
        OutputError: ``place`` or something in it cannot be written.
        InputError: permission was denied for a file elsewhere.
    """
    try:
        yield
    except DanluError:
        raise
    except OSError as error:
        file = Path(error.filename or place)
        if error.errno not in _REFUSALS or (error.errno == errno.EEXIST and file.is_dir()):
            raise
        reason = _REFUSALS[error.errno]
        if file.resolve().is_relative_to(place.resolve()) or place.resolve().is_relative_to(file.resolve()):
            raise OutputError(f"cannot write to {file}: {reason}") from error
        raise InputError(f"cannot use {file}: {reason}") from error
    except Exception as error:
        # Libraries in C++ and Rust wrap the system's error in a class of their own and keep only its words.
        number = next((each for each in _WRITING_ONLY if os.strerror(each) in str(error)), None)
        if number is None:
            raise
        raise OutputError(f"cannot write to {place}: {_REFUSALS[number]}") from error


def atomic_write(path: Path, data: bytes) -> None:
    """Write a file that appears whole or not at all, and is on the disk when this returns."""
    with atomic_writing(path) as file:
        file.write(data)


@contextmanager
def atomic_writing(path: Path) -> Iterator[BinaryIO]:
    """A file to write to, which appears whole, and is on the disk, once the ``with`` has ended well, or not at all."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=PARTIAL)
    try:
        with naming(path), os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).chmod(0o644)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def remove_partial(files: Iterable[Path]) -> None:
    """Delete those of ``files`` that a process which was killed was writing."""
    for path in files:
        if path.name.startswith(".") and path.name.endswith(PARTIAL) and path.is_file():
            path.unlink(missing_ok=True)


def make_folder(folder: Path) -> None:
    """Make a folder and those above it, where they are not there; their names are on the disk when this returns."""
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for path in missing:
        sync_folder(path.parent)


def remove_folder(folder: Path) -> None:
    """Delete a folder with all that is in it, or a link to one; the system's errors name it, and no file inside."""
    try:
        if folder.is_symlink():
            folder.unlink()
        else:
            shutil.rmtree(folder)
    except OSError as error:
        error.filename = str(folder)
        raise


@contextmanager
def held(lock: Path, *, of: Path, otherwise: str) -> Iterator[None]:
    """Hold a file for this process; the lock goes with the process, however it ends.

    Args:
        of: what it stands for, and ``otherwise`` what to do instead of waiting, for the error.

    Raises:
        RunLockedError: another process holds it.
        OutputError: it cannot be written.
    """
    with writing(of):
        descriptor = os.open(lock, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = os.read(descriptor, 100).decode() or "another process"
            raise RunLockedError(f"{of} is in use by {owner}; wait for it to end or {otherwise}") from None
        os.truncate(descriptor, 0)
        os.pwrite(descriptor, f"process {os.getpid()} since {time.strftime('%H:%M:%S')}".encode(), 0)
        yield
    finally:
        os.close(descriptor)


def sync_file(path: Path) -> None:
    """Make a file's content durable; of a large one piece by piece, which :func:`synced` counts."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        with naming(path):
            size = os.fstat(descriptor).st_size
            for start in range(0, size, SYNC_BYTES) if size > SYNC_BYTES else ():
                _sync_piece(descriptor, start, SYNC_BYTES)
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def synced() -> int:
    """Pieces of large files that this process has synced so far."""
    return _synced


def _sync_piece(descriptor: int, start: int, count: int) -> None:
    """Have these bytes on the disk when this returns; on systems that cannot do that, ``fsync`` does it all.

    The system tells an error once: who has it here does not have it from ``fsync``.
    """
    global _synced  # noqa: PLW0603
    if sys.platform == "linux":
        whole = 1 | 2 | 4  # SYNC_FILE_RANGE_WAIT_BEFORE, _WRITE, _WAIT_AFTER: linux/fs.h
        libc = ctypes.CDLL(None, use_errno=True)
        arguments = ctypes.c_int(descriptor), ctypes.c_int64(start), ctypes.c_int64(count), ctypes.c_uint(whole)
        if libc.sync_file_range(*arguments) != 0 and (number := ctypes.get_errno()) not in (
            errno.ENOSYS,
            errno.EINVAL,
            errno.ESPIPE,
        ):
            raise OSError(number, os.strerror(number))
    _synced += 1


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Have the system's errors say which file it was: from an open file they do not."""
    try:
        yield
    except OSError as error:
        error.filename = error.filename or str(path)
        raise


def sync_folder(folder: Path) -> None:
    """Make renames inside ``folder`` durable."""
    sync_file(folder)  # to the system a folder is a file too


def finite(value: Any) -> Any:
    """The same with null for NaN and infinity, which JSON does not have."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: finite(each) for key, each in value.items()}
    return [finite(each) for each in value] if isinstance(value, list | tuple) else value


def write_json(path: Path, value: Any) -> None:
    """Atomic, indented, readable JSON."""
    atomic_write(path, json_text(value).encode())


def json_text(value: Any) -> str:
    """What :func:`write_json` writes."""
    return json.dumps(value, indent=2, ensure_ascii=False, default=str) + "\n"


def read_json(path: Path) -> dict[str, Any] | None:
    """The object in ``path``; None where there is no such file or it is not whole.

    Raises:
        InputError: it is a folder, or may not be read.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError, ValueError, RecursionError):
        return None
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from None
    return value if isinstance(value, dict) else None


def read_jsonl(path: Path) -> list[dict[str, Any]]:
    """The objects in ``path``, one a line.

    Only a newline ends a line: JSON leaves U+2028 and U+0085 as they are, and ``str.splitlines`` would cut there.

    Raises:
        InputError: a line is no JSON object; the error says which.
    """
    objects = []
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            try:
                value = json.loads(line)
            except ValueError as error:
                raise InputError(f"{path} is damaged at line {number}: {error}") from None
            except RecursionError:
                raise InputError(f"{path} is damaged at line {number}: it is nested too deeply") from None
            if not isinstance(value, dict):
                raise InputError(f"{path} is damaged at line {number}: it must be an object; got {value!r:.40}")
            objects.append(value)
    return objects


def stamps(files: Iterable[Path]) -> tuple[tuple[str, int, int], ...]:
    """The path, size and time of each file: files whose stamps are the same are taken to hold what they held."""
    found = ((path, path.stat()) for path in files)
    return tuple((str(path), stat.st_size, stat.st_mtime_ns) for path, stat in found)


def hash_file(path: Path) -> str:
    """SHA-256 of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def hash_input(path: Path, *, of: str) -> str:
    """The same of a file that the stage ``of`` reads.

    Raises:
        InputError: it is gone, or what it lies on fails.
    """
    try:
        return hash_file(path)
    except OSError as error:
        raise InputError(f"{of}: {path} cannot be read: {error.strerror or error}") from None
