"""A row of each form to its example, and every way in which a row can be none: one line with file, line and value."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from forming import ASKED, SAID, calling, one

from danlu.data.chosen import MultipleChoice
from danlu.data.dataset import Data, load_inputs
from danlu.data.extracted import Answer
from danlu.data.forms import FORMS, form_named
from danlu.data.related import Relation
from danlu.errors import InputError, RecipeError


@pytest.mark.parametrize(
    ("form", "record", "texts", "gold"),
    [
        ("classify", {"text": "a", "label": "x"}, ("a",), "x"),
        ("classify", {"text": "a", "label": 1}, ("a",), "1"),
        ("classify", {"text": "a", "label": 1.0}, ("a",), "1"),
        ("classify", {"text": "a", "label": True}, ("a",), "true"),
        ("classify", {"text": "a", "label": ["x"]}, ("a",), "x"),
        ("pair", {"premise": "a", "hypothesis": "b", "label": "x"}, ("a", "b"), "x"),
        ("regress", {"text": "a", "score": "2.5"}, ("a",), 2.5),
        ("similarity", {"sentence1": "a", "sentence2": "b", "score": 3}, ("a", "b"), 3.0),
        ("multi_label", {"text": "a", "labels": ["x", "y"]}, ("a",), ("x", "y")),
        ("multi_label", {"text": "a", "labels": []}, ("a",), ()),
        ("multi_label", {"text": "a", "labels": "x; y"}, ("a",), ("x", "y")),
        ("multi_label", {"text": "a", "labels": "快、便宜"}, ("a",), ("快", "便宜")),
        ("multi_label", {"text": "a", "labels": '["x", "y"]'}, ("a",), ("x", "y")),
        ("tag", {"tokens": ["a", "b"], "tags": ["O", "B-X"]}, ("a b",), ("O", "B-X")),
        ("tag", {"text": "a b", "tags": "O B-X"}, ("a b",), ("O", "B-X")),
        ("tag", {"text": "北京好", "labels": ["B-LOC", "I-LOC", "O"]}, ("北京好",), ("B-LOC", "I-LOC", "O")),
        ("segment", {"text": "我们 爱"}, ("我们爱",), ("我们", "爱")),
        ("choice", {"question": "q", "choices": ["a", "b"], "answer": 1}, ("q", "a", "b"), "1"),
        ("choice", {"question": "q", "choices": ["a", "b"], "answer": "B"}, ("q", "a", "b"), "1"),
        ("choice", {"question": "q", "choices": ["a", "b"], "answer": "b"}, ("q", "a", "b"), "1"),
        ("choice", {"question": "q", "choices": ["1", "0"], "answer": 1}, ("q", "1", "0"), "1"),
        ("choice", {"question": "q", "choices": ["1", "0"], "answer": "1"}, ("q", "1", "0"), "0"),
        ("choice", {"question": "q", "A": "a", "B": "b", "C": "", "answer": "A"}, ("q", "a", "b"), "0"),
        ("choice", {"题目": "q", "选项A": "a", "选项B": "b", "答案": "B"}, ("q", "a", "b"), "1"),
        ("choice", {"question": "q", "Option 1": "a", "Option 2": "b", "answer": "b"}, ("q", "a", "b"), "1"),
        ("choice", {"question": "q", "option_a": "x", "option_b": "y", "answer": "b"}, ("q", "x", "y"), "1"),
        ("choice", {"question": "q", "A选项": "x", "B选项": "y", "answer": "A"}, ("q", "x", "y"), "0"),
        *(("choice", {"question": "q", "choices": ["x", "y"], "answer": answer}, ("q", "x", "y"), "1") for answer in (
            "Option B", "选项B", "(B)", "B.", "B)", "（Ｂ）", "b、", "[b]", "option_b", "Answer: B",
            "the correct answer is B", "答案：B", "选B", "B. y", "(B) y", "B：Y", "正确答案是B。", "B项")),
        *(("choice", {"question": "q", "A": "x", "B": "y", "answer": answer}, ("q", "x", "y"), "0") for answer in (
            "Option A", "A.", "选项Ａ", "A. x")),
        *(("choice", {"question": "q", "choices": ["x", "y"], "answer": answer}, ("q", "x", "y"), "1") for answer in (
            "Option 1", "(1)", "1.", "选项1", "①")),
        ("choice", {"question": "q", "choices": ["(B)", "Option A"], "answer": "(B)"}, ("q", "(B)", "Option A"), "0"),
        ("choice", {"question": "q", "choices": ["(B)", "Option A"], "answer": "Option A"}, ("q", "(B)", "Option A"),
         "1"),
        ("choice", {"question": "q", "choices": ["A. x", "B. y"], "answer": "(B) y"}, ("q", "A. x", "B. y"), "1"),
        *(("choice", {"question": "q", "choices": cell, "answer": "B"}, ("q", "red", "green, dark", "blue"), "1")
          for cell in ("A. red B. green, dark C. blue", "(A) red (B) green, dark (C) blue",
                       "1) red 2) green, dark 3) blue", "a: red  b: green, dark\tc: blue",
                       ["A. red B. green, dark C. blue"])),
        ("choice", {"question": "q", "choices": "A、红的B、绿的，C、蓝的", "answer": "C"},
         ("q", "红的", "绿的", "蓝的"), "2"),
        ("choice", {"question": "q", "choices": {"text": ["a", "b"], "label": ["1", "2"]}, "answerKey": "2"},
         ("q", "a", "b"), "1"),
        ("choice", {"question": "q", "choices": {"text": ["x", "y"], "label": ["a", "b"]}, "answerKey": "B"},
         ("q", "x", "y"), "1"),
        ("choice", {"question": "q", "options": {"A": "x", "B": "y", "C": ""}, "answer": "y"}, ("q", "x", "y"), "1"),
        ("choice", {"question": "q", "options": {"1": "x", "2": "y"}, "answer": "1"}, ("q", "x", "y"), "0"),
        ("generate", {"document": "a", "summary": "b"}, ("a",), ("b",)),
        ("generate", {"document": "a", "summary": "b", "references": ["c", "b"]}, ("a",), ("b", "c")),
        ("keywords", {"document": "a", "keywords": "x_y_x"}, ("a",), ("x", "y")),
        ("keywords", {"document": "a", "keywords": ["x", "y"]}, ("a",), ("x", "y")),
        ("keywords", {"document": "a", "keywords": '["x, z", "y"]'}, ("a",), ("x, z", "y")),
        ("keywords", {"document": "a", "keywords": "[x]; y"}, ("a",), ("[x]", "y")),
        ("retrieve", {"query": "a", "positive": "b", "negatives": ["c"]}, ("a",), ("b",)),
        ("chat", {"instruction": "a", "input": "b", "output": "c"}, ("a\nb",), "c"),
        ("chat", {"instruction": "a", "input": "", "output": "c", "system": "s"}, ("s", "a"), "c"),
        ("chat", {"prompt": "a", "response": "c", "history": [["x", "y"]]}, ("x", "y", "a"), "c"),
        ("chat", {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "c"}]}, ("a",), "c"),
        ("chat", {"conversations": [{"from": "human", "value": "a"}, {"from": "gpt", "value": "c"}]}, ("a",), "c"),
        ("feedback", {"prompt": "a", "completion": "b", "label": False}, ("a", "b"), "bad"),
        ("prefer", {"prompt": "a", "chosen": "b", "rejected": "c"}, ("a",), ("b", "c")),
    ],
)  # fmt: skip
def test_a_row_becomes_an_example(form: str, record: dict[str, Any], texts: tuple[str, ...], gold: Any) -> None:
    example = one(form, record)
    assert (example.texts, example.gold) == (texts, gold)
    assert str(example.place) == "a.jsonl, line 1"


@pytest.mark.parametrize(
    ("form", "record", "group", "labels"),
    [
        ("pair", {"premise": "a", "hypothesis": "b", "label": "x"}, "a\nb", ("x",)),
        ("similarity", {"sentence1": "a", "sentence2": "b", "score": 3}, "a\nb", ()),
        ("multi_label", {"text": "a", "labels": ["x", "y"]}, "a", ("x", "y")),
        ("tag", {"tokens": ["a", "b"], "tags": ["O", "B-X"]}, "a b", ("O", "B-X")),
        ("choice", {"question": "q", "choices": ["a", "b"], "answer": 1, "context": "c"}, "c", ()),
        ("extract", {"question": "q", "context": "c a", "answers": {"text": ["a"], "answer_start": [2]}}, "c a", ()),
        ("generate", {"document": "a", "summary": "b"}, "a", ()),
        ("chat", {"instruction": "a", "output": "c", "system": "s"}, "a", ()),
        ("feedback", {"prompt": "a", "completion": "b", "label": False}, "a", ("bad",)),
    ],
)
def test_what_stays_together_in_a_split(form: str, record: dict[str, Any], group: str, labels: tuple[str, ...]) -> None:
    example = one(form, record)
    assert (example.group, example.labels) == (group, labels)


def test_an_example_without_what_is_right(tmp_path: Path) -> None:
    for form, record in {
        "classify": {"text": "a"}, "pair": {"sentence1": "a", "sentence2": "b"}, "similarity": {"s1": "a", "s2": "b"},
        "tag": {"tokens": ["a"]}, "extract": {"question": "q", "context": "c"}, "multi_label": {"text": "a"},
        "choice": {"question": "q", "choices": ["a", "b"]}, "generate": {"source": "a"}, "keywords": {"source": "a"},
        "retrieve": {"query": "a"}, "chat": {"instruction": "a"}, "regress": {"text": "a"}, "segment": {"text": "我们"},
    }.items():  # fmt: skip
        path = tmp_path / "a.jsonl"
        path.write_text(json.dumps(record) + "\n", encoding="utf-8")
        (example,) = load_inputs(path, Data(train=path), FORMS[form]).splits["test"]
        assert example.gold is None, form
        assert example.labels == ()


@pytest.mark.parametrize(
    ("form", "record", "message"),
    [
        ("classify", {"text": " ", "label": "x"}, "the text is empty"),
        ("classify", {"text": 7, "label": "x"}, "the text must be text; got 7"),
        ("classify", {"text": "a", "label": None}, "the label is missing"),
        ("classify", {"text": "a", "label": ["x", "y"]}, r"must be one label; got .*multi_label learns"),
        ("classify", {"text": "a", "label": {"x": []}}, r"the label must be text; got \{'x': \[\]\}"),
        ("classify", {"text": "a\ud800", "label": "x"}, "half a surrogate pair"),
        ("regress", {"text": "a", "score": "2,5"}, "must be a finite number; got '2,5'; write its decimal mark"),
        ("regress", {"text": "a", "score": "nan"}, "must be a finite number; got 'nan'"),
        ("multi_label", {"text": "a", "labels": ["x", "x"]}, "has 'x' twice"),
        ("tag", {"tokens": ["a", "b"], "tags": ["O"]}, r"1 tags for 2 tokens: token 2 \('b'\) has no tag"),
        ("tag", {"tokens": ["a"], "tags": ["O", "B-X"]}, r"2 tags for 1 tokens: tag 2 \('B-X'\) has no token"),
        ("tag", {"tokens": ["a", ""], "tags": ["O", "O"]}, "has an empty token, number 2"),
        ("tag", {"tokens": ["a"], "tags": [1]}, "must be a list of texts, the tags' names; it has 1"),
        ("tag", {"tokens": ["a", "b"], "tags": ["O", None]}, "must be a list of texts, the tags' names; it has None"),
        ("tag", {"tokens": ["a", None], "tags": ["O", "O"]}, "must be a list of texts; it has None"),
        ("choice", {"question": "q", "choices": ["a"], "answer": 0}, "must be at least 2; got 1"),
        ("choice", {"question": "q", "choices": {"A": 7, "B": "y"}, "answer": "B"}, "the choices must be text; got 7"),
        ("choice", {"question": "q", "choices": {"A": "x"}, "answer": "A"}, "must be at least 2; got 1"),
        ("choice", {"question": "q", "choices": ["a", "a"], "answer": 0}, "the right choice is there twice: 'a'"),
        ("choice", {"question": "q", "choices": ["a", "b"], "answer": 3}, "must be a choice from 0 to 1; got 3"),
        ("choice", {"question": "q", "choices": ["a", "b"], "answer": "D"}, "is none of the choices; got 'D'"),
        ("choice", {"question": "q", "choices": ["a", "b"], "answer": "B. a"}, "is none of the choices; got 'B. a'"),
        ("choice", {"question": "q", "choices": ["a", "b"], "answer": "2.5"}, "is none of the choices; got '2.5'"),
        ("choice", {"question": "q", "choices": ["a", "b"], "answer": "Option D"}, "is none of the choices; got 'Opt"),
        ("choice", {"question": "q", "choices": ["a", "b"], "answer": "Option 4"},
         "must be a choice from 0 to 1; got 4"),
        ("choice", {"question": "q", "choices": "red / green / blue", "answer": "A"},
         "must be at least 2; got 1: 'red / green / blue'; part them by | or ; or line ends, number them"),
        ("choice", {"question": "q", "choices": "see A. and B. there", "answer": "A"},
         "must be at least 2; got 1: 'see A. and"),
        ("choice", {"question": "q", "answer": "D"}, "there are no choices: name a column"),
        ("generate", {"source": "a", "target": ""}, "the target is empty"),
        ("keywords", {"source": "a", "keywords": []}, "must be a list of texts"),
        ("retrieve", {"query": "a", "positive": "b", "negatives": ["b"]}, "a positive too: 'b'"),
        ("relate", {"text": "a <e1>b c <e2>d</e2>", "relation": "x"}, "one <e1>…</e1>"),
        ("relate", {"text": "a b", "relation": "x"}, "has no entities"),
        ("relate", {"text": "a b a", "head": "a", "tail": "b", "relation": "x"}, "'a' occurs 2 times"),
        ("relate", {"text": "a b", "head": {"name": "a", "pos": [1, 2]}, "tail": "b", "relation": "x"},
         "'a' is not at 1 to 2, where ' ' stands; it is at 0"),
        ("relate", {"text": "a b", "head": {"name": "a", "pos": [-3, -2]}, "tail": "b", "relation": "x"},
         "'a' is not at -3 to -2"),
        ("relate", {"token": ["a", "b"], "subj_start": False, "subj_end": 0, "obj_start": 1, "obj_end": 1,
                    "relation": "x"}, "subj_start must be a token from 0 to 1; got False"),
        ("relate", {"text": "ab", "head": "ab", "tail": "b", "relation": "x"}, "overlap"),
        ("chat", {"text": "a"}, "there is no conversation"),
        ("chat", {"messages": []}, "must be a list of messages"),
        ("chat", {"messages": [{"role": "usr", "content": "a"}]}, "message 1 of the role 'usr'; did you mean 'user'"),
        ("chat", {"messages": [{"role": "user", "content": " "}]}, "message 1, of user, whose content is empty"),
        ("chat", {"messages": [{"role": "user", "content": "a"}]}, "an assistant's has to end it"),
        ("chat", {"messages": [{"role": "assistant", "content": "a"}]}, "must begin with a user's; message 1"),
        ("chat", {"messages": [{"role": "user", "content": "a"}] * 2}, "in a row of the role 'user', 1 and 2"),
        ("chat", {"messages": [{"role": "user", "content": "a"}, {"role": "tool", "content": "b"}]},
         "a tool's message at 2, though no tool was called"),
        ("chat", {"messages": [{"role": "user", "content": "a"}, {"role": "system", "content": "b"}]},
         "a system's message at 2; it can only be the first"),
        ("chat", {"messages": [ASKED, {"role": "assistant", "tool_calls": "add"}, SAID]},
         "a message 2 whose tool_calls must be a list of calls; got 'add'"),
        ("chat", {"messages": [ASKED, {"role": "assistant", "tool_calls": [{"id": "x", "function": None}]}, SAID]},
         "a message 2 whose call of a tool has no name"),
        ("chat", {"messages": [ASKED, calling("{a:"), SAID]},
         "a message 2 whose call of 'f' has arguments that are no object in JSON: '{a:'"),
        ("chat", {"messages": [ASKED, calling(7), SAID]}, "arguments that are no object in JSON: 7"),
        ("chat", {"messages": [ASKED, SAID | {"weight": 0.5}]}, "a message 2 whose weight must be 0 or 1; got 0.5"),
        ("chat", {"messages": [ASKED, SAID | {"weight": 0}]}, "each has a weight of 0"),
        ("chat", {"messages": [ASKED, SAID], "tools": 3}, "the tools must be a list of tools in JSON; got 3"),
        ("chat", {"messages": [ASKED, SAID], "tools": '"f"'}, "must be a list of tools in JSON; got '\"f\"'"),
        ("chat", {"messages": [ASKED, SAID], "tools": ["f"]}, r"must be a list of tools in JSON; got \['f'\]"),
        ("feedback", {"prompt": "a", "completion": "b", "label": "so so"}, "must be true or false; got 'so so'"),
        ("prefer", {"prompt": "a", "chosen": "b", "rejected": "b"}, "is the same as what was chosen"),
        ("prefer", {"chosen": "b", "rejected": "c"}, "no message in common"),
        ("prefer", {"prompt": "z", "chosen": [ASKED, SAID], "rejected": "c"}, "goes on with a message of 'user'"),
    ],
)  # fmt: skip
def test_a_row_that_is_no_example_is_one_line(form: str, record: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        one(form, record)
    assert str(caught.value).startswith("a.jsonl, line 1: ")
    assert "\n" not in str(caught.value)


CONTEXT = "Paris is in France, and Paris is large."


@pytest.mark.parametrize(
    "answers",
    [
        [{"text": "France", "answer_start": 12}],
        {"text": ["France"], "answer_start": [12]},
        {"text": ["France"], "answer_start": ["12.0"]},
        "France",
        ["France"],
    ],
)
def test_answers_in_the_ways_that_they_are_written(answers: Any) -> None:
    example = one("extract", {"id": "7", "question": "where?", "context": CONTEXT, "answers": answers})
    assert example.answers == (Answer("France", 12),)
    assert (example.id, example.gold, example.texts) == ("7", ("France",), ("where?", CONTEXT))


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({"answers": [{"text": "France", "answer_start": 11}]},
         r"id q1: the answer 'France' is not at answer_start 11 \(there stands ' Franc'\); it is at 12"),
        ({"answers": [{"text": "Paris", "answer_start": 9}]}, r"it is at 0, 24"),
        ({"answers": [{"text": "France", "answer_start": 99}]}, r"\(the context has 39 characters\); it is at 12"),
        ({"answers": [{"text": "France", "answer_start": -1}]}, r"it is at 12"),
        ({"answers": [{"text": "Rome", "answer_start": 0}]}, "'Rome' does not occur in the context"),
        ({"answers": [{"text": "", "answer_start": 0}]}, "the answers is empty"),
        ({"answers": [{"text": "France", "answer_start": "x"}]}, "at which character it begins; got 'x'"),
        ({"answers": {"text": ["a", "b"], "answer_start": [1]}}, "has 2 texts and 1 offsets"),
        ({"answers": ["France"], "is_impossible": True}, "says that there is none, but there is the answer 'France'"),
        ({"answers": [], "is_impossible": False}, "is empty, though the question is said to have one"),
        ({"answers": None}, "is missing"),
        ({"answers": 7}, "must be a list of answers; got 7"),
    ],
)  # fmt: skip
def test_answers_that_do_not_fit_are_one_line(record: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        one("extract", {"id": "q1", "question": "where?", "context": CONTEXT, **record})


def test_questions_without_an_answer_and_ids() -> None:
    base = {"question": "where?", "context": CONTEXT}
    assert one("extract", {**base, "answers": [], "is_impossible": True}).gold == ()
    with pytest.raises(InputError, match=r"line 2: the id '1' is that of line 1 already"):
        one("extract", {**base, "id": "1", "answers": []}, {**base, "id": "1", "answers": []})


def test_choices_are_counted_from_one_where_the_file_does() -> None:
    def row(answer: int) -> dict[str, Any]:
        return {"question": "q", "choices": ["a", "b"], "answer": answer}

    assert one("choice", row(2), row(1)).answer == 1
    assert one("choice", row(1), row(0)).answer == 1
    assert one("choice", row(1), row(1)).answer == 1
    with pytest.raises(InputError, match="line 2: the answer must be a choice from 0 to 1; got 2"):
        one("choice", row(0), row(2))


def test_a_tag_too_many_for_words_is_no_tag_of_a_character() -> None:
    text = "逛 “ 东安 ” 去 ！"  # six words of seven characters
    assert one("tag", {"tokens": text, "tags": "v w nz w v w"}).tokens == ("逛", "“", "东安", "”", "去", "！")
    with pytest.raises(InputError, match=r"7 tags for 6 tokens: tag 7 \('n'\) has no token"):
        one("tag", {"tokens": text, "tags": "v w nz w v w n"})
    assert one("tag", {"tokens": "我 爱北京", "tags": "O O B-LOC I-LOC"}).tokens == tuple("我爱北京")


def test_a_choice_that_a_row_lacks_is_one_line() -> None:
    row = {"question": "q", "Option A": "a", "Option B": "b", "Option D": "d", "answer": "B"}
    with pytest.raises(InputError, match="line 1: the choice C is empty, though Option D is not"):
        one("choice", row)


def test_choices_may_be_objects_each_with_its_label() -> None:
    """As the files of ARC and CommonsenseQA have them."""
    choices = [{"label": "1", "text": "a"}, {"label": "2", "text": "b"}]
    book = {"question_stem": "q", "choices": {"text": ["a", "b"], "label": ["1", "2"]}, "answerKey": "2"}  # OpenBookQA
    assert one("choice", book).question == "q"
    example: MultipleChoice = one("choice", {"question": {"stem": "q", "choices": choices}, "answerKey": "2"})
    assert (example.question, example.choices, example.answer) == ("q", ("a", "b"), 1)
    with pytest.raises(InputError, match=r"the choices .*is empty"):
        one("choice", {"question": "q", "choices": [*choices, {"label": "3", "text": " "}], "answer": "2"})
    with pytest.raises(InputError, match=r"the choices \(column 'question.choices'\) must be a list of texts; got 7"):
        one("choice", {"question": {"stem": "q", "choices": 7}, "answer": "2"})


@pytest.mark.parametrize("other", ["E", "N", "q"])
def test_a_letter_far_from_the_choices_is_another_column(other: str) -> None:
    row = {"question": "?", "A": "a", "B": "b", other: "7", "answer": "B"}
    assert one("choice", row).choices == ("a", "b")


def test_an_empty_choice_between_others_is_one_line() -> None:
    row = {"question": "q", "A": "a", "B": "b", "C": "", "D": "d", "answer": "A"}
    with pytest.raises(InputError, match="line 1: the choice C is empty, though D is not"):
        one("choice", row)


@pytest.mark.parametrize(
    "record",
    [
        {"text": "The <e1>dog</e1> bit the <e2>man</e2>.", "relation": "bites"},
        {"text": "The dog bit the man.", "head": "dog", "tail": "man", "relation": "bites"},
        {"text": "The dog bit the man.", "h": {"name": "dog", "pos": [4, 7]}, "t": {"name": "man", "pos": [16, 19]},
         "relation": "bites"},
        {"token": ["The", "dog", "bit", "the", "man."], "subj_start": 1, "subj_end": 1, "obj_start": 4, "obj_end": 4,
         "relation": "bites"},
    ],
)  # fmt: skip
def test_entities_are_marked(record: dict[str, Any]) -> None:
    example: Relation = one("relate", record)
    assert example.marked().replace(".", "") == "The [E1] dog [/E1] bit the [E2] man [/E2]"
    assert example.text[slice(*example.head)] == "dog"
    assert example.label == "bites"


def test_forms_are_found_by_name() -> None:
    assert form_named("tag", key="task") is FORMS["tag"]
    with pytest.raises(RecipeError, match=r"task: unknown form 'clasify'; did you mean 'classify'\?"):
        form_named("clasify", key="task")


def test_the_beginning_of_what_is_to_be_ended_is_read_too() -> None:
    row = {"startphrase": "It rains. He", "sent1": "It rains.", "sent2": "He", "ending0": "goes in.",
           "ending1": "sings.", "ending2": "flies.", "ending3": "sleeps.", "label": 0}  # fmt: skip
    swag = one("choice", row, row | {"label": 2})
    assert (swag.context, swag.question, swag.right) == ("It rains.", "He", "goes in.")
    row = {"premise": "It rains.", "choice1": "I run.", "choice2": "I sit.", "question": "effect", "label": 0}
    copa = one("choice", row, row | {"label": 1})
    assert (copa.context, copa.question, copa.choices) == ("It rains.", "effect", ("I run.", "I sit."))
    row = {"ctx_a": "It rains.", "ctx": "It rains. He", "endings": ["runs.", "sits."], "label": 0}
    assert one("choice", row, row | {"label": 1}).question == "It rains. He"


def test_a_context_may_be_a_list_of_lines() -> None:
    row = {"context": ["男：你好", "女：你好"], "question": "谁？", "choices": ["甲", "乙"], "answer": "乙"}
    assert one("choice", row).context == "男：你好\n女：你好"
    with pytest.raises(InputError, match="line 1: the context is empty"):
        one("choice", row | {"context": ["男：你好", " "]})
    with pytest.raises(InputError, match="line 1: the context must be text; got 7"):
        one("choice", row | {"context": 7})
