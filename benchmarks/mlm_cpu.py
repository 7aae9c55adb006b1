"""Masked language modelling on a processor: Danlu beside Hugging Face's Trainer, in tokens a second and in memory.

BERT of 4 layers, width 256, 4 heads, vocabulary 8192, no dropout, on the paragraphs of corpora/: documents of all
lengths, up to 512 tokens. Every side masks as BERT does and learns with the same AdamW; each runs in a fresh process,
they take turns, and the first steps, in which torch.compile works, are left out of the timing. Tokens are those of
documents: padding is not counted. Danlu packs documents into rows, which never see each other; the Trainer pads them
to the longest of a step, tuned to the longest of a group of like length. The tuned peer has the number type that is
the faster one on this machine.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from bilingual import pack_paragraphs
from mlm_sides import Outcome, Work, danlu, trainer
from pretrain_sides import matrix_rates
from process import in_fresh_process
from report import Comparison, NotMeasuredError, compare, run_benchmark, say, say_machine, table, text_plot

OURS, DEFAULTS, TUNED = "Danlu", "Trainer, defaults", "Trainer, tuned"
TARGETS = {DEFAULTS: 6.0, TUNED: 2.0}
"""Tokens a second, at least so many times the peer's."""


@dataclass(frozen=True)
class Round:
    """One side in one round."""

    outcome: Outcome
    tokens_per_second: float
    peak_bytes: int


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3, help="how often each side runs (default %(default)s)")
    parser.add_argument("--steps", type=int, default=24, help="steps that are timed (default %(default)s)")
    parser.add_argument("--warmup", type=int, default=12, help="steps before them, not timed (default %(default)s)")
    options = parser.parse_args()
    if min(options.rounds, options.steps, options.warmup) < 1:
        parser.error("--rounds, --steps and --warmup must be at least 1")
    return run_benchmark(lambda: measure(options.rounds, options.steps, options.warmup))


def measure(rounds: int, steps: int, warmup: int) -> list[Comparison]:
    """Run every side in turn, ``rounds`` times, and say what came out."""
    say_machine()
    with TemporaryDirectory(prefix="mlm_cpu-") as temporary:
        run, _ = in_fresh_process(pack_paragraphs, Path(temporary), vocab_size=8192, special="bert")
        work = Work(run, warmup + steps)
        rates, _ = in_fresh_process(matrix_rates)
        tuned = "tuned bf16" if rates["bf16"] > rates["fp32"] else "tuned"
        sides: dict[str, Callable[[], Round]] = {
            OURS: lambda: run_side(work, warmup, danlu),
            DEFAULTS: lambda: run_side(work, warmup, trainer, "defaults"),
            TUNED: lambda: run_side(work, warmup, trainer, tuned),
        }
        results: dict[str, list[Round]] = {name: [] for name in sides}
        for number in range(rounds):
            order = list(sides)[:: -1 if number % 2 else 1]  # so that no side always runs on a warm machine
            for name in order:
                results[name].append(sides[name]())
                say(f"round {number + 1}: {name}: {results[name][-1].tokens_per_second:,.0f} tokens/s")
    say_results(results)
    return compare_sides(results)


def run_side(work: Work, warmup: int, side: Callable[..., Outcome], *how: str) -> Round:
    """One side in a fresh process; over all timed steps together, for steps hold different numbers of tokens."""
    outcome, peak = in_fresh_process(side, work, *how)
    seconds, tokens = outcome.seconds[warmup - 1 :], outcome.tokens[warmup - 1 :]
    if len(outcome.losses) != work.steps or len(seconds) != work.steps - warmup:
        raise NotMeasuredError(f"{side.__name__} did {len(outcome.losses)} steps of {work.steps}")
    return Round(outcome, sum(tokens) / sum(seconds), peak)


def compare_sides(results: dict[str, list[Round]]) -> list[Comparison]:
    """Danlu against each peer."""
    comparisons = []
    for peer in (DEFAULTS, TUNED):
        ours, theirs = ([run.tokens_per_second for run in results[name]] for name in (OURS, peer))
        comparison = compare(f"masked LM speed: {OURS} / {peer}", ours, theirs, unit="tokens/s")
        met = "met" if comparison.ratio >= TARGETS[peer] else "MISSED"
        least, greatest = comparison.spread
        say(f"{comparison.benchmark}: {comparison.ratio:.2f} ({least:.2f} to {greatest:.2f}); "
            f"wanted at least {TARGETS[peer]}: {met}")  # fmt: skip
        comparisons.append(comparison)
    ours, theirs = ([run.peak_bytes / 1e6 for run in results[name]] for name in (OURS, DEFAULTS))
    return [*comparisons, compare(f"masked LM peak memory: {OURS} / {DEFAULTS}", ours, theirs, unit="MB")]


def say_results(results: dict[str, list[Round]]) -> None:
    """A table of speed and memory, and the loss curves over one another."""
    rows = [["side", "tokens/s", "least", "greatest", "tokens a step", "peak MB", "parameters", "last loss"]]
    for name, runs in results.items():
        speeds, outcome = [run.tokens_per_second for run in runs], runs[0].outcome
        rows.append([
            name, f"{median(speeds):,.0f}", f"{min(speeds):,.0f}", f"{max(speeds):,.0f}",
            f"{sum(outcome.tokens) / len(outcome.tokens):,.0f}",
            f"{median(run.peak_bytes for run in runs) / 1e6:,.0f}", f"{outcome.parameters:,}",
            f"{outcome.losses[-1]:.3f}",
        ])  # fmt: skip
    say(f"\n{table(rows)}\n")
    for name, runs in results.items():
        say(f"{name}: {runs[0].outcome.how}")
    say(f"\n{text_plot({name: runs[0].outcome.losses for name, runs in results.items()})}\n")


if __name__ == "__main__":
    sys.exit(main())
