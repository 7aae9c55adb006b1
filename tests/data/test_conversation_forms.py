"""Conversations, calls of tools and preferences, in each way in which they are written, to their examples."""

from __future__ import annotations

import json

import pytest
from forming import ASKED, SAID, calling, one

from danlu.data.chats import Message
from danlu.data.preferred import Preference

TOOL = {"from": "function_call", "value": '{"name": "f", "arguments": {}}'}
TOLD = {"role": "tool", "content": "1"}
HH = "\n\nHuman: hi\n\nAssistant: hello\n\nHuman: bye\n\nAssistant:"


def test_a_conversation_in_two_columns_of_messages() -> None:
    example = one("chat", {"prompt": [{"role": "system", "content": "s"}, ASKED], "completion": [SAID]})
    assert [message.role for message in example.messages] == ["system", "user", "assistant"]
    assert (example.texts, example.gold) == (("s", "a"), "b")
    asked = one("chat", {"prompt": [ASKED], "chosen": [SAID], "rejected": [SAID]}, gold=False)
    assert (asked.texts, asked.gold) == (("a",), None), "as a model of preferences is asked"
    assert one("chat", {"prompt": '[{"a": 1}]', "response": '[{"b": 2}]'}).gold == '[{"b": 2}]'


def test_tools_are_called_in_the_form_of_openai() -> None:
    example = one("chat", {"conversations": [
        {"from": "human", "value": "a"}, TOOL, {"from": "observation", "value": "1"}, {"from": "gpt", "value": "c"},
    ], "tools": "[]"})  # fmt: skip
    assert [message.role for message in example.messages] == ["user", "assistant", "tool", "assistant"]
    calls = [{"type": "function", "function": {"name": "f", "arguments": {}}}]
    assert example.messages[1].as_openai() == {"role": "assistant", "content": "", "tool_calls": calls}
    assert example.tools == "[]"


def test_what_openai_gives_no_weight_is_not_learned() -> None:
    said = [ASKED, SAID | {"weight": 0}, ASKED, SAID | {"weight": 1}, ASKED, SAID]
    example = one("chat", {"messages": said})
    assert [message.learned for message in example.messages if message.role == "assistant"] == [False, True, True]


@pytest.mark.parametrize("arguments", [{"x": 1}, '{"x": 1}', '{ "x":1 }'], ids=str)
def test_what_a_tool_is_called_with_is_an_object(arguments: object) -> None:
    """OpenAI spells it as text, which templates would write as a text within a text; servers hand them objects."""
    example = one("chat", {"messages": [ASKED, calling(arguments), TOLD, SAID]})
    (call,) = example.messages[1].as_openai()["tool_calls"]
    assert call == {"id": "x", "type": "function", "function": {"name": "f", "arguments": {"x": 1}}}
    said = {"from": "function_call", "value": json.dumps({"name": "f", "arguments": arguments})}
    example = one("chat", {"conversations": [{"from": "human", "value": "a"}, said]})
    assert example.messages[1].as_openai()["tool_calls"][0]["function"] == {"name": "f", "arguments": {"x": 1}}


def test_preferences_as_anthropic_and_as_messages() -> None:
    example: Preference = one("prefer", {"chosen": f"{HH} good", "rejected": f"{HH} bad"})
    assert example.prompt == (Message("user", "hi"), Message("assistant", "hello"), Message("user", "bye"))
    assert (example.chosen, example.rejected) == ((Message("assistant", "good"),), (Message("assistant", "bad"),))
    said = {"conversations": [{"from": "human", "value": "a"}],
            "chosen": {"from": "gpt", "value": "b"}, "rejected": {"from": "gpt", "value": "c"}}  # fmt: skip
    assert one("prefer", said).gold == ("b", "c")
    assert one("feedback", {"messages": [ASKED, SAID], "label": True}).gold == "good"


def test_a_prompt_that_answers_repeat_is_there_once() -> None:
    """UltraFeedback has the prompt, whole conversations, and the chosen one again as messages; KTO's has two lists."""
    other = SAID | {"content": "c"}
    said = {"prompt": "a", "chosen": [ASKED, SAID], "rejected": [ASKED, other], "messages": [ASKED, SAID]}
    example: Preference = one("prefer", said)
    assert example.prompt == (Message("user", "a"),)
    assert example.gold == ("b", "c")
    feedback = one("feedback", {"prompt": [ASKED], "completion": [SAID], "label": False})
    assert (feedback.texts, feedback.gold) == (("a", "b"), "bad")


@pytest.mark.parametrize("answer", [[{"from": "Paris", "to": "Rome"}], [{"role": "cook", "pay": 3}]], ids=str)
def test_an_answer_may_be_json_of_other_things(answer: list[dict[str, object]]) -> None:
    written = json.dumps(answer)
    assert one("chat", {"instruction": "a", "output": written}).gold == written
    assert one("chat", {"instruction": written, "output": "a"}).texts == (written,)
