"""Names that a tagging model finds, masked by the rule ``private``."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from danlu.clean.private import Private
from danlu.data.tags import Scheme
from danlu.errors import InputError
from danlu.recipe import build
from danlu.tasks import entity_finder
from danlu.tasks.classify import Classify
from danlu.tasks.tag import Tag, entities
from danlu.tasks.task import Answer, Known
from danlu.text.document import Document

LABELS = ("O", "B-PER", "I-PER", "B-LOC")
NAMES = {"Anna", "Schmidt", "李", "伟"}


class OfAList:
    """A model that knows names by heart; it answers as ``Tag`` does."""

    def __init__(self, folder: Path, trained: Any, *, dtype: str | None = None) -> None:
        self.known = trained.known

    def answer_together(self, examples: list[Any]) -> list[Answer]:
        import numpy as np

        answers = []
        for each in examples:
            tags, before = [], False
            for token in each.tokens:
                tags.append(("I-PER" if before else "B-PER") if token in NAMES else "O")
                before = token in NAMES
            shares = np.full(len(tags), 0.9)
            more = {"entities": entities(each.pieces, each.tokens, tags, shares, self.known)}
            answers.append(Answer(tuple(tags), 0.9, more=more))
        return answers


def trained(monkeypatch: pytest.MonkeyPatch, task: Any = None, labels: tuple[str, ...] = LABELS) -> None:
    scheme: Scheme = "BIO"
    said = SimpleNamespace(task=task or Tag(), known=Known(labels, scheme))
    monkeypatch.setattr(entity_finder.Trained, "load", classmethod(lambda cls, folder: said))
    monkeypatch.setattr(entity_finder, "Predictor", OfAList)


def rule(**more: Any) -> Any:
    finder = {"use": "entities", "model": "folder", **more}
    return build(Private, {"finders": [finder], "by_kind": {}}, key="clean.rules.0").make()


def test_names_are_masked_beside_what_patterns_find(monkeypatch: pytest.MonkeyPatch) -> None:
    trained(monkeypatch)
    document = Document("a", "Write to Anna Schmidt,\n\n  at anna@example.org.\n李伟的电话是13812345678。")
    assert rule()(document) is None
    assert document.text == "Write to [NAME],\n\n  at [EMAIL].\n[NAME]的电话是[PHONE]。"
    assert document.meta["private"] == "email 1, name 2, phone 1"


def test_entities_below_the_confidence_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    trained(monkeypatch)
    document = Document("a", "Write to Anna.")
    assert rule(confidence=0.95)(document) is None
    assert document.text == "Write to Anna."


def test_models_that_find_no_names(monkeypatch: pytest.MonkeyPatch) -> None:
    trained(monkeypatch, task=Classify())
    with pytest.raises(InputError, match="for another task than tag"):
        rule()
    trained(monkeypatch, labels=("O", "B-LOC"))
    with pytest.raises(InputError, match=r"finds none of PER, .*it knows LOC"):
        rule()
