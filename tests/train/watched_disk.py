"""What a program does to a disk, call by call, and what is left of it when the power fails.

:class:`Watch` hears every call of the system that changes something, from Python and Rust alike, before it is made;
``disk_calls.c`` has to be preloaded. :class:`Disk` replays those calls and knows what had been synced.
"""

from __future__ import annotations

import ctypes
import os
import random
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import safetensors.torch

HOOK = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_int,
    ctypes.c_void_p, ctypes.c_size_t,
)  # fmt: skip
KNOWN = {"open", "write", "ftruncate64", "fsync", "rename", "unlink", "unlinkat", "rmdir", "mkdir"}
"""The calls that :class:`Disk` can replay; another one in a save is an error here, not a gap."""

Tree = dict[str, "bytes | Tree"]
"""A folder: the content of its files and folders by name."""


@dataclass(frozen=True)
class Call:
    """One call of the system, about to be made."""

    name: str
    path: Path
    target: Path | None = None
    """Where a rename goes to."""
    data: bytes = b""
    place: int = 0
    """Where in the file the data goes; of ``ftruncate``, the new size."""
    file: int = -1

    @property
    def needs_room(self) -> bool:
        return self.name in ("open", "write", "ftruncate64", "fsync", "mkdir")


class Watch:
    """Hears the calls that change a folder, while it is asked to."""

    def __init__(self) -> None:
        self._folder: Path | None = None
        self._decide: Callable[[Call], int] = lambda call: 0
        self._opened = Path()
        self._hook = HOOK(self._hear)  # kept: C has only its address
        ctypes.CDLL(None).watch_disk(self._hook)
        for module in (safetensors.torch, safetensors):
            if hasattr(module, "serialize_file"):
                module.serialize_file = self._with_its_rename(module.serialize_file)

    @contextmanager
    def hearing(self, folder: Path, decide: Callable[[Call], int]) -> Iterator[None]:
        """``decide`` says 0 to each call in ``folder``, or the error with which it is to fail."""
        self._folder, self._decide = folder, decide
        try:
            yield
        finally:
            self._folder = None

    def _with_its_rename(self, serialize: Callable[..., None]) -> Callable[..., None]:
        """Safetensors writes beside the file that is meant; its rename goes past the C library, and is told here."""

        def serialize_file(tensors: object, filename: Path, *rest: object, **settings: object) -> None:
            serialize(tensors, filename, *rest, **settings)
            if self._folder is not None and Path(filename).is_relative_to(self._folder):
                error = self._decide(Call("rename", self._opened, Path(filename)))
                if error:
                    raise OSError(error, os.strerror(error))

        return serialize_file

    def _hear(  # noqa: PLR0913 (as C calls it)
        self, name: bytes, at: int, path: bytes | None, at_2: int, path_2: bytes | None, file: int, data: int, size: int
    ) -> int:
        if self._folder is None:
            return 0
        where = _resolved(at, path) if path is not None else Path(f"/proc/self/fd/{file}").readlink()
        if not where.is_relative_to(self._folder):
            return 0
        if name == b"open":
            self._opened = where
        target = _resolved(at_2, path_2) if path_2 is not None else None
        written = ctypes.string_at(data, size) if data and size else b""
        place = os.lseek(file, 0, os.SEEK_CUR) if name == b"write" else size
        return self._decide(Call(name.decode(), where, target, written, place, file))


def _resolved(folder: int, path: bytes) -> Path:
    start = Path.cwd() if folder < 0 else Path(f"/proc/self/fd/{folder}").readlink()
    return start / os.fsdecode(path)


@dataclass(eq=False)
class File:
    data: bytearray = field(default_factory=bytearray)
    synced: bytes = b""


@dataclass(eq=False)
class Folder:
    entries: dict[str, File | Folder] = field(default_factory=dict)
    synced: dict[str, File | Folder] = field(default_factory=dict)
    changes: list[dict[str, File | Folder | None]] = field(default_factory=list)
    """Since the last sync; a rename inside the folder is one."""

    def change(self, changes: dict[str, File | Folder | None]) -> None:
        self.changes.append(changes)
        self.entries = _with(self.entries, changes)


def _with(entries: dict[str, File | Folder], changes: dict[str, File | Folder | None]) -> dict[str, File | Folder]:
    return {name: node for name, node in {**entries, **changes}.items() if node is not None}


class Disk:
    """A folder as a system may keep it: nothing is on the disk for certain but what was synced."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.top = self._read(root)

    def _read(self, path: Path) -> File | Folder:
        if path.is_file():
            return File(bytearray(path.read_bytes()), path.read_bytes())
        entries = {each.name: self._read(each) for each in path.iterdir()}
        return Folder(entries, dict(entries))

    def make(self, call: Call) -> None:
        """Do what ``call`` does, where the system would."""
        assert call.name in KNOWN, f"{call.name} cannot be replayed"
        node = self._find(call.path)
        if call.name == "fsync":
            _sync(node)
        elif call.name == "write":
            node.data[call.place : call.place + len(call.data)] = call.data
        elif call.name == "ftruncate64":
            node.data[:] = node.data[: call.place].ljust(call.place, b"\0")
        else:
            self._name(call, node)

    def _name(self, call: Call, node: File | Folder | None) -> None:
        folder, name = self._find(call.path.parent), call.path.name
        if call.name in ("open", "mkdir"):
            if node is None and folder is not None:
                folder.change({name: File() if call.name == "open" else Folder()})
        elif node is None:
            return
        elif call.target is not None:
            beyond = self._find(call.target.parent)
            if beyond is folder:
                folder.change({name: None, call.target.name: node})
            else:
                beyond.change({call.target.name: node})
                folder.change({name: None})
        elif not (isinstance(node, Folder) and node.entries):
            folder.change({name: None})

    def _find(self, path: Path) -> File | Folder | None:
        node: File | Folder | None = self.top
        for part in path.relative_to(self.root).parts:
            node = node.entries.get(part) if isinstance(node, Folder) else None
        return node

    def now(self) -> Tree:
        """What a program sees that does not crash."""
        return _tree(self.top, lambda folder: folder.entries, lambda file: bytes(file.data))

    def only_what_was_synced(self) -> Tree:
        return _tree(self.top, lambda folder: folder.synced, lambda file: file.synced)

    def names_without_content(self) -> Tree:
        """Every name has reached the disk, and of the content only what was synced: ext4 and XFS may do that."""
        return _tree(self.top, lambda folder: folder.entries, lambda file: file.synced)

    def by_chance(self, randoms: random.Random) -> Tree:
        """Of what was not synced, each change of a name and each file's content is there or not."""

        def entries(folder: Folder) -> dict[str, File | Folder]:
            found = folder.synced
            for changes in folder.changes:
                found = _with(found, changes) if randoms.random() < 0.5 else found
            return found

        return _tree(self.top, entries, lambda file: randoms.choice([file.synced, bytes(file.data)]))


def _sync(node: File | Folder | None) -> None:
    if isinstance(node, Folder):
        node.synced, node.changes = dict(node.entries), []
    elif node is not None:
        node.synced = bytes(node.data)


def _tree(node: Folder, entries: Callable[[Folder], dict[str, File | Folder]], data: Callable[[File], bytes]) -> Tree:
    return {
        name: data(each) if isinstance(each, File) else _tree(each, entries, data)
        for name, each in sorted(entries(node).items())
    }


def read_tree(folder: Path) -> Tree:
    return {path.name: path.read_bytes() if path.is_file() else read_tree(path) for path in sorted(folder.iterdir())}


def write_tree(folder: Path, tree: Tree) -> None:
    folder.mkdir(parents=True)
    for name, content in tree.items():
        if isinstance(content, bytes):
            (folder / name).write_bytes(content)
        else:
            write_tree(folder / name, content)


def write_half(call: Call) -> None:
    """The first half of what was to be written: a write that was cut by the end of the process."""
    assert stat.S_ISREG(os.fstat(call.file).st_mode)
    os.write(call.file, call.data[: len(call.data) // 2])
