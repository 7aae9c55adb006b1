"""Pre-training on a processor: Danlu beside Hugging Face's Trainer, in tokens a second and in memory.

A decoder of 6 layers, width 384, 6 heads, vocabulary 8192, 8 rows of 512 tokens a step, no dropout,
on the text of corpora/. All sides see the same rows in the same order, with the same AdamW, the same
schedule and the same number of steps; each runs in a fresh process, they take turns, and the first
steps, in which torch.compile works, are left out of the timing. Danlu keeps documents in a row apart;
the peer lets them see each other, which is less work. The tuned peer has the number type that is the
faster one on this machine. Danlu runs with products of bf16 and, where the processor multiplies them fast, of int8;
benchmarks/int8.py says what these cost in loss.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from bilingual import pack_corpora
from pretrain_sides import Outcome, Work, danlu, flops_per_token, matrix_rates, trainer
from process import in_fresh_process
from report import Comparison, NotMeasuredError, compare, last_line, run_benchmark, say, say_machine, table, text_plot

from danlu.machine import fast_int8

ADAMW, INT8, MUON = "Danlu, AdamW", "Danlu, AdamW, int8", "Danlu, Muon"
DEFAULTS, TUNED = "Trainer, defaults", "Trainer, tuned"
TARGETS = {DEFAULTS: 4.0, TUNED: 1.7}
"""Tokens a second, at least so many times the peer's."""
MEMORY_TARGET = 0.6
"""Peak memory, at most so many times that of the Trainer's defaults."""
TRIAL_STEPS = 3


@dataclass(frozen=True)
class Round:
    """One side in one round."""

    outcome: Outcome
    tokens_per_second: float
    peak_bytes: int


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3, help="how often each side runs (default %(default)s)")
    parser.add_argument("--steps", type=int, default=8, help="steps that are timed (default %(default)s)")
    parser.add_argument("--warmup", type=int, default=3, help="steps before them, not timed (default %(default)s)")
    parser.add_argument("--out", type=Path, help="a .json file for the last line; the loss curves go beside it")
    options = parser.parse_args()
    if min(options.rounds, options.steps, options.warmup) < 1:
        parser.error("--rounds, --steps and --warmup must be at least 1")
    return run_benchmark(lambda: measure(options.rounds, options.steps, options.warmup, options.out))


def measure(rounds: int, steps: int, warmup: int, out: Path | None) -> list[Comparison]:
    """Run every side in turn, ``rounds`` times, and say what came out."""
    say_machine()
    with TemporaryDirectory(prefix="pretrain_cpu-") as temporary:
        stores, _ = in_fresh_process(pack_corpora, Path(temporary), vocab_size=8192)
        work = Work(stores / "train", steps=warmup + steps, sequence=512, batch=8)
        rates, _ = in_fresh_process(matrix_rates)
        rated = ", ".join(f"{name} {rate:,.0f} GFLOP/s" for name, rate in rates.items())
        say(f"matrix products of 2048 x 2048: {rated}")
        tuned = choose_tuned(work, rates)
        sides: dict[str, Callable[[], Round]] = {
            ADAMW: lambda: run_side(work, warmup, danlu, "adamw"),
            INT8: lambda: run_side(work, warmup, danlu, "adamw int8"),
            MUON: lambda: run_side(work, warmup, danlu, "muon"),
            DEFAULTS: lambda: run_side(work, warmup, trainer, "defaults"),
            TUNED: lambda: run_side(work, warmup, trainer, tuned),
        }
        if fast_int8() is None:
            del sides[INT8]
        results: dict[str, list[Round]] = {name: [] for name in sides}
        for number in range(rounds):
            order = list(sides)[:: -1 if number % 2 else 1]  # so that no side always runs on a warm machine
            for name in order:
                results[name].append(sides[name]())
                say(f"round {number + 1}: {name}: {results[name][-1].tokens_per_second:,.0f} tokens/s")
    say_results(results, work, max(rates.values()))
    comparisons = compare_sides(results)
    say_targets(comparisons)
    if out is not None:
        out.write_text(last_line(comparisons) + "\n", encoding="utf-8")
        draw({name: runs[0].outcome.losses for name, runs in results.items()}, out.with_suffix(".svg"))
        say(f"written: {out} and {out.with_suffix('.svg')}")
    return comparisons


def run_side(work: Work, warmup: int, side: Callable[..., Outcome], how: str) -> Round:
    """One side in a fresh process."""
    outcome, peak = in_fresh_process(side, work, how)
    timed = outcome.seconds[warmup - 1 :]  # the first step has no time of its own
    if len(outcome.losses) != work.steps or len(timed) != work.steps - warmup:
        raise NotMeasuredError(f"{how} did {len(outcome.losses)} steps of {work.steps}")
    return Round(outcome, work.batch * work.sequence / median(timed), peak)


def choose_tuned(work: Work, rates: dict[str, float]) -> str:
    """The faster number type for the tuned Trainer on this machine, tried in a few steps each.

    Not tried where the machine multiplies matrices slower in bf16 than in fp32: nothing could make up for that.
    """
    if rates["bf16"] < rates["fp32"]:
        say("tuned Trainer: fp32, for bf16 is slower on this machine")
        return "tuned"
    trial = Work(work.store, steps=TRIAL_STEPS + 2, sequence=work.sequence, batch=work.batch)
    speeds = {how: run_side(trial, 2, trainer, how).tokens_per_second for how in ("tuned", "tuned bf16")}
    fastest = max(speeds, key=lambda how: speeds[how])
    tried = ", ".join(f"{'bf16' if 'bf16' in how else 'fp32'} {speed:,.0f} tokens/s" for how, speed in speeds.items())
    say(f"tuned Trainer: {tried}; {'bf16' if 'bf16' in fastest else 'fp32'} is taken")
    return fastest


def compare_sides(results: dict[str, list[Round]]) -> list[Comparison]:
    """Danlu with each optimizer against each peer."""

    def speeds(name: str) -> list[float]:
        return [run.tokens_per_second for run in results[name]]

    def peaks(name: str) -> list[float]:
        return [run.peak_bytes / 1e6 for run in results[name]]

    comparisons = []
    for ours in (side for side in (ADAMW, INT8, MUON) if side in results):
        for peer in (DEFAULTS, TUNED):
            comparisons.append(compare(f"speed: {ours} / {peer}", speeds(ours), speeds(peer), unit="tokens/s"))
        comparisons.append(compare(f"peak memory: {ours} / {DEFAULTS}", peaks(ours), peaks(DEFAULTS), unit="MB"))
    return comparisons


def say_results(results: dict[str, list[Round]], work: Work, most_gflops: float) -> None:
    """A table of speed, memory and arithmetic, its share of the floats' rate too; the loss curves over one another."""
    rows = [
        [
            "side",
            "tokens/s",
            "least",
            "greatest",
            "peak MB",
            "GFLOP/s",
            "of the rate",
            "parameters",
            "first loss",
            "last loss",
        ]
    ]
    for name, runs in results.items():
        speeds, outcome = [run.tokens_per_second for run in runs], runs[0].outcome
        rows.append(
            [
                name,
                f"{median(speeds):,.0f}",
                f"{min(speeds):,.0f}",
                f"{max(speeds):,.0f}",
                f"{median(run.peak_bytes for run in runs) / 1e6:,.0f}",
                f"{median(speeds) * flops_per_token(outcome, work) / 1e9:,.0f}",
                f"{median(speeds) * flops_per_token(outcome, work) / 1e9 / most_gflops:.0%}",
                f"{outcome.parameters:,}",
                f"{outcome.losses[0]:.3f}",
                f"{outcome.losses[-1]:.3f}",
            ]
        )
    say()
    say(table(rows))
    say()
    for name, runs in results.items():
        say(f"{name}: {runs[0].outcome.how}")
    for peer in (DEFAULTS, TUNED):
        runs = results[peer]
        gflops = median(run.tokens_per_second for run in runs) * flops_per_token(runs[0].outcome, work) / 1e9
        say(f"nothing but matrix products, at this machine's rate: {most_gflops / gflops:.2f} times {peer}")
    say()
    say(text_plot({name: runs[0].outcome.losses for name, runs in results.items()}))
    say()


def say_targets(comparisons: list[Comparison]) -> None:
    """Each ratio beside what it is meant to be."""
    for comparison in comparisons:
        least, greatest = comparison.spread
        ratio = f"{comparison.benchmark}: {comparison.ratio:.2f} ({least:.2f} to {greatest:.2f})"
        memory = comparison.unit == "MB"
        target = MEMORY_TARGET if memory else TARGETS[comparison.benchmark.partition(" / ")[2]]
        met = comparison.ratio <= target if memory else comparison.ratio >= target
        say(f"{ratio}; wanted {'at most' if memory else 'at least'} {target}: {'met' if met else 'MISSED'}")


def draw(curves: dict[str, list[float]], path: Path) -> None:
    """The loss curves as a picture."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.subplots()
    for name, losses in curves.items():
        axes.plot(range(1, len(losses) + 1), losses, label=name)
    axes.set_xlabel("step")
    axes.set_ylabel("training loss, nats per token")
    axes.legend(frameon=False)
    figure.savefig(path)


if __name__ == "__main__":
    sys.exit(main())
