"""What this machine is: processor, cores, memory, and the versions that a run was made with."""

from __future__ import annotations

import os
import platform
import resource
import shutil
import subprocess
import sys
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from danlu import __version__

FAST_BFLOAT16 = ("amx_bf16", "avx512_bf16")
"""Processor flags, the faster first."""
FAST_INT8 = ("amx_int8", "avx512_vnni", "avx_vnni")
"""Those by which integers of 8 bits are multiplied faster than floats; likewise."""
CORE_PACKAGES = ("torch", "numpy", "pyarrow", "safetensors", "tokenizers", "pydantic")


def environment() -> dict[str, Any]:
    """What a run runs on: versions, hardware, commit, command; written to ``env.json``."""
    return {
        "danlu": __version__,
        "commit": commit(),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processor": processor(),
        "cores": cores(),
        "memory_bytes": memory_bytes(),
        "packages": {name: version(name) for name in CORE_PACKAGES},
        "command": [Path(sys.argv[0]).name, *sys.argv[1:]],
    }


def version(package: str) -> str | None:
    """The installed version of a package; None where it is not installed."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def cores() -> int:
    """Processor cores that this process may use; containers and ``taskset`` lower it."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def cpp_compiler() -> str | None:
    """Where the C++ compiler that torch takes stands, ``CXX`` without arguments before others; None: nowhere."""
    return shutil.which(os.environ.get("CXX", "clang++" if sys.platform == "darwin" else "g++"))


def memory_bytes() -> int | None:
    """Main memory that this process may use: the machine's, or its control group's where that is less."""
    try:
        installed = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError):
        return None
    limits = [installed]
    for file in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        text = _read(file).strip()
        if text.isdigit():
            limits.append(int(text))
    return min(limits)


def free_memory_bytes() -> int | None:
    """Main memory that is free or quickly freed; None where the system does not tell."""
    for line in _read("/proc/meminfo").splitlines():
        if line.startswith("MemAvailable:"):
            return min(int(line.split()[1]) * 1024, memory_bytes() or sys.maxsize)
    return None


def peak_memory_bytes() -> int:
    """The most main memory that this process has held at once, since its program began.

    Not ``ru_maxrss`` where Linux tells it otherwise: a new process starts there with the peak of the one that made it.
    """
    for line in _read("/proc/self/status").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def processor() -> str:
    """The processor's name, such as ``Intel(R) Xeon(R) Platinum 8488C``."""
    lines = _read("/proc/cpuinfo").splitlines()
    name = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
    return name or platform.processor() or platform.machine()


@cache
def processor_flags() -> frozenset[str]:
    """What the processor can do, as Linux names it (``avx512_bf16``, ``amx_bf16``); empty elsewhere."""
    for line in _read("/proc/cpuinfo").splitlines():
        name, _, flags = line.partition(":")
        if name.strip() in ("flags", "Features"):
            return frozenset(flags.split())
    return frozenset()


def fast_bfloat16() -> str | None:
    """What lets the processor multiply bfloat16 in hardware, ``amx_bf16`` say; None where nothing does."""
    return next((flag for flag in FAST_BFLOAT16 if flag in processor_flags()), None)


def fast_int8() -> str | None:
    """What lets the processor multiply integers of 8 bits in hardware; None where nothing does."""
    return next((flag for flag in FAST_INT8 if flag in processor_flags()), None)


def commit() -> str | None:
    """The commit of the source that runs, with ``+`` where files differ from it; None outside a clone."""
    root = Path(__file__).parent.parent
    if not (root / ".git").exists():
        return None
    try:
        head = _git(root, "rev-parse", "HEAD")
        return head + ("+" if _git(root, "status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.SubprocessError):
        return None  # no git here, or a clone without commits: a run does not fail for that


def _git(root: Path, *arguments: str) -> str:
    done = subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, text=True, check=True, timeout=10)
    return done.stdout.strip()


def _read(file: str) -> str:
    try:
        return Path(file).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
