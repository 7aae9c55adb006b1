"""Tasks whose answer is a label, several or a number: losses and scores are those of transformers' classes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from torch import Tensor

from danlu.corpus.batches import Batch, collate
from danlu.corpus.rows import Widths
from danlu.data.dataset import Data, Dataset, load
from danlu.errors import InputError, RecipeError
from danlu.nn.hf.folder import save_model
from danlu.nn.hf.start import begin
from danlu.nn.transformer import Transformer
from danlu.recipe import build_choice
from danlu.tasks.answering import answer, numbers_of
from danlu.tasks.classify import Classify, Pair
from danlu.tasks.feature import Feature
from danlu.tasks.finetune import Finetune
from danlu.tasks.material import Material
from danlu.tasks.multi_label import MultiLabel
from danlu.tasks.regress import Regress, Similarity
from danlu.tasks.task import Known, Task
from danlu.tasks.text_reader import TextReader

TEXTS = ["To be", "or not to be that is the question", "话说天下大势", "Once upon a time there was a", "a"]
LABELS = ("bad", "fair", "good")
FAMILIES = ["encoder", "decoder"]


def examples(golds: Sequence[Any], *, second: str | None = None) -> list[Any]:
    """Examples of every form that these tasks read."""
    pairs = [(text,) if second is None else (text, second) for text in TEXTS]
    return [
        SimpleNamespace(texts=texts, label=gold, number=gold, gold=gold)
        for texts, gold in zip(pairs, golds, strict=True)
    ]


def start(folder: Path, count: int) -> Transformer:
    """The folder with a head of ``count`` labels, without dropout."""
    return begin(folder, "ForSequenceClassification", labels=count, seed=3).draw().eval()


def as_batch(features: Sequence[Feature]) -> Batch:
    """All in one row."""
    return collate(
        [[each.as_example() for each in features]], widths=Widths(sum(len(each.tokens) for each in features))
    )


def stock_of(model: Transformer, folder: Path, tokenizer: Path, **config: Any) -> Any:
    """The class of transformers with the same weights."""
    save_model(model, folder, tokenizer=tokenizer)
    kind = transformers.AutoModelForSequenceClassification
    stock, report = kind.from_pretrained(folder, output_loading_info=True, **config)
    assert not any(report.values()), report
    return stock.eval()


def their_inputs(features: Sequence[Feature]) -> dict[str, Tensor]:
    """Padded, as their collator makes it."""
    longest = max(len(each.tokens) for each in features)
    padded = [np.pad(each.tokens, (0, longest - len(each.tokens)), constant_values=0) for each in features]
    mask = [np.arange(longest) < len(each.tokens) for each in features]
    inputs = {"input_ids": torch.tensor(np.array(padded)), "attention_mask": torch.tensor(np.array(mask)).long()}
    if features[0].types is not None:
        types = [np.pad(each.types, (0, longest - len(each.types))) for each in features if each.types is not None]
        inputs["token_type_ids"] = torch.tensor(np.array(types))
    return inputs


def read(folder: Path, task: Task, golds: Sequence[Any], known: Known, *, second: str | None = None) -> list[Feature]:
    return task.features(examples(golds, second=second), known, TextReader.load(folder, max_tokens=24))


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("second", [None, "that is the question"])
def test_labels_cost_what_they_cost_in_transformers(
    family: str, second: str | None, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    folder = request.getfixturevalue(family)
    golds, known = ["bad", "good", "good", "fair", "bad"], Known(LABELS)
    task: Task = Classify() if second is None else Pair()
    features = read(folder, task, golds, known, second=second)
    model = start(folder, 3)
    stock = stock_of(model, tmp_path / "stock", folder, **({} if family == "encoder" else {"pad_token_id": 299}))
    wanted = torch.tensor([LABELS.index(gold) for gold in golds])
    theirs = _alone(stock, features) if family == "decoder" else stock(**their_inputs(features)).logits
    expected = torch.nn.functional.cross_entropy(theirs, wanted, reduction="sum")
    expected.backward()
    [loss] = task.losses(model, as_batch(features), known).values()
    loss.backward()
    torch.testing.assert_close(loss, expected, rtol=1e-5, atol=1e-5)
    ours = model.embedding.weight.grad
    assert ours is not None
    torch.testing.assert_close(ours, stock.get_input_embeddings().weight.grad, rtol=1e-3, atol=1e-5)


def _alone(stock: Any, features: Sequence[Feature]) -> Tensor:
    """Each text by itself: a decoder of transformers looks for padding, which these have none of."""
    return torch.cat([stock(input_ids=torch.tensor(each.tokens)[None]).logits for each in features])


def test_rare_labels_count_more_where_asked(encoder: Path) -> None:
    golds = ["bad", "bad", "bad", "good", "bad"]
    train = examples(golds)
    task = Classify(class_weights="balanced")
    dataset: Any = Dataset({"train": tuple(train)}, ("bad", "good"), "none", {}, ())
    model = start(encoder, 2)
    known = task.know(dataset, model.config)
    batch = as_batch(task.features(train, known, TextReader.load(encoder, max_tokens=24)))
    plain = numbers_of(task, model, task.features(train, known, TextReader.load(encoder, max_tokens=24)), known)
    each = [-float(torch.log(shares[("bad", "good").index(gold)])) for shares, gold in zip(plain, golds, strict=True)]
    weights = [5 / (2 * golds.count(gold)) for gold in golds]  # scikit-learn's "balanced"
    [loss] = task.losses(model, batch, known).values()
    assert float(loss.detach()) == pytest.approx(sum(w * e for w, e in zip(weights, each, strict=True)), rel=1e-4)


@pytest.mark.parametrize("count", [3, 40])
def test_several_labels_cost_what_they_cost_in_transformers(count: int, encoder: Path, tmp_path: Path) -> None:
    labels = tuple(f"label {number}" for number in range(count))
    golds = [(), (labels[0],), (labels[-1], labels[1]), labels, (labels[2],)]
    task, known = MultiLabel(), Known(labels)
    features = read(encoder, task, golds, known)
    model = start(encoder, count)
    stock = stock_of(model, tmp_path / "stock", encoder, problem_type="multi_label_classification")
    wanted = torch.tensor([[float(label in gold) for label in labels] for gold in golds])
    with torch.no_grad():
        expected = stock(**their_inputs(features), labels=wanted).loss * len(golds)  # a mean over texts and labels
        losses = task.losses(model, as_batch(features), known)
    assert set(losses) == {"labels"}
    torch.testing.assert_close(losses["labels"], expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("chosen", ["balanced", {"label 2": 5.0, "label 35": 0.25}])
def test_texts_that_have_a_label_count_as_by_pos_weight(chosen: Any, encoder: Path) -> None:
    labels = tuple(f"label {number}" for number in range(40))
    golds = [(), (labels[0],), (labels[0], labels[1], labels[35]), labels[:36], (labels[2],)]  # nothing has the last
    train = [SimpleNamespace(texts=each.texts, gold=each.gold, labels=each.gold) for each in examples(golds)]
    task = MultiLabel(class_weights=chosen)
    model, reader = start(encoder, 40), TextReader.load(encoder, max_tokens=24)
    known = task.know(Dataset({"train": tuple(train)}, labels, "none", {}, ()), model.config)  # type: ignore[arg-type]
    wanted = np.array([[label in gold for label in labels] for gold in golds])
    has, lacks = wanted.sum(0), (~wanted).sum(0)
    weights = (
        lacks / np.maximum(1, has) if chosen == "balanced" else [chosen.get(label, 1.0) for label in labels]
    )  # as torch's documentation: 100 texts have it and 300 have not: 3
    features = task.features(train, known, reader)
    with torch.no_grad():
        [loss] = task.losses(model, as_batch(features), known).values()
        scores = torch.stack(numbers_of(task, model, features, known)).logit()
        expected = torch.nn.BCEWithLogitsLoss(pos_weight=torch.tensor(weights).float(), reduction="sum")(
            scores, torch.tensor(wanted).float()
        )
    torch.testing.assert_close(loss, expected / len(labels), rtol=1e-4, atol=1e-4)
    assert task.criterion == "macro.f1" and MultiLabel().criterion == "micro.f1"


def test_a_label_that_all_texts_have_is_learned_too(encoder: Path) -> None:
    train = [SimpleNamespace(texts=("a",), gold=("all",), labels=("all",))] * 3
    dataset: Any = Dataset({"train": tuple(train)}, ("all", "none"), "none", {}, ())
    known = MultiLabel(class_weights="balanced").know(dataset, start(encoder, 2).config)
    assert known.numbers == {"weight.all": pytest.approx(1 / 3), "weight.none": 3.0}


@pytest.mark.parametrize("split", ["train", "dev"])
def test_a_split_of_which_no_text_can_be_read_is_told(
    split: str, encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A task may leave texts out, and then nothing could be learned or measured."""
    file, features = tmp_path / "data.jsonl", Classify.features
    file.write_text("".join(json.dumps({"text": "to be", "label": f"{n % 2}"}) + "\n" for n in range(4)))
    settings = Finetune(data=Data(train=file, dev=file), task=Classify(), model=encoder)
    dataset = load(settings.data, Classify.form)

    def few(task: Any, given: Any, known: Any, reader: Any) -> Any:
        return [] if given is dataset.splits[split] else features(task, given, known, reader)

    monkeypatch.setattr(Classify, "features", few)
    with pytest.raises(InputError, match=f"{file}: of the 4 examples of {split} none is left that can be read"):
        Material.of(settings, encoder, dataset, out=tmp_path, seed=1)


def test_weights_that_the_recipe_gives_are_those_of_torch(encoder: Path) -> None:
    golds = ["bad", "good", "good", "fair", "bad"]
    train, model = examples(golds), start(encoder, 3)
    task = Classify(class_weights={"good": 2.5})
    dataset: Any = Dataset({"train": tuple(train)}, LABELS, "none", {}, ())
    known = task.know(dataset, model.config)
    features = task.features(train, known, TextReader.load(encoder, max_tokens=24))
    with torch.no_grad():
        [loss] = task.losses(model, as_batch(features), known).values()
        shares = torch.stack(numbers_of(task, model, features, known))
        torch_loss = torch.nn.CrossEntropyLoss(weight=torch.tensor([1.0, 1.0, 2.5]), reduction="sum")
        expected = torch_loss(shares.log(), torch.tensor([LABELS.index(gold) for gold in golds]))
    torch.testing.assert_close(loss, expected, rtol=1e-5, atol=1e-5)
    with pytest.raises(RecipeError, match="class_weights: there is no label 'godo'; did you mean 'good'"):
        Classify(class_weights={"godo": 2.0}).know(
            Dataset({"train": tuple(train)}, LABELS, "none", {}, ()), model.config
        )
    for wrong, said in (({"good": 0}, "greater than 0"), ("balance", "'none' or 'balanced'")):
        with pytest.raises(RecipeError, match=f"task.class_weights must be .*{said}"):
            build_choice("task", {"use": "multi_label", "class_weights": wrong}, key="task")
    built = build_choice("task", {"use": "classify", "class_weights": {0: 2}}, key="task")
    assert built.class_weights == {"0": 2.0}


@pytest.mark.parametrize("second", [None, "be"])
def test_numbers_are_learned_without_their_mean_and_spread_and_written_with_them(
    second: str | None, encoder: Path, tmp_path: Path
) -> None:
    golds = [1000.0, 3000.0, 2500.0, -100.0, 10.0]
    task: Task = Regress() if second is None else Similarity()
    train = examples(golds, second=second)
    model = start(encoder, 1)
    dataset: Any = Dataset({"train": tuple(train)}, (), "none", {}, ())
    known = task.know(dataset, model.config)
    features = task.features(train, known, TextReader.load(encoder, max_tokens=24))
    stock = stock_of(model, tmp_path / "stock", encoder)
    scaled = (torch.tensor(golds) - np.mean(golds)) / np.std(golds)
    with torch.no_grad():
        expected = stock(**their_inputs(features), labels=scaled.float()).loss * len(golds)
        [loss] = task.losses(model, as_batch(features), known).values()
    torch.testing.assert_close(loss, expected, rtol=1e-4, atol=1e-4)
    reader = TextReader.load(encoder, max_tokens=24)
    before = answer(task, model, features, train, known, reader)
    finished = task.finish(model, known)
    after = answer(task, model, features, train, finished, reader)
    assert [each.value for each in after] == pytest.approx([each.value for each in before], rel=1e-4)
    with torch.no_grad():
        raw = stock_of(model, tmp_path / "finished", encoder)(**their_inputs(features)).logits.squeeze(-1)
    assert raw.tolist() == pytest.approx([each.value for each in before], rel=1e-3)


def test_answers_are_in_the_order_of_the_examples_whatever_their_length(encoder: Path) -> None:
    task, known = Classify(), Known(LABELS)
    features = read(encoder, task, ["bad"] * 5, known)
    model = start(encoder, 3)
    reader = TextReader.load(encoder, max_tokens=24)
    alone = [answer(task, model, [each], [None], known, reader)[0] for each in features]
    together = answer(task, model, features, [None] * 5, known, reader)
    for one, other in zip(alone, together, strict=True):
        assert one.value == other.value and one.confidence == pytest.approx(other.confidence, abs=1e-5)
        assert sum((other.scores or {}).values()) == pytest.approx(1.0, abs=1e-5)
    assert len({tuple((each.scores or {}).values()) for each in together}) == 5


def test_a_text_without_a_gold_has_no_loss(encoder: Path) -> None:
    task, known = Classify(), Known(LABELS)
    features = read(encoder, task, ["bad", None, "good", None, None], known)
    batch = as_batch(features)
    assert batch.counts == {"label": 2}
    some = as_batch([features[0], features[2]])
    model = start(encoder, 3)
    torch.testing.assert_close(task.losses(model, batch, known), task.losses(model, some, known), rtol=1e-5, atol=1e-5)


def test_numbers_that_are_all_the_same_are_one_line(encoder: Path, tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("text,score\n" + "".join(f"to be {number},3\n" for number in range(6)))
    dataset = load(Data(train=path, dev=path), Regress.form)
    with pytest.raises(RecipeError, match=r"finetune\.data: all 6 numbers are 3; there is nothing to learn"):
        Regress().know(dataset, start(encoder, 1).config)
