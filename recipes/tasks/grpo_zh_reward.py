"""recipes/tasks/grpo_zh.yaml 的奖励：回答中有答案；回答用中文写。"""

from __future__ import annotations

from typing import Any


def right(prompts: list[str], answers: list[str], columns: dict[str, list[Any]]) -> list[float]:
    """回答中有“答案”一列的内容时为 1，否则为 0。"""
    return [float(str(gold).strip() in said) for said, gold in zip(answers, columns["答案"], strict=True)]


def chinese(prompts: list[str], answers: list[str], columns: dict[str, list[Any]]) -> list[float]:
    """回答的文字中汉字所占的比例；没有文字时为 0。"""
    return [share_of_chinese(said) for said in answers]


def share_of_chinese(text: str) -> float:
    """文字（字母、汉字）中汉字的比例。"""
    letters = [letter for letter in text if letter.isalpha()]
    return sum("\u4e00" <= letter <= "\u9fff" for letter in letters) / len(letters) if letters else 0.0
