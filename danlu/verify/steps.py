"""One step has the same loss and gradient however its rows are cut, packed and padded.

The reference is written out: every document by itself, all its logits, ``torch``'s cross entropy of them in float64,
one division by the number of scored tokens, and ``torch.autograd``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from danlu.corpus.batches import IGNORE, Batch
from danlu.corpus.reading import Reading, Stream
from danlu.corpus.store import TokenStore
from danlu.nn.families import GPT, T5, Bert
from danlu.nn.transformer import Transformer
from danlu.objectives.clm import CausalLM
from danlu.objectives.mlm import MaskedLM
from danlu.objectives.protocol import Objective
from danlu.objectives.span_corruption import SpanCorruption
from danlu.optim.clipping import NoClipping
from danlu.train.loop import fit
from danlu.train.setup import Training
from danlu.verify.outcome import Differences, apart, relative
from danlu.verify.sample import Sample

WIDE, NARROW = 1e-10, 1e-6
"""The largest relative differences that are allowed, in float64 and in float32."""
STD = 0.1
"""Of the weights: those of a first step are partly zero, and hide what is behind them."""
KINDS: dict[str, tuple[Any, Objective]] = {
    "gpt, clm": (GPT(layers=2, dim=32, heads=2), CausalLM()),
    "bert, mlm": (Bert(layers=2, dim=32, heads=2, dropout=0.0), MaskedLM()),
    "t5, span_corruption": (T5(layers=1, dim=32, heads=2), SpanCorruption()),
}


@dataclass(frozen=True, slots=True)
class Step:
    """What one step comes to."""

    loss: float
    gradients: dict[str, Tensor]

    def difference(self, other: Step) -> float:
        """The larger one of the relative differences of loss and gradient."""
        return max(relative(self.loss, other.loss), apart(self.gradients, other.gradients))


def prepare(sample: Sample, kind: str, rows: Reading, *, store: TokenStore | None = None, **settings: Any) -> Training:
    """A training with weights that are nowhere zero."""
    family, objective = KINDS[kind]
    training = sample.training(store=store, model=family, objective=objective, rows=rows, **settings)
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for weight in training.model.parameters():
            weight.normal_(0.0, STD, generator=generator)
    return training


def _as_double(model: Transformer) -> Transformer:
    """In float64, rotary positions too: in float32 the same distance elsewhere in a row differs by its rounding."""
    for stack in model.double().stacks:
        for number, (rotary, head_dim) in enumerate(stack.rotary):
            assert rotary.scaling is None
            frequency_F = rotary.theta ** (-torch.arange(0, head_dim, 2, dtype=torch.float64) / head_dim)
            angle_TF = torch.arange(len(getattr(stack, f"cos_{number}")), dtype=torch.float64)[:, None] * frequency_F
            getattr(stack, f"cos_{number}").copy_(angle_TF.cos())
            getattr(stack, f"sin_{number}").copy_(angle_TF.sin() * rotary.direction)
    return model


def fitted(training: Training, objective: Objective, micro: Sequence[Batch], dtype: torch.dtype) -> Step:
    """What :func:`fit` makes of a step."""
    model = _as_double(training.model) if dtype == torch.float64 else training.model.to(dtype)
    optimizer = torch.optim.SGD([{"params": list(model.parameters()), "lr_scale": 0.0}], lr=0.0)
    gradients: dict[str, Tensor] = {}

    def keep(*_: object) -> None:
        for name, weight in model.named_parameters():
            gradients[name] = torch.zeros_like(weight) if weight.grad is None else weight.grad.clone()

    optimizer.register_step_pre_hook(keep)
    losses: list[float] = []
    fit(
        model, lambda _: micro, objective, optimizer, lambda _: 0.0, steps=1, clip=NoClipping(),
        hooks=[lambda info: losses.append(info.loss)],
    )  # fmt: skip
    return Step(losses[0], gradients)


def written_out(training: Training, micro: Sequence[Batch]) -> Step:
    """The same, by the definition."""
    model = _as_double(training.model)
    names, weights = zip(*model.named_parameters(), strict=True)
    total, count = torch.zeros((), dtype=torch.float64), 0
    for document in documents_of(micro):
        logits_TV = model.head(_hidden(model, document))[0]
        targets_T = document.targets["words"][0]
        total = total + F.cross_entropy(logits_TV, targets_T, ignore_index=IGNORE, reduction="sum")
        count += int((targets_T != IGNORE).sum())
    gradients = torch.autograd.grad(total / count, weights, materialize_grads=True)
    return Step(float(total.detach()) / count, dict(zip(names, gradients, strict=True)))


def _hidden(model: Transformer, document: Batch) -> Tensor:
    memory = {"memory": model.encode(document.source["tokens"])} if document.source else {}
    hidden: Tensor = model(document.inputs["tokens"], **memory)
    return hidden


def documents_of(micro: Sequence[Batch]) -> Iterator[Batch]:
    """Each piece of a document by itself, unpadded."""
    for batch in micro:
        segments = batch.inputs.get("segments", torch.zeros_like(batch.inputs["tokens"]))
        for row in range(len(segments)):
            for number in sorted(set(segments[row][segments[row] >= 0].tolist())):
                here = segments[row] == number
                source = {}
                if batch.source:
                    source["tokens"] = batch.source["tokens"][row, batch.source["segments"][row] == number][None]
                inputs = {"tokens": batch.inputs["tokens"][row, here][None]}
                yield replace(batch, inputs=inputs, targets=_each(batch.targets, row, here), source=source)


def _each(targets: dict[str, Tensor], row: int, here: Tensor) -> dict[str, Tensor]:
    return {name: each[row, here][None] for name, each in targets.items()}


def compare(
    training: Training, objective: Any, ways: Mapping[str, Sequence[Batch]], *, of: Sequence[Batch] | None = None
) -> Differences:
    """Each way of going through one step against the reference, and what is allowed.

    Args:
        of: what the reference reads; by default each way's own batches.
    """
    found: Differences = {}
    expected = None if of is None else written_out(training, of)
    for way, micro in ways.items():
        wanted = expected or written_out(training, micro)
        for dtype, allowed in ((torch.float64, WIDE), (torch.float32, NARROW)):
            step = fitted(training, objective, micro, dtype)
            found[f"{way}, {str(dtype).removeprefix('torch.')}"] = (wanted.difference(step), allowed)
    return found


def readings(objective: Objective, *others: Reading) -> list[Reading]:
    """Ways to make rows: ``others``, and the stream, which is for causal models alone."""
    return [*others, *([Stream()] if isinstance(objective, CausalLM) else [])]
