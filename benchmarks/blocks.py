"""Which decoder block learns best: gpt (nanochat's), qwen3, llama, at equal size, equal steps and equal time.

All three are blocks that stock transformers loads. They have the same number of parameters (within
1 %, by the width inside the MLP), the same heads, data, optimizer and schedule. Each is trained for
the same number of steps, and then for the same time, in which a cheaper block does more steps. The
loss is over the whole held-out part, in English and Chinese together. Several learning rates give
every block its own best one.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from bilingual import pack_corpora
from process import in_fresh_process
from report import Comparison, compare, run_benchmark, say, say_machine, table

if TYPE_CHECKING:
    from danlu.nn.families import Family

BLOCKS = ("gpt", "qwen3", "llama")
LAYERS, DIM, HEADS, VOCAB = 6, 256, 4, 4096
GATED_HIDDEN = 680
"""Three matrices of this width have as many parameters as two of ``4 * DIM``, nearly."""
SEQUENCE, BATCH = 256, 16
WARMUP_STEPS, TIMED_STEPS = 3, 20


@dataclass(frozen=True)
class Settings:
    """One training."""

    store: Path
    block: str
    seed: int
    lr: float
    """Muon's, for the matrices."""
    steps: int


@dataclass(frozen=True)
class Result:
    """What one training gave."""

    loss: float
    """Held-out, nats per token."""
    tokens_per_second: float
    parameters: int
    steps: int


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=150, help="of the comparison at equal steps (default %(default)s)")
    parser.add_argument(
        "--minutes", type=float, default=1.5, help="of training, at equal time; 0 leaves it out (default %(default)s)"
    )
    parser.add_argument("--seeds", type=int, default=2, help="trainings of each block (default %(default)s)")
    parser.add_argument(
        "--lr", type=float, nargs="+", default=[0.02], help="learning rates; each block's best counts (default 0.02)"
    )
    options = parser.parse_args()
    if options.steps < 1 or options.seeds < 1 or options.minutes < 0 or min(options.lr) <= 0:
        parser.error("--steps, --seeds and --lr must be positive")
    return run_benchmark(lambda: measure(options.steps, options.minutes, options.seeds, options.lr))


def measure(steps: int, minutes: float, seeds: int, lrs: list[float]) -> list[Comparison]:
    """Train all blocks, seed by seed and in turn."""
    say_machine()
    with TemporaryDirectory(prefix="blocks-") as temporary:
        packed, _ = in_fresh_process(pack_corpora, Path(temporary), vocab_size=VOCAB)
        counts = dict.fromkeys(BLOCKS, steps)
        comparisons = compare_blocks(f"after {steps} steps", train_all(packed, counts, seeds, lrs))
        if minutes:
            paces = {block: in_fresh_process(seconds_per_step, packed, block)[0] for block in BLOCKS}
            counts = {block: max(1, round(minutes * 60 / pace)) for block, pace in paces.items()}
            comparisons += compare_blocks(f"after {minutes:g} minutes", train_all(packed, counts, seeds, lrs))
    return comparisons


def train_all(
    packed: Path, counts: dict[str, int], seeds: int, lrs: list[float]
) -> dict[str, dict[float, list[Result]]]:
    """Results by block and learning rate, one a seed."""
    results: dict[str, dict[float, list[Result]]] = {block: {lr: [] for lr in lrs} for block in BLOCKS}
    for seed in range(1, seeds + 1):
        for lr in lrs:
            for block in BLOCKS:
                result, _ = in_fresh_process(train, Settings(packed, block, seed, lr, counts[block]))
                say(f"{block}, seed {seed}, learning rate {lr:g}: {result.loss:.4f} after {result.steps} steps")
                results[block][lr].append(result)
    return results


def compare_blocks(when: str, results: dict[str, dict[float, list[Result]]]) -> list[Comparison]:
    """A table of all blocks at their best learning rate, and gpt's losses against the others'."""
    rows = [["block", "parameters", "steps", "tokens/s", "learning rate", "held-out loss", "least", "greatest"]]
    losses = {}
    for block, by_lr in results.items():
        lr, runs = min(by_lr.items(), key=lambda item: mean(run.loss for run in item[1]))
        losses[block] = [run.loss for run in runs]
        rows.append(
            [
                block,
                f"{runs[0].parameters:,}",
                f"{runs[0].steps:,}",
                f"{mean(run.tokens_per_second for run in runs):,.0f}",
                f"{lr:g}",
                *(f"{value:.4f}" for value in (mean(losses[block]), min(losses[block]), max(losses[block]))),
            ]
        )
    say(f"\n{when}, nats per token over the whole held-out part:")
    say(table(rows))
    say()
    return [
        compare(f"blocks: held-out loss {when}, gpt / {peer}", losses["gpt"], losses[peer], unit="nats per token")
        for peer in BLOCKS[1:]
    ]


def family(block: str) -> Family:
    """The block at its size."""
    from danlu.nn.families import GPT, Llama, Qwen3

    if block == "gpt":
        return GPT(layers=LAYERS, dim=DIM, heads=HEADS)
    return (Qwen3 if block == "qwen3" else Llama)(layers=LAYERS, dim=DIM, heads=HEADS, hidden=GATED_HIDDEN)


def train(settings: Settings) -> Result:
    """One training, and the loss over all of the held-out part."""
    from danlu.corpus.store import TokenStore
    from danlu.evaluate.perplexity import document_losses
    from danlu.optim.muon import Muon
    from danlu.train.budget import Budget
    from danlu.train.checkpoint import as_model
    from danlu.train.loop import StepInfo, fit
    from danlu.train.pretrain import Pretrain
    from danlu.train.setup import set_up

    chosen = Pretrain(
        model=family(settings.block),
        optimizer=Muon(lr=settings.lr),
        budget=Budget(steps=settings.steps),
        sequence=SEQUENCE,
        batch=BATCH,
        compile="on",
    )
    training = set_up(chosen, TokenStore.open(settings.store / "train"), seed=settings.seed)
    marks: list[float] = []

    def note(info: StepInfo) -> None:
        marks.append(time.perf_counter())

    def factor(step: int) -> float:
        return chosen.schedule.factor(step, steps=settings.steps)

    fit(
        training.model, training.batches, chosen.objective, training.optimizer, factor,
        steps=settings.steps, clip=chosen.clip, hooks=(note,),
    )  # fmt: skip
    warm = min(WARMUP_STEPS, len(marks) - 2) if len(marks) > 1 else 0
    pace = (marks[-1] - marks[warm]) / max(1, len(marks) - 1 - warm) or float("nan")
    model = as_model(training.masters.state(), training.model.config).eval()
    model.set_rotary()
    losses = document_losses(model, TokenStore.open(settings.store / "heldout"), batch_tokens=8192)
    return Result(
        loss=float(losses.nats.sum() / losses.tokens.sum()),
        tokens_per_second=training.tokens_per_step / pace,
        parameters=sum(weight.numel() for weight in model.parameters()),
        steps=settings.steps,
    )


def seconds_per_step(packed: Path, block: str) -> float:
    """What a step of this block takes here, compilation left out."""
    timed = train(Settings(packed, block, seed=1, lr=0.02, steps=WARMUP_STEPS + TIMED_STEPS))
    return BATCH * SEQUENCE / timed.tokens_per_second


if __name__ == "__main__":
    sys.exit(main())
