"""Texts to what a model reads: token ids with the tokenizer's own frame, cut where they are too long, or in windows.

Axes: T tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeVar

import numpy as np
import tokenizers
from tokenizers import Encoding

from danlu.corpus.rows import Ints
from danlu.errors import InputError, RecipeError
from danlu.log import say
from danlu.tokenizers.folder import read_tokenizer

T = TypeVar("T")
Cut = Literal["head", "tail", "middle"]
"""What is left of a text that is too long: its beginning, its end, or both without its middle (Sun et al. 2019,
arXiv:1905.05583)."""
MOST_TOKENS = 512
"""Of a text that a model reads in a task, unless ``max_tokens`` says otherwise."""
MAX_TOKENS = "finetune.task.max_tokens"
"""The key that says how many, for errors."""
MIDDLE_HEAD = 0.25
"""Share of the tokens that ``middle`` takes from the beginning, as in that paper: 128 of 512."""


class Read(NamedTuple):
    """A text, or two, as a model reads it."""

    tokens: Ints
    """``[T]``, special ones included."""
    types: Ints
    """``[T]`` 0, or 1 for the second text where the tokenizer parts them so."""
    offsets: Ints
    """``[T, 2]`` where in its text each token begins and ends, in characters; ``(0, 0)`` for special ones."""
    sides: Ints
    """``[T]`` which text each token is of, 0 or 1; -1 for special ones."""
    cut: bool
    """Whether something was left out."""


class Window(NamedTuple):
    """Some of the words of a sentence, as a model reads them."""

    tokens: Ints
    """``[T]``, special ones included."""
    words: Ints
    """``[T]`` which word of the sentence each token is of; -1 for special ones."""


@dataclass(frozen=True)
class TextReader:
    """A tokenizer, and how many tokens a text may have."""

    tokenizer: tokenizers.Tokenizer
    max_tokens: int
    """Special ones included."""
    cut: Cut = "head"
    folder: Path = Path()
    """Where the tokenizer is from, and what else the folder says of texts."""
    _told: set[str] = field(default_factory=set, compare=False, repr=False)
    _kept: dict[Any, Any] = field(default_factory=dict, compare=False, repr=False)

    def say_once(self, line: str, *, about: str) -> None:
        """Say a line, unless one has been said about the same: a file is read in many parts."""
        if about not in self._told:
            self._told.add(about)
            say(line)

    def once(self, key: Hashable, make: Callable[[], T]) -> T:
        """What ``make`` reads of the folder, the first time that ``key`` is asked for."""
        if key not in self._kept:
            self._kept[key] = make()
        found: T = self._kept[key]
        return found

    @classmethod
    def load(cls, folder: Path, *, max_tokens: int, cut: Cut = "head") -> TextReader:
        """The tokenizer in a model's folder.

        Raises:
            InputError: there is none, or it cannot be read.
            RecipeError: ``max_tokens`` has no room for text.
        """
        inner, _ = read_tokenizer(folder)
        inner.encode_special_tokens = True  # in a text they are text
        frame = inner.num_special_tokens_to_add(is_pair=True)
        if max_tokens <= frame + 1:
            raise RecipeError(
                f"{MAX_TOKENS} must be above {frame + 1}, of which the tokenizer's frame takes {frame}; "
                f"got {max_tokens}"
            )
        return cls(inner, max_tokens, cut, folder)

    @property
    def types(self) -> bool:
        """Whether the tokenizer tells two texts apart by their token types."""
        return 1 in self.tokenizer.encode("a", "a").type_ids

    def read(self, texts: Sequence[tuple[str, ...]]) -> list[Read]:
        """Each text, or pair of texts; of a pair that is too long the longer one is cut first.

        Raises:
            InputError: a text has no token at all.
        """
        pairs: list[Any] = [each if len(each) > 1 else each[0] for each in texts]
        if self.cut == "middle":
            self.tokenizer.no_truncation()
        else:
            direction = "right" if self.cut == "head" else "left"
            self.tokenizer.enable_truncation(self.max_tokens, strategy="longest_first", direction=direction)
        encoded = self.tokenizer.encode_batch(pairs)
        return [self._without_middle(each) if self.cut == "middle" else _read(each) for each in encoded]

    def shared(self, stride: int | None, *, key: str = "finetune.task.stride") -> int:
        """Tokens that two windows share: ``stride``, or a quarter of what a window holds.

        Args:
            key: of the setting, for the error.

        Raises:
            RecipeError: a window could hold nothing beside them; or texts are to be cut, as windows never are.
        """
        if self.cut != "head":
            raise RecipeError(
                f"finetune.task.cut: {self.cut} is for tasks that read a part of a text; this one reads all, in windows"
            )
        room = self._room_beside_another
        if stride is not None and stride >= room:
            raise RecipeError(
                f"{key} must be below {room}, half of what a window of {self.max_tokens} tokens "
                f"({MAX_TOKENS}) holds; got {stride}"
            )
        return min(self.max_tokens // 4, room - 1) if stride is None else stride

    def windows(self, pairs: Sequence[tuple[str, str]], *, shared: int) -> list[list[Read]]:
        """Each pair of texts as often as it takes to read all of the second; the first is in every window.

        Of the first, what is more than half a window is left out.

        Args:
            shared: tokens of the second that two windows share.

        Raises:
            InputError: a pair has no token at all.
        """
        firsts = self._half_a_window([first for first, _ in pairs])
        return self._windows([(first, second) for first, (_, second) in zip(firsts, pairs, strict=True)], 1, shared)

    def windows_of_longest(self, texts: Sequence[tuple[str, ...]], *, shared: int) -> list[list[Read]]:
        """Each text as often as it takes to read all of it; of a pair the longer one, with the other in every window.

        Of that other, what is more than half a window is left out.

        Args:
            shared: tokens that two windows share.

        Raises:
            InputError: a text has no token at all.
        """
        found: list[list[Read]] = [[] for _ in texts]
        longest = self._longest(texts)
        for side in (0, 1):
            places = [place for place, each in enumerate(longest) if each == side]
            others = iter(self._half_a_window([texts[place][1 - side] for place in places if len(texts[place]) > 1]))
            cut = [
                tuple(text if number == side else next(others) for number, text in enumerate(texts[place]))
                for place in places
            ]
            for place, windows in zip(places, self._windows(cut, side, shared), strict=True):
                found[place] = windows
        return found

    def word_windows(self, sentences: Sequence[Sequence[str]], *, shared: int) -> list[list[Window]]:
        """Each sentence as often as it takes to read all of it; no token is of two words.

        Args:
            sentences: words, each with the space before it, if there is one.
            shared: tokens that two windows share.

        Raises:
            InputError: a sentence has no token at all.
        """
        if not self._knows_spaces:
            sentences = [[piece.removeprefix(" ") for piece in pieces] for pieces in sentences]
        self.tokenizer.enable_truncation(self.max_tokens, stride=shared)
        encoded = self.tokenizer.encode_batch(list(map(list, sentences)), is_pretokenized=True)
        found = []
        for each in encoded:
            windows = [(_read(window).tokens, window.word_ids) for window in (each, *each.overflowing)]
            found.append([Window(tokens, np.array([-1 if word is None else word for word in words], dtype=np.int64))
                          for tokens, words in windows])  # fmt: skip
        return found

    def _windows(self, texts: Sequence[tuple[str, ...]], side: int, shared: int) -> list[list[Read]]:
        """Each text, or pair, as often as it takes to read all of the one at ``side``."""
        strategy = ("only_first", "only_second")[side]
        self.tokenizer.enable_truncation(self.max_tokens, stride=shared, strategy=strategy)
        encoded = self.tokenizer.encode_batch([each if len(each) > 1 else each[0] for each in texts])
        return [[_read(window) for window in (each, *each.overflowing)] for each in encoded]

    def _longest(self, texts: Sequence[tuple[str, ...]]) -> list[int]:
        """Which of its texts has the most tokens, the first of equal ones."""
        self.tokenizer.no_truncation()
        encoded = iter(self.tokenizer.encode_batch([text for each in texts for text in each], add_special_tokens=False))
        found = []
        for each in texts:
            lengths = [len(next(encoded).ids) for _ in each]
            found.append(lengths.index(max(lengths)))
        return found

    @property
    def _room_beside_another(self) -> int:
        """Tokens of a text beside another that may take as many."""
        return max(1, (self.max_tokens - self.tokenizer.num_special_tokens_to_add(is_pair=True)) // 2)

    def _half_a_window(self, texts: Sequence[str]) -> list[str]:
        """Each text, without what is behind half a window."""
        room = self._room_beside_another
        self.tokenizer.no_truncation()
        encoded = self.tokenizer.encode_batch(list(texts), add_special_tokens=False)
        short = []
        for text, encoding in zip(texts, encoded, strict=True):
            while len(encoding.ids) > room:  # of a part of a word there may be more tokens than there were
                text = text[: min(encoding.offsets[room - 1][1], len(text) - 1)]  # noqa: PLW2901
                encoding = self.tokenizer.encode(text, add_special_tokens=False)  # noqa: PLW2901
            short.append(text)
        if lost := sum(len(one) < len(other) for one, other in zip(short, texts, strict=True)):
            self.say_once(
                f"{lost:,} of {len(texts):,} texts that stand beside a longer one, such as its question, have more "
                f"than {room:,} tokens, half a window, and lose their end",
                about="half a window",
            )
        return short

    @property
    def _knows_spaces(self) -> bool:
        """Whether a word with its space before it is read as in running text; else the tokenizer adds the space."""
        self.tokenizer.no_truncation()
        return bool(self.tokenizer.encode("a a").ids == self.tokenizer.encode(["a", " a"], is_pretokenized=True).ids)

    def _without_middle(self, encoding: Encoding) -> Read:
        whole = _read(encoding)
        excess = len(whole.tokens) - self.max_tokens
        if excess <= 0:
            return whole
        kept = np.ones(len(whole.tokens), dtype=bool)
        lengths = [int((whole.sides == side).sum()) for side in (0, 1)]
        while excess:  # the longer one first, as the library does
            longer = int(lengths[1] > lengths[0])
            step = min(excess, max(1, abs(lengths[0] - lengths[1])))
            lengths[longer] -= step
            excess -= step
        for side, length in enumerate(lengths):
            places = np.flatnonzero(whole.sides == side)
            first = int(length * MIDDLE_HEAD)
            kept[places[first : len(places) - (length - first)]] = False
        return Read(whole.tokens[kept], whole.types[kept], whole.offsets[kept], whole.sides[kept], cut=True)


def _read(encoding: Encoding) -> Read:
    if not encoding.ids:
        raise InputError("a text has no tokens at all: nothing can be learned from it, nor said about it")
    sides = np.array([-1 if side is None else side for side in encoding.sequence_ids], dtype=np.int64)
    return Read(
        np.array(encoding.ids, dtype=np.int64),
        np.array(encoding.type_ids, dtype=np.int64),
        np.array(encoding.offsets, dtype=np.int64).reshape(-1, 2),
        sides,
        bool(encoding.overflowing),
    )
