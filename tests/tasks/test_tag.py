"""Tags and words against transformers' BertForTokenClassification on the folders that finetune writes."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers

from danlu.cli import main
from danlu.corpus.batches import IGNORE, collate
from danlu.corpus.rows import Widths
from danlu.data.dataset import Data, load
from danlu.metrics.entities import Entities
from danlu.metrics.tally import overall
from danlu.metrics.token_labels import TokenLabels
from danlu.nn.hf.folder import save_model
from danlu.nn.hf.start import begin
from danlu.tasks.entity_finder import EntityFinder
from danlu.tasks.segment import Segment, words
from danlu.tasks.tag import Tag
from danlu.tasks.task import Known
from danlu.tasks.text_reader import TextReader

SENTENCES = [
    ("Once upon a time there was sentence .", "O O O O O O B-LOC O"),
    ("that is the a , question from", "O O O O O B-PER I-PER"),
    ("to be or not to be", "O O O O O O"),
    ("question from : a not", "B-PER I-PER O O O"),
]
LONG = "Once upon a time there was a sentence : that is the question , or not , that is the question . Anna was there"


def conll(sentences: list[tuple[str, str]]) -> str:
    return "\n\n".join(
        "\n".join(f"{word}\t{tag}" for word, tag in zip(text.split(), tags.split(), strict=True))
        for text, tags in sentences
    )


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "train.conll").write_text(conll(SENTENCES * 4), encoding="utf-8")
    (tmp_path / "dev.conll").write_text(conll([("question was there , upon sentence .", "B-PER O O O O B-LOC O")]))
    return tmp_path


def finetune(folder: Path, model: Path, task: str, *, steps: int = 3, lr: float = 0.005, **data: Any) -> Path:
    said = ", ".join(f"{name}: {value}" for name, value in data.items())
    (folder / "r.yaml").write_text(f"""
finetune:
  data: {{{said}}}
  model: {model}
  task: {task}
  budget: {{steps: {steps}}}
  optimizer: {{use: adamw, lr: {lr}}}
  batch: 4
  evaluations: 1
""")
    assert main(["finetune", str(folder / "r.yaml")]) == 0
    return folder / "runs" / "r" / "finetune"


def predict(folder: Path, file: Path, out: Path) -> list[dict[str, Any]]:
    assert main(["predict", str(folder), str(file), "--out", str(out), "--dtype", "float32"]) == 0
    return [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]


def by_transformers(folder: Path, sentence: list[str], *, size: int, shared: int) -> np.ndarray[Any, Any]:
    """``[W, L]`` log probabilities: each word by its first token in the window where it has most context."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModelForTokenClassification.from_pretrained(folder).eval()
    whole = tokenizer(sentence, is_split_into_words=True, add_special_tokens=False)
    read = tokenizer(sentence, is_split_into_words=True, max_length=size, truncation=True, stride=shared,
                     return_overflowing_tokens=True)  # fmt: skip
    first = {word: whole.word_ids().index(word) for word in range(len(sentence))}
    best: dict[int, tuple[int, np.ndarray[Any, Any]]] = {}
    start = 0
    for number, ids in enumerate(read["input_ids"]):
        with torch.inference_mode():
            shares = model(torch.tensor([ids])).logits[0].log_softmax(-1)
        text = len(ids) - 2
        for word, place in first.items():
            local = place - start
            context = min(local, text - 1 - local)
            if context >= 0 and (word not in best or context > best[word][0]):
                assert read.word_ids(number)[local + 1] == word
                best[word] = context, shares[local + 1].numpy()
        start += text - shared
    return np.stack([best[word][1] for word in range(len(sentence))])


def test_finetune_and_predict_equal_transformers(files: Path, encoder: Path) -> None:
    run = finetune(files, encoder, "{use: tag, viterbi: false}", train=files / "train.conll", dev=files / "dev.conll")
    labels = transformers.AutoConfig.from_pretrained(run / "model").id2label
    assert list(labels.values()) == ["O", "B-LOC", "I-LOC", "B-PER", "I-PER"]
    texts = [text for text, _ in SENTENCES] + [LONG]
    (files / "new.jsonl").write_text("".join(json.dumps({"tokens": text.split()}) + "\n" for text in texts))
    lines = predict(run / "model", files / "new.jsonl", files / "out.jsonl")
    assert len(lines) == len(texts)
    for text, line in zip(texts, lines, strict=True):
        theirs = by_transformers(run / "model", text.split(), size=24, shared=6)
        assert line["words"] == text.split()
        assert line["prediction"] == [labels[place] for place in theirs.argmax(1).tolist()]
        assert line["confidence"] == pytest.approx(float(np.exp(theirs.max(1).sum())), abs=2e-5)
        for entity in line["entities"]:
            assert line["texts"][0][entity["start"] : entity["end"]] == entity["text"] != ""


def test_a_finder_of_private_data_finds_what_predict_does(files: Path, encoder: Path) -> None:
    data = {"train": files / "train.conll", "dev": files / "dev.conll"}
    run = finetune(files, encoder, "tag", steps=1, lr=1e-9, **data)  # a head as it is drawn sees entities anywhere
    texts = [LONG + ", Anna said.", "that is the question (from a), not to be: " + LONG]
    (files / "new.jsonl").write_text("".join(json.dumps({"tokens": text}) + "\n" for text in texts))
    lines = predict(run / "model", files / "new.jsonl", files / "out.jsonl")
    wanted = [(each["start"], each["end"], each["type"]) for line in lines for each in line["entities"]]
    shift = len(texts[0]) + 2
    second = len(lines[0]["entities"])
    wanted[second:] = [(start + shift, end + shift, kind) for start, end, kind in wanted[second:]]
    assert wanted
    finder = EntityFinder(model=run / "model", kinds={"PER": "PER", "LOC": "LOC"}, confidence=0)
    assert list(finder.make()("\n\n".join(texts))) == wanted


HOUSE = "to be or not to be\nquestion from : a not"
DONE = {
    "mask": r"to be or not to be\n\[ADDRESS\] from : a not",
    "hash": r"to be or not to be\n\[ADDRESS [0-9a-f]{16}\] from : a not",
    "example": r"to be or not to be\n\[ADDRESS\] from : a not",
    "keep": HOUSE,
    "drop": "to be or not",
}


def test_clean_does_with_addresses_what_it_is_told(files: Path, encoder: Path) -> None:
    """From a tagger that ``danlu finetune`` taught to the shards of ``danlu clean``, whose recipe names the model."""
    taught = [("question from : a not", "B-ADDRESS O O O O"), ("to be or not to be", "O O O O O O")]
    (files / "homes.conll").write_text(conll(taught * 8), encoding="utf-8")
    run = finetune(files, encoder, "tag", steps=60, lr=0.01, train=files / "homes.conll", dev=files / "homes.conll")
    (files / "text.jsonl").write_text(f"{json.dumps({'text': HOUSE})}\n{json.dumps({'text': 'to be or not'})}")
    (files / "key").write_bytes(b"0123456789abcdef")
    for action, wanted in DONE.items():
        finder = f"{{use: entities, model: {run}/model}}"
        rule = f"{{use: private, key_file: key, by_kind: {{address: {action}}}, finders: {finder}}}"
        recipe = f"run_dir: {action}\nclean:\n  sources: {{path: text.jsonl, language: en}}\n  rules: [{rule}]\n"
        (files / "clean.yaml").write_text(recipe)
        assert main(["clean", "clean.yaml"]) == 0
        (shard,) = (files / action / "clean").glob("documents-*.jsonl")
        first, *others = [json.loads(line)["text"] for line in shard.read_text(encoding="utf-8").splitlines()]
        assert re.fullmatch(wanted, first), first
        assert others == ([] if action == "drop" else ["to be or not"])
    dropped = json.loads((files / "drop/clean/drops.json").read_text())["dropped"]
    assert dropped == {"private data (address)": 1}


def test_a_folder_of_others_tags_too(files: Path, encoder: Path) -> None:
    run = finetune(files, encoder, "tag", train=files / "train.conll", dev=files / "dev.conll")
    (files / "new.jsonl").write_text(json.dumps({"tokens": LONG.split()}) + "\n")
    mine = predict(run / "model", files / "new.jsonl", files / "mine.jsonl")
    (run / "model" / "danlu.json").unlink()
    assert predict(run / "model", files / "new.jsonl", files / "theirs.jsonl") == mine
    config = json.loads((run / "model" / "config.json").read_text())
    names = ["O", "B-X", "[CLS]", "I-X", "[SEP]"]  # as some have them
    config |= {"id2label": dict(enumerate(names)), "label2id": {name: place for place, name in enumerate(names)}}
    (run / "model" / "config.json").write_text(json.dumps(config))
    (line,) = predict(run / "model", files / "new.jsonl", files / "odd.jsonl")
    assert set(line["prediction"]) <= set(names)
    assert "entities" not in line


def test_what_finetune_measures_is_what_its_predictions_say(files: Path, encoder: Path) -> None:
    two = [("话 说 天 下", "B-LOC I-LOC O O"), ("从 前 座 山", "O O B-PER I-PER")]
    (files / "two.conll").write_text(conll(two * 8), encoding="utf-8")
    run = finetune(files, encoder, "tag", steps=80, train=files / "two.conll", dev=files / "two.conll")
    said = json.loads((run / "dev.json").read_text())
    lines = [json.loads(line) for line in (run / "dev.predictions.jsonl").read_text().splitlines()]
    gold, predicted = [line["gold"] for line in lines], [line["prediction"] for line in lines]
    assert said["figures"] == overall(Entities().tally(gold, predicted))
    assert said["figures"]["micro.f1"] > 0.8
    for line in lines:
        read = Entities(strict=True)._read(line["prediction"], "BIO", "")
        assert [entity["type"] for entity in line["entities"]] == [
            kind for kind, _, _ in sorted(read, key=lambda e: e[1])
        ]


def batch_of(task: Tag, known: Known, examples: Any, reader: TextReader) -> Any:
    features = task.features(examples, known, reader)
    return collate([[each.as_example() for each in features]], widths=Widths(sum(each.size for each in features)))


def test_the_loss_and_its_gradients_are_those_of_transformers(files: Path, encoder: Path) -> None:
    task = Tag()
    dataset = load(Data(train=files / "train.conll", dev=files / "dev.conll"), task.form)
    known = task.know(dataset, begin(encoder, task.head, labels=1, seed=1).config)
    model = begin(encoder, task.head, labels=task.outputs(known), seed=1).draw().eval()
    save_model(model, files / "model", tokenizer=encoder, labels=known.labels)
    theirs = transformers.BertForTokenClassification.from_pretrained(files / "model").eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(files / "model")
    examples = dataset.splits["train"][:4]
    batch = batch_of(task, known, examples, TextReader.load(encoder, max_tokens=24))
    ours = task.losses(model, batch, known)["tag"]
    ours.backward()
    total = torch.zeros(())
    for each in examples:
        read = tokenizer(list(each.tokens), is_split_into_words=True, return_tensors="pt")
        ids = read.word_ids()
        first = [word is not None and word != before for word, before in zip(ids, [None, *ids], strict=False)]
        targets = [known.labels.index(each.tags[word]) if new else IGNORE for word, new in zip(ids, first, strict=True)]
        total = total + theirs(**read, labels=torch.tensor([targets])).loss * len(each.tokens)
    total.backward()
    torch.testing.assert_close(ours, total)
    assert batch.counts == {"tag": sum(len(each.tokens) for each in examples)}
    torch.testing.assert_close(model.head.out.weight.grad, theirs.classifier.weight.grad)
    torch.testing.assert_close(model.embedding.weight.grad, theirs.bert.embeddings.word_embeddings.weight.grad)


def test_words_without_a_token_are_outside(files: Path, encoder: Path) -> None:
    (files / "new.jsonl").write_text(json.dumps({"tokens": ["Anna", "\u0081", "\u0081", "was"]}) + "\n")
    run = finetune(files, encoder, "tag", train=files / "train.conll", dev=files / "dev.conll")
    (line,) = predict(run / "model", files / "new.jsonl", files / "out.jsonl")
    assert len(line["prediction"]) == 4
    assert line["prediction"][1:3] == ["O", "O"]


@pytest.mark.parametrize("name", ["new.csv", "new.txt", "new.jsonl"])
def test_running_text_is_tagged_where_it_stands(files: Path, encoder: Path, name: str) -> None:
    texts = ["Once upon a time, there  was a question.", "话说天下大势，从前有座山。"]
    content = {
        "new.csv": "text\n" + "".join(f'"{text}"\n' for text in texts),
        "new.txt": "".join(f"{text}\n" for text in texts),
        "new.jsonl": "".join(json.dumps({"text": text}) + "\n" for text in texts),
    }
    (files / name).write_text(content[name], encoding="utf-8")
    run = finetune(files, encoder, "tag", train=files / "train.conll", dev=files / "dev.conll")
    lines = predict(run / "model", files / name, files / "out.jsonl")
    assert [line["texts"] for line in lines] == [[text] for text in texts]
    assert lines[0]["words"] == ["Once", "upon", "a", "time", ",", "there", "was", "a", "question", "."]
    assert lines[1]["words"] == list(texts[1])


def test_parts_of_speech_are_scored_token_by_token(files: Path, encoder: Path) -> None:
    rows = [{"tokens": ["that", "is", "the", "question"], "pos": ["PRON", "VERB", "DET", "NOUN"]},
            {"tokens": ["there", "was", "a", "time"], "pos": ["PRON", "VERB", "DET", "NOUN"]}]  # fmt: skip
    (files / "pos.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows * 4))
    run = finetune(files, encoder, "tag", train=files / "pos.jsonl", dev=files / "pos.jsonl")
    lines = [json.loads(line) for line in (run / "dev.predictions.jsonl").read_text().splitlines()]
    gold, predicted = [line["gold"] for line in lines], [line["prediction"] for line in lines]
    said = json.loads((run / "dev.json").read_text())
    assert said["figures"] == overall(TokenLabels().tally(gold, predicted))
    assert "entities" not in lines[0]


def test_chinese_is_cut_into_words(files: Path, encoder: Path) -> None:
    (files / "cut.txt").write_text("话说 天下 大势\n从前 有 座 山 。\n" * 8, encoding="utf-8")
    run = finetune(files, encoder, "segment", steps=20, train=files / "cut.txt", dev=files / "cut.txt")
    assert json.loads((run / "dev.json").read_text())["figures"]["f1"] > 0.8
    (files / "new.txt").write_text("话说天下大势\n" + "从前有座山。" * 9 + "\n", encoding="utf-8")
    lines = predict(run / "model", files / "new.txt", files / "out.jsonl")
    assert lines[0]["prediction"] == ["话说", "天下", "大势"]
    assert "".join(lines[1]["prediction"]) == "从前有座山。" * 9


def test_any_tags_make_words() -> None:
    assert words("abcde", "MMSEB") == ("ab", "c", "d", "e")
    assert words("abcde", "BMEBE") == ("abc", "de")
    assert Segment().criterion == "f1"


@pytest.mark.parametrize(
    ("task", "setting", "reason"),
    [
        ("{use: tag, stride: 10}", "", "task.stride must be below 10, half of what a window of 24 tokens"),
        ("{use: tag, cut: tail}", "", "finetune.task.cut: tail is for tasks that read a part of a text"),
        ("tag", "labels: [B-PER, I-PER, B-LOC, I-LOC, PER, O]", "data.labels: 'PER' is none of BIO"),
        ("{use: tag, stride: -1}", "", "finetune.task.stride must be at least 0; got -1"),
    ],
)
def test_bad_settings_are_told_in_one_line(
    files: Path, encoder: Path, capsys: pytest.CaptureFixture[str], task: str, setting: str, reason: str
) -> None:
    name = setting.partition(":")[0]
    data = f"{{train: {files / 'train.conll'}, dev: {files / 'dev.conll'}{f', {setting}' if name == 'labels' else ''}}}"
    (files / "r.yaml").write_text(f"""
finetune:
  data: {data}
  model: {encoder}
  task: {task}
  {"" if name == "labels" else setting}
""")
    assert main(["finetune", str(files / "r.yaml")]) != 0
    said = capsys.readouterr().err.splitlines()[-1]
    assert reason in said
    assert not (files / "runs" / "r" / "finetune" / "model").exists()


def test_tags_that_can_make_no_sentence_are_refused(
    tmp_path: Path, encoder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "train.conll").write_text("a\tB-X\nb\tE-X\n\n" * 8)
    (tmp_path / "r.yaml").write_text(f"""
finetune:
  data: {{train: {tmp_path / "train.conll"}, dev: {tmp_path / "train.conll"}, labels: [B-X, I-X, E-X]}}
  model: {encoder}
  task: tag
""")
    assert main(["finetune", str(tmp_path / "r.yaml")]) != 0
    assert "BIOES allows no sentence of B-X, I-X, E-X" in capsys.readouterr().err


CHINESE = [
    ("话说 天下 大势 ， 从前 有 座山 。", "O B-LOC I-LOC O O O B-ORG O"),
    ("从前 天下 question 有 山", "O B-LOC B-PER O O"),
]


@pytest.mark.parametrize("scheme", ["BIO", "BIOES"])
def test_words_of_chinese_are_learned_said_and_measured_as_characters(
    scheme: str, files: Path, encoder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sentences = CHINESE
    if scheme == "BIOES":
        sentences = [(CHINESE[0][0], "O B-LOC E-LOC O O O S-ORG O"), (CHINESE[1][0], "O S-LOC S-PER O O")]
    (files / "zh.conll").write_text(conll(sentences * 8), encoding="utf-8")
    (files / "zh_dev.conll").write_text(conll(sentences), encoding="utf-8")
    said: dict[str, Any] = {"train": files / "zh.conll", "dev": files / "zh_dev.conll"}
    run = finetune(files, encoder, "{use: tag, characters: true}", steps=60, lr=0.02, **said)
    assert "117 words are 180 characters of Chinese, other words and marks" in capsys.readouterr().out
    inside, end, single = "IIB" if scheme == "BIO" else "IES"
    golds = [
        ["O", "O", "B-LOC", *[f"{inside}-LOC"] * 2, f"{end}-LOC", *"OOOO", "B-ORG", f"{end}-ORG", "O"],
        ["O", "O", "B-LOC", f"{end}-LOC", f"{single}-PER", "O", "O"],
    ]
    tokens = [list("话说天下大势，从前有座山。"), [*"从前天下", "question", *"有山"]]
    lines = [json.loads(line) for line in (run / "dev.predictions.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [line["gold"] for line in lines] == golds and [line["words"] for line in lines] == tokens
    figures = json.loads((run / "dev.json").read_text())["figures"]
    wanted = overall(Entities(scheme=scheme).tally(golds, [line["prediction"] for line in lines]))  # type: ignore[arg-type]
    assert figures["micro.f1"] == pytest.approx(wanted["micro.f1"]) and figures["micro.f1"] > 0.5
    again = predict(run / "model", files / "zh_dev.conll", files / "zh.jsonl")
    assert [line["prediction"] for line in again] == [line["prediction"] for line in lines]
    assert [line["gold"] for line in again] == golds
    (files / "new.txt").write_text("话说天下大势，从前有座山。\n", encoding="utf-8")
    (raw,) = predict(run / "model", files / "new.txt", files / "raw.jsonl")
    assert raw["words"] == tokens[0] and raw["prediction"] == lines[0]["prediction"]
    assert all(raw["texts"][0][each["start"] : each["end"]] == each["text"] for each in raw["entities"])


def test_characters_that_cannot_be_are_refused(files: Path, encoder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = files / "zh.conll"
    file.write_text(conll([("天下 有 山", "B-LOC O O"), ("从前 有 天下", "O O B-LOC")]), encoding="utf-8")
    (files / "r.yaml").write_text(
        f"finetune:\n  data: {{train: {file}, dev: {file}, labels: [O, B-LOC]}}\n  model: {encoder}\n"
        "  task: {use: tag, characters: true}\n"
    )
    assert main(["finetune", str(files / "r.yaml")]) == 2
    assert "finetune.data.labels: 'I-LOC' is missing, which characters of a word have" in capsys.readouterr().err
    assert main(["finetune", str(files / "r.yaml"), "finetune.task.use=segment"]) == 2
    assert "finetune.task.characters: cannot be set" in " ".join(capsys.readouterr().err.split())
