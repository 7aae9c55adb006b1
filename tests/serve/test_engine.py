"""What is served is what ``danlu predict`` writes; rows are found by name, and refused by number."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from served_rows import ROWS, asked

from danlu import cli
from danlu.errors import CheckpointError, InputError
from danlu.serve.engine import Engine

Folders = Callable[[str], Path]
Stock = tuple[Path, Callable[..., dict[str, float]]]
"""A model's folder, and what transformers gives for one text or two."""


def answers(engine: Engine, rows: list[Any]) -> list[dict[str, Any]]:
    return engine.ask(rows).result(30)


@pytest.fixture(scope="module")
def engine(folder_of: Folders) -> Engine:
    return Engine(folder_of("classify"), dtype="float32")


@pytest.fixture(scope="module")
def stock(whole_encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Stock:
    """A classifier that transformers has written, of which nobody says what it reads."""
    folder = Path(shutil.copytree(whole_encoder, tmp_path_factory.mktemp("stock") / "model"))
    (folder / "danlu.json").unlink(missing_ok=True)
    torch.manual_seed(0)
    labels = ("no", "yes", "maybe")
    config = transformers.BertConfig.from_pretrained(folder, id2label=dict(enumerate(labels)))
    model = transformers.BertForSequenceClassification(config).eval()
    with torch.no_grad():
        model.bert.embeddings.token_type_embeddings.weight.normal_(0, 1)  # which texts are first shows
    model.save_pretrained(folder)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)

    @torch.no_grad()
    def scores(*texts: str) -> dict[str, float]:
        shares = model(**tokenizer(*texts, return_tensors="pt")).logits[0].softmax(-1)
        return dict(zip(labels, shares.tolist(), strict=True))

    return folder, scores


@pytest.mark.parametrize("task", ROWS)
def test_served_is_predicted(task: str, folder_of: Folders, tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in asked(task)))
    given = ["--out", str(tmp_path / "b.jsonl"), "--dtype", "float32"]
    assert cli.main(["predict", str(folder_of(task)), str(tmp_path / "a.jsonl"), *given]) == 0
    lines = [json.loads(line) for line in (tmp_path / "b.jsonl").read_text().splitlines()]
    served = answers(Engine(folder_of(task), dtype="float32"), asked(task))
    assert len(served) == len(lines) == 5
    for answer, line in zip(served, lines, strict=True):
        wanted = {name: value for name, value in line.items() if name in answer}
        assert wanted.keys() == answer.keys() >= line.keys() - {"file", "line", "texts"}
        assert flat(json.loads(json.dumps(answer, allow_nan=False))) == pytest.approx(flat(wanted), abs=1e-5)


def flat(value: Any, before: str = "") -> dict[str, Any]:
    """What lists and objects hold, by where it stands."""
    if isinstance(value, dict):
        return {name: each for key, inner in value.items() for name, each in flat(inner, f"{before}.{key}").items()}
    if isinstance(value, list):
        return flat(dict(enumerate(value)), before)
    return {before: value}


@pytest.mark.parametrize(("task", "row"), [
    ("extract", {"question": "what 1", "context": "there was 1 once"}),
    ("choice", {"question": "to be 1", "choices": ["or not", "that is"]}),
    ("chat", {"instruction": "to be"}),
    ("chat", "to be"),
    ("chat", {"messages": [{"role": "user", "content": "to be"}]}),
    ("reward", {"instruction": "to be", "response": "or not"}),
])  # fmt: skip
def test_a_row_may_lack_what_need_not_be_there(task: str, row: Any, folder_of: Folders) -> None:
    """Though the recipe names the column, as that of ``danlu init`` does."""
    (answer,) = answers(Engine(folder_of(task), dtype="float32"), [row])
    assert "prediction" in answer


def test_choices_in_one_text_are_parted_as_in_training(folder_of: Folders, tmp_path: Path) -> None:
    folder = shutil.copytree(folder_of("choice"), tmp_path / "model")
    known = json.loads((folder / "danlu.json").read_text())
    (folder / "danlu.json").write_text(json.dumps({**known, "conventions": {"marks": [";"], "counted_from": None}}))
    rows = [{"question": "to be", "choices": each} for each in ("or|not; that|is", ["or|not", "that|is"])]
    in_one, listed = answers(Engine(folder, dtype="float32"), rows)
    assert in_one == listed and len(listed["scores"]) == 2


@pytest.mark.parametrize(("task", "row"), [
    ("chat", "to be"), ("seq2seq", {"source": "to be 3"}), ("reward", {"instruction": "to be", "response": "or not"}),
    ("classify", "to be"),
])  # fmt: skip
def test_a_folder_is_read_once(task: str, row: Any, folder_of: Folders, tmp_path: Path) -> None:
    """After the first request nothing is read of it: it may be gone."""
    folder = shutil.copytree(folder_of(task), tmp_path / "model")
    engine = Engine(folder, dtype="float32")
    first = answers(engine, [row])
    shutil.rmtree(folder)
    assert answers(engine, [row]) == first


def test_rows_are_objects_by_column_or_usual_name_or_texts(engine: Engine, folder_of: Folders) -> None:
    by_column, by_name, alone, more = (
        answers(engine, [row])
        for row in ({"review": "to be"}, {"text": "to be"}, "to be", {"text": "to be", "number": 7, "stars": "a"})
    )
    assert by_column == by_name == alone == more
    assert set(by_column[0]) == {"prediction", "confidence", "scores"}
    pairs = Engine(folder_of("pair"), dtype="float32")
    one, other = ("to be", "or not that is")
    found = answers(pairs, [{"premise": one, "claim": other}])
    assert found == answers(pairs, [{"second": other, "first": one}])
    assert found != answers(pairs, [{"first": other, "second": one}])


@pytest.mark.parametrize(
    "keys", [("premise", "hypothesis"), ("text", "text_pair"), ("Sentence", "text_pair"), ("s1", "s2")]
)
def test_a_classifier_of_others_reads_one_text_or_two(keys: tuple[str, str], stock: Stock) -> None:
    """As a request has them, also of requests that are answered together; ``transformers`` gives the same."""
    folder, scores = stock
    engine = Engine(folder, dtype="float32")
    pairs = [("to be", "or not that is"), ("once upon a time", "there was"), ("to be", "to be or not to be")]
    asked = [engine.ask([dict(zip(keys, each, strict=True)) for each in pairs]), engine.ask(["to be", {"text": "was"}])]
    of_pairs, of_texts = (each.result(30) for each in asked)
    for answer, texts in zip([*of_pairs, *of_texts], [*pairs, ("to be",), ("was",)], strict=True):
        assert answer["scores"] == pytest.approx(scores(*texts), abs=1e-5)
    assert of_texts[0]["scores"] != pytest.approx(of_pairs[0]["scores"], abs=1e-4)
    fields = [(each["name"], each["required"]) for each in engine.said()["fields"]]
    assert fields == [("text", True), ("text_pair", False)]
    with pytest.raises(InputError, match=r"request, row 2: the second .* is missing"):
        engine.ask([dict(zip(keys, pairs[0], strict=True)), {keys[0]: "to be"}])


def test_columns_without_names_are_keys_by_their_field(whole_encoder: Path, tmp_path: Path) -> None:
    """The file had the second text before the first; in an object the order of keys says nothing."""
    rows = "".join(f"or not to be\tto be {number}\t{'ab'[number % 2]}\n" for number in range(24))
    (tmp_path / "train.tsv").write_text(rows)
    (tmp_path / "r.yaml").write_text(json.dumps({"run_dir": str(tmp_path / "reviews"), "finetune": {
        "model": str(whole_encoder), "task": "pair", "budget": {"steps": 1}, "compile": "off",
        "data": {"train": str(tmp_path / "train.tsv"), "columns": {"second": 1, "first": 2, "label": 3}},
    }}))  # fmt: skip
    assert cli.main(["finetune", str(tmp_path / "r.yaml")]) == 0
    engine = Engine(tmp_path / "reviews/finetune/model", dtype="float32")
    one, other = {"first": "to be 1", "second": "or not"}, {"second": "or not", "first": "to be 1"}
    assert answers(engine, [one]) == answers(engine, [other])
    assert answers(engine, [one]) != answers(engine, [{"first": "or not", "second": "to be 1"}])
    said = engine.said()
    assert (said["model"], said["task"], said["labels"]) == ("reviews", "pair", ["a", "b"])
    assert [each["name"] for each in said["fields"]] == ["first", "second"]


@pytest.mark.parametrize(("content", "reason"), [
    ('{"task":', "it is no whole JSON object"), ("{}", "KeyError('known')"), ('{"task": 5}', "KeyError"),
])  # fmt: skip
def test_a_damaged_folder_is_told(content: str, reason: str, folder_of: Folders, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(folder_of("classify"), tmp_path / "copy"))
    (folder / "danlu.json").write_text(content)
    with pytest.raises(CheckpointError, match=re.escape(f"{folder / 'danlu.json'} is damaged: {reason}")):
        Engine(folder)


def test_what_a_reward_model_rates_is_a_field_that_is_needed(folder_of: Folders) -> None:
    """Though it is what is right for a model that chats, of which nobody asks for it."""
    needed = {
        task: [each["field"] for each in Engine(folder_of(task), dtype="float32").said()["fields"] if each["required"]]
        for task in ("reward", "chat")
    }
    assert needed == {"reward": ["response"], "chat": []}


@pytest.mark.parametrize(("task", "rows", "reason"), [
    ("classify", [], "the request has no row"),
    ("classify", [{"review": "to be"}, {"review": "  "}], "request, row 2: the text (column 'review') is empty"),
    ("classify", [{"review": "to be"}, {"stars": "a"}], "request, row 2: the text (column 'review') is missing"),
    ("classify", [{"review": 5}], "request, row 1: the text (column 'review') must be text; got 5"),
    ("classify", [{"reveiw": "bad", "other": "good"}],
     "no row has 'review'; got 'reveiw', 'other'; one needs 'review'"),
    ("classify", ["to be", 7], "request, row 2: it must be an object with 'review'; got 7"),
    ("classify", [{}], "request, row 1: it must be an object with 'review'; got {}"),
    ("classify", [[["to be"]]], "request, row 1: it must be an object with 'review'; got [['to be']]"),
    ("pair", [{"premise": "to be"}], "no row has 'claim'; got 'premise'; one needs 'premise' and 'claim'"),
    ("pair", ["to be"], "request, row 1: it must be an object with 'premise' and 'claim'; got 'to be'"),
    ("chat", [{"instruction": "to be", "tools": "abc"}], "request, row 1: the tools must be JSON; got 'abc'"),
    ("reward", [{"instruction": "to be"}], "request, row 1: there is no answer to score"),
])  # fmt: skip
def test_what_is_no_row_is_refused(task: str, rows: list[Any], reason: str, folder_of: Folders) -> None:
    """By its number; and with ``mend`` in the recipe too, for each row has its answer."""
    engine = Engine(folder_of(task), dtype="float32")
    with pytest.raises(InputError) as error:
        answers(engine, rows)
    assert str(error.value).startswith(reason)


def test_a_number_too_large_for_a_float_is_none(folder_of: Folders) -> None:
    with pytest.raises(InputError, match="must be a finite number"):
        answers(Engine(folder_of("regress"), dtype="float32"), [{"text": "to be", "number": 10**400}])


def test_folders_that_are_not_served_say_what_to_do(whole_decoder: Path, whole_encoder: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="was trained for no task"):
        Engine(whole_decoder)
    with pytest.raises(InputError, match="there is no model folder"):
        Engine(tmp_path / "none")
    rows = [{"query": f"to be {number}", "positive": f"or not {number}"} for number in range(12)]
    (tmp_path / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "r.yaml").write_text(json.dumps({"run_dir": str(tmp_path / "run"), "finetune": {
        "model": str(whole_encoder), "task": "embed", "budget": {"steps": 1}, "compile": "off",
        "data": str(tmp_path / "train.jsonl"),
    }}))  # fmt: skip
    assert cli.main(["finetune", str(tmp_path / "r.yaml")]) == 0
    with pytest.raises(InputError, match="makes vectors: 'danlu similar"):
        Engine(tmp_path / "run/finetune/model")
