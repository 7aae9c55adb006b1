"""docs/guides/optimisation.md: every key on it is one that a recipe takes, and it names what there is to choose."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from danlu.catalog import CATALOG
from danlu.recipe import load_recipe
from danlu.train.settings import Hardware, TrainSettings

PAGE = Path(__file__).parent.parent / "docs" / "guides" / "optimisation.md"
BASE = """\
clean: {sources: [texts/]}
tokenizer: bpe
pack: {}
pretrain:
  model: {use: gpt2, layers: 2, dim: 32, heads: 2, dropout: 0.1}
  sequence: 64
"""
KEYS = re.findall(r"`(\w+: [^`]+)`", PAGE.read_text(encoding="utf-8"))


@pytest.mark.parametrize("key", KEYS)
def test_every_key_is_one(key: str, tmp_path: Path) -> None:
    path = tmp_path / "r.yaml"
    path.write_text(f"{BASE}  {key}\n", encoding="utf-8")
    settings: Any = load_recipe(path).section("pretrain")
    [(name, said)] = yaml.safe_load(key).items()
    assert name in settings.model_fields_set
    for part, value in (said if isinstance(said, dict) else {}).items():
        if part != "use":
            found = getattr(getattr(settings, name), part)
            assert found == pytest.approx(tuple(value) if isinstance(value, list) else value), part


@pytest.mark.parametrize("kind", ["optimizer", "schedule", "clipping", "dropout_schedule"])
def test_every_choice_is_named(kind: str) -> None:
    text = PAGE.read_text(encoding="utf-8")
    named = set(re.findall(r"`(\w+)`|use: (\w+)|\w+: (\w+)", text))
    assert set(CATALOG[kind]) <= {name for names in named for name in names}


def test_every_setting_of_a_step_and_of_memory_is_named() -> None:
    """But for those of what is saved and where it computes, which docs/training.md has."""
    keys = {key.partition(":")[0] for key in KEYS} | {"evaluations"}
    assert set(TrainSettings.model_fields) - {"budget", "compile", "save"} <= keys
    inside = set(re.findall(r"hardware: \{(\w+):", " ".join(KEYS)))
    assert set(Hardware.model_fields) - {"device", "mesh"} == inside
