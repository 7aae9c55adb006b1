"""The stage joint: one body, a head for each task, each in a folder of its own in the end."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
import yaml
from joint_run import material
from killed_run import killed_and_whole
from safetensors.torch import load_file

from danlu import cli
from danlu.errors import InputError
from danlu.files import read_jsonl
from danlu.nn.hf.start import begin
from danlu.tasks.chat import Chat
from danlu.tasks.classify import Classify
from danlu.tasks.heads import EACH, as_for, joined
from danlu.tasks.task import Known

GOOD, BAD = (
    ["to be is the question", "话说天下大势 to be", "be there a sentence"],
    ["or not that", "从前有座山 not", "not once"],
)
FIRST = [{"text": f"{text} {extra}", "label": label} for extra in ("", "a", "be", "was") for label, texts in
         (("good", GOOD), ("bad", BAD)) for text in texts]  # fmt: skip
SECOND = [{"text": f"once {'a ' * count}{word} time", "score": count} for count in range(1, 9)
          for word in ("be", "to", "was", "that", "there")]  # fmt: skip
COMMON = {"compile": "off", "precision": "fp32", "batch": 8, "optimizer": {"lr": 3e-3}, "budget": {"epochs": 3}}


@pytest.fixture
def recipe(encoder: Path, tmp_path: Path) -> Callable[..., Path]:
    """``recipe(…)``: the path of one that trains the small BERT for two tasks."""
    for name, rows in (("first", FIRST), ("second", SECOND)):
        lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in rows]
        (tmp_path / f"{name}.jsonl").write_text("".join(lines), encoding="utf-8")

    def write(first: dict[str, Any] | None = None, second: dict[str, Any] | None = None, **settings: Any) -> Path:
        tasks = {
            "first": {"task": "classify", "data": str(tmp_path / "first.jsonl"), **(first or {})},
            "second": {
                "task": "regress",
                "data": {"train": str(tmp_path / "second.jsonl"), "dev_share": 0.3},
                **(second or {}),
            },
        }
        section = {"model": str(encoder), "tasks": tasks, **COMMON, **settings}
        path = tmp_path / "recipe.yaml"
        path.write_text(yaml.safe_dump({"joint": section, "run_dir": str(tmp_path / "run"), "seed": 3}))
        return path

    return write


def test_two_tasks_are_learned_at_once(
    recipe: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["joint", str(recipe(budget={"epochs": 30}))]) == 0
    assert capsys.readouterr().out.count("drawn anew: head.out.weight, head.out.bias") == 2
    out = tmp_path / "run/joint"
    figures = json.loads((out / "done.json").read_text())["figures"]
    assert figures["first.dev.accuracy"] == 1.0 and figures["second.dev.pearson"] > 0.8
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert {"loss.first.label", "loss.second.squares"} <= {name for line in lines for name in line}
    first, second = (load_file(out / name / "model/model.safetensors") for name in ("first", "second"))
    shared = {name for name in first if name.startswith("bert.")}
    assert shared == {name for name in second if name.startswith("bert.")}
    assert all(torch.equal(first[name], second[name]) for name in shared if "pooler" not in name)


def test_each_folder_is_a_model_of_its_own(recipe: Callable[..., Path], tmp_path: Path) -> None:
    assert cli.main(["joint", str(recipe())]) == 0
    folder = tmp_path / "run/joint/first/model"
    pipeline = transformers.pipeline("text-classification", str(folder), device="cpu", top_k=None)
    for line in map(json.loads, (folder.parent / "dev.predictions.jsonl").read_text().splitlines()):
        theirs = {each["label"]: each["score"] for each in pipeline(line["texts"])[0]}
        assert theirs == pytest.approx(line["scores"], abs=1e-4)
    out = tmp_path / "answers.jsonl"
    arguments = ["predict", str(tmp_path / "run/joint/second/model"), str(tmp_path / "second.jsonl"), "--out", str(out)]
    assert cli.main(arguments) == 0 and len(out.read_text().splitlines()) == len(SECOND)


def test_a_task_may_have_a_name_of_any_script(recipe: Callable[..., Path], tmp_path: Path) -> None:
    text = recipe().read_text().replace("first:", "情感:").replace("second:", "打分:")
    (tmp_path / "recipe.yaml").write_text(text, encoding="utf-8")
    out = material(tmp_path / "recipe.yaml", tmp_path / "out")
    assert list(out.materials) == ["情感", "打分"] and set(out.training(3).model.head.each) == {"情感", "打分"}


@pytest.mark.parametrize("seed", [0, 1])
def test_a_file_that_two_tasks_read_is_split_once_or_its_leaks_are_told(
    seed: int, recipe: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each would split off a dev of its own, by its own labels; with another seed it does."""
    rows = [{"text": f"once {'a ' * (n % 7)}to be {n}", "mood": "ab"[n % 2], "stars": n % 5} for n in range(40)]
    (tmp_path / "both.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    both = str(tmp_path / "both.jsonl")
    first = {"data": {"train": both, "columns": {"text": "text", "label": "mood"}}}
    second = {"data": {"train": both, "columns": {"text": "text", "number": "stars"}, "dev_share": 0.1, "seed": seed}}
    assert cli.main(["joint", str(recipe(first, second, budget={"steps": 1}, evaluations=1))]) == 0
    out = capsys.readouterr().out
    lines = {
        name: [line["line"] for line in read_jsonl(tmp_path / f"run/joint/{name}/dev.predictions.jsonl")]
        for name in ("first", "second")
    }
    findings = json.loads((tmp_path / "run/joint/second/data.json").read_text())["findings"]
    if seed == 0:
        assert lines["first"] == lines["second"]
        assert "split as for the task first, which reads the same file: 36 train, 4 dev" in out
        assert not any(each["kind"] == "duplicate" for each in findings)
        return
    assert lines["first"] != lines["second"]
    assert (findings[0]["kind"], findings[0]["splits"]) == ("duplicate", ["first.train", "second.dev"])
    assert findings[0]["of"] == len(lines["second"])
    assert f"second.dev: {findings[0]['count']} of {len(lines['second'])} examples" in out
    assert "are in train of the task first, whose split of the same file is another one" in out


@pytest.mark.parametrize("relations", [False, True])
def test_a_step_is_the_weighted_sum_of_what_each_task_costs_alone(
    relations: bool, recipe: Callable[..., Path], tmp_path: Path
) -> None:
    """Against a model of each task by itself, its gradient as torch adds it up; also where one brings new tokens."""
    other = {"task": "relate", "data": str(write_relations(tmp_path))} if relations else {}
    joint = material(recipe(first={"weight": 0.5, **other}, second={"weight": 2.0}), tmp_path / "out")
    training = joint.training(3)
    model, lesson = training.model.eval(), training.lesson
    micro = training.batches(0)
    assert {batch.task for batch in micro} == {"first", "second"}
    total, expected, wanted = torch.zeros(()), torch.zeros(()), {}
    for batch in micro:
        losses = lesson.losses(model, batch)
        total = total + sum(lesson.weight(name) * value for name, value in losses.items())
        part = joint.materials[batch.task]
        own = part.start.draw().eval()
        counts = {name.partition(".")[2]: count for name, count in batch.counts.items()}
        [loss] = part.settings.task.losses(
            own, batch.__class__(batch.inputs, batch.targets, counts, batch.tokens), part.known
        ).values()
        weighted = {"first": 0.5, "second": 2.0}[batch.task] * loss
        weighted.backward()
        expected = expected + weighted.detach()
        gradient = own.embedding.weight.grad
        assert gradient is not None
        wanted["body"] = wanted.get("body", 0) + gradient
        wanted[batch.task] = wanted.get(batch.task, 0) + own.head.out.weight.grad
    total.backward()
    torch.testing.assert_close(total.detach(), expected, rtol=1e-5, atol=1e-5)
    found = dict(model.named_parameters())
    torch.testing.assert_close(found["embedding.weight"].grad, wanted["body"], rtol=1e-4, atol=1e-6)
    for name in ("first", "second"):
        torch.testing.assert_close(found[f"{EACH}{name}.out.weight"].grad, wanted[name], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("order", [("words", "labels"), ("labels", "words")])
def test_a_tied_head_of_words_is_tied_whichever_task_is_first(
    order: tuple[str, str], decoder: Path, tmp_path: Path
) -> None:
    """Its saved folder has the embedding in its place, so that one that learned alone would be lost."""
    config = transformers.AutoConfig.from_pretrained(decoder)
    config.tie_word_embeddings = True
    transformers.AutoModelForCausalLM.from_config(config).save_pretrained(decoder)
    starts = {"words": Chat(template="plain").start(decoder, Known(), seed=1),
              "labels": Classify().start(decoder, Known(("a", "b")), seed=1)}  # fmt: skip
    body = joined({name: starts[name].draw() for name in order})
    with as_for(body, "words") as model:
        assert model.head.weight is body.embedding.weight


def write_relations(tmp_path: Path) -> Path:
    """Who comes first in a sentence has a part in what follows, but where 'not' is said."""
    path = tmp_path / "relations.csv"
    rows = [f"there was {one} {middle} {other},{one},{other},{'no_relation' if middle == 'not' else 'part'}"
            for one in ("time", "sentence", "question") for other in ("be", "once", "天下", "从前有座山")
            for middle in ("that", "not")]  # fmt: skip
    path.write_text("\n".join(["text,head,tail,relation", *rows]) + "\n", encoding="utf-8")
    return path


def test_relations_bring_their_marks_to_all_tasks(recipe: Callable[..., Path], encoder: Path, tmp_path: Path) -> None:
    """Each folder is a model that transformers reads, with one body, whose tokenizers have the same marks.

    Measured on all 24 examples: whoever always says 'part' has an F1 of 0.667, and after 6 to 15 epochs most trainings
    do, in whatever order rows come, until the word that tells is found (docs/log.md). After 45 all of 12 seeds had it.
    """
    relations = str(write_relations(tmp_path))
    path = recipe(first={"task": "relate", "data": {"train": relations, "dev": relations}}, budget={"epochs": 45})
    assert cli.main(["joint", str(path)]) == 0
    out = tmp_path / "run/joint"
    assert json.loads((out / "done.json").read_text())["figures"]["first.dev.micro.f1"] > 0.8
    rows, marks = transformers.AutoConfig.from_pretrained(encoder).vocab_size, ["[E1]", "[/E1]", "[E2]", "[/E2]"]
    first, second = (load_file(out / name / "model/model.safetensors") for name in ("first", "second"))
    words = "bert.embeddings.word_embeddings.weight"
    assert first[words].equal(second[words]) and len(first[words]) == rows + 4
    tokenizers = [transformers.AutoTokenizer.from_pretrained(out / name / "model") for name in ("first", "second")]
    ids = [tokenizer.convert_tokens_to_ids(marks) for tokenizer in tokenizers]
    assert ids[0] == ids[1] == list(range(rows, rows + 4))
    stock = transformers.AutoModelForSequenceClassification.from_pretrained(out / "first/model").eval()
    for line in map(json.loads, (out / "first/dev.predictions.jsonl").read_text("utf-8").splitlines()):
        with torch.no_grad():
            shares = stock(**tokenizers[0](line["texts"][0], return_tensors="pt")).logits[0].softmax(-1).tolist()
        theirs = dict(zip(stock.config.id2label.values(), shares, strict=True))
        assert theirs == pytest.approx(line["scores"], abs=1e-4)
    for name, file in (("first", "relations.csv"), ("second", "second.jsonl")):
        said = tmp_path / f"{name}.answers.jsonl"
        assert cli.main(["predict", str(out / name / "model"), str(tmp_path / file), "--out", str(said)]) == 0


def typed_relations(path: Path, kind: str) -> str:
    """A file of which all heads are people, and all tails of one kind."""
    rows = [{"text": f"once {n} upon a time", "head": "once", "tail": "time", "relation": "ab"[n % 2],
             "head_type": "PER", "tail_type": kind} for n in range(8)]  # fmt: skip
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def test_a_kind_of_entity_that_only_another_task_knows_is_told(
    recipe: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """In dev, and of the model in the end, though its tokenizer has the marks of all."""
    task = {"use": "relate", "typed": True}
    places, works = (typed_relations(tmp_path / f"{kind}.jsonl", kind) for kind in ("LOC", "WORK"))
    second = {"task": task, "data": {"train": works, "dev": works}}
    strange = recipe(first={"task": task, "data": {"train": places, "dev": works}}, second=second)
    said = "WORK.jsonl, line 1: the tail is of the kind 'WORK', which training had not"
    with pytest.raises(InputError, match=re.escape(said)):
        material(strange, tmp_path / "out")
    first = {"task": task, "data": {"train": places, "dev": places}}
    assert cli.main(["joint", str(recipe(first=first, second=second, budget={"steps": 1}))]) == 0
    capsys.readouterr()
    for name, file, code in (("first", works, 2), ("first", places, 0), ("second", works, 0), ("second", places, 2)):
        out = tmp_path / f"{name}.{Path(file).stem}.jsonl"
        assert cli.main(["predict", str(tmp_path / f"run/joint/{name}/model"), file, "--out", str(out)]) == code
        assert out.exists() == (code == 0)
    assert said in capsys.readouterr().err


def test_shares_say_how_often_a_task_is_read(recipe: Callable[..., Path], tmp_path: Path) -> None:
    joint = material(recipe(first={"share": 3.0}, second={"share": 1.0}, batch=600), tmp_path / "out")
    training = joint.training(3)
    rows = {"first": 0, "second": 0}
    for batch in (batch for step in range(20) for batch in training.batches(step)):
        rows[batch.task] += len(batch.inputs["tokens"])
    assert rows["first"] / rows["second"] == pytest.approx(3.0, rel=0.1)


def test_a_killed_training_goes_on_to_the_same_bytes(recipe: Callable[..., Path], tmp_path: Path) -> None:
    killed, whole = killed_and_whole(
        "joint", recipe(budget={"epochs": 10}, save={"steps": 2}, evaluations=5), tmp_path, lines=6
    )
    for file in ("first/model/model.safetensors", "second/model/model.safetensors", "first/dev.json"):
        assert (killed / file).read_bytes() == (whole / file).read_bytes(), file


def test_heads_begin_as_they_do_alone(recipe: Callable[..., Path], encoder: Path, tmp_path: Path) -> None:
    joint = material(recipe(), tmp_path / "out")
    alone = begin(encoder, "ForSequenceClassification", labels=2, seed=3).draw()
    weights = dict(joint.training(3).model.named_parameters())
    assert torch.equal(weights[f"{EACH}first.out.weight"], alone.head.out.weight)
    assert torch.equal(weights["embedding.weight"], alone.embedding.weight)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"first": {"share": 1.0}}, "tasks.second must have a share, as others have one, or none may"),
        ({"first": {"share": 1.0}, "second": {"share": 1.0}, "temperature": 2.0}, "temperature has no effect"),
        ({"first": {"data": "nowhere.csv"}}, "joint.tasks.first.data: there is no file nowhere.csv"),
        ({"first": {"task": "clasify"}}, "joint.tasks.first.task.use: unknown task 'clasify'"),
        (
            {"first": {"task": {"use": "classify", "max_tokens": 200}}},
            "joint.tasks.first.task.max_tokens must be at most 24, which the model sees; got 200",
        ),
        (
            {"second": {"task": {"use": "regress", "max_tokens": 4}}},
            "joint.tasks.second.task.max_tokens must be above 4",
        ),
        ({"first": {"task": {"use": "classify", "positive": "god"}}}, "joint.tasks.first.task.positive: there is no"),
        ({"first": {"task": "chat", "data": "CHATS"}}, "joint.model: this task needs a decoder"),
        (
            {"first": {"data": {"train": "FIRST", "columns": {"txt": "text"}}}},
            "joint.tasks.first.data.columns: this task",
        ),
        ({"tasks": {}}, "joint.tasks must be a list of at least 2; got {}"),
        (
            {
                "tasks": {
                    "one": {"data": "FIRST", "task": "classify"},
                    "tokenizer": {"data": "FIRST", "task": "classify"},
                }
            },
            "a task must not be called 'tokenizer'",
        ),
        (
            {"tasks": {name: {"data": "FIRST", "task": "classify"} for name in ("one", "a/b")}},
            "must be of letters, digits, _ and -",
        ),
        ({"tasks": {name: {"data": "FIRST", "task": "classify"} for name in ("one", "v1.0")}}, "got 'v1.0'"),
        ({"first": {"task": {"use": "relate", "typed": True}, "data": "RELATIONS"}}, "joint.tasks.first.task.typed"),
    ],
    ids=str,
)
def test_bad_input_is_one_line(
    settings: dict[str, Any], message: str, recipe: Callable[..., Path], tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    chats = [{"instruction": f"ask {number}", "output": "say"} for number in range(9)]
    (tmp_path / "chats.jsonl").write_text("".join(json.dumps(each) + "\n" for each in chats))
    text = recipe(**settings).read_text()
    for name in ("first", "chats"):
        text = text.replace(name.upper(), str(tmp_path / f"{name}.jsonl"))
    text = text.replace("RELATIONS", str(write_relations(tmp_path)))
    (tmp_path / "recipe.yaml").write_text(text)
    assert cli.main(["joint", str(tmp_path / "recipe.yaml")]) == 2
    line = capfd.readouterr().err
    assert message in line and line.count("\n") == 1 and not (tmp_path / "run/joint/checkpoints").exists()


def test_what_the_tokenizer_does_not_know_is_told_of_its_task(
    recipe: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    strange = [{**row, "text": f"{row['text']} 🜁🜂🜃"} for row in FIRST]
    (tmp_path / "strange.jsonl").write_text("".join(json.dumps(row) + "\n" for row in strange))
    data = {"data": str(tmp_path / "strange.jsonl")}
    assert cli.main(["joint", str(recipe(data, budget={"steps": 1}, evaluations=1))]) == 0
    told = [line for line in capsys.readouterr().out.splitlines() if "does not know" in line]
    assert len(told) == 1 and re.match(r"task first: \d+% of the tokens of train are the one for what", told[0])
