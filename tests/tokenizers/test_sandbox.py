"""Templates that try to get out, to compute for ever, or to fill the memory: one line each, and soon."""

from __future__ import annotations

import pytest

from danlu.errors import InputError
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
]


@pytest.mark.parametrize("source", [*OUT, *FOR_EVER, *LARGE])
def test_it_is_refused_in_one_line(source: str) -> None:
    with pytest.raises(InputError, match=r"^it (is no chat template|cannot render this conversation): [^\n]+$"):
        ChatTemplate(source, {}, where="it").render(MESSAGES)


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
