"""Distillation against formulas written out over transformers' own outputs, in float64."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import (
    BertConfig,
    BertForMaskedLM,
    LlamaConfig,
    LlamaForCausalLM,
    T5Config,
    T5ForConditionalGeneration,
)

from danlu.corpus.batches import IGNORE, Batch, Example, collate
from danlu.corpus.rows import Ints, Piece, Widths
from danlu.corpus.store import TokenStore
from danlu.errors import InputError, RecipeError
from danlu.nn import head as heads
from danlu.nn.hf.folder import load_model
from danlu.nn.transformer import Transformer
from danlu.objectives.clm import CausalLM
from danlu.objectives.distil import Distil
from danlu.objectives.matching import Matching, logits_loss
from danlu.objectives.mlm import MaskedLM
from danlu.objectives.protocol import Objective, Sides
from danlu.objectives.words import hidden_states, word_loss
from danlu.recipe import build
from danlu.tokenizers.vocabulary import Vocabulary

EOT, PAD, UNK, CLS, SEP, MASK = range(6)
SIZE = 60
EXACT = {"rtol": 1e-9, "atol": 1e-11}
ROUNDED = {"rtol": 1e-5, "atol": 1e-6}
"""Of transformers' RMSNorm, which is float32 whatever the model computes in; BERT has LayerNorm."""


class Continue(Objective):
    """The first half of a text is read, the other written."""

    sides: ClassVar[Sides] = "both"

    def widths(self, body: Ints) -> Widths:
        return Widths(body - body // 2, body // 2)

    def example(self, piece: Piece, *, vocabulary: Vocabulary, noise: np.random.Generator) -> Example:
        half = len(piece.body) // 2
        text = piece.body[half:]
        tokens = np.concatenate(([EOT], text[:-1]))
        return Example({"tokens": tokens}, {"words": text}, {"tokens": piece.body[:half]})

    def losses(self, model: Transformer, batch: Batch) -> dict[str, Tensor]:
        return {"words": word_loss(self, model, hidden_states(model, batch), batch.targets["words"])}


def llama(dim: int, layers: int, **rest: Any) -> Any:
    known = {"vocab_size": SIZE, "hidden_size": dim, "num_hidden_layers": layers, "num_attention_heads": dim // 8,
             "num_key_value_heads": dim // 16, "intermediate_size": 40, "max_position_embeddings": 64,
             "initializer_range": 0.3}  # fmt: skip
    return LlamaForCausalLM(LlamaConfig(**{**known, **rest}))


def bert(dim: int, layers: int, **rest: Any) -> Any:
    known = {"vocab_size": SIZE, "hidden_size": dim, "num_hidden_layers": layers, "num_attention_heads": dim // 8,
             "intermediate_size": 40, "max_position_embeddings": 64, "initializer_range": 0.3,
             "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}  # fmt: skip
    return BertForMaskedLM(BertConfig(**{**known, **rest}))


def t5(dim: int, layers: int, **rest: Any) -> Any:
    known = {"vocab_size": SIZE, "d_model": dim, "num_layers": layers, "num_heads": dim // 8, "d_kv": 8, "d_ff": 40,
             "dropout_rate": 0.0, "feed_forward_proj": "gated-gelu", "tie_word_embeddings": False}  # fmt: skip
    model = T5ForConditionalGeneration(T5Config(**{**known, **rest}))
    for weight in model.parameters():
        torch.nn.init.normal_(weight, 1.0 if weight.ndim == 1 else 0.0, 0.3)
    return model


KINDS: dict[str, tuple[Callable[..., Any], Objective]] = {
    "clm": (llama, CausalLM()), "mlm": (bert, MaskedLM(rate=0.4)), "both": (t5, Continue()),
}  # fmt: skip


class Pair:
    """A student and a teacher, each as transformers has it and as we do, in float64."""

    def __init__(self, folder: Path, kind: str, *, student: tuple[int, int], teacher: tuple[int, int]) -> None:
        make, self.objective = KINDS[kind]
        self.folders, self.stock, self.ours = {}, {}, {}
        for seed, (name, (dim, layers)) in enumerate({"student": student, "teacher": teacher}.items()):
            torch.manual_seed(seed)
            model = make(dim, layers)
            self.folders[name] = folder / name
            model.save_pretrained(self.folders[name])
            self.stock[name] = model.double().eval()
            self.ours[name] = load_model(self.folders[name], dtype=torch.float64)

    def lesson(self, **settings: Any) -> tuple[Distil, Matching]:
        distil = Distil(teacher=self.folders["teacher"], of=self.objective, **settings)
        made = distil.prepare(self.ours["student"].config, dtype=torch.float64, seed=3)
        assert isinstance(made, Matching)
        if made.modules is not None:
            made.modules.double()
        return distil, made


@pytest.fixture
def pair(tmp_path: Path) -> Callable[..., Pair]:
    def make(kind: str, student: tuple[int, int] = (16, 2), teacher: tuple[int, int] = (32, 4)) -> Pair:
        return Pair(tmp_path, kind, student=student, teacher=teacher)

    return make


def vocabulary() -> Vocabulary:
    roles = {"eot": EOT, "pad": PAD, "unk": UNK, "cls": CLS, "sep": SEP, "mask": MASK}
    return Vocabulary(SIZE, EOT, roles, (), np.arange(6, SIZE), np.arange(6))


def example(distil: Distil, count: int, *, seed: int = 0) -> Example:
    tokens = np.array([EOT, *np.random.default_rng(seed).integers(6, SIZE, count), EOT])
    store = TokenStore(tokens, np.array([0, len(tokens) - 1]), [{}], vocab_size=SIZE, eot=EOT)
    return distil.example(Piece(store, 0, tokens), vocabulary=vocabulary(), noise=np.random.default_rng(seed))


def batch(distil: Distil, *counts: int, packed: bool = False) -> Batch:
    made = [example(distil, count, seed=count) for count in counts]
    source = 40 if made[0].source else 0
    return collate([made] if packed else [[one] for one in made], widths=Widths(60, source))


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
    assert lesson.layers == ((0, 0), (1, 2), (2, 4)) and lesson.modules is not None
    real = made.inputs["segments"] >= 0
    assert made.counts["hidden"] == int(real.sum())
    mine, theirs = (hidden_of(outputs(both.stock[name], made)) for name in ("student", "teacher"))
    weight = next(lesson.modules.parameters())
    expected = sum(
        (mine[one][real] @ weight.T - theirs[other][real].detach()).square().mean(-1).sum()
        for one, other in lesson.layers
    )
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


def test_another_vocabulary_is_refused(pair: Callable[..., Pair], whole_decoder: Path, tmp_path: Path) -> None:
    from danlu.tokenizers.tokenizer import Tokenizer

    both = pair("clm")
    config = both.ours["student"].config
    with pytest.raises(RecipeError, match=r"objective.teacher must have the vocabulary of this run, 60 tokens; .* has"):
        Distil(teacher=whole_decoder).prepare(config, dtype=torch.float32, seed=1)
    known, store = Vocabulary.of(Tokenizer.load(whole_decoder)), TokenStore(np.zeros(1), np.zeros(1), [], 9, 0)
    Distil(teacher=whole_decoder).check(known, store)
    other = replace(known, tokens="another")
    with pytest.raises(RecipeError, match=r"of this run: .* has ([\d,]+) tokens, the tokenizer \1, of other texts"):
        Distil(teacher=whole_decoder).check(other, store)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"logits": 0}, "one of logits, hidden and attention must be above 0, or there is no teacher"),
        ({"of": {"use": "distil", "teacher": "x"}}, "of must be one objective that learns from text"),
    ],
)
def test_settings_that_teach_nothing(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        build(Distil, {"teacher": "t", **settings}, key="pretrain.objective")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"hidden": 1.0, "layers": [(2, 9)]}, r"objective.layers must be pairs of 0 to 2 and 0 to 4; got \[2, 9\]"),
        ({"attention": 1.0, "relation_heads": 3}, r"relation_heads must divide the widths .*\[8, 16, 32\]\); got 3"),
        ({"attention": 1.0, "attention_layer": 5}, "attention_layer must be at most 4, the teacher's blocks; got 5"),
    ],
)
def test_settings_that_do_not_fit_the_teacher(
    settings: dict[str, Any], message: str, pair: Callable[..., Pair]
) -> None:
    with pytest.raises(RecipeError, match=message):
        pair("clm").lesson(**settings)


def test_a_teacher_of_other_sides_or_too_short_is_refused(pair: Callable[..., Pair], tmp_path: Path) -> None:
    both = pair("clm")
    bert(16, 1).save_pretrained(tmp_path / "bert")
    with pytest.raises(RecipeError, match=r"objective.teacher cannot do what the student learns: .* a decoder"):
        Distil(teacher=tmp_path / "bert").prepare(both.ours["student"].config, dtype=torch.float32, seed=1)
    llama(16, 1, max_position_embeddings=32).save_pretrained(tmp_path / "short")
    with pytest.raises(RecipeError, match=r"sees at most 32 tokens, the student 64: set pretrain.sequence to 32"):
        Distil(teacher=tmp_path / "short").prepare(both.ours["student"].config, dtype=torch.float32, seed=1)


def test_the_teachers_files_are_part_of_what_the_stage_is_made_from(pair: Callable[..., Pair], tmp_path: Path) -> None:
    teacher = pair("clm").folders["teacher"]
    assert {path.name for path in Distil(teacher=teacher).external_files()} >= {"config.json", "model.safetensors"}
    with pytest.raises(InputError, match=r"pretrain.objective.teacher: there is no model in"):
        Distil(teacher=tmp_path / "nowhere").external_files()
