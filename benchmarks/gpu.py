"""Pre-training on a GPU: the share of its peak that Danlu reaches, beside Hugging Face's Trainer and a plain loop.

GPT-2 of 124M and a Llama of 1B parameters at 2,048 and 8,192 tokens, BERT-base on documents of natural length, T5-base
with span corruption; Danlu in bf16 and fp8, the Trainer tuned (bf16 by autocast, torch.compile, fused AdamW), and the
transformers model in bf16 compiled as a whole. Each side runs in a fresh process, in turn, with the largest micro-batch
that its memory holds (up to 65,536 tokens); the first steps, in which torch.compile works, are left out of the timing.

Utilisation is model FLOPs a second over the GPU's peak of dense bf16 products, in fp8 too. Model FLOPs are 6 a token
and matrix parameter and 12 a pair of query and key, head and number of its width, of causal attention the half (PaLM,
arXiv:2204.02311, appendix B); only pairs of one document count, no padding, and of the head only scored tokens. The
peak is from a table by the GPU's name, or else measured by a product of two large matrices. The goal, of 1B on one
H200 in bf16, is 0.55.

Where no GPU is at hand it says so and exits 0. --tiny --device cpu runs the same path with toy sizes, which says
nothing about speed.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import ParamSpec, TypeVar

from bilingual import pack_paragraphs
from flops import find_peak
from gpu_sides import Case, Job, Outcome, compiled_model, danlu, trainer, write_tokens
from process import in_fresh_process, in_fresh_process_with_gpu
from report import Comparison, NotMeasuredError, compare, run_benchmark, say, say_machine, table

TOKENS = 65_536
"""Of a micro-batch, at most."""
DOCUMENT = 64
"""Tokens of a document, of the sides that pad: about as many as those of corpora/ have."""
GOAL = 0.55
CASES = (
    Case("gpt2-2k", "gpt2", 12, 768, 12, 12, 3072, 2048, 50304),
    Case("gpt2-8k", "gpt2", 12, 768, 12, 12, 3072, 8192, 50304),
    Case("1b-2k", "llama", 16, 2048, 32, 8, 8192, 2048, 32768, GOAL),
    Case("1b-8k", "llama", 16, 2048, 32, 8, 8192, 8192, 32768, GOAL),
    Case("bert", "bert", 12, 768, 12, 12, 3072, 512),
    Case("t5", "t5", 12, 768, 12, 12, 3072, 512),
)
TINY = tuple(
    replace(case, layers=1, dim=32, heads=2, kv_heads=1, hidden=64, sequence=min(case.sequence // 32, 512) or 16,
            vocab_size=256, target=None) if case.kind in ("gpt2", "llama")
    else replace(case, layers=1, dim=32, heads=2, kv_heads=2, hidden=64)
    for case in CASES
)  # fmt: skip
OURS, FP8, TRAINER, PLAIN = "Danlu, bf16", "Danlu, fp8", "Trainer, bf16", "transformers compiled, bf16"


@dataclass(frozen=True)
class Options:
    """What the command line says."""

    rounds: int
    steps: int
    warmup: int
    device: str
    tiny: bool
    only: tuple[str, ...]

    @property
    def cases(self) -> Sequence[Case]:
        return [case for case in (TINY if self.tiny else CASES) if not self.only or case.name in self.only]

    @property
    def most_tokens(self) -> int:
        return 1024 if self.tiny else TOKENS

    @property
    def vocab_size(self) -> int:
        """Of the tokenizer."""
        return 600 if self.tiny else 8192


@dataclass(frozen=True)
class Figures:
    """One side in one round."""

    tokens_per_second: float
    flops_per_second: float
    seconds_per_step: float
    peak_bytes: int
    how: str


Side = Callable[[Job], Outcome]
P = ParamSpec("P")
T = TypeVar("T")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3, help="how often each side runs (default %(default)s)")
    parser.add_argument("--steps", type=int, default=20, help="steps that are timed (default %(default)s)")
    parser.add_argument("--warmup", type=int, default=10, help="steps before them, not timed (default %(default)s)")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda", help="cpu needs --tiny")
    parser.add_argument("--tiny", action="store_true", help="toy sizes, to see that everything runs")
    parser.add_argument(
        "--only", nargs="+", default=[], choices=[case.name for case in CASES], help="some of the models"
    )
    chosen = parser.parse_args()
    if min(chosen.rounds, chosen.steps, chosen.warmup) < 1:
        parser.error("--rounds, --steps and --warmup must be at least 1")
    if chosen.device == "cpu" and not chosen.tiny:
        parser.error("--device cpu needs --tiny")
    options = Options(
        chosen.rounds, chosen.steps, chosen.warmup, chosen.device, chosen.tiny, tuple(chosen.only)
    )  # fmt: skip
    if options.device == "cuda" and (reason := in_fresh_process_with_gpu(why_no_gpu)[0]):
        say(f"nothing is measured: {reason}")
        return 0
    return run_benchmark(partial(measure, options))


def why_no_gpu() -> str | None:
    """None where torch finds one."""
    import torch

    return None if torch.cuda.is_available() else "torch finds no GPU here"


def why_no_fp8() -> str | None:
    """None where the GPU multiplies float8."""
    from danlu.nn.float8 import why_no_float8

    return why_no_float8()


def measure(options: Options) -> list[Comparison]:
    """Every model, one after the other."""
    say_machine()
    peak, about = fresh(options, find_peak, options.device, side=256 if options.tiny else 8192)
    say(f"peak: {about}")
    no_fp8 = fresh(options, why_no_fp8)
    say(f"fp8: {no_fp8 or 'measured'}\n")
    comparisons = []
    with TemporaryDirectory(prefix="gpu-") as temporary:
        folder = Path(temporary)
        (folder / "texts").mkdir()
        packed = None
        for case in options.cases:
            if case.kind in ("bert", "t5"):
                packed = packed or in_fresh_process(
                    pack_paragraphs, folder / "texts", vocab_size=options.vocab_size, special="bert, t5"
                )[0]  # fmt: skip
                store = packed
            else:
                store = in_fresh_process(
                    write_tokens, folder / case.name, vocab_size=case.vocab_size,
                    tokens=2 * options.most_tokens * (options.steps + options.warmup), document=16 * case.sequence,
                )[0]  # fmt: skip
            comparisons += measure_case(case, store, options, peak=peak, fp8=no_fp8 is None)
    return comparisons


def fresh(options: Options, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """In a process of its own, with the GPU where one is measured."""
    run = in_fresh_process if options.device == "cpu" else in_fresh_process_with_gpu
    return run(function, *args, **kwargs)[0]


def measure_case(case: Case, store: Path, options: Options, *, peak: float, fp8: bool) -> list[Comparison]:
    """One model on all sides, in turn; every second round backwards."""
    steps = options.warmup + options.steps
    plain = Job(case, store, steps, 1, options.device, compiled=not options.tiny)
    sides: dict[str, tuple[Side, Job]] = {
        OURS: (danlu, plain), TRAINER: (trainer, plain), PLAIN: (compiled_model, plain),
    }  # fmt: skip
    if fp8:
        sides[FP8] = (danlu, replace(plain, precision="fp8"))
    sides = {name: (side, with_rows(side, job, options)) for name, (side, job) in sides.items()}
    results: dict[str, list[Figures]] = {name: [] for name in sides}
    for number in range(options.rounds):
        for name in list(sides)[:: -1 if number % 2 else 1]:
            side, job = sides[name]
            results[name].append(figures(fresh(options, side, job), options.warmup))
    rows = {name: job.rows for name, (_, job) in sides.items()}
    return report(case, results, rows, peak)


def with_rows(side: Side, job: Job, options: Options) -> Job:
    """With as many rows as memory holds: halved from the most until two steps run."""
    pads = job.case.kind == "bert" and side is not danlu
    rows = max(1, options.most_tokens // (DOCUMENT if pads else job.case.sequence))
    if options.device == "cpu":
        return replace(job, rows=rows)
    while True:
        trial = replace(job, rows=rows, steps=2)
        try:
            fresh(options, side, trial)
        except NotMeasuredError as error:
            if rows == 1 or "memory" not in str(error).lower():
                raise
            rows //= 2
            continue
        return replace(job, rows=rows)


def figures(outcome: Outcome, warmup: int) -> Figures:
    """Of the timed steps together."""
    seconds, tokens, flops = (each[warmup - 1 :] for each in (outcome.seconds, outcome.tokens, outcome.flops))
    if not seconds or not len(seconds) == len(tokens) == len(flops):
        raise NotMeasuredError(f"a side did {len(outcome.seconds) + 1} steps")
    total = sum(seconds)
    return Figures(sum(tokens) / total, sum(flops) / total, total / len(seconds), outcome.peak_bytes, outcome.how)


def report(case: Case, results: dict[str, list[Figures]], rows: dict[str, int], peak: float) -> list[Comparison]:
    """A table, the goal, and the claims."""
    lines = [["side", "utilisation", "least", "greatest", "tokens/s", "ms a step", "peak GB", "rows"]]
    for name, runs in results.items():
        shares = [run.flops_per_second / peak for run in runs]
        lines.append([
            name, f"{median(shares):.3f}", f"{min(shares):.3f}", f"{max(shares):.3f}",
            f"{median(run.tokens_per_second for run in runs):,.0f}",
            f"{median(run.seconds_per_step for run in runs) * 1e3:,.1f}",
            f"{median(run.peak_bytes for run in runs) / 1e9:,.1f}", str(rows[name]),
        ])  # fmt: skip
    say(f"{case.name}: {case.layers} layers, width {case.dim}, rows of {case.sequence:,} tokens\n{table(lines)}")
    for name, runs in results.items():
        say(f"{name}: {runs[0].how}")
    share = median(run.flops_per_second for run in results[OURS]) / peak
    if case.target is not None:
        verdict = "met" if share >= case.target else "MISSED"
        say(f"{case.name} utilisation: {share:.3f}; wanted at least {case.target} on an H200: {verdict}")
    say()
    pairs = [(OURS, TRAINER), (OURS, PLAIN)] + ([(FP8, OURS)] if FP8 in results else [])
    return [
        compare(f"{case.name} speed: {ours} / {other}", [run.flops_per_second / 1e12 for run in results[ours]],
                [run.flops_per_second / 1e12 for run in results[other]], unit="model TFLOP/s")
        for ours, other in pairs
    ]  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
