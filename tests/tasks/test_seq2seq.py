from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sacrebleu
import tokenizers
import torch
import transformers

from danlu.cli import main
from danlu.corpus.batches import collate
from danlu.corpus.rows import Widths
from danlu.data.dataset import Data, load
from danlu.data.generated import GENERATE
from danlu.errors import RecipeError
from danlu.nn.hf.folder import load_config, load_model
from danlu.tasks.seq2seq import Keywords, Seq2Seq
from danlu.tasks.task import Known
from danlu.tasks.text_reader import TextReader
from danlu.tokenizers.tokenizer import Tokenizer

PREFIX = "say: "
PAIRS = [(f"once {number} there", f"话说 {number}" + "。" * (number % 3)) for number in range(10)]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "pairs.jsonl"
    path.write_text("".join(json.dumps({"source": one, "target": two}) + "\n" for one, two in PAIRS))
    return path


def _features(folder: Path, file: Path, task: Seq2Seq, max_tokens: int = 64) -> Any:
    examples = load(Data(train=file, dev=file), GENERATE).splits["train"]
    return task.features(examples, Known(), TextReader.load(folder, max_tokens=max_tokens, cut=task.cut))


def _batch(features: Any) -> Any:
    source = sum(0 if each.source is None else len(each.source) for each in features)
    widths = Widths(sum(len(each.tokens) for each in features), source)
    return collate([[each.as_example() for each in features]], widths=widths)


def test_the_loss_is_that_of_transformers(answerer: Path, file: Path) -> None:
    task = Seq2Seq(prefix=PREFIX)
    ours, batch = load_model(answerer), _batch(_features(answerer, file, task))
    tokenizer = transformers.AutoTokenizer.from_pretrained(answerer)
    theirs = transformers.AutoModelForSeq2SeqLM.from_pretrained(answerer, dtype=torch.float32)
    wanted, tokens = [], 0
    with torch.no_grad():
        for source, target in PAIRS:
            ids = torch.tensor([[*tokenizer(PREFIX + source).input_ids, 0]])  # the fixture's tokenizer ends no text
            labels = torch.tensor([[*tokenizer(target).input_ids, 0]])
            wanted.append(theirs(ids, labels=labels).loss.item() * labels.numel())
            tokens += labels.numel()
        total = task.losses(ours, batch, Known())["words"].item()
        nats = [each[0].item() for each in task.numbers(ours, batch, Known())]
    assert batch.counts == {"words": tokens}
    np.testing.assert_allclose(nats, wanted, rtol=1e-4)
    assert total == pytest.approx(sum(wanted), rel=1e-5)


def test_texts_have_the_frame_of_the_tokenizer_on_both_sides(answerer: Path, file: Path) -> None:
    """As BART's, whose answers begin with a token of their own."""
    inner = tokenizers.Tokenizer.from_file(str(answerer / "tokenizer.json"))
    inner.post_processor = tokenizers.processors.TemplateProcessing(
        single="<|end|> $A <|end|>", special_tokens=[("<|end|>", 0)]
    )
    inner.save(str(answerer / "tokenizer.json"))
    tokenizer = transformers.AutoTokenizer.from_pretrained(answerer)
    features = _features(answerer, file, Seq2Seq(prefix=PREFIX))
    for feature, (source, target) in zip(features, PAIRS, strict=True):
        assert feature.source.tolist() == tokenizer(PREFIX + source).input_ids
        assert feature.targets["words"].tolist() == tokenizer(target).input_ids
        assert feature.tokens.tolist() == [0, *tokenizer(target).input_ids[:-1]]


def test_a_decoder_is_scored_on_answers_only(decoder: Path, file: Path) -> None:
    task = Seq2Seq(prefix=PREFIX, answer_tokens=30)
    ours, batch = load_model(decoder), _batch(_features(decoder, file, task))
    tokenizer = transformers.AutoTokenizer.from_pretrained(decoder)
    theirs = transformers.AutoModelForCausalLM.from_pretrained(decoder, dtype=torch.float32)
    wanted = []
    with torch.no_grad():
        for source, target in PAIRS:
            asked = tokenizer(f"{PREFIX}{source}\n").input_ids
            said = [*tokenizer(target).input_ids, 0]
            labels = torch.tensor([[-100] * len(asked) + said])
            wanted.append(theirs(torch.tensor([asked + said]), labels=labels).loss.item() * len(said))
        nats = [each[0].item() for each in task.numbers(ours, batch, Known())]
    np.testing.assert_allclose(nats, wanted, rtol=1e-4)


def test_label_smoothing_is_that_of_torch(answerer: Path, file: Path) -> None:
    batch = _batch(_features(answerer, file, Seq2Seq()))
    model = load_model(answerer)
    with torch.no_grad():
        hidden = model(
            batch.inputs["tokens"], segments=batch.inputs["segments"],
            memory=model.encode(batch.source["tokens"], segments=batch.source["segments"]),
        )  # fmt: skip
        logits, targets = model.head(hidden)[0], batch.targets["words"][0]
        wanted = torch.nn.functional.cross_entropy(logits, targets, label_smoothing=0.2, reduction="sum")
        plain = torch.nn.functional.cross_entropy(logits, targets, reduction="sum")
        task = Seq2Seq(label_smoothing=0.2)
        torch.testing.assert_close(task.losses(model, batch, Known())["words"], plain)  # dev is measured without
        model.training = True  # of the model alone: its layers would drop some numbers
        torch.testing.assert_close(task.losses(model, batch, Known())["words"], wanted, rtol=1e-4, atol=0)


@pytest.mark.parametrize(("cut", "kept"), [("head", "say: 0123\n"), ("tail", "say: 6789\n"), ("middle", "say: 0789\n")])
def test_long_sources_are_cut_and_the_prefix_stays(decoder: Path, tmp_path: Path, cut: Any, kept: str) -> None:
    path = tmp_path / "long.jsonl"
    path.write_text(json.dumps({"source": "0123456789", "target": "b"}) + "\n")
    tokenizer = transformers.AutoTokenizer.from_pretrained(decoder)
    assert len(tokenizer("0123456789").input_ids) == 10
    room = len(tokenizer(kept).input_ids)
    (feature,) = _features(decoder, path, Seq2Seq(prefix=PREFIX, cut=cut), max_tokens=room)
    asked = feature.tokens[: (feature.targets["words"] == -100).sum() + 1]
    assert tokenizer.decode(asked) == kept
    with pytest.raises(RecipeError, match=r"^finetune\.task\.max_tokens 8 has no room for a source behind the prefix"):
        _features(decoder, path, Seq2Seq(prefix=PREFIX * 3, cut=cut), max_tokens=8)


def _run(tmp_path: Path, folder: Path, file: Path, task: str) -> Path | None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(
        f"run_dir: {tmp_path / 'run'}\n"
        f"finetune:\n  data: {{train: {file}, dev: {file}}}\n  model: {folder}\n  task: {task}\n"
        "  budget: {steps: 6}\n  batch: 4\n  precision: fp32\n  evaluations: 2\n"
    )
    return None if main(["finetune", str(recipe)]) else tmp_path / "run" / "finetune"


def test_from_a_file_to_answers(answerer: Path, file: Path, tmp_path: Path) -> None:
    search = "{use: beam, beams: 2}"
    task = (
        f"{{use: seq2seq, answer_tokens: 8, sample: 3, search: {search}, metrics: [chrf, {{use: bleu, language: zh}}]}}"
    )
    out = _run(tmp_path, answerer, file, task)
    assert out is not None
    said = [json.loads(line) for line in (out / "dev.predictions.jsonl").read_text().splitlines()]
    theirs = transformers.AutoModelForSeq2SeqLM.from_pretrained(out / "model", dtype=torch.float32)
    tokenizer = transformers.AutoTokenizer.from_pretrained(out / "model")
    for line, (source, _) in zip(said, PAIRS, strict=True):
        ids = torch.tensor([[*tokenizer(source).input_ids, 0]])
        written = theirs.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=8, num_beams=2)
        assert line["prediction"] == tokenizer.decode(written[0], skip_special_tokens=True).strip()
    figures = json.loads((out / "dev.json").read_text())
    answers = [line["prediction"] for line in said]
    golds = [[target for _, target in PAIRS]]
    assert figures["figures"]["chrf"] == pytest.approx(sacrebleu.corpus_chrf(answers, golds).score)
    assert figures["figures"]["bleu"] == pytest.approx(sacrebleu.corpus_bleu(answers, golds, tokenize="zh").score)
    assert "tok:zh" in figures["notes"]["bleu.signature"]
    to = tmp_path / "said.jsonl"
    assert main(["predict", str(out / "model"), str(file), "--out", str(to), "--dtype", "float32"]) == 0
    assert [json.loads(line)["prediction"] for line in to.read_text().splitlines()] == answers


def test_a_decoder_writes_what_transformers_writes(decoder: Path, file: Path, tmp_path: Path) -> None:
    out = _run(tmp_path, decoder, file, "{use: seq2seq, max_tokens: 40, answer_tokens: 8}")
    assert out is not None
    said = [json.loads(line)["prediction"] for line in (out / "dev.predictions.jsonl").read_text().splitlines()]
    theirs = transformers.AutoModelForCausalLM.from_pretrained(out / "model", dtype=torch.float32)
    tokenizer = transformers.AutoTokenizer.from_pretrained(out / "model")
    for answer, (source, _) in zip(said, PAIRS, strict=True):
        ids = torch.tensor([tokenizer(f"{source}\n").input_ids])
        written = theirs.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=8, do_sample=False)
        assert answer == tokenizer.decode(written[0, ids.shape[1] :], skip_special_tokens=True).strip()


def test_a_source_is_encoded_once_for_its_answer(answerer: Path, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    encoded: list[str] = []
    batch, alone = Tokenizer.encode_batch, Tokenizer.encode

    def told_batch(self: Tokenizer, texts: list[str]) -> list[list[int]]:
        encoded.extend(texts)
        return batch(self, texts)

    def told_alone(self: Tokenizer, text: str) -> list[int]:
        encoded.append(text)
        return alone(self, text)

    monkeypatch.setattr(Tokenizer, "encode_batch", told_batch)
    monkeypatch.setattr(Tokenizer, "encode", told_alone)
    long = json.dumps({"source": "to be " * 20, "target": "b"}) + "\n"
    file.write_text(file.read_text() + long)
    examples = load(Data(train=file, dev=file), GENERATE).splits["train"]
    reader = TextReader.load(answerer, max_tokens=40)
    answers = Seq2Seq(prefix=PREFIX, answer_tokens=4).write(load_model(answerer), examples, reader)
    assert [each.cut for each in answers] == [False] * len(PAIRS) + [True]
    assert encoded[: len(PAIRS)] == [f"{PREFIX}{source}" for source, _ in PAIRS]
    assert all("to be" in text for text in encoded[len(PAIRS) :])  # what is cut is measured before and behind


def test_a_decoder_reads_what_the_answer_leaves(decoder: Path, file: Path, tmp_path: Path) -> None:
    file.write_text("".join(json.dumps({"source": "to be " * 60 + str(n), "target": "话说"}) + "\n" for n in range(4)))
    out = _run(tmp_path, decoder, file, "{use: seq2seq, answer_tokens: 20}")
    assert out is not None
    assert json.loads((out / "model/danlu.json").read_text())["max_tokens"] == 96 - 20


def test_keywords_are_lists(answerer: Path, tmp_path: Path) -> None:
    path = tmp_path / "keywords.jsonl"
    rows = [{"text": f"once {number}", "keywords": ["话说", f"to be {number}"]} for number in range(6)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    out = _run(tmp_path, answerer, path, "{use: keywords, answer_tokens: 8}")
    assert out is not None
    assert {"samples.f1", "micro.f1"} <= json.loads((out / "dev.json").read_text())["figures"].keys()
    assert Keywords().value(" a; b;a ;; c d ") == ["a", "b", "c d"]


def test_what_does_not_fit_is_told(
    decoder: Path, encoder: Path, file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _run(tmp_path, decoder, file, "seq2seq") is None
    assert "answer_tokens (256) must be below 96, which the model sees" in capsys.readouterr().err
    assert _run(tmp_path, decoder, file, "{use: seq2seq, max_tokens: 60, answer_tokens: 40}") is None
    assert "max_tokens (60, of what is read) and finetune.task.answer_tokens (40) together" in capsys.readouterr().err
    assert _run(tmp_path, encoder, file, "seq2seq") is None
    assert "needs a decoder, with an encoder or without, with a language-model head" in capsys.readouterr().err
    assert _run(tmp_path, decoder, file, "{use: seq2seq, metrics: []}") is None
    assert "metrics must name one at least" in capsys.readouterr().err
    assert load_config(decoder).max_length == 96
