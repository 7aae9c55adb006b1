"""What is compared: finished runs, and the predictions of other tools on the same examples.

Nothing here imports torch.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from danlu.errors import InputError
from danlu.evaluate.predictions import Prediction, read_answers, read_predictions
from danlu.files import read_json
from danlu.log import read_metrics
from danlu.run_folder import RunFolder
from danlu.suites.figures import SHARES

STAGES = ("pretrain", "finetune", "evaluate")
"""Those that say something to compare."""
SPLITS = ("test", "dev")
ANSWERS = "figures.json"
"""What says that a folder is one that ``danlu evaluate FOLDER --suite FILE --out`` has written."""
SUITE_FIGURES = (*SHARES, "perplexity")
"""Of a suite of questions."""


@dataclass(frozen=True)
class Run:
    """A run, or another tool's predictions, which have nothing but those."""

    name: str
    path: Path
    done: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """``done.json`` by stage."""
    folders: Mapping[str, Path] = field(default_factory=dict)
    """Of those stages."""
    scores: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """``test.json`` and ``dev.json``, by split."""
    predictions: Mapping[str, Sequence[Prediction]] = field(default_factory=dict)
    """By split."""

    def figures(self, stage: str) -> dict[str, Any]:
        """What the stage reported."""
        return dict(self.done.get(stage, {}).get("figures", {}))

    def metrics(self, stage: str) -> list[dict[str, Any]]:
        """The lines of the training's metrics."""
        return read_metrics(self.folders[stage]) if stage in self.folders else []

    def model_bytes(self, stage: str) -> int:
        """Bytes of the weights that the stage has saved; 0 where they are gone."""
        model = self.folders[stage] / "model" if stage in self.folders else None
        return sum(file.stat().st_size for file in model.glob("*.safetensors")) if model is not None else 0


def read_runs(paths: Sequence[Path]) -> list[Run]:
    """All that are compared, each under a name of its own.

    Args:
        paths: folders of runs, of a stage, of one of a study, of a task of a joint training, of answers to suites;
            predictions (.jsonl).

    Raises:
        InputError: there are fewer than two, one is no finished run, or a file's examples are those of no run.
    """
    if len(paths) < 2:
        raise InputError("there must be at least two runs to compare")
    runs = [_read(path) for path in paths]
    files = [run for run in runs if not run.done]
    if len(files) == len(runs):
        raise InputError("one of what is compared must be a run: it says what its predictions are measured by")
    runs = [_placed(run, runs) if not run.done else run for run in runs]
    return [replace(run, name=name) for run, name in zip(runs, _names([run.path for run in runs]), strict=True)]


def aligned(first: Sequence[Prediction], other: Sequence[Prediction]) -> list[Prediction] | str:
    """The other's predictions in the order of the first's; or why they are not of the same examples.

    Examples are the same that have the same texts and gold in the same line of a file of the same name; where one
    side has no places, or no gold, that does not count.
    """
    if not any(each.texts for each in other):
        return "it has no texts to know its examples by"
    placed = all(each.place for each in (*first, *other))
    golden = any(each.gold is not None for each in first) and any(each.gold is not None for each in other)
    there: dict[Any, list[Prediction]] = defaultdict(list)
    for each in reversed(other):
        there[_key(each, placed, golden)].append(each)
    keys = [_key(each, placed, golden) for each in first]
    common = sum((Counter(keys) & Counter({key: len(found) for key, found in there.items()})).values())
    if common == len(first) == len(other):
        return [replace(there[key].pop(), gold=mine.gold) for key, mine in zip(keys, first, strict=True)]
    if common == 0:
        return f"none of its {len(other):,} examples is the same"
    return f"only {common:,} of its {len(other):,} examples are among the {len(first):,}"


def _key(each: Prediction, placed: bool, golden: bool) -> tuple[str, str]:
    return each.place if placed else "", each.content if golden else repr(each.texts)


def _read(path: Path) -> Run:
    if path.is_file():
        return Run(path.stem, path, predictions={"": read_predictions(path)})
    if not path.is_dir():
        raise InputError(f"there is no run and no file {path}")
    if (path / "done.json").exists() and path.name in STAGES:
        path = path.parent
    elif (path / "dev.json").exists() and (alone := _alone(path)) is not None:
        return _with_scores(path, {"finetune": alone}, {"finetune": path})
    run = RunFolder(path)
    done = {stage: found for stage in STAGES if (found := run.done(stage)) is not None}
    if not done and read_json(path / ANSWERS) is not None and any(path.glob("*_items.jsonl")):
        return _with_scores(path, {"evaluate": {"figures": {}, "made_from": {}, "outputs": {}}}, {"evaluate": path})
    if "pretrain" not in done and "finetune" not in done:
        raise InputError(f"{path} is no run to compare: {_why_none(run)}")
    return _with_scores(path, done, {stage: run.stage(stage) for stage in done})


def _why_none(run: RunFolder) -> str:
    """What is there in its place."""
    for whole, parts in (("joint", "tasks"), ("study", "trainings")):
        names = sorted(str(each.parent) for each in run.stage(whole).glob("*/dev.json"))
        if names and run.done(whole) is not None:
            return f"its {whole} has several {parts}, each of which is one: {', '.join(names)}"
    begun = next((stage for stage in STAGES if (run.stage(stage) / "begun.json").exists()), None)
    return f"its {begun} has not finished" if begun else "it has neither pretrain/done.json nor finetune/done.json"


def _alone(folder: Path) -> dict[str, Any] | None:
    """``done.json`` of a training of a study; of a task of a joint training that of all, with the task's figures."""
    if (done := RunFolder(folder.parent).done(folder.name)) is not None:
        return done
    joint, name = RunFolder(folder.parent.parent).done(folder.parent.name), f"{folder.name}."
    if joint is None:
        return None
    figures = {key.removeprefix(name): value for key, value in joint["figures"].items()}
    return {**joint, "figures": figures}


def _with_scores(path: Path, done: Mapping[str, Mapping[str, Any]], folders: Mapping[str, Path]) -> Run:
    """The run, with the scores and predictions of its fine-tuning, and its answers to suites of questions."""
    scores: dict[str, Mapping[str, Any]] = {}
    predictions: dict[str, list[Prediction]] = {}
    for split in SPLITS if "finetune" in folders else ():
        if (scored := _scored(folders["finetune"] / f"{split}.json")) is not None:
            scores[split] = scored
            predictions[split] = read_predictions(folders["finetune"] / f"{split}.predictions.jsonl")
    for file in sorted(folders["evaluate"].glob("*_items.jsonl")) if "evaluate" in folders else ():
        suite = file.name.removesuffix("_items.jsonl")
        found = of_all(file.with_name(f"{suite}.json"))
        figures = {name: found[name] for name in SUITE_FIGURES if name in found}
        between = {name: found[f"{name}_95"] for name in figures if f"{name}_95" in found}
        _check(file.with_name(f"{suite}.json"), figures, between)
        scores[suite] = {"figures": figures, "intervals": between, "criterion": "acc"}
        predictions[suite] = read_answers(file)
    return Run(path.name, path, done, folders, scores, predictions)


def _scored(path: Path) -> dict[str, Any] | None:
    """Figures and intervals that a stage has written; None where it has written none.

    Raises:
        InputError: the file is damaged.
    """
    found = _whole(path)
    if found is not None:
        _check(path, found.get("figures"), found.get("intervals"))
    return found


def of_all(path: Path) -> dict[str, Any]:
    """What a measure has written of all that it measured; empty where there is no such file.

    Raises:
        InputError: the file is damaged.
    """
    found = (_whole(path) or {}).get("all", {})
    if not isinstance(found, dict):
        raise InputError(f"{path} is damaged: 'all' must be figures by name")
    return found


def stride_of(path: Path) -> int | None:
    """By how many tokens the rows begin behind each other in which perplexity was measured; None: they do not overlap.

    Raises:
        InputError: the file is damaged.
    """
    found = _whole(path) or {}
    stride = found.get("stride")
    return None if stride == found.get("row_tokens") else stride


def _check(path: Path, figures: object, intervals: object) -> None:
    numbers = isinstance(figures, dict) and all(isinstance(each, float | int) for each in figures.values())
    pairs = isinstance(intervals, dict) and all(
        isinstance(each, list) and len(each) == 2 and all(isinstance(bound, float | int) for bound in each)
        for each in intervals.values()
    )
    if not numbers or not pairs:
        raise InputError(f"{path} is damaged: its figures must be numbers by name, its intervals pairs of them")


def _whole(path: Path) -> dict[str, Any] | None:
    found = read_json(path)
    if found is None and path.exists():
        raise InputError(f"{path} is damaged: it is no whole JSON object")
    return found


def _placed(file: Run, runs: Sequence[Run]) -> Run:
    """Another tool's predictions under the split of the first run that has their examples."""
    found, why = file.predictions[""], ""
    for run in runs:
        for split, predictions in run.predictions.items():
            if not run.done:
                continue
            same = aligned(predictions, found)
            if not isinstance(same, str):
                return replace(file, predictions={split: same})
            why = why or f"{same} of {run.path}'s {split}"
    raise InputError(f"{file.path}: {why or 'no run that it is compared with has predictions'}")


def _names(paths: Sequence[Path]) -> list[str]:
    """The shortest ends of the paths that tell all apart, without what is behind where that is not needed for it."""
    whole = [path.absolute().parts for path in paths]
    for length in range(1, max(map(len, whole)) + 1):
        names = ["/".join(parts[-length:]) for parts in whole]
        if len(set(names)) == len(names):
            alone = [parts[-length] if len(parts) >= length else parts[0] for parts in whole]
            return alone if len(set(alone)) == len(alone) else names
    raise InputError(f"{paths[0]} is there twice: each run is compared with the others once")
