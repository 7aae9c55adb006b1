"""Held-out loss: nats per token, bits per byte, perplexity, next-token accuracy; by language.

The held-out stream is cut into rows of the model's ``max_length`` that do not overlap, and every
target in it is scored once, in float32. So a token early in a row has little before it, as in
training; with a ``stride`` rows overlap as a sliding window does, every target still scored once, and figures are
lower. Documents in one row do not see each other.

Beside them stand the figures of an n-gram model of the training part on the same targets, so that a table
says what has been learned beyond counting.

Where a tokenizer has one token for all that it does not know, what that stands for costs the model nothing: loss and
bits per byte are too low by it, and how much of the targets it is stands beside them.

Axes: B rows, T tokens in a row, D model width, N tokens, V vocabulary.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from danlu import log
from danlu.corpus.batches import IGNORE
from danlu.corpus.store import TokenStore
from danlu.errors import InputError, RecipeError
from danlu.evaluate.ngram import NGram, score
from danlu.evaluate.protocol import Subject
from danlu.evaluate.unknown import unknown_shares
from danlu.files import atomic_write, write_json
from danlu.metrics.bootstrap import RESAMPLES, ratio_interval
from danlu.nn.head import rows_at_once
from danlu.nn.transformer import Transformer
from danlu.recipe import Choice
from danlu.stage import Figures

FIRST_TOKENS = 48
"""Tokens of a document that stand in ``perplexity_documents.jsonl``, so that people know which it is."""
COMPARED = ("nats_per_token", "bits_per_byte", "perplexity", "accuracy")
"""Figures of the baseline; its documents, tokens and bytes are the model's."""


@dataclass(frozen=True, slots=True)
class DocumentLosses:
    """One value a document: its targets, its bytes, the nats that they cost, how many were foreseen."""

    languages: NDArray[np.str_]
    tokens: NDArray[np.float64]
    bytes: NDArray[np.float64]
    nats: NDArray[np.float64]
    right: NDArray[np.float64]


class Perplexity(Choice):
    """Loss on held-out documents, in all and by language."""

    batch_tokens: int = Field(default=8192, ge=1)
    """Tokens that go through the model at once: more takes more memory and changes no figure."""
    stride: int | None = Field(default=None, ge=1)
    """Tokens by which a row begins behind the one before it, so that a target has at least ``max_length - stride``
    tokens of its document before it, or all there are, as in the guide of transformers to the perplexity of models
    of fixed length. By default rows do not overlap; half a row takes twice the time, 1 gives every target all that
    the model can read."""
    baseline: NGram | None = NGram()
    """The n-gram model of the training part that stands beside it; null for none."""

    def measure(self, subject: Subject) -> Figures:
        """Write ``perplexity.json`` and ``perplexity_documents.jsonl``; figures ``all.…``, by language, ``baseline.…``.

        Raises:
            RecipeError: the model has an encoder: it sees what it would have to foresee; or the stride leaves
                targets between rows.
            InputError: no document was held out.
        """
        if subject.model.config.encoder is not None:
            raise RecipeError("evaluate.tasks: perplexity is of models without an encoder; choose objective")
        length = subject.model.config.max_length
        if self.stride is not None and self.stride > length:
            raise RecipeError(f"evaluate.tasks: perplexity.stride must be at most {length}, the tokens of a row; "
                              f"got {self.stride}")  # fmt: skip
        losses = losses_of(subject, batch_tokens=self.batch_tokens, stride=self.stride)
        groups = _by_language(losses, seed=subject.seed)
        for name, share in unknown_shares(subject).items():
            groups[name]["unknown_share"] = share
        rows = {"row_tokens": length, **({} if self.stride is None else {"stride": self.stride})}
        summary = {**rows, "resamples": RESAMPLES, **_parted(groups)}
        figures = {f"{group}.{name}": value for group, found in groups.items() for name, value in found.items()}
        if self.baseline is not None:
            ngram = self.baseline.train(subject.train, seed=subject.seed)
            beside = _by_language(_document_losses(subject.heldout, *score(ngram, subject.heldout)), seed=subject.seed)
            about = {"order": ngram.order, "tokens": ngram.tokens, "train_tokens": subject.train.targets}
            discounts = [[_rounded(discount) for discount in level.discounts] for level in ngram.levels]
            summary["baseline"] = {**about, "discounts": discounts, **_parted(beside)}
            figures |= {f"baseline.{name}": value for name, value in about.items()}
            figures |= {f"baseline.{group}.{name}": found[name] for group, found in beside.items() for name in COMPARED}
        write_json(subject.out / "perplexity.json", summary)
        lines = (json.dumps(line, ensure_ascii=False) + "\n" for line in _document_lines(losses, subject))
        atomic_write(subject.out / "perplexity_documents.jsonl", "".join(lines).encode())
        return {name: value for name, value in figures.items() if not isinstance(value, list | None)}


def losses_of(subject: Subject, *, batch_tokens: int, stride: int | None = None) -> DocumentLosses:
    """Those of its held-out documents, scored once however many measures ask.

    Raises:
        InputError: no document was held out.
    """
    return subject.once(
        ("document_losses", batch_tokens, stride),
        lambda: document_losses(subject.model, subject.heldout, batch_tokens=batch_tokens, stride=stride),
    )


def document_losses(
    model: Transformer, store: TokenStore, *, batch_tokens: int, stride: int | None = None
) -> DocumentLosses:
    """Score every target of ``store``; a document's targets are its tokens and the end-of-text behind them.

    Args:
        stride: tokens by which rows begin behind each other, at most those of a row; by default these.

    Raises:
        InputError: the store holds no document.
    """
    if not store.documents:
        raise InputError("evaluate needs held-out documents, and there are none; give pack.split a larger share")
    count = len(store.documents)
    nats, right = np.zeros(count), np.zeros(count)
    with log.progress("evaluate", store.targets, "tokens") as progress, torch.inference_mode():
        for end, tokens_BT, targets_BT, documents_BT in _batches(
            store, model.config.max_length, batch_tokens, stride or model.config.max_length
        ):
            nats_N, right_N = _score(model, tokens_BT, targets_BT, documents_BT)
            documents_N = documents_BT[targets_BT != IGNORE].numpy()
            nats += np.bincount(documents_N, weights=nats_N.cpu().double().numpy(), minlength=count)
            right += np.bincount(documents_N, weights=right_N.cpu().double().numpy(), minlength=count)
            progress.update(end)
    return _document_losses(store, nats, right)


def _document_losses(store: TokenStore, nats: NDArray[np.float64], right: NDArray[np.float64]) -> DocumentLosses:
    return DocumentLosses(
        languages=np.array([document["language"] for document in store.documents]),
        tokens=np.diff(np.asarray(store.starts)).astype(np.float64),
        bytes=np.array([document["bytes"] for document in store.documents], dtype=np.float64),
        nats=nats,
        right=right,
    )


def _batches(
    store: TokenStore, length: int, batch_tokens: int, stride: int
) -> Iterator[tuple[int, Tensor, Tensor, Tensor]]:
    """(end, inputs ``[B, T]``, their targets ``[B, T]``, document numbers ``[B, T]``).

    Padding has document -1; what is no target, or one of the row before, is ``IGNORE``.
    """
    rows = max(1, batch_tokens // length)
    overlap = length - stride
    begins = np.arange(0, max(1, store.targets - overlap), stride)
    for first in range(0, len(begins), rows):
        start_B = begins[first : first + rows]
        place_BT = start_B[:, None] + np.arange(length)
        inside_BT = place_BT < store.targets
        start, end = int(start_B[0]), min(int(start_B[-1]) + length, store.targets)
        stretch = store.tokens[start : end + 1].astype(np.int64)
        within_BT = np.minimum(place_BT, store.targets - 1) - start
        again_BT = (np.arange(length) < overlap) & (start_B[:, None] > 0)
        tokens_BT = np.where(inside_BT, stretch[within_BT], 0)
        targets_BT = np.where(inside_BT & ~again_BT, stretch[within_BT + 1], IGNORE)
        documents = np.searchsorted(store.starts, np.arange(start, end), side="right") - 1
        documents_BT = np.where(inside_BT, documents[within_BT], -1)
        yield end, torch.from_numpy(tokens_BT), torch.from_numpy(targets_BT), torch.from_numpy(documents_BT)


def _score(model: Transformer, tokens_BT: Tensor, targets_BT: Tensor, documents_BT: Tensor) -> tuple[Tensor, Tensor]:
    """Nats of every target, and whether it was the most likely token; N leaves out what is ``IGNORE``."""
    several = bool((documents_BT[:, 1:] != documents_BT[:, :-1]).any())
    device = model.embedding.weight.device
    tokens_BT, targets_BT, documents_BT = (tensor.to(device) for tensor in (tokens_BT, targets_BT, documents_BT))
    hidden_BTD = model(tokens_BT, segments=documents_BT if several else None)  # without a mask it is faster
    scored_BT = targets_BT != IGNORE
    hidden_ND, targets_N = hidden_BTD[scored_BT], targets_BT[scored_BT]
    rows = rows_at_once(model.config.vocab_size)
    nats, right = [], []
    for part_ND, part_N in zip(torch.split(hidden_ND, rows), torch.split(targets_N, rows), strict=True):
        logits_NV = model.head(part_ND).float()
        nats.append(F.cross_entropy(logits_NV, part_N, reduction="none"))
        right.append(logits_NV.argmax(dim=-1) == part_N)
    return torch.cat(nats), torch.cat(right)


def _by_language(losses: DocumentLosses, *, seed: int) -> dict[str, dict[str, Any]]:
    """The figures of all documents, and of those of each language."""
    present = sorted(set(losses.languages.tolist()))
    everything = _summary(losses, np.ones(len(losses.nats), dtype=bool), seed=seed)
    return {"all": everything, **{name: _summary(losses, losses.languages == name, seed=seed) for name in present}}


def _parted(groups: dict[str, dict[str, Any]]) -> dict[str, Any]:
    return {"all": groups["all"], "languages": {name: found for name, found in groups.items() if name != "all"}}


def _summary(losses: DocumentLosses, chosen: NDArray[np.bool_], *, seed: int) -> dict[str, Any]:
    """The figures of the chosen documents.

    The cost of the end-of-text tokens is in the numerator of bits per byte, and they have no bytes:
    a model that does not know where documents end pays for it.
    """
    tokens, size, nats = losses.tokens[chosen], losses.bytes[chosen], losses.nats[chosen]
    nats_per_token = nats.sum() / tokens.sum()
    per_token = ratio_interval(nats, tokens, seed=seed)
    per_byte = ratio_interval(nats / math.log(2), size, seed=seed)
    return {
        "documents": int(chosen.sum()),
        "tokens": int(tokens.sum()),
        "bytes": int(size.sum()),
        "nats_per_token": _rounded(nats_per_token),
        "bits_per_byte": _rounded(nats.sum() / math.log(2) / size.sum()),
        "perplexity": _rounded(np.exp(nats_per_token)),
        "accuracy": _rounded(losses.right[chosen].sum() / tokens.sum()),
        "nats_per_token_95": None if per_token is None else [_rounded(bound) for bound in per_token],
        "bits_per_byte_95": None if per_byte is None else [_rounded(bound) for bound in per_byte],
        "perplexity_95": None if per_token is None else [_rounded(np.exp(bound)) for bound in per_token],
    }


def _document_lines(losses: DocumentLosses, subject: Subject) -> Iterator[dict[str, Any]]:
    store = subject.heldout
    for number, document in enumerate(store.documents):
        first, behind = int(store.starts[number]) + 1, int(store.starts[number + 1])
        begins = subject.tokenizer.decode(store.tokens[first : min(behind, first + FIRST_TOKENS)].tolist())
        nats, tokens, size = losses.nats[number], losses.tokens[number], losses.bytes[number]
        yield {
            "id": document["id"],
            "language": document["language"],
            "tokens": int(tokens),
            "bytes": int(size),
            "nats_per_token": _rounded(nats / tokens),
            "bits_per_byte": _rounded(nats / math.log(2) / size),
            "accuracy": _rounded(losses.right[number] / tokens),
            "begins": begins,
        }


def _rounded(value: float) -> float:
    return round(float(value), 6)
