"""What malloc is told, by versions of glibc that take more or less; and that freed memory then stays."""

from __future__ import annotations

import ctypes
import ctypes.util
import os
import subprocess
import sys

import pytest

from danlu.nn.heap import (
    CAPACITIES,
    KERNELS,
    M_MMAP_THRESHOLD,
    M_TRIM_THRESHOLD,
    give_back_freed_memory,
    keep_few_kernels,
    keep_freed_memory,
    set_thresholds,
)

MIB = 2**20
FAULTS = """
import resource
import sys
import torch
from danlu.nn.heap import keep_freed_memory

def blocks():
    return [torch.ones(40 * 2**18) for _ in range(4)]  # 40 MiB: glibc of itself keeps up to 32

if sys.argv[1] == "kept":
    assert keep_freed_memory()
for _ in range(3):
    blocks()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    blocks()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""

HELD = """
import sys
import torch
from pathlib import Path
from danlu.nn.heap import give_back_freed_memory, keep_freed_memory

def held():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096

assert keep_freed_memory()
wide = [torch.ones(2**20) for _ in range(40)]
narrow = [each.to(torch.bfloat16) for each in wide]  # so that the end of the heap is in use
before = held()
del wide
if sys.argv[1] == "given back":
    assert give_back_freed_memory()
print(before - held())
"""

SIZES = """
import sys
import torch
from pathlib import Path
from danlu.nn.heap import keep_few_kernels

def held():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096

if sys.argv[1] == "few":
    keep_few_kernels()
x, weight = torch.randn(1000, 64).bfloat16(), torch.randn(64, 64).bfloat16()
torch.mm(x, weight)
before = held()
for rows in range(1, 1000):
    torch.mm(x[:rows], weight)
print(held() - before)
"""


class Malloc:
    """A glibc that takes thresholds up to ``most`` bytes."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.set: dict[int, int] = {}

    def __call__(self, option: int, value: int) -> int:
        if option == M_MMAP_THRESHOLD and value > self.most:
            return 0
        self.set[option] = value
        return 1


@pytest.mark.parametrize(("most", "taken"), [(2**62, 2**31 - 1), (32 * MIB, 32 * MIB)])
def test_the_largest_threshold_that_is_taken_is_set(most: int, taken: int) -> None:
    malloc = Malloc(most)
    assert set_thresholds(malloc)
    assert malloc.set == {M_MMAP_THRESHOLD: taken, M_TRIM_THRESHOLD: 2**31 - 1}


def test_the_end_of_the_heap_is_left_alone_where_blocks_are_mapped_all_the_same() -> None:
    malloc = Malloc(MIB)
    assert not set_thresholds(malloc)
    assert not malloc.set


def test_names_are_those_of_the_c_library() -> None:
    """``malloc.h``: M_TRIM_THRESHOLD is -1, M_MMAP_THRESHOLD -3."""
    assert (M_TRIM_THRESHOLD, M_MMAP_THRESHOLD) == (-1, -3)


def test_freed_memory_stays() -> None:
    """Blocks that come again and again bring no new pages, counted by the kernel."""
    if not hasattr(ctypes.CDLL(ctypes.util.find_library("c")), "gnu_get_libc_version"):
        assert not keep_freed_memory()
        return
    faults = {
        how: int(subprocess.run([sys.executable, "-c", FAULTS, how], check=True, capture_output=True, text=True).stdout)
        for how in ("usual", "kept")
    }
    assert faults["kept"] < 0.1 * faults["usual"], faults


def test_freed_memory_is_given_back_when_asked_for() -> None:
    """160 MiB that lie before others on the heap, by what the kernel says."""
    if not hasattr(ctypes.CDLL(ctypes.util.find_library("c")), "gnu_get_libc_version"):
        assert not give_back_freed_memory()
        return
    given = {
        how: int(subprocess.run([sys.executable, "-c", HELD, how], check=True, capture_output=True, text=True).stdout)
        for how in ("kept", "given back")
    }
    assert given["kept"] < 16 * MIB < 140 * MIB < given["given back"], given


def test_kernels_of_sizes_that_do_not_come_again_are_not_kept() -> None:
    usual = {name: value for name, value in os.environ.items() if name not in CAPACITIES}  # a test may have set them
    held = {}
    for how in ("usual", "few"):
        command = [sys.executable, "-c", SIZES, how]
        held[how] = int(subprocess.run(command, check=True, capture_output=True, text=True, env=usual).stdout)
    if held["usual"] < 200 * MIB:
        pytest.skip("products of bfloat16 are not oneDNN's here")
    assert held["few"] < 0.6 * held["usual"], held


def test_what_the_environment_says_of_kernels_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CAPACITIES[0], "17")
    monkeypatch.delenv(CAPACITIES[1], raising=False)
    keep_few_kernels()
    assert [os.environ[name] for name in CAPACITIES] == ["17", str(KERNELS)]
