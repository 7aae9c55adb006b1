"""Long texts in windows: scores, losses and gradients are those of transformers' classes on windows that transformers'
tokenizer cuts, pooled in numpy."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tokenizers
import torch
import transformers
from scipy.special import expit, softmax

from danlu.cli import main
from danlu.corpus.batches import collate
from danlu.corpus.rows import Widths
from danlu.errors import RecipeError
from danlu.nn.hf.folder import load_model, save_model
from danlu.nn.hf.start import begin
from danlu.recipe import build_choice
from danlu.tasks.answering import answer
from danlu.tasks.chunks import Chunks, TextTask
from danlu.tasks.classify import Classify, Pair
from danlu.tasks.multi_label import MultiLabel
from danlu.tasks.regress import Regress
from danlu.tasks.relate import Relate
from danlu.tasks.task import Known
from danlu.tasks.text_reader import TextReader

LONG = "Once upon a time there was a sentence. To be, or not to be: that is the question. 话说天下大势，从前有座山。"
TEXTS = [LONG, "To be", LONG[20:] + LONG, "a", LONG[5:45]]
PAIRS = [(LONG, "To be"), ("a time", LONG[20:]), ("be", "not"), (LONG, LONG[3:]), (LONG, LONG)]
LABELS = ("bad", "fair", "good")
GOLDS = ["bad", "good", "good", "fair", "bad"]
MOST, SHARED = 20, 6


def examples(golds: Sequence[Any], texts: Sequence[tuple[str, ...]]) -> list[Any]:
    return [
        SimpleNamespace(texts=each, label=gold, number=gold, gold=gold) for each, gold in zip(texts, golds, strict=True)
    ]


@pytest.fixture
def written(encoder: Path, tmp_path: Path) -> Path:
    """A classifier that transformers reads, which minds the types of tokens, its head drawn large enough to matter."""
    inner = tokenizers.Tokenizer.from_file(str(encoder / "tokenizer.json"))
    inner.post_processor = tokenizers.processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS]:0 $A:0 [SEP]:0 $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    inner.save(str(encoder / "tokenizer.json"))
    return _written(encoder, tmp_path / "written", 3)


def _written(base: Path, folder: Path, count: int) -> Path:
    model = begin(base, "ForSequenceClassification", labels=count, seed=3).draw()
    with torch.no_grad():
        model.head.out.weight.normal_(0.0, 1.0)
    save_model(model, folder, tokenizer=base)
    return folder


def their_windows(folder: Path, texts: tuple[str, ...]) -> list[dict[str, torch.Tensor]]:
    """The windows of one text, or of a pair, by transformers' tokenizer."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    lengths = [len(tokenizer(text, add_special_tokens=False)["input_ids"]) for text in texts]
    side = lengths.index(max(lengths))
    cut = list(texts)
    if len(texts) > 1:  # of the shorter one half a window, as of a question
        room = (MOST - tokenizer.num_special_tokens_to_add(pair=True)) // 2
        offsets = tokenizer(texts[1 - side], add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"]
        cut[1 - side] = texts[1 - side][: offsets[min(room, len(offsets)) - 1][1]]
    encoded = tokenizer(
        *cut, max_length=MOST, stride=SHARED, truncation=("only_first", "only_second")[side],
        return_overflowing_tokens=True, return_token_type_ids=True,
    )  # fmt: skip
    return [
        {"input_ids": torch.tensor([ids]), "token_type_ids": torch.tensor([types])}
        for ids, types in zip(encoded["input_ids"], encoded["token_type_ids"], strict=True)
    ]


def their_scores(folder: Path, texts: Sequence[tuple[str, ...]], pool: str) -> Any:
    """``[E, L]`` each text's, from the logits of its windows, which go through the model one by one."""
    stock = transformers.AutoModelForSequenceClassification.from_pretrained(folder).eval()
    found = []
    for each in texts:
        windows = their_windows(folder, each)
        with torch.no_grad():
            logits = np.concatenate([stock(**window).logits.double().numpy() for window in windows])
        found.append(getattr(np, pool)(logits, axis=0))
    return np.array(found)


@pytest.mark.parametrize("pool", ["mean", "max"])
@pytest.mark.parametrize("kind", ["texts", "pairs"])
def test_shares_and_losses_are_those_of_transformers_windows_pooled(pool: Any, kind: str, written: Path) -> None:
    texts = [(text,) for text in TEXTS] if kind == "texts" else PAIRS
    task = (Classify if kind == "texts" else Pair)(chunks=Chunks(pool=pool, stride=SHARED))
    known, reader, model = Known(LABELS), TextReader.load(written, max_tokens=MOST), load_model(written)
    features = task.features(examples(GOLDS, texts), known, reader)
    counts = [len(each.parts) for each in features]
    assert counts == [len(their_windows(written, each)) for each in texts] and max(counts) > 3 and min(counts) == 1
    scores = their_scores(written, texts, pool)
    answers = answer(task, model, features, examples(GOLDS, texts), known, reader)
    for said, wanted in zip(answers, softmax(scores, axis=1), strict=True):
        np.testing.assert_allclose([(said.scores or {})[label] for label in LABELS], wanted, rtol=2e-4)
        assert said.value == LABELS[int(wanted.argmax())]
    places = [LABELS.index(gold) for gold in GOLDS]
    nats = -np.log(softmax(scores, axis=1)[np.arange(len(places)), places]).sum()
    width = Widths(sum(each.size for each in features) + 3)
    batch = collate([[each.as_example() for each in features]], widths=width)
    assert batch.counts["label"] == len(texts)
    with torch.no_grad():
        assert float(task.losses(model, batch, known)["label"]) == pytest.approx(nats, rel=1e-4)


@pytest.mark.parametrize("pool", ["mean", "max"])
def test_gradients_go_to_every_window_that_has_a_say(pool: Any, written: Path) -> None:
    task, known = Classify(chunks=Chunks(pool=pool, stride=SHARED)), Known(LABELS)
    features = task.features(examples(GOLDS[:1], [(LONG,)]), known, TextReader.load(written, max_tokens=MOST))
    model = load_model(written)
    batch = collate([[features[0].as_example()]], widths=Widths(features[0].size))
    [loss] = task.losses(model, batch, known).values()
    torch.autograd.backward(loss)
    stock = transformers.BertForSequenceClassification.from_pretrained(written).eval()
    logits = torch.cat([stock(**window).logits for window in their_windows(written, (LONG,))])
    pooled = logits.mean(0) if pool == "mean" else logits.max(0).values
    torch.autograd.backward(torch.nn.functional.cross_entropy(pooled[None], torch.tensor([LABELS.index(GOLDS[0])])))
    for ours, theirs in (
        ("encoder.blocks.0.attention.value.weight", stock.bert.encoder.layer[0].attention.self.value.weight),
        ("head.out.weight", stock.classifier.weight),
    ):
        torch.testing.assert_close(model.get_parameter(ours).grad, theirs.grad, rtol=1e-3, atol=1e-5)


def test_of_a_very_long_text_windows_are_read_at_even_distances(
    written: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Those of transformers' windows; however many texts are parted into tokens at once."""
    texts = [(LONG * 3,), ("To be",), (LONG,), (LONG[5:] * 2,)]
    cases = examples(GOLDS[:4], texts)
    theirs = [[each["input_ids"][0].tolist() for each in their_windows(written, text)] for text in texts]
    assert [len(each) for each in theirs] == [9, 1, 3, 6]
    wanted = [[theirs[0][place] for place in (0, 3, 5, 8)], theirs[1], theirs[2],
              [theirs[3][place] for place in (0, 2, 3, 5)]]  # fmt: skip
    task = Classify(chunks=Chunks(stride=SHARED, windows=4))
    for characters in (1, 200, 10**6):
        monkeypatch.setattr("danlu.tasks.chunks.CHARACTERS_AT_ONCE", characters)
        reader = TextReader.load(written, max_tokens=MOST)
        features = task.features(cases, Known(LABELS), reader)
        found = [np.split(each.tokens, np.cumsum(each.parts)[:-1]) for each in features]
        assert [[window.tolist() for window in each] for each in found] == wanted
        told = "2 of 4 texts have more than 4 windows (task.chunks.windows): so many of each are read"
        assert told in capsys.readouterr().out
    answers = answer(task, load_model(written), features, cases, Known(LABELS), reader)
    stock = transformers.AutoModelForSequenceClassification.from_pretrained(written).eval()
    with torch.no_grad():
        logits = torch.cat([stock(torch.tensor([window])).logits for window in wanted[0]]).double().mean(0)
    assert [(answers[0].scores or {})[label] for label in LABELS] == pytest.approx(logits.softmax(0).tolist(), rel=2e-4)


def test_a_text_of_many_characters_is_bounded(written: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """By its tokens where nothing is said, whatever a window holds; and nothing is told of what is read whole."""
    reader = TextReader.load(written, max_tokens=MOST)
    (feature,) = Classify(chunks=Chunks()).features(examples(["bad"], [("to be " * 20_000,)]), Known(LABELS), reader)
    assert feature.size <= 8192 < feature.size + MOST and feature.longest == MOST
    assert "1 of 1 texts have more than 409 windows" in capsys.readouterr().out
    assert [Chunks().most(tokens) for tokens in (64, 512, 10_000)] == [128, 16, 4]
    Classify(chunks=Chunks()).features(examples(["bad"], [(LONG,)]), Known(LABELS), reader)
    assert not capsys.readouterr().out


@pytest.mark.parametrize("pool", ["mean", "max"])
def test_several_labels_and_numbers_are_pooled_alike(pool: Any, written: Path, encoder: Path, tmp_path: Path) -> None:
    texts, chunks = [(text,) for text in TEXTS], Chunks(pool=pool, stride=SHARED)
    golds: list[Any] = [("bad",), (), LABELS, ("good", "fair"), ()]
    one = _written(encoder, tmp_path / "one", 1)
    cases: list[tuple[TextTask, Known, Path, list[Any]]] = [
        (MultiLabel(chunks=chunks), Known(LABELS), written, golds),
        (Regress(chunks=chunks), Known(numbers={"mean": 2.0, "spread": 3.0}), one, [1.0, 2.0, -4.0, 0.5, 7.0]),
    ]
    for task, known, folder, right in cases:
        reader, model = TextReader.load(folder, max_tokens=MOST), load_model(folder)
        features = task.features(examples(right, texts), known, reader)
        scores = their_scores(folder, texts, pool)
        answers = answer(task, model, features, examples(right, texts), known, reader)
        batch = collate([[each.as_example() for each in features]], widths=Widths(sum(e.size for e in features)))
        with torch.no_grad():
            [loss] = task.losses(model, batch, known).values()
        if isinstance(task, Regress):
            np.testing.assert_allclose([each.value for each in answers], scores[:, 0] * 3 + 2, rtol=1e-4, atol=1e-4)
            wanted = ((scores[:, 0] - (np.array(right) - 2) / 3) ** 2).sum()
        else:
            shares = [[(each.scores or {})[label] for label in LABELS] for each in answers]
            np.testing.assert_allclose(shares, expit(scores), rtol=2e-4, atol=1e-7)
            yes = np.array([[label in gold for label in LABELS] for gold in right])
            wanted = -np.log(expit(np.where(yes, scores, -scores))).mean(1).sum()
        assert float(loss) == pytest.approx(wanted, rel=1e-4)


def test_a_decoder_reads_windows_too(decoder: Path, tmp_path: Path) -> None:
    folder = _written(decoder, tmp_path / "decoder_written", 3)
    task, known = Classify(chunks=Chunks(stride=SHARED)), Known(LABELS)
    reader, texts = TextReader.load(folder, max_tokens=MOST), [(LONG,), ("To be",)]
    features = task.features(examples(GOLDS[:2], texts), known, reader)
    answers = answer(task, load_model(folder), features, examples(GOLDS[:2], texts), known, reader)
    stock = transformers.AutoModelForSequenceClassification.from_pretrained(folder, pad_token_id=299).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    for (text,), said in zip(texts, answers, strict=True):
        cut = tokenizer(text, max_length=MOST, stride=SHARED, truncation=True, return_overflowing_tokens=True)
        with torch.no_grad():
            logits = torch.cat([stock(input_ids=torch.tensor([ids])).logits for ids in cut["input_ids"]])
        wanted = logits.mean(0).softmax(-1).tolist()
        assert [(said.scores or {})[label] for label in LABELS] == pytest.approx(wanted, rel=1e-3)


@pytest.mark.parametrize("form", ["mean", "{pool: max, stride: 3}"])
def test_training_and_prediction_read_alike(form: str, encoder: Path, tmp_path: Path) -> None:
    """What tells the labels apart stands behind what the model sees at once."""
    before = "Once upon a time there was a sentence. " * 3
    texts = {"a": before + "to be", "b": before + "话说天下"}
    rows = [{"text": texts[label], "label": label} for label in "ab" * 20]
    file, recipe = tmp_path / "long.jsonl", tmp_path / "recipe.yaml"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    recipe.write_text(
        f"finetune:\n  data: {{train: {file}, dev: {file}}}\n  model: {encoder}\n"
        f"  task: {{use: classify, max_tokens: 20, chunks: {form}}}\n"
        "  batch: 10\n  optimizer: {lr: 0.005}\n  budget: {steps: 30}\n  precision: fp32\n  evaluations: 1\n"
    )
    assert main(["finetune", str(recipe), f"run_dir={tmp_path / 'run'}"]) == 0
    model = tmp_path / "run/finetune/model"
    assert json.loads((tmp_path / "run/finetune/dev.json").read_text())["figures"]["accuracy"] == 1.0
    task = build_choice("task", json.loads((model / "danlu.json").read_text())["task"], key="task")
    assert task.chunks == (Chunks() if form == "mean" else Chunks(pool="max", stride=3))
    out = tmp_path / "answers.jsonl"
    assert main(["predict", str(model), str(file), "--out", str(out), "--dtype", "float32"]) == 0
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    trained = [json.loads(line) for line in (tmp_path / "run/finetune/dev.predictions.jsonl").read_text().splitlines()]
    for one, other in zip(lines, trained, strict=True):
        assert one["prediction"] == other["prediction"] == other["gold"]
        assert one["scores"] == pytest.approx(other["scores"], abs=2e-6)


def test_what_is_read_is_told(encoder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, recipe = tmp_path / "long.jsonl", tmp_path / "recipe.yaml"
    file.write_text("".join(json.dumps({"text": f"{LONG} {n}", "label": "ab"[n % 2]}) + "\n" for n in range(20)))
    base = f"finetune:\n  data: {file}\n  model: {encoder}\n  budget: {{steps: 1}}\n  evaluations: 1\n"
    recipe.write_text(f"{base}  task: {{use: classify, max_tokens: 20, chunks: max}}\n")
    assert main(["finetune", str(recipe), f"run_dir={tmp_path / 'run'}"]) == 0
    told = capsys.readouterr()
    line = next(line for line in (told.out + told.err).splitlines() if " windows of " in line)
    assert "the longest 20" in line and "read in part" not in line
    recipe.write_text(f"{base}  task: {{use: classify, max_tokens: 20, chunks: max, cut: tail}}\n")
    assert main(["finetune", str(recipe), f"run_dir={tmp_path / 'other'}"]) == 2
    assert "finetune.task.cut: tail is for tasks that read a part of a text" in capsys.readouterr().err
    recipe.write_text(f"{base}  task: {{use: classify, max_tokens: 20, chunks: {{stride: 8}}}}\n")
    assert main(["finetune", str(recipe), f"run_dir={tmp_path / 'other'}"]) == 2
    assert "finetune.task.chunks.stride must be below 8, half of what a window" in capsys.readouterr().err


def test_settings_that_cannot_be_meant_are_refused() -> None:
    with pytest.raises(RecipeError, match=r"task.chunks.pool must be 'mean' or 'max'; got 'sum'"):
        build_choice("task", {"use": "classify", "chunks": "sum"}, key="task")
    with pytest.raises(RecipeError, match=r"task.chunks: cannot be set: of a longer text what is nearest"):
        build_choice("task", {"use": "relate", "chunks": "mean"}, key="task")
    assert Relate().chunks is None and Classify().chunks is None


def test_windows_stay_together_among_the_rows_of_several_tasks(encoder: Path, tmp_path: Path) -> None:
    before = "Once upon a time there was a sentence. " * 3
    long, short = tmp_path / "long.jsonl", tmp_path / "short.jsonl"
    texts = {"a": before + "to be", "b": before + "话说天下"}
    long.write_text("".join(json.dumps({"text": texts[label], "label": label}) + "\n" for label in "ab" * 20))
    short.write_text("".join(json.dumps({"text": f"be {n}", "score": n % 4}) + "\n" for n in range(30)))
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(
        f"joint:\n  model: {encoder}\n  batch: 10\n  optimizer: {{lr: 0.005}}\n  budget: {{steps: 30}}\n"
        "  precision: fp32\n  evaluations: 1\n  tasks:\n"
        f"    long: {{task: {{use: classify, max_tokens: 20, chunks: mean}}, data: {{train: {long}, dev: {long}}}}}\n"
        f"    short: {{task: regress, data: {short}}}\n"
    )
    assert main(["joint", str(recipe), f"run_dir={tmp_path / 'run'}"]) == 0
    assert json.loads((tmp_path / "run/joint/long/dev.json").read_text())["figures"]["accuracy"] == 1.0
