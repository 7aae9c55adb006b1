"""Rows of the embedding, and of the head for words, for tokens that a model has not had yet."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from danlu.tokenizers.folder import read_tokenizer
from danlu.tokenizers.grown import splitter
from danlu.tokenizers.named import unknown_of

NewRows = Literal["pieces", "mean"]
"""What new rows begin as: the mean of the rows of a token's old pieces (Gee et al. 2022, Fast Vocabulary Transfer,
arXiv:2402.09977), or draws around the mean of all rows (Hewitt 2021)."""


@dataclass(frozen=True, slots=True)
class NewTokens:
    """Tokens that come to those of a folder, by their ids."""

    pieces: Mapping[int, tuple[int, ...]]
    """The old tokens that each is written with; empty where the old tokenizer knows none of it, or is not to be asked.
    """


def new_tokens(folder: Path, tokens: Mapping[str, int], *, begin: NewRows) -> NewTokens | None:
    """Those of ``tokens`` that the tokenizer in ``folder`` has not; None where it has tokens at other places.

    Raises:
        InputError: there is no tokenizer, or it is damaged.
    """
    inner = read_tokenizer(folder)[0]
    old = inner.get_vocab(with_added_tokens=True)
    if any(tokens.get(token) != id for token, id in old.items()):
        return None
    split, unknown = splitter(inner), unknown_of(inner)
    pieces: dict[int, tuple[int, ...]] = {}
    for token, id in tokens.items():
        if token in old:
            continue
        found = split(token) if begin == "pieces" else ()
        pieces[id] = tuple(piece for piece in found if piece != unknown)
    return NewTokens(pieces)


def with_new_rows(rows_V: Tensor, count: int, new: NewTokens | None, *, seed: int) -> Tensor:
    """``[count, …]``: the old rows as they are, and those of new tokens; rows that no token has are drawn too.

    Args:
        rows_V: ``[V, D]``, or ``[V]`` of a bias.
    """
    size = len(rows_V)
    # The folder may have had rows to spare, for which nothing was learned.
    spare = [] if new is None else sorted(id for id, pieces in new.pieces.items() if not pieces and id < size)
    longer = drawn(rows_V, max(count, size) + len(spare), seed=seed)
    longer[spare] = longer[max(count, size) :].clone()
    longer = longer[: max(count, size)].clone()
    if new is None:
        return longer
    for id, pieces in new.pieces.items():
        if pieces:
            longer[id] = rows_V[list(pieces)].float().mean(0).to(rows_V.dtype)
    return longer


def drawn(rows_V: Tensor, count: int, *, seed: int) -> Tensor:
    """``[count, …]``: behind the rows others, drawn with the mean and spread of each column (Hewitt 2021)."""
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(count - len(rows_V), *rows_V.shape[1:], generator=generator)
    spread, mean = torch.std_mean(rows_V.float(), 0)
    return torch.cat([rows_V, (noise * spread + mean).to(rows_V.dtype)])
