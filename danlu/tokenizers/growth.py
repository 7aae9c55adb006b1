"""What an operator, a method or a filter of a template would make of its operands, estimated before it is made.

An estimate is never too low; where it is more than a text may have, nothing is computed.
"""

from __future__ import annotations

import re
import string
from collections.abc import Mapping, Sequence
from typing import Any

import jinja2

from danlu.tokenizers.budget import ITEM, MOST_BITS, MOST_CHARACTERS, budget, check_length, seen, weigh

MOST_EXPONENT = 64
MOST_WIDTH = 10_000
"""Of a column, an indentation, a number that is written out, or of a batch."""
LONG_NUMBER = 400
"""Characters of the largest floating-point number without an exponent."""
NUMBER = 30
"""Characters of a number, but for whole ones, whose digits are counted, and those that a width is asked for."""
LISTED = 84
"""Bytes for each character of a text that becomes a list: its place and itself."""
PERCENT = re.compile(r"%(?:\([^)]*\))?[-+ #0]*(\*|[0-9]*)(?:\.(\*|[0-9]*))?")
"""What Python's ``%`` puts in place of itself: how wide, and how many digits or characters."""
TEXT_METHODS = frozenset(
    {
        "capitalize", "casefold", "center", "count", "endswith", "expandtabs", "find", "format", "format_map", "index",
        "isalnum", "isalpha", "isascii", "isdecimal", "isdigit", "isidentifier", "islower", "isnumeric",
        "isprintable", "isspace", "istitle", "isupper", "join", "ljust", "lower", "lstrip", "partition",
        "removeprefix", "removesuffix", "replace", "rfind", "rindex", "rjust", "rpartition", "rsplit", "rstrip",
        "split", "splitlines", "startswith", "strip", "swapcase", "title", "upper", "zfill",
    }
)  # fmt: skip
"""What a template may do with a text; ``translate`` and ``encode`` are not among it."""
NUMBER_METHODS = frozenset({"is_integer", "bit_length"})
WIDE = ("batch", "center", "indent", "round", "slice", "tojson", "wordwrap", "expandtabs", "ljust", "rjust", "zfill")
"""Filters and methods whose whole numbers say how wide, how often or how precise."""
LISTING = (
    "batch", "groupby", "join", "list", "map", "max", "min", "reject", "select", "slice", "sort", "striptags", "sum",
    "title", "unique", "wordcount", "wordwrap", "indent", "rsplit", "split", "splitlines",
)  # fmt: skip
"""Those that make a list of a text, if only for themselves."""
TIMES = {"e": 6, "escape": 6, "forceescape": 6, "urlencode": 12}
"""Filters that write several characters for one, at most so many."""


def before_operator(operator: str, left: Any, right: Any) -> None:
    """Refuse what would be too large.

    Raises:
        TemplateRuntimeError: it would.
    """
    if operator == "%" and isinstance(left, str):
        arguments = right if isinstance(right, tuple) else (right,)
        check_length(_percent_length(left, arguments))
    elif operator == "**" and not (abs(left) <= MOST_CHARACTERS and abs(right) <= MOST_EXPONENT):
        raise jinja2.TemplateRuntimeError(f"it asks for the power {_brief(right)} of a number")
    elif operator == "*":
        for items, times in ((left, right), (right, left)):
            if isinstance(items, str | list | tuple) and isinstance(times, int):
                check_length(len(items) * times)
        if isinstance(left, int) and isinstance(right, int) and left.bit_length() + right.bit_length() > 2 * MOST_BITS:
            raise jinja2.TemplateRuntimeError(f"it makes a number of more than {MOST_BITS:,} bits")
    elif operator == "+" and isinstance(left, str | list | tuple) and isinstance(right, str | list | tuple):
        check_length(len(left) + len(right))


def before_call(function: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
    """The same of a call, which is also refused where a method of Python's own is none that a template needs.

    Raises:
        TemplateRuntimeError: it would be too large, or is such a method.
    """
    method = getattr(function, "__wrapped__", function)  # str.format, by Jinja's sandbox
    owner, name = getattr(method, "__self__", None), str(getattr(method, "__name__", ""))
    budget().spend(200 + 8 * len(args) + 100 * len(kwargs))
    if isinstance(owner, str):
        _allow(name in TEXT_METHODS, name, "text")
        budget().spend(len(owner))
        if name == "join":
            check_length(_joined_length(owner, args[0] if args else ""))
        elif name in ("format", "format_map"):
            check_length(_format_length(owner, args, kwargs))
        else:
            _before(name, owner, args, kwargs)
    elif isinstance(owner, int | float | bytes | type):
        _allow(name in NUMBER_METHODS, name, "number or a type")
    elif isinstance(owner, list | tuple | range):
        seen(owner)
        budget().spend(ITEM * len(owner))
    if isinstance(owner, str | list | tuple | dict):
        for each in (*args, *kwargs.values()):
            seen(each)


def before_filter(name: str, value: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
    """The same of a filter.

    Raises:
        TemplateRuntimeError: what it makes would be too large, or it would take too long.
    """
    if isinstance(value, str):
        check_length(TIMES.get(name, 1) * len(value))
    if name == "sum":
        start = args[1] if len(args) > 1 else kwargs.get("start", 0)
        if not isinstance(start, int | float):
            raise jinja2.TemplateRuntimeError("it sums up what are no numbers")
    elif name == "format":
        check_length(_percent_length(str(value), [*args, *kwargs.values()]))
    elif name == "join":
        check_length(_joined_length(args[0] if args else kwargs.get("d", ""), value))
    elif name == "tojson":
        check_length(_json_length(value, [*args, *kwargs.values()]))
    _before(name, value, args, kwargs)


def before_test(name: str, value: Any, args: Sequence[Any]) -> None:
    """The same of a test.

    Raises:
        TemplateRuntimeError: it would take too long, or it is a test of numbers on a text.
    """
    if name in ("odd", "even", "divisibleby") and isinstance(value, str):
        raise jinja2.TemplateRuntimeError(f"it asks whether a text is {name}")
    if name not in ("defined", "undefined", "none", "string", "mapping", "sequence", "iterable", "number", "sameas"):
        seen(value)
    for each in args:
        seen(each)


def _before(name: str, value: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
    """What filters and methods of the same name have in common."""
    if name in WIDE:
        for each in (*args, *kwargs.values()):
            if isinstance(each, int | float) and abs(each) > MOST_WIDTH:
                raise jinja2.TemplateRuntimeError(f"it asks {name} for {_brief(each)}, of {MOST_WIDTH:,} at most")
    if isinstance(value, str):
        if name in LISTING:
            budget().spend(LISTED * len(value))
        if name == "wordwrap":
            budget().spend(_cut_length(value, args, kwargs))
        estimate = _TEXT_LENGTHS.get(name)
        if estimate is not None:
            check_length(estimate(value, args, kwargs))


def _percent_length(form: str, arguments: Sequence[Any]) -> int:
    """Of ``form % arguments``."""
    found = PERCENT.findall(form)
    wide = 0
    for width, precision in found:
        if "*" in (width, precision):
            raise jinja2.TemplateRuntimeError("it asks for a width that is computed")
        wide += _width(width) + _width(precision) + LONG_NUMBER
    return len(form) + wide + len(found) * _shown_length(arguments)


def _format_length(form: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> int:
    """Of ``form.format(…)``."""
    wide = fields = 0
    for _, field, specification, _ in string.Formatter().parse(form):
        if field is not None:
            fields += 1
            wide += LONG_NUMBER
            if "{" in (specification or ""):
                raise jinja2.TemplateRuntimeError("it asks for a width that is computed")
            wide += sum(map(_width, re.findall("[0-9]+", specification or "")))
    return len(form) + wide + fields * _shown_length([*args, *kwargs.values()])


def _shown_length(arguments: Sequence[Any]) -> int:
    """Of all of them, written out."""
    weights = [weigh(each) for each in arguments]
    return sum(weight.characters + NUMBER * weight.items for weight in weights)


def _width(digits: str) -> int:
    if len(digits.lstrip("0")) > len(str(MOST_WIDTH)) or int(digits or 0) > MOST_WIDTH:
        raise jinja2.TemplateRuntimeError(f"it asks for a width of more than {MOST_WIDTH:,}")
    return int(digits or 0)


def _replaced_length(text: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> int:
    old, new = ([*args, kwargs.get("old"), kwargs.get("new")] + [""] * 2)[:2]
    if len(args) == 1:
        new = kwargs.get("new", "")
    return len(text) + (text.count(str(old)) if old else len(text) + 1) * len(str(new))


def _indented_length(text: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> int:
    width = args[0] if args else kwargs.get("width", 4)
    return len(text) + (len(text.splitlines()) + 1) * (len(width) if isinstance(width, str) else int(width))


def _wrapped_length(text: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> int:
    longest = max([len(each) for each in (*args, *kwargs.values()) if isinstance(each, str)], default=1)
    return len(text) * (1 + longest)


def _cut_length(text: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> int:
    """What is copied where a word is longer than a line: each line that is cut off leaves a copy of all the rest."""
    longest, width = max(map(len, text.split()), default=0), args[0] if args else kwargs.get("width", 79)
    return longest * longest // max(1, width) if isinstance(width, int) and longest > width else 0


def _expanded_length(text: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> int:
    size = args[0] if args else kwargs.get("tabsize", 8)
    return len(text) + text.count("\t") * (size if isinstance(size, int) else 0)


def _joined_length(between: Any, items: Any) -> int:
    if not hasattr(items, "__len__"):
        raise jinja2.TemplateRuntimeError("it joins what is no list")
    return weigh(items).characters + len(items) * (len(str(between)) + NUMBER)


def _json_length(value: Any, given: Sequence[Any]) -> int:
    weight = weigh(value)
    wide = sum(each for each in given if isinstance(each, int))
    wide += sum(len(each) for each in given if isinstance(each, str))
    wide += sum(len(str(part)) for each in given if isinstance(each, tuple | list) for part in each)
    return weight.characters + weight.items * (NUMBER + weight.depth * wide)


_TEXT_LENGTHS = {
    "replace": _replaced_length, "indent": _indented_length, "wordwrap": _wrapped_length,
    "expandtabs": _expanded_length,
}  # fmt: skip
"""By filter or method."""


def _allow(allowed: bool, name: str, kind: str) -> None:
    if not allowed:
        raise jinja2.TemplateRuntimeError(f"it calls {name}, a method of a {kind} that templates do not need")


def _brief(number: Any) -> str:
    """A number that may have millions of digits."""
    if isinstance(number, int) and number.bit_length() > 64:
        return "a very large number"
    return f"{number:,}"
