"""Embeddings as one of several tasks: the texts of theirs that a step has are compared, and no others."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
import yaml
from joint_run import material
from killed_run import killed_and_whole
from torch import Tensor

from danlu import cli
from danlu.corpus.batches import Batch
from danlu.parallel.joining import Ranks
from danlu.tasks.answering import batches_of
from danlu.tasks.embed import Embedder
from danlu.tasks.heads import EACH
from danlu.tasks.joint import JointMaterial
from danlu.tasks.step_task import StepTask
from danlu.train.gradients import Gradients, count_targets

WORDS = ("to", "be", "or", "that", "is", "once", "upon", "话", "说", "天", "下")
ANSWERS = ("question", "time", "sentence", "there", "was", "大", "势", "从", "前", "有", "座")
SEARCHED = [
    {"query": f"{word}{more}", "positives": [f"{answer}{more}"], "negatives": [f"{ANSWERS[number - 1]} the"]}
    for more in ("", " a")
    for number, (word, answer) in enumerate(zip(WORDS, ANSWERS, strict=True))
]
MOODS = [
    {"text": f"{first} {middle} {last}", "label": "bad" if middle == "not" else "good"}
    for first, last in zip(WORDS, ANSWERS, strict=True)
    for middle in ("not", "a")
]
WEIGHTS = {"search": 3.0, "mood": 0.5}


def write(folder: Path, encoder: Path, **settings: Any) -> Path:
    """A recipe that trains the small BERT to find texts, and to tell moods."""
    tasks: dict[str, Any] = {
        "search": {"task": {"use": "embed", "temperature": 0.1}},
        "mood": {"task": "classify"},
    }
    for name, rows in (("search", SEARCHED), ("mood", MOODS)):
        for split, some in (("train", rows), ("dev", rows[:8])):
            lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in some]
            (folder / f"{name}.{split}.jsonl").write_text("".join(lines), encoding="utf-8")
        tasks[name] |= {"data": {split: str(folder / f"{name}.{split}.jsonl") for split in ("train", "dev")}}
        tasks[name] |= {"weight": WEIGHTS[name]}
    section = {"model": str(encoder), "tasks": tasks, "precision": "fp32", "batch": 24, "optimizer": {"lr": 3e-3},
               "budget": {"epochs": 4}, **settings}  # fmt: skip
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump({"joint": section, "run_dir": str(folder / "run"), "seed": 3}))
    return path


@pytest.fixture
def recipe(encoder: Path, tmp_path: Path) -> Callable[..., Path]:
    return lambda **settings: write(tmp_path, encoder, **settings)


@pytest.fixture(scope="module")
def trained(whole_encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The stage's folder after a training from the command line."""
    folder = tmp_path_factory.mktemp("trained")
    path = write(folder, whole_encoder, budget={"epochs": 90}, evaluations=2)
    assert cli.main(["joint", str(path)]) == 0
    return folder / "run/joint"


def costs_alone(joint: JointMaterial, micro: list[Batch]) -> tuple[dict[str, float], dict[str, Tensor]]:
    """The mean of each task by a model of its own, whatever the micro-batches; the gradient of their sum."""
    means: dict[str, float] = {}
    gradients: dict[str, Tensor] = {}
    for name, part in joint.materials.items():
        model, task, before = part.start.draw().eval(), part.settings.task, f"{name}."
        batches = [replace(batch, task="", counts={key.removeprefix(before): n for key, n in batch.counts.items()})
                   for batch in micro if batch.task == name]  # fmt: skip
        if isinstance(task, StepTask):
            total = task.losses_of([task.vectors(model, each) for each in batches], batches, part.known)[task.loss]
        else:
            total = sum((task.losses(model, each, part.known)[task.loss] for each in batches), torch.zeros(()))
        mean = total / count_targets(batches)[task.loss]
        (WEIGHTS[name] * mean).backward()  # type: ignore[no-untyped-call]
        means[f"{name}.{task.loss}"] = float(mean.detach())
        for key, weight in model.named_parameters():
            own = f"{EACH}{name}.{key.removeprefix('head.')}" if key.startswith("head.") else key
            if weight.grad is not None:
                gradients[own] = gradients[own] + weight.grad if own in gradients else weight.grad
    return means, gradients


def test_a_step_is_the_weighted_sum_of_what_each_task_costs_alone(recipe: Callable[..., Path], tmp_path: Path) -> None:
    joint = material(recipe(hardware={"micro_batch": 1}), tmp_path / "out")
    training = joint.training(3)
    model, micro = training.model.eval(), training.batches(0)
    assert sum(batch.task == "search" for batch in micro) > 1 and any(batch.task == "mood" for batch in micro)
    means, wanted = costs_alone(joint, micro)
    added = Gradients(model, training.lesson, training.optimizer, training.masters)
    loss, losses = added.add(micro, count_targets(micro))
    assert losses == pytest.approx(means, rel=1e-5)
    assert loss == pytest.approx(3.0 * means["search.contrast"] + 0.5 * means["mood.label"], rel=1e-5)
    found = dict(model.named_parameters())
    assert len(wanted) > 20 and any(name.startswith(EACH) for name in wanted)
    for name, gradient in wanted.items():
        torch.testing.assert_close(found[name].grad, gradient, rtol=1e-3, atol=1e-5, msg=name)


def test_a_step_may_have_no_text_of_it(recipe: Callable[..., Path], tmp_path: Path) -> None:
    joint = material(recipe(), tmp_path / "out")
    training = joint.training(3)
    micro = [batch for batch in training.batches(0) if batch.task == "mood"]
    added = Gradients(training.model.eval(), training.lesson, training.optimizer, training.masters)
    loss, losses = added.add(micro, count_targets(micro))
    assert losses.keys() == {"mood.label"} and loss == pytest.approx(0.5 * losses["mood.label"])


@pytest.mark.parametrize("micro_batch", [1, 8])
def test_held_out_loss_is_that_of_whole_steps(micro_batch: int, recipe: Callable[..., Path], tmp_path: Path) -> None:
    """However few rows are read at once; dev has fewer texts here than a step."""
    joint = material(recipe(hardware={"micro_batch": micro_batch}, batch=40), tmp_path / "out")
    training = joint.training(3)
    measured = joint.heldout(training, 3).loss.measure(training.model)
    means = {}
    for name, part in joint.materials.items():
        task, dev = part.settings.task, part.features["dev"]
        [(_, batch)] = batches_of(dev)
        with torch.no_grad():
            total = task.losses(part.start.draw().eval(), batch, part.known)[task.loss]
        means[f"{name}.{task.loss}"] = float(total) / len(dev)
    assert measured.losses == pytest.approx(means, rel=1e-5)
    assert measured.loss == pytest.approx(3.0 * means["search.contrast"] + 0.5 * means["mood.label"], rel=1e-5)


def test_both_are_learned(trained: Path) -> None:
    figures = json.loads((trained / "done.json").read_text())["figures"]
    assert figures["search.dev.ndcg@10"] > 0.9 and figures["mood.dev.accuracy"] == 1.0
    lines = [json.loads(line) for line in (trained / "metrics.jsonl").read_text().splitlines()]
    names = {name for line in lines for name in line}
    assert {"loss.search.contrast", "loss.mood.label", "heldout_loss.search.contrast", "heldout_loss.mood.label",
            "heldout.search.ndcg@10", "heldout.mood.accuracy"} <= names  # fmt: skip


def test_its_folder_makes_the_vectors_that_its_answers_are_from(trained: Path, tmp_path: Path) -> None:
    """By transformers' model and tokenizer, pooled by hand; and by whatever reads texts here."""
    folder = trained / "search/model"
    stock = transformers.AutoModel.from_pretrained(folder).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)

    def unit(text: str) -> np.ndarray:
        with torch.no_grad():
            mean = stock(**tokenizer(text, return_tensors="pt")).last_hidden_state[0].mean(0)
        return np.asarray(mean / mean.norm())

    texts = list(dict.fromkeys(text for row in SEARCHED[:8] for text in (*row["positives"], *row["negatives"])))
    lines = (trained / "search/dev.predictions.jsonl").read_text("utf-8").splitlines()
    for line, row in zip(map(json.loads, lines), SEARCHED[:8], strict=True):
        cosines = {text: float(unit(str(row["query"])) @ unit(text)) for text in texts}
        assert line["prediction"][0] == max(cosines, key=lambda text: cosines[text])
        assert line["scores"] == pytest.approx({text: cosines[text] for text in line["scores"]}, abs=1e-4)
    own = Embedder.load(folder, dtype=torch.float32).embed(texts).numpy()
    np.testing.assert_allclose(own, np.stack([unit(text) for text in texts]), atol=1e-5)
    out = tmp_path / "ranked.jsonl"
    file = trained.parents[1] / "search.dev.jsonl"
    assert cli.main(["predict", str(folder), str(file), "--out", str(out), "--dtype", "float32"]) == 0
    told = [[json.loads(line)["prediction"][0] for line in each] for each in (lines, out.read_text().splitlines())]
    assert told[0] == told[1]


def test_sentence_transformers_loads_its_folder(trained: Path) -> None:
    package = pytest.importorskip("sentence_transformers")
    texts = ["once upon a time", "从前有座山"]
    own = Embedder.load(trained / "search/model", dtype=torch.float32).embed(texts)
    found = package.SentenceTransformer(str(trained / "search/model"), device="cpu").encode(texts)
    np.testing.assert_allclose(found, own.numpy(), atol=1e-5)


def test_the_folder_of_the_other_task_is_a_classifier(trained: Path) -> None:
    pipeline = transformers.pipeline("text-classification", str(trained / "mood/model"), device="cpu", top_k=None)
    for line in map(json.loads, (trained / "mood/dev.predictions.jsonl").read_text("utf-8").splitlines()):
        theirs = {each["label"]: each["score"] for each in pipeline(line["texts"])[0]}
        assert theirs == pytest.approx(line["scores"], abs=1e-4)


def test_all_tasks_may_be_of_vectors(encoder: Path, tmp_path: Path) -> None:
    """No text is then learned by itself, nor measured."""
    write(tmp_path, encoder)
    pairs = tmp_path / "pairs.tsv"
    rows = [f"{word} {more}\t{answer}\t{number % 5}\n" for more in ("a", "the")
            for number, (word, answer) in enumerate(zip(WORDS, ANSWERS, strict=True))]  # fmt: skip
    pairs.write_text("sentence1\tsentence2\tscore\n" + "".join(rows), encoding="utf-8")
    tasks = {"search": {"task": "embed", "data": str(tmp_path / "search.train.jsonl")},
             "likeness": {"task": "embed_pairs", "data": str(pairs)}}  # fmt: skip
    path = write(tmp_path, encoder, tasks=tasks, budget={"steps": 4}, evaluations=2)
    assert cli.main(["joint", str(path)]) == 0
    out = tmp_path / "run/joint"
    figures = json.loads((out / "done.json").read_text())["figures"]
    assert {"search.dev.ndcg@10", "likeness.dev.spearman"} <= figures.keys()
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    names = ("heldout_loss.search.contrast", "heldout_loss.likeness.pairs")
    measured = [line for line in lines if "heldout_loss" in line]
    assert measured
    for line in measured:
        assert line["heldout_loss"] == pytest.approx(sum(line[name] for name in names))
    weights = [Embedder.load(out / name / "model", dtype=torch.float32).model.embedding.weight for name in tasks]
    assert weights[0].equal(weights[1])


def test_a_killed_training_goes_on_to_the_same_bytes(recipe: Callable[..., Path], tmp_path: Path) -> None:
    path = recipe(budget={"epochs": 10}, save={"steps": 2}, evaluations=5, hardware={"micro_batch": 1})
    killed, whole = killed_and_whole("joint", path, tmp_path, lines=6)
    for file in ("search/model/model.safetensors", "mood/model/model.safetensors", "search/dev.json"):
        assert (killed / file).read_bytes() == (whole / file).read_bytes(), file


def test_several_processes_are_refused(
    recipe: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each would see a part of the step."""
    monkeypatch.setattr("danlu.tasks.joint.here", lambda: Ranks(0, 2))
    assert cli.main(["joint", str(recipe())]) == 2
    told = capsys.readouterr()
    assert "joint.tasks.search.task: its loss sees all of its texts of a step" in told.err and "there are 2" in told.err
    assert "task search" not in told.out  # nothing has been read


def test_too_few_texts_to_compare_are_refused(recipe: Callable[..., Path], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["joint", str(recipe(batch=6))]) == 2
    told = capsys.readouterr().err
    assert re.search(
        r"joint\.batch: a step has \d\.\d examples of the task 'search', which learns by comparing them", told
    )
    wanted = re.search(r"a batch of (\d+) in place of 6", told)
    assert wanted is not None
    assert cli.main(["joint", str(recipe(batch=int(wanted[1]) + 4, budget={"steps": 1}))]) == 0
    said = re.search(r"task search: about (\d+) examples a step are compared with each other", capsys.readouterr().out)
    assert said is not None and int(said[1]) >= 4
