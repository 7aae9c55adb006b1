"""Drawing the first weights is told to the watch call by call, and draws what it draws without."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from danlu.nn.families import GPT
from danlu.nn.families.given import first_model
from danlu.nn.transformer import Transformer
from danlu.parallel.joining import ALONE, Ranks
from danlu.train.drawing import drawn

FAMILY = GPT(layers=2, dim=32, heads=2)


def draw() -> Transformer:
    return first_model(FAMILY, FAMILY.config(vocab_size=50, max_length=16), seed=3)


@dataclass(frozen=True)
class Counted(Ranks):
    """Counts what the watch would be told."""

    size: int = 2
    ticks: tuple[list[None], ...] = ([],)

    def tick(self) -> None:
        self.ticks[0].append(None)


def test_each_weight_is_progress_and_all_are_the_same() -> None:
    team, alone = Counted(ticks=([],)), drawn(draw, ALONE)
    model = drawn(draw, team)
    assert len(team.ticks[0]) >= len(list(model.parameters()))
    for (name, mine), (other, theirs) in zip(model.named_parameters(), alone.named_parameters(), strict=True):
        assert name == other and torch.equal(mine, theirs)
    before = len(team.ticks[0])
    torch.zeros(3)
    assert len(team.ticks[0]) == before, "nothing is told of other calls"
