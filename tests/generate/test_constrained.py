"""Constrained answers of an untrained model: only matching texts, only JSON that the schema allows."""

from __future__ import annotations

import enum
import json
import re
import sys
from typing import Annotated, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from danlu.errors import InputError
from danlu.generate.constrained import constraint_of
from danlu.generate.engine import Answer, generate, stream
from danlu.generate.sampling import Sampling
from danlu.nn.families import GPT
from danlu.nn.transformer import Transformer
from danlu.recipe import build
from danlu.tokenizers.char import Char
from danlu.tokenizers.tokenizer import Tokenizer

SEEDS = 30


class City(enum.Enum):
    BEIJING = "北京"
    SHANGHAI = "上海"
    PARIS = "Paris"


class Person(BaseModel):
    model_config = ConfigDict(extra="forbid")
    name: str = Field(max_length=8)
    age: int = Field(ge=0, le=150)
    cities: list[City] = Field(max_length=3)


class Node(BaseModel):
    model_config = ConfigDict(extra="forbid")
    kind: Literal["叶", "leaf"]
    flag: bool | None
    child: Annotated[Person | None, Field()] = None


class Poem(BaseModel):
    model_config = ConfigDict(extra="forbid")
    line: str = Field(pattern=r"^[\u4e00-\u9fff]{5}$")
    count: Annotated[int, Field(ge=-9, le=9)]


REGEXES = [
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}",
    r"(be|not to be){1,3}!?",
    r"[\u4e00-\u9fff]{2,6}。",
    r"(天下|话说)(大势|😀)[a-zé]{0,5}",
]


@pytest.mark.parametrize("regex", REGEXES)
def test_untrained_answers_match_the_expression(regex: str, model: Transformer, tokenizer: Tokenizer) -> None:
    settings = Sampling(max_tokens=60, temperature=2.0, regex=regex)
    answers = generate(model, tokenizer, ["To be"] * SEEDS, settings=settings, seed=0)
    for answer in answers:
        assert answer.end == "end_of_text"
        assert re.fullmatch(regex, answer.text), answer
    assert len({answer.text for answer in answers}) > 5


@pytest.mark.parametrize("schema", [Person, Node, Poem])
def test_untrained_answers_are_json_of_the_schema(
    schema: type[BaseModel], model: Transformer, tokenizer: Tokenizer
) -> None:
    settings = Sampling(max_tokens=400, temperature=1.5, json_schema=schema.model_json_schema())
    answers = generate(model, tokenizer, ["话说"] * SEEDS, settings=settings, seed=0)
    for answer in answers:
        if answer.end == "end_of_text":
            schema.model_validate_json(answer.text)
        else:  # the only other end
            assert answer.end == "max_tokens"
            assert answer.tokens == settings.max_tokens
    assert sum(answer.end == "end_of_text" for answer in answers) >= SEEDS - 3
    assert len({answer.text for answer in answers}) > 5


def test_what_is_cut_is_told(model: Transformer, tokenizer: Tokenizer) -> None:
    settings = Sampling(max_tokens=12, json_schema=Person.model_json_schema())
    for answer in generate(model, tokenizer, ["话说"] * 5, settings=settings, seed=0):
        assert answer.end == "max_tokens"
        with pytest.raises(ValidationError):
            Person.model_validate_json(answer.text)


def test_greedy_and_penalties_stay_inside(model: Transformer, tokenizer: Tokenizer) -> None:
    """An n-gram that may not come again gives way where nothing else is allowed."""
    for settings in (Sampling(temperature=0), Sampling(top_k=1), Sampling(no_repeat_ngram=1, repetition_penalty=2.0)):
        strict = settings.model_copy(update={"regex": "(天){6}", "max_tokens": 40})
        (answer,) = generate(model, tokenizer, [""], settings=strict, seed=0)
        assert (answer.text, answer.end) == ("天" * 6, "end_of_text")


def test_rows_follow_the_expression_each_at_its_own_pace(model: Transformer, tokenizer: Tokenizer) -> None:
    settings = Sampling(max_tokens=40, temperature=1.5, regex="(话说)?(be ){1,9}")
    prompts = ["", "To be or not", "话"] * 3
    together = generate(model, tokenizer, prompts, settings=settings, seed=4)
    for place, prompt in enumerate(prompts):
        assert generate(model, tokenizer, [prompt], settings=settings, seed=4 + place) == [together[place]]
        assert "".join(stream(model, tokenizer, prompt, settings=settings, seed=4 + place)) == together[place].text


def test_only_tokens_that_lead_on_are_allowed(tokenizer: Tokenizer) -> None:
    """Against the definition, by trying every token; where only one byte can come next, one way to go is enough."""
    words = [word.encode() for word in ("不 be", "不 to be", "天下", "天 😀", "be")]
    vocabulary = {id: tokenizer.token_bytes(id) for id in range(tokenizer.vocab_size) if tokenizer.token_bytes(id)}
    regex = "不 (to )?be|天(下| 😀)|be"
    ends = {tokenizer.eot, 7}
    for word in words:
        constraint = constraint_of(tokenizer, ends=ends, regex=regex, json_schema=None)
        assert constraint is not None
        taken, free = b"", 0
        while taken != word:
            behind = [each[len(taken) :] for each in words if each.startswith(taken)]
            leading = {id for id, token in vocabulary.items() if any(left.startswith(token) for left in behind)}
            allowed = set(constraint.allowed_V.nonzero().flatten().tolist())
            assert allowed
            assert allowed <= leading
            if len({left[0] for left in behind}) > 1:
                assert allowed == leading
                free += 1
            assert not constraint.complete
            token = max(
                (id for id in allowed if word.startswith(taken + vocabulary[id])), key=lambda id: len(vocabulary[id])
            )
            constraint.take(token)
            taken += vocabulary[token]
        assert free > 0
        assert constraint.complete
        assert set(constraint.allowed_V.nonzero().flatten().tolist()) == ends


def parrot_fashion(tokenizer: Tokenizer, *, seed: int, regex: str | None = None, schema: object = None) -> Answer:
    """An answer by a model that has learned nothing."""
    config = GPT(layers=1, dim=8, heads=1).config(vocab_size=tokenizer.vocab_size, max_length=64)
    model = Transformer(config)
    model.initialise(0)
    settings = build(Sampling, {"regex": regex, "json_schema": schema, "max_tokens": 40}, key="")
    return generate(model, tokenizer, [""], settings=settings, seed=seed)[0]


def test_a_character_tokenizer_will_do() -> None:
    """Its vocabulary lacks most characters and all bytes: what cannot be written is not begun, or the end says so."""
    tokenizer = Char().train(['{"a":一二三四}'])
    schema = {
        "properties": {"a": {"enum": ["一", "二", "五"]}},
        "required": ["a"],
        "additionalProperties": False,
        "type": "object",
    }
    values = set()
    for seed in range(SEEDS):
        answer = parrot_fashion(tokenizer, seed=seed, schema=schema)
        assert answer.end == "end_of_text"
        values.add(json.loads(answer.text)["a"])
    assert values == {"一", "二"}
    assert re.fullmatch(r"[\u4e00-\u9fff]{7}", parrot_fashion(tokenizer, seed=0, regex=r"[\u4e00-\u9fff]{7}").text)
    answer = parrot_fashion(tokenizer, seed=0, regex="二三五")
    assert (answer.text, answer.end) == ("二三", "stuck")
    with pytest.raises(InputError, match="no token of the vocabulary begins an answer"):
        parrot_fashion(tokenizer, seed=0, regex="五")


def test_without_the_package_the_command_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "llguidance", None)
    with pytest.raises(
        InputError, match="follows regex or json_schema needs the package llguidance: pip install llguidance"
    ):
        build(Sampling, {"regex": "a"}, key="x")
    assert build(Sampling, {}, key="x") == Sampling()
