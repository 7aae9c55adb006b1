"""Pairs of sentences against transformers' BERT, and where both of their sides come from, in both languages."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from paired import (
    ABOUT,
    EOT,
    LANGUAGES,
    SENTENCES,
    SIZE,
    SPECIAL,
    STORE,
    TEXTS,
    VOCABULARY,
    sentences_of,
    sides,
    whole,
)
from transformers import BertConfig, BertForPreTraining

from danlu.corpus.batches import IGNORE, Example, collate
from danlu.corpus.marks import SENTENCE, WORD
from danlu.corpus.rows import Ints, Piece, Widths
from danlu.corpus.store import TokenStore
from danlu.errors import InputError, RecipeError
from danlu.nn.families import GPT, Bert
from danlu.nn.hf.folder import load_model
from danlu.nn.transformer import Transformer
from danlu.objectives.masking import Words
from danlu.objectives.pairs import NextSentence, Pairs, SentenceOrder, text_of
from danlu.objectives.protocol import total_loss


def document_of(token: int) -> int:
    return int(np.searchsorted(STORE.starts, token - SPECIAL + 1) - 1)


def many(objective: Pairs, document: int, count: int = 60) -> list[tuple[Ints, Ints, int]]:
    piece, known = whole(document), {"vocabulary": VOCABULARY}
    made = [objective.example(piece, **known, noise=np.random.default_rng(seed)) for seed in range(count)]
    assert max(len(one.inputs["tokens"]) for one in made) <= objective.widths(np.array([len(piece.body)])).inputs[0]
    return [sides(one) for one in made]


@pytest.mark.parametrize("document", range(5))
@pytest.mark.parametrize("objective", [NextSentence(short_share=0), SentenceOrder(short_share=0)], ids=["nsp", "sop"])
def test_true_pairs_are_the_document_parted_at_a_sentence(objective: Pairs, document: int) -> None:
    piece = whole(document)
    borders = np.flatnonzero(piece.marks[1:] & SENTENCE) + 1 if piece.marks is not None else np.array([])
    assert len(borders) == SENTENCES[document] - 1
    inside = range(2, len(piece.body) - 1)  # of sop's parts of one sentence, which leave out its first and last token
    alone = {len(piece.body) // 2} if isinstance(objective, NextSentence) else set(inside)
    outside = 0 if len(borders) or isinstance(objective, NextSentence) else 1
    seen = set()
    for first, second, label in many(objective, document):
        if label == 0:
            both = np.concatenate((first, second))
            least = 0 if isinstance(objective, NextSentence) else len(piece.body) - 2 * outside
            assert len(both) >= least  # of nsp the second is as long as one from elsewhere can be
            assert both.tolist() == piece.body[outside : outside + len(both)].tolist()
            seen.add(outside + len(first))
    assert (
        seen == set(borders.tolist()) if len(borders) else seen <= alone
    )  # every border, and the middle where none is


@pytest.mark.parametrize("document", range(5))
def test_false_pairs_of_sentence_order_are_swapped(document: int) -> None:
    body = whole(document).body
    for first, second, label in many(SentenceOrder(short_share=0), document):
        if label == 1:
            both = np.concatenate((second, first)).tolist()
            assert both == (body if SENTENCES[document] > 1 else body[1:-1]).tolist()


def stretch(document: int, first: int, end: int) -> Piece:
    """Some tokens of a document, as a row that is too short for it has them."""
    start = int(STORE.starts[document]) + first
    return Piece(STORE, start, np.asarray(STORE.tokens[start : start + 1 + end - first], dtype=np.int64))


@pytest.mark.parametrize("short", [0, 1])
def test_no_side_of_sentence_order_shows_by_its_edges_which_it_is(short: float) -> None:
    """Neither of whole documents nor of pieces that begin or end within sentences, where one side would else do so."""
    lengths = np.diff(STORE.starts) - 1
    draw, kinds, labels = np.random.default_rng(1), set(), [0, 0]
    for seed in range(600):
        document = int(draw.integers(5))
        first, end = np.sort(draw.choice(lengths[document] + 1, 2, replace=False)).tolist()
        if end - first < 4:  # too few to leave anything out
            continue
        piece = stretch(document, first, end)
        made = SentenceOrder(short_share=short).example(piece, vocabulary=VOCABULARY, noise=np.random.default_rng(seed))
        one, other, label = sides(made)
        if label == IGNORE:
            assert len(one) + len(other) < 4
            continue
        edges = [(begins_sentence(side[0]), begins_sentence(side[-1] + 1)) for side in (one, other)]
        assert edges[0] == edges[1] and edges[0] in {(True, True), (False, False)}
        kinds.add(edges[0])
        labels[label] += 1
        assert (np.diff(np.concatenate((one, other) if label == 0 else (other, one))) == 1).all()
        assert len(one) + len(other) <= len(piece.body)
        assert {document_of(token) for token in (*one, *other)} == {document}
    assert kinds == {(True, True), (False, False)} and min(labels) > 100


def test_what_sentence_order_leaves_out_before_it_reads_behind_the_piece() -> None:
    """``eft. He had left early.`` is what follows on ``not. He had l``, as long as that is there to be read."""
    start = TEXTS[0].index("ouder!")
    piece = stretch(0, start, start + 40)
    found = set()
    for seed in range(60):
        made = SentenceOrder(short_share=0).example(piece, vocabulary=VOCABULARY, noise=np.random.default_rng(seed))
        one, other, label = sides(made)
        found.add(tuple(np.concatenate((one, other) if label == 0 else (other, one)).tolist()))
    text = "Was anybody there? Dr. Lu was not. "
    begin = SPECIAL + TEXTS[0].index(text)
    assert found == {tuple(range(begin, begin + len(text)))}  # 40 tokens from "Was" on, without "He ha"


@pytest.mark.parametrize("last", ["。", "完。", "再见。", "我走了。"])
def test_a_short_last_sentence_leaves_neither_side_empty(last: str) -> None:
    """Of a piece that begins within the sentence before it: a side of nothing, or its last token, told the label."""
    text = "很久以前在山的那一边有一个人。" + last
    marks = np.zeros(len(text) + 2, dtype=np.uint8)
    begun = len(text) - len(last)
    marks[[0, 1, 1 + begun, -1]] = WORD | SENTENCE
    tokens = np.array([EOT, *range(SPECIAL, SPECIAL + len(text)), EOT])
    store = TokenStore(tokens, np.array([0, len(tokens) - 1]), ABOUT[1:2], SIZE, EOT, marks, ("words", "sentences"))
    found, known = set(), {"vocabulary": VOCABULARY}
    for seed in range(60):
        piece = Piece(store, 4, tokens[4:])
        made = SentenceOrder(short_share=0).example(piece, **known, noise=np.random.default_rng(seed))
        one, other, _ = sides(made)
        edges = [(bool(marks[side[0] - SPECIAL + 1] & SENTENCE), bool(marks[side[-1] - SPECIAL + 2] & SENTENCE))
                 for side in (one, other)]  # fmt: skip
        assert edges == [(False, False)] * 2
        found.add(len(one) + len(other))
    kept = len(text) - 4
    assert found == {{1: kept - 2, 2: kept - 1, 3: kept - 1, 4: 2}[len(last)]}  # of the last sentence, if it has four


@pytest.mark.parametrize("document", range(5))
def test_false_pairs_of_next_sentence_are_from_other_documents_of_the_language(document: int) -> None:
    seen, begins = set(), set()
    for first, second, label in many(NextSentence(short_share=0), document, 120):
        if label == 1:
            others = {document_of(token) for token in second.tolist()}
            assert (
                len(others) == 1 and document not in others and {document_of(t) for t in first.tolist()} == {document}
            )
            assert (np.diff(second) == 1).all()
            seen |= others
            begins.add(second[0])
    second_sentence = SENTENCES[document] > 1  # which one that is cut out of a sentence cannot stand for
    assert seen == {
        other for other in range(5) if LANGUAGES[other] == LANGUAGES[document] and SENTENCES[other] > second_sentence
    } - {document}
    assert len(begins) > 1 and not {begin - SPECIAL for begin in begins} & set(STORE.starts.tolist())


def test_the_second_side_says_nothing_of_the_label_but_by_its_text() -> None:
    """With the same noise a true and a false one have the same first side, length, and sentences at their edges."""
    draw, cut, lengths = np.random.default_rng(2), 0, np.diff(STORE.starts) - 1
    for _ in range(300):
        document = int(draw.integers(5))
        first, end = np.sort(draw.choice(lengths[document] + 1, 2, replace=False)).tolist()
        if end - first < 2:
            continue
        piece = stretch(document, first, end)
        found = NextSentence().both(text_of(piece, short=False, noise=draw), piece, draw)
        if found is None:
            assert end - first < 12
            continue
        (one, true), (other, false) = found
        assert one == other and len(true.tokens) == len(false.tokens) > 0
        edges = [(begins_sentence(side.tokens[0]), begins_sentence(side.tokens[-1] + 1)) for side in (true, false)]
        assert edges[0] == edges[1]
        assert document_of(false.tokens[0]) == document_of(false.tokens[-1]) != document
        assert true.start == one.start + len(one.tokens) and (true.drawn, false.drawn) == (False, True)
        cut += len(one.tokens) + len(true.tokens) < end - first
    assert 20 < cut < 250  # both kinds were there


def test_a_single_document_is_not_followed_by_what_the_pair_has_already() -> None:
    """A held-out part may be one document; a false side that was the true one, or the first, would be none."""
    end = int(STORE.starts[1])
    store = replace(STORE, tokens=STORE.tokens[: end + 1], starts=STORE.starts[:2], documents=ABOUT[:1],
                    marks=None if STORE.marks is None else STORE.marks[: end + 1])  # fmt: skip
    seen = 0
    for seed in range(100):
        noise = np.random.default_rng(seed)
        piece = Piece(store, 40, np.asarray(store.tokens[40:71], dtype=np.int64))
        found = NextSentence().both(text_of(piece, short=False, noise=noise), piece, noise)
        if found is not None:
            (first, second), (_, false) = found
            taken = {*first.tokens.tolist(), *second.tokens.tolist()}
            assert not taken & set(false.tokens.tolist())
            seen += 1
    assert seen > 50


def begins_sentence(token: int) -> bool:
    """Whether one begins at this token of the store, or a document has ended before it."""
    assert STORE.marks is not None
    return bool(STORE.marks[token - SPECIAL + 1] & SENTENCE)


@pytest.mark.parametrize("short", [0, 1])
@pytest.mark.parametrize("document", [0, 1])  # whose last sentences are no shorter than all others
def test_where_the_second_side_begins_and_ends_does_not_tell_the_label(document: int, short: float) -> None:
    """Else a full stop at the end of a pair, or none, says whether it is true."""
    found: tuple[list[tuple[bool, bool]], ...] = ([], [])
    for _, second, label in many(NextSentence(short_share=short), document, 400):
        found[label].append((begins_sentence(second[0]), begins_sentence(second[-1] + 1)))
    true, false = (np.array(each).mean(0) for each in found)
    assert false == pytest.approx(true, abs=0.15)


def test_the_only_document_of_a_language_is_followed_by_any() -> None:
    store = replace(STORE, documents=[{"language": "fr"}, *ABOUT[1:]])
    tokens = np.asarray(store.tokens[: store.starts[1] + 1], dtype=np.int64)
    seen = set()
    for seed in range(200):
        example = NextSentence().example(
            Piece(store, 0, tokens), vocabulary=VOCABULARY, noise=np.random.default_rng(seed)
        )
        _, second, label = sides(example)
        seen |= {document_of(int(second[0]))} if label == 1 else set()
    assert seen <= {1, 2, 3, 4} and len(seen) > 1


@pytest.mark.parametrize("objective", [NextSentence(), SentenceOrder()], ids=["nsp", "sop"])
def test_half_of_the_labels_are_false_whatever_the_document(objective: Pairs) -> None:
    for document in range(5):
        labels = [label for _, _, label in many(objective, document, 400) if label != IGNORE]
        assert len(labels) > 380  # some of those that are cut short have none
        assert abs(sum(labels) - len(labels) / 2) < 5 * 10


def test_some_examples_are_short() -> None:
    full = len(whole(0).body)
    lengths = np.array([len(first) + len(second) for first, second, _ in many(SentenceOrder(short_share=0.5), 0, 400)])
    short = lengths < full
    assert abs(short.sum() - 200) < 5 * 10
    assert lengths.min() < 10 and lengths[short].mean() == pytest.approx((2 + full) / 2, abs=8)
    assert all(len(a) + len(b) == full for a, b, _ in many(SentenceOrder(short_share=0), 0))


def test_words_of_both_sides_stay_whole() -> None:
    marks = STORE.marks
    assert marks is not None
    objective = NextSentence(units=Words(), short_share=0)
    hidden = 0
    for seed in range(60):
        example = objective.example(whole(1), vocabulary=VOCABULARY, noise=np.random.default_rng(seed))
        targets, tokens = example.targets["words"], example.inputs["tokens"]
        clear = np.where(targets == IGNORE, tokens, targets)
        for place in np.flatnonzero(targets != IGNORE).tolist():
            if clear[place + 1] >= SPECIAL and not marks[clear[place + 1] - SPECIAL + 1] & WORD:
                assert targets[place + 1] != IGNORE
                hidden += 1
    assert hidden > 50


def test_pairs_without_a_label_cost_nothing(model: Transformer) -> None:
    store = sentences_of(3)
    piece, known = Piece(store, 0, store.tokens), {"vocabulary": VOCABULARY, "noise": np.random.default_rng(1)}
    batch = collate([[SentenceOrder().example(piece, **known)]], widths=Widths(16))
    losses = SentenceOrder().losses(model, batch)
    assert batch.counts["pairs"] == 0 and losses["pairs"].item() == 0.0 and losses["words"].item() > 0
    total_loss(SentenceOrder(), losses, batch.counts).backward()
    assert all(torch.isfinite(weight.grad).all() for weight in model.parameters() if weight.grad is not None)


def test_a_token_by_itself_makes_no_pair() -> None:
    assert NextSentence().widths(np.array([0, 1, 2, 9])).inputs.tolist() == [0, 0, 5, 12]


def test_what_is_lacking_is_said() -> None:
    unmarked = TokenStore(STORE.tokens, STORE.starts, STORE.documents, SIZE, EOT)
    with pytest.raises(RecipeError, match=r"where sentences begin: set pack.marks to \[sentences\]"):
        SentenceOrder().check(VOCABULARY, unmarked)
    single = TokenStore(STORE.tokens, STORE.starts[[0, -1]], ABOUT[:1], SIZE, EOT, STORE.marks, ("words", "sentences"))
    SentenceOrder().check(VOCABULARY, single)
    with pytest.raises(InputError, match="nsp takes sentences from other documents; got 1 document"):
        NextSentence().check(VOCABULARY, single)
    with pytest.raises(RecipeError, match="needs a model with an encoder; got a decoder"):
        NextSentence().config(GPT(layers=1, dim=32).config(vocab_size=SIZE, max_length=64))
    assert NextSentence().config(Bert(layers=1, dim=32).config(vocab_size=SIZE, max_length=64)).words is not None


@pytest.fixture
def stock() -> Any:
    torch.manual_seed(0)
    shape = BertConfig(
        vocab_size=SIZE, hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=48,
        max_position_embeddings=128, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0, initializer_range=0.3,
    )  # fmt: skip
    return BertForPreTraining(shape).train()


@pytest.fixture
def model(stock: Any, tmp_path: Path) -> Transformer:
    stock.save_pretrained(tmp_path)
    return load_model(tmp_path).train()


def made(objective: Pairs, documents: list[int]) -> list[Example]:
    return [
        objective.example(whole(document), vocabulary=VOCABULARY, noise=np.random.default_rng(document))
        for document in documents
    ]


def test_loss_and_gradients_are_those_of_transformers(stock: Any, model: Transformer) -> None:
    objective = NextSentence()
    batch = collate([[one] for one in made(objective, [0, 1, 2, 3, 4])], widths=Widths(128))
    ours = total_loss(objective, objective.losses(model, batch), batch.counts)
    labels = batch.targets["pairs"][:, 0]
    assert set(labels.tolist()) == {0, 1}
    theirs = stock(
        input_ids=batch.inputs["tokens"], token_type_ids=batch.inputs["types"], labels=batch.targets["words"],
        attention_mask=(batch.inputs["segments"] >= 0).long(), next_sentence_label=labels,
    ).loss  # fmt: skip
    torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=0)
    ours.backward()
    theirs.backward()
    mine, wanted = dict(model.named_parameters()), dict(stock.named_parameters())
    for name, its in {
        "embedding.weight": "bert.embeddings.word_embeddings.weight",
        "head.pair.out.weight": "cls.seq_relationship.weight",
        "head.pair.transform.dense.weight": "bert.pooler.dense.weight",
    }.items():
        gradient, reference = mine[name].grad, wanted[its].grad
        assert gradient is not None
        torch.testing.assert_close(gradient, reference, rtol=0, atol=2e-6 * float(reference.abs().max()))


def test_packed_pairs_cost_what_they_cost_alone(model: Transformer) -> None:
    objective = SentenceOrder()
    examples = made(objective, [1, 2, 3])
    together = objective.losses(model, collate([examples], widths=Widths(128)))
    apart = [objective.losses(model, collate([[one]], widths=Widths(128))) for one in examples]
    for name, value in together.items():
        torch.testing.assert_close(value, sum(one[name] for one in apart), rtol=1e-6, atol=0)


def test_the_weight_is_that_of_the_pairs() -> None:
    objective = NextSentence(pair_weight=0.25)
    sums = {"words": torch.tensor(9.0), "pairs": torch.tensor(8.0)}
    assert total_loss(objective, sums, {"words": 3, "pairs": 4}).item() == 3.0 + 0.25 * 2.0
