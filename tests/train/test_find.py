"""What is found can be taken: rates by key that load, a batch in words; nothing but times differs from call to call."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch
from pydantic import Field

from danlu import catalog
from danlu.corpus.batches import Batch
from danlu.optim.adamw import AdamW
from danlu.optim.protocol import NamedParameters
from danlu.recipe import Choice, Recipe, load_recipe
from danlu.train import find, plan, probe
from danlu.train.noise_scale import NoiseScale
from danlu.train.pretrain import Pretrain
from danlu.train.range_test import Curve, Suggestion
from danlu.train.rows_at_once import Cost
from danlu.train.setup import Training, restart

from .conftest import load


def settings_with(**values: Any) -> Pretrain:
    return Pretrain(**values)


@pytest.mark.parametrize("name", catalog.names("optimizer"))
def test_every_optimizer_has_rates_that_a_recipe_can_set(name: str, make_training: Callable[..., Training]) -> None:
    """Set as suggested, all groups of what it builds move by the factor, but for the two digits."""
    choice = catalog.load("optimizer", name, key="x")()
    named = list(make_training().masters.named.items())
    rates = find.scaled_rates(settings_with(optimizer=choice, layer_decay=0.5), named, 3.0)
    assert "pretrain.optimizer.lr" in rates
    fields = {key.removeprefix("pretrain.optimizer."): new for key, (_, new) in rates.items()}
    before, after = (
        [group["lr_scale"] for group in each.build(named).param_groups] for each in (choice, type(choice)(**fields))
    )
    assert after == pytest.approx([3 * rate for rate in before], rel=0.05)


class OtherName(Choice):
    """An optimizer whose second rate is not called so."""

    lr: float = Field(default=0.1, gt=0)
    bias_speed: float = Field(default=0.1, gt=0)

    def build(self, parameters: NamedParameters) -> torch.optim.Optimizer:
        weights = [parameter for _, parameter in parameters]
        groups = [
            {"params": weights[:1], "lr_scale": self.lr},
            {"params": weights[1:], "lr_scale": self.bias_speed},
        ]
        return torch.optim.SGD(groups, lr=1.0)


def test_rates_that_cannot_all_be_found_are_not_suggested(make_training: Callable[..., Training]) -> None:
    named = list(make_training().masters.named.items())
    assert find.scaled_rates(settings_with(optimizer=OtherName()), named, 3.0) == {}


def found(**values: Any) -> find.Found:
    curve = Curve([1e-3, 1e-2], [3.0, 2.0], diverged=True)
    known: dict[str, Any] = {
        "curve": curve,
        "suggestion": Suggestion(1.7, 1.7, 20.0, "where the loss falls fastest"),
        "rates": {"pretrain.optimizer.lr": (0.02, 0.034), "pretrain.optimizer.adamw_lr": (0.003, 0.0051)},
        "costs": [Cost(1, 100.0, 2**30, None), Cost(2, 200.0, 2**31, None)],
        "rows_now": 1,
        "scales": [NoiseScale(10, 40.0, 30.0, 60.0)],
        "batch": 8,
        "optimizer": "muon",
    }
    return find.Found(**{**known, **values})


@pytest.mark.parametrize("optimizer", ["", "  optimizer: muon\n", "  optimizer: {use: muon, momentum: 0.9}\n"])
def test_the_line_to_paste_loads_whatever_the_recipe_says(tmp_path: Path, optimizer: str) -> None:
    path = tmp_path / "r.yaml"
    path.write_text(f"pretrain:\n  batch: 8\n{optimizer}", encoding="utf-8")
    settings = cast(Any, load_recipe(path, found().overrides).section("pretrain"))
    assert (settings.optimizer.lr, settings.optimizer.adamw_lr, settings.hardware.micro_batch) == (0.034, 0.0051, 2)


def test_what_is_found_is_told() -> None:
    text = find.in_words(found())
    assert "1.7 times, where the loss falls fastest" in text
    assert "pretrain.optimizer.lr 0.02 -> 0.034\n" in text
    assert "2 at once: 200 tokens/s, 2.00 GiB, the best" in text
    assert "noise scale after 10 steps: 40 (30 to 60) rows a step" in text
    *to_read, to_paste = text.splitlines()
    assert to_paste.split() == ["to", "take", *found().overrides]
    assert all(len(line) <= 130 for line in to_read)


def test_without_a_clear_minimum_there_is_nothing_to_paste_but_rows() -> None:
    none = found(suggestion=Suggestion(None, None, None, "no clear minimum: so it is"), rates={}, rows_now=2)
    assert "no clear minimum: so it is" in find.in_words(none)
    assert none.overrides == []
    assert "to take" not in find.in_words(none)


@pytest.mark.parametrize(
    ("batch", "words", "steps", "text"),
    [(8, "below it", "6.0", "1.2"), (40, "about right", "2.0", "2"), (400, "above it", "1.1", "11")],
)
def test_a_batch_is_judged_by_the_paper_s_trade(batch: int, words: str, steps: str, text: str) -> None:
    """Equation 2.11: steps ``S_min (1 + B_noise / B)``, text ``E_min (1 + B / B_noise)``."""
    first, second, _ = find.meaning(NoiseScale(1, 40.0, 30.0, 60.0), batch)
    assert words in first
    assert second == f"that takes {steps} times the fewest steps, and {text} times the least text"


def test_a_scale_without_upper_end_is_a_lower_bound() -> None:
    scale = NoiseScale(1, math.inf, 25.0, math.inf)
    assert "at least 25 rows" in find.in_words(found(scales=[scale]))
    assert "at least 4.1 times the fewest steps" in find.meaning(scale, 8)[1]


@pytest.mark.parametrize(("asked", "used"), [("fp16", "fp32"), ("fp32", "fp32"), ("bf16", "bf16")])
def test_short_trainings_go_without_what_would_blur_them(asked: str, used: str) -> None:
    found = find.as_measured(settings_with(precision=asked, compile="on"))
    assert (found.precision, found.compile) == (used, "off")


@pytest.mark.parametrize(("device", "rows"), [("cpu", 4), ("cuda", 64)])
def test_the_rows_at_once_of_now_are_those_of_the_device(
    device: str, rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Asked(BaseException):
        """There is nothing more to see."""

    def sizes(batch: int, now: int) -> list[int]:
        assert (batch, now) == (128, rows)
        raise Asked

    recipe = Recipe("name", Path("run"), 1, {"pretrain": settings_with(batch=128, sequence=512)})
    monkeypatch.setattr(find, "choose_device", lambda _: torch.device(device))
    monkeypatch.setattr(find, "in_own_process", lambda *_: (None, None, {}))
    monkeypatch.setattr(find, "sizes", sizes)
    with pytest.raises(Asked):
        find.find(recipe, cast(Any, None), cast(Any, SimpleNamespace(seconds_per_step=1.0)))


def test_one_thread_makes_all_batches(make_training: Callable[..., Training]) -> None:
    """Rows remember where they are: two threads at once would spoil it for each other."""
    settings, asked = settings_with(batch=8), list[int]()
    training = make_training()

    def made_ahead(step: int) -> list[Batch]:
        asked.append(step)
        return training.batches.whole(step)

    ahead = replace(training, made_ahead=made_ahead, batches=cast(Any, pytest.fail))
    again = restart(ahead, settings.model_copy(update={"optimizer": AdamW()}))
    find._block(again, settings, 3)
    assert asked == [3, 4]


def test_slow_steps_mean_fewer_and_that_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    assert find._steps_in(0.01, 100, 40) == 100
    assert capsys.readouterr().out == ""
    assert find._steps_in(2.0, 100, 40) == 60
    assert "60 steps where 100 would show more, since a step takes 2.0 s; about 02:00" in capsys.readouterr().out
    assert find._steps_in(60.0, 100, 40) == 40


def test_the_seed_decides_everything_but_times(packed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (find, plan):
        monkeypatch.setattr(module, "in_own_process", lambda measure, *arguments: measure(*arguments))
    monkeypatch.setattr(probe, "PROBE_SECONDS", 0.0)
    monkeypatch.setattr(find, "RANGE_STEPS", 40)
    monkeypatch.setattr(find, "BLOCKS", 3)
    recipe, other_seed = (load(packed, f"seed={seed}", "pretrain.budget.steps=10") for seed in (1, 2))
    with plan.sampled(recipe) as sample:
        known = plan.measure(recipe, sample)
        first, again, other = (find.find(each, sample, known) for each in (recipe, recipe, other_seed))
    assert (first.curve, first.suggestion, first.scales) == (again.curve, again.suggestion, again.scales)
    assert first.curve != other.curve
    assert [scale.step for scale in first.scales] == [1, 3, 10]
    assert [cost.rows for cost in first.costs] == [1, 2, 4][: len(first.costs)]
    assert len(first.curve.factors) == 39 or first.curve.diverged
