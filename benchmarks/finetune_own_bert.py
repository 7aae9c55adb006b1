"""The part own_bert of ``finetune.py``: BERTs that Danlu has pretrained, fine-tuned by both sides."""

from __future__ import annotations

import gzip
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any

import own_bert_trainer
from process import in_fresh_process
from report import Comparison, NotMeasuredError, compare, say, table

from danlu.data.dataset import Data, load
from danlu.data.extracted import EXTRACT
from danlu.data.tagged import TAG
from danlu.files import atomic_write
from danlu.metrics.entities import Entities
from danlu.metrics.extraction import CMRC
from danlu.metrics.resampling import compare as compare_answers
from danlu.metrics.resampling import intervals
from danlu.metrics.tally import Metric, overall

LAYERS, DIM, HEADS = 4, 256, 4
SIDES = ("Danlu", "transformers")


@dataclass(frozen=True)
class Language:
    """What a BERT is pretrained on, below ``pretrain/`` of the data."""

    name: str
    files: tuple[str, ...]
    tokenizer: dict[str, Any]
    sequence: int
    """Tokens of a row, and the most that fine-tuning reads at once."""
    batch: int


@dataclass(frozen=True)
class Problem:
    """A task, its files below the data's folder, and what answers are measured by."""

    name: str
    language: str
    data: dict[str, Any]
    settings: dict[str, Any]
    """Of the stage ``finetune``."""
    train: Callable[[own_bert_trainer.Fit], list[Any]]
    """The other side: the answers to the test part."""
    metric: Metric[Any, Any]
    figures: tuple[str, ...]


ENGLISH = Language(
    "en", ("books_en.jsonl.gz", "docs_en.jsonl.gz", "wiki_en.jsonl.gz", "c4_sample.jsonl"),
    {"use": "wordpiece", "vocab_size": 8192, "alphabet": 256, "lowercase": False}, sequence=128, batch=24,
)  # fmt: skip
CHINESE = Language(
    "zh", ("docs_zh.jsonl.gz", "wiki_zh.jsonl.gz", "classics_zh.jsonl.gz", "cluecorpus_small_sample.txt.gz"),
    {"use": "wordpiece", "vocab_size": 10_000, "alphabet": 4900}, sequence=384, batch=8,
)  # fmt: skip
LANGUAGES = {language.name: language for language in (ENGLISH, CHINESE)}
_TAG = {"optimizer": {"use": "adamw", "lr": 5e-4, "weight_decay": 0.01}, "batch": 16, "budget": {"epochs": 10},
        "evaluations": 10}  # fmt: skip
PROBLEMS = {
    "wnut17": Problem(
        "WNUT17", "en", {name: f"ner/en/wnut17/{name}.conll" for name in ("train", "dev", "test")},
        {"task": {"use": "tag", "max_tokens": 128}, **_TAG}, own_bert_trainer.tag, Entities(scheme="BIO"),
        ("micro.f1",),
    ),
    "uner": Problem(
        "UNER-zh, characters", "zh", {name: f"ner/zh/uner_gsdsimp/{name}.iob2" for name in ("train", "dev", "test")},
        {"task": {"use": "tag", "max_tokens": 384}, **_TAG}, own_bert_trainer.tag, Entities(scheme="BIO"),
        ("micro.f1",),
    ),
    "cmrc": Problem(
        "CMRC2018, trial to dev", "zh",
        {"train": "qa/zh/cmrc2018_trial.json", "test": "qa/zh/cmrc2018_dev.json", "mend": True},
        {"task": {"use": "extract", "max_tokens": 384, "stride": 128}, "batch": 16, "evaluations": 6,
         "optimizer": {"use": "adamw", "lr": 3e-4, "weight_decay": 0.01}, "budget": {"epochs": 6}},
        own_bert_trainer.extract, CMRC(), ("exact_match", "f1"),
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Job:
    """Where everything is."""

    data: Path
    work: Path
    """What is done stays here; called again, the part goes on from there."""
    steps: int
    """Of each pretraining."""
    problems: Sequence[str] = tuple(PROBLEMS)
    """Of ``PROBLEMS``."""

    @property
    def inputs(self) -> Path:
        """Files of the data in another form."""
        return self.work / "inputs"

    def path(self, name: str) -> Path:
        """A file of the data.

        Raises:
            NotMeasuredError: it is not there.
        """
        found = self.data / name
        if not found.is_file():
            raise NotMeasuredError(f"{found} is missing")
        return found


def measure(job: Job, *, seeds: Sequence[int]) -> list[Comparison]:
    """Each BERT, and each side's fine-tuning of it, where they are not done yet."""
    job.inputs.mkdir(parents=True, exist_ok=True)
    comparisons = []
    asked = [PROBLEMS[name] for name in job.problems]
    for name in dict.fromkeys(problem.language for problem in asked):
        in_fresh_process(pretrain, job, LANGUAGES[name])
        for problem in (each for each in asked if each.language == name):
            answers: dict[str, list[list[Any]]] = {side: [] for side in SIDES}
            for seed in seeds:
                for side in SIDES:
                    answers[side].append(answered(job, problem, side, seed))
            comparisons += say_results(job, problem, seeds, answers)
    return comparisons


def pretrain(job: Job, language: Language) -> None:
    """Texts, tokenizer, training; a training that was broken off goes on from its last checkpoint."""
    from danlu.errors import DanluError
    from danlu.recipe import load_recipe
    from danlu.runs import run_stages

    sources = []
    for name in language.files:
        path = job.path(f"pretrain/{language.name}/{name}")
        how = {}
        if name.endswith(".txt.gz"):  # a document a line; plain for the stage
            path, how = plain(path, job.inputs / name.removesuffix(".gz")), {"documents": "lines"}
        sources.append({"path": str(path), "language": language.name, **how})
    recipe = job.work / f"{language.name}.yaml"
    recipe.write_text(json.dumps({  # which is YAML too
        "run_dir": str(job.work / language.name),
        "clean": {"sources": sources},
        "tokenizer": language.tokenizer,
        "pack": {"split": {"use": "hash", "fraction": 0.02}, "marks": ["words"]},
        "pretrain": {
            "model": {"use": "modernbert", "layers": LAYERS, "dim": DIM, "heads": HEADS},
            "objective": {"use": "mlm", "units": "words", "rate": 0.3},
            "sequence": language.sequence, "batch": language.batch, "budget": {"steps": job.steps},
        },
    }))  # fmt: skip
    try:
        loaded = load_recipe(recipe)
        done = run_stages(loaded, list(loaded.sections), say, begin=lambda name: say(f"{language.name}: {name} begins"))
    except DanluError as error:
        raise NotMeasuredError(str(error)) from error
    say(f"{language.name}: {done.figures('pretrain')}")


def plain(packed: Path, out: Path) -> Path:
    """The file without its compression."""
    if not out.exists():
        atomic_write(out, gzip.decompress(packed.read_bytes()))
    return out


def answered(job: Job, problem: Problem, side: str, seed: int) -> list[Any]:
    """The answers of a side to the test part, from ``pieces/`` where they have been given before."""
    path = job.work / "pieces" / f"{problem.name.split(',')[0]}-{side}-{seed}.json"
    if not path.exists():
        path.parent.mkdir(exist_ok=True)
        started = time.perf_counter()
        found, _ = in_fresh_process(danlu if side == "Danlu" else transformers, job, problem, seed)
        atomic_write(path, json.dumps({"answers": found}, ensure_ascii=False).encode())
        say(f"{problem.name}, {side}, seed {seed}: {time.perf_counter() - started:.0f} s")
    return list(json.loads(path.read_text(encoding="utf-8"))["answers"])


def danlu(job: Job, problem: Problem, seed: int) -> list[Any]:
    """The stage ``finetune``, whose weights are those that do best on dev."""
    from danlu.recipe import load_recipe
    from danlu.runs import run_stages

    folder = job.work / "finetune" / f"{problem.name.split(',')[0]}-{seed}"
    section = {"model": str(model_of(job, problem)), "data": files(job, problem), **problem.settings}
    recipe = folder.with_suffix(".yaml")
    recipe.parent.mkdir(exist_ok=True)
    recipe.write_text(json.dumps({"finetune": section, "run_dir": str(folder), "seed": seed}))
    run_stages(load_recipe(recipe, []), ["finetune"], lambda line: None)
    lines = (folder / "finetune/test.predictions.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line)["prediction"] for line in lines]


def transformers(job: Job, problem: Problem, seed: int) -> list[Any]:
    """The example of ``transformers`` for such a task, with its settings."""
    dataset = read(job, problem)
    whole = [*dataset.splits["train"], *(dataset.splits["dev"] if "dev" not in problem.data else ())]
    longest = LANGUAGES[problem.language].sequence
    fit = own_bert_trainer.Fit(
        model_of(job, problem), whole, dataset.splits["test"], dataset.labels, longest, seed
    )  # fmt: skip
    return problem.train(fit)


def model_of(job: Job, problem: Problem) -> Path:
    return job.work / problem.language / "pretrain" / "model"


def read(job: Job, problem: Problem) -> Any:
    """The checked examples, as both sides have them."""
    form: Any = EXTRACT if problem.metric == CMRC() else TAG
    return load(Data(**files(job, problem)), form)


def files(job: Job, problem: Problem) -> dict[str, Any]:
    """The section ``data``; of Chinese words that are tagged, their characters."""
    found = {}
    for name, value in problem.data.items():
        if not isinstance(value, str):
            found[name] = value
            continue
        path = job.path(value)
        found[name] = str(characters(path, job.inputs / f"{path.stem}.conll") if path.suffix == ".iob2" else path)
    return found


def characters(words: Path, out: Path) -> Path:
    """The file with a character a line; only the first of an entity's begins it."""
    if out.exists():
        return out
    lines = []
    for line in words.read_text(encoding="utf-8").splitlines():
        if line.startswith("#"):
            continue
        if not line:
            lines.append("")
            continue
        _, word, tag, *_ = line.split("\t")
        inside = f"I{tag[1:]}" if tag.startswith("B-") else tag
        lines += [f"{letter}\t{inside if place else tag}" for place, letter in enumerate(word)]
    atomic_write(out, "\n".join(lines).encode())
    return out


def say_results(
    job: Job, problem: Problem, seeds: Sequence[int], answers: dict[str, list[list[Any]]]
) -> list[Comparison]:
    """Every seed's figures with their intervals, and how far the sides are apart."""
    golds: list[Any] = [each.gold for each in read(job, problem).splits["test"]]
    comparisons = []
    for figure in problem.figures:
        found: dict[str, list[float]] = {side: [] for side in SIDES}
        rows = [["seed", *SIDES, "Danlu - transformers"]]
        for seed, *pair in zip(seeds, *(answers[side] for side in SIDES), strict=True):
            cells = []
            for side, values in zip(SIDES, pair, strict=True):
                tally = problem.metric.tally(golds, values)
                low, high = intervals(tally, seed=0)[figure]
                found[side].append(overall(tally)[figure])
                cells.append(f"{found[side][-1]:.4f} ({low:.4f} to {high:.4f})")
            apart = compare_answers(problem.metric, golds, pair[1], pair[0], seed=0)[figure]
            rows.append([str(seed), *cells, f"{apart.difference:+.4f} ({apart.low:+.4f} to {apart.high:+.4f})"])
        means = [mean(found[side]) for side in SIDES]
        rows.append(["mean", *(f"{each:.4f}" for each in means), f"{means[0] - means[1]:+.4f}"])
        say(f"\n{problem.name}: {figure}, with 95 % intervals by bootstrap over the {len(golds):,} of the test part")
        say(f"{table(rows)}\n")
        if all(value > 0 for values in found.values() for value in values):
            comparisons.append(
                compare(f"{problem.name}, {figure}: Danlu / transformers", *found.values(), unit="share")
            )
    return comparisons
