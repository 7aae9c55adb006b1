"""Cross-validation: every example of train and dev is measured once, by a model that has not seen it.

A fold that is held out decides nothing: the best weights are chosen by a part of the other folds, as ``finetune`` does
with a part of its train. What is chosen by a fold and then measured on it looks better than it is (Cawley & Talbot
2010).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

from pydantic import Field

from danlu.data.alike import same_text
from danlu.data.dataset import Dataset
from danlu.data.split import folds, split
from danlu.errors import RecipeError
from danlu.files import atomic_write
from danlu.tasks.scores import score
from danlu.tasks.study_kind import (
    Conclusion,
    Outcome,
    Setting,
    StudyKind,
    Variation,
    as_lines,
    in_words,
    spread_figures,
    spreads,
)
from danlu.tasks.study_suspects import likely_wrong
from danlu.tasks.task import Answer

HELD_OUT = "fold"
"""The split that is the fold which is held out."""
POOLED, SUSPECTS = "pooled.predictions.jsonl", "suspects.jsonl"


class Folds(StudyKind):
    """k-fold cross-validation (Stone 1974) by label; duplicates, and questions about one text, stay in one fold."""

    k: int = Field(default=5, ge=2)
    """Folds, and trainings."""

    def variations(self, dataset: Dataset[Any], *, seed: int, data_seed: int) -> list[Variation]:
        train, dev = dataset.splits["train"], dataset.splits["dev"]
        examples = (*train, *dev)
        self._check(examples)
        share = len(dev) / len(examples)
        found = []
        for number, fold in enumerate(folds(examples, self.k, seed=data_seed), start=1):
            parts = split(fold.train, {"train": 1 - share, "dev": share}, seed=data_seed)
            splits = {**parts, HELD_OUT: fold.dev}
            if "test" in dataset.splits:
                splits["test"] = dataset.splits["test"]
            found.append(Variation(f"fold-{number}", seed, replace(dataset, splits=splits), {"fold": number}))
        return found

    def _check(self, examples: Sequence[Any]) -> None:
        """Where each example has one label, each fold needs every label."""
        if not all(len(set(each.labels)) == 1 for each in examples):
            return
        texts: dict[str, set[str]] = {}
        for each in examples:
            texts.setdefault(each.labels[0], set()).add(same_text(each.group))
        rarest = min(texts, key=lambda label: (len(texts[label]), label))
        if len(texts[rarest]) < self.k:
            raise RecipeError(
                f"study.k must be at most {len(texts[rarest])}, the different texts in train and dev with the rarest "
                f"label, {rarest!r}, so that each fold has one; got {self.k} (data.leave_out leaves out labels)"
            )

    def conclude(self, outcomes: Sequence[Outcome], setting: Setting) -> Conclusion:
        task = setting.task
        found = {name: each for name, each in spreads(outcomes).items() if not name.startswith("dev.")}
        first = outcomes[0].variation.dataset
        lines: list[dict[str, Any]] = []
        examples: list[Any] = []
        for outcome in outcomes:
            answered = outcome.variation.dataset.splits[HELD_OUT]
            examples += answered
            lines += [{"fold": outcome.variation.about["fold"], **line} for line in outcome.lines(HELD_OUT)]
        answers = [Answer(line["prediction"]) for line in lines]
        pooled = score(task, examples, answers, setting.known, seed=setting.seed)
        atomic_write(setting.out / POOLED, as_lines(lines))
        wrong = likely_wrong(examples, lines, SUSPECTS)
        criterion = task.criterion
        figure, interval = pooled["figures"][criterion], pooled["intervals"].get(criterion)
        between = "" if interval is None else f", 95 % interval {interval[0]:.4f} to {interval[1]:.4f}"
        says = [in_words(f"{HELD_OUT}.{criterion}", found[f"{HELD_OUT}.{criterion}"], "held-out folds"),
                f"pooled.{criterion} of all {len(examples):,} examples, each by a model that has not seen it: "
                f"{figure:.4f}{between}"]  # fmt: skip
        if wrong is not None:
            atomic_write(setting.out / SUSPECTS, as_lines(wrong.lines))
            says.append(wrong.said)
        if "test" in first.splits:
            says.append(in_words(f"test.{criterion}", found[f"test.{criterion}"], "models"))
        figures = {**spread_figures(found, criterion), f"pooled.{criterion}": round(figure, 6)}
        if interval is not None:
            figures[f"pooled.{criterion}.interval"] = f"{interval[0]:.4f} to {interval[1]:.4f}"
        details = {"spread": {name: asdict(each) for name, each in found.items()}, "pooled": pooled}
        return Conclusion(says, figures, details)
