"""The loss over a large vocabulary: peak memory and difference beside ``torch.nn.functional.cross_entropy``.

16,384 tokens of width 256 and vocabularies of 8,192 to 150,000, float32, forward and backward, each in a fresh
process. Memory is the peak above what the process held before; the gradient of the weight, which both must make, is
told beside it. The plain loss is left out where its logits would not fit into this machine's memory.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import dataclass
from typing import Literal

from process import in_fresh_process
from report import Comparison, NotMeasuredError, compare, run_benchmark, say, say_machine, table

from danlu.machine import memory_bytes

DIM, TOKENS = 256, 16_384
VOCABULARIES = (8_192, 32_768, 65_536, 150_000)
COPIES = 4
"""Of the logits that the plain loss holds at its peak, or thereabouts."""
WANTED = 1e-6
"""The largest relative difference of the losses."""


@dataclass(frozen=True)
class Cost:
    """Of one forward and backward pass."""

    loss: float
    seconds: float
    memory_bytes: int


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=int, default=TOKENS, help="tokens at once (default %(default)s)")
    options = parser.parse_args()
    if options.tokens < 1:
        parser.error("--tokens must be at least 1")
    return run_benchmark(lambda: measure(options.tokens))


def measure(tokens: int) -> list[Comparison]:
    """Both losses over every vocabulary."""
    say_machine()
    rows = [
        ["vocabulary", "logits MiB", "weight gradient MiB", "plain MiB", "ours MiB", "plain s", "ours s", "difference"]
    ]
    comparisons = []
    for size in VOCABULARIES:
        logits = 4 * tokens * size
        ours, _ = in_fresh_process(cost_of, "ours", size, tokens)
        shown = [f"{size:,}", _mib(logits), _mib(4 * size * DIM)]
        if COPIES * logits > (memory_bytes() or 0):
            rows.append([*shown, "too much", _mib(ours.memory_bytes), "-", f"{ours.seconds:.1f}", "-"])
            continue
        plain, _ = in_fresh_process(cost_of, "plain", size, tokens)
        difference = abs(ours.loss - plain.loss) / plain.loss
        rows.append([
            *shown, _mib(plain.memory_bytes), _mib(ours.memory_bytes), f"{plain.seconds:.1f}", f"{ours.seconds:.1f}",
            f"{difference:.1e}",
        ])  # fmt: skip
        if difference > WANTED:
            raise NotMeasuredError(f"vocabulary {size}: the losses differ by {difference:.1e}")
        comparisons.append(
            compare(f"peak memory of the loss, vocabulary {size:,}", [ours.memory_bytes / 1e6],
                    [plain.memory_bytes / 1e6], unit="MB")
        )  # fmt: skip
    say(f"\n{table(rows)}\n")
    return comparisons


def cost_of(which: Literal["ours", "plain"], size: int, tokens: int) -> Cost:
    """Loss, seconds, and memory on top of the weights."""
    import torch
    import torch.nn.functional as F

    from danlu.machine import peak_memory_bytes
    from danlu.nn.config import Head
    from danlu.nn.head import LanguageModelHead

    generator = torch.Generator().manual_seed(0)
    head = LanguageModelHead(Head(), dim=DIM, vocab_size=size)
    with torch.no_grad():
        head.weight.normal_(0.0, DIM**-0.5, generator=generator)
    hidden = torch.randn(tokens, DIM, generator=generator, requires_grad=True)
    targets = torch.randint(size, (tokens,), generator=generator)
    before, started = peak_memory_bytes(), time.perf_counter()
    loss = head.loss(hidden, targets) if which == "ours" else F.cross_entropy(head(hidden), targets, reduction="sum")
    loss.backward()  # type: ignore[no-untyped-call]
    seconds = time.perf_counter() - started
    grown = peak_memory_bytes() - before
    if grown <= 0:
        raise NotMeasuredError(f"vocabulary {size}: the peak of memory did not move")
    return Cost(loss.item() / tokens, seconds, grown)


def _mib(size: float) -> str:
    return f"{size / 2**20:,.0f}"


if __name__ == "__main__":
    sys.exit(main())
