"""The held-out loss of the recipe's own objective, against transformers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from transformers import BertForPreTraining, T5ForConditionalGeneration

from danlu.corpus.batches import IGNORE, Batch
from danlu.corpus.marks import SENTENCE
from danlu.corpus.store import TokenStore
from danlu.corpus.store_writer import StoreWriter
from danlu.errors import InputError, RecipeError
from danlu.evaluate import objective as module
from danlu.evaluate.objective import OwnObjective, tally
from danlu.evaluate.perplexity import Perplexity
from danlu.evaluate.protocol import Subject
from danlu.evaluate.stage import Evaluate
from danlu.files import read_json
from danlu.nn.config import TransformerConfig
from danlu.nn.families import T5, Bert
from danlu.nn.hf.folder import find_family, save_model
from danlu.nn.hf.token_ids import decoder_start
from danlu.nn.transformer import Transformer
from danlu.objectives.mlm import MaskedLM
from danlu.objectives.pairs import SentenceOrder
from danlu.objectives.protocol import Lesson, Objective, Shape
from danlu.objectives.span_corruption import SpanCorruption
from danlu.recipe import Recipe
from danlu.stage import Job
from danlu.text.document import Document
from danlu.tokenizers.tokenizer import Tokenizer
from danlu.tokenizers.vocabulary import Vocabulary
from danlu.tokenizers.wordpiece import WordPiece
from danlu.train.pretrain import Pretrain

TEXTS = [
    ("en", "the old man sat by the river and waited"),
    ("zh", "老人坐在河边等着天黑"),
    ("en", "nobody came back"),
] * 6
LENGTH = 32


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return WordPiece(vocab_size=400).train([text for _, text in TEXTS])


def write_store(folder: Path, tokenizer: Tokenizer, texts: list[tuple[str, str]]) -> TokenStore:
    with StoreWriter(
        folder, vocab_size=tokenizer.vocab_size, eot=tokenizer.eot, tokenizer=tokenizer.identity, marks=["sentences"]
    ) as writer:
        for number, (language, text) in enumerate(texts):
            ids = tokenizer.encode(text)
            marks = np.where(np.arange(len(ids)) % 4 == 0, SENTENCE, 0).astype(np.uint8)
            writer.add(Document(str(number), text, {"language": language}), ids, marks)
    return TokenStore.open(folder)


def make_model(objective: Objective, vocab_size: int) -> Transformer:
    shape = Bert(layers=1, dim=32, heads=2).config(vocab_size=vocab_size, max_length=LENGTH)
    model = Transformer(objective.config(shape))
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for weight in model.parameters():
            weight.normal_(1.0 if weight.ndim == 1 else 0.0, 0.3, generator=generator)
    return model.eval()


def make_subject(folder: Path, tokenizer: Tokenizer, objective: Objective) -> Subject:
    store = write_store(folder / "heldout", tokenizer, TEXTS)
    training = Pretrain(model=Bert(layers=1, dim=32, heads=2), objective=objective, sequence=LENGTH)
    (folder / "out").mkdir()
    model = make_model(objective, tokenizer.vocab_size)
    return Subject(model, tokenizer, train=store, heldout=store, out=folder / "out", seed=4, training=training)


def test_words_and_pairs_by_language_are_those_of_transformers(tokenizer: Tokenizer, tmp_path: Path) -> None:
    objective = SentenceOrder(pair_weight=0.5, label_smoothing=0.3)  # smoothing is for training only
    subject = make_subject(tmp_path, tokenizer, objective)
    figures = OwnObjective(batch_tokens=70).measure(subject)
    save_model(subject.model, tmp_path / "model")
    stock: Any = BertForPreTraining.from_pretrained(tmp_path / "model").eval()
    rows = objective.reading.rows(subject.heldout, Shape(objective, LENGTH), seed=subject.seed)
    assert max(len(rows[number]) for number in range(rows.per_epoch)) > 1
    wanted: dict[str, dict[str, list[tuple[float, bool]]]] = {"en": {}, "zh": {}, "all": {}}
    for number in range(rows.per_epoch):
        noise = np.random.default_rng([subject.seed, number, 2])
        for piece in rows[number]:
            made = objective.example(piece, vocabulary=Vocabulary.of(tokenizer), noise=noise)
            tokens, types = (torch.from_numpy(made.inputs[name])[None] for name in ("tokens", "types"))
            with torch.no_grad():
                out = stock(input_ids=tokens, token_type_ids=types)
            scores = {"words": out.prediction_logits[0], "pairs": out.seq_relationship_logits}
            for name, logits in scores.items():
                targets = torch.from_numpy(made.targets[name])
                targets = targets[targets != IGNORE]
                places = made.targets[name] != IGNORE if name == "words" else slice(len(targets))
                nats = F.cross_entropy(logits[places], targets, reduction="none")
                found = [*zip(nats.tolist(), (logits[places].argmax(-1) == targets).tolist(), strict=True)]
                for group in ("all", subject.heldout.documents[piece.document]["language"]):
                    wanted[group].setdefault(name, []).extend(found)
    for group, parts in wanted.items():
        means = {}
        for name, found in parts.items():
            means[name] = sum(nats for nats, _ in found) / len(found)
            assert figures[f"{group}.{name}.targets"] == len(found)
            assert figures[f"{group}.{name}.nats"] == pytest.approx(means[name], rel=1e-5)
            assert figures[f"{group}.{name}.accuracy"] == pytest.approx(
                sum(ok for _, ok in found) / len(found), abs=1e-6
            )
        assert figures[f"{group}.loss"] == pytest.approx(means["words"] + 0.5 * means["pairs"], rel=1e-5)
    assert 0 < figures["all.pairs.accuracy"] < 1
    summary = read_json(subject.out / "objective.json")
    assert summary is not None and summary["languages"]["zh"]["words.nats"] == figures["zh.words.nats"]
    assert summary["objective"]["use"] == "sop"


def test_of_two_sides_the_figures_are_those_of_transformers(tmp_path: Path) -> None:
    """T5: each document alone, whatever stands beside it in its row; a row is as long as what the encoder reads."""
    tokenizer = WordPiece(vocab_size=500, special=("t5",)).train([text for _, text in TEXTS])
    objective, store = SpanCorruption(), write_store(tmp_path / "heldout", tokenizer, TEXTS)
    family = T5(layers=1, dim=32, heads=2)
    model = Transformer(objective.config(family.config(vocab_size=tokenizer.vocab_size, max_length=LENGTH))).eval()
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for weight in model.parameters():
            weight.normal_(1.0 if weight.ndim == 1 else 0.0, 0.3, generator=generator)
    training = Pretrain(model=family, objective=objective, sequence=LENGTH)
    figures = OwnObjective().measure(Subject(model, tokenizer, store, store, tmp_path, seed=4, training=training))
    save_model(model, tmp_path / "model")
    stock: Any = T5ForConditionalGeneration.from_pretrained(tmp_path / "model", dtype=torch.float64).eval()
    rows = objective.reading.rows(store, Shape(objective, LENGTH), seed=4)
    assert max(len(rows[number]) for number in range(rows.per_epoch)) > 1
    known = Vocabulary.of(tokenizer)
    vocabulary = replace(known, roles={**known.roles, "start": decoder_start(find_family("t5"), known.roles)})
    nats, right = [], []
    for number in range(rows.per_epoch):
        noise = np.random.default_rng([4, number, 2])
        for piece in rows[number]:
            made = objective.example(piece, vocabulary=vocabulary, noise=noise)
            source, said, targets = (torch.from_numpy(each).long()[None] for each in
                                     (made.source["tokens"], made.inputs["tokens"], made.targets["words"]))  # fmt: skip
            with torch.no_grad():
                logits = stock(input_ids=source, decoder_input_ids=said).logits[0]
            nats += F.cross_entropy(logits, targets[0], reduction="none").tolist()
            right += (logits.argmax(-1) == targets[0]).tolist()
    assert figures["all.words.targets"] == len(nats)
    assert figures["all.words.nats"] == figures["all.loss"] == pytest.approx(np.mean(nats), rel=1e-5)
    assert figures["all.words.accuracy"] == pytest.approx(np.mean(right), abs=1e-6)
    assert (read_json(tmp_path / "objective.json") or {})["row_tokens"] == LENGTH


def test_what_the_tokenizer_does_not_know_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A tokenizer of English makes one token of every Chinese letter or word, which is cheap to foresee."""
    english = WordPiece(vocab_size=400).train([text for language, text in TEXTS if language == "en"])
    subject = make_subject(tmp_path, english, MaskedLM())
    figures = OwnObjective().measure(subject)
    counts = {language: [0, 0] for language in ("en", "zh")}
    for language, text in TEXTS:
        ids = english.encode(text)
        counts[language][0] += sum(id == english.unknown for id in ids)
        counts[language][1] += len(ids) + 1  # and its end
    shares = {language: unknown / tokens for language, (unknown, tokens) in counts.items()}
    assert shares["en"] == figures["en.unknown_share"] == 0
    assert shares["zh"] == pytest.approx(figures["zh.unknown_share"], abs=1e-6) and shares["zh"] > 0.5
    assert read_json(tmp_path / "out" / "objective.json")["all"]["unknown_share"] == figures["all.unknown_share"]
    said = " ".join(capsys.readouterr().out.split())
    assert said.count("held-out tokens stand for text that the tokenizer does not know") == 1


def test_the_figures_are_the_same_each_time(tokenizer: Tokenizer, tmp_path: Path) -> None:
    subject = make_subject(tmp_path, tokenizer, MaskedLM())
    first, again = OwnObjective().measure(subject), OwnObjective(batch_tokens=1).measure(subject)
    assert first == pytest.approx(again, rel=1e-5)


def test_an_encoder_is_measured_by_its_objective_unless_the_recipe_says_otherwise(
    tokenizer: Tokenizer, tmp_path: Path
) -> None:
    subject = make_subject(tmp_path, tokenizer, MaskedLM())
    tokenizer_folder = tmp_path / "tokenizer"
    tokenizer_folder.mkdir()
    tokenizer.save(tokenizer_folder)
    write_store(tmp_path / "pack" / "train", tokenizer, TEXTS)
    write_store(tmp_path / "pack" / "heldout", tokenizer, TEXTS)
    save_model(subject.model, tmp_path / "pretrain" / "model")
    assert subject.training is not None
    inputs = {name: tmp_path / name for name in Evaluate.needs}
    job = Job(Recipe("r", tmp_path, 4, {"pretrain": subject.training}), inputs, tmp_path / "out")
    assert Evaluate().run(job)["all.words.targets"] > 20
    with pytest.raises(RecipeError, match="perplexity is of models without an encoder; choose objective"):
        Evaluate(tasks=(Perplexity(),)).run(job)
    bare = Job(Recipe("r", tmp_path, 4, {"evaluate": Evaluate()}), inputs, tmp_path / "out")
    with pytest.raises(RecipeError, match="objective needs the section pretrain"):
        Evaluate().run(bare)


def test_no_held_out_documents_is_said(tokenizer: Tokenizer, tmp_path: Path) -> None:
    subject = make_subject(tmp_path, tokenizer, MaskedLM())
    empty = write_store(tmp_path / "empty", tokenizer, [])
    bare = Subject(
        subject.model, tokenizer, train=subject.train, heldout=empty, out=subject.out, seed=4, training=subject.training
    )
    with pytest.raises(InputError, match="needs held-out documents, and there are none"):
        OwnObjective().measure(bare)


def test_a_batch_goes_where_the_model_is() -> None:
    """The device without memory stands for a GPU."""
    seen: list[str] = []

    def losses(_: Transformer, batch: Batch) -> dict[str, torch.Tensor]:
        seen.extend(tensor.device.type for tensor in (batch.inputs["tokens"], batch.targets["words"]))
        return {}

    tokens_BT = torch.zeros(2, 4, dtype=torch.long)
    batch = Batch({"tokens": tokens_BT}, {"words": tokens_BT}, {"words": 8}, 8)
    tally(make_model(MaskedLM(), 20).to("meta"), cast(Any, SimpleNamespace(losses=losses)), batch)
    assert seen == ["meta"] * 2


def test_the_objectives_own_weights_are_where_the_model_is(
    tokenizer: Tokenizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The device without memory stands for a GPU: nothing can be computed there."""

    class SeenError(Exception):
        pass

    class Projected(MaskedLM):
        def prepare(self, config: TransformerConfig, *, dtype: torch.dtype, seed: int) -> Lesson:
            return cast(Any, SimpleNamespace(modules=torch.nn.Linear(2, 2)))

    def note(_: Transformer, lesson: Lesson, __: Batch) -> None:
        assert lesson.modules is not None
        raise SeenError([weight.device.type for weight in lesson.modules.parameters()])

    subject = make_subject(tmp_path, tokenizer, Projected())
    monkeypatch.setattr(module, "tally", note)
    with pytest.raises(SeenError, match=r"^\['meta', 'meta'\]$"):
        OwnObjective().measure(replace(subject, model=subject.model.to("meta")))
