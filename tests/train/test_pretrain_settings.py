"""Settings of a pretraining that do not go together are one line when the recipe is loaded."""

from __future__ import annotations

from typing import Any

import pytest

from danlu.corpus.blend import Blended
from danlu.errors import RecipeError
from danlu.recipe import build, plain, recipe_schema
from danlu.train.pretrain import Pretrain

LANGUAGES = {"use": "temperature", "temperature": 3}
TASKS = {"use": "multitask", "tasks": {"a": {"objective": "clm"}}}


def periods(*changed: dict[str, Any]) -> dict[str, Any]:
    """A curriculum of the same mixture over and over, but for what is changed."""
    return {"use": "curriculum", "periods": [{"mixture": LANGUAGES, **each} for each in changed]}


def pretrain(**settings: Any) -> Pretrain:
    return build(Pretrain, {"budget": {"steps": 10}, **settings}, key="pretrain")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"mixture": "unimaks"}, r"^pretrain.mixture.use: unknown mixture 'unimaks'; did you mean 'unimax'\? "),
        ({"mixture": {"temperature": 3}}, r"^pretrain.mixture needs 'use: NAME' \(choices: weights, temperature, unim"),
        ({"mixture": LANGUAGES, "objective": TASKS}, "mixture is for one objective; say documents and share of each"),
        ({"mixture": LANGUAGES, "rows": "bucketed"}, "mixture with rows: bucketed and quarters make steps of their"),
        ({"mixture": periods({}), "rows": "quarters"}, "^pretrain: mixture with rows: bucketed and quarters"),
        ({"mixture": "unimax", "budget": {"minutes": 3}}, "set budget to tokens, steps or epochs; got minutes"),
        (
            {"mixture": periods({"until": 0.5}, {}), "budget": {"minutes": 3}},
            "until as a share need to know how long the training is",
        ),
        (
            {"mixture": periods({"until": 0.5}, {"until": 0.2}, {})},
            r"^pretrain.mixture: periods.1.until must be above 0.5, where the period before ends; got 0.2$",
        ),
        ({"curriculum": [{"mixture": LANGUAGES}]}, r"^pretrain.curriculum: unknown key \(choices: "),
        ({"micro_batch": 2}, r"^pretrain.micro_batch: unknown key; did you mean 'hardware.micro_batch'\? \(choices: "),
    ],
)  # fmt: skip
def test_what_does_not_go_together(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        pretrain(**settings)


def test_mixtures_by_shares_and_periods_by_steps_need_no_number_of_steps() -> None:
    for mixture, count in ((periods({"until": 50}, {}), 2), (LANGUAGES, 1)):
        reading = pretrain(mixture=mixture, budget={"minutes": 3}).reading
        assert isinstance(reading, Blended) and len(reading.periods) == count
    assert not isinstance(pretrain().reading, Blended)


def test_settings_survive_yaml_and_have_a_schema() -> None:
    parts = {"books": {"documents": {"source": "b/*"}, "epochs": 2}, "rest": {"weight": 1}}
    made = pretrain(mixture=periods({"until": 0.5}, {"mixture": {"use": "weights", "parts": parts}}))
    assert build(Pretrain, plain(made), key="pretrain") == made
    properties = recipe_schema()["properties"]["pretrain"]["properties"]
    mixtures = choices(properties["mixture"]["anyOf"][0])
    assert mixtures.keys() == {"weights", "temperature", "unimax", "curriculum"}
    [period, _] = mixtures["curriculum"]["periods"]["anyOf"]
    assert choices(period["properties"]["mixture"]).keys() == {"weights", "temperature", "unimax"}
    assert "until" in period["properties"]


def choices(schema: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The settings of each choice that a schema allows, by its name."""
    each = [option.get("properties", {}) for option in schema["anyOf"]]
    return {settings["use"]["const"]: settings for settings in each if "const" in settings.get("use", {})}
