"""Distillation against formulas written out over transformers' own outputs, in float64."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from taught import KINDS, SIZE, Pair, batch
from torch import Tensor

from danlu.corpus.batches import IGNORE, Batch
from danlu.nn import head as heads
from danlu.nn.hf.folder import load_model
from danlu.objectives.distil import Distil
from danlu.objectives.matching import logits_loss
from danlu.objectives.mlm import MaskedLM

EXACT = {"rtol": 1e-9, "atol": 1e-11}
ROUNDED = {"rtol": 1e-5, "atol": 1e-6}
"""Of transformers' RMSNorm, which is float32 whatever the model computes in; BERT has LayerNorm."""


def outputs(model: Any, made: Batch) -> Any:
    """What transformers makes of each row, of which all that is no padding is one document."""
    real = (made.inputs["segments"] >= 0).long()
    known: dict[str, Any] = {"output_hidden_states": True}
    if made.source:
        known |= {"decoder_input_ids": made.inputs["tokens"], "input_ids": made.source["tokens"],
                  "attention_mask": (made.source["segments"] >= 0).long()}  # fmt: skip
    else:
        known |= {"input_ids": made.inputs["tokens"], "attention_mask": real}
    return model(**known)


def hidden_of(out: Any) -> Any:
    return out.decoder_hidden_states if hasattr(out, "decoder_hidden_states") else out.hidden_states


def same_gradients(pair: Pair, ours: Tensor, theirs: Tensor) -> None:
    """And values; the gradients of the embedding, which everything reaches."""
    rounded = not isinstance(pair.objective, MaskedLM)
    torch.testing.assert_close(ours, theirs, **(ROUNDED if rounded else EXACT))
    student = pair.ours["student"]
    [mine] = torch.autograd.grad(ours, [student.embedding.weight], retain_graph=True)
    [wanted] = torch.autograd.grad(theirs, [pair.stock["student"].get_input_embeddings().weight], retain_graph=True)
    assert float(wanted.abs().max()) > 1e-4
    torch.testing.assert_close(mine, wanted, rtol=0, atol=(1e-4 if rounded else 1e-9) * float(wanted.abs().max()))


def softened(pair: Pair, made: Batch, temperature: float) -> Tensor:
    """Hinton's soft targets over the scored tokens, by torch."""
    chosen = made.targets["words"] != IGNORE
    mine = F.log_softmax(outputs(pair.stock["student"], made).logits[chosen] / temperature, -1)
    with torch.no_grad():
        theirs = F.softmax(outputs(pair.stock["teacher"], made).logits[chosen] / temperature, -1)
    return F.kl_div(mine, theirs, reduction="sum") * temperature**2


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("temperature", [1.0, 3.0])
def test_logits_are_learned_as_by_hinton(
    kind: str, temperature: float, pair: Callable[..., Pair], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heads, "rows_at_once", lambda _, logits=0: 3 if logits else 7)
    both = pair(kind)
    distil, lesson = both.lesson(temperature=temperature)
    made = batch(distil, 9, 20, 31)
    losses = lesson.losses(both.ours["student"], made)
    assert losses.keys() == made.counts.keys() == {"words", "logits"}
    assert made.counts["logits"] == made.counts["words"] > 0
    same_gradients(both, losses["logits"], softened(both, made, temperature))


@pytest.mark.parametrize("kind", KINDS)
def test_hidden_states_are_learned_as_by_tiny_bert(kind: str, pair: Callable[..., Pair]) -> None:
    both = pair(kind)
    distil, lesson = both.lesson(hidden=1.0, logits=0.0)
    made = batch(distil, 9, 20, 31)
    losses = lesson.losses(both.ours["student"], made)
    assert {each.layers for each in lesson.followed} == {((0, 0), (1, 2), (2, 4))} and lesson.modules is not None
    layers = lesson.followed[0].layers
    real = made.inputs["segments"] >= 0
    assert made.counts["hidden"] == int(real.sum())
    mine, theirs = (hidden_of(outputs(both.stock[name], made)) for name in ("student", "teacher"))
    weight = next(lesson.modules.parameters())
    expected = torch.stack([
        (mine[one][real] @ weight.T - theirs[other][real].detach()).square().mean(-1).sum() for one, other in layers
    ]).sum()  # fmt: skip
    if kind == "both":  # and of the encoder the mean over each source, for each token of the decoder beside it
        mine, theirs = (outputs(both.stock[name], made).encoder_hidden_states for name in ("student", "teacher"))
        for row, length in enumerate(real.sum(1).tolist()):
            read = made.source["segments"][row] >= 0
            for one, other in layers:
                away = mine[one][row][read] @ weight.T - theirs[other][row][read].detach()
                expected = expected + length * away.square().mean()
        expected = expected / 2
    same_gradients(both, losses["hidden"], expected / 3)
    [of_projection] = torch.autograd.grad(losses["hidden"], [weight], retain_graph=True)
    [wanted] = torch.autograd.grad(expected / 3, [weight])
    bound = (1e-9 if kind == "mlm" else 1e-4) * float(wanted.abs().max())
    torch.testing.assert_close(of_projection, wanted, rtol=0, atol=bound)


def test_the_three_losses_of_distil_bert(pair: Callable[..., Pair]) -> None:
    """As its distiller.py has them: soft targets and cosines of the last hidden states, beside masked words."""
    both = pair("mlm", student=(32, 2))
    distil, lesson = both.lesson(own=2.0, logits=5.0, temperature=2.0, hidden=1.0, distance="cosine", layers=[(2, 4)])
    made = batch(distil, 9, 20, 31)
    losses = lesson.losses(both.ours["student"], made)
    means = {name: value / made.counts[name] for name, value in losses.items()}
    ours = sum((distil.weight(name) * mean for name, mean in means.items()), torch.zeros((), dtype=torch.float64))
    student, real = outputs(both.stock["student"], made), made.inputs["segments"] >= 0
    with torch.no_grad():
        teacher = outputs(both.stock["teacher"], made)
    chosen = made.targets["words"] != IGNORE
    soft = F.kl_div(
        F.log_softmax(student.logits[chosen] / 2, -1), F.softmax(teacher.logits[chosen] / 2, -1), reduction="batchmean"
    ) * 4  # fmt: skip
    words = F.cross_entropy(student.logits.flatten(0, 1), made.targets["words"].flatten(), ignore_index=IGNORE)
    last, theirs = student.hidden_states[-1][real], teacher.hidden_states[-1][real]
    cosine = F.cosine_embedding_loss(last, theirs, torch.ones(len(last)))
    same_gradients(both, ours, 5 * soft + 2 * words + cosine)


def relations(values: Tensor, count: int, *, causal: bool) -> Tensor:
    """Log-probabilities ``[H, T, T]`` of one document, written out."""
    length, width = values.shape
    parts = values.view(length, count, width // count).transpose(0, 1)
    scores = parts @ parts.transpose(1, 2) / (width // count) ** 0.5
    if causal:
        scores = scores + torch.full((length, length), -torch.inf, dtype=scores.dtype).triu(1)
    return F.log_softmax(scores, -1)


def projections(model: Any, out: Any, layer: int, row: int, length: int) -> list[Tensor]:
    if hasattr(model, "bert"):
        attention = model.bert.encoder.layer[layer].attention.self
        x = out.hidden_states[layer]
        made = [attention.query(x), attention.key(x), attention.value(x)]
    else:
        block = model.model.layers[layer]
        x = block.input_layernorm(out.hidden_states[layer])
        made = [block.self_attn.q_proj(x), block.self_attn.k_proj(x), block.self_attn.v_proj(x)]
    return [each[row, :length] for each in made]


@pytest.mark.parametrize("kind", ["clm", "mlm"])
@pytest.mark.parametrize(("count", "layer"), [(None, None), (4, 3)])
def test_relations_are_learned_as_by_mini_lm_v2(
    kind: str, count: int | None, layer: int | None, pair: Callable[..., Pair]
) -> None:
    both = pair(kind)
    distil, lesson = both.lesson(attention=1.0, logits=0.0, relation_heads=count, attention_layer=layer)
    made = batch(distil, 9, 20)
    losses = lesson.losses(both.ours["student"], made)
    assert lesson.heads == (count or 2)
    student, teacher = (outputs(both.stock[name], made) for name in ("student", "teacher"))
    expected = torch.zeros((), dtype=torch.float64)
    for row, length in enumerate((made.inputs["segments"] >= 0).sum(1).tolist()):
        mine = projections(both.stock["student"], student, 1, row, length)
        theirs = projections(both.stock["teacher"], teacher, (layer or 4) - 1, row, length)
        for one, other in zip(mine, theirs, strict=True):
            log_one, log_other = (relations(each, lesson.heads, causal=kind == "clm") for each in (one, other.detach()))
            each = torch.where(log_other == -torch.inf, 0.0, log_other.exp() * (log_other - log_one))
            expected = expected + each.nan_to_num(0.0).sum() / lesson.heads
    assert made.counts["attention"] == int((made.inputs["segments"] >= 0).sum())
    torch.testing.assert_close(losses["attention"], expected / 3, **(EXACT if kind == "mlm" else ROUNDED))


@pytest.mark.parametrize("layer", [None, 3])
def test_relations_in_an_encoder_beside_a_decoder_are_learned_too(layer: int | None, pair: Callable[..., Pair]) -> None:
    both = pair("both")
    distil, lesson = both.lesson(attention=1.0, logits=0.0, attention_layer=layer)
    made = batch(distil, 9, 20)
    losses = lesson.losses(both.ours["student"], made)
    assert lesson.heads == 2
    student, teacher = (outputs(both.stock[name], made) for name in ("student", "teacher"))
    expected = torch.zeros((), dtype=torch.float64)
    lengths = [(read["segments"] >= 0).sum(1).tolist() for read in (made.inputs, made.source)]
    for row, (written, read) in enumerate(zip(*lengths, strict=True)):
        for side, length in (("decoder", written), ("encoder", read)):
            mine = t5_projections(both.stock["student"], student, side, 1, row, length)
            theirs = t5_projections(both.stock["teacher"], teacher, side, (layer or 4) - 1, row, length)
            for one, other in zip(mine, theirs, strict=True):
                log_one, log_other = (relations(each, 2, causal=side == "decoder") for each in (one, other.detach()))
                each = torch.where(log_other == -torch.inf, 0.0, log_other.exp() * (log_other - log_one))
                expected = expected + each.nan_to_num(0.0).sum() / 2 * written / length
    assert made.counts["attention"] == sum(lengths[0])
    torch.testing.assert_close(losses["attention"], expected / 3 / 2, **ROUNDED)


def t5_projections(model: Any, out: Any, side: str, layer: int, row: int, length: int) -> list[Tensor]:
    part = getattr(model, side).block[layer].layer[0]
    x = part.layer_norm(getattr(out, f"{side}_hidden_states")[layer])
    attention = part.SelfAttention
    return [each(x)[row, :length] for each in (attention.q, attention.k, attention.v)]


ALL = {"logits": 0.5, "hidden": 0.3, "attention": 0.2}


@pytest.mark.parametrize("kind", KINDS)
def test_who_is_the_teacher_has_nothing_to_learn(kind: str, pair: Callable[..., Pair]) -> None:
    both = pair(kind)
    student = load_model(both.folders["teacher"], dtype=torch.float64)
    distil = Distil(teacher=both.folders["teacher"], of=both.objective, **ALL)
    made = batch(distil, 9, 20)
    losses = distil.prepare(student.config, dtype=torch.float64, seed=1).losses(student, made)
    assert losses["words"].item() > 1
    assert {name: losses[name].item() for name in ALL if abs(losses[name].item()) > 1e-12} == {}
    weights = list(student.parameters())
    own, taught = (
        torch.autograd.grad(each, weights, retain_graph=True, allow_unused=True)
        for each in (losses["words"], torch.stack([losses[name] for name in ALL]).sum())
    )
    largest = max(float(each.abs().max()) for each in own if each is not None)
    assert all(each is None or float(each.abs().max()) < 1e-9 * largest for each in taught)


@pytest.mark.parametrize("kind", KINDS)
def test_packed_rows_cost_what_they_cost_alone(kind: str, pair: Callable[..., Pair]) -> None:
    both = pair(kind)
    distil, lesson = both.lesson(**ALL)
    together = lesson.losses(both.ours["student"], batch(distil, 9, 20, 4, packed=True))
    alone = [lesson.losses(both.ours["student"], batch(distil, count)) for count in (9, 20, 4)]
    for name, value in together.items():
        assert value.item() > 1e-3
        expected = torch.stack([each[name] for each in alone]).sum()
        torch.testing.assert_close(value, expected, rtol=1e-7, atol=0)  # rotary tables are float32


def test_the_teacher_is_not_trained_and_the_projection_is(pair: Callable[..., Pair]) -> None:
    both = pair("clm")
    distil, lesson = both.lesson(**ALL)
    sum(lesson.losses(both.ours["student"], batch(distil, 9)).values()).backward()  # type: ignore[union-attr]
    assert all(weight.grad is None for weight in lesson.teacher.parameters()) and not lesson.teacher.training
    assert lesson.modules is not None and all(weight.grad is not None for weight in lesson.modules.parameters())
    again, _ = (both.lesson(**ALL)[1].modules for _ in range(2))
    assert again is not None and torch.equal(next(again.parameters()), next(lesson.modules.parameters()))


def test_no_more_logits_are_held_than_a_part(pair: Callable[..., Pair], monkeypatch: pytest.MonkeyPatch) -> None:
    both = pair("clm")
    monkeypatch.setattr(heads, "rows_at_once", lambda _, logits=0: 2 if logits else 4)
    held: set[int] = set()

    class Watch(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, operation: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            out = operation(*args, **(kwargs or {}))
            if isinstance(out, Tensor) and out.ndim == 2 and out.shape[1] == SIZE:
                held.add(len(out))
            return out

    mine, theirs = (torch.randn(50, width, dtype=torch.float64, requires_grad=True) for width in (16, 32))
    with Watch():
        loss = logits_loss(both.ours["student"].head, mine, both.ours["teacher"].head, theirs.detach(), temperature=2.0)
        loss.backward()
    assert max(held - {16, 32, SIZE}) == 4  # those are the weights, turned round
