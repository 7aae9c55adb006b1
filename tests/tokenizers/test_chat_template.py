from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import transformers

from danlu.errors import InputError, RecipeError
from danlu.tokenizers.chat_template import ChatTemplate, read_template, write_template
from danlu.tokenizers.named_chats import TEMPLATES

MESSAGES = [
    {"role": "system", "content": "Be brief <now>."},
    {"role": "user", "content": " 你好 & hello"},
    {"role": "assistant", "content": "Hi 'there'!"},
    {"role": "user", "content": "Bye"},
    {"role": "assistant", "content": "再见"},
]
TOOLS = [{"type": "function", "function": {"name": "weather", "description": "天气 <b>"}}]
FEATURES = """\
{% set ns = namespace(count=0) %}
{{ bos_token if bos_token is defined }}{% for message in messages %}
    {% if message.role == 'system' %}
        {% continue %}
    {% endif %}
    {% set ns.count = ns.count + 1 %}
[{{ ns.count }}|{{ message['role'] }}]{% if message['role'] == 'assistant' %}
{% set x = 'outer' %}{%- generation %}{% set x = 'inner' %}{{ message['content'].split('th')[-1] | trim }}{{ x }}
{{ eos_token }}{% endgeneration %}{{ x }}
{% else %}
{{ message['content'] }}{% endif %}

{% endfor %}
{% for message in messages[::-1] %}{{ message.content is string }}{{ message.reasoning_content is string }}{% endfor %}
{% if tools %}{{ tools | tojson }} {{ tools | tojson(indent=2) }}{% endif %}
{% if add_generation_prompt %}[assistant]{% endif %}
"""


@pytest.mark.parametrize("source", [*TEMPLATES.values(), FEATURES], ids=[*TEMPLATES, "features"])
@pytest.mark.parametrize("ask", [True, False])
def test_renders_as_transformers_does(decoder: Path, source: str, ask: bool) -> None:
    config = json.loads((decoder / "tokenizer_config.json").read_text())
    (decoder / "tokenizer_config.json").write_text(json.dumps({**config, "bos_token": "<|end|>"}))
    (decoder / "chat_template.jinja").write_text(source)
    tokenizer = transformers.AutoTokenizer.from_pretrained(decoder)
    for messages in (MESSAGES[:2], MESSAGES):
        for tools in (None, TOOLS):
            theirs = tokenizer.apply_chat_template(messages, tools=tools, add_generation_prompt=ask, tokenize=False)
            assert read_template(decoder).render(messages, tools=tools or (), ask=ask) == theirs


def _several(config: dict[str, Any]) -> None:
    config["chat_template"] = [
        {"name": "tool_use", "template": "tools"}, {"name": "default", "template": "{{ messages[0]['content'] }}!"}
    ]  # fmt: skip


@pytest.mark.parametrize("change", [
    _several, lambda config: config.update(chat_template="{{ messages[0]['content'] }}!"),
])  # fmt: skip
def test_older_folders_have_it_in_the_config(decoder: Path, change: Any) -> None:
    path = decoder / "tokenizer_config.json"
    config = json.loads(path.read_text())
    change(config)
    path.write_text(json.dumps(config))
    assert read_template(decoder).render(MESSAGES) == "Be brief <now>.!"
    assert transformers.AutoTokenizer.from_pretrained(decoder).apply_chat_template(
        MESSAGES, tokenize=False) == "Be brief <now>.!"  # fmt: skip


def test_what_is_written_is_what_transformers_reads(decoder: Path) -> None:
    path = decoder / "tokenizer_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "chat_template": "old"}))
    template = read_template(decoder, "plain")
    write_template(decoder, template)
    assert "chat_template" not in json.loads(path.read_text())
    theirs = transformers.AutoTokenizer.from_pretrained(decoder).apply_chat_template(MESSAGES, tokenize=False)
    assert read_template(decoder).render(MESSAGES) == theirs == template.render(MESSAGES)


def test_bad_templates_are_told(decoder: Path, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"has no chat template; choose one \(chatml, llama3, plain"):
        read_template(decoder)
    with pytest.raises(RecipeError, match=r"must be one of chatml, llama3, plain, or a \.jinja file; got 'chatnl'"):
        read_template(decoder, "chatnl")
    with pytest.raises(InputError, match="cannot be read"):
        read_template(decoder, str(tmp_path / "none.jinja"))
    (tmp_path / "broken.jinja").write_text("{% for %}")
    with pytest.raises(InputError, match=r"broken\.jinja is no chat template"):
        read_template(decoder, str(tmp_path / "broken.jinja"))
    refusing = ChatTemplate("{{ raise_exception('only one turn') }}", {}, where="it")
    with pytest.raises(InputError, match="it cannot render this conversation: only one turn"):
        refusing.render(MESSAGES)
    inside = ChatTemplate("{{ messages.__class__.__mro__ }}", {}, where="it")
    with pytest.raises(InputError, match="unsafe"):
        inside.render(MESSAGES)
