"""Each property of one step holds, and fails where what it rests on is taken away."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from torch import Tensor

from danlu.corpus.batches import Batch
from danlu.corpus.documents import DocumentRows
from danlu.nn.transformer import Transformer
from danlu.train import gradients
from danlu.verify import edges, layouts
from danlu.verify.outcome import Outcome
from danlu.verify.sample import Sample

PROPERTIES: dict[str, Callable[[Sample], Outcome]] = {
    "accumulation": layouts.accumulation,
    "ragged": layouts.ragged,
    "packing": layouts.packing,
    "padding": layouts.padding,
    "nothing scored": edges.nothing_scored,
    "one token": edges.one_token,
}
Patch = pytest.MonkeyPatch


def count_the_first(patch: Patch) -> None:
    """The mean over the first micro-batch's targets, not the step's."""
    patch.setattr(gradients, "count_targets", lambda micro, right=gradients.count_targets: right(micro[:1]))


def count_alike(patch: Patch) -> None:
    """As if all micro-batches had as many targets as the first."""

    def alike(micro: Sequence[Batch]) -> dict[str, int]:
        return {name: count * len(micro) for name, count in micro[0].counts.items()}

    patch.setattr(gradients, "count_targets", alike)


def count_places(patch: Patch) -> None:
    """Targets that are not scored are counted too."""

    def places(micro: Sequence[Batch]) -> dict[str, int]:
        scored = any(batch.counts["words"] for batch in micro)  # a step without any is another matter
        return {"words": sum(batch.targets["words"].numel() for batch in micro) if scored else 0}

    patch.setattr(gradients, "count_targets", places)


def change_segments(patch: Patch, change: Callable[[Tensor], Tensor | None]) -> None:
    real = Transformer.forward

    def forward(self: Transformer, tokens: Tensor, **settings: Any) -> Tensor:
        if settings.get("segments") is not None:
            settings["segments"] = change(settings["segments"])
        return real(self, tokens, **settings)

    patch.setattr(Transformer, "forward", forward)


def see_all(patch: Patch) -> None:
    """Documents of a row see each other."""
    change_segments(patch, lambda segments: segments.clamp_max(0))


def see_padding(patch: Patch) -> None:
    """Padding is seen by the first document."""
    change_segments(patch, lambda segments: segments.clamp_min(0))


def lose_a_row(patch: Patch) -> None:
    patch.setattr(DocumentRows, "per_epoch", property(lambda self: len(self.filling) - 1))


BREAKS: list[tuple[str, Callable[[Patch], None], str]] = [
    ("accumulation", count_the_first, "gpt, clm, 1 at once, float32: "),
    ("ragged", count_alike, "gpt, clm, padded, 5 at once, float64: "),
    ("packing", see_all, "bert, mlm, packed, float64: "),
    ("packing", lose_a_row, "bert, mlm, packed: "),
    ("padding", see_padding, "bert, mlm, 30 more, float64: "),
    ("nothing scored", count_places, "gpt, clm, first, float64: "),
    ("one token", see_all, "gpt, clm, packed, 0, float64: "),
    ("one token", lose_a_row, "gpt, clm, padded: "),
]


@pytest.mark.parametrize("name", PROPERTIES)
def test_it_holds(name: str, sample: Sample) -> None:
    outcome = PROPERTIES[name](sample)
    assert outcome.faults == []
    wide, narrow = map(float, outcome.worst.split(", "))
    assert 0 < wide < 1e-13 < narrow < 1e-6 and outcome.bound == "1e-10, 1e-06"


@pytest.mark.parametrize(("name", "spoil", "fault"), BREAKS, ids=lambda each: getattr(each, "__name__", each))
def test_it_fails(
    name: str, spoil: Callable[[Patch], None], fault: str, sample: Sample, monkeypatch: pytest.MonkeyPatch
) -> None:
    sample.store, sample.vocabulary  # noqa: B018 (made before anything is spoilt)
    spoil(monkeypatch)
    outcome = PROPERTIES[name](sample)
    assert outcome.verdict == "fails"
    assert any(each.startswith(fault) for each in outcome.faults), outcome.faults
