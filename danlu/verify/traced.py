"""Calls of the system that change a folder, heard before the kernel makes them: ``ptrace``, so Linux only.

Whatever language makes a call, it is heard; a debugger's way, but all that is done here is to count and to kill.
"""

from __future__ import annotations

import ctypes
import os
import platform
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

TRACE_ME, GO_ON, OPTIONS, SYSCALL_INFO = 0, 24, 0x4200, 0x420E
MARKED_STOPS, KILL_ON_EXIT = 0x1, 0x100000
SYSCALL_STOP = signal.SIGTRAP | 0x80
ENTRY = 1
REFUSED = 77
"""The exit code of a process that may not be traced."""
CREATE, TRUNCATE = 0o100, 0o1000
"""Flags of ``open``."""
HERE = -100
"""In place of a folder's descriptor: the current one."""
CALLS = {
    "x86_64": {
        1: "write", 18: "pwrite64", 20: "writev", 74: "fsync", 75: "fdatasync", 77: "ftruncate", 285: "fallocate",
        2: "open", 257: "openat", 82: "rename", 264: "renameat", 316: "renameat2", 83: "mkdir", 258: "mkdirat",
        84: "rmdir", 87: "unlink", 263: "unlinkat", 86: "link", 265: "linkat",
    },
    "aarch64": {
        64: "write", 68: "pwrite64", 66: "writev", 82: "fsync", 83: "fdatasync", 46: "ftruncate", 47: "fallocate",
        56: "openat", 38: "renameat", 276: "renameat2", 34: "mkdirat", 35: "unlinkat", 37: "linkat",
    },
}  # fmt: skip
"""Of each kind of processor, the numbers of the calls that change a disk."""
ON_FILES = ("write", "pwrite64", "writev", "fsync", "fdatasync", "ftruncate", "fallocate")
"""Calls whose first argument is an open file."""
IN_FOLDERS = ("openat", "renameat", "renameat2", "mkdirat", "unlinkat", "linkat")
"""Calls whose first two are an open folder and a path that starts there."""


class NotTracedError(Exception):
    """This system lets nobody be traced."""


class _Info(ctypes.Structure):
    _fields_ = (
        ("op", ctypes.c_uint8), ("pad", ctypes.c_uint8 * 3), ("arch", ctypes.c_uint32), ("ip", ctypes.c_uint64),
        ("sp", ctypes.c_uint64), ("number", ctypes.c_uint64), ("arguments", ctypes.c_uint64 * 8),
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Call:
    """One call, about to be made by a process that waits."""

    pid: int
    name: str
    arguments: tuple[int, ...]
    place: Path

    def write_half(self) -> None:
        """Do half of what a ``write`` is to do, as where the process dies in the middle of it."""
        assert self.name == "write"
        file, address, size = self.arguments[:3]
        with open(f"/proc/{self.pid}/mem", "rb", buffering=0) as memory:  # noqa: PTH123 (a file of the kernel's)
            memory.seek(address)
            data = memory.read(size // 2)
        about = Path(f"/proc/{self.pid}/fdinfo/{file}").read_text(encoding="ascii")
        at = next(int(line.split()[1]) for line in about.splitlines() if line.startswith("pos:"))
        descriptor = os.open(self.place, os.O_WRONLY)
        try:
            os.pwrite(descriptor, data, at)
        finally:
            os.close(descriptor)


def supported() -> str:
    """Why calls cannot be heard here; nothing where they can."""
    if platform.system() != "Linux" or platform.machine() not in CALLS:
        return "needs Linux on x86_64 or aarch64"
    return ""


def calls(work: Callable[[], object], folder: Path) -> Iterator[Call]:
    """The calls of a forked process that does ``work``, in ``folder``, each before it is made.

    Close the iterator to kill the process there.

    Raises:
        NotTracedError: the system forbids it.
    """
    child = os.fork()
    if child == 0:
        code = 1
        try:
            if _trace(TRACE_ME, 0) != 0:
                os._exit(REFUSED)
            os.kill(os.getpid(), signal.SIGSTOP)
            work()
            code = 0
        finally:
            os._exit(code)
    ended = False
    try:
        _, status = os.waitpid(child, 0)
        if not os.WIFSTOPPED(status):
            ended = True
            raise NotTracedError("this system lets no process be traced")
        _trace(OPTIONS, child, data=MARKED_STOPS | KILL_ON_EXIT)
        numbers, given = CALLS[platform.machine()], 0
        while True:
            if _trace(GO_ON, child, data=given) != 0:
                raise NotTracedError("this system does not go on with what is traced")
            _, status = os.waitpid(child, 0)
            if not os.WIFSTOPPED(status):
                ended = True
                assert os.waitstatus_to_exitcode(status) == 0, "the work failed"
                return
            stop = os.WSTOPSIG(status)
            given = 0 if stop == SYSCALL_STOP else stop
            if stop == SYSCALL_STOP and (call := _entered(child, numbers, folder)) is not None:
                yield call
    finally:
        if not ended:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)


def _entered(child: int, numbers: dict[int, str], folder: Path) -> Call | None:
    """The call that is about to be made, where it is one that changes ``folder``."""
    info = _Info()
    if _trace(SYSCALL_INFO, child, address=ctypes.sizeof(info), data=ctypes.addressof(info)) <= 0:
        raise NotTracedError("this system does not tell which calls are made")
    name = numbers.get(info.number, "") if info.op == ENTRY else ""
    if not name:
        return None
    arguments = tuple(info.arguments)
    if name == "open" and not arguments[1] & (CREATE | TRUNCATE):
        return None
    if name == "openat" and not arguments[2] & (CREATE | TRUNCATE):
        return None
    place = _place(child, name, arguments)
    return Call(child, name, arguments, place) if place.is_relative_to(folder) else None


def _place(child: int, name: str, arguments: tuple[int, ...]) -> Path:
    """The file or folder that is changed; of a rename, that which gets another name."""
    if name in ON_FILES:
        return Path(f"/proc/{child}/fd/{arguments[0]}").readlink()
    start, path = (arguments[0], arguments[1]) if name in IN_FOLDERS else (HERE, arguments[0])
    inside = ctypes.c_int32(start & 0xFFFFFFFF).value
    begin = Path(f"/proc/{child}/cwd" if inside == HERE else f"/proc/{child}/fd/{inside}").readlink()
    return begin / _text(child, path)


def _text(child: int, address: int) -> str:
    """The path at an address of the process."""
    with open(f"/proc/{child}/mem", "rb", buffering=0) as memory:  # noqa: PTH123 (a file of the kernel's)
        found = b""
        while b"\0" not in found:
            # No further than the page: the next one may not be there.
            memory.seek(address + len(found))
            found += memory.read(4096 - (address + len(found)) % 4096)
    return os.fsdecode(found[: found.index(b"\0")])


def _trace(request: int, child: int, *, address: int = 0, data: int = 0) -> int:
    ptrace = ctypes.CDLL(None, use_errno=True).ptrace
    ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
    ptrace.restype = ctypes.c_long
    return int(ptrace(request, child, address, data))
