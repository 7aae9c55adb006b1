"""What attention costs as rows grow: sparse patterns and Linformer against full attention, 1,024 to 16,384 tokens.

One attention layer (width 512, 8 heads of 64, float32, one row), forward and backward. Each kind and length runs
in a fresh process: seconds are the median of some passes, memory is the peak of the process above what it held
before the first one. The slope is that of the logarithms between the two longest rows: 1 is linear, 2 quadratic.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from dataclasses import dataclass
from statistics import median
from typing import Any

from process import in_fresh_process
from report import Comparison, NotMeasuredError, compare, run_benchmark, say, say_machine, table

DIM, HEADS = 512, 8
LENGTHS = (1024, 2048, 4096, 8192, 16384)
WINDOW = 256
PLACES = 256
"""To which a Linformer projects keys and values."""
PASSES = 3


@dataclass(frozen=True)
class Kind:
    """One way to attend."""

    name: str
    causal: bool
    pattern: tuple[str, dict[str, int]] = ("Full", {})
    linformer: int | None = None


FULL = Kind("full, causal", True)
KINDS = (
    FULL,
    Kind(f"window of {WINDOW}, causal", True, ("Window", {"before": WINDOW - 1})),
    Kind("fixed (Sparse Transformer), causal", True, ("Fixed", {"stride": 128, "summary": 8})),
    Kind("strided (Sparse Transformer), causal", True, ("Strided", {"stride": 128})),
    Kind("full, both ways", False),
    Kind("BigBird, both ways", False, ("BigBird", {"block": 64, "neighbours": 1, "leading": 1, "random": 3})),
    Kind("Linformer, both ways", False, linformer=PLACES),
)


@dataclass(frozen=True)
class Cost:
    """Of one forward and backward pass."""

    seconds: float
    memory_bytes: int


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--longest", type=int, default=LENGTHS[-1], help="tokens of the longest row (default %(default)s)"
    )
    options = parser.parse_args()
    if options.longest < LENGTHS[1]:
        parser.error(f"--longest must be at least {LENGTHS[1]}")
    return run_benchmark(lambda: measure([length for length in LENGTHS if length <= options.longest]))


def measure(lengths: list[int]) -> list[Comparison]:
    """All kinds at all lengths, in turn."""
    say_machine()
    costs: dict[str, list[Cost]] = {kind.name: [] for kind in KINDS}
    for length in lengths:
        for kind in KINDS:
            cost, _ = in_fresh_process(cost_of, kind, length)
            costs[kind.name].append(cost)
            say(f"{length:6,} tokens, {kind.name}: {cost.seconds * 1e3:,.0f} ms, {cost.memory_bytes / 2**20:,.0f} MiB")
    for title in ("ms", "MiB"):
        rows = [[title, *(f"{length:,}" for length in lengths), "slope"]]
        for name, of in costs.items():
            values = [cost.seconds * 1e3 if title == "ms" else cost.memory_bytes / 2**20 for cost in of]
            rows.append([name, *(f"{value:,.0f}" for value in values), f"{slope(lengths, values):.2f}"])
        say(f"\n{table(rows)}")
    say()
    pairs = [(kind, FULL if kind.causal else KINDS[4]) for kind in KINDS if kind.pattern[0] != "Full" or kind.linformer]
    return [
        compare(
            f"attention of {lengths[-1]} tokens: {kind.name} / {peer.name}",
            [costs[kind.name][-1].seconds], [costs[peer.name][-1].seconds], unit="s",
        )
        for kind, peer in pairs
    ]  # fmt: skip


def slope(lengths: list[int], values: list[float]) -> float:
    """Of the logarithms, between the two longest rows."""
    return math.log(values[-1] / values[-2]) / math.log(lengths[-1] / lengths[-2])


def cost_of(kind: Kind, length: int) -> Cost:
    """Median seconds of a pass, and the memory that passes need on top of what the process held before."""
    import torch

    from danlu.machine import peak_memory_bytes
    from danlu.nn import config, patterns
    from danlu.nn.attention import Attention, Context
    from danlu.nn.sight import Sight

    torch.manual_seed(0)
    name, settings = kind.pattern
    pattern: Any = getattr(patterns, name)(**settings)
    layer = Attention(
        config.Attention(HEADS, HEADS, DIM // HEADS, pattern=pattern, linformer=kind.linformer),
        DIM, max_length=length,
    )  # fmt: skip
    if layer.places is not None:
        torch.nn.init.normal_(layer.places, std=length**-0.5)
    x_BTD = torch.randn(1, length, DIM, requires_grad=True)
    before, seconds = peak_memory_bytes(), []
    for _ in range(1 + PASSES):
        started = time.perf_counter()
        sight = Sight(queries=length, keys=length, causal=kind.causal, own=True, device=x_BTD.device)
        torch.autograd.backward(layer(x_BTD, Context(sight)).sum())
        seconds.append(time.perf_counter() - started)
    grown = peak_memory_bytes() - before
    if grown <= 0:
        raise NotMeasuredError(f"{kind.name}: the peak of memory did not move")
    return Cost(median(seconds[1:]), grown)


if __name__ == "__main__":
    sys.exit(main())
