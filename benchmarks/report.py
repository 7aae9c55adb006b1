"""What every benchmark prints: the machine, tables, curves in plain text, and the last line in JSON."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

from danlu.machine import commit, cores, memory_bytes, processor, processor_flags, version

MARKS = "●○◆◇▲△■□"
"""One for each curve of a plot, in order."""


FLAGS = ("avx2", "avx512f", "avx512_bf16", "amx_bf16", "asimd", "bf16")
"""What decides how fast a processor multiplies; those with bf16 do it in bfloat16."""
BUSY = 0.1
"""Of the processor's time: more than this before a measurement, and something else is running."""


class NotMeasuredError(Exception):
    """A measurement that could not be taken; the script ends with exit code 1."""


@dataclass(frozen=True)
class Comparison:
    """One claim: ours beside the peer's, measured in the same go."""

    benchmark: str
    ours: float
    peer: float
    unit: str
    ratio: float
    """``ours / peer``: the median over the rounds."""
    spread: tuple[float, float]
    """The least and the greatest ratio of a round."""


def compare(benchmark: str, ours: Sequence[float], peer: Sequence[float], *, unit: str) -> Comparison:
    """Compare rounds pairwise: what was measured side by side belongs together.

    Raises:
        NotMeasuredError: there is no round, or a value that is no positive number.
    """
    if not ours or len(ours) != len(peer) or not all(0 < value < float("inf") for value in [*ours, *peer]):
        raise NotMeasuredError(f"{benchmark}: nothing to compare in {list(ours)} and {list(peer)} {unit}")
    ratios = [mine / theirs for mine, theirs in zip(ours, peer, strict=True)]
    return Comparison(
        benchmark,
        _short(median(ours)),
        _short(median(peer)),
        unit,
        _short(median(ratios)),
        (_short(min(ratios)), _short(max(ratios))),
    )


def last_line(comparisons: Sequence[Comparison]) -> str:
    """The last line on standard output: a JSON list, one object a claim."""
    return json.dumps([asdict(comparison) for comparison in comparisons], ensure_ascii=False)


def run_benchmark(measure: Callable[[], Sequence[Comparison]]) -> int:
    """Measure, print the last line and return the exit code: 1 where it could not be measured."""
    try:
        comparisons = measure()
        if not comparisons:
            raise NotMeasuredError("no comparison was made")
    except NotMeasuredError as error:
        print(f"not measured: {error}", file=sys.stderr)
        return 1
    print(last_line(comparisons), flush=True)
    return 0


def say(line: str = "") -> None:
    """Print one line at once, so that it stands in order with what the processes print."""
    print(line, flush=True)


def say_machine() -> None:
    """Print what this is measured on, and warn of what would falsify it."""
    memory = memory_bytes()
    flags = [flag for flag in FLAGS if flag in processor_flags()]
    packages = ", ".join(f"{name} {version(name)}" for name in ("torch", "transformers") if version(name))
    say(f"machine: {processor()}, {cores()} cores, {f'{memory / 2**30:.0f} GiB' if memory else 'memory unknown'}")
    has_bf16 = any("bf16" in flag for flag in flags)
    say(f"flags:   {' '.join(flags) or 'none known'}; bfloat16 in hardware: {'yes' if has_bf16 else 'no'}")
    say(f"source:  danlu {commit() or version('danlu')}; {packages}")
    if "OMP_NUM_THREADS" in os.environ:
        say(f"warning: OMP_NUM_THREADS={os.environ['OMP_NUM_THREADS']} is set and holds for every side")
    busy = _busy_share()
    if busy > BUSY:
        say(f"warning: the processor is {busy:.0%} busy before this begins; something else is running")
    say()


def table(rows: Sequence[Sequence[str]]) -> str:
    """Rows of equal length in columns, the first row the head; the first column left, the others right."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [
        "  ".join(cell.ljust(width) if place == 0 else cell.rjust(width) for place, (cell, width) in enumerate(cells))
        for cells in ([*zip(row, widths, strict=True)] for row in rows)
    ]
    lines.insert(1, "  ".join("-" * width for width in widths))
    return "\n".join(line.rstrip() for line in lines)


def text_plot(curves: Mapping[str, Sequence[float]], *, width: int = 72, height: int = 16) -> str:
    """Curves over steps 1, 2, …, drawn over one another; where two meet, the first is seen."""
    points = [value for curve in curves.values() for value in curve]
    low, high = min(points), max(points)
    longest = max(len(curve) for curve in curves.values())
    grid = [[" "] * width for _ in range(height)]
    for (_, curve), mark in reversed([*zip(curves.items(), MARKS, strict=False)]):
        for place, value in enumerate(curve):
            column = round(place / max(1, longest - 1) * (width - 1))
            row = round((high - value) / ((high - low) or 1.0) * (height - 1))
            grid[row][column] = mark
    labels = {0: f"{high:.2f}", height - 1: f"{low:.2f}"}
    lines = [f"{labels.get(number, ''):>7} |{''.join(row).rstrip()}" for number, row in enumerate(grid)]
    lines.append(f"{'':>7} +{'-' * width}")
    lines.append(f"{'step':>7}  1{longest:>{width - 1}}")
    lines += [f"{mark:>9} {name}" for name, mark in zip(curves, MARKS, strict=False)]
    return "\n".join(lines)


def _busy_share(seconds: float = 0.5) -> float:
    """The share of all cores' time that is used while this process sleeps; 0 where the system does not tell."""
    before = _processor_times()
    time.sleep(seconds)
    used, total = (after - then for then, after in zip(before, _processor_times(), strict=True))
    return used / total if total else 0.0


def _processor_times() -> tuple[int, int]:
    """Ticks in use and in all, since the machine started."""
    try:
        first = Path("/proc/stat").read_text(encoding="ascii").splitlines()[0]
    except OSError:
        return 0, 0
    ticks = [int(word) for word in first.split()[1:9]]
    return sum(ticks) - ticks[3] - ticks[4], sum(ticks)  # idle, and waiting for a disk


def _short(value: float) -> float:
    """Four digits: no measurement here is better than that."""
    return float(f"{value:.4g}")
