"""Shares and lengths of what is masked: the lines say so where they are others."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from danlu.corpus.rows import Ints
from danlu.objectives import masking as masks
from danlu.objectives import spans as t5
from danlu.objectives.masking import Tokens, Words
from danlu.objectives.mlm import MaskedLM
from danlu.verify import masking
from danlu.verify.sample import Sample


@pytest.fixture(autouse=True)
def _fewer_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(masking, "ROWS", 200)


def test_they_hold(sample: Sample) -> None:
    for look in (masking.shares, masking.whole_words, masking.spans):
        assert look(sample).faults == []


def test_fewer_tokens_show(sample: Sample, monkeypatch: pytest.MonkeyPatch) -> None:
    right = Tokens.choose
    monkeypatch.setattr(Tokens, "choose", lambda self, allowed, marks, budget, noise: right(
        self, allowed, marks, budget * 9 // 10, noise))  # fmt: skip
    faults = masking.shares(sample).faults
    assert [fault.split(",")[0] for fault in faults] == ["en", "zh"] and faults[0].endswith("are chosen, not 15%")


def test_other_shares_show(sample: Sample, monkeypatch: pytest.MonkeyPatch) -> None:
    right = MaskedLM._corrupt

    def corrupt(self: MaskedLM, *rest: Any) -> Ints:
        return right(self.model_copy(update={"masked": 0.85, "random": 0.05}), *rest)

    monkeypatch.setattr(MaskedLM, "_corrupt", corrupt)
    faults = masking.shares(sample).faults
    assert len(faults) == 12 and "masked" in faults[0] and "swapped" in faults[1]


def test_a_changed_token_that_is_not_scored_shows(sample: Sample, monkeypatch: pytest.MonkeyPatch) -> None:
    right = MaskedLM._corrupt

    def corrupt(self: MaskedLM, tokens: Ints, chosen: Any, vocabulary: Any, noise: np.random.Generator) -> Ints:
        changed = right(self, tokens, chosen, vocabulary, noise)
        changed[0] = vocabulary.roles["mask"]
        return changed

    monkeypatch.setattr(MaskedLM, "_corrupt", corrupt)
    assert "another token than the chosen ones has changed" in masking.shares(sample).faults[0]


def test_words_in_part_show(sample: Sample, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Words, "choose", Tokens.choose)
    faults = masking.whole_words(sample).faults
    assert {fault.split(",")[0] for fault in faults} == {"en", "zh"}
    assert {fault.split(", ")[1] for fault in faults} == {"words: a word is masked in part"}


def test_other_lengths_of_spans_show(sample: Sample, monkeypatch: pytest.MonkeyPatch) -> None:
    right = masks._scatter
    monkeypatch.setattr(masks, "_scatter", lambda units, weights, *rest: right(units, np.ones_like(weights), *rest))
    faults = masking.spans(sample).faults
    assert faults[0].startswith("SpanBERT's lengths: ") and faults[1].startswith("SpanBERT's spans have 5.")


def test_other_lengths_of_t5_show(sample: Sample, monkeypatch: pytest.MonkeyPatch) -> None:
    right = t5.Noise.counts

    def counts(self: t5.Noise, body: Ints) -> tuple[Ints, Ints]:
        tokens, spans = right(self, body)
        return tokens, np.maximum(1, spans - 5)

    monkeypatch.setattr(t5.Noise, "counts", counts)
    faults = masking.spans(sample).faults
    assert faults[0].startswith("T5: 15.0% are cut out, in spans of 3.") and "T5: a row of 512" in faults[1]
