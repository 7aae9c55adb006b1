"""Jinja's sandbox with a budget: a template from anywhere cannot compute for ever, nor fill the memory.

Jinja's own sandbox refuses attributes that lead out of it, and changes to what it is given. Steps of loops, calls and
lengths of texts are counted here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import jinja2
from jinja2 import nodes, pass_context
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment

MOST_STEPS = 1_000_000
"""Of all loops, and calls, in one rendering; a conversation of a thousand messages takes some ten thousand."""
MOST_CHARACTERS = 20_000_000
"""Of a text, or items of a list; no model reads as many tokens."""
MOST_EXPONENT = 64
BUDGET = "_danlu_budget"
"""The name of the budget among the template's variables."""
ERRORS = (jinja2.TemplateError, TypeError, ValueError, ArithmeticError, LookupError, AttributeError, RecursionError)
"""What a template that is wrong, or gets what it does not expect, may raise."""


class Budget:
    """What is left of one rendering."""

    def __init__(self) -> None:
        self.steps = MOST_STEPS

    def step(self) -> None:
        """One more.

        Raises:
            TemplateRuntimeError: there were too many.
        """
        self.steps -= 1
        if self.steps < 0:
            raise jinja2.TemplateRuntimeError(f"it takes more than {MOST_STEPS:,} steps")


class Sandbox(ImmutableSandboxedEnvironment):
    """An environment whose templates have a budget."""

    intercepted_binops = frozenset({"+", "*", "**"})

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.filters |= {"_danlu_counted": _counted, "_danlu_measured": measured}

    def _parse(self, source: str, name: str | None, filename: str | None) -> nodes.Template:
        """With what counts put around every loop and every text that is put together."""
        template = super()._parse(source, name, filename)
        for loop in template.find_all(nodes.For):
            loop.iter = _filtered(loop.iter, "_danlu_counted")
        for block in template.find_all(nodes.AssignBlock):
            block.filter = _filtered(block.filter, "_danlu_measured")
        for parent in list(template.find_all(nodes.Node)):
            for field, value in list(parent.iter_fields()):
                if isinstance(value, nodes.Concat):
                    setattr(parent, field, _filtered(value, "_danlu_measured"))
                elif isinstance(value, list):
                    wrapped = [_filtered(n, "_danlu_measured") if isinstance(n, nodes.Concat) else n for n in value]
                    setattr(parent, field, wrapped)
        template.set_environment(self)
        return template

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        if operator == "**" and not (abs(left) <= MOST_CHARACTERS and abs(right) <= MOST_EXPONENT):
            raise jinja2.TemplateRuntimeError(f"it asks for the power {right} of a number")
        if operator == "*":
            for items, times in ((left, right), (right, left)):
                if isinstance(items, str | list | tuple) and isinstance(times, int):
                    _check_length(len(items) * times)
        return measured(super().call_binop(context, operator, left, right))

    def call(self, context: Context, obj: Any, /, *args: Any, **kwargs: Any) -> Any:
        _step(context)
        return measured(super().call(context, obj, *args, **kwargs))


def measured(value: Any) -> Any:
    """The value itself, where it is not too long.

    Raises:
        TemplateRuntimeError: it is.
    """
    if isinstance(value, str | list | tuple):
        _check_length(len(value))
    return value


def joined(pieces: Iterable[str]) -> str:
    """What a template writes.

    Raises:
        TemplateRuntimeError: it is too long.
    """
    found, length = [], 0
    for piece in pieces:
        length += len(piece)
        _check_length(length)
        found.append(piece)
    return "".join(found)


@pass_context
def _counted(context: Context, items: Any) -> Iterator[Any]:
    for item in items:
        _step(context)
        yield item


def _step(context: Context) -> None:
    budget = context.get(BUDGET)
    if isinstance(budget, Budget):
        budget.step()


def _check_length(length: int) -> None:
    if length > MOST_CHARACTERS:
        raise jinja2.TemplateRuntimeError(f"it makes a text of more than {MOST_CHARACTERS:,} characters")


def _filtered(node: Any, name: str) -> nodes.Filter:
    return nodes.Filter(node, name, [], [], None, None, lineno=getattr(node, "lineno", 1))
