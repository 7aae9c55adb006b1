"""Every model of ``danlu verify models``, one test each: logits, loss, greedy tokens, both ways."""

from __future__ import annotations

import pytest
import transformers

from danlu import catalog
from danlu.verify.case import Case
from danlu.verify.models import CASES, PROMPTS, SEARCHED, measure

VARIED, ANSWERS = 6, 5
"""Different tokens in 64, different answers to 20 texts, so that equal ones say something."""
WRITERS = ("ForCausalLM", "LMHeadModel", "ForConditionalGeneration")


@pytest.mark.parametrize("case", CASES, ids=str)
def test_is_the_same_as_transformers_both_ways(case: Case) -> None:
    measured = measure(case)
    assert measured.faults == []
    bare = case.model.endswith("Model") and not case.model.endswith(WRITERS)
    free = bare or case.model.endswith("ForMultipleChoice")  # of one choice
    assert set(measured.loss) == (set() if free else {"there", "back"})
    assert {"alone", "back"} <= set(measured.logits)
    if case.greedy:
        assert measured.greedy == (PROMPTS, PROMPTS)
        assert measured.varied >= VARIED
        if case.model.endswith("ForConditionalGeneration"):
            assert measured.beam == (SEARCHED, SEARCHED)
            assert measured.answers >= ANSWERS


def test_every_family_of_the_catalog_is_compared_and_writes_where_it_can() -> None:
    compared: dict[str, list[Case]] = {}
    for case in CASES:
        compared.setdefault(getattr(transformers, case.model).config_class.model_type, []).append(case)
    assert set(compared) == set(catalog.names("family"))
    for cases in compared.values():
        assert any(case.greedy for case in cases) is any(case.model.endswith(WRITERS) for case in cases)


def test_no_case_stands_twice() -> None:
    assert len({str(case) for case in CASES}) == len(CASES)
