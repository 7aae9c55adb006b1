from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn.metrics import accuracy_score

from danlu.errors import InputError
from danlu.metrics.preference import MeanReward, Pairs, Verdicts, WrittenRewards
from danlu.metrics.tally import of_each, overall


def test_of_pairs_those_with_the_higher_reward_for_the_preferred_answer_are_right() -> None:
    rng = np.random.default_rng(1)
    chosen, rejected, losses = rng.normal(size=(3, 40))
    said = [{"chosen": a, "rejected": b, "loss": c} for a, b, c in zip(chosen, rejected, losses, strict=True)]
    figures = overall(Pairs().tally([None] * 40, said))
    assert figures == pytest.approx({
        "accuracy": accuracy_score(np.ones(40), chosen > rejected), "margin": np.mean(chosen - rejected),
        "chosen": chosen.mean(), "rejected": rejected.mean(), "loss": losses.mean(),
    })  # fmt: skip


def test_of_single_answers_those_on_their_side_of_nothing_are_right() -> None:
    rng = np.random.default_rng(2)
    rewards, losses = rng.normal(size=(2, 40))
    good = rng.random(40) < 0.3
    said = [{"reward": a, "loss": b} for a, b in zip(rewards, losses, strict=True)]
    figures = overall(Verdicts().tally(["good" if each else "bad" for each in good], said))
    assert figures == pytest.approx({
        "accuracy": accuracy_score(good, rewards > 0), "margin": rewards[good].mean() - rewards[~good].mean(),
        "good": rewards[good].mean(), "bad": rewards[~good].mean(), "loss": losses.mean(),
    })  # fmt: skip


def test_equal_rewards_are_half_right_and_what_was_left_out_counts_nothing() -> None:
    same = {"chosen": 1.0, "rejected": 1.0, "loss": 0.5}
    assert overall(Pairs().tally([None] * 3, [same, None, None])) == {
        "accuracy": 0.5, "margin": 0.0, "chosen": 1.0, "rejected": 1.0, "loss": 0.5
    }  # fmt: skip
    neither = overall(Verdicts().tally(["good", "bad"], [{"reward": 0.0, "loss": 0.5}, None]))
    assert neither == {"accuracy": 0.5, "good": 0.0, "loss": 0.5}
    assert not any(math.isnan(value) for value in neither.values())


def test_the_mean_of_rewards() -> None:
    assert overall(MeanReward().tally(["a", "b"], [1.0, -4.0])) == {"reward": -1.5}


def test_each_item_needs_a_prediction() -> None:
    with pytest.raises(InputError, match="1 predictions for 2 gold answers"):
        Pairs().tally([None, None], [None])


def test_of_written_answers_rewards_and_lengths_are_means() -> None:
    """Those that were never written count nothing; parts of the reward are figures of their own."""
    said = [
        {"answer": "a", "reward": 1.0, "tokens": 4, "cut_off": False, "rewards": {"right": 1.0, "brief": 0.0}},
        None,
        {"answer": "b", "reward": -0.5, "tokens": 9, "cut_off": True, "rewards": {"right": 0.0, "brief": -1.0}},
    ]
    tally = WrittenRewards().tally([None] * 3, said)
    assert overall(tally) == {
        "reward": 0.25, "answer_tokens": 6.5, "cut_off": 0.5, "reward.right": 0.5, "reward.brief": -0.5,
    }  # fmt: skip
    np.testing.assert_array_equal(of_each(tally)["reward"], [1.0, np.nan, -0.5])
    plain = [{"reward": 2.0, "tokens": 1, "cut_off": False}]
    assert overall(WrittenRewards().tally([None], plain)) == {"reward": 2.0, "answer_tokens": 1.0, "cut_off": 0.0}
