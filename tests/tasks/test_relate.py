"""Relations: marks are tokens of the folder, long texts keep their entities, transformers says the same."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers

from danlu.cli import main
from danlu.data.dataset import Dataset
from danlu.data.example import Place
from danlu.data.form import Cells
from danlu.data.related import HEAD, RELATE, TAIL, Relation
from danlu.data.rows import Row
from danlu.errors import InputError, RecipeError
from danlu.nn.hf.folder import load_config, load_model, save_model
from danlu.nn.hf.start import begin
from danlu.recipe import build_choice
from danlu.tasks.answering import answer
from danlu.tasks.relate import Relate
from danlu.tasks.task import Known
from danlu.tasks.text_reader import TextReader
from danlu.tokenizers.added import with_tokens
from danlu.tokenizers.tokenizer import Tokenizer

HERE = Place(Path("x.csv"), 7)
KNOWN = Known(("Other", "part", "whole"))


def relation(text: str, head: str, tail: str, label: str | None = "part", **kinds: str) -> Relation:
    spans = [(text.index(name), text.index(name) + len(name)) for name in (head, tail)]
    return Relation(HERE, text, spans[0], spans[1], label, **kinds)


def dataset(*examples: Relation) -> Dataset[Any]:
    return Dataset({"train": examples}, KNOWN.labels, "none", {}, ())


EXAMPLES = [
    relation("To be, or not to be: that is the question", "To be", "question"),
    relation("话说天下大势，从前有座山。", "山", "天下", "whole"),
]


def marked_tokenizer(folder: Path, out: Path, task: Relate | None = None) -> Path:
    task = task or Relate()
    return with_tokens(folder, task.new_tokens(dataset(*EXAMPLES)), out)


def test_transformers_reads_the_folder_and_says_the_same(encoder: Path, tmp_path: Path) -> None:
    tokenizer = marked_tokenizer(encoder, tmp_path / "tokenizer")
    start = begin(encoder, "ForSequenceClassification", labels=3, seed=0)
    model = start.with_rows(Tokenizer.load(tokenizer).vocab_size).draw().eval()
    with torch.no_grad():
        model.head.out.weight.normal_(0.0, 1.0)
    save_model(model, tmp_path / "model", tokenizer=tokenizer, labels=KNOWN.labels)
    stock = transformers.AutoModelForSequenceClassification.from_pretrained(tmp_path / "model").eval()
    stock_tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "model")
    task, reader = Relate(), TextReader.load(tmp_path / "model", max_tokens=24)
    features = task.features(EXAMPLES, KNOWN, reader)
    answers = answer(task, load_model(tmp_path / "model"), features, EXAMPLES, KNOWN, reader)
    for example, feature, said in zip(EXAMPLES, features, answers, strict=True):
        encoded = stock_tokenizer(example.marked(), return_tensors="pt")
        assert encoded.input_ids[0].tolist() == feature.tokens.tolist()
        assert {*HEAD, *TAIL} <= set(stock_tokenizer.convert_ids_to_tokens(encoded.input_ids[0]))
        with torch.no_grad():
            shares = stock(**encoded).logits[0].softmax(-1)
        assert said.scores is not None
        np.testing.assert_allclose([said.scores[label] for label in KNOWN.labels], shares, rtol=1e-4)


def test_rows_of_new_tokens_stand_behind_the_folders_own(encoder: Path, tmp_path: Path) -> None:
    rows = load_config(encoder).vocab_size
    start = begin(encoder, "ForSequenceClassification", labels=2, seed=0).with_rows(rows + 1000)
    model, own = start.draw(), load_model(encoder)
    assert model.config.vocab_size == rows + 1000
    assert torch.equal(model.embedding.weight[:rows], own.embedding.weight)
    new, old = model.embedding.weight[rows:].detach(), own.embedding.weight.detach()
    torch.testing.assert_close(new.mean(0), old.mean(0), atol=0.05, rtol=0)
    torch.testing.assert_close(new.std(0), old.std(0), atol=0, rtol=0.15)
    assert torch.equal(start.draw().embedding.weight, model.embedding.weight)
    assert start.with_rows(3).config.vocab_size == rows


def test_marks_take_the_space_before_them_and_leave_other_tokens_as_they_are(decoder: Path, tmp_path: Path) -> None:
    tokenizer = with_tokens(decoder, HEAD, tmp_path / "tokenizer")
    before, after = (TextReader.load(folder, max_tokens=50).tokenizer for folder in (decoder, tokenizer))
    ids, marks = after.encode("once [E1] upon [/E1] a time").ids, [after.token_to_id(mark) for mark in HEAD]
    assert [id for id in ids if id in marks] == marks
    assert [id for id in ids if id not in marks] == before.encode("once upon a time").ids
    assert with_tokens(tokenizer, HEAD, tmp_path / "again") == tokenizer
    assert not (tmp_path / "again").exists()


def test_of_a_long_text_what_is_nearest_to_the_entities_is_read(encoder: Path, tmp_path: Path) -> None:
    folder = marked_tokenizer(encoder, tmp_path / "tokenizer")
    text = "not " * 30 + "question " + "be " * 30 + "time " + "upon " * 30
    example = relation(text, "question", "time")
    reader = TextReader.load(folder, max_tokens=16)
    (feature,) = Relate().features([example], KNOWN, reader)
    assert reader.tokenizer.decode(feature.tokens.tolist(), skip_special_tokens=False).replace(" ##", "") == (
        "[CLS] not not [E1] question [/E1] be be be be [E2] time [/E2] upon upon [SEP]"
    )
    with pytest.raises(InputError, match=r"line 7: its entities with their marks .*; finetune.task.max_tokens is 16"):
        Relate().features([relation(text, "question", "upon " * 10)], KNOWN, reader)


def test_typed_marks_say_what_an_entity_is(encoder: Path, tmp_path: Path) -> None:
    task = Relate(typed=True)
    kinds = {"head_type": "PER", "tail_type": "place"}
    example = relation("Once upon a time", "Once", "time", "part", **kinds)
    tokens = task.new_tokens(dataset(example))
    assert tokens[:4] == (*HEAD, *TAIL) and {"[E1:PER]", "[/E2:place]", "[E2:PER]"} <= set(tokens) and len(tokens) == 12
    reader = TextReader.load(with_tokens(encoder, tokens, tmp_path / "tokenizer"), max_tokens=24)
    (feature,) = task.features([example], KNOWN, reader)
    words = [reader.tokenizer.id_to_token(token) for token in feature.tokens.tolist()]
    assert [word for word in words if word and "E" in word] == [
        "[E1:PER]",
        "[/E1:PER]",
        "[E2:place]",
        "[/E2:place]",
        "[SEP]",
    ]
    odd = relation("Once upon a time", "Once", "time", "part", head_type="PER", tail_type="ORG")
    with pytest.raises(InputError, match=r"x.csv, line 7: the tail is of the kind 'ORG', which training had not"):
        task.features([odd], KNOWN, reader)
    with pytest.raises(RecipeError, match=r"finetune.task.typed: the file says of no entity what kind it is"):
        task.new_tokens(dataset(*EXAMPLES))


def test_the_kind_of_an_entity_has_a_column_or_stands_beside_its_name() -> None:
    columns = {"text": "text", "label": "label", "head": "h", "tail": "t", "tail_type": "obj_type"}
    row = Row(HERE, {"text": "a b", "label": "x", "h": {"name": "a", "pos": [0, 1], "type": "LOC"}, "t": "b",
                     "obj_type": "PER"})  # fmt: skip
    found = RELATE.read(Cells(row, columns))
    assert (found.head_type, found.tail_type) == ("LOC", "PER")


def test_a_text_with_marks_of_its_own_is_refused(encoder: Path, tmp_path: Path) -> None:
    reader = TextReader.load(marked_tokenizer(encoder, tmp_path / "tokenizer"), max_tokens=24)
    with pytest.raises(InputError, match=r"x.csv, line 7: the text holds '\[/E2\]'"):
        Relate().features([relation("To be [/E2] time", "To", "time")], KNOWN, reader)
    assert Relate().features([relation("To be [E2:x] time", "To", "time")], KNOWN, reader)  # no mark of this model


@pytest.mark.parametrize(("settings", "reason"), [
    ({"none": "Othr"}, "finetune.task.none: no label 'Othr'"), ({"cut": "tail"}, "cut"),
])  # fmt: skip
def test_settings_that_cannot_be_are_refused(settings: dict[str, str], reason: str, encoder: Path) -> None:
    with pytest.raises(RecipeError, match=reason):
        build_choice("task", {"use": "relate", **settings}, key="finetune.task").know(
            dataset(*EXAMPLES), load_config(encoder)
        )


@pytest.mark.parametrize(("none", "found"), [("guess", "Other"), (None, None), ("part", "part")])
def test_the_label_of_no_relation_is_said_or_guessed(none: str | None, found: str | None) -> None:
    assert Relate(none=none).metric(KNOWN).none == found


def test_from_a_file_to_answers(encoder: Path, tmp_path: Path) -> None:
    data = tmp_path / "relations.jsonl"
    lines = [
        {"text": f"<e1>To be</e1> {number} not <e2>a time</e2>" if number % 2 else
                 f"<e2>To be</e2> {number} not <e1>a time</e1>", "relation": "before" if number % 2 else "Other"}
        for number in range(60)
    ]  # fmt: skip
    data.write_text("".join(json.dumps(line) + "\n" for line in lines))
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(
        f"finetune:\n  data: {data}\n  model: {encoder}\n  task: {{use: relate, none: Other}}\n  batch: 20\n"
        "  optimizer: {lr: 0.003}\n  budget: {steps: 16}\n  precision: fp32\n  evaluations: 1\n"
    )
    assert main(["finetune", str(recipe), f"run_dir={tmp_path / 'run'}"]) == 0
    found = json.loads((tmp_path / "run/finetune/dev.json").read_text())
    assert found["figures"]["micro.f1"] == found["figures"]["accuracy"] == 1.0
    assert "label.before.f1" in found["figures"] and "label.Other.f1" not in found["figures"]
    out = tmp_path / "answers.jsonl"
    assert main(["predict", str(tmp_path / "run/finetune/model"), str(data), "--out", str(out)]) == 0
    answers = [json.loads(line) for line in out.read_text().splitlines()]
    assert all(line["prediction"] == line["gold"] for line in answers) and len(answers) == 60
