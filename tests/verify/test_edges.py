"""Too little memory and too many words: what the lines say where all is well, and where something is not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from danlu.nn import head
from danlu.objectives.mlm import MaskedLM
from danlu.train.gradients import Gradients
from danlu.verify import edges
from danlu.verify.sample import Sample


def test_they_hold(sample: Sample) -> None:
    for look in (edges.memory, edges.larger_vocabulary, edges.large_vocabulary):
        assert look(sample).faults == []


def test_a_gradient_that_is_left_over_shows(sample: Sample, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Gradients, "_zero", lambda self: None)
    faults = edges.memory(sample).faults
    assert len(faults) == 9 and faults[0].startswith("gpt, clm, MemoryError: ")


def test_a_cut_that_is_not_told_shows(sample: Sample, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("danlu.train.gradients.say", lambda line: None)
    assert "gpt, clm, MemoryError: it was not told" in edges.memory(sample).faults


def test_words_that_nobody_has_show_where_they_are_drawn(sample: Sample, monkeypatch: pytest.MonkeyPatch) -> None:
    size = sample.store.vocab_size

    def corrupt(self: MaskedLM, tokens: Any, chosen: Any, *_: object) -> Any:
        changed = tokens.copy()
        changed[chosen.places] = size + 5
        return changed

    monkeypatch.setattr(MaskedLM, "_corrupt", corrupt)
    assert f"token {size + 5} was drawn, which is none of the text" in edges.larger_vocabulary(sample).faults


def test_a_loss_that_is_a_little_off_shows(sample: Sample, monkeypatch: pytest.MonkeyPatch) -> None:
    right = head.chunk_loss
    monkeypatch.setattr(head, "chunk_loss", lambda *each: right(*each) * (1 + 1e-5))
    faults = edges.large_vocabulary(sample).faults
    assert [fault.split(":")[0] for fault in faults] == ["32,000", "50,257", "151,936"]


def test_documents_of_one_token_are_there(sample: Sample) -> None:
    store = edges.with_short_documents(sample.store)
    lengths = np.diff(store.starts) - 1
    assert (lengths[1::2] == 1).all() and (lengths[::2] == np.diff(sample.store.starts) - 1).all()
