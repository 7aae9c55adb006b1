"""The part multi30k of ``finetune.py``: English to German from scratch, in equal time."""

from __future__ import annotations

import csv
import gzip
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import mean
from typing import Any, Literal

import multi30k_trainer
from multi30k_trainer import Way
from process import in_fresh_process
from report import Comparison, NotMeasuredError, compare, say, table

from danlu.metrics.bleu import BLEU
from danlu.metrics.resampling import compare as compare_answers
from danlu.metrics.resampling import intervals
from danlu.metrics.tally import overall

SHAPE: Mapping[str, int] = {"d_model": 512, "d_kv": 64, "d_ff": 2048, "num_layers": 6, "num_heads": 8}
"""T5-small's, with ReLU and one matrix for embedding and head."""
VOCABULARY, LONGEST = 8000, 64
"""Pieces of both languages together, and the most that a sentence has (train's longest: 46)."""
BEAMS, TARGET = 4, 5.0
"""Points of BLEU by which the better of the peers is to be surpassed."""
PARTS = {"train": "train.tsv.gz", "dev": "val.tsv", "test": "test2016.tsv"}
WAYS: Mapping[str, Way] = {
    "defaults": Way(batch=8, arguments={}),
    "tuned": Way(batch=32, arguments={"optim": "adafactor", "learning_rate": 1e-3, "lr_scheduler_type": "constant"}),
}
"""The example ``run_translation`` with what ``TrainingArguments`` has: AdamW at 5e-5, falling in a line. From scratch
that learns little, so that T5's own way stands beside it: Adafactor at 1e-3 throughout."""
OURS = "Danlu"
SETTINGS: Mapping[str, Any] = {
    "task": {
        "use": "seq2seq", "max_tokens": LONGEST, "answer_tokens": LONGEST, "label_smoothing": 0.1,
        "search": {"use": "beam", "beams": BEAMS}, "metrics": [{"use": "bleu", "language": "de"}],
    },
    "optimizer": {"use": "muon", "iterations": 3, "adamw_lr": 4e-3},
    "schedule": {"use": "linear", "warmup": 0.05},
    "batch": 96, "hardware": {"micro_batch": 96}, "evaluations": 2, "early_stopping": None,
}  # fmt: skip
"""Of the stage ``finetune``. Chosen by runs of a minute of narrower models."""


@dataclass(frozen=True)
class Job:
    """Where everything is."""

    data: Path
    """The folder of the three files."""
    out: Path
    minutes: float
    """Of each side's training."""
    peers: Sequence[str]
    """Of ``WAYS``."""
    seed: int = 1
    """Of the first weights and of every order."""

    @property
    def start(self) -> Path:
        """The folder that all sides begin with."""
        return self.out / "start"

    def part(self, name: Literal["train", "dev", "test"]) -> Path:
        """A file of pairs.

        Raises:
            NotMeasuredError: it is not there.
        """
        path = self.data / PARTS[name]
        if not path.is_file():
            raise NotMeasuredError(f"{path} is missing")
        return path


@dataclass(frozen=True)
class Trained:
    """What a side took, and how it translates the test."""

    seconds: float
    steps: int
    epochs: float
    found: Sequence[str] = ()


def measure(job: Job, *, seeds: Sequence[int]) -> list[Comparison]:
    """All sides of all seeds; a seed whose translations are in the folder already is not trained again."""
    sides = {seed: side_by_side(replace(job, out=job.out / f"seed-{seed}", seed=seed)) for seed in seeds}
    return say_results(job, sides)


def side_by_side(job: Job) -> Mapping[str, Trained]:
    """The sides of a seed, each trained for the same time; what is done stays in ``job.out``."""
    kept = {name: job.out / f"{name}.json" for name in (OURS, *job.peers)}
    if not (job.start / "model.safetensors").is_file():
        parameters, _ = in_fresh_process(draw, job)
        say(f"T5-small's shape, drawn at random: {parameters / 1e6:.1f} M weights, {VOCABULARY:,} pieces; no dropout")
    for name, path in kept.items():
        if path.is_file():
            say(f"{shown(name)}, seed {job.seed}: as measured before, in {path}")
            continue
        trained, _ = in_fresh_process(danlu, job) if name == OURS else in_fresh_process(trainer, job, name, WAYS[name])
        sources, _ = pairs(job, "test")
        found, _ = in_fresh_process(multi30k_trainer.translated, trained_model(job, name), sources, BEAMS, LONGEST)
        say(f"{shown(name)}, seed {job.seed}: for instance {found[0]!r}")
        path.with_suffix(".part").write_text(json.dumps(asdict(replace(trained, found=found)), ensure_ascii=False))
        path.with_suffix(".part").rename(path)
    return {name: Trained(**json.loads(path.read_text())) for name, path in kept.items()}


def trained_model(job: Job, name: str) -> Path:
    """The folder of a side's model."""
    return job.out / "danlu" / "finetune" / "model" if name == OURS else job.out / name


def draw(job: Job) -> int:
    """Train the tokenizer on both languages, draw the model as ``transformers`` does; its weights."""
    import torch
    from transformers import AutoTokenizer, T5Config, T5ForConditionalGeneration

    from danlu.tokenizers.bpe import BPE

    sides = pairs(job, "train")
    job.start.mkdir(parents=True, exist_ok=True)
    BPE(vocab_size=VOCABULARY, special=["t5"]).train(text for side in sides for text in side).save(job.start)
    tokenizer = AutoTokenizer.from_pretrained(job.start)
    torch.manual_seed(job.seed)
    model = T5ForConditionalGeneration(T5Config(
        vocab_size=len(tokenizer), feed_forward_proj="relu", dropout_rate=0.0, pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id, decoder_start_token_id=tokenizer.pad_token_id, **SHAPE,
    ))  # fmt: skip
    model.save_pretrained(job.start)
    return int(model.num_parameters())


def danlu(job: Job) -> Trained:
    """The stage ``finetune``; looking at dev on the way counts into its minutes."""
    from danlu.recipe import load_recipe
    from danlu.runs import run_stages

    data = {"columns": {"source": 1, "target": 2}, "header": False}
    data |= {name: str(job.part(name)) for name in ("train", "dev", "test")}
    section = {"model": str(job.start), "data": data, "budget": {"minutes": job.minutes}, **SETTINGS}
    run_dir, recipe = job.out / "danlu", job.out / "danlu.yaml"
    shutil.rmtree(run_dir, ignore_errors=True)  # of a training that was stopped
    recipe.write_text(json.dumps({"finetune": section, "run_dir": str(run_dir), "seed": job.seed}))  # YAML too
    run_stages(load_recipe(recipe, []), ["finetune"], say, begin=lambda name: None)
    folder = run_dir / "finetune"
    figures = json.loads((folder / "done.json").read_text())["figures"]
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    say(f"{OURS}: dev on the way {[round(line['heldout.bleu'], 1) for line in lines if 'heldout.bleu' in line]} BLEU, "
        f"test by its own search {figures['test.bleu']:.2f}")  # fmt: skip
    return Trained(lines[-1]["seconds"], figures["steps"], figures["epochs"])


def trainer(job: Job, name: str, way: Way) -> Trained:
    """``Seq2SeqTrainer``, for as many steps as fit, found by a trial."""
    train = pairs(job, "train")
    fit = multi30k_trainer.Fit(job.start, trained_model(job, name), train, way, LONGEST, job.seed)
    seconds_per_step = multi30k_trainer.trial(fit)
    steps = max(1, int(job.minutes * 60 / seconds_per_step))
    say(f"{shown(name)}: {seconds_per_step * 1e3:.0f} ms a step, {steps:,} steps of {way.batch}")
    done, seconds = multi30k_trainer.train(fit, steps, seconds=job.minutes * 60)
    return Trained(seconds, done, done * way.batch / len(train[0]))


def shown(side: str) -> str:
    """Its name in tables."""
    return side if side == OURS else f"Seq2SeqTrainer, {side}"


def pairs(job: Job, name: Literal["train", "dev", "test"]) -> tuple[list[str], list[str]]:
    """The sources and their translations."""
    path = job.part(name)
    packed = path.read_bytes()
    text = (gzip.decompress(packed) if path.suffix == ".gz" else packed).decode()
    rows = list(csv.reader(text.splitlines(), delimiter="\t"))  # one translation is quoted and holds a tab
    return [source for source, _ in rows], [target for _, target in rows]


def say_results(job: Job, seeds: Mapping[int, Mapping[str, Trained]]) -> list[Comparison]:
    """BLEU of all sides and seeds, and how far the better peer is surpassed in the mean."""
    golds = pairs(job, "test")[1]
    metric = BLEU(language="de")
    rows = [["side", "seed", "seconds", "steps", "epochs", "BLEU", "95 %"]]
    points: dict[str, list[float]] = {name: [] for name in (OURS, *job.peers)}
    signature = ""
    for seed, sides in seeds.items():
        for name, side in sides.items():
            tally = metric.tally(golds, list(side.found))
            low, high = intervals(tally, seed=0)["bleu"]
            points[name].append(overall(tally)["bleu"])
            signature = tally.notes["bleu.signature"]
            rows.append([shown(name), str(seed), f"{side.seconds:,.0f}", f"{side.steps:,}", f"{side.epochs:.2f}",
                         f"{points[name][-1]:.2f}", f"{low:.2f} to {high:.2f}"])  # fmt: skip
    say(f"\n{table(rows)}\n")
    say(f"test2016, {BEAMS} beams by transformers' generate for all sides; {signature}")
    best = max(job.peers, key=lambda name: mean(points[name]))
    for seed, sides in seeds.items():
        apart = compare_answers(metric, golds, list(sides[best].found), list(sides[OURS].found), seed=0)["bleu"]
        say(f"seed {seed}: {OURS} - {shown(best)}: {apart.difference:+.2f} ({apart.low:+.2f} to {apart.high:+.2f})")
    apart_in_mean = mean(points[OURS]) - mean(points[best])
    met = "met" if apart_in_mean >= TARGET else "MISSED"
    if "tuned" not in job.peers:
        met = "not told: it is about the better peer"
    say(f"in the mean of {len(seeds)}: {apart_in_mean:+.2f}; wanted: at least +{TARGET:g}: {met}")
    return [compare(f"Multi30k, sacreBLEU of test2016: Danlu / {shown(best)}", points[OURS], points[best], unit="BLEU")]
