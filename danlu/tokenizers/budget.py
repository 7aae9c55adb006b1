"""What one rendering of a chat template may cost: steps, and bytes of texts and lists that it makes or looks through.

A template is somebody else's program. All that it does is counted before it is done, or when little was done, so that
its time and memory have a bound whatever it says.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, NamedTuple

import jinja2
from jinja2.utils import Namespace

MOST_STEPS = 1_000_000
"""Of all loops, and calls, in one rendering; a conversation of a thousand messages takes some ten thousand."""
MOST_CHARACTERS = 20_000_000
"""Of a text, or items of a list; no model reads as many tokens."""
MOST_BYTES = 500_000_000
"""Of all texts and lists that are made or looked through; what is made may all be held at once."""
MOST_BITS = 10_000
"""Of a whole number."""
ITEM = 256
"""Bytes that an item of a list or of a mapping counts for, when all of them are looked at."""
_LISTS: tuple[type[Any], ...] = (
    list, tuple, set, frozenset, type({}.keys()), type({}.values()), type({}.items()),
)  # fmt: skip


class Weight(NamedTuple):
    """All that is in a value, at any depth, as often as it is met."""

    characters: int
    items: int
    depth: int


class Budget:
    """What is left of one rendering."""

    def __init__(self) -> None:
        self.steps, self.bytes = MOST_STEPS, MOST_BYTES

    def step(self, count: int = 1) -> None:
        """So many more.

        Raises:
            TemplateRuntimeError: there were too many.
        """
        self.steps -= count
        if self.steps < 0:
            raise jinja2.TemplateRuntimeError(f"it takes more than {MOST_STEPS:,} steps")

    def spend(self, size: int) -> None:
        """So many bytes more.

        Raises:
            TemplateRuntimeError: there were too many.
        """
        self.bytes -= size
        if self.bytes < 0:
            raise jinja2.TemplateRuntimeError(
                f"it makes and looks through more than {MOST_BYTES // 1_000_000} MB of texts and lists"
            )


_CURRENT: ContextVar[Budget] = ContextVar("the budget of the template that is rendered")


@contextmanager
def rendering() -> Iterator[None]:
    """What is rendered inside has a budget of its own."""
    token = _CURRENT.set(Budget())
    try:
        yield
    finally:
        _CURRENT.reset(token)


def budget() -> Budget:
    """That of the rendering that goes on."""
    return _CURRENT.get()


def check_length(length: int) -> None:
    """Refuse a text, or a list, of so many characters or items.

    Raises:
        TemplateRuntimeError: there are too many.
    """
    if length > MOST_CHARACTERS:
        raise jinja2.TemplateRuntimeError(f"it makes a text of more than {MOST_CHARACTERS:,} characters")


def measured(value: Any) -> Any:
    """The value itself, which has just been made, where it is not too long.

    Raises:
        TemplateRuntimeError: it is, or there have been too many.
    """
    if isinstance(value, str):
        check_length(len(value))
        budget().spend(sys.getsizeof(value))
    elif isinstance(value, list | tuple | dict):
        check_length(len(value))
        budget().spend((100 if isinstance(value, dict) else 8) * len(value))
    elif isinstance(value, int) and value.bit_length() > MOST_BITS:
        raise jinja2.TemplateRuntimeError(f"it makes a number of more than {MOST_BITS:,} bits")
    return value


def seen(value: Any) -> Any:
    """The value itself, all of which may now be looked at: compared, hashed or written.

    Raises:
        TemplateRuntimeError: that is too much.
    """
    weigh(value)
    return value


def weigh(value: Any) -> Weight:
    """Count all that is in a value; a list that is in another twice counts twice, as it does where it is written.

    Raises:
        TemplateRuntimeError: that is too much.
    """
    if isinstance(value, str):  # the most frequent case, in short
        budget().spend(len(value))
        return Weight(len(value), 1, 0)
    characters = items = deepest = 0
    waiting: list[tuple[Iterator[Any], int]] = [(iter((value,)), 0)]
    while waiting:
        level, depth = waiting[-1]
        for each in level:
            items += 1
            inner = _inside(each)
            if inner is not None:
                budget().spend(ITEM)
                waiting.append((inner, depth + 1))
                deepest = max(deepest, depth + 1)
                break
            if isinstance(each, str):
                characters += len(each)
                budget().spend(len(each))
            elif isinstance(each, int):
                characters += each.bit_length() // 3
            budget().spend(ITEM)
        else:
            waiting.pop()
    check_length(characters)
    return Weight(characters, items, deepest)


def _inside(value: Any) -> Iterator[Any] | None:
    """What is in a value; None where nothing is, or nothing that is shown."""
    if isinstance(value, Namespace):
        value = object.__getattribute__(value, "_Namespace__attrs")
    if isinstance(value, Mapping):
        return (each for item in value.items() for each in item)
    items: Any = value
    return iter(items) if isinstance(value, _LISTS) else None
