"""Attention of our own in C++ beside the ways of before, and torch's own kernel.

Forward and backward of one layer in bfloat16. 2,048 tokens in rows: as in `pretrain_cpu.py` (6 heads of 64, causal,
rows of 512), of one document each and of several, and as in `t5_cpu.py` (4 heads of 64, both ways, rows of 128, a bias
that learns); beside them the same in blocks, which torch compiles. And one row of 40 documents of 7 to 45 tokens, the
longest first, two of each length, much as a step of `finetune.py --parts sst2` has it (12 heads of 32, both ways,
dropout of 0.1); beside it runs of documents of like length, in torch. Each way runs in a fresh process, and they take
turns; milliseconds are medians of some passes. Torch's kernel knows neither borders of documents nor a bias that
learns, and stands beside the first alone.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

from process import in_fresh_process
from report import Comparison, NotMeasuredError, compare, run_benchmark, say, say_machine, table

if TYPE_CHECKING:
    from torch import Tensor

SCALE = 0.125
WARMUP, PASSES = 4, 20
NATIVE, BLOCKS, TORCH, RUNS = WAYS = ("C++", "blocks, compiled", "torch's kernel", "runs of documents")


@dataclass(frozen=True)
class Case:
    """What attends."""

    name: str
    rows: int
    heads: int
    tokens: int
    causal: bool
    documents: tuple[int, ...] = ()
    """Tokens of those of a row; where there are none, a row is one."""
    bias: bool = False
    width: int = 64
    """Of a head."""
    dropout: float = 0.0

    @property
    def ways(self) -> tuple[str, ...]:
        if self.dropout:
            return NATIVE, RUNS
        return (NATIVE, BLOCKS) if self.documents else (NATIVE, BLOCKS, TORCH)


FALLING = tuple(length for length in range(45, 5, -2) for _ in range(2))
CASES = (
    Case("decoder, one document a row", 4, 6, 512, causal=True),
    Case("decoder, documents of 100 tokens", 4, 6, 512, causal=True, documents=(*[100] * 5, 12)),
    Case("T5's encoder, documents of 50 tokens", 16, 4, 128, causal=False, documents=(50, 50, 28), bias=True),
    Case("BERT with dropout, documents of 7 to 45", 1, 12, 1040, False, FALLING, width=32, dropout=0.1),
)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3, help="how often each way runs (default %(default)s)")
    options = parser.parse_args()
    if options.rounds < 1:
        parser.error("--rounds must be at least 1")
    return run_benchmark(lambda: measure(options.rounds))


def measure(rounds: int) -> list[Comparison]:
    """All ways of all cases, in turn.

    Raises:
        NotMeasuredError: this processor has no such kernel.
    """
    from danlu.nn.native.attention import HERE

    if not HERE:
        raise NotMeasuredError("attention in C++ is for processors with AVX512-BF16 and without AMX")
    say_machine()
    comparisons, lines = [], [["ms, forward + backward", *WAYS]]
    for case in CASES:
        found: dict[str, list[tuple[float, float]]] = {way: [] for way in case.ways}
        for number in range(rounds):
            for way in case.ways[:: -1 if number % 2 else 1]:
                found[way].append(in_fresh_process(milliseconds, case, way)[0])
        lines.append([case.name, *(_told(found[way]) if way in found else "" for way in WAYS)])
        sums = {way: [forward + backward for forward, backward in each] for way, each in found.items()}
        for way in case.ways[1:]:
            comparisons.append(compare(f"attention, {case.name}: C++ / {way}", sums[NATIVE], sums[way], unit="ms"))
    say(f"\n{table(lines)}\n")
    return comparisons


def _told(found: list[tuple[float, float]]) -> str:
    return " + ".join(f"{median(each):.1f} ({min(each):.1f} to {max(each):.1f})" for each in zip(*found, strict=True))


def milliseconds(case: Case, way: str) -> tuple[float, float]:
    """Of a forward and of a backward pass."""
    import torch

    generator = torch.Generator().manual_seed(1)
    shape = (case.rows, case.tokens, case.heads, case.width)
    given = [torch.randn(shape, generator=generator).bfloat16().transpose(1, 2).requires_grad_() for _ in range(3)]
    grad = torch.randn(shape, generator=generator).bfloat16().transpose(1, 2)
    attend, seconds = way_of(case, way), []
    for _ in range(WARMUP + PASSES):
        started = time.perf_counter()
        out = attend(*given)
        between = time.perf_counter()
        torch.autograd.backward(out, grad)
        seconds.append((between - started, time.perf_counter() - between))
    forward, backward = zip(*seconds[WARMUP:], strict=True)
    return median(forward) * 1e3, median(backward) * 1e3


def way_of(case: Case, way: str) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    """The function of queries, keys and values."""
    import torch
    import torch.nn.functional as F

    from danlu.nn.blocked import BlockedAttention
    from danlu.nn.native.attention import NativeAttention
    from danlu.nn.run_attention import Scoring, attend_in_runs
    from danlu.nn.runs import find_runs
    from danlu.train.compiling import LOOPS_OF_THEIR_OWN

    numbers = torch.arange(len(case.documents)).repeat_interleave(torch.tensor(case.documents, dtype=torch.int64))
    numbers = numbers.repeat(case.rows, 1)
    segments = (numbers, numbers) if case.documents else None
    square = (1, case.heads, case.tokens, case.tokens)
    bias = torch.zeros(square, dtype=torch.bfloat16, requires_grad=True) if case.bias else None

    def native(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return NativeAttention.apply(q, k, v, segments, bias, case.causal, SCALE, case.dropout)  # type: ignore[no-any-return, no-untyped-call]

    def blocked(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return BlockedAttention.apply(q, k, v, segments, bias, case.causal, SCALE)  # type: ignore[no-any-return, no-untyped-call]

    def torchs(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return F.scaled_dot_product_attention(q, k, v, is_causal=case.causal, scale=SCALE)

    runs = find_runs(numbers) if case.dropout else None  # once for all layers of a model

    def in_runs(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        assert runs is not None
        return attend_in_runs(q, k, v, runs, Scoring(case.causal, SCALE, case.dropout))

    compiled = torch.compile(blocked, dynamic=False, options={**LOOPS_OF_THEIR_OWN})
    return {NATIVE: native, BLOCKS: compiled, TORCH: torchs, RUNS: in_runs}[way]


if __name__ == "__main__":
    sys.exit(main())
