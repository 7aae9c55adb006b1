"""The parts sst2 and predict of ``finetune.py``: both sides of each."""

from __future__ import annotations

import csv
import json
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

from classifiers import SST2, read_task
from process import in_fresh_process
from report import Comparison, NotMeasuredError, compare, say, table

EPOCHS, TEXTS, BATCH = 3, 50_000, 32
QUARTER = 0.25
"""Of Trainer's time, at most, to the median of its accuracies."""
MORE_TEXTS = (
    ("classification/en/cola/train.tsv", 3), ("classification/en/banking77/train.csv", 0),
    ("classification/en/banking77/test.csv", 0), ("pairs/en/stsbenchmark.tsv", "sentence1"),
    ("pairs/en/stsbenchmark.tsv", "sentence2"),
)  # fmt: skip
"""Files of English texts and the column of the texts, beside those of SST-2."""


@dataclass(frozen=True)
class Job:
    """Where everything is."""

    data: Path
    model: Path
    out: Path

    def part(self, name: str) -> Path:
        return self.data / SST2.folder / f"{name}.tsv"


@dataclass(frozen=True)
class Trained:
    """What a side did with one seed."""

    seconds: float
    """Of the training loop; Danlu's measures dev on the way, which counts."""
    curve: list[tuple[float, float]]
    """Seconds, and the accuracy on dev then."""
    dev: float
    test: float


def measure(job: Job, *, seeds: Sequence[int]) -> list[Comparison]:
    """Both sides, seed by seed."""
    ours_all, peers = [], []
    for seed in seeds:
        peer, _ = in_fresh_process(trainer, job, seed)
        own, _ = in_fresh_process(ours, job, seed)
        ours_all.append(own)
        peers.append(peer)
        curve = ", ".join(f"{accuracy:.4f} after {seconds:.0f} s" for seconds, accuracy in own.curve)
        say(f"seed {seed}: Trainer {peer.seconds:.0f} s, dev {peer.dev:.4f}, test {peer.test:.4f}; "
            f"Danlu {own.seconds:.0f} s, test {own.test:.4f}, dev {curve}")  # fmt: skip
    return judge(seeds, ours_all, peers)


def judge(seeds: Sequence[int], ours_all: Sequence[Trained], peers: Sequence[Trained]) -> list[Comparison]:
    """A table of all seeds, and what was wanted.

    The accuracy to come to is the median of Trainer's own seeds. The time to it is the median of Danlu's, of which one
    that never comes to it takes infinitely long; Trainer's is that of all its epochs, whether it came to it or not.
    """
    goal = median(peer.dev for peer in peers)
    reached = [next((seconds for seconds, accuracy in own.curve if accuracy >= goal), math.inf) for own in ours_all]
    rows = [["seed", "Trainer, s", "its dev", "its test", f"Danlu to {goal:.4f}, s", "all, s", "best dev", "test"]]
    for seed, own, peer, time_to in zip(seeds, ours_all, peers, reached, strict=True):
        rows.append([str(seed), f"{peer.seconds:.0f}", f"{peer.dev:.4f}", f"{peer.test:.4f}",
                     "never" if time_to == math.inf else f"{time_to:.0f}", f"{own.seconds:.0f}", f"{own.dev:.4f}",
                     f"{own.test:.4f}"])  # fmt: skip
    say(f"\n{table(rows)}\n")
    tests = [own.test for own in ours_all], [peer.test for peer in peers]
    comparisons = [compare("SST-2, accuracy on test: Danlu / Trainer", *tests, unit="share")]
    there = [(mine, peer.seconds) for mine, peer in zip(reached, peers, strict=True) if mine < math.inf]
    if there:
        claim = "SST-2, time to Trainer's accuracy, of the seeds that came to it: Danlu / Trainer"
        comparisons.append(compare(claim, *zip(*there, strict=True), unit="s"))
    shares = [mine / peer.seconds for mine, peer in zip(reached, peers, strict=True)]
    own_there = sum(peer.dev >= goal for peer in peers)
    say(f"{len(there)} of {len(seeds)} seeds came to {goal:.4f} on dev, of Trainer's own {own_there}")
    say(f"wanted: at most {QUARTER} of its time in the median of the seeds: {median(shares):.3f}: "
        f"{'met' if median(shares) <= QUARTER else 'MISSED'}; "
        f"by every seed: {'met' if max(shares) <= QUARTER else 'missed'}")  # fmt: skip
    say(f"wanted: accuracy on test not lower: {'met' if comparisons[0].ratio >= 1 else 'MISSED'}")
    return comparisons


def ours(job: Job, seed: int) -> Trained:
    """The stage with R-Drop, averaged weights, lower blocks slower; dev is measured ten times, whatever it brings."""
    from danlu.recipe import load_recipe
    from danlu.runs import run_stages

    folder = job.out / f"seed-{seed}"
    data = {name: str(job.part(name)) for name in ("train", "dev", "test")}
    section = {"model": str(job.model), "task": {"use": "classify", "r_drop": 1}, "data": data,
               "evaluations": 10, "early_stopping": {"patience": 10}, "average": {"decay": 0.995},
               "layer_decay": 0.85, "optimizer": {"lr": 2e-4}}  # fmt: skip
    recipe = job.out / f"seed-{seed}.yaml"
    recipe.write_text(json.dumps({"finetune": section, "run_dir": str(folder), "seed": seed}))  # which is YAML too
    run_stages(load_recipe(recipe, []), ["finetune"], lambda line: None)
    lines = [json.loads(line) for line in (folder / "finetune/metrics.jsonl").read_text().splitlines()]
    figures = json.loads((folder / "finetune/done.json").read_text())["figures"]
    curve = [(line["seconds"], line["heldout.accuracy"]) for line in lines if "heldout.accuracy" in line]
    return Trained(lines[-1]["seconds"], curve, figures["dev.accuracy"], figures["test.accuracy"])


def trainer(job: Job, seed: int) -> Trained:
    """Trainer with its defaults: 3 epochs, 8 texts a step, padded to the longest of them, float32."""
    import numpy as np
    from transformers import (
        AutoModelForSequenceClassification,
        AutoTokenizer,
        DataCollatorWithPadding,
        Trainer,
        TrainingArguments,
        set_seed,
    )

    set_seed(seed)
    tokenizer = AutoTokenizer.from_pretrained(job.model)
    model = AutoModelForSequenceClassification.from_pretrained(job.model, num_labels=2)
    parts = {
        name: [{**tokenizer(text, truncation=True), "label": label} for text, label in read_task(job.data, SST2, name)]
        for name in ("train", "dev", "test")
    }
    with TemporaryDirectory() as folder:
        arguments = TrainingArguments(output_dir=folder, use_cpu=True, seed=seed, save_strategy="no")
        peer = Trainer(
            model=model, args=arguments, train_dataset=parts["train"], processing_class=tokenizer,
            data_collator=DataCollatorWithPadding(tokenizer),
        )  # fmt: skip
        started = time.perf_counter()
        peer.train()
        seconds = time.perf_counter() - started
        found = {}
        for name in ("dev", "test"):
            output: Any = peer.predict(parts[name])
            found[name] = float((np.argmax(output.predictions, axis=1) == output.label_ids).mean())
    return Trained(seconds, [(seconds, found["dev"])], found["dev"], found["test"])


def measure_predictions(job: Job) -> list[Comparison]:
    """Both sides with one folder, in turn; how often they agree."""
    folder = job.out / "seed-1/finetune/model"
    if not folder.exists():
        in_fresh_process(ours, job, 1)
    texts = job.out / "texts.csv"
    with texts.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([["text"], *([text] for text in read_texts(job.data))])
    own, _ = in_fresh_process(predict, folder, texts, job.out / "ours.csv")
    peer, _ = in_fresh_process(pipeline, folder, texts)
    with (job.out / "ours.csv").open(encoding="utf-8", newline="") as file:
        answers = [row["prediction"] for row in csv.DictReader(file)]
    same = sum(one == other for one, other in zip(answers, peer[1], strict=True))
    say(f"{TEXTS:,} texts: Danlu {own:.1f} s, file to file; the pipeline {peer[0]:.1f} s from texts in memory; "
        f"the same label for {same / TEXTS:.2%}")  # fmt: skip
    found = compare("50,000 texts classified: Danlu / pipeline", [TEXTS / own], [TEXTS / peer[0]], unit="texts/s")
    say(f"wanted: at least 4 times as fast: {'met' if found.ratio >= 4 else 'MISSED'}")
    return [found]


def predict(folder: Path, texts: Path, out: Path) -> float:
    """Seconds of ``danlu predict``, loading included."""
    from danlu.tasks.predict import predict_file

    started = time.perf_counter()
    predict_file(folder, texts, out)
    return time.perf_counter() - started


def pipeline(folder: Path, texts: Path) -> tuple[float, list[str]]:
    """Seconds of the pipeline, without loading, and its labels."""
    import transformers

    classify = transformers.pipeline("text-classification", str(folder), device="cpu", batch_size=BATCH)
    with texts.open(encoding="utf-8", newline="") as file:
        lines = [row["text"] for row in csv.DictReader(file)]
    started = time.perf_counter()
    labels = [each["label"] for each in classify(lines, truncation=True)]
    return time.perf_counter() - started, labels


def read_texts(data: Path) -> list[str]:
    """The first 50,000 different texts of SST-2 and the files beside it; from the beginning again where they are fewer.

    Raises:
        NotMeasuredError: a file is missing.
    """
    found = dict.fromkeys(chain.from_iterable(
        [text for text, _ in read_task(data, SST2, part)] for part in ("train", "dev", "test")
    ))  # fmt: skip
    for name, column in MORE_TEXTS:
        path = data / name
        if not path.is_file():
            raise NotMeasuredError(f"{path} is missing")
        with path.open(encoding="utf-8", newline="") as file:
            if path.suffix == ".tsv":
                rows = list(csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
            else:
                rows = list(csv.reader(file))
        place = rows[0].index(column) if isinstance(column, str) else column
        found |= dict.fromkeys(row[place] for row in rows[1:] if len(row) > place and row[place].strip())
    texts = list(found)
    say(f"{len(texts):,} different texts")
    return (texts * -(-TEXTS // len(texts)))[:TEXTS]
