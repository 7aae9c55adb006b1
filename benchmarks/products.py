"""What share of a training step and of embedding is products of matrices, which the machine alone makes faster.

The step is Danlu's in `pretrain_cpu.py` with AdamW, the embedding that of `forward_cpu.py`. A profiler adds up the time
inside products of weights and inside those of attention; what is left is all else, the profiler's own cost included.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from bilingual import pack_corpora
from forward_cpu import model_folder, read_sentences
from pretrain_sides import How, Work, danlu_training, int8_rate, matrix_rates
from process import in_fresh_process
from report import Comparison, compare, run_benchmark, say, say_machine, table

WEIGHTS = ("aten::mm", "aten::addmm", "aten::_int_mm", "mkldnn::_linear_pointwise")
ATTENTION = (
    "aten::bmm", "aten::baddbmm", "aten::_scaled_dot_product_flash_attention_for_cpu", "danlu::attend",
    "danlu::attend_backward",
)  # fmt: skip
"""The last three are all of attention, not its products alone."""
WARMUP, STEPS = 4, 4


class Shares(NamedTuple):
    """Seconds of one piece of work."""

    plain: float
    """Without a profiler."""
    profiled: float
    weights: float
    attention: float


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("text", type=Path, help="the file of sentence pairs that forward_cpu.py reads")
    options = parser.parse_args()
    return run_benchmark(lambda: measure(options.text))


def measure(text: Path) -> list[Comparison]:
    """Both pieces of work, each in a fresh process."""
    say_machine()
    rates, _ = in_fresh_process(matrix_rates)
    rates["int8"], _ = in_fresh_process(int8_rate)
    say(", ".join(f"{name} {rate:,.0f} GFLOP/s" for name, rate in rates.items()))
    with TemporaryDirectory(prefix="products-") as temporary:
        stores, _ = in_fresh_process(pack_corpora, Path(temporary), vocab_size=8192)
        step, _ = in_fresh_process(training_step, stores / "train", "adamw")
        step8, _ = in_fresh_process(training_step, stores / "train", "adamw int8")
    embedding, _ = in_fresh_process(embed, model_folder(), read_sentences(text))
    found = {"a training step": step, "the same, products of int8": step8, "embedding 2,000 sentences": embedding}
    rows = [["ms", "without profiler", "with it", "products of weights", "of attention", "all else"]]
    for name, shares in found.items():
        rest = shares.profiled - shares.weights - shares.attention
        values = (shares.plain, shares.profiled, shares.weights, shares.attention, rest)
        rows.append([name, *(f"{value * 1e3:,.0f}" for value in values)])
    say(f"\n{table(rows)}\n")
    return [
        compare(f"all of {name} / its products", [each.profiled], [each.weights + each.attention], unit="s")
        for name, each in found.items()
    ]


def training_step(store: Path, how: How) -> Shares:
    """The mean of some steps after those that compile."""
    from danlu.train.loop import fit

    settings, training = danlu_training(Work(store, WARMUP + 2 * STEPS, sequence=512, batch=8), how)

    def run(start: int, stop: int) -> None:
        fit(training.model, training.batches, settings.objective, training.optimizer, lambda _: 1e-3,
            start=start, steps=stop, clip=settings.clip)  # fmt: skip

    run(0, WARMUP)
    plain = seconds_of(lambda: run(WARMUP, WARMUP + STEPS))
    shares = profiled(plain, lambda: run(WARMUP + STEPS, WARMUP + 2 * STEPS))
    return Shares(*(value / STEPS for value in shares))


def embed(folder: Path, sentences: list[str]) -> Shares:
    """All sentences, the second time."""
    from danlu.tasks.embed import Embedder

    embedder = Embedder.load(folder)
    embedder.embed(sentences)
    return profiled(seconds_of(lambda: embedder.embed(sentences)), lambda: embedder.embed(sentences))


def seconds_of(work: Callable[[], object]) -> float:
    """Wall time."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def profiled(plain: float, work: Callable[[], object]) -> Shares:
    """The same work under torch's profiler."""
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CPU]) as profiler:
        whole = seconds_of(work)
    own = {event.key: event.self_cpu_time_total / 1e6 for event in profiler.key_averages()}
    weights, attention = (sum(own.get(name, 0.0) for name in names) for names in (WEIGHTS, ATTENTION))
    return Shares(plain, whole, weights, attention)


if __name__ == "__main__":
    sys.exit(main())
