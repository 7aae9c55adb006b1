"""A file of prompts: each answer is the one that its prompt gets alone, and their file is whole or not there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from danlu.errors import InputError, OutputError
from danlu.generate import many
from danlu.generate.engine import generate, load
from danlu.generate.prepare import Speed
from danlu.generate.sampling import Sampling
from danlu.generate.source import Source

PROMPTS = ["To be", "be", "话说天下", "or not to be: that is", "the\u2028question"]


@pytest.fixture
def source(run_dir: Path) -> Source:
    return Source(run_dir / "pretrain/model", Sampling(max_tokens=7), 5, Speed("fp32", "off"))


def written(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n")[:-1]]


@pytest.mark.parametrize("at_once", [2, 32])
def test_every_answer_is_that_of_its_prompt_alone(
    at_once: int, source: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(many, "PROMPTS_AT_ONCE", at_once)
    prompts, out = tmp_path / "p.jsonl", tmp_path / "a.jsonl"
    prompts.write_text("".join(json.dumps({"prompt": text}) + "\n" for text in PROMPTS))
    many.answer_file(source, prompts, out)
    model, tokenizer, special = load(source.folder)
    expected = []
    for place, text in enumerate(PROMPTS):
        seed = source.seed + place
        (answer,) = generate(model, tokenizer, [text], settings=source.settings, seed=seed, special=special)
        expected.append({"prompt": text, "text": answer.text, "end": answer.end, "tokens": answer.tokens, "seed": seed})
    assert written(out) == expected
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_a_file_that_is_there_stays(source: Source, tmp_path: Path) -> None:
    prompts, out = tmp_path / "p.txt", tmp_path / "a.jsonl"
    prompts.write_text("To be\n")
    out.write_text("mine")
    with pytest.raises(OutputError, match=r"a\.jsonl"):
        many.answer_file(source, prompts, out)
    assert out.read_text() == "mine"


def test_nothing_is_left_of_answers_that_were_broken_off(
    source: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(many, "PROMPTS_AT_ONCE", 1)
    prompts, out = tmp_path / "p.txt", tmp_path / "a.jsonl"
    prompts.write_text("To be\nor not\n")
    calls = []

    def fails_at_the_second(*arguments: Any, **settings: Any) -> Any:
        calls.append(arguments)
        if len(calls) == 2:
            raise InputError("too long")
        return generate(*arguments, **settings)

    monkeypatch.setattr(many, "generate", fails_at_the_second)
    with pytest.raises(InputError, match="too long"):
        many.answer_file(source, prompts, out)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["p.txt"]
