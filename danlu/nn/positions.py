"""Positions: rotary tables with their scalings, learned and sinusoidal embeddings, biases of scores.

Axes: B batch, H heads, T tokens, Q queries, K keys, F frequencies (half a head's width), E head width, D model width.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from danlu.nn import config


def rotary_table(
    rotary: config.Rotary,
    head_dim: int,
    *,
    start: int = 0,
    end: int,
    length: int | None = None,
    dtype: torch.dtype = torch.float32,
) -> tuple[Tensor, Tensor]:
    """Cosines and sines ``[end - start, F]`` of the positions from ``start``.

    Args:
        length: of the text, on which ``ntk`` scaling depends; of the longest one where a row holds several. By
            default ``end``.
        dtype: of angles and table. The frequencies are those of float32 in any case, as published models have them.
    """
    frequency_F = _frequencies(rotary, head_dim, length=end if length is None else length)
    angle_TF = torch.outer(torch.arange(start, end, dtype=dtype), frequency_F.to(dtype))
    factor = rotary.scaling.attention_factor if rotary.scaling is not None else 1.0
    return angle_TF.cos() * factor, angle_TF.sin() * (factor * rotary.direction)


def table_by_length(
    rotary: config.Rotary, head_dim: int, lengths_BT: Tensor, *, start: int, dtype: torch.dtype = torch.float32
) -> tuple[Tensor, Tensor]:
    """Cosines and sines ``[B, 1, T, F]`` of the positions from ``start``, each that of a text as long as told."""
    end = start + lengths_BT.shape[1]
    cos = sin = torch.zeros(*lengths_BT.shape, head_dim // 2, device=lengths_BT.device, dtype=dtype)
    for length in sorted(set(lengths_BT.flatten().tolist())):
        own_BT1 = (lengths_BT == length)[:, :, None]
        of_cos, of_sin = rotary_table(rotary, head_dim, start=start, end=end, length=length, dtype=dtype)
        cos = torch.where(own_BT1, of_cos.to(cos.device), cos)
        sin = torch.where(own_BT1, of_sin.to(sin.device), sin)
    return cos[:, None], sin[:, None]


def depends_on_length(rotary: config.Rotary) -> bool:
    """Whether the table of a longer text differs at the same position."""
    return rotary.scaling is not None and rotary.scaling.kind == "ntk"


def _frequencies(rotary: config.Rotary, head_dim: int, *, length: int) -> Tensor:
    scaling = rotary.scaling
    if scaling is None:
        return _plain(rotary.theta, head_dim)
    if scaling.kind == "linear":  # Chen et al. 2023, arXiv:2306.15595
        return _plain(rotary.theta, head_dim) / scaling.factor
    if scaling.kind == "ntk":  # "dynamic NTK" by bloc97 and emozilla; section 3.3 of the YaRN paper
        stretch = scaling.factor * max(length, scaling.original_length) / scaling.original_length - (scaling.factor - 1)
        return _plain(rotary.theta * stretch ** (head_dim / (head_dim - 2)), head_dim)
    if scaling.kind == "yarn":
        return _yarn(rotary.theta, head_dim, scaling)
    return _llama3(rotary.theta, head_dim, scaling)


def _plain(theta: float, head_dim: int) -> Tensor:
    return 1.0 / (theta ** (torch.arange(0, head_dim, 2, dtype=torch.float32) / head_dim))


def _yarn(theta: float, head_dim: int, scaling: config.Scaling) -> Tensor:
    """High frequencies stay, low ones are interpolated, those between blended (Peng et al. 2023, arXiv:2309.00071)."""

    def place(turns: float) -> float:
        """The number of the frequency that turns so often in the original length."""
        return head_dim * math.log(scaling.original_length / (turns * 2 * math.pi)) / (2 * math.log(theta))

    low, high = place(scaling.fast), place(scaling.slow)
    if scaling.whole:
        low, high = math.floor(low), math.ceil(high)
    low, high = max(low, 0), min(high, head_dim - 1)
    ramp_F = ((torch.arange(head_dim // 2, dtype=torch.float32) - low) / (high - low or 0.001)).clamp(0, 1)
    kept_F = _plain(theta, head_dim)
    return kept_F / scaling.factor * ramp_F + kept_F * (1 - ramp_F)


def _llama3(theta: float, head_dim: int, scaling: config.Scaling) -> Tensor:
    """Llama 3.1's blend over wave lengths (Grattafiori et al. 2024, arXiv:2407.21783; formula of ``transformers``)."""
    kept_F = _plain(theta, head_dim)
    turns_F = scaling.original_length * kept_F / (2 * math.pi)
    share_F = ((turns_F - scaling.slow) / (scaling.fast - scaling.slow)).clamp(0, 1)
    return kept_F / scaling.factor * (1 - share_F) + kept_F * share_F


def rotate(x_BHTE: Tensor, cos_TF: Tensor, sin_TF: Tensor) -> Tensor:
    """Turn the pairs ``(x[i], x[i + E/2])`` by their position's angles (halves, as in GPT-NeoX and Llama)."""
    left, right = x_BHTE.chunk(2, dim=-1)
    turned = (left * cos_TF - right * sin_TF, right * cos_TF + left * sin_TF)
    return torch.cat([half.type_as(x_BHTE) for half in turned], dim=-1)


def sinusoidal_table(length: int, dim: int) -> Tensor:
    """``[length, D]``: sines on even places, cosines on odd ones (Vaswani et al. 2017, section 3.5)."""
    frequency = torch.exp(torch.arange(0, dim, 2, dtype=torch.float32) * (-math.log(10000.0) / dim))
    angle = torch.outer(torch.arange(length, dtype=torch.float32), frequency)
    return torch.stack([angle.sin(), angle.cos()], dim=2).flatten(1)[:, :dim]


class AddedPositions(nn.Module):
    """Learned or sinusoidal positions ``[B, T, D]`` of position numbers ``[B, T]``."""

    def __init__(self, positions: config.Positions, *, length: int, dim: int) -> None:
        super().__init__()
        self.offset = positions.offset
        self.learned = positions.kind == "learned"
        self.length, self.dim = length, dim
        if self.learned:
            self.weight = nn.Parameter(torch.empty(length + positions.offset, dim))
        self.set_table()

    def set_table(self) -> None:
        """Make the sines, which no checkpoint holds; again for a model that was built on ``meta``."""
        if not self.learned:
            table = sinusoidal_table(self.length + self.offset, self.dim)
            self.register_buffer("weight", table, persistent=False)

    def forward(self, positions_BT: Tensor) -> Tensor:
        return nn.functional.embedding(positions_BT + self.offset, self.weight)


class RelativeBias(nn.Module):
    """T5's bias ``[1, H, Q, K]``: a learned number for each head and bucket of distances (arXiv:1910.10683)."""

    def __init__(self, bias: config.RelativeBias, *, heads: int, causal: bool) -> None:
        super().__init__()
        self.buckets, self.max_distance, self.causal = bias.buckets, bias.max_distance, causal
        self.weight = nn.Parameter(torch.empty(bias.buckets, heads))

    def forward(self, query_Q: Tensor, key_K: Tensor) -> Tensor:
        """Of positions that follow each other: each distance is looked up once, not once a pair."""
        queries, keys = len(query_Q), len(key_K)
        ahead_W = key_K[0] - query_Q[-1] + torch.arange(queries + keys - 1, device=key_K.device)
        values_HW = nn.functional.embedding(self._bucket(ahead_W), self.weight).T
        return by_distance(values_HW, queries, keys)[None]

    def _bucket(self, ahead: Tensor) -> Tensor:
        """Half of the buckets hold one distance each, the others logarithmically more, up to ``max_distance``."""
        buckets = self.buckets
        base = torch.zeros_like(ahead)
        if self.causal:
            distance = (-ahead).clamp_min(0)
        else:
            buckets //= 2
            base = (ahead > 0).long() * buckets
            distance = ahead.abs()
        exact = buckets // 2
        # In the order of T5's own arithmetic: its rounding decides in which bucket the borders lie.
        grown = torch.log(distance.clamp_min(1).float() / exact) / math.log(self.max_distance / exact)
        far = exact + (grown * (buckets - exact)).long()
        return base + torch.where(distance < exact, distance, far.clamp_max(buckets - 1))


def by_distance(values_HW: Tensor, queries: int, keys: int) -> Tensor:
    """``[H, Q, K]`` from ``W = Q + K - 1`` values, one a distance, from the last query back to the first key.

    Row q begins one value farther left than row q - 1, which is a change of view on rows that are all the same; the
    gradient is a sum over them.
    """
    if queries == 1:
        return values_HW[:, None]
    heads, width = values_HW.shape
    rows = values_HW[:, None].expand(heads, queries, width).reshape(heads, -1)
    return rows[:, queries - 1 : -1].reshape(heads, queries, width - 1)[:, :, :keys]


class Alibi(nn.Module):
    """``-slope * distance`` ``[1, H, Q, K]``; slopes as the paper gives them, for any number of heads."""

    def __init__(self, *, heads: int) -> None:
        super().__init__()
        self.heads = heads

    def forward(self, query_Q: Tensor, key_K: Tensor) -> Tensor:
        slope_H = torch.tensor(alibi_slopes(self.heads), device=key_K.device)
        return -slope_H[None, :, None, None] * (query_Q[:, None] - key_K[None, :]).abs()


def alibi_slopes(heads: int) -> list[float]:
    """A geometric sequence that ends at 2⁻⁸; between powers of two, every other slope of the next one besides."""
    power = 2 ** math.floor(math.log2(heads))
    slopes = [2.0 ** (-8.0 * (number + 1) / power) for number in range(power)]
    extra = [2.0 ** (-8.0 * (number + 1) / (2 * power)) for number in range(0, 2 * (heads - power), 2)]
    return slopes + extra
