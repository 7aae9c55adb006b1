"""Heads for tasks: pooling wherever padding stands, and each head's arithmetic in plain torch."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers.models.bert.configuration_bert import BertConfig
from transformers.models.bert.modeling_bert import BertPooler, BertPreTrainingHeads

from danlu.nn import config
from danlu.nn.label_head import EmbeddingHead, LabelHead, PretrainingHeads, make_head, pool
from danlu.nn.sight import PADDING

DIM = 8
LENGTHS = [5, 1, 3]
POOLER = config.Dense("tanh")
WORDS = config.Head(bias=True, transform=config.Dense("gelu", config.Norm("layer", 1e-12, bias=True)))


def padded(hidden: list[Tensor], side: str) -> tuple[Tensor, Tensor]:
    """Rows of one length, with padding that is not 0; and the numbers of their documents."""
    rows, segments = [], []
    for row in hidden:
        padding, numbers = torch.full((6 - len(row), DIM), 9.0), torch.full((6 - len(row),), PADDING)
        parts = [row, padding] if side == "right" else [padding, row]
        marks = [torch.zeros(len(row), dtype=torch.long), numbers]
        rows.append(torch.cat(parts))
        segments.append(torch.cat(marks if side == "right" else marks[::-1]))
    return torch.stack(rows), torch.stack(segments)


def randomised(module: nn.Module) -> None:
    for weight in module.parameters():
        nn.init.normal_(weight)


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("pooling", ["first", "last", "mean"])
def test_pooling_leaves_padding_out(side: str, pooling: config.Pooling) -> None:
    rows = [torch.randn(length, DIM) for length in LENGTHS]
    expected = torch.stack([{"first": row[0], "last": row[-1], "mean": row.mean(0)}[pooling] for row in rows])
    torch.testing.assert_close(pool(*padded(rows, side), pooling), expected)
    alone = torch.cat([pool(row[None], None, pooling) for row in rows])
    torch.testing.assert_close(alone, expected)


def test_padding_has_no_gradient() -> None:
    hidden, segments = padded([torch.randn(length, DIM) for length in LENGTHS], "left")
    for pooling in ("first", "last", "mean"):
        leaf = hidden.clone().requires_grad_()
        pool(leaf, segments, pooling).square().sum().backward()  # type: ignore[no-untyped-call]
        assert leaf.grad is not None
        assert leaf.grad[segments == PADDING].eq(0).all()
        assert leaf.grad[segments != PADDING].any()


def test_classification_is_bert_s() -> None:
    """Pooler and linear layer, against transformers' pooler."""
    head = LabelHead(config.Labels(3, pooling="first", transform=POOLER), dim=DIM)
    randomised(head)
    assert head.transform is not None
    theirs = BertPooler(BertConfig(hidden_size=DIM, num_attention_heads=2))
    theirs.dense = head.transform.dense
    hidden = torch.randn(4, 6, DIM)
    expected = theirs(hidden) @ head.out.weight.T + head.out.bias
    torch.testing.assert_close(head(hidden), expected)
    assert head(hidden).shape == (4, 3)


def test_tagging_scores_each_token() -> None:
    head = LabelHead(config.Labels(7, bias=False), dim=DIM)
    randomised(head)
    hidden = torch.randn(4, 6, DIM)
    torch.testing.assert_close(head(hidden), hidden @ head.out.weight.T)
    assert head.out.bias is None


def test_the_mean_of_a_row_goes_through_the_transform() -> None:
    """Pooled first, transformed then: the order matters where the activation is not linear."""
    head = LabelHead(
        config.Labels(2, pooling="mean", transform=config.Dense("gelu", config.Norm("layer", 1e-5), bias=False)),
        dim=DIM,
    )
    randomised(head)
    assert head.transform is not None
    hidden, segments = padded([torch.randn(length, DIM) for length in LENGTHS], "right")
    vector = pool(hidden, segments, "mean")
    gain = dict(head.transform.named_parameters())["norm.weight"]
    inside = F.layer_norm(F.gelu(vector @ head.transform.dense.weight.T), (DIM,), gain, None, 1e-5)
    torch.testing.assert_close(head(hidden, segments), inside @ head.out.weight.T + head.out.bias)


def test_pretraining_heads_are_bert_s() -> None:
    """Words by a transform with a norm and a weight of their own here; pairs by the pooler."""
    pair = config.Labels(2, pooling="first", transform=POOLER, pair=True)
    heads = PretrainingHeads(config.Pretraining(WORDS, pair), dim=DIM, vocab_size=11)
    randomised(heads)
    shape = BertConfig(vocab_size=11, hidden_size=DIM, num_attention_heads=2)
    theirs, pooler = BertPreTrainingHeads(shape), BertPooler(shape)
    transform, pooled = heads.words.transform, heads.pair.transform
    assert transform is not None and pooled is not None and heads.words.bias is not None
    with torch.no_grad():
        theirs.predictions.transform.dense.load_state_dict(transform.dense.state_dict())
        theirs.predictions.transform.LayerNorm.load_state_dict(transform.norm.state_dict())
        theirs.predictions.decoder.weight.copy_(heads.words.weight)
        theirs.predictions.decoder.bias.copy_(heads.words.bias)
        theirs.seq_relationship.load_state_dict(heads.pair.out.state_dict())
        pooler.dense.load_state_dict(pooled.dense.state_dict())
    hidden = torch.randn(3, 5, DIM)
    words, pairs = theirs(hidden, pooler(hidden))
    torch.testing.assert_close(heads(hidden), words, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(heads.pair(hidden), pairs, rtol=1e-5, atol=1e-5)
    embedding = nn.Embedding(11, DIM)
    heads.tie(embedding)
    assert heads.words.weight is embedding.weight


@pytest.mark.parametrize("pooling", ["first", "last", "mean"])
def test_embeddings_have_length_one_where_asked_for(pooling: config.Pooling) -> None:
    hidden, segments = padded([torch.randn(length, DIM) for length in LENGTHS], "left")
    plain = EmbeddingHead(config.Embedding(pooling, normalise=False), dim=DIM)(hidden, segments)
    assert plain.equal(pool(hidden, segments, pooling))
    unit = EmbeddingHead(config.Embedding(pooling), dim=DIM)(hidden, segments)
    torch.testing.assert_close(unit.norm(dim=-1), torch.ones(3))
    torch.testing.assert_close(unit * plain.norm(dim=-1, keepdim=True), plain)


def test_the_pooler_of_a_bare_bert_reads_the_first_token() -> None:
    head = EmbeddingHead(config.Embedding(pooler=POOLER), dim=DIM)
    randomised(head)
    assert head.pooler is not None
    hidden, segments = padded([torch.randn(length, DIM) for length in LENGTHS], "left")
    first = pool(hidden, segments, "first")
    dense = head.pooler.dense
    torch.testing.assert_close(head.pooled(hidden, segments), torch.tanh(first @ dense.weight.T + dense.bias))
    torch.testing.assert_close(head(hidden, segments), F.normalize(pool(hidden, segments, "mean"), dim=-1))


def test_each_record_has_its_module() -> None:
    pair = config.Labels(2, pooling="first", pair=True)
    made = [
        make_head(record, dim=DIM, vocab_size=11)
        for record in (config.Head(), config.Labels(2), config.Pretraining(config.Head(), pair), config.Embedding())
    ]
    assert [type(head).__name__ for head in made] == [
        "LanguageModelHead", "LabelHead", "PretrainingHeads", "EmbeddingHead",
    ]  # fmt: skip


def test_a_row_of_nothing_but_padding_is_no_nan() -> None:
    hidden = torch.randn(2, 3, 4)
    segments = torch.tensor([[0, 0, PADDING], [PADDING] * 3])
    assert pool(hidden, segments, "mean")[1].eq(0).all()
