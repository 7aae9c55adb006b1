"""docs/training.md names everything that a recipe can choose of a training, and its recipe is one."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from danlu.catalog import CATALOG
from danlu.recipe import load_recipe

PAGE = Path(__file__).parent.parent / "docs" / "training.md"
KINDS = ("objective", "masking", "rows", "mixture", "model", "optimizer", "schedule", "clipping")


@pytest.mark.parametrize("kind", KINDS)
def test_every_choice_is_named(kind: str) -> None:
    named = set(re.findall(r"`(\w+)`", PAGE.read_text(encoding="utf-8")))
    assert set(CATALOG[kind]) <= named


def test_the_recipe_of_the_page_is_one(tmp_path: Path) -> None:
    [recipe] = re.findall(r"```yaml\n(.*?)```", PAGE.read_text(encoding="utf-8"), flags=re.DOTALL)
    path = tmp_path / "r.yaml"
    path.write_text("clean: {sources: [texts/]}\n" + recipe, encoding="utf-8")
    assert list(load_recipe(path).sections) == ["clean", "tokenizer", "pack", "pretrain"]
