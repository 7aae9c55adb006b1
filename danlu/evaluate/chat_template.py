"""The chat template of a model folder: messages to the text that the model was taught to go on from.

Templates are programs in Jinja, and run in its sandbox with what ``transformers`` gives them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from danlu.errors import CheckpointError, InputError
from danlu.files import read_json
from danlu.tokenizers.folder import NAMED, content_of

FILE = "chat_template.jinja"


def read_chat_template(folder: Path) -> str | None:
    """The template of ``chat_template.jinja`` or ``tokenizer_config.json``; of several the one called default."""
    if (folder / FILE).is_file():
        return (folder / FILE).read_text(encoding="utf-8")
    template = (read_json(folder / "tokenizer_config.json") or {}).get("chat_template")
    if isinstance(template, list):
        named = {each.get("name"): each.get("template") for each in template if isinstance(each, dict)}
        template = named.get("default")
    return template if isinstance(template, str) else None


def render(folder: Path, messages: Sequence[Mapping[str, Any]], *, answer: bool) -> str:
    """The text of ``messages``, each with ``role`` and ``content``.

    Args:
        answer: whether the beginning of the model's answer follows; else the last message is gone on with, unended.

    Raises:
        InputError: the folder has no template, or the template refuses the messages.
        CheckpointError: the template is damaged.
    """
    from jinja2 import TemplateError, TemplateSyntaxError
    from jinja2.ext import loopcontrols
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    source = read_chat_template(folder)
    if source is None:
        raise InputError(f"the model in {folder} has no chat template, neither in {FILE} nor in tokenizer_config.json")
    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols])
    environment.filters["tojson"] = _to_json
    environment.globals |= {"raise_exception": _refuse, "strftime_now": lambda form: datetime.now().strftime(form)}
    config = read_json(folder / "tokenizer_config.json") or {}
    tokens = {name: content for name in NAMED if (content := content_of(config.get(name))) is not None}
    try:
        text = environment.from_string(source).render(messages=list(messages), add_generation_prompt=answer, **tokens)
    except TemplateSyntaxError as error:
        raise CheckpointError(f"the chat template in {folder} is damaged at line {error.lineno}: {error}") from None
    except TemplateError as error:
        raise InputError(f"the chat template in {folder} refuses the messages: {error}") from None
    if answer:
        return text
    last = str(messages[-1]["content"]).strip()
    if (end := text.rfind(last)) < 0:
        raise InputError(f"the chat template in {folder} changes the last message; it cannot be gone on with")
    return text[: end + len(last)]


def _refuse(message: str) -> None:
    from jinja2 import TemplateError

    raise TemplateError(message)


def _to_json(value: Any, indent: int | None = None, **ignored: Any) -> str:
    """Not Jinja's own, which writes ``<`` and ``&`` as HTML has them."""
    return json.dumps(value, ensure_ascii=False, indent=indent)
