"""Distillation of what a teacher makes of pairs, against transformers' BertForPreTraining in float64."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from paired import CLS, SIZE, VOCABULARY, sentences_of, whole
from taught import bert
from torch import Tensor
from transformers import BertConfig, BertForPreTraining

from danlu.corpus.batches import IGNORE, Batch, Example, collate
from danlu.corpus.rows import Piece, Widths
from danlu.errors import RecipeError
from danlu.nn.hf.folder import load_config, load_model
from danlu.nn.transformer import Transformer
from danlu.objectives.distil import Distil
from danlu.objectives.mlm import MaskedLM
from danlu.objectives.pairs import NextSentence, Pairs, SentenceOrder
from danlu.objectives.protocol import total_loss

LENGTH = 130


def save(folder: Path, *, dim: int, layers: int, seed: int) -> Any:
    """A model of transformers with both heads, whose pairs are told apart, in ``folder`` too."""
    torch.manual_seed(seed)
    config = BertConfig(vocab_size=SIZE, hidden_size=dim, num_hidden_layers=layers, num_attention_heads=dim // 8,
                        intermediate_size=40, max_position_embeddings=LENGTH, initializer_range=0.3,
                        hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)  # fmt: skip
    model: Any = BertForPreTraining(config)
    model.save_pretrained(folder)
    return model.double().eval()


@pytest.fixture
def stock(tmp_path: Path) -> dict[str, Any]:
    sizes = {"student": (16, 2), "teacher": (32, 4)}
    return {
        name: save(tmp_path / name, dim=dim, layers=layers, seed=seed)
        for seed, (name, (dim, layers)) in enumerate(sizes.items())
    }


@pytest.fixture
def student(stock: dict[str, Any], tmp_path: Path) -> Transformer:
    return load_model(tmp_path / "student", dtype=torch.float64)


def unlabelled() -> Piece:
    """Two tokens, of which nothing but what they stand for says which was the first."""
    store = sentences_of(2)
    return Piece(store, 0, np.asarray(store.tokens, dtype=np.int64))


def examples(distil: Distil, *documents: int | None) -> list[Example]:
    """One of each document, and of None one without a label."""
    pieces = [unlabelled() if number is None else whole(number) for number in documents]
    return [
        distil.example(piece, vocabulary=VOCABULARY, noise=np.random.default_rng(seed))
        for seed, piece in enumerate(pieces)
    ]


def rows(made: list[Example]) -> Batch:
    return collate([[one] for one in made], widths=Widths(LENGTH))


def read_by(model: Any, batch: Batch) -> Any:
    real = (batch.inputs["segments"] >= 0).long()
    return model(input_ids=batch.inputs["tokens"], token_type_ids=batch.inputs["types"], attention_mask=real)


def divergence(mine: Tensor, theirs: Tensor, temperature: float) -> Tensor:
    """Hinton's, in sum."""
    wanted = F.softmax(theirs.detach() / temperature, -1)
    return F.kl_div(F.log_softmax(mine / temperature, -1), wanted, reduction="sum") * temperature**2


def same_gradients(ours: Tensor, student: Transformer, theirs: Tensor, stock: Any) -> None:
    """And values, of all that leads to the pairs."""
    torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=0)
    of_ours = (student.embedding.weight, student.head.pair.transform.dense.weight, student.head.pair.out.bias)
    bert = stock.bert
    of_theirs = (bert.embeddings.word_embeddings.weight, bert.pooler.dense.weight, stock.cls.seq_relationship.bias)
    wanted = torch.autograd.grad(theirs, of_theirs)
    for mine, other in zip(torch.autograd.grad(ours, of_ours), wanted, strict=True):
        assert float(other.abs().max()) > 1e-4
        torch.testing.assert_close(mine, other, rtol=0, atol=1e-10 * float(other.abs().max()))


@pytest.mark.parametrize("of", [NextSentence(), SentenceOrder()], ids=lambda of: type(of).__name__)
@pytest.mark.parametrize("temperature", [1.0, 3.0])
def test_what_a_teacher_makes_of_pairs_is_learned_as_by_hinton(
    of: Pairs, temperature: float, stock: dict[str, Any], student: Transformer, tmp_path: Path
) -> None:
    distil = Distil(teacher=tmp_path / "teacher", of=of, temperature=temperature)
    batch = rows(examples(distil, 0, 1, 4))
    losses = distil.prepare(student.config, dtype=torch.float64, seed=1).losses(student, batch)
    assert losses.keys() == batch.counts.keys() == {"words", "pairs", "logits", "pair_logits"}
    assert batch.counts["pair_logits"] == batch.counts["pairs"] == 3
    mine, theirs = (read_by(stock[name], batch).seq_relationship_logits for name in ("student", "teacher"))
    same_gradients(losses["pair_logits"], student, divergence(mine, theirs, temperature), stock["student"])


def test_the_sum_is_that_of_bert_and_of_both_divergences(
    stock: dict[str, Any], student: Transformer, tmp_path: Path
) -> None:
    of = NextSentence(pair_weight=3.0)
    distil = Distil(teacher=tmp_path / "teacher", of=of, own=2.0, logits=5.0, pair_logits=0.5)
    batch = rows(examples(distil, 0, 1, 3, 4))
    lesson = distil.prepare(student.config, dtype=torch.float64, seed=1)
    ours = total_loss(lesson, lesson.losses(student, batch), batch.counts)
    mine, theirs = (read_by(stock[name], batch) for name in ("student", "teacher"))
    hidden, labels = batch.targets["words"], batch.targets["pairs"][:, 0]
    words = F.cross_entropy(mine.prediction_logits.flatten(0, 1), hidden.flatten(), ignore_index=IGNORE)
    pairs = F.cross_entropy(mine.seq_relationship_logits, labels)
    chosen = hidden != IGNORE
    soft = divergence(mine.prediction_logits[chosen], theirs.prediction_logits[chosen], 2.0) / int(chosen.sum())
    soft_pairs = divergence(mine.seq_relationship_logits, theirs.seq_relationship_logits, 2.0) / 4
    expected = 2.0 * (words + 3.0 * pairs) + 5.0 * (soft + 0.5 * 3.0 * soft_pairs)
    same_gradients(ours, student, expected, stock["student"])


def test_a_pair_without_a_label_has_a_teacher_too(stock: dict[str, Any], student: Transformer, tmp_path: Path) -> None:
    distil = Distil(teacher=tmp_path / "teacher", of=SentenceOrder())
    batch = rows(examples(distil, None, 0, None))
    assert (batch.targets["pairs"][:, 0] != IGNORE).tolist() == [False, True, False]
    assert batch.counts["pairs"] == 1 and batch.counts["pair_logits"] == 3
    losses = distil.prepare(student.config, dtype=torch.float64, seed=1).losses(student, batch)
    mine, theirs = (read_by(stock[name], batch).seq_relationship_logits for name in ("student", "teacher"))
    torch.testing.assert_close(losses["pair_logits"], divergence(mine, theirs, 2.0), rtol=1e-10, atol=0)


def test_packed_pairs_cost_what_they_cost_alone(student: Transformer, stock: dict[str, Any], tmp_path: Path) -> None:
    distil = Distil(teacher=tmp_path / "teacher", of=SentenceOrder())
    made = examples(distil, 3, None, 1)
    lesson = distil.prepare(student.config, dtype=torch.float64, seed=1)
    packed = collate([made], widths=Widths(LENGTH))
    together = lesson.losses(student, packed)["pair_logits"]
    scored = packed.targets["pair_logits"] != IGNORE
    assert int(scored.sum()) == 3 and bool((packed.inputs["tokens"][scored] == CLS).all())
    alone = [lesson.losses(student, rows([one]))["pair_logits"] for one in made]
    assert together.item() > 1e-3
    torch.testing.assert_close(together, torch.stack(alone).sum(), rtol=1e-9, atol=0)


def test_who_is_the_teacher_has_nothing_to_learn_of_pairs(stock: dict[str, Any], tmp_path: Path) -> None:
    teacher = load_model(tmp_path / "teacher", dtype=torch.float64)
    distil = Distil(teacher=tmp_path / "teacher", of=NextSentence())
    lesson = distil.prepare(teacher.config, dtype=torch.float64, seed=1)
    losses = lesson.losses(teacher, rows(examples(distil, 0, 1, 4)))
    assert losses["pairs"].item() > 0.1 and abs(losses["pair_logits"].item()) < 1e-12


def test_a_teacher_that_tells_no_pairs_apart(student: Transformer, tmp_path: Path) -> None:
    """It is refused with what lets it teach what it knows."""
    bert(32, 4, vocab_size=SIZE, max_position_embeddings=LENGTH).save_pretrained(tmp_path / "words")
    with pytest.raises(RecipeError) as refused:
        Distil(teacher=tmp_path / "words", of=NextSentence()).prepare(student.config, dtype=torch.float64, seed=1)
    assert str(refused.value) == (
        f"objective.pair_logits needs a teacher that tells pairs apart; {tmp_path / 'words'} has no such head: "
        "set it to 0 to learn its tokens alone"
    )
    distil = Distil(teacher=tmp_path / "words", of=NextSentence(), pair_logits=0.0)
    batch = rows(examples(distil, 0, 1))
    losses = distil.prepare(student.config, dtype=torch.float64, seed=1).losses(student, batch)
    assert losses.keys() == batch.counts.keys() == {"words", "pairs", "logits"}


@pytest.mark.parametrize("settings", [
    {"logits": 0.0, "hidden": 1.0, "of": NextSentence()},
    {"of": NextSentence(pair_weight=0.0)},
    {"of": MaskedLM()},
])  # fmt: skip
def test_a_teacher_of_words_alone_is_enough_where_no_pair_is_learned_from_it(
    settings: dict[str, Any], student: Transformer, tmp_path: Path
) -> None:
    bert(16, 2, vocab_size=SIZE, max_position_embeddings=LENGTH).save_pretrained(tmp_path / "words")
    distil = Distil(teacher=tmp_path / "words", **settings)
    losses = distil.prepare(student.config, dtype=torch.float64, seed=1).losses(student, rows(examples(distil, 0, 1)))
    assert "pair_logits" not in losses and "words" in losses
    assert load_config(tmp_path / "words").head != student.config.head
