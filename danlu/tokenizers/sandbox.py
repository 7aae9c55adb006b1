"""Jinja's sandbox with a budget: a template from anywhere cannot compute for ever, nor fill the memory.

Jinja's own sandbox refuses attributes that lead out of it, and changes to what it is given. Here all that a template
does is counted (``budget.py``): loops and bodies of macros by what is written in them, operators, calls, filters,
tests, comparisons, slices and what is written out. What a filter, a method or an operator would make is estimated
before it is made (``growth.py``). No constant is computed when the template is read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import wraps
from typing import Any

import jinja2
from jinja2 import nodes, pass_context
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import _PassArg

from danlu.tokenizers.budget import budget, check_length, measured, seen, weigh
from danlu.tokenizers.growth import before_call, before_filter, before_operator, before_test

MOST_SOURCE = 500_000
"""Characters of a template; those of models have some ten thousand."""
NODES = 100
"""Of a body, by the template's grammar, which count for a step each time that it runs."""
UNBOUNDED = ("pprint", "urlize", "xmlattr")
"""Filters for web pages and for debugging, which no chat needs."""
LAZY = ("map", "reject", "rejectattr", "select", "selectattr")
CHEAP = (*LAZY, "attr", "count", "d", "default", "first", "items", "last", "length", "random")
"""Filters that do not look into what is in their value; they take time for its length at most."""
ALL_AT_ONCE = ("batch", "dictsort", "groupby", "list", "max", "min", "slice", "sort", "sum", "unique", "join")
"""Filters that take all items of their value before they give any."""
ERRORS = (
    jinja2.TemplateError, TypeError, ValueError, ArithmeticError, LookupError, AttributeError, RecursionError,
    SyntaxError, MemoryError, NameError, AssertionError,
)  # fmt: skip
"""What a template that is wrong, or gets what it does not expect, may raise. SyntaxError: it is nested too deeply;
NameError: it has a number without end, such as ``1e400``, which Jinja writes as a name; AssertionError: Jinja's own
filters say so of what they are given."""


class Sandbox(ImmutableSandboxedEnvironment):
    """An environment whose templates have a budget."""

    intercepted_binops = frozenset({"+", "-", "*", "/", "//", "%", "**"})

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings, finalize=_written)
        del self.globals["lipsum"]
        for name in UNBOUNDED:
            del self.filters[name]
        self.filters = {name: _budgeted_filter(name, each) for name, each in self.filters.items()}
        tests: Any = self.tests
        self.tests = {name: _budgeted_test(name, each) for name, each in tests.items()}
        self.filters |= {
            "_danlu_body": _body, "_danlu_concat": _concat, "_danlu_counted": _counted, "_danlu_measured": _measured,
            "_danlu_searched": _searched, "_danlu_seen": _seen,
        }  # fmt: skip

    def add_filter(self, name: str, function: Callable[..., Any]) -> None:
        """One that takes part in the budget as Jinja's own do."""
        self.filters[name] = _budgeted_filter(name, function)

    def _parse(self, source: str, name: str | None, filename: str | None) -> nodes.Template:
        """With what counts put around all that takes time or memory."""
        if len(source) > MOST_SOURCE:
            raise jinja2.TemplateSyntaxError(f"it has more than {MOST_SOURCE:,} characters", 1, name, filename)
        template = super()._parse(source, name, filename)
        for node in list(template.find_all(nodes.Stmt)):
            if isinstance(node, nodes.For | nodes.Macro | nodes.CallBlock | nodes.Block):
                node.body.insert(0, _cost_of(node.body))
            if isinstance(node, nodes.For):
                node.iter = _filtered(node.iter, "_danlu_counted")
        for block in template.find_all(nodes.AssignBlock):
            block.filter = _filtered(block.filter, "_danlu_measured")
        for parent in reversed(list(template.find_all(nodes.Node))):  # what is within is wrapped before what it is in
            for field, value in list(parent.iter_fields()):
                if isinstance(value, list):
                    setattr(parent, field, [_wrapped(each) for each in value])
                elif isinstance(value, nodes.Node):
                    setattr(parent, field, _wrapped(value))
        template.set_environment(self)
        return template

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        before_operator(operator, left, right)
        return measured(super().call_binop(context, operator, left, right))

    def call(self, context: Context, obj: Any, /, *args: Any, **kwargs: Any) -> Any:
        budget().step()
        if getattr(obj, "__name__", None) == "join":
            args = tuple(list(each) if isinstance(each, Iterator) else each for each in args)
        before_call(obj, args, kwargs)
        return measured(super().call(context, obj, *args, **kwargs))

    def getitem(self, obj: Any, argument: Any) -> Any:
        return super().getitem(obj, seen(argument) if isinstance(argument, tuple) else argument)


def joined(pieces: Iterable[str]) -> str:
    """What a template writes.

    Raises:
        TemplateRuntimeError: it is too long.
    """
    found, length = [], 0
    for piece in pieces:
        length += len(piece)
        check_length(length)
        found.append(piece)
    return "".join(found)


def _budgeted_filter(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    called = _with_context(function)

    @pass_context  # which also keeps Jinja from computing it when the template is read
    @wraps(function)
    def budgeted(context: Context, value: Any, *args: Any, **kwargs: Any) -> Any:
        if name in ALL_AT_ONCE and isinstance(value, Iterator):
            value = list(_items(value))
        if name in CHEAP:
            length = len(value) if isinstance(value, str | list | tuple | dict | range) else 0
            budget().spend(64 + 8 * length)
        else:
            seen(value)
            if isinstance(value, range):
                budget().spend(64 * len(value))
        for each in (*args, *kwargs.values()):
            seen(each)
        before_filter(name, value, args, kwargs)
        result = called(context, value, *args, **kwargs)
        return _items(result) if isinstance(result, Iterator) else measured(result)

    return budgeted


def _budgeted_test(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    called = _with_context(function)

    @pass_context
    @wraps(function)
    def budgeted(context: Context, value: Any, *args: Any, **kwargs: Any) -> Any:
        before_test(name, value, [*args, *kwargs.values()])
        return called(context, value, *args, **kwargs)

    return budgeted


def _with_context(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function with a context before its own arguments, of which it is given what it asks for."""
    wanted = _PassArg.from_obj(function)
    if wanted is _PassArg.context:
        return function
    if wanted is _PassArg.eval_context:
        return lambda context, *args, **kwargs: function(context.eval_ctx, *args, **kwargs)
    if wanted is _PassArg.environment:
        return lambda context, *args, **kwargs: function(context.environment, *args, **kwargs)
    return lambda context, *args, **kwargs: function(*args, **kwargs)


def _items(items: Iterable[Any]) -> Iterator[Any]:
    for item in items:
        budget().step()
        yield measured(item)


@pass_context
def _counted(_: Context, items: Any) -> Iterator[Any]:
    for item in items:
        budget().step()
        yield item


@pass_context
def _body(_: Context, cost: tuple[int, int]) -> str:
    steps, size = cost
    budget().step(steps)
    budget().spend(size)
    return ""


@pass_context
def _measured(_: Context, value: Any) -> Any:
    return measured(value)


@pass_context
def _seen(_: Context, value: Any) -> Any:
    return seen(value)


@pass_context
def _concat(_: Context, values: list[Any]) -> str:
    """What ``~`` makes."""
    check_length(sum(weigh(each).characters for each in values))
    return str(measured("".join(map(str, values))))


@pass_context
def _written(_: Context, value: Any) -> Any:
    """What ``{{ }}`` shows; that of a list is as long as all that is in it."""
    weigh(value)
    return value


def _cost_of(body: list[nodes.Node]) -> nodes.ExprStmt:
    """A statement that takes from the budget what a run of ``body`` costs, but for what is counted by itself."""
    inside = [each for node in body for each in (node, *node.find_all(nodes.Node))]
    written = sum(len(each.data) for each in inside if isinstance(each, nodes.TemplateData))
    made = sum(isinstance(each, nodes.List | nodes.Tuple | nodes.Dict) for each in inside)
    closures = sum(isinstance(each, nodes.Macro | nodes.CallBlock) for each in inside)
    cost = nodes.Const((len(inside) // NODES, written + 8 * len(inside) + 100 * made + 1000 * closures))
    return nodes.ExprStmt(_filtered(cost, "_danlu_body"), lineno=body[0].lineno if body else 1)


def _wrapped(node: Any) -> Any:
    """An expression with what counts around it."""
    if isinstance(node, nodes.Concat):
        return _filtered(nodes.List(node.nodes, lineno=node.lineno), "_danlu_concat")
    if isinstance(node, nodes.Getitem) and isinstance(node.arg, nodes.Slice):
        return _filtered(node, "_danlu_measured")
    if isinstance(node, nodes.Pair):
        node.key = _shown(node.key)
    elif isinstance(node, nodes.Compare):
        node.expr = _shown(node.expr)
        for operand in node.ops:
            if operand.op not in ("in", "notin"):
                operand.expr = _shown(operand.expr)
            else:
                operand.expr = _filtered(operand.expr, "_danlu_searched")
    return node


def _shown(node: Any) -> Any:
    return node if isinstance(node, nodes.Const) else _filtered(node, "_danlu_seen")


@pass_context
def _searched(_: Context, value: Any) -> Any:
    """What something is looked for in; in a mapping, or between two numbers, that takes no time."""
    if not isinstance(value, dict | range):
        weigh(value)
    return value


def _filtered(node: Any, name: str) -> nodes.Filter:
    return nodes.Filter(node, name, [], [], None, None, lineno=getattr(node, "lineno", 1))
