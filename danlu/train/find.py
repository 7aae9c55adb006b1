"""What ``danlu plan --find`` looks for: the learning rate, the rows at once, the rows a step.

Each in a process of its own, on a sample of the text, from the recipe's first weights; the run's folder is left alone.
But for what is timed, the recipe and its seed decide everything.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch

from danlu.log import Progress, duration, progress, say, short
from danlu.machine import free_memory_bytes, peak_memory_bytes
from danlu.nn.speed import choose_device, choose_training_dtype
from danlu.optim.depth import build_optimizer
from danlu.optim.protocol import NamedParameters
from danlu.recipe import Choice, Recipe
from danlu.train.loop import StepInfo, fit
from danlu.train.memory import is_out_of_memory
from danlu.train.noise_scale import NoiseScale, Norms, measure, noise_scale
from danlu.train.own_process import ProcessDiedError, in_own_process
from danlu.train.plan import Estimate, Sample, training_on
from danlu.train.pretrain import Pretrain
from danlu.train.probe import probe
from danlu.train.range_test import HIGHEST, LOWEST, SAFETY, Curve, Suggestion, range_test, suggest
from danlu.train.rates import peaks
from danlu.train.rows_at_once import Cost, costs, fastest, sizes
from danlu.train.setup import Training, micro_batch_of

SECONDS = 120.0
"""What the range test may take, and the noise scale; with slow steps there are fewer of them, down to the fewest."""
RANGE_STEPS, FEWEST_RANGE_STEPS = 100, 40
NOISE_STEPS, FEWEST_NOISE_STEPS = 100, 20
POINTS = (0.1, 0.3, 1.0)
"""Where in the short training the noise scale is measured, as shares of its steps."""
BLOCKS = 8
"""Measurements at each point; their differences give the spread."""
PARTS = 16
"""Gradients that a block compares, at least."""


@dataclass(frozen=True, slots=True)
class Found:
    """What was found."""

    curve: Curve
    suggestion: Suggestion
    rates: dict[str, tuple[float, float]]
    """By key of the recipe, the rate as it is and as suggested; empty where the optimizer has other names for rates."""
    costs: list[Cost]
    rows_now: int
    """That go through at once as the recipe stands."""
    scales: list[NoiseScale]
    batch: int
    """As the recipe has it."""
    optimizer: str
    """Its name in the recipe."""

    @property
    def overrides(self) -> list[str]:
        """What to put behind ``danlu run RECIPE``; without a batch, which is for a person to decide."""
        best = fastest(self.costs)
        lines = [f"{key}={new:g}" for key, (_, new) in self.rates.items()]
        if lines:  # a recipe that leaves its optimizer out has none that a rate could be of
            lines.insert(0, f"pretrain.optimizer.use={self.optimizer}")
        if best is not None and best.rows != self.rows_now:
            lines.append(f"pretrain.hardware.micro_batch={best.rows}")
        return lines


def find(recipe: Recipe, sample: Sample, known: Estimate) -> Found:
    """Measure it all.

    Args:
        known: what the plan says, the seconds of a step among it.

    Raises:
        DanluError: there is too little memory for the recipe as it is.
    """
    settings = recipe.section("pretrain")
    assert isinstance(settings, Pretrain) and isinstance(settings.optimizer, Choice)
    steps = _steps_in(known.seconds_per_step, RANGE_STEPS, FEWEST_RANGE_STEPS)
    curve, suggestion, rates = in_own_process(_learning_rate, settings, sample, recipe.seed, steps)
    rows_now = micro_batch_of(settings, settings.sequence, choose_device(settings.hardware.device))
    say("plan: timing steps with more and more rows at once")
    cost = partial(_cost, settings, sample, recipe.seed)
    known_costs = list(costs(sizes(settings.batch, rows_now), cost))
    measured = len(POINTS) * BLOCKS * _block_steps(settings.batch)
    steps = _steps_in(known.seconds_per_step, NOISE_STEPS, FEWEST_NOISE_STEPS, beside=measured)
    rows = max(1, min(rows_now, settings.batch * _block_steps(settings.batch) // PARTS))
    parted = settings.with_hardware(micro_batch=rows)
    scales = in_own_process(_noise, parted, sample, recipe.seed, min(steps, known.steps), known.steps)
    use = settings.optimizer.to_recipe()["use"]
    return Found(curve, suggestion, rates, known_costs, rows_now, scales, settings.batch, use)


def _steps_in(seconds_per_step: float, most: int, fewest: int, *, beside: int = 0) -> int:
    """How many steps fit into ``SECONDS``, with ``beside`` others; says where that makes them fewer, and how long."""
    steps = max(fewest, min(most, int(SECONDS / seconds_per_step) - beside))
    if steps < most:
        why = f"a step takes {seconds_per_step:.1f} s; about {duration((steps + beside) * seconds_per_step)}"
        say(f"plan: {steps} steps where {most} would show more, since {why}")
    return steps


def as_measured(settings: Pretrain) -> Pretrain:
    """For the short trainings: not compiled, which they would not earn back, and without float16.

    Its gradients overflow on purpose, until the scale of the loss has settled, and tell nothing of rate or noise.
    """
    dtype, _ = choose_training_dtype(settings.precision, choose_device(settings.hardware.device))
    precision = {"precision": "fp32"} if dtype == torch.float16 else {}
    return settings.model_copy(update={"compile": "off", **precision})


def _learning_rate(
    settings: Pretrain, sample: Sample, seed: int, steps: int
) -> tuple[Curve, Suggestion, dict[str, tuple[float, float]]]:
    torch.manual_seed(seed)
    training = training_on(as_measured(settings), sample, seed)
    with progress("plan: learning rate", steps, "steps") as bar:
        curve = range_test(
            training.model, training.made_ahead, training.lesson, training.optimizer,
            steps=steps, clip=settings.clip, after=lambda step, loss: bar.update(step, loss=loss),
        )  # fmt: skip
    suggestion = suggest(curve)
    if suggestion.factor is None:
        return curve, suggestion, {}
    return curve, suggestion, scaled_rates(settings, list(training.masters.named.items()), suggestion.factor)


def scaled_rates(settings: Pretrain, named: NamedParameters, factor: float) -> dict[str, tuple[float, float]]:
    """The optimizer's rates by key of the recipe, as they are and times ``factor``, in two digits.

    Empty where the fields ``lr`` and ``*_lr`` are not all that its groups' rates come from.
    """
    choice = settings.optimizer
    assert isinstance(choice, Choice)
    named = list(named)
    now = peaks(choice)
    other = choice.model_copy(update={name: value * factor for name, value in now.items()})
    before, after = (
        [group["lr_scale"] for group in build_optimizer(each, named, layer_decay=settings.layer_decay).param_groups]
        for each in (choice, other)
    )
    if not all(math.isclose(new, old * factor, rel_tol=1e-6) for old, new in zip(before, after, strict=True)):
        return {}
    return {f"pretrain.optimizer.{name}": (value, float(f"{value * factor:.2g}")) for name, value in now.items()}


def _cost(settings: Pretrain, sample: Sample, seed: int, rows: int) -> Cost | None:
    """Of ``rows`` at once; None where memory does not hold them."""
    known = settings.with_hardware(micro_batch=rows)
    try:
        cost = in_own_process(_timed, known, sample, seed)
        if cost is not None and cost.compiled:  # what compiling takes is not the step's; now it is done
            cost = in_own_process(_timed, known, sample, seed)
    except ProcessDiedError:
        cost = None
    if cost is None:
        say(f"plan: memory does not hold {rows} rows at once")
    else:
        say(f"plan: {rows} at once, {short(cost.tokens_per_second)} tokens/s")
    return cost


def _timed(settings: Pretrain, sample: Sample, seed: int) -> Cost | None:
    """None where an allocation is refused.

    A step that is cut smaller on the way, for want of memory, has filled it: its cost leaves no room, so it is never
    the best.
    """
    free = free_memory_bytes()
    room = None if free is None else free + peak_memory_bytes()
    try:
        training = training_on(settings, sample, seed)
        timed = probe(training, say)
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        return None
    peak = peak_memory_bytes()
    device = next(training.model.parameters()).device
    if device.type == "cuda":
        peak = torch.cuda.max_memory_reserved(device)
        room = torch.cuda.mem_get_info(device)[0] + torch.cuda.memory_reserved(device)
    pace = training.tokens_per_step / timed.seconds_per_step
    return Cost(training.micro_batch, pace, peak, room, training.compiled)


def _noise(settings: Pretrain, sample: Sample, seed: int, steps: int, planned: int) -> list[NoiseScale]:
    """The noise scale at some points of the run's first ``steps`` steps, with its schedule for ``planned`` steps."""
    torch.manual_seed(seed)
    training = training_on(as_measured(settings), sample, seed)
    points = sorted({max(1, round(share * steps)) for share in POINTS})
    scales = []
    with progress("plan: noise scale", steps + BLOCKS * len(points), "steps") as bar:
        done, start = 0, 0
        for point in points:
            _train(training, settings, range(start, point), planned, partial(_tell, bar, done))
            done += point - start
            start = point
            blocks: list[Norms] = []
            for _ in range(BLOCKS):
                blocks.append(_block(training, settings, point + len(blocks) * _block_steps(settings.batch)))
                done += 1
                bar.update(done)
            unit = settings.batch * _block_steps(settings.batch) * BLOCKS / sum(block.big_rows for block in blocks)
            scales.append(noise_scale(blocks, step=point, unit=unit))
    return scales


def _tell(bar: Progress, before: int, first: int, info: StepInfo) -> None:
    bar.update(before + info.step - first, loss=info.loss)


def _train(
    training: Training, settings: Pretrain, steps: range, planned: int, tell: Callable[[int, StepInfo], None]
) -> None:
    fit(
        training.model, training.made_ahead, training.lesson, training.optimizer,
        lambda step: settings.schedule.factor(step, steps=planned, heldout=()),
        start=steps.start, steps=steps.stop, clip=settings.clip, cuts=training.cuts, hooks=[partial(tell, steps.start)],
    )  # fmt: skip


def _block_steps(batch: int) -> int:
    """Steps whose rows make a block: enough rows that their gradients can be compared."""
    return -(-PARTS // batch)


def _block(training: Training, settings: Pretrain, first: int) -> Norms:
    parts = [part for step in range(first, first + _block_steps(settings.batch)) for part in training.made_ahead(step)]
    parameters = [weight for group in training.optimizer.param_groups for weight in group["params"]]
    return measure(training.model, training.lesson, parameters, parts)


def in_words(found: Found) -> str:
    """What was found, as lines of text."""
    lines = [*_rate_lines(found), *_cost_lines(found), *_batch_lines(found)]
    if found.overrides:
        lines.append(f"to take      {' '.join(found.overrides)}")
    return "\n".join(lines)


def _rate_lines(found: Found) -> list[str]:
    known = found.suggestion
    head = f"rate         {len(found.curve.factors) + 1} steps, {LOWEST:g} to {HIGHEST:g} times the recipe's rates: "
    if known.factor is None:
        return [f"{head}{known.why}"]
    lines = [f"{head}{known.factor:.2g} times, {known.why}"]
    assert known.steepest is not None and known.lowest is not None
    lines.append(
        f"             the loss falls fastest at {known.steepest:.2g} times and is lowest at {known.lowest:.2g}; "
        f"a tenth of that is {known.lowest / SAFETY:.2g}"
    )
    lines += [f"             {key} {old:g} -> {new:g}" for key, (old, new) in found.rates.items()]
    if not found.rates:
        lines.append(f"             multiply the optimizer's rates by {known.factor:.2g}; they are not called lr")
    return lines


def _cost_lines(found: Found) -> list[str]:
    best, lines = fastest(found.costs), []
    for number, cost in enumerate(found.costs):
        notes = [", as now" if cost.rows == found.rows_now else "", ", the best" if cost is best else ""]
        about = f"{short(cost.tokens_per_second)} tokens/s, {cost.peak_bytes / 2**30:.2f} GiB{''.join(notes)}"
        lines.append(f"{'micro-batch' if not number else '':<12} {cost.rows:>4} at once: {about}")
    if best is None:
        lines.append("micro-batch  none leaves a fifth of the memory free")
    return lines


def _batch_lines(found: Found) -> list[str]:
    lines = []
    for number, scale in enumerate(found.scales):
        head = "batch" if not number else ""
        lines.append(f"{head:<12} noise scale after {scale.step} steps: {_spread(scale)} rows a step")
    return [*lines, *(f"             {line}" for line in meaning(found.scales[-1], found.batch))]


def _spread(scale: NoiseScale) -> str:
    if math.isinf(scale.rows) or math.isinf(scale.high):
        return f"at least {scale.low:,.0f}"
    return f"{scale.rows:,.0f} ({scale.low:,.0f} to {scale.high:,.0f})"


def meaning(scale: NoiseScale, batch: int) -> list[str]:
    """What a noise scale says of a batch, in words."""
    rows = scale.rows if math.isfinite(scale.rows) else scale.low
    if batch < scale.low:
        verdict = "is below it: a step is mostly noise, and more rows a step need almost as many fewer steps"
    elif batch > scale.high:
        verdict = "is above it: fewer rows a step would get almost as far, with less text"
    else:
        verdict = "is about right"
    least = "at least " if not math.isfinite(scale.rows) else ""
    steps, text = 1 + rows / batch, 1 + batch / max(rows, 1e-9)
    return [
        f"pretrain.batch={batch} {verdict}",
        f"that takes {least}{steps:.1f} times the fewest steps, and {text:.2g} times the least text",
        "the scale grows as the loss falls, so a long training can use more; a new batch wants a new rate",
    ]
