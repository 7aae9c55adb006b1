"""Files of answers: what is read, and the one line that says what is wrong."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from danlu.errors import InputError
from danlu.rate.answers import read_answers

Writes = Callable[[str, list[dict[str, object]]], Path]


def test_what_danlu_generate_writes(write: Writes) -> None:
    a = write("a.jsonl", [{"prompt": "Hi", "text": " there", "end": "stop", "tokens": 1, "seed": 1}])
    b = write("b.jsonl", [{"prompt": "Hi", "text": "", "end": "stop", "tokens": 0, "seed": 1}])
    assert read_answers([a, b]) == (("a", "b"), ("Hi",), ((" there", ""),))


def test_what_danlu_predict_writes(write: Writes) -> None:
    line: dict[str, object] = {"file": "a.jsonl", "line": 1, "texts": ["Hi", "Ho"], "gold": "x", "prediction": "y"}
    assert read_answers([write("a.jsonl", [line])]) == (("a",), ("Hi\n\nHo",), (("y",),))


@pytest.mark.parametrize("field", ["text", "answer", "response", "output", "completion"])
def test_other_names_of_an_answer(write: Writes, field: str) -> None:
    assert read_answers([write("a.jsonl", [{"prompt": "p", field: "x\r\ny"}])]).answers == (("x\ny",),)


def test_conversations(write: Writes) -> None:
    """With the answer as the last message, beside the messages, or both sides as messages, it is the same answer."""
    asked = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "你好"}]
    answer = {"role": "assistant", "content": "您好！"}
    lines: list[dict[str, object]] = [
        {"messages": [*asked, answer]},
        {"messages": asked, "response": "您好！"},
        {"prompt": asked, "completion": [answer]},
    ]
    for place, line in enumerate(lines):
        found = read_answers([write(f"{place}.jsonl", [line])])
        assert found.prompts == ("[system]\nBe brief.\n\n[user]\n你好",)
        assert found.answers == (("您好！",),)


def test_the_order_is_that_of_the_first_file(write: Writes) -> None:
    a = write("a.jsonl", [{"prompt": "1", "text": "a1"}, {"prompt": "2", "text": "a2"}])
    b = write("b.jsonl", [{"prompt": "2", "text": "b2"}, {"prompt": "1", "text": "b1"}])
    assert read_answers([a, b]).answers == (("a1", "b1"), ("a2", "b2"))


def test_files_of_one_name_go_by_their_folders(write: Writes) -> None:
    files = [write(f"runs/{run}/out/answers.jsonl", [{"prompt": "p", "text": run}]) for run in ("big", "small")]
    assert read_answers(files).models == ("big/out/answers", "small/out/answers")


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ({"prompt": "p"}, r"line 1 has no answer \(choices: text, answer,"),
        ({"prompt": "p", "anwser": "x"}, r"line 1 has no answer; did you mean 'answer'\?"),
        ({"prompt": "p", "text": None}, "line 1 has no answer"),
        ({"prompt": "p", "text": 3}, "'text' must be text; got 3"),
        ({"prompt": "p", "text": "x", "output": "y"}, "has 'text' and 'output'; which is the answer?"),
        ({"promt": "p", "text": "x"}, "has no prompt; did you mean 'prompt'?"),
        ({"prompt": " ", "text": "x"}, "'prompt' is empty"),
        ({"prompt": "\ud800", "text": "x"}, "surrogate"),
        ({"prompt": [{"content": 3}], "text": "x"}, "must be text or messages"),
    ],
)
def test_lines_that_cannot_be_used(tmp_path: Path, line: dict[str, object], complaint: str) -> None:
    import json

    (tmp_path / "a.jsonl").write_text(json.dumps(line) + "\n", encoding="utf-8")
    with pytest.raises(InputError, match=complaint):
        read_answers([tmp_path / "a.jsonl"])


def test_files_that_cannot_be_used(write: Writes, tmp_path: Path) -> None:
    a = write("a.jsonl", [{"prompt": "1", "text": "x"}, {"prompt": "2", "text": "x"}])
    fewer, other = write("b.jsonl", [{"prompt": "1", "text": "x"}]), write("c.jsonl", [{"prompt": "1", "text": "x"}])
    more = write("d.jsonl", [{"prompt": str(number), "text": "x"} for number in (1, 2, 3, 4)])
    twice = write("e.jsonl", [{"prompt": "1", "text": "x"}, {"prompt": "1", "text": "y"}])
    (tmp_path / "empty.jsonl").touch()
    (tmp_path / "bad.jsonl").write_text("[", encoding="utf-8")
    (tmp_path / "a.txt").touch()
    for files, complaint in [
        ([a, fewer], r"b.jsonl has no answer to the prompt of .*a.jsonl, line 2: '2'"),
        ([a, more], r"a.jsonl has no answer to the prompt of .*d.jsonl, line 3 \(and 1 more\): '3'"),
        ([twice], "line 2: the prompt of line 1 is there again: '1'"),
        ([other, other], "c.jsonl is named twice"),
        ([tmp_path / "aa.jsonl"], "there is no file .*did you mean"),
        ([tmp_path / "empty.jsonl"], "holds no answer"),
        ([tmp_path / "bad.jsonl"], "damaged at line 1"),
        ([tmp_path / "a.txt"], "must be a .jsonl file"),
    ]:
        with pytest.raises(InputError, match=complaint):
            read_answers(files)
