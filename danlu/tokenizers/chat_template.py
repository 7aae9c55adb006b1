"""Chat templates: from messages to the text that a model reads, as ``transformers`` and the servers built on it do.

A folder has one in ``chat_template.jinja``, older ones in ``chat_template.json`` or ``tokenizer_config.json``. What it
says is run in Jinja's sandbox, with the functions that ``transformers`` gives it and no others.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import jinja2
import jinja2.ext
import jinja2.nodes
import jinja2.parser

from danlu.errors import InputError, RecipeError
from danlu.files import atomic_write, read_json, write_json
from danlu.tokenizers.budget import rendering
from danlu.tokenizers.folder import NAMED, content_of, read_tokenizer
from danlu.tokenizers.named_chats import TEMPLATES
from danlu.tokenizers.sandbox import ERRORS, Sandbox, joined

FILE = "chat_template.jinja"
DEFAULT, WITH_TOOLS = "default", "tool_use"
"""What a folder with several templates calls them."""


LONGEST_LINE = 500
"""Characters of what is said of an error, and of the form of a date."""


class ChatTemplate:
    """A template with the special tokens that it writes.

    Args:
        source: in Jinja.
        tokens: ``bos_token`` and the like, by their names.
        where: what the template is called in errors.
    """

    def __init__(self, source: str, tokens: Mapping[str, str], *, where: str) -> None:
        self.source, self.tokens, self.where = source, dict(tokens), where
        try:
            self._template = _environment().from_string(source)
        except ERRORS as error:
            raise InputError(f"{where} is no chat template: {_in_one_line(error)}") from None

    def render(self, messages: Sequence[Mapping[str, Any]], *, tools: Sequence[Any] = (), ask: bool = False) -> str:
        """The text of a conversation.

        Args:
            messages: with ``role`` and ``content``, as OpenAI's.
            ask: whether an answer is to come, of which the text has the beginning, such as ``<|im_start|>assistant``.

        Raises:
            InputError: the template refuses these messages.
        """
        given = {"messages": list(messages), "tools": list(tools) or None, "documents": None}
        try:
            with rendering():
                return joined(self._template.generate({**given, "add_generation_prompt": ask, **self.tokens}))
        except ERRORS as error:
            raise InputError(f"{self.where} cannot render this conversation: {_in_one_line(error)}") from None

    @cached_property
    def reads_the_clock(self) -> bool:
        """Whether what it renders is another text tomorrow."""
        return "strftime_now" in self.source


def read_template(folder: Path, name: str | None = None) -> ChatTemplate:
    """The template of a folder, or one by its name or file.

    Args:
        name: one of ``named_chats.TEMPLATES``, or the path of a Jinja file; where None, the folder's own.

    Raises:
        InputError: a file cannot be read or is no template.
        RecipeError: there is none of this name, or the folder has none.
    """
    config = read_tokenizer(folder)[1]
    tokens = {key: content for key in NAMED if (content := content_of(config.get(key))) is not None}
    if name is None:
        source = own_source(folder, config)
        if source is None:
            choices = ", ".join(TEMPLATES)
            raise RecipeError(f"template: {folder} has no chat template; choose one ({choices}, or a .jinja file)")
        return ChatTemplate(source, tokens, where=f"the chat template of {folder}")
    if name in TEMPLATES:
        return ChatTemplate(TEMPLATES[name], tokens, where=f"the chat template {name}")
    path = file_named(name)
    if path is None:
        raise RecipeError(f"template must be one of {', '.join(TEMPLATES)}, or a .jinja file; got {name!r}")
    return ChatTemplate(_text(path), tokens, where=f"the chat template {path}")


def file_named(name: str | None) -> Path | None:
    """The file that is meant, where it is not a template by its name."""
    return None if name is None or name in TEMPLATES or not name.endswith(".jinja") else Path(name)


def files_named(name: str | None) -> list[Path]:
    """The same as a list: the files that such a setting reads."""
    file = file_named(name)
    return [] if file is None else [file]


def own_source(folder: Path, config: Mapping[str, Any]) -> str | None:
    """The folder's template; None where it has none."""
    if (folder / FILE).is_file():
        return _text(folder / FILE)
    older = (read_json(folder / "chat_template.json") or {}) if (folder / "chat_template.json").is_file() else {}
    said = older.get("chat_template", config.get("chat_template"))
    if isinstance(said, list):  # several, each with its name
        said = {each.get("name"): each.get("template") for each in said if isinstance(each, Mapping)}
    if isinstance(said, Mapping):
        said = said.get(DEFAULT, said.get(WITH_TOOLS))
    return said if isinstance(said, str) else None


def write_template(folder: Path, template: ChatTemplate) -> None:
    """Make it the only template of ``folder``, which has a tokenizer."""
    atomic_write(folder / FILE, template.source.encode())
    config = read_json(folder / "tokenizer_config.json") or {}
    if config.pop("chat_template", None) is not None:
        write_json(folder / "tokenizer_config.json", config)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise InputError(f"{path} is not UTF-8") from None


class _Generation(jinja2.ext.Extension):
    """``{% generation %}``, by which some templates mark what an assistant says: here it is what stands inside."""

    tags = {"generation"}  # noqa: RUF012 (as Jinja has it)

    def parse(self, parser: jinja2.parser.Parser) -> jinja2.nodes.Node:
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return jinja2.nodes.Scope(body, lineno=line)


def _environment() -> Sandbox:
    """As in ``transformers``, with a budget."""
    environment = Sandbox(trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, jinja2.ext.loopcontrols])
    environment.add_filter("tojson", _to_json)
    environment.globals["raise_exception"] = _refuse
    environment.globals["strftime_now"] = _now
    return environment


def _to_json(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    """Without Jinja's own escapes for HTML."""
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def _now(form: str) -> str:
    if len(form) > LONGEST_LINE:  # which is given room for 256 times as much
        raise jinja2.TemplateError(f"it asks for a date of more than {LONGEST_LINE} characters")
    return datetime.now().strftime(form)


def _in_one_line(error: BaseException) -> str:
    """What went wrong; a template may say whatever it likes."""
    said = str(error)[: 10 * LONGEST_LINE] or type(error).__name__
    line = " ".join(said.split())
    return line if len(line) <= LONGEST_LINE else f"{line[:LONGEST_LINE]} …"


def _refuse(message: str) -> str:
    raise jinja2.TemplateError(message)
