"""Private data: found by kind, then masked, replaced, hashed, or reason enough to drop the document.

Kinds are found by patterns and check digits (``private_contacts.py``, ``private_ids.py``, ``private_money.py``,
``private_network.py``, ``private_secrets.py``); names and addresses of people by ``finders``, such as a model.
"""

from __future__ import annotations

import hmac
import re
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Literal, Protocol, get_args

from pydantic import Field, SkipValidation, model_validator

from danlu.clean.entries import OURS, PRIVATE
from danlu.clean.private_broken import broken_numbers, find_broken
from danlu.clean.private_contacts import find_emails, find_phones, find_shaped_phones
from danlu.clean.private_ids import find_ids
from danlu.clean.private_marks import digest
from danlu.clean.private_money import find_cards, find_ibans
from danlu.clean.private_network import find_ips
from danlu.clean.private_page import FindIn, Found, Page, page_of
from danlu.clean.private_plates import find_plates
from danlu.clean.private_secrets import find_secrets
from danlu.errors import InputError
from danlu.recipe import Choice, OneOf
from danlu.text.document import Document, main_language, pair

Kind = Literal["secret", "email", "iban", "id", "card", "ip", "phone", "plate"]
Action = Literal["mask", "example", "hash", "drop", "keep"]

FINDERS: dict[Kind, FindIn] = {
    "secret": find_secrets,
    "email": find_emails,
    "iban": find_ibans,
    "id": find_ids,
    "card": find_cards,
    "ip": find_ips,
    "phone": find_phones,
    "plate": find_plates,
}
"""By kind; where two finds overlap, the kind that stands first here counts."""
BROKEN: dict[Kind, FindIn] = {"id": find_ids, "card": find_cards, "ip": find_ips, "phone": find_shaped_phones}
"""Kinds that are also looked for where a line end parts a number."""
EXAMPLES = {"email": "email@example.com", "phone": "+1 202-555-0100", "ip": "192.0.2.1"}
"""Values that belong to nobody: RFC 2606, the North American plan's numbers for fiction, RFC 5737."""
SHORTEST_KEY = 16
"""Bytes of a key."""
NAMES = 256
"""Names of fields that are looked at once; most records have the same."""
_PARTS = re.compile(r"(?<=[a-z])(?=[A-Z])|[\W\d_]+")
"""What parts the words of a field's name."""
_APART = "\n" + " " * 40
"""Between fields that are looked at together: no finder looks further back for words."""

FindMore = Callable[[str], Iterable[Found]]
"""From a text to what is found in it."""


class FinderChoice(Protocol):
    """Settings of a finder of more kinds, which the catalog or a plug-in names."""

    def make(self) -> FindMore:
        """The finder; costly things, such as a model, are loaded here."""

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
    leave: tuple[str, ...] = ()
    """Fields of the records that stay as they are, by name. All others are treated as the text is."""

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

    def make(self) -> Hiding:
        """The rule; its reason to drop names the kind.

        Raises:
            InputError: the key cannot be read or is too short.
        """
        return Hiding(self, [finder.make() for finder in self.finders])

    def of_names(self) -> Hiding:
        """The same by patterns alone, for what is short and no sentence: ids, names of files."""
        return Hiding(self, [])

    def what_is_done(self, kind: str) -> Action:
        """With finds of a kind."""
        return self.by_kind.get(kind, self.action)


class Hiding:
    """The rule: what it finds in the text and the fields of a document is hidden, or drops the document."""

    def __init__(self, choice: Private, others: Sequence[FindMore]) -> None:
        self._choice, self._others = choice, others
        self._key = None if choice.key_file is None else _read_key(choice.key_file)
        self._left_alone = OURS.union(choice.leave)
        self._in_name = lru_cache(maxsize=NAMES)(self._find)

    def __call__(self, document: Document) -> str | None:
        language = main_language(document) or "und"
        sides = [(side, self._find(side, language)) for side in document.sides]
        fields = {name: value for name, value in document.meta.items() if name not in self._left_alone}
        names = {name: found for name in fields if (found := self._in_name(name))}
        values = self._in_values(fields, language)
        every = [found for _, found in sides] + [*names.values(), *values.values()]
        kinds = [each.kind for found in every for each in found]
        for kind in kinds:
            if self._choice.what_is_done(kind) == "drop":
                return f"private data ({kind})"
        if names or values:
            shown = {name: self._replaced(fields[name], found) for name, found in values.items()}
            other = {name: self._replaced(name, found) for name, found in names.items()}
            document.meta = _renamed({**document.meta, **shown}, other)
        if kinds:
            document.meta[PRIVATE] = _counted(document.meta.get(PRIVATE, ""), kinds)
        if any(found for _, found in sides):
            texts = [self._replaced(side, found) for side, found in sides]
            document.text, moved = (texts[0], {}) if len(texts) == 1 else pair(*texts)
            document.meta.update(moved)
        return None

    def hide(self, text: str) -> str:
        """``text`` with what is private in it hidden; what would drop a document is masked."""
        return self._replaced(text, self._find(text))

    def _in_values(self, fields: dict[str, str], language: str) -> dict[str, list[Found]]:
        """What is found in each field that has anything; most documents have none, which one look at all tells."""
        if not fields:
            return {}
        together = _APART.join(f"{_ahead(name)}{value}" for name, value in fields.items())
        same_places = together.isascii() or len(together.lower()) == len(together)  # as finders need it
        if same_places and not self._others and not self._find(together, language):
            return {}
        return {name: found for name in fields if (found := self._find(fields[name], language, name))}

    def _find(self, text: str, language: str = "und", name: str = "") -> list[Found]:
        return find_private(text, self._choice.kinds, language=language, others=self._others, name=name)

    def _replaced(self, text: str, found: Iterable[Found]) -> str:
        pieces: list[str] = []
        place = 0
        for start, end, kind in found:
            pieces += text[place:start], self._instead(text[start:end], kind)
            place = end
        return "".join([*pieces, text[place:]])

    def _instead(self, value: str, kind: str) -> str:
        match self._choice.what_is_done(kind):
            case "keep":
                return value
            case "example" if kind in EXAMPLES:
                return EXAMPLES[kind]
            case "hash":
                assert self._key is not None
                return f"[{kind.upper()} {digest(value, kind, self._key)}]"
            case _:
                return f"[{kind.upper()}]"


def hide_names(rules: Iterable[object]) -> Callable[[str], str]:
    """What hides private data in ids and names of files as those of ``rules`` do that are about it; nothing else."""
    hiding = [choice.of_names() for choice in rules if isinstance(choice, Private)]

    def hide(text: str) -> str:
        for each in hiding:
            text = each.hide(text)
        return text

    return hide


def _renamed(meta: dict[str, str], names: dict[str, str]) -> dict[str, str]:
    """``meta`` with other names for some entries, each a free one, in the same order."""
    found: dict[str, str] = {}
    for name, value in meta.items():
        wanted = free = names.get(name, name)
        number = 1
        while free != name and (free in found or free in meta):
            number += 1
            free = f"{wanted} {number}"
        found[free] = value
    return found


def _counted(before: str, kinds: Iterable[str]) -> str:
    """What ``meta`` says was found: by this rule, and by one before it."""
    counts = Counter(kinds)
    for kind, _, number in (part.rpartition(" ") for part in before.split(", ") if part):
        counts[kind] += int(number)
    return ", ".join(f"{kind} {count}" for kind, count in sorted(counts.items()))


def find_private(
    text: str,
    kinds: Iterable[Kind] = tuple(FINDERS),
    *,
    language: str = "und",
    others: Sequence[FindMore] = (),
    name: str = "",
) -> list[Found]:
    """What is private in ``text``, in order, without overlaps; places are characters.

    Full-width letters and digits count as the plain ones.

    Args:
        language: of the text, ISO 639-1; some numbers are told by it.
        others: finders of further kinds; what overlaps with finds by pattern is left to those.
        name: of the field whose value ``text`` is: its words count as words before it (``phone: 5550199``).
    """
    before = _ahead(name) if name else ""
    whole = before + text
    page: Page = page_of(whole, language=language)
    wanted = set(kinds) if page.has_run(1) else ()  # nothing private is written without signs of ASCII
    found: list[Found] = []
    if wanted and (broken := broken_numbers(page)):
        found += [each for kind, find in BROKEN.items() if kind in wanted for each in find_broken(page, broken, find)]
    found += [each for kind, find in FINDERS.items() if kind in wanted for each in find(page)]
    found = [page.in_text(each) for each in found]
    found += [each for find_more in others for each in find_more(whole)]
    chosen: list[Found] = []  # sorted, disjoint
    for each in found:
        place = bisect_left(chosen, (each.start,))
        free_before = place == 0 or chosen[place - 1].end <= each.start
        if free_before and (place == len(chosen) or each.end <= chosen[place].start):
            chosen.insert(place, each)
    ahead = len(before)
    return [Found(max(0, start - ahead), end - ahead, kind) for start, end, kind in chosen if end > ahead]


@lru_cache(maxsize=NAMES)
def _ahead(name: str) -> str:
    """What stands before the value of a field: its name as words, so that finders read ``userPhone2`` too."""
    return f"{_PARTS.sub('-', name)}: "


def _read_key(path: Path) -> bytes:
    try:
        key = path.read_bytes()
    except OSError as error:
        raise InputError(f"clean.rules: cannot read key_file {str(path)!r}: {error.strerror}") from None
    if len(key) < SHORTEST_KEY:
        raise InputError(f"clean.rules: key_file {str(path)!r} must hold {SHORTEST_KEY} bytes or more; got {len(key)}")
    return hmac.digest(key, b"danlu private", "sha256")  # BLAKE2 takes 64 bytes at most
