"""What products of int8 cost in loss and save in time: the same training in fp32, bf16 and int8, over several seeds.

The decoder of ``pretrain_cpu.py`` in small (4 layers, width 256) on the text of corpora/, with AdamW and with Muon.
Losses are over the whole held-out part and in float32, whatever the training computed in: weights are saved in float32,
and int8 ends with the training.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import mean, median, stdev
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Literal

from bilingual import pack_corpora
from process import in_fresh_process
from report import Comparison, NotMeasuredError, compare, run_benchmark, say, say_machine, table
from turns import between

from danlu.machine import FAST_INT8, fast_int8

if TYPE_CHECKING:
    from danlu.train.pretrain import Pretrain

LAYERS, DIM, HEADS, VOCAB = 4, 256, 4, 4096
SEQUENCE, BATCH = 512, 8
WARMUP_STEPS = 5
"""Left out of the timing."""
PRECISIONS = ("fp32", "bf16", "int8")
Optimizer = Literal["adamw", "muon"]
OPTIMIZERS: tuple[Optimizer, ...] = ("adamw", "muon")


@dataclass(frozen=True)
class Training:
    """One training."""

    store: Path
    precision: str
    optimizer: Optimizer
    seed: int
    steps: int


@dataclass(frozen=True)
class Result:
    """What it gave."""

    loss: float
    """Held-out, nats per token."""
    milliseconds: float
    """A step, the median."""


Results = dict[tuple[Optimizer, str], list[Result]]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=250, help="of each training (default %(default)s)")
    parser.add_argument("--seeds", type=int, default=3, help="trainings of each kind (default %(default)s)")
    options = parser.parse_args()
    if options.steps < WARMUP_STEPS + 2 or options.seeds < 2:
        parser.error(f"--steps must be at least {WARMUP_STEPS + 2} and --seeds at least 2")
    return run_benchmark(partial(measure, options.steps, options.seeds))


def measure(steps: int, seeds: int) -> list[Comparison]:
    """Every kind of training, seed by seed.

    Raises:
        NotMeasuredError: the processor does not multiply int8 fast.
    """
    say_machine()
    if fast_int8() is None:
        raise NotMeasuredError(f"this processor has none of {', '.join(FAST_INT8)}")
    results: Results = {(how, what): [] for how in OPTIMIZERS for what in PRECISIONS}
    with TemporaryDirectory(prefix="int8-") as temporary:
        stores, _ = in_fresh_process(pack_corpora, Path(temporary), vocab_size=VOCAB)
        for seed in range(1, seeds + 1):
            for (how, what), runs in results.items():
                result, _ = in_fresh_process(train, Training(stores, what, how, seed, steps))
                runs.append(result)
                say(f"seed {seed}: {how}, {what}: {result.loss:.4f} nats, {result.milliseconds:.0f} ms a step")
    return report(results)


def train(job: Training) -> Result:
    """One training, and the loss of its float32 weights."""
    from danlu.corpus.store import TokenStore
    from danlu.evaluate.perplexity import document_losses
    from danlu.nn.transformer import Transformer
    from danlu.train.loop import StepInfo, fit
    from danlu.train.setup import set_up

    settings = settings_of(job)
    training = set_up(settings, TokenStore.open(job.store / "train"), seed=job.seed)
    marks: list[float] = []

    def note(_: StepInfo) -> None:
        marks.append(time.perf_counter())

    fit(
        training.model, training.batches, settings.objective, training.optimizer,
        lambda step: settings.schedule.factor(step, steps=job.steps),
        steps=job.steps, clip=settings.clip, masters=training.masters, hooks=(note,),
    )  # fmt: skip
    model = Transformer(training.model.config)
    model.load_state_dict(training.masters.state())
    losses = document_losses(model.eval(), TokenStore.open(job.store / "heldout"), batch_tokens=8192)
    return Result(float(losses.nats.sum() / losses.tokens.sum()), 1e3 * median(between(marks[WARMUP_STEPS:])))


def settings_of(job: Training) -> Pretrain:
    """What a recipe would say."""
    from danlu.nn.families import GPT
    from danlu.optim.adamw import AdamW
    from danlu.optim.muon import Muon
    from danlu.optim.schedules import WarmupStableDecay
    from danlu.train.budget import Budget
    from danlu.train.pretrain import Pretrain

    optimizer = Muon() if job.optimizer == "muon" else AdamW(lr=1e-3, betas=(0.9, 0.95), weight_decay=0.1)
    return Pretrain.model_validate({
        "model": GPT(layers=LAYERS, dim=DIM, heads=HEADS), "optimizer": optimizer,
        "schedule": WarmupStableDecay(), "budget": Budget(steps=job.steps), "sequence": SEQUENCE, "batch": BATCH,
        "precision": job.precision, "compile": "on",
    })  # fmt: skip


def report(results: Results) -> list[Comparison]:
    """A table, and int8 beside bf16, seed by seed."""
    rows = [["optimizer", "products", "loss", "spread over seeds", "ms a step"]]
    for (how, what), runs in results.items():
        losses = [run.loss for run in runs]
        rows.append([how, what, f"{mean(losses):.4f}", f"{stdev(losses):.4f}",
                     f"{median(run.milliseconds for run in runs):.0f}"])  # fmt: skip
    say(f"\n{table(rows)}\n")
    comparisons = []
    for how in OPTIMIZERS:
        whole, half = results[how, "int8"], results[how, "bf16"]
        further = [one.loss - other.loss for one, other in zip(whole, half, strict=True)]
        say(f"{how}: int8 costs {mean(further):+.4f} nats ({min(further):+.4f} to {max(further):+.4f})")
        comparisons += [
            compare(f"loss: {how}, int8 / bf16", [run.loss for run in whole], [run.loss for run in half],
                    unit="nats per token"),
            compare(f"time: {how}, int8 / bf16", [run.milliseconds for run in whole],
                    [run.milliseconds for run in half], unit="ms a step"),
        ]  # fmt: skip
    return comparisons


if __name__ == "__main__":
    sys.exit(main())
