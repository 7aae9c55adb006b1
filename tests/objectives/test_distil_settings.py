"""Teachers and settings of distillation that are refused, and what a stage is made from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from taught import Pair, bert, llama

from danlu.corpus.store import TokenStore
from danlu.errors import InputError, RecipeError
from danlu.objectives.distil import Distil
from danlu.recipe import build
from danlu.tokenizers.vocabulary import Vocabulary


def test_another_vocabulary_is_refused(pair: Callable[..., Pair], whole_decoder: Path, tmp_path: Path) -> None:
    from danlu.tokenizers.tokenizer import Tokenizer

    both = pair("clm")
    config = both.ours["student"].config
    with pytest.raises(RecipeError, match=r"objective.teacher must have the vocabulary of this run, 60 tokens; .* has"):
        Distil(teacher=whole_decoder).prepare(config, dtype=torch.float32, seed=1)
    known, store = Vocabulary.of(Tokenizer.load(whole_decoder)), TokenStore(np.zeros(1), np.zeros(1), [], 9, 0)
    Distil(teacher=whole_decoder).check(known, store)
    other = replace(known, tokens="another")
    with pytest.raises(RecipeError, match=r"of this run: .* has ([\d,]+) tokens, the tokenizer \1, of other texts"):
        Distil(teacher=whole_decoder).check(other, store)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"logits": 0}, "one of logits, hidden and attention must be above 0, or there is no teacher"),
        ({"of": {"use": "distil", "teacher": "x"}}, "of must be one objective that learns from text"),
    ],
)
def test_settings_that_teach_nothing(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        build(Distil, {"teacher": "t", **settings}, key="pretrain.objective")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"hidden": 1.0, "layers": [(2, 9)]}, r"objective.layers must be pairs of 0 to 2 and 0 to 4; got \[2, 9\]"),
        ({"attention": 1.0, "relation_heads": 3}, r"relation_heads must divide the widths .*\[8, 16, 32\]\); got 3"),
        ({"attention": 1.0, "attention_layer": 5}, "attention_layer must be at most 4, the teacher's blocks; got 5"),
    ],
)
def test_settings_that_do_not_fit_the_teacher(
    settings: dict[str, Any], message: str, pair: Callable[..., Pair]
) -> None:
    with pytest.raises(RecipeError, match=message):
        pair("clm").lesson(**settings)


def test_a_teacher_of_other_sides_or_too_short_is_refused(pair: Callable[..., Pair], tmp_path: Path) -> None:
    both = pair("clm")
    bert(16, 1).save_pretrained(tmp_path / "bert")
    with pytest.raises(RecipeError, match=r"objective.teacher cannot do what the student learns: .* a decoder"):
        Distil(teacher=tmp_path / "bert").prepare(both.ours["student"].config, dtype=torch.float32, seed=1)
    llama(16, 1, max_position_embeddings=32).save_pretrained(tmp_path / "short")
    with pytest.raises(RecipeError, match=r"sees at most 32 tokens, the student 64: set pretrain.sequence to 32"):
        Distil(teacher=tmp_path / "short").prepare(both.ours["student"].config, dtype=torch.float32, seed=1)


def test_the_teachers_files_are_part_of_what_the_stage_is_made_from(pair: Callable[..., Pair], tmp_path: Path) -> None:
    teacher = pair("clm").folders["teacher"]
    assert {path.name for path in Distil(teacher=teacher).external_files()} >= {"config.json", "model.safetensors"}
    with pytest.raises(InputError, match=r"pretrain.objective.teacher: there is no model in"):
        Distil(teacher=tmp_path / "nowhere").external_files()
