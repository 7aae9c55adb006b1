"""A trained model at the terminal: the continuation of one prompt, or a conversation.

The text so far, yours and the model's, is the context; the model goes on directly after your line,
and after an empty one where it stopped. A model with an encoder answers each line by itself. Where the model's folder
has a chat template, each line is a message of yours, and the model reads the conversation as that renders it.
Ctrl-C stops an answer, Ctrl-D leaves.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import ClassVar

from danlu.errors import DanluError, InputError, RecipeError, suggestion
from danlu.generate.engine import Loaded, stream
from danlu.generate.prepare import load_ready
from danlu.generate.sampling import Sampling
from danlu.generate.search import Search
from danlu.generate.searching import find_answers
from danlu.generate.source import Source
from danlu.generate.special_tokens import Begun
from danlu.generate.stage import not_for_search
from danlu.log import harmless, say, short
from danlu.nn.transformer import Transformer
from danlu.recipe import build, plain
from danlu.recipe_file import apply_override
from danlu.tokenizers.chat_reader import ChatReader, has_template

COMMANDS = {
    "/help": "these lines",
    "/set NAME=VALUE": "change a setting, such as /set temperature=0.5; /set alone shows them all",
    "/reset": "forget the text so far",
    "/quit": "leave (so does Ctrl-D); Ctrl-C stops an answer",
}


@dataclass
class Conversation:
    """A model, how it is asked, and the text so far."""

    between: ClassVar[str] = ""
    """What is shown between a prompt and its answer."""

    loaded: Loaded
    settings: Sampling
    seed: int
    text: str = ""
    search: Search | None = None
    """What finds answers, each as a whole, in place of drawing them."""
    answers: int = field(default=0, init=False)

    def ask(self, line: str) -> bool:
        """Put ``line`` on a new line behind the text so far and print how it goes on; an empty one adds nothing.

        False where Ctrl-C ended the answer.
        """
        self.hear(line)
        answer, whole = show(self._drawn() if self.search is None else self._found(self.search))
        self.answers += 1
        self.text += answer
        return whole

    def hear(self, line: str) -> None:
        """Put ``line`` behind the text so far."""
        if self.loaded.model.config.encoder is not None:
            self.text = ""  # each line is a source text of its own
        if line and self.text and not self.text.endswith("\n"):
            self.text += "\n"
        self.text += line

    def forget(self) -> None:
        """Begin anew."""
        self.text = ""

    @property
    def context(self) -> str | Begun:
        """What the model goes on from."""
        return self.text

    def _drawn(self) -> Iterator[str]:
        model, tokenizer, special = self.loaded
        seed = self.seed + self.answers
        return stream(model, tokenizer, self.context, settings=self.settings, seed=seed, special=special)

    def _found(self, search: Search) -> Iterator[str]:
        """The whole answer as the piece of its first token, and nothing more for the others."""
        (answer,) = find_answers(self.loaded, search, [self.context], settings=self.settings)
        yield answer.text
        yield from [""] * (answer.tokens - 1)

    def command(self, line: str) -> None:
        """Do what a line that begins with a slash says; ``/quit`` is not among them.

        Raises:
            RecipeError: there is no such command or setting.
        """
        name, _, rest = line.partition(" ")
        if name == "/help":
            for command, does in COMMANDS.items():
                say(f"{command:<16} {does}")
        elif name == "/reset":
            self.forget()
        elif name == "/set":
            if rest.strip():
                settings = changed(self.settings, rest)
                if self.search is not None and (wrong := not_for_search(settings)):
                    raise RecipeError(wrong)
                self.settings = settings
            say(_assignments(plain(self.settings)))
        else:
            raise RecipeError(f"unknown command {name!r}{suggestion(name, [each.split()[0] for each in COMMANDS])}")


@dataclass
class Dialogue(Conversation):
    """A conversation in messages, which a chat template renders as in training and as servers do."""

    between: ClassVar[str] = "\n"

    reader: ChatReader = field(kw_only=True)
    messages: list[dict[str, str]] = field(default_factory=list, kw_only=True)
    """All but the answer that is being written, which is ``text``."""

    def hear(self, line: str) -> None:
        if not line and not self.messages:
            raise InputError("there is nothing to answer yet")
        if not line:
            return
        if self.messages:
            self.messages.append({"role": "assistant", "content": self.text})
        self.messages.append({"role": "user", "content": line})
        self.text = ""

    def forget(self) -> None:
        super().forget()
        self.messages.clear()

    @property
    def context(self) -> str | Begun:
        return Begun(self.reader.asked(self.messages, begun=self.text), None)


def begin(loaded: Loaded, source: Source, *, chat: bool) -> Conversation:
    """A conversation by the chat template of the model's folder, where it has one and ``chat`` is wanted."""
    settings, seed, search = source.settings, source.seed, source.search
    if not chat or loaded.model.config.encoder is not None or not has_template(source.folder):
        return Conversation(loaded, settings, seed, search=search)
    reader = ChatReader.load(source.folder, None)
    ending = replace(loaded.special, ends=loaded.special.ends.union(reader.ends))
    return Dialogue(loaded._replace(special=ending), settings, seed, search=search, reader=reader)


def main(source: Source, *, prompt: str | None = None, chat: bool = False) -> None:
    """Continue ``prompt``; with ``chat``, or without a prompt, go on reading lines and continuing them.

    Raises:
        InputError: the model is missing, or the prompt is no text.
        KeyboardInterrupt: Ctrl-C ended the continuation of ``prompt``, and there is no conversation to go on with.
    """
    if prompt is not None:
        try:
            prompt.encode()
        except UnicodeEncodeError:
            raise InputError(f"--prompt must be UTF-8; got {prompt!r}") from None
    known = source.settings.max_tokens if prompt is not None and not chat else None
    loaded, how = load_ready(source.folder, source.speed, tokens=known)
    if sys.stdout.isatty():
        say(dim(f"with the model in {source.folder}, {parameters(loaded.model)} parameters"))
        say(dim(how))
        say(dim(differing(source.settings)))
    conversation = begin(loaded, source, chat=chat)
    if prompt is not None:
        if sys.stdout.isatty():
            print(dim(prompt), end=conversation.between, flush=True)
        if not conversation.ask(prompt) and not chat:
            raise KeyboardInterrupt
    if chat or prompt is None:
        converse(conversation)


def converse(conversation: Conversation) -> None:
    """Read lines until ``/quit`` or the end of the input, and continue each."""
    sign = ""
    if sys.stdin.isatty():
        import readline  # noqa: F401 (input() then edits lines and remembers them)

        sign = "> "
        say(dim("/help lists what you can do"))
    while True:
        try:
            line = input(sign)
            if line.strip() == "/quit":
                return
            if line.startswith("/"):
                conversation.command(line.strip())
            else:
                conversation.ask(line)
        except KeyboardInterrupt:  # while nothing was being written
            say(dim("\n/quit leaves"))
        except EOFError:
            if sign:
                say("")
            return
        except UnicodeDecodeError as error:
            raise InputError(f"a line of the input is not UTF-8: {error.reason}") from None
        except DanluError as error:
            say(str(error))


def show(pieces: Iterable[str]) -> tuple[str, bool]:
    """Print pieces as they come; on a terminal also at what pace. What there was, and whether without a Ctrl-C."""
    shown: list[str] = []
    whole = True
    began = time.perf_counter()
    try:
        for piece in pieces:
            shown.append(piece)
            print(harmless(piece) if sys.stdout.isatty() else piece, end="", flush=True)
    except KeyboardInterrupt:
        whole = False
    seconds = time.perf_counter() - began
    print(flush=True)
    if sys.stdout.isatty() and shown:
        say(dim(f"{len(shown)} tokens, {len(shown) / seconds:.1f} tokens/s"))
    return "".join(shown), whole


def changed(settings: Sampling, assignment: str) -> Sampling:
    """The settings with ``NAME=VALUE`` changed; values as in a recipe.

    Raises:
        RecipeError: it is no assignment, or the name or the value is wrong.
    """
    values = plain(settings)
    apply_override(values, assignment)
    return build(Sampling, values, key="/set")


def dim(text: str) -> str:
    """The text in a faint colour, where the terminal shows colours."""
    return f"\x1b[2m{text}\x1b[0m" if sys.stdout.isatty() else text


def parameters(model: Transformer) -> str:
    """How many numbers the model has learned, such as ``13.9M``."""
    return short(sum(parameter.numel() for parameter in model.parameters()))


def differing(settings: Sampling) -> str:
    """How long an answer may get, how it is drawn, and the settings that do something beside that."""
    usual = plain(Sampling())
    shown = ("max_tokens", "temperature")
    values = plain(settings).items()
    return _assignments({name: value for name, value in values if name in shown or value != usual[name]})


def _assignments(values: Mapping[str, object]) -> str:
    return " ".join(f"{key}={value}" for key, value in values.items())
