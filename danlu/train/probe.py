"""Timed first steps: what a step costs on this machine, before anything is decided by it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise
from statistics import median

from danlu.errors import DanluError
from danlu.nn.speed import first_line, from_compiler
from danlu.objectives.protocol import LessonOfOwnText
from danlu.train.compiling import without_compilation
from danlu.train.loop import StepInfo, fit
from danlu.train.setup import Training

PROBE_STEPS = 6
PROBE_SECONDS = 2.0
"""A probe takes at least these many steps, and goes on until it has taken this long."""
MOST_STEPS = 200


@dataclass(frozen=True, slots=True)
class Probe:
    """What was measured."""

    seconds_per_step: float
    """Median."""
    seconds: float
    """What the timed steps took together."""
    first_step_seconds: float
    """The step before them, compilation included."""


def probe(training: Training, say: Callable[[str], None]) -> Probe:
    """Time steps of ``training``, whose weights and optimizer state are spoilt by it.

    A step that cannot be compiled is told through ``say`` and runs without compilation from then on.
    """
    with training.masters.ranks.training():
        return _probe(training, say)


def _probe(training: Training, say: Callable[[str], None]) -> Probe:
    started, training = time.perf_counter(), _rehearsing(training)
    _warm_up(training, say)
    first = time.perf_counter() - started
    marks = [time.perf_counter()]

    def mark(info: StepInfo) -> None:
        marks.append(time.perf_counter())

    step = 1
    ranks = training.masters.ranks
    while ranks.from_first(
        len(marks) <= PROBE_STEPS or (marks[-1] - marks[0] < PROBE_SECONDS and len(marks) < MOST_STEPS)
    ):
        _run(training, step, mark)
        step += 1
    seconds = [after - before for before, after in pairwise(marks)]
    return Probe(median(seconds), sum(seconds), first)


def warm_up(training: Training, say: Callable[[str], None]) -> None:
    """One step, so that everything is compiled; where that fails, say why and go on without."""
    with training.masters.ranks.training():
        _warm_up(_rehearsing(training), say)


def _rehearsing(training: Training) -> Training:
    lesson = training.lesson
    return replace(training, lesson=lesson.rehearsal()) if isinstance(lesson, LessonOfOwnText) else training


def _warm_up(training: Training, say: Callable[[str], None]) -> None:
    try:
        _run(training, 0)
    except Exception as error:
        if not from_compiler(error):
            raise
        if training.masters.ranks.size > 1:  # the others are amid the step
            problem = f"torch.compile failed: {first_line(error)}; set {training.cuts.section}.compile to off"
            raise DanluError(problem) from error
        without_compilation(training.model)
        training.compiling.on = False
        training.compiling.why = f"no compilation: torch.compile failed: {first_line(error)}"
        say(training.compilation)
        _run(training, 0)


def _run(training: Training, step: int, *hooks: Callable[[StepInfo], None]) -> None:
    model, batches, optimizer = training.model, training.made_ahead, training.optimizer
    fit(
        model, batches, training.lesson, optimizer, lambda _: 1e-3, steps=step + 1, start=step,
        masters=training.masters, cuts=training.cuts, hooks=hooks,
    )  # fmt: skip
