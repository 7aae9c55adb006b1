"""Rewards for recipes/tasks/grpo_en.yaml: the last number of an answer is the right one; the answer is brief."""

from __future__ import annotations

import re
from typing import Any

NUMBER = re.compile(r"-?\d+(?:,\d{3})*(?:\.\d+)?")


def right(prompts: list[str], answers: list[str], columns: dict[str, list[Any]]) -> list[float]:
    """1 where the last number of the answer is that of the column ``answer``, else 0."""
    return [float(last_number(said) == last_number(str(gold)) is not None)
            for said, gold in zip(answers, columns["answer"], strict=True)]  # fmt: skip


def brief(prompts: list[str], answers: list[str], columns: dict[str, list[Any]]) -> list[float]:
    """From 0 of a long answer to 1 of an empty one; half at 200 characters."""
    return [200 / (200 + len(said)) for said in answers]


def last_number(text: str) -> float | None:
    """The last number in a text, None where there is none."""
    found = NUMBER.findall(text)
    return float(found[-1].replace(",", "")) if found else None
