"""UL2's mixture of denoisers: short spans, long ones, much noise, and the end of the text."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np
from pydantic import Field
from torch import Tensor

from danlu.corpus.batches import Batch, Example
from danlu.corpus.rows import Ints, Piece, Widths
from danlu.corpus.store import TokenStore
from danlu.nn.transformer import Transformer
from danlu.objectives.protocol import Objective, Sides
from danlu.objectives.sides import two_sides
from danlu.objectives.spans import Noise, check_sentinels
from danlu.objectives.words import only_words
from danlu.recipe import Settings
from danlu.tokenizers.vocabulary import Vocabulary

Mode = Literal["R", "S", "X"]
MODES: tuple[Mode, ...] = ("R", "S", "X")


class Denoiser(Settings):
    """One way to corrupt a text."""

    mode: Mode
    """R (regular: short spans, little noise), S (sequential: the end of the text) or X (extreme)."""
    rate: float = Field(gt=0, lt=1)
    """Share of the tokens that are cut out."""
    mean: float | None = Field(default=None, ge=1)
    """Tokens of a span, on average; without, one span at the end of the text."""
    weight: float = Field(default=1.0, gt=0)
    """How often it is drawn, beside the others."""

    @property
    def noise(self) -> Noise:
        """What it cuts out."""
        return Noise(self.rate, self.mean)


SEVEN = (
    Denoiser(mode="R", rate=0.15, mean=3), Denoiser(mode="R", rate=0.15, mean=8), Denoiser(mode="S", rate=0.25),
    Denoiser(mode="X", rate=0.5, mean=3), Denoiser(mode="X", rate=0.5, mean=8), Denoiser(mode="X", rate=0.15, mean=64),
    Denoiser(mode="X", rate=0.5, mean=64),
)  # fmt: skip
"""Those of the paper's table."""


class UL2(Objective):
    """A mixture of denoisers (Tay et al. 2022, arXiv:2205.05131); one is drawn for each document, anew every epoch.

    Its draw decides how long both sides are, so a document has the room of the denoiser that needs most on either
    side: a row costs about half as much again as its text. ``sequence`` is the encoder's places, the decoder's are
    those of a document that fills them.
    """

    sides: ClassVar[Sides] = "both"
    needs: ClassVar[tuple[str, ...]] = ("sentinels",)

    denoisers: tuple[Denoiser, ...] = Field(default=SEVEN, min_length=1)
    """What is mixed; by default the paper's seven, all alike."""
    modes: bool = True
    """Whether a source begins with a token that says which mode it is, to be called upon later. The paper's has tokens
    of its own; here they are the last three sentinels, for R, S and X."""
    sentinels: int = Field(default=97, ge=1)
    """The most spans of a document, of which each has a sentinel of the tokenizer's; longer documents are cut."""

    def room(self, sequence: int) -> Widths:
        inside = sequence - self.modes
        longest = min(each.noise.longest(inside, most=self.sentinels) for each in self.denoisers)
        return Widths(max(1, int(self.widths(np.array(longest)).inputs)), sequence)

    def widths(self, body: Ints) -> Widths:
        each = [denoiser.noise.widths(body, most=self.sentinels) for denoiser in self.denoisers]
        all_fit = np.all([widths.inputs > 0 for widths in each], axis=0)
        inputs, source = (np.max([widths[side] for widths in each], axis=0) for side in range(2))
        return Widths(np.where(all_fit, inputs, 0), np.where(all_fit, source + self.modes, 0))

    def example(self, piece: Piece, *, vocabulary: Vocabulary, noise: np.random.Generator) -> Example:
        weights = np.array([denoiser.weight for denoiser in self.denoisers])
        denoiser = self.denoisers[int(noise.choice(len(weights), p=weights / weights.sum()))]
        end = vocabulary.eot
        source, written = denoiser.noise.cut(piece.body, vocabulary.sentinels, noise=noise)
        if self.modes:
            source = np.concatenate([[mode_token(denoiser.mode, vocabulary)], source])
        return two_sides(np.append(source, end), np.append(written, end), vocabulary=vocabulary)

    def losses(self, model: Transformer, batch: Batch) -> dict[str, Tensor]:
        return only_words(self, model, batch)

    def check(self, vocabulary: Vocabulary, store: TokenStore) -> None:
        super().check(vocabulary, store)
        check_sentinels(vocabulary, self.sentinels, others=len(MODES) * self.modes)


def mode_token(mode: Mode, vocabulary: Vocabulary) -> int:
    """The sentinel that stands for a mode."""
    return vocabulary.sentinels[MODES.index(mode) - len(MODES)]
