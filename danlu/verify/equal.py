"""One step has the same loss and gradient however its rows are cut, packed and padded.

The reference is written out: every document by itself, all its logits, ``torch``'s cross entropy of them in float64,
one division by the number of scored tokens, and ``torch.autograd``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from danlu.corpus.batches import IGNORE, Batch, Group
from danlu.corpus.reading import Bucketed, Packed, Padded, Reading, Stream
from danlu.corpus.rows import Widths
from danlu.corpus.store import TokenStore
from danlu.nn import config
from danlu.nn.families import GPT, T5, Bert
from danlu.nn.head import LanguageModelHead
from danlu.nn.transformer import Transformer
from danlu.objectives.clm import CausalLM
from danlu.objectives.mlm import MaskedLM
from danlu.objectives.protocol import Objective
from danlu.objectives.span_corruption import SpanCorruption
from danlu.optim.clipping import NoClipping
from danlu.train.loop import fit
from danlu.train.setup import Training
from danlu.verify.outcome import Outcome, apart, relative, within
from danlu.verify.sample import Sample, quiet

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
    _sharpen_rotary(training.model)
    return training


def _sharpen_rotary(model: Transformer) -> None:
    """Have rotary positions in float64: in float32 the same distance elsewhere in a row differs by its rounding."""
    model.double()
    for stack in model.stacks:
        for number, (rotary, head_dim) in enumerate(stack.rotary):
            assert rotary.scaling is None
            frequency_F = rotary.theta ** (-torch.arange(0, head_dim, 2, dtype=torch.float64) / head_dim)
            angle_TF = torch.arange(len(getattr(stack, f"cos_{number}")), dtype=torch.float64)[:, None] * frequency_F
            getattr(stack, f"cos_{number}").copy_(angle_TF.cos())
            getattr(stack, f"sin_{number}").copy_(angle_TF.sin() * rotary.direction)


def fitted(training: Training, objective: Objective, micro: Sequence[Batch], dtype: torch.dtype) -> Step:
    """What :func:`fit` makes of a step."""
    model = training.model.to(dtype)
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
    model = training.model.double()
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
            for number in segments[row][segments[row] >= 0].unique().tolist():
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
) -> dict[str, tuple[float, float]]:
    """Each way of going through one step against the reference, and what is allowed.

    Args:
        of: what the reference reads; by default each way's own batches.
    """
    found = {}
    expected = None if of is None else written_out(training, of)
    for way, micro in ways.items():
        wanted = expected or written_out(training, micro)
        for dtype, allowed in ((torch.float64, WIDE), (torch.float32, NARROW)):
            step = fitted(training, objective, micro, dtype)
            found[f"{way}, {str(dtype).removeprefix('torch.')}"] = (wanted.difference(step), allowed)
    return found


def accumulation(sample: Sample) -> Outcome:
    """Eight rows at once, four, two and one."""
    found = {}
    for kind, (_, objective) in KINDS.items():
        training = prepare(sample, kind, objective.reading)
        sizes = {f"{kind}, {size} at once": prepare(sample, kind, objective.reading, micro_batch=size).batches(0)
                 for size in (8, 4, 2, 1)}  # fmt: skip
        found |= compare(training, objective, sizes, of=training.batches(0))
    return within(f"{len(found)} steps: {', '.join(KINDS)}; 8, 4, 2, 1 rows at once", found)


def ragged(sample: Sample) -> Outcome:
    """Documents of all lengths, seven rows a step, so that the last micro-batch has fewer rows than the others."""
    found = {}
    for kind, (_, objective) in KINDS.items():
        for rows in (Padded(), Bucketed()):
            for size in (5, 3, 2):
                training = prepare(sample, kind, rows, batch=7, micro_batch=size, sequence=96)
                way = f"{kind}, {type(rows).__name__.lower()}, {size} at once"
                found |= compare(training, objective, {way: training.batches(1)})
    return within(f"{len(found)} steps: padded and bucketed; 7 rows a step, 5, 3, 2 at once", found)


def packing(sample: Sample) -> Outcome:
    """Documents side by side in a row, against each in a row of its own; and none is lost or read twice."""
    found, lost, documents = {}, [], 0
    for kind, (_, objective) in KINDS.items():
        for rows in (Packed(), *([Stream()] if isinstance(objective, CausalLM) else [])):
            training = prepare(sample, kind, rows, batch=4, sequence=96)
            micro, name = training.batches(2), f"{kind}, {type(rows).__name__.lower()}"
            apart_too = [_alone(document) for document in documents_of(micro)]
            documents += len(apart_too)
            found |= compare(training, objective, {name: micro, f"{name}, a row each": apart_too}, of=micro)
            lost += [f"{name}: {fault}" for fault in _lost(training, sample.store)]
    outcome = within(f"{documents} documents in {len(found)} steps; every document once an epoch", found)
    outcome.faults += lost
    return outcome


def padding(sample: Sample) -> Outcome:
    """The same rows, padded a little and a lot."""
    found = {}
    for kind, (_, objective) in KINDS.items():
        training = prepare(sample, kind, Padded(), batch=4, sequence=160)
        room, batches = training.batches.groups(0)[0].widths, training.batches
        [group] = training.batches.groups(0)
        longest = Widths(*(max(_longest(part), 1) for part in _sides(batches.make(group))))
        ways = {}
        for more in (0, 1, 30):
            widths = Widths(min(room.inputs, longest.inputs + more), min(room.source, longest.source + more))
            ways[f"{kind}, {more} more"] = [batches.make(Group(group.numbers, widths))]
        found |= compare(training, objective, {**ways, f"{kind}, full": batches(0)}, of=batches(0))
    return within(f"{len(found)} steps: the longest row, 1 and 30 places more, the full length", found)


def nothing_scored(sample: Sample) -> Outcome:
    """Micro-batches of which nothing is scored, among others and by themselves."""
    found, faults = {}, []
    for kind, (_, objective) in KINDS.items():
        training = prepare(sample, kind, objective.reading, micro_batch=2)
        micro = training.batches(0)
        empty = [_unscored(batch) for batch in micro]
        ways = {
            "first": [empty[0], *micro], "last": [*micro, empty[0]], "between": [micro[0], empty[1], empty[0], *micro[1:]]
        }  # fmt: skip
        found |= compare(training, objective, {f"{kind}, {way}": each for way, each in ways.items()}, of=micro)
        alone = fitted(training, objective, empty, torch.float64)
        if alone.loss != 0 or any(bool(gradient.count_nonzero()) for gradient in alone.gradients.values()):
            faults.append(f"{kind}: a step without a target has loss {alone.loss} or a gradient")
    outcome = within(f"{len(found)} steps with such micro-batches, {len(KINDS)} of nothing else", found)
    outcome.faults += faults
    return outcome


def one_token(sample: Sample) -> Outcome:
    """Documents of a single token between long ones."""
    found = {}
    store = _with_short_documents(sample.store)
    for kind, (_, objective) in KINDS.items():
        for rows in (Packed(), Padded(), Bucketed(), *([Stream()] if isinstance(objective, CausalLM) else [])):
            training = prepare(sample, kind, rows, store=store, batch=6, micro_batch=2)
            name = f"{kind}, {type(rows).__name__.lower()}"
            found |= compare(training, objective, {f"{name}, {step}": training.batches(step) for step in (0, 1)})
    return within(f"{len(found)} steps, every other document of one token", found)


def larger_vocabulary(sample: Sample) -> Outcome:
    """More rows of the embedding than the tokenizer has tokens: published models have them."""
    found, faults = {}, []
    store = replace(sample.store, vocab_size=sample.store.vocab_size + 77)
    known = set(sample.vocabulary.ordinary.tolist())
    for kind, (_, objective) in KINDS.items():
        training = prepare(sample, kind, objective.reading, store=store)
        assert training.model.config.vocab_size >= store.vocab_size
        found |= compare(training, objective, {kind: training.batches(0)})
    swapping = MaskedLM(masked=0.0, random=1.0, rate=0.5)
    training = sample.training(store=store, model=KINDS["bert, mlm"][0], objective=swapping)
    for batch in training.batches(0):
        swapped = batch.inputs["tokens"][batch.targets["words"] != IGNORE].tolist()
        faults += [f"token {token} was drawn, which is none of the text" for token in swapped if token not in known]
    outcome = within(f"{len(found)} steps of models with 77 tokens more; none of them drawn", found)
    outcome.faults += faults
    return outcome


@dataclass
class _ShortOfMemory:
    """An objective that has memory for so many rows, until the step's first micro-batch is done for only half."""

    objective: Objective
    most: int
    refuse: Callable[[], BaseException]
    done: int = 0

    def losses(self, model: Transformer, batch: Batch) -> dict[str, Tensor]:
        rows = len(batch.inputs["tokens"])
        if self.done and rows > self.most:
            raise self.refuse()
        self.done += 1
        return self.objective.losses(model, batch)

    def weight(self, name: str) -> float:
        return self.objective.weight(name)


REFUSALS: dict[str, Callable[[], BaseException]] = {
    "MemoryError": MemoryError,
    "OutOfMemoryError": lambda: torch.OutOfMemoryError("CUDA out of memory"),
    "RuntimeError": lambda: RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 8 bytes"),
}


def memory(sample: Sample) -> Outcome:
    """Memory that ends in the second micro-batch, with the gradient of the first one already there."""
    found, faults = {}, []
    for kind, (_, objective) in KINDS.items():
        training = prepare(sample, kind, objective.reading, micro_batch=4)
        micro = training.batches(0)
        expected = written_out(training, micro)
        for (name, refuse), most in zip(REFUSALS.items(), (2, 1, 2), strict=True):
            short: Any = _ShortOfMemory(objective, most, refuse)
            with quiet() as said:
                step = fitted(training, short, micro, torch.float64)
            found[f"{kind}, {name}"] = (expected.difference(step), WIDE)
            if f"micro-batches are cut to {most} rows; the step stays the same" not in said.getvalue():
                faults.append(f"{kind}, {name}: it was not told")
    outcome = within(f"{len(found)} steps; micro-batches of 4 rows are cut to 2 and to 1", found)
    outcome.faults += faults
    return outcome


def large_vocabulary(sample: Sample) -> Outcome:
    """The loss that never holds all logits against the plain one, at the vocabularies of published models."""
    found = {}
    generator = torch.Generator().manual_seed(3)
    for size in (32_000, 50_257, 151_936):
        head = LanguageModelHead(config.Head(), dim=16, vocab_size=size)
        with torch.no_grad():
            head.weight.normal_(0.0, 0.3, generator=generator)
        hidden_ND = torch.randn(160, 16, generator=generator)
        targets_N = torch.randint(0, size, (160,), generator=generator)
        targets_N[::7] = IGNORE
        leaves = [hidden_ND.requires_grad_(), head.weight]
        loss = head.loss(hidden_ND, targets_N)
        ours = torch.autograd.grad(loss, leaves)
        wide = [leaf.detach().double().requires_grad_() for leaf in leaves]
        plain = F.cross_entropy(wide[0] @ wide[1].T, targets_N, ignore_index=IGNORE, reduction="sum")
        theirs = torch.autograd.grad(plain, wide)
        found[f"{size:,}: loss"] = (relative(float(plain.detach()), float(loss.detach())), NARROW)
        for name, mine, other in zip(("hidden states", "weight"), ours, theirs, strict=True):
            found[f"{size:,}: gradient of the {name}"] = (apart({name: other}, {name: mine}), NARROW)
    return within("loss and gradients of 160 tokens; 32,000, 50,257, 151,936 words", found)


def _alone(document: Batch) -> Batch:
    """A document in a row of its own, as a micro-batch."""
    inputs, source = ({**part, "segments": torch.zeros_like(part["tokens"])} if part else {}
                      for part in (document.inputs, document.source))  # fmt: skip
    counts = {name: int((each != IGNORE).sum()) for name, each in document.targets.items()}
    return replace(document, inputs=inputs, source=source, counts=counts)


def _unscored(batch: Batch) -> Batch:
    targets = {name: torch.full_like(each, IGNORE) for name, each in batch.targets.items()}
    return replace(batch, targets=targets, counts=dict.fromkeys(batch.counts, 0))


def _sides(batch: Batch) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    return batch.inputs, batch.source


def _longest(side: dict[str, Tensor]) -> int:
    return int((side["segments"] >= 0).sum(1).max()) if side else 0


def _lost(training: Training, store: TokenStore) -> list[str]:
    """What is wrong with one epoch's rows: every token but the first is learned once."""
    rows = training.batches.rows
    times = np.zeros(len(store.tokens), dtype=np.int64)
    for number in range(rows.per_epoch):
        for piece in rows[number]:
            times[piece.start + 1 + piece.seen : piece.start + len(piece.tokens)] += 1
    return [f"{int((times[1:] != 1).sum())} tokens are lost or read twice"] if (times[1:] != 1).any() else []


def _with_short_documents(store: TokenStore) -> TokenStore:
    """The documents of ``store``, each with one of a single token behind it."""
    stream, starts = [store.eot], [0]
    for begin, end in zip(store.starts[:-1], store.starts[1:], strict=True):
        body = store.tokens[int(begin) + 1 : int(end)].tolist()
        for document in (body, body[:1]):
            stream += [*document, store.eot]
            starts.append(len(stream) - 1)
    documents = [{}] * (len(starts) - 1)
    return TokenStore(np.array(stream), np.array(starts), documents, store.vocab_size, store.eot)
