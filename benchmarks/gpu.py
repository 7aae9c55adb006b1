"""Pre-training on a GPU: the share of its peak that Danlu reaches, beside Hugging Face's Trainer and a plain loop.

GPT-2 of 124M and a Llama of 1B parameters at 2,048 and 8,192 tokens, BERT-base on documents of natural length, T5-base
with span corruption; Danlu in bf16 and fp8, the Trainer tuned (bf16 by autocast, torch.compile, fused AdamW), and the
transformers model in bf16 compiled as a whole. Each side runs in a fresh process, in turn, with the largest micro-batch
that its memory holds (up to --tokens, halved until it fits), and eight of them a step, as trainings of such models
have; decoders read one random text, so that rows have no borders on any side. The first steps, in which torch.compile
works, are left out of the timing. Each figure is printed as soon as it is known, and a side that fails does not end
the others.

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
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import ParamSpec, TypeVar

from bilingual import pack_paragraphs
from flops import SQUARE, Gpu, look_at_gpu
from gpu_sides import Case, Job, Outcome, compiled_model, danlu, trainer, write_tokens
from process import in_fresh_process, in_fresh_process_with_gpu
from report import Comparison, NotMeasuredError, compare, run_benchmark, say, say_machine, table

TOKENS = 32_768
"""Of a micro-batch, at most."""
MICRO_BATCHES = 8
"""A step: of 1B parameters with 32,768 tokens each, a quarter of a million tokens."""
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
    tokens: int
    """Of a micro-batch, at most."""
    micro_batches: int
    """A step."""
    device: str
    tiny: bool
    only: tuple[str, ...]

    @property
    def cases(self) -> Sequence[Case]:
        return [case for case in (TINY if self.tiny else CASES) if not self.only or case.name in self.only]

    @property
    def most_tokens(self) -> int:
        return 1024 if self.tiny else self.tokens

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
    parser.add_argument("--tokens", type=int, default=TOKENS, help="of a micro-batch, at most (default %(default)s)")
    parser.add_argument("--micro-batches", type=int, default=MICRO_BATCHES, help="a step (default %(default)s)")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda", help="cpu needs --tiny")
    parser.add_argument("--tiny", action="store_true", help="toy sizes, to see that everything runs")
    parser.add_argument(
        "--only", nargs="+", default=[], choices=[case.name for case in CASES], help="some of the models"
    )
    chosen = parser.parse_args()
    if min(chosen.rounds, chosen.steps, chosen.warmup, chosen.tokens, chosen.micro_batches) < 1:
        parser.error("--rounds, --steps, --warmup, --tokens and --micro-batches must be at least 1")
    if chosen.device == "cpu" and not chosen.tiny:
        parser.error("--device cpu needs --tiny")
    options = Options(
        chosen.rounds, chosen.steps, chosen.warmup, chosen.tokens, chosen.micro_batches, chosen.device, chosen.tiny,
        tuple(chosen.only),
    )  # fmt: skip
    try:
        gpu = fresh(options, look_at_gpu, options.device, side=256 if options.tiny else SQUARE)
    except NotMeasuredError as error:
        print(f"not measured: {error}", file=sys.stderr)
        return 1
    if gpu is None:
        say("nothing is measured: torch finds no GPU here")
        return 0
    failed: list[str] = []
    code = run_benchmark(partial(measure, options, gpu, failed))
    for problem in failed:
        print(f"not measured: {problem}", file=sys.stderr)
    return code or bool(failed)


def measure(options: Options, gpu: Gpu, failed: list[str]) -> list[Comparison]:
    """Every model, one after the other; to ``failed`` goes what could not be measured."""
    say_machine()
    say(f"peak: {gpu.about}")
    say(f"fp8: {gpu.no_float8 or 'measured'}\n")
    comparisons = []
    with TemporaryDirectory(prefix="gpu-") as temporary:
        folder = Path(temporary)
        (folder / "texts").mkdir()
        packed = None
        for case in options.cases:
            try:
                if case.kind in ("bert", "t5"):
                    packed = packed or in_fresh_process(
                        pack_paragraphs, folder / "texts", vocab_size=options.vocab_size, special="bert, t5"
                    )[0]  # fmt: skip
                    store = packed
                else:
                    steps = options.micro_batches * (options.steps + options.warmup) + 1
                    tokens = max(options.most_tokens, case.sequence) * steps
                    store = in_fresh_process(
                        write_tokens, folder / case.name, vocab_size=case.vocab_size, tokens=tokens
                    )[0]  # fmt: skip
            except NotMeasuredError as error:
                failed.append(f"{case.name}: {error}")
                continue
            comparisons += measure_case(case, store, options, gpu, failed)
    return comparisons


def fresh(options: Options, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """In a process of its own, with the GPU where one is measured."""
    run = in_fresh_process if options.device == "cpu" else in_fresh_process_with_gpu
    return run(function, *args, **kwargs)[0]


def measure_case(case: Case, store: Path, options: Options, gpu: Gpu, failed: list[str]) -> list[Comparison]:
    """One model on all sides, in turn; every second round backwards."""
    steps = options.warmup + options.steps
    plain = Job(case, store, steps, 1, options.micro_batches, options.device, compiled=not options.tiny)
    sides: dict[str, tuple[Side, Job]] = {OURS: (danlu, plain)}
    if gpu.no_float8 is None:
        sides[FP8] = danlu, replace(plain, precision="fp8")
    sides |= {PLAIN: (compiled_model, plain), TRAINER: (trainer, plain)}
    sides = {name: (side, replace(job, rows=most_rows(side, case, options))) for name, (side, job) in sides.items()}
    results: dict[str, list[Figures]] = {name: [] for name in sides}
    say(f"{case.name}: {case.layers} layers, width {case.dim}, rows of {case.sequence:,} tokens")
    for number in range(options.rounds):
        for name in [*sides][:: -1 if number % 2 else 1]:
            if name not in sides:
                continue  # it failed in an earlier round
            side, job = sides[name]
            started = time.perf_counter()
            try:
                job, outcome = with_rows_that_fit(side, job, options)
                found = figures(outcome, options.warmup)
            except NotMeasuredError as error:
                say(f"{case.name}, {name}: not measured: {error.__cause__ or error}")
                failed.append(f"{case.name}, {name}: {error}")
                del sides[name], results[name]
                continue
            sides[name] = side, job
            results[name].append(found)
            say(
                f"round {number + 1}: {name}: utilisation {found.flops_per_second / gpu.peak:.3f}, "
                f"{found.tokens_per_second:,.0f} tokens/s, {found.seconds_per_step * 1e3:,.1f} ms a step of "
                f"{job.micro_batches} x {job.rows} rows, {found.peak_bytes / 1e9:,.1f} GB; {found.how}; "
                f"took {time.perf_counter() - started:.0f} s"
            )
    return report(case, results, {name: job.rows for name, (_, job) in sides.items()}, gpu.peak)


def most_rows(side: Side, case: Case, options: Options) -> int:
    """Of a micro-batch, before it is known whether memory holds them."""
    pads = case.kind == "bert" and side is not danlu
    return max(1, options.most_tokens // (DOCUMENT if pads else case.sequence))


def with_rows_that_fit(side: Side, job: Job, options: Options) -> tuple[Job, Outcome]:
    """With half the rows, and half of those, where memory does not hold them."""
    while True:
        try:
            return job, fresh(options, side, job)
        except NotMeasuredError as error:
            if job.rows == 1 or "memory" not in str(error).lower():
                raise
            say(f"memory does not hold {job.rows} rows")
            job = replace(job, rows=job.rows // 2)


def figures(outcome: Outcome, warmup: int) -> Figures:
    """Of the timed steps together."""
    seconds, tokens, flops = (each[warmup - 1 :] for each in (outcome.seconds, outcome.tokens, outcome.flops))
    if not seconds or not len(seconds) == len(tokens) == len(flops):
        raise NotMeasuredError(f"a side did {len(outcome.seconds) + 1} steps")
    total = sum(seconds)
    return Figures(sum(tokens) / total, sum(flops) / total, total / len(seconds), outcome.peak_bytes, outcome.how)


def report(
    case: Case, results: Mapping[str, Sequence[Figures]], rows: Mapping[str, int], peak: float
) -> list[Comparison]:
    """A table, the goal, and the claims, of the sides that were measured."""
    if not results:
        return []
    lines = [["side", "utilisation", "least", "greatest", "tokens/s", "ms a step", "peak GB", "rows"]]
    for name, runs in results.items():
        shares = [run.flops_per_second / peak for run in runs]
        lines.append([
            name, f"{median(shares):.3f}", f"{min(shares):.3f}", f"{max(shares):.3f}",
            f"{median(run.tokens_per_second for run in runs):,.0f}",
            f"{median(run.seconds_per_step for run in runs) * 1e3:,.1f}",
            f"{median(run.peak_bytes for run in runs) / 1e9:,.1f}", str(rows[name]),
        ])  # fmt: skip
    say(f"\n{case.name}\n{table(lines)}")
    if case.target is not None and OURS in results:
        share = median(run.flops_per_second for run in results[OURS]) / peak
        verdict = "met" if share >= case.target else "MISSED"
        say(f"{case.name} utilisation: {share:.3f}; wanted at least {case.target} on an H200: {verdict}")
    say()
    pairs = [pair for pair in ((OURS, TRAINER), (OURS, PLAIN), (FP8, OURS)) if results.keys() >= {*pair}]
    return [
        compare(f"{case.name} speed: {ours} / {other}", [run.flops_per_second / 1e12 for run in results[ours]],
                [run.flops_per_second / 1e12 for run in results[other]], unit="model TFLOP/s")
        for ours, other in pairs
    ]  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
