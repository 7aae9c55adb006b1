"""Settings of a pretraining that do not go together are one line when the recipe is loaded."""

from __future__ import annotations

from typing import Any

import pytest

from danlu.errors import RecipeError
from danlu.recipe import build, plain, recipe_schema, settings_schema
from danlu.train.pretrain import Pretrain

LANGUAGES = {"use": "temperature", "temperature": 3}
TASKS = {"use": "multitask", "tasks": {"a": {"objective": "clm"}}}


def pretrain(**settings: Any) -> Pretrain:
    return build(Pretrain, {"budget": {"steps": 10}, **settings}, key="pretrain")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"mixture": "unimaks"}, r"^pretrain.mixture.use: unknown mixture 'unimaks'; did you mean 'unimax'\? "),
        ({"mixture": {"temperature": 3}}, r"^pretrain.mixture needs 'use: NAME' \(choices: weights, temperature, unim"),
        ({"mixture": LANGUAGES, "curriculum": [{"mixture": LANGUAGES}]}, "mixture has no effect beside a curriculum"),
        ({"mixture": LANGUAGES, "objective": TASKS}, "mixture is for one objective; say documents and share of each"),
        ({"mixture": LANGUAGES, "rows": "bucketed"}, "mixture with rows: bucketed and quarters make steps of their"),
        ({"curriculum": [{"mixture": LANGUAGES}], "rows": "quarters"}, "curriculum with rows: bucketed and quarters"),
        ({"mixture": "unimax", "budget": {"minutes": 3}}, "set budget to tokens, steps or epochs; got minutes"),
        (
            {"curriculum": [{"until": 0.5, "mixture": LANGUAGES}, {"mixture": LANGUAGES}], "budget": {"minutes": 3}},
            "until as a share need to know how long the training is",
        ),
        (
            {"curriculum": [{"until": 0.5, "mixture": LANGUAGES}, {"until": 0.2, "mixture": LANGUAGES},
                            {"mixture": LANGUAGES}]},
            r"^pretrain: curriculum.1.until must be above 0.5, where the period before ends; got 0.2$",
        ),
        ({"curriculum": [{"until": "soon", "mixture": LANGUAGES}]}, r"^pretrain.curriculum.0.until must be .*number"),
        ({"curriculum": [{"until": True, "mixture": LANGUAGES}]}, r"curriculum.0.until must be .*number; got true"),
    ],
)  # fmt: skip
def test_what_does_not_go_together(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        pretrain(**settings)


def test_mixtures_by_shares_and_periods_by_steps_need_no_number_of_steps() -> None:
    periods = [{"until": 50, "mixture": LANGUAGES}, {"mixture": LANGUAGES}]
    assert len(pretrain(curriculum=periods, budget={"minutes": 3}).periods) == 2
    assert len(pretrain(mixture=LANGUAGES, budget={"minutes": 3}).periods) == 1
    assert not pretrain().periods


def test_settings_survive_yaml_and_have_a_schema() -> None:
    parts = {"books": {"documents": {"source": "b/*"}, "epochs": 2}, "rest": {"weight": 1}}
    made = pretrain(curriculum=[
        {"until": 0.5, "mixture": LANGUAGES}, {"mixture": {"use": "weights", "parts": parts}},
    ])  # fmt: skip
    assert build(Pretrain, plain(made), key="pretrain") == made
    properties = recipe_schema()["properties"]["pretrain"]["properties"]
    choices = [
        each.get("properties", {}).get("use", {}).get("const") for each in properties["mixture"]["anyOf"][0]["anyOf"]
    ]
    assert {"weights", "temperature", "unimax"} <= set(choices)
    assert "until" in str(settings_schema(Pretrain)["properties"]["curriculum"])
