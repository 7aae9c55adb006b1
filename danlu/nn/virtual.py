"""Virtual tokens: learned ones that stand before each document and are no words.

Of a prompt (Lester et al. 2021, arXiv:2104.08691) the embeddings are learned; of a prefix (Li & Liang 2021,
arXiv:2101.00190; as P-tuning v2, arXiv:2110.07602, in all layers) the keys and values of each layer. Both go through a
row as its other tokens do, so that positions, masks, kernels and caches need not know of them; nobody but a head that
reads a document's first token sees what becomes of them. What a prefix learns is keys as they are when its tokens stand
at the beginning of a row, as PEFT has them; they are turned back before the layer turns them by the rotary positions
that they have, so that they are the same wherever a document begins.

Axes: B rows, T tokens, W tokens with the virtual ones, P virtual tokens, D model width, G key/value heads, E head
width, L layers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from danlu.nn.config import Embedding, Labels, Rotary, Stack, TransformerConfig
from danlu.nn.positions import rotary_table, rotate
from danlu.nn.sight import PADDING


@dataclass(frozen=True)
class Row:
    """Rows with the virtual tokens of their documents."""

    segments: Tensor | None
    """``[B, W]`` document numbers; None where each row is one document."""
    places: Tensor
    """``[B, W]``: what stands there: a virtual token by its number, or behind P the token of the flattened rows."""
    back: Tensor
    """``[B, T]``: where in the flattened wide rows each token is."""
    first: Tensor
    """The same, but in place of each document's first token its first virtual one."""
    virtual: int
    """P"""

    @classmethod
    def of(cls, segments_BT: Tensor | None, like_BT: Tensor, virtual: int) -> Row:
        """Rows like ``like_BT``: virtual tokens stand where a document begins; what is left over is padding."""
        batch, length = like_BT.shape
        token_BT = torch.arange(batch * length, device=like_BT.device).view(batch, length)
        place_T = torch.arange(length, device=like_BT.device)
        if segments_BT is None:
            begins_BT = (place_T == 0).expand(batch, length)
        else:
            before_BT = F.pad(segments_BT, (1, 0), value=PADDING)[:, :-1]
            begins_BT = (segments_BT != PADDING) & (segments_BT != before_BT)
        count_BT = begins_BT.long().cumsum(1)
        width = length + virtual * int(count_BT[:, -1].max())
        within_BT = place_T + virtual * count_BT
        back_BT = within_BT + width * torch.arange(batch, device=like_BT.device)[:, None]
        first_N = back_BT[begins_BT] - virtual
        number_P = torch.arange(virtual, device=like_BT.device)
        places = torch.zeros(batch * width, dtype=torch.long, device=like_BT.device)
        places[back_BT.flatten()] = virtual + token_BT.flatten()
        places[(first_N[:, None] + number_P).flatten()] = number_P.repeat(len(first_N))
        wide = None
        if segments_BT is not None:
            wide = segments_BT.new_full((batch * width,), PADDING)
            wide[back_BT.flatten()] = segments_BT.flatten()
            wide[(first_N[:, None] + number_P).flatten()] = segments_BT[begins_BT].repeat_interleave(virtual)
            wide = wide.view(batch, width)
        return cls(wide, places.view(batch, width), back_BT, back_BT - virtual * begins_BT, virtual)

    def widened(self, x_BTX: Tensor, virtual_PD: Tensor | None = None) -> Tensor:
        """``[B, W, …]``: the tokens' own, and of virtual ones what is told, or 0."""
        own = x_BTX.flatten(0, 1).index_select(0, (self.places - self.virtual).clamp_min(0).flatten())
        own_BWX = own.view(*self.places.shape, *x_BTX.shape[2:])
        here = (self.places < self.virtual).view(*self.places.shape, *(1 for _ in x_BTX.shape[2:]))
        theirs = x_BTX.new_zeros(()) if virtual_PD is None else self.of_virtual(virtual_PD).to(x_BTX.dtype)
        return torch.where(here, theirs, own_BWX)

    def of_virtual(self, table_PX: Tensor) -> Tensor:
        """``[B, W, X]``: what each virtual token has in a table; without meaning elsewhere."""
        # Torch adds up the gradient of this look-up in the same order each time, which is not so of every other.
        return F.embedding(self.places.clamp_max(self.virtual - 1), table_PX)

    def narrowed(self, x_BWX: Tensor, *, first: bool = False) -> Tensor:
        """``[B, T, …]``: of the tokens; of each document's first token what its first virtual one has, if ``first``."""
        back_BT = self.first if first else self.back
        return x_BWX.flatten(0, 1).index_select(0, back_BT.flatten()).view(*back_BT.shape, *x_BWX.shape[2:])


class StandIn(NamedTuple):
    """Keys and values ``[P, G, E]`` that virtual tokens have in one layer."""

    row: Row
    keys: Tensor
    values: Tensor

    def put(self, keys_BGWE: Tensor, values_BGWE: Tensor) -> tuple[Tensor, Tensor]:
        """Theirs in place of what the layer makes of their hidden states."""
        return self._in_place_of(keys_BGWE, self.keys), self._in_place_of(values_BGWE, self.values)

    def _in_place_of(self, made_BGWE: Tensor, own_PGE: Tensor) -> Tensor:
        own_BWF = self.row.of_virtual(own_PGE.flatten(1))
        own_BGWE = own_BWF.view(*own_BWF.shape[:2], *own_PGE.shape[1:]).transpose(1, 2)
        here_B1W1 = (self.row.places < self.row.virtual)[:, None, :, None]
        return torch.where(here_B1W1, own_BGWE.type_as(made_BGWE), made_BGWE)


class Prefix(nn.Module):
    """Keys and values of virtual tokens in each layer of a stack, which must be alike."""

    weight: nn.Parameter | None
    """``[P, L * 2 * G * E]``, keys turned as at the beginning of a row; None while an MLP makes it."""

    def __init__(self, stack: Stack, tokens: int) -> None:
        super().__init__()
        attention = stack.layers[0].attention
        self.tokens = tokens
        self.rotary = [layer.attention.rotary for layer in stack.layers]
        self.shape = (tokens, len(stack.layers), 2, attention.kv_heads, attention.head_dim)
        self.mlp: nn.Module | None = None
        self.weight = nn.Parameter(torch.empty(tokens, len(stack.layers) * 2 * attention.kv_heads * attention.head_dim))

    def layers(self) -> list[tuple[Tensor, Tensor]]:
        """Keys, turned back, and values ``[P, G, E]`` of each layer."""
        layers = zip(self.table().view(self.shape).unbind(1), self.rotary, strict=True)
        return [(turned(layer_P2GE[:, 0], rotary, back=True), layer_P2GE[:, 1]) for layer_P2GE, rotary in layers]

    def table(self) -> Tensor:
        """All of them, ``[P, L * 2 * G * E]``."""
        if self.mlp is not None:
            made: Tensor = self.mlp(self.embedding)
            return made
        assert self.weight is not None
        return self.weight

    def made_by_mlp(self, hidden: int, *, seed: int) -> None:
        """Learn an embedding and an MLP that make the table, which steadies training (Li & Liang 2021, section 4.3)."""
        assert self.weight is not None
        like, width = self.weight, self.shape[3] * self.shape[4]
        generator = torch.Generator().manual_seed(seed)
        self.embedding = nn.Parameter(torch.randn(self.shape[0], width, generator=generator).to(like))
        self.mlp = nn.Sequential(nn.Linear(width, hidden), nn.Tanh(), nn.Linear(hidden, like.shape[1]))
        for weight in self.mlp.parameters():
            bound = (width if len(weight) == hidden else hidden) ** -0.5
            weight.data = torch.empty(weight.shape).uniform_(-bound, bound, generator=generator).to(like)
        self.weight = None

    @torch.no_grad()
    def without_mlp(self) -> None:
        """Keep what the MLP makes, and not the MLP."""
        if self.mlp is None:
            return
        self.weight = nn.Parameter(self.table())
        self.mlp = None
        del self.embedding


def turned(keys_PGE: Tensor, rotary: Rotary | None, *, back: bool = False) -> Tensor:
    """Keys turned by the rotary positions 0, 1, …, or turned back."""
    if rotary is None:
        return keys_PGE
    cos_PF, sin_PF = rotary_table(rotary, keys_PGE.shape[2], end=len(keys_PGE), dtype=torch.float64)
    if back:
        length_PF = cos_PF.square() + sin_PF.square()  # not 1 where turning also scales
        cos_PF, sin_PF = cos_PF / length_PF, -sin_PF / length_PF
    return rotate(keys_PGE.transpose(0, 1), cos_PF.to(keys_PGE.device), sin_PF.to(keys_PGE.device)).transpose(0, 1)


def make_virtual(stack: Stack, dim: int) -> tuple[nn.Parameter | None, Prefix | None]:
    """The embeddings of a stack's virtual tokens, or their keys and values; numbers are still to be put in."""
    virtual = stack.virtual
    if virtual is None:
        return None, None
    if virtual.kind == "prompt":
        return nn.Parameter(torch.empty(virtual.tokens, dim)), None
    return None, Prefix(stack, virtual.tokens)


def reads_virtual(config: TransformerConfig) -> bool:
    """Whether what reads a document by its first token reads its first virtual one, as PEFT's models do.

    A prefix has only keys and values, so there it is the first of the document's own.
    """
    prompt = config.virtual is not None and config.virtual.kind == "prompt"
    return prompt and isinstance(config.head, Labels | Embedding) and config.head.pooling == "first"
