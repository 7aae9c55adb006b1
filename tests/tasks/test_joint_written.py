"""Several tasks of one model with an encoder and a decoder, told apart by what goes before their texts, as in T5."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
import yaml
from joint_run import material
from killed_run import killed_and_whole
from safetensors.torch import load_file

from danlu import cli
from danlu.corpus.batches import IGNORE, Batch
from danlu.corpus.mixture import MixedRows
from danlu.corpus.rows import Widths
from danlu.tasks.feature import Feature
from danlu.tasks.heads import EACH
from danlu.tasks.joint_rows import room_for

PREFIXES = {"translate": "German: ", "shorten": "short: "}
SOURCES = ("once", "time", "be", "not", "话")
TARGETS = {"translate": (*SOURCES[1:], SOURCES[0]), "shorten": (*SOURCES[2:], *SOURCES[:2])}
"""One text is to become another by each prefix."""
LONG = [{"text": f"{'once upon a time ' * (n % 3)}{n}", "keywords": [f"{n} be", "to"][: 1 + n % 2]} for n in range(14)]


def write(
    folder: Path, model: Path, tasks: dict[str, Any] | None = None, task: dict[str, Any] | None = None, **settings: Any
) -> Path:
    """A recipe of two tasks with a prefix each and more settings of each ``task``, or of other ``tasks``."""
    found: dict[str, Any] = dict(tasks or {})
    for name, prefix in PREFIXES.items() if tasks is None else ():
        path = folder / f"{name}.jsonl"
        rows = [{"source": one, "target": two} for one, two in zip(SOURCES, TARGETS[name], strict=True)]
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        own = {"use": "seq2seq", "prefix": prefix, "answer_tokens": 16, "metrics": ["chrf"], **(task or {})}
        found[name] = {"data": {"train": str(path), "dev": str(path)}, "task": own}
    section = {"model": str(model), "tasks": found, "precision": "fp32", "batch": 8, "optimizer": {"lr": 1e-2},
               "budget": {"steps": 3}, "evaluations": 1, **settings}  # fmt: skip
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump({"joint": section, "run_dir": str(folder / "run"), "seed": 3}))
    return path


@pytest.fixture
def mixed(answerer: Path, tmp_path: Path) -> Callable[..., Path]:
    """``mixed(…)``: a recipe for translations and for the keywords of texts of many lengths."""
    pairs, long = tmp_path / "pairs.jsonl", tmp_path / "long.jsonl"
    rows = [{"source": f"once {n}", "target": f"话说 {n}" + "。" * (n % 3)} for n in range(14)]
    pairs.write_text("".join(json.dumps(row) + "\n" for row in rows))
    long.write_text("".join(json.dumps(row) + "\n" for row in LONG))
    tasks = {
        "translate": {"data": {"train": str(pairs), "dev": str(pairs)}, "weight": 2.0,
                      "task": {"use": "seq2seq", "prefix": "translate: ", "answer_tokens": 24}},
        "words": {"data": {"train": str(long), "dev": str(long)}, "weight": 0.5,
                  "task": {"use": "keywords", "max_tokens": 64, "answer_tokens": 24}},
    }  # fmt: skip
    return lambda **settings: write(tmp_path, answerer, tasks, **settings)


Pair = tuple[tuple[int, ...], tuple[int, ...]]
"""What the encoder reads, and what is to be written."""


def pairs_of(batch: Batch) -> list[Pair]:
    """Those of all rows, by the numbers of the documents there."""
    pairs: list[Pair] = []
    for row in range(len(batch.inputs["tokens"])):
        both = [(batch.source["tokens"][row], batch.source["segments"][row]),
                (batch.targets["words"][row], batch.inputs["segments"][row])]  # fmt: skip
        for document in range(int(both[0][1].max()) + 1):
            source, target = (tuple(tokens[segments == document].tolist()) for tokens, segments in both)
            pairs.append((source, tuple(token for token in target if token != IGNORE)))
    return pairs


def test_a_step_costs_what_it_does_in_transformers(mixed: Callable[..., Path], answerer: Path, tmp_path: Path) -> None:
    """Pair by pair, without any packing: the loss, and the gradient of the weights that both sides share."""
    joint = material(mixed(), tmp_path / "out")
    training = joint.training(3)
    model, lesson, micro = training.model.eval(), training.lesson, training.batches(0)
    assert {batch.task for batch in micro} == {"translate", "words"}
    theirs = transformers.AutoModelForSeq2SeqLM.from_pretrained(answerer, dtype=torch.float32).eval()
    several, wanted, found = 0, {"translate": 0.0, "words": 0.0}, {"translate": 0.0, "words": 0.0}
    for batch in micro:
        for name, value in lesson.losses(model, batch).items():
            (lesson.weight(name) * value).backward()  # type: ignore[no-untyped-call]
            found[batch.task] += float(value.detach())
        for source, target in pairs_of(batch):
            several += 1
            ids, labels = torch.tensor([source]), torch.tensor([target])
            loss = theirs(ids, attention_mask=torch.ones_like(ids), labels=labels).loss * len(target)
            ({"translate": 2.0, "words": 0.5}[batch.task] * loss).backward()
            wanted[batch.task] += float(loss.detach())
    assert several > len(micro)
    assert found == pytest.approx(wanted, rel=1e-4)
    gradient, own = theirs.get_input_embeddings().weight.grad, model.embedding.weight.grad
    # The fixture's padding ends and begins texts too; what is read of it is no part of the gradient there.
    torch.testing.assert_close(own[1:], gradient[1:], rtol=1e-3, atol=1e-3)


def test_every_text_is_read_whole_and_once_an_epoch(mixed: Callable[..., Path], tmp_path: Path) -> None:
    joint = material(mixed(batch=20), tmp_path / "out")
    training = joint.training(3)
    rows = training.batches.whole.rows
    assert isinstance(rows, MixedRows)
    expected: set[tuple[str, Pair]] = set()
    for part in rows.parts:
        features = joint.materials[part.task].features["train"]
        read = [piece.document for number in range(part.rows.per_epoch) for piece in part[number]]
        assert sorted(read) == list(range(len(features))) and part.rows.per_epoch < len(features)
        for each in features:
            assert each.source is not None
            scored = [token for token in each.targets["words"].tolist() if token != IGNORE]
            expected.add((part.task, (tuple(each.source.tolist()), tuple(scored))))
    steps = range(3 * round(training.steps_per_epoch + 1))
    found = {(batch.task, pair) for step in steps for batch in training.batches(step) for pair in pairs_of(batch)}
    assert found == expected


def feature(inputs: int, source: int | None) -> Feature:
    return Feature(0, np.zeros(inputs, dtype=np.int64), source=None if source is None else np.zeros(source, np.int64))


@pytest.mark.parametrize(
    ("sizes", "room"),
    [
        ([(10, 30)] * 5, Widths(32, 96)),
        ([(10, 30)] * 40 + [(50, 20)], Widths(50, 94)),  # which takes more on one side than its share
        ([(100, 100), (10, 140)], Widths(100, 140)),
        ([(10, None), (70, None)], Widths(128, 0)),
        ([(10, None), (170, None)], Widths(170, 0)),
    ],
)
def test_rows_have_room_for_both_sides_as_they_are_long(sizes: Sequence[tuple[int, int]], room: Widths) -> None:
    assert room_for([feature(*each) for each in sizes], 128) == room


@pytest.fixture(scope="module")
def trained(whole_answerer: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The stage's folder after a training of the two tasks from the command line."""
    folder = tmp_path_factory.mktemp("trained")
    assert cli.main(["joint", str(write(folder, whole_answerer, budget={"steps": 250}, batch=20))]) == 0
    return folder / "run/joint"


def said(folder: Path, prefix: str) -> list[str]:
    """What transformers writes of all sources."""
    stock = transformers.AutoModelForSeq2SeqLM.from_pretrained(folder, dtype=torch.float32)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    answers = []
    for source in SOURCES:
        ids = torch.tensor([[*tokenizer(f"{prefix}{source}").input_ids, 0]])  # the fixture's tokenizer ends no text
        written = stock.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=16, num_beams=1)
        answers.append(str(tokenizer.decode(written[0], skip_special_tokens=True)).strip())
    return answers


def test_the_prefix_says_what_is_written(trained: Path) -> None:
    """And each folder can do what the other one does, for they are one model."""
    figures = json.loads((trained / "done.json").read_text())["figures"]
    for name, prefix in PREFIXES.items():
        lines = (trained / name / "dev.predictions.jsonl").read_text().splitlines()
        assert [json.loads(line)["prediction"] for line in lines] == list(TARGETS[name])
        assert figures[f"{name}.dev.chrf"] == pytest.approx(100.0)
        for folder in PREFIXES:
            assert said(trained / folder / "model", prefix) == list(TARGETS[name])
    lines = [json.loads(line) for line in (trained / "metrics.jsonl").read_text().splitlines()]
    assert {"loss.translate.words", "loss.shorten.words"} <= {name for line in lines for name in line}


def test_each_folder_answers_new_files(trained: Path, tmp_path: Path) -> None:
    for name in PREFIXES:
        out, file = tmp_path / f"{name}.jsonl", trained.parents[1] / f"{name}.jsonl"
        assert cli.main(["predict", str(trained / name / "model"), str(file), "--out", str(out)]) == 0
        assert [json.loads(line)["prediction"] for line in out.read_text().splitlines()] == list(TARGETS[name])


def test_a_head_of_words_that_is_no_embedding_is_learned_by_all(decoder: Path, tmp_path: Path) -> None:
    """Of a model without an encoder here, which reads the source and the answer in one text."""
    path = write(tmp_path, decoder, task={"max_tokens": 40, "separator": " = "})
    names = [name for name, _ in material(path, tmp_path / "out").training(3).model.named_parameters()]
    assert [name for name in names if name.startswith(EACH)] == [f"{EACH}shorten.weight"]
    assert cli.main(["joint", str(path)]) == 0
    folders = [tmp_path / f"run/joint/{name}/model" for name in PREFIXES]
    mine, other = (load_file(folder / "model.safetensors") for folder in folders)
    assert all(mine[name].equal(other[name]) for name in mine) and mine.keys() == other.keys()
    assert not mine["lm_head.weight"].equal(load_file(decoder / "model.safetensors")["lm_head.weight"])
    tokenizer = transformers.AutoTokenizer.from_pretrained(folders[0])
    for (name, prefix), folder in zip(PREFIXES.items(), folders, strict=True):
        stock = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
        lines = (folder.parent / "dev.predictions.jsonl").read_text().splitlines()
        for line, source in zip(map(json.loads, lines), SOURCES, strict=True):
            ids = torch.tensor([tokenizer(f"{prefix}{source} = ").input_ids])
            written = stock.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=16, do_sample=False)
            answer = tokenizer.decode(written[0, ids.shape[1] :], skip_special_tokens=True).strip()
            assert line["prediction"] == answer, name


def test_a_killed_training_goes_on_to_the_same_bytes(decoder: Path, tmp_path: Path) -> None:
    """With one head of words under the name of the first task."""
    path = write(tmp_path, decoder, task={"max_tokens": 40}, budget={"steps": 24}, save={"steps": 2}, evaluations=3)
    killed, whole = killed_and_whole("joint", path, tmp_path, lines=6)
    for file in ("translate/model/model.safetensors", "shorten/model/model.safetensors", "shorten/dev.json"):
        assert (killed / file).read_bytes() == (whole / file).read_bytes(), file


@pytest.mark.parametrize(
    ("task", "message"),
    [
        ("classify", "models have no head ForSequenceClassification"),
        ("embed", "models make no vectors of texts"),
        ("chat", "this task needs a decoder with a language-model head"),
    ],
)
def test_what_such_a_model_cannot_learn_is_one_line(
    task: str, message: str, answerer: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = {"classify": {"text": "be", "label": "a"}, "embed": {"query": "be", "positives": ["a"]},
             "chat": {"instruction": "be", "output": "a"}, "seq2seq": {"source": "be", "target": "a"}}  # fmt: skip
    tasks = {}
    for name in ("seq2seq", task):
        path = tmp_path / f"{name}.jsonl"
        rows = [{key: f"{value} {n}" if isinstance(value, str) and key != "label" else value
                 for key, value in files[name].items()} for n in range(12)]  # fmt: skip
        if name == "classify":
            rows = [{**row, "label": "ab"[n % 2]} for n, row in enumerate(rows)]
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        tasks[name] = {"data": str(path), "task": {"use": name, **({"answer_tokens": 8} if name == "seq2seq" else {})}}
    assert cli.main(["joint", str(write(tmp_path, answerer, tasks))]) == 2
    told = capsys.readouterr().err
    assert "joint.model: " in told and message in told and told.count("\n") == 1
