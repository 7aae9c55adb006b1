"""Templates that try to get out, to compute for ever, or to fill the memory: one line each, and soon."""

from __future__ import annotations

import re

import pytest

from danlu.errors import InputError
from danlu.tokenizers import budget
from danlu.tokenizers.chat_template import ChatTemplate

MESSAGES = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Ho"}]
OUT = [
    "{{ ''.__class__.__mro__ }}",
    "{{ messages.append(1) }}",
    "{{ messages[0].update(role='x') }}",
    "{{ cycler.__init__.__globals__ }}",
    "{{ self.__init__.__globals__ }}",
    "{{ (''|attr('__class__')).__mro__ }}",
    "{{ raise_exception.__globals__['x'] }}",
    "{{ '{0.__class__.__mro__}'.format(1).x.y }}",
    "{% include '/etc/passwd' %}",
    "{% import 'os' as os %}",
]
ODD = ["{{ 1e400 }}", "{{ messages[0].content|truncate(-5) }}"]
"""Of which Jinja raises what is no error of a template: NameError, AssertionError."""
FOR_EVER = [
    "{% for a in range(99999) %}{% for b in range(99999) %}{% for c in 'abc' %}{% endfor %}{% endfor %}{% endfor %}",
    "{% for a in range(10**9) %}{% endfor %}",
    "{% set x = range(9000)|list %}{% for a in x %}{% for b in x %}{% endfor %}{% endfor %}",
    "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
    "{% macro f(n) %}{% if n %}{{ f(n - 1) }}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(60) }}",
    "{{ 2 ** 1000000000000 }}",
    "{{ (2 ** 63) ** 63 ** 63 }}",
]
LARGE = [
    "{{ 'a' * 10 ** 12 }}",
    "{{ 10 ** 12 * 'a' }}",
    "{{ ([1] * 10 ** 12)|length }}",
    "{% set n = namespace(x='a') %}{% for i in range(60) %}{% set n.x = n.x ~ n.x %}{% endfor %}",
    "{% set n = namespace(x='a') %}{% for i in range(60) %}{% set n.x = n.x + n.x %}{% endfor %}",
    "{% set n = namespace(x='a') %}{% for i in range(60) %}{% set y %}{{ n.x }}{{ n.x }}{% endset %}"
    "{% set n.x = y %}{% endfor %}",
    "{% for i in range(99999) %}{{ 'a' * 1000 }}{% endfor %}",
    "{{ 'x'|center(10**12) }}",
    "{{ 'x'|center(1000000000000) }}",
    "{{ 'x'.center(10**12) }}",
    "{{ ('x'|attr('ljust'))(10**12) }}",
    "{{ ['x']|map('center', 10**12)|list }}",
    "{{ '1'.zfill(10**12) ~ 'x'.rjust(10**12) }}",
    "{{ ('\\t' * 9999).expandtabs(10**12) }}",
    "{{ lipsum(n=10**6) }}",
    "{{ '%0999999999d'|format(1) }}",
    "{{ '%0999999999d' % 1 }}",
    "{{ '%.999999999f' % 1 }}",
    "{{ '%*d' % (999999999, 1) }}",
    "{{ '%(a)9999d' * 99999 % {'a': 1} }}",
    "{{ ('%(a)s' * 99999) % {'a': 'a' * 99999} }}",
    "{% if '%0999999999d' is odd %}{% endif %}",
    "{{ ['%0999999999d']|select('even')|list }}",
    "{{ '{:>999999999}'.format(1) }}",
    "{{ '{:>{}}'.format(1, 999999999) }}",
    "{{ ('{0}' * 99999).format('a' * 99999) }}",
    "{{ '{a:>999999999}'.format_map({'a': 1}) }}",
    "{{ ('a' * 9999)|replace('a', 'b' * 9999) }}",
    "{{ ('a' * 9999)|replace('', 'b' * 9999) }}",
    "{{ ('a' * 9999).replace('a', 'b' * 9999) }}",
    "{{ ([1] * 99999)|join('b' * 9999) }}",
    "{{ ('b' * 9999).join(['a'] * 99999) }}",
    "{{ ('b' * 9999).join((['a'] * 9999)|map('upper')) }}",
    "{{ ('\n' * 99999)|indent(9999) }}",
    "{{ ('\n' * 99999)|indent('a' * 9999) }}",
    "{{ ('a' * 99999)|wordwrap(1, wrapstring='b' * 9999) }}",
    "{{ [1]|batch(10**10, 'x')|list }}",
    "{{ [1]|slice(10**10)|list }}",
    "{{ [[1] * 99]|tojson(indent=10**8) }}",
    "{{ ([[[[1]]]] * 99999)|tojson(indent=9999) }}",
    "{{ 1|round(10**10, 'ceil') }}",
    "{{ (5).to_bytes(10**11, 'big') }}",
    "{{ ('a' * 19999999).translate({97: 'b' * 9999}) }}",
    "{{ dict.fromkeys('abc') }}",
    "{{ strftime_now('%Y' * 9999999) }}",
    "{{ ('<' * 19999999)|escape }}",
    "{{ ('字' * 19999999)|urlencode }}",
    "{{ messages|pprint }}",
    "{% set n = namespace(x=7) %}{% for i in range(60) %}{% set n.x = n.x * n.x %}{% endfor %}",
    "{% filter upper %}{% for i in range(99999) %}{{ 'a' * 9999 }}{% endfor %}{% endfilter %}",
    "{% macro m() %}{% for i in range(99999) %}" + "a" * 9999 + "{% endfor %}{% endmacro %}{{ m() }}",
]
HELD = [
    "{% set n = namespace(x=[]) %}{% for i in range(9999) %}{% set n.x = n.x + ['a' * 9999999 ~ i] %}{% endfor %}",
    "{% set n = namespace(x=[], t='a' * 9999999) %}"
    "{% for i in range(9999) %}{% set n.x = [n.x, n.t[:-1]] %}{% endfor %}",
    "{% set n = namespace(x=[], t='a b ' * 999999) %}"
    "{% for i in range(9999) %}{% set n.x = [n.x, n.t.split()] %}{% endfor %}",
    "{% set n = namespace(x=[]) %}{% for i in range(9999) %}{% set n.x = [n.x, range(99999)|list] %}{% endfor %}",
    "{% set n = namespace(x=[]) %}{% for i in range(9999) %}{% set n.x = [n.x, ('é' * 9999999)|list] %}{% endfor %}",
    "{% set n = namespace(x=[]) %}{% for i in range(99999) %}{% for j in range(9) %}{% set n.x = [n.x"
    + ", [1]" * 999
    + "] %}{% endfor %}{% endfor %}",
]
"""Little at a time, and all of it kept."""
TWICE = "{% set n = namespace(x=[1], y=[1]) %}{% for i in range(60) %}{% set n.x = [n.x, n.x] %}"
TWICE += "{% set n.y = [n.y, n.y] %}{% endfor %}"
"""Sixty lists, each twice in the next: 2⁶⁰ items for who looks at all of them."""
MANIFOLD = [
    "{{ n.x }}", "{{ n.x ~ 'a' }}", "{{ n.x|tojson }}", "{{ n.x|string }}", "{{ n.x|join }}", "{{ '%s' % n.x }}",
    "{{ '%s'|format(n.x) }}", "{{ '{}'.format(n.x) }}", "{{ n.x == n.y }}", "{{ n.x in [n.y] }}",
    "{{ [n.x]|unique|list }}", "{{ [n.x, n.y]|sort }}", "{{ n.x is eq n.y }}",
    "{{ n.x is lower }}", "{{ [n.x].index(n.y) }}",
    "{{ n }}",
    "{{ {'a': n.x}.items() }}", "{{ [n.x]|select('eq', n.y)|list }}", "{{ n.x|upper }}",
]  # fmt: skip
HASHED = "{% set n = namespace(x=(1,)) %}{% for i in range(60) %}{% set n.x = (n.x, n.x) %}{% endfor %}"
KEYS = ["{{ {n.x: 1} }}", "{{ {1: 2}[n.x] }}", "{{ {1: 2}.get(n.x) }}", "{{ n.x in {1: 2} }}"]
SLOW = [
    "{% set a = 'a' * 9999999 %}{% set b = 'a' * 9999998 ~ 'a' %}"
    "{% for i in range(99999) %}{% for j in range(9) %}{{ a == b }}{% endfor %}{% endfor %}",
    "{% set a = 'a' * 9999999 %}{% for i in range(99999) %}{{ 'b' in a }}{% endfor %}",
    "{% set a = 'a' * 9999999 %}{% for i in range(99999) %}{{ a.find('b') }}{% endfor %}",
    "{% for i in range(99999) %}{{ range(99999)|sum }}{% endfor %}",
    "{{ ('a' * 99999)|wordwrap(1) }}",
    "{{ ('a' * 99999)|wordwrap(width=7, break_on_hyphens=false) }}",
    "{% for i in range(99999) %}{{ (range(99999)|max, 'a' in range(99999)) }}{% endfor %}",
    "{% set l = ['a' * 999999, 'a' * 999998 ~ 'b'] * 9999 %}{{ l|sort|length }}",
    "{{ ([[1] * 99999] * 9999)|sum(start=[])|length }}",
    "{% macro m() %}{% for i in range(999) %}{{ caller() }}{% endfor %}{% endmacro %}"
    "{% call m() %}{% call m() %}{% call m() %}a{% endcall %}{% endcall %}{% endcall %}",
    "{% set _danlu_budget = 1 %}{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
]
DEEP = [
    "{% block a %}{{ self.a() }}{{ self.a() }}{% endblock %}",
    "{% for x in [1] recursive %}{{ loop(range(99999)) }}{% endfor %}",
    "{% for i in [1] %}" * 60 + "{% endfor %}" * 60,
    "{% if 1 %}" * 300 + "{% endif %}" * 300,
    "{{ " + "(" * 9999 + "1" + ")" * 9999 + " }}",
    "{{ " + "[" * 400 + "]" * 400 + " }}",
    "a" * 600_000,
    "{{ raise_exception('a\nb' * 99999) }}",
]


COSTLY = [*LARGE, *HELD, *SLOW, *(TWICE + each for each in MANIFOLD), *(HASHED + each for each in KEYS)]
COUNTED = "it (makes|takes|asks|sums|joins|calls)|No filter named 'pprint'|'lipsum' is undefined"


def refused(source: str) -> str:
    """What is said of it, in one line."""
    with pytest.raises(InputError, match=r"^it (is no chat template|cannot render this conversation): .+$") as error:
        ChatTemplate(source, {}, where="it").render(MESSAGES)
    assert "\n" not in str(error.value) and len(str(error.value)) < 600
    return str(error.value).partition(": ")[2]


@pytest.mark.parametrize("source", [*OUT, *FOR_EVER, *DEEP, *ODD])
def test_it_is_refused_in_one_line(source: str) -> None:
    refused(source)


@pytest.mark.parametrize("source", COSTLY)
def test_it_is_refused_before_it_is_made(source: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not because there was no memory left; with a tenth of the budget, that it may take a tenth of the time."""
    monkeypatch.setattr(budget, "MOST_BYTES", 50_000_000)
    monkeypatch.setattr(budget, "MOST_STEPS", 100_000)
    assert re.match(COUNTED, refused(source))


def test_what_counts_changes_nothing() -> None:
    source = (
        "{% for m in messages %}{{ loop.index }}/{{ loop.length }}{% if loop.first %}^{% endif %}"
        "{% if loop.last %}${% endif %}{{ ' ' ~ m.role ~ ':' + m['content'] * 2 }}"
        "{{ loop.previtem.role if loop.previtem }}"
        "{% if m.role == 'user' %}{% continue %}{% endif %}{% set x %}[{{ 2 ** 3 }}]{% endset %}{{ x|upper }}"
        "{% else %}none{% endfor %}{% for a, b in {'k': 1}.items() if b %}{{ a ~ b }}{% endfor %}"
    )
    assert ChatTemplate(source, {}, where="it").render(MESSAGES) == "1/2^ user:HiHi2/2$ assistant:HoHouser[8]k1"
    assert ChatTemplate(source, {}, where="it").render([]) == "nonek1"


def test_each_rendering_has_a_budget_of_its_own() -> None:
    template = ChatTemplate("{% for i in range(90000) %}{% for j in 'abcd' %}{% endfor %}{% endfor %}x", {}, where="it")
    assert {template.render(MESSAGES) for _ in range(4)} == {"x"}


def test_long_conversations_and_texts_have_room() -> None:
    """A thousand messages with tools, as large templates read them, and a message of five million characters."""
    source = (
        "{% macro shown(m) %}{{ '<' ~ m.role ~ '>' + m.content|trim }}{% endmacro %}{% if tools %}{{ tools|tojson }}"
        "{% endif %}{% for m in messages %}{% if '</think>' in m.content %}"
        "{% set c = m.content.split('</think>')[-1].lstrip('\\n') %}{% else %}{% set c = m['content'] %}{% endif %}"
        "{% if loop.index0 > messages|length - 3 and messages[-3:]|selectattr('role', 'eq', 'tool')|list %}"
        "?{% endif %}{{ shown({'role': m.role, 'content': c}) }}{% endfor %}"
    )
    template = ChatTemplate(source, {}, where="it")
    tools = [
        {"type": "function", "function": {"name": f"f{n}", "parameters": {"a": [1, 2.5, None]}}} for n in range(50)
    ]
    messages = [{"role": "user", "content": f"why</think>\n{n} " * 20} for n in range(1000)]
    assert len(template.render(messages, tools=tools)) > 3000
    for letter in "a字👩":
        assert template.render([{"role": "user", "content": letter * 5_000_000}]) == "<user>" + letter * 5_000_000
