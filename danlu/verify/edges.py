"""Steps at the edge: nothing scored, tiny documents, words that nobody uses, too little memory, huge vocabularies."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from danlu.corpus.batches import IGNORE, Batch
from danlu.corpus.reading import Bucketed, Packed, Padded
from danlu.corpus.store import TokenStore
from danlu.nn import config
from danlu.nn.head import LanguageModelHead
from danlu.nn.transformer import Transformer
from danlu.objectives.mlm import MaskedLM
from danlu.objectives.protocol import Objective
from danlu.train.settings import Hardware
from danlu.verify.layouts import lost_tokens
from danlu.verify.outcome import Differences, Outcome, apart, relative, within
from danlu.verify.sample import Sample, at_once, quiet
from danlu.verify.steps import KINDS, NARROW, WIDE, compare, fitted, prepare, readings, written_out

GRADIENTS = 1e-5
"""Of sums over a hundred thousand words in float32."""


def nothing_scored(sample: Sample) -> Outcome:
    """Micro-batches of which nothing is scored, among others and by themselves."""
    found: Differences = {}
    faults: list[str] = []
    for kind, (_, objective) in KINDS.items():
        training = prepare(sample, kind, objective.reading, hardware=at_once(2))
        micro = training.batches(0)
        empty = [_unscored(batch) for batch in micro]
        ways = {
            "first": [empty[0], *micro], "last": [*micro, empty[0]],
            "between": [micro[0], empty[1], empty[0], *micro[1:]],
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
    found: Differences = {}
    lost: list[str] = []
    store = with_short_documents(sample.store)
    for kind, (_, objective) in KINDS.items():
        for rows in readings(objective, Packed(), Padded(), Bucketed()):
            training = prepare(sample, kind, rows, store=store, batch=6, hardware=at_once(2))
            name = f"{kind}, {type(rows).__name__.lower()}"
            found |= compare(training, objective, {f"{name}, {step}": training.batches(step) for step in (0, 1)})
            if objective.sides != "both":  # a span and what is around it are two tokens at least
                lost += [f"{name}: {fault}" for fault in lost_tokens(training, store)]
    outcome = within(f"{len(found)} steps, every other document of one token", found)
    outcome.faults += lost
    return outcome


def larger_vocabulary(sample: Sample) -> Outcome:
    """More rows of the embedding than the tokenizer has tokens: published models have them."""
    found: Differences = {}
    faults: list[str] = []
    spacious, known = Hardware(device="cpu", vocab_multiple=128), set(sample.vocabulary.ordinary.tolist())
    spare = -sample.store.vocab_size % 128
    for kind, (_, objective) in KINDS.items():
        training = prepare(sample, kind, objective.reading, hardware=spacious)
        assert training.model.config.vocab_size == sample.store.vocab_size + spare > sample.store.vocab_size
        found |= compare(training, objective, {kind: training.batches(0)})
    swapping = MaskedLM(masked=0.0, random=1.0, rate=0.5)
    training = sample.training(model=KINDS["bert, mlm"][0], objective=swapping, hardware=spacious)
    for batch in training.batches(0):
        swapped = batch.inputs["tokens"][batch.targets["words"] != IGNORE].tolist()
        faults += [f"token {token} was drawn, which is none of the text" for token in swapped if token not in known]
    outcome = within(f"{len(found)} steps of models with {spare} words more; none of them drawn", found)
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
    found: Differences = {}
    faults: list[str] = []
    for kind, (_, objective) in KINDS.items():
        training = prepare(sample, kind, objective.reading, hardware=at_once(4))
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
    found: Differences = {}
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
            found[f"{size:,}: gradient of the {name}"] = (apart({name: other}, {name: mine}), GRADIENTS)
    return within("loss and gradients of 160 tokens; 32,000, 50,257, 151,936 words", found)


def _unscored(batch: Batch) -> Batch:
    targets = {name: torch.full_like(each, IGNORE) for name, each in batch.targets.items()}
    return replace(batch, targets=targets, counts=dict.fromkeys(batch.counts, 0))


def with_short_documents(store: TokenStore) -> TokenStore:
    """The documents of ``store``, each with one of a single token behind it."""
    stream, starts = [store.eot], [0]
    for begin, end in zip(store.starts[:-1], store.starts[1:], strict=True):
        body = store.tokens[int(begin) + 1 : int(end)].tolist()
        for document in (body, body[:1]):
            stream += [*document, store.eot]
            starts.append(len(stream) - 1)
    return TokenStore(np.array(stream), np.array(starts), [{} for _ in starts[1:]], store.vocab_size, store.eot)
