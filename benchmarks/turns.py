"""Two sides or more that train on documents, in turn, in fresh processes: tokens a second, memory, loss curves."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from bilingual import pack_paragraphs
from pretrain_sides import matrix_rates
from process import in_fresh_process
from report import Comparison, NotMeasuredError, compare, say, say_machine, table, text_plot

if TYPE_CHECKING:
    from danlu.optim.adamw import AdamW
    from danlu.train.pretrain import Pretrain


@dataclass(frozen=True)
class Work:
    """What every side has to do."""

    run: Path
    """A run folder in which ``clean``, ``tokenizer`` and ``pack`` are done."""
    steps: int
    """In all, those that warm up included."""


@dataclass(frozen=True)
class Outcome:
    """What a side did; ``seconds`` and ``tokens`` of every step but the first, which is never a measurement."""

    losses: list[float]
    seconds: list[float]
    tokens: list[int]
    """Padding not counted."""
    parameters: int
    how: str


@dataclass(frozen=True)
class Round:
    """One side in one round."""

    outcome: Outcome
    tokens_per_second: float
    peak_bytes: int


@dataclass(frozen=True)
class Steps:
    """Of one side: so many to warm up, in which torch.compile meets all shapes, and so many that are timed."""

    warmup: int
    timed: int

    @property
    def all(self) -> int:
        return self.warmup + self.timed


def rounds_from_command(docstring: str | None) -> int:
    """How often each side runs, as the command line says."""
    parser = argparse.ArgumentParser(description=docstring, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3, help="how often each side runs (default %(default)s)")
    options = parser.parse_args()
    if options.rounds < 1:
        parser.error("--rounds must be at least 1")
    return int(options.rounds)


Side = Callable[[], Round]


def adamw() -> AdamW:
    """Danlu's, with the same numbers as the Trainer's."""
    from danlu.optim.adamw import AdamW

    return AdamW(lr=1e-3, betas=(0.9, 0.98), eps=1e-8, weight_decay=0.01)


def train(settings: Pretrain, work: Work, *, seed: int) -> Outcome:
    """What ``danlu pretrain`` does with these settings, its steps timed."""
    from danlu.corpus.store import TokenStore
    from danlu.tokenizers.tokenizer import Tokenizer
    from danlu.tokenizers.vocabulary import Vocabulary
    from danlu.train.loop import StepInfo, fit
    from danlu.train.setup import set_up

    vocabulary = Vocabulary.of(Tokenizer.load(work.run / "tokenizer"))
    training = set_up(settings, TokenStore.open(work.run / "pack" / "train"), vocabulary=vocabulary, seed=seed)
    infos: list[StepInfo] = []
    marks: list[float] = []

    def note(info: StepInfo) -> None:
        infos.append(info)
        marks.append(time.perf_counter())

    fit(
        training.model, training.batches, settings.objective, training.optimizer,
        lambda step: settings.schedule.factor(step, steps=work.steps),
        steps=work.steps, clip=settings.clip, masters=training.masters, hooks=(note,),
    )  # fmt: skip
    return Outcome(
        [info.loss for info in infos], between(marks), [info.tokens for info in infos[1:]],
        sum(weight.numel() for weight in training.model.parameters()), f"{training.precision}; {training.compilation}",
    )  # fmt: skip


@dataclass(frozen=True)
class Peer:
    """What Hugging Face's Trainer is given."""

    model: Any
    examples: Sequence[Mapping[str, Any]]
    collator: Any
    tokens_in: Callable[[Mapping[str, Any]], int]
    """How many tokens of a batch are no padding."""
    batch: int
    """Examples a step."""
    settings: Mapping[str, Any]
    """Of ``TrainingArguments``, beside those here."""


ADAM = {"learning_rate": 1e-3, "adam_beta1": 0.9, "adam_beta2": 0.98, "adam_epsilon": 1e-8, "weight_decay": 0.01,
        "max_grad_norm": 1.0, "lr_scheduler_type": "linear"}  # fmt: skip
"""Of all sides; the learning rate falls linearly to 0 over all steps."""
TUNED = {"torch_compile": True, "optim": "adamw_torch_fused", "dataloader_pin_memory": False, "disable_tqdm": True,
         "logging_strategy": "no"}  # fmt: skip


def hugging_face(peer: Peer, work: Work, *, seed: int) -> Outcome:
    """What Hugging Face's Trainer does with it, its steps timed."""
    from transformers import Trainer, TrainerCallback, TrainingArguments

    losses: list[float] = []
    tokens: list[int] = []
    marks: list[float] = []

    class Watched(Trainer):  # type: ignore[misc]
        def training_step(self, model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
            tokens.append(peer.tokens_in(inputs))
            loss = super().training_step(model, inputs, *args, **kwargs)
            losses.append(float(loss))
            return loss

    class Clock(TrainerCallback):  # type: ignore[misc]
        def on_step_end(self, *args: Any, **kwargs: Any) -> None:
            marks.append(time.perf_counter())

    with TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            output_dir=folder, max_steps=work.steps, per_device_train_batch_size=peer.batch, save_strategy="no",
            seed=seed, remove_unused_columns=False, **{"use_cpu": True, **ADAM, **peer.settings},
        )  # fmt: skip
        Watched(
            model=peer.model, args=arguments, train_dataset=peer.examples, data_collator=peer.collator,
            callbacks=[Clock()],
        ).train()  # fmt: skip
    precision = "bf16 by autocast" if arguments.bf16 else "fp32"
    compiled = "compiled by torch.compile" if arguments.torch_compile else "not compiled"
    parameters = sum(weight.numel() for weight in peer.model.parameters())
    return Outcome(losses, between(marks), tokens[1:], parameters, f"{precision}; {compiled}")


def run_side(run: Path, steps: Steps, side: Callable[..., Outcome], *how: str) -> Round:
    """One side in a fresh process; over all timed steps together, for steps hold different numbers of tokens."""
    outcome, peak = in_fresh_process(side, Work(run, steps.all), *how)
    seconds, tokens = outcome.seconds[steps.warmup - 1 :], outcome.tokens[steps.warmup - 1 :]
    if len(outcome.losses) != steps.all or len(seconds) != steps.timed:
        raise NotMeasuredError(f"{side.__name__} did {len(outcome.losses)} steps of {steps.all}")
    return Round(outcome, sum(tokens) / sum(seconds), peak)


def in_turn(sides: Mapping[str, Side], rounds: int) -> dict[str, list[Round]]:
    """All sides, one after the other, and so on; every second round backwards."""
    results: dict[str, list[Round]] = {name: [] for name in sides}
    for number in range(rounds):
        order = list(sides)[:: -1 if number % 2 else 1]  # so that no side always runs on a warm machine
        for name in order:
            results[name].append(sides[name]())
            say(f"round {number + 1}: {name}: {results[name][-1].tokens_per_second:,.0f} tokens/s")
    return results


OURS, WHOLE, DEFAULTS, BEST = "Danlu", "Danlu, int8", "Trainer, defaults", "Trainer, tuned"
"""``WHOLE`` is the only side whose products are of whole numbers."""


def measure(
    what: str,
    danlu: Callable[..., Outcome],
    trainer: Callable[..., Outcome],
    *,
    special: str,
    steps: Mapping[str, Steps],
    targets: Mapping[str, float],
    rounds: int,
) -> list[Comparison]:
    """Danlu and the Trainer, with its defaults and tuned, on the paragraphs of corpora/.

    Args:
        special: the set of special tokens that the tokenizer has.
        steps: of ``OURS``, ``DEFAULTS`` and ``BEST``.
        targets: tokens a second, at least so many times those of ``DEFAULTS`` and of ``BEST``.
    """
    say_machine()
    with TemporaryDirectory(prefix="danlu-benchmark-") as temporary:
        run, _ = in_fresh_process(pack_paragraphs, Path(temporary), vocab_size=8192, special=special)
        rates, _ = in_fresh_process(matrix_rates)
        tuned = "tuned bf16" if rates["bf16"] > rates["fp32"] else "tuned"
        ours = ours_here()
        sides: dict[str, Side] = {
            name: partial(run_side, run, steps[OURS], danlu, precision) for name, precision in ours.items()
        }
        sides[DEFAULTS] = partial(run_side, run, steps[DEFAULTS], trainer, "defaults")
        sides[BEST] = partial(run_side, run, steps[BEST], trainer, tuned)
        results = in_turn(sides, rounds)
    say_results(results)
    return [comparison for name in ours for comparison in compare_sides(what, results, name, targets)]


def ours_here() -> dict[str, str]:
    """Danlu's sides and their ``precision``: with int8 where the processor multiplies it fast."""
    from danlu.machine import fast_int8

    return {OURS: "auto", WHOLE: "int8"} if fast_int8() else {OURS: "auto"}


def compare_sides(
    what: str, results: Mapping[str, Sequence[Round]], ours: str, targets: Mapping[str, float]
) -> list[Comparison]:
    """The speed of ``ours`` beside each peer's, and what is wanted; memory beside the first peer's."""
    comparisons = []
    for peer, target in targets.items():
        mine, theirs = ([run.tokens_per_second for run in results[name]] for name in (ours, peer))
        comparison = compare(f"{what} speed: {ours} / {peer}", mine, theirs, unit="tokens/s")
        least, greatest = comparison.spread
        met = "met" if comparison.ratio >= target else "MISSED"
        ratio = f"{comparison.ratio:.2f} ({least:.2f} to {greatest:.2f})"
        say(f"{comparison.benchmark}: {ratio}; wanted at least {target}: {met}")
        comparisons.append(comparison)
    peer = next(iter(targets))
    mine, theirs = ([run.peak_bytes / 1e6 for run in results[name]] for name in (ours, peer))
    return [*comparisons, compare(f"{what} peak memory: {ours} / {peer}", mine, theirs, unit="MB")]


def say_results(results: Mapping[str, Sequence[Round]]) -> None:
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


def between(marks: Sequence[float]) -> list[float]:
    """Seconds from each mark to the next."""
    return [after - before for before, after in pairwise(marks)]
