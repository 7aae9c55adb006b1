"""Private data: found by kind, then masked, replaced, hashed, or reason enough to drop the document.

Kinds are found by patterns and check digits (``private_contacts.py``, ``private_ids.py``, ``private_money.py``,
``private_network.py``, ``private_secrets.py``); names and addresses of people by ``finders``, such as a model.
"""

from __future__ import annotations

import hashlib
import hmac
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Literal, Protocol, get_args

from pydantic import Field, SkipValidation, model_validator

from danlu.clean.language_of import SCORE, SHARES, VARIANT
from danlu.clean.private_contacts import find_emails, find_phones
from danlu.clean.private_ids import find_ids
from danlu.clean.private_money import find_cards, find_ibans
from danlu.clean.private_network import find_ips
from danlu.clean.private_page import FindIn, Found, Page, page_of
from danlu.clean.private_secrets import find_secrets
from danlu.clean.rules import Rule
from danlu.errors import InputError
from danlu.recipe import Choice, OneOf
from danlu.text.document import OFFSET, TARGET_START, Document, pair

Kind = Literal["secret", "email", "iban", "id", "card", "ip", "phone"]
Action = Literal["mask", "example", "hash", "drop", "keep"]

META = "private"
"""The entry of ``meta`` that says what was found, by kind: ``email 2, phone 1``."""
FINDERS: dict[Kind, FindIn] = {
    "secret": find_secrets,
    "email": find_emails,
    "iban": find_ibans,
    "id": find_ids,
    "card": find_cards,
    "ip": find_ips,
    "phone": find_phones,
}
"""By kind; where two finds overlap, the kind that stands first here counts."""
_OURS = frozenset({META, OFFSET, TARGET_START, SCORE, VARIANT, SHARES, "source", "language", "encoding"})
"""Entries of ``meta`` that did not come with the text, but say what was found out about it."""
EXAMPLES = {"email": "email@example.com", "phone": "+1 202-555-0100", "ip": "192.0.2.1"}
"""Values that belong to nobody: RFC 2606, the North American plan's numbers for fiction, RFC 5737."""
SHORTEST_KEY = 16
"""Bytes of a key."""


class FinderChoice(Protocol):
    """Settings of a finder of more kinds, which the catalog or a plug-in names."""

    def make(self) -> Callable[[str], Iterable[Found]]:
        """From a text to what is found in it; costly things, such as a model, are loaded here."""

    def external_files(self) -> list[Path]:
        """What it reads."""

    def names(self) -> Collection[str]:
        """The kinds that it finds, in small letters."""


class Private(Choice):
    """Mask, hash or drop private data: addresses, numbers and keys by which a person or an account can be found."""

    kinds: tuple[Kind, ...] = Field(default=get_args(Kind), min_length=1)
    """What is looked for with patterns and check digits."""
    action: Action = "mask"
    """What is done: ``mask`` writes ``[EMAIL]``; ``example`` a value that belongs to nobody where one is reserved, else
    the mask; ``hash`` writes ``[EMAIL 1f0c…]``, the same for the same value and key; ``drop`` drops the document;
    ``keep`` only counts."""
    by_kind: dict[str, Action] = Field(default_factory=dict)
    """Other actions for single kinds, by name, those of ``finders`` among them."""
    key_file: Path | None = None
    """The key of the hashes: a file of 16 random bytes or more, to be kept secret. Who has it can test guesses."""
    finders: Annotated[tuple[SkipValidation[FinderChoice], ...], OneOf("finder")] = ()
    """What finds further kinds, such as names of people by a model."""

    @model_validator(mode="after")
    def _fits(self) -> Private:
        known = [*self.kinds, *(name for finder in self.finders for name in sorted(finder.names()))]
        for kind in self.by_kind:
            if kind not in known:
                raise ValueError(f"by_kind.{kind}: no such kind is looked for (choices: {', '.join(known)})")
        if self.key_file is None and "hash" in (self.action, *self.by_kind.values()):
            raise ValueError("hash needs a key_file: a file of 16 random bytes or more")
        return self

    def external_files(self) -> list[Path]:
        """The key, and what the finders read."""
        keys = [] if self.key_file is None else [self.key_file]
        return keys + [path for finder in self.finders for path in finder.external_files()]

    def make(self) -> Rule:
        """The rule; its reason to drop names the kind.

        Raises:
            InputError: the key cannot be read or is too short.
        """
        key = None if self.key_file is None else _read_key(self.key_file)
        others = [finder.make() for finder in self.finders]
        return partial(self._apply, key=key, others=others)

    def _apply(
        self, document: Document, *, key: bytes | None, others: Sequence[Callable[[str], Iterable[Found]]]
    ) -> str | None:
        language = document.meta.get("language", "und")
        counts: Counter[str] = Counter()
        sides: list[str] = []
        for side in document.sides:
            found = find_private(side, self.kinds, language=language, others=others)
            for each in found:
                if self._action(each.kind) == "drop":
                    return f"private data ({each.kind})"
            counts.update(each.kind for each in found)
            sides.append(_replaced(side, found, partial(self._instead, key=key)) if found else side)
        if counts:
            if len(sides) == 1:
                document.text = sides[0]
            else:
                document.text, moved = pair(*sides)
                document.meta.update(moved)
        self._hide_in_fields(document.meta, counts, language=language, key=key)
        if counts:
            document.meta[META] = ", ".join(f"{kind} {count}" for kind, count in sorted(counts.items()))
        return None

    def _hide_in_fields(self, meta: dict[str, str], counts: Counter[str], *, language: str, key: bytes | None) -> None:
        """The same in the fields that came with the text; the name of one is a word before its value (``phone: 555``).

        A document is not dropped for them, for no model learns them: what would drop it is masked.
        """
        fields = {name: value for name, value in meta.items() if name not in _OURS}
        if not fields:
            return
        place, lines = 0, []
        spans: list[tuple[int, int, str]] = []
        for name, value in fields.items():
            lines.append(f"{name}: {value}\n")
            end = place + len(lines[-1]) - 1
            spans.append((end - len(value), end, name))
            place = end + 1
        finds = find_private("".join(lines), self.kinds, language=language)
        for start, end, name in spans if finds else ():
            found = [Found(each.start - start, each.end - start, each.kind) for each in finds
                     if start <= each.start and each.end <= end]  # fmt: skip
            if found:
                counts.update(each.kind for each in found)
                meta[name] = _replaced(meta[name], found, partial(self._instead, key=key))

    def _action(self, kind: str) -> Action:
        return self.by_kind.get(kind, self.action)

    def _instead(self, value: str, kind: str, *, key: bytes | None) -> str:
        match self._action(kind):
            case "keep":
                return value
            case "example" if kind in EXAMPLES:
                return EXAMPLES[kind]
            case "hash":
                assert key is not None
                return f"[{kind.upper()} {_digest(value, kind, key)}]"
            case _:
                return f"[{kind.upper()}]"


def find_private(
    text: str,
    kinds: Iterable[Kind] = tuple(FINDERS),
    *,
    language: str = "und",
    others: Sequence[Callable[[str], Iterable[Found]]] = (),
) -> list[Found]:
    """What is private in ``text``, in order, without overlaps; places are characters.

    Full-width letters and digits count as the plain ones.

    Args:
        language: of the text, ISO 639-1; some numbers are told by it.
        others: finders of further kinds; what overlaps with finds by pattern is left to those.
    """
    page: Page = page_of(text, language=language)
    wanted = set(kinds)
    found = [each for kind, find in FINDERS.items() if kind in wanted for each in find(page)]
    found += [each for find_more in others for each in find_more(text)]
    chosen: list[Found] = []  # sorted, disjoint
    for each in found:
        place = bisect_left(chosen, (each.start,))
        free_before = place == 0 or chosen[place - 1].end <= each.start
        if free_before and (place == len(chosen) or each.end <= chosen[place].start):
            chosen.insert(place, each)
    return chosen


def _replaced(text: str, found: Iterable[Found], instead: Callable[[str, str], str]) -> str:
    pieces: list[str] = []
    place = 0
    for start, end, kind in found:
        pieces += text[place:start], instead(text[start:end], kind)
        place = end
    return "".join([*pieces, text[place:]])


def _digest(value: str, kind: str, key: bytes) -> str:
    """64 bits of keyed BLAKE2b, in hexadecimal; without case, spaces and marks, unless it is a secret."""
    plain = page_of(value).text
    if kind != "secret":
        plain = plain.lower() if kind in ("email", "ip") else "".join(filter(str.isalnum, plain)).lower()
    return hashlib.blake2b(f"{kind}\0{plain}".encode(errors="surrogatepass"), key=key, digest_size=8).hexdigest()


def _read_key(path: Path) -> bytes:
    try:
        key = path.read_bytes()
    except OSError as error:
        raise InputError(f"clean.rules: cannot read key_file {str(path)!r}: {error.strerror}") from None
    if len(key) < SHORTEST_KEY:
        raise InputError(f"clean.rules: key_file {str(path)!r} must hold {SHORTEST_KEY} bytes or more; got {len(key)}")
    return hmac.digest(key, b"danlu private", "sha256")  # BLAKE2 takes 64 bytes at most
