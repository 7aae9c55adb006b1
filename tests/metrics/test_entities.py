"""Entities against seqeval on random tags, in both ways of reading and all schemes."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from seqeval import metrics
from seqeval.scheme import BILOU, IOB1, IOB2, IOBES

from danlu.errors import InputError
from danlu.metrics.entities import Entities, find_scheme
from danlu.metrics.tally import overall

PLACES = {"IO": "I", "BIO": "BI", "BIOES": "BIES", "BILOU": "BILU", "BMES": "BMES"}
STRICT = {"IO": IOB1, "BIO": IOB2, "BIOES": IOBES, "BILOU": BILOU}
Items = list[tuple[list[str], list[str]]]


def items_of(places: str) -> st.SearchStrategy[Items]:
    tag = st.sampled_from(["O", "O", *(f"{place}{kind}" for place in places for kind in ("-PER", "-LOC-x", ""))])
    pair = st.integers(0, 8).flatmap(
        lambda size: st.tuples(st.lists(tag, min_size=size, max_size=size), st.lists(tag, min_size=size, max_size=size))
    )
    return st.lists(pair, min_size=1, max_size=6)


def expected(gold: list[list[str]], predicted: list[list[str]], **ask: Any) -> dict[str, float]:
    """seqeval's figures; of no entity at all it has none."""
    found = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for average in ("micro", "macro"):
            for name, score in (
                ("precision", metrics.precision_score),
                ("recall", metrics.recall_score),
                ("f1", metrics.f1_score),
            ):
                value = score(gold, predicted, average=average, zero_division=0, **ask)
                found[f"{average}.{name}"] = 0.0 if value != value else float(value)
    return found


def check(items: Items, name: str, *, strict: bool, **ask: Any) -> None:
    gold, predicted = [one for one, _ in items], [other for _, other in items]
    figures = overall(Entities(scheme=name, strict=strict).tally(gold, predicted))
    assert {key: value for key, value in figures.items() if key[:6] in ("micro.", "macro.")} == pytest.approx(
        expected(gold, predicted, **ask)
    )
    if any(gold):
        assert figures["token_accuracy"] == pytest.approx(metrics.accuracy_score(gold, predicted))


@pytest.mark.parametrize("scheme", ["IO", "BIO", "BIOES"])
def test_equal_to_seqeval(scheme: str) -> None:
    some = settings(max_examples=60)
    some(given(items_of(PLACES[scheme]))(lambda items: check(items, scheme, strict=False)))()


@pytest.mark.parametrize("scheme", STRICT)
def test_strict_is_equal_to_seqevals_strict(scheme: str) -> None:
    ask = {"mode": "strict", "scheme": STRICT[scheme]}
    some = settings(max_examples=60)
    some(given(items_of(PLACES[scheme]))(lambda items: check(items, scheme, strict=True, **ask)))()


@given(items_of("BMES"), st.booleans())
def test_other_letters_are_read_as_those_of_bioes(items: Items, strict: bool) -> None:
    gold, predicted = [one for one, _ in items], [other for _, other in items]
    as_bioes = [[[tag.replace("M", "I", 1) for tag in tags] for tags in side] for side in (gold, predicted)]
    assert overall(Entities(scheme="BMES", strict=strict).tally(gold, predicted)) == overall(
        Entities(scheme="BIOES", strict=strict).tally(*as_bioes)
    )


def test_figures_of_each_type() -> None:
    gold = [["B-PER", "I-PER", "O", "B-LOC"], ["B-ORG"]]
    predicted = [["B-PER", "I-PER", "O", "B-PER"], ["O"]]
    tally = Entities().tally(gold, predicted)
    figures = overall(tally)
    report = metrics.classification_report(gold, predicted, output_dict=True, zero_division=0)
    for kind in ("PER", "LOC", "ORG"):
        found = [figures[f"label.{kind}.{name}"] for name in ("precision", "recall", "f1")]
        assert found == pytest.approx([report[kind][name] for name in ("precision", "recall", "f1-score")])
    assert tally.notes == {"scheme": "BIO", "entities": "conlleval"}


def test_the_two_ways_of_reading_differ_where_an_entity_begins_amiss() -> None:
    gold, predicted = [["B-PER", "I-PER"]], [["I-PER", "I-PER"]]
    assert overall(Entities(scheme="BIO").tally(gold, predicted))["micro.f1"] == 1
    assert overall(Entities(scheme="BIO", strict=True).tally(gold, predicted))["micro.f1"] == 0


def test_items_do_not_run_into_each_other() -> None:
    figures = overall(Entities(scheme="IO").tally([["I-A"], ["I-A"]], [["I-A"], ["O"]]))
    assert (figures["micro.precision"], figures["micro.recall"]) == (1.0, 0.5)


@pytest.mark.parametrize(
    ("tags", "scheme"),
    [
        (["O"], "IO"),
        (["I-A", "O"], "IO"),
        (["B-A", "I-A"], "BIO"),
        (["S-A"], "BIOES"),
        (["B", "M", "E", "S"], "BMES"),
        (["U-A", "O"], "BILOU"),
    ],
)
def test_the_scheme_is_the_smallest_that_has_all_places(tags: list[str], scheme: str) -> None:
    assert find_scheme([tags], [["O"] * len(tags)]) == scheme


def test_what_is_no_tag_is_named_with_its_item_and_token() -> None:
    with pytest.raises(InputError, match=r"^item 2: 1 predicted tags for 2 gold ones$"):
        Entities().tally([["O"], ["O", "O"]], [["O"], ["O"]])
    with pytest.raises(InputError, match=r"^item 1: the predicted tag of token 2 is 'PER'; a tag is O or begins with"):
        Entities().tally([["O", "B-PER"]], [["O", "PER"]])
    with pytest.raises(InputError, match=r"^item 1: the gold tag of token 1 is 'S-PER'; BIO has O, B-TYPE, I-TYPE$"):
        Entities(scheme="BIO").tally([["S-PER"]], [["O"]])
    with pytest.raises(InputError, match=r"^item 1: the gold tag of token 1 is 'B-'; "):
        Entities().tally([["B-"]], [["O"]])
    with pytest.raises(InputError, match=r"^no scheme has the places I, M; choose among "):
        Entities().tally([["M-A"]], [["I-A"]])
