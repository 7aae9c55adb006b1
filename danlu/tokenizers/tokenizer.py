"""A tokenizer: text to token ids and back, of whichever kind the folder holds.

Byte-level BPE, bytes, characters, WordPiece (BERT), Unigram and words are trained here; T5's Unigram and
SentencePiece's BPE (Llama 2) come with imported models. Text that looks like a special token is text:
``encode("<|endoftext|>")`` never gives the one token that parts documents. Stock ``transformers`` does the same when
called with ``split_special_tokens=True`` on what is saved here; of some tokenizers it takes special tokens all the same
where a folder is as others made it (``special_text.py``).
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import tokenizers

from danlu.errors import InputError
from danlu.files import atomic_write
from danlu.tokenizers.folder import content_of, read_tokenizer
from danlu.tokenizers.identity import identity
from danlu.tokenizers.long_text import in_parts
from danlu.tokenizers.special_text import text_as_well
from danlu.tokenizers.spelling import spelling_of
from danlu.tokenizers.spiece import SPIECE, as_sentencepiece
from danlu.tokenizers.stream import REPLACEMENT, TokenStream
from danlu.tokenizers.tidy import Tidy

END_OF_TEXT = "<|endoftext|>"
"""Begins every document, ends every answer; id 0 in the tokenizers that are trained here."""
UNKNOWN = "<|unknown|>"
"""What a character-level vocabulary gives for a character that it lacks; it is decoded as U+FFFD."""

BORDERS = ("eos_token", "sep_token", "bos_token", "cls_token", "mask_token")
"""What decides where a text ends, and which of its tokens are to be foreseen."""

Ids = np.ndarray[Any, np.dtype[np.int64]]
Ends = np.ndarray[Any, np.dtype[np.int64]]


class Tokenizer:
    """Text to token ids and back."""

    def __init__(self, inner: tokenizers.Tokenizer, config: dict[str, Any]) -> None:
        inner.encode_special_tokens = True  # that is, as the plain text that they are
        self._inner = inner
        self._config = config
        eot = self.special("eos_token")
        if eot is None:
            eot = self.special("sep_token")  # BERT's, which ends its texts
        if eot is None:
            raise InputError(
                f"tokenizer_config.json names no token of tokenizer.json as eos_token: {config.get('eos_token')!r}"
            )
        self.eot: int = eot
        self.bos: int | None = self.special("bos_token")
        unknown = self.special("unk_token")
        self.unknown: int | None = unknown if unknown != eot else None  # GPT-2's names one token for all
        character, letters = inner.token_to_id(UNKNOWN), text_as_well(inner)
        self._check_borders(letters)
        self._spelling = spelling_of(inner, letters if character is None else {**letters, character: REPLACEMENT})
        self.vocab_size = len(self._spelling.within)
        """One more than the highest id; there may be fewer tokens, for some ids may have none."""
        self.begins_as_it_goes_on = not self._spelling.leading_spaces and self._spelling.first == self._spelling.within
        """Whether tokens are written alike at the beginning of a text and within."""
        self._tidies = bool(config.get("clean_up_tokenization_spaces")) and not isinstance(
            inner.model, tokenizers.models.BPE
        )

    @classmethod
    def load(cls, folder: Path) -> Tokenizer:
        """The tokenizer in ``folder``: a ``tokenizer.json``, or else what its kind was published as.

        Raises:
            InputError: a file is missing or damaged, or it names no end-of-text token.
        """
        inner, config = read_tokenizer(folder)
        if not config.keys() & {"eos_token", "sep_token"} and not (folder / "tokenizer_config.json").exists():
            raise InputError(f"no tokenizer in {folder}: tokenizer_config.json is missing")
        return cls(inner, config)

    def save(self, folder: Path, *, inputs: Sequence[str] = (), longest: int | None = None) -> None:
        """Write ``tokenizer.json`` and ``tokenizer_config.json`` into ``folder``, which must be there.

        Of a Unigram that was trained here, ``spiece.model`` too, for SentencePiece.

        Args:
            inputs: what ``transformers``' tokenizer makes for a model, such as ``input_ids``; where empty, what the
                files said so far.
            longest: tokens of a text that the model reads: ``transformers`` warns of more, and cuts them off where it
                is told to; a lower number that the files name stays.
        """
        config = {**self._config, "model_input_names": list(inputs)} if inputs else dict(self._config)
        if longest is not None:
            config["model_max_length"] = min(longest, config.get("model_max_length") or longest)
        atomic_write(folder / "tokenizer.json", self.to_json().encode())
        atomic_write(folder / "tokenizer_config.json", (json.dumps(config, indent=2) + "\n").encode())
        if (content := as_sentencepiece(self._inner, config)) is not None:
            atomic_write(folder / SPIECE, content)

    def padded(self, *, apart: Collection[int] = ()) -> Tokenizer:
        """One that names a padding token: its own, else the one that ends texts, or begins them.

        Args:
            apart: tokens that must not be it; where nothing else is left, none is named.
        """
        fits = (name for name in ("pad_token", "eos_token", "bos_token") if self.special(name) not in (None, *apart))
        name = next(fits, None)
        others = {key: value for key, value in self._config.items() if key != "pad_token"}
        return Tokenizer(self._inner, others if name is None else {**others, "pad_token": self._config[name]})

    def for_any_length(self) -> Tokenizer:
        """One that does not name the most tokens that a model reads, for a model that may read more."""
        return Tokenizer(self._inner, {key: value for key, value in self._config.items() if key != "model_max_length"})

    def rebuilt(self, content: str) -> Tokenizer:
        """One with the same names of special tokens and another ``tokenizer.json``."""
        return Tokenizer(tokenizers.Tokenizer.from_str(content), self._config)

    def to_json(self) -> str:
        """What ``tokenizer.json`` holds: the tokenizers library's own form."""
        return str(self._inner.to_str(pretty=True))

    @cached_property
    def identity(self) -> str:
        """A hash of all that decides which ids a text gets, and what parts texts; the same wherever it is saved."""
        return identity(self._inner, {"eot": self.eot, "sep": self.special("sep_token")})

    def tokens(self) -> dict[str, int]:
        """All tokens as the files spell them, added ones too, and their ids."""
        return dict(self._inner.get_vocab(with_added_tokens=True))

    def special(self, name: str) -> int | None:
        """The id of the token that ``tokenizer_config.json`` names so (``pad_token`` …); None where there is none."""
        content = content_of(self._config.get(name))
        id: int | None = self._inner.token_to_id(content) if content is not None else None
        return id

    def is_special(self, id: int) -> bool:
        """Whether the token is no text, or stands for text that has no token."""
        return id in self._spelling.silent or id == self.unknown

    def encode(self, text: str) -> list[int]:
        """Token ids of ``text``; nothing is put before or after.

        Raises:
            InputError: there is half a surrogate pair in it, which is no character.
        """
        with _characters([text]):
            ids: list[int] = self._inner.encode(text, add_special_tokens=False).ids
        return ids

    def encode_batch(self, texts: list[str]) -> list[list[int]]:
        """``encode`` of each text, on all cores."""
        with _characters(texts):
            return [encoding.ids for encoding in self._inner.encode_batch_fast(texts, add_special_tokens=False)]

    def encode_arrays(self, texts: list[str], dtype: np.dtype[Any]) -> list[np.ndarray[Any, Any]]:
        """``encode_batch``, each text's ids as an array of ``dtype``; a long text in parts, in bounded memory.

        Raises:
            OverflowError: an id does not fit.
        """
        with _characters(texts):
            return [
                np.concatenate(parts) for parts in in_parts(self._inner, texts, lambda few: self._arrays(few, dtype))
            ]

    def encode_with_ends(self, texts: list[str]) -> list[tuple[Ids, Ends]]:
        """``encode_batch``, and for each token behind which character of its text it ends; long texts in parts.

        Where several tokens make up a character, each of them ends behind it.
        """
        with _characters(texts):
            encoded = list(in_parts(self._inner, texts, self._with_ends))
        ids = [np.concatenate([ids for ids, _, _ in parts]) for parts in encoded]
        starts = [np.cumsum([0, *(length for _, _, length in parts)]) for parts in encoded]
        ends = [
            np.concatenate([ends + start for (_, ends, _), start in zip(parts, places, strict=False)])
            for parts, places in zip(encoded, starts, strict=True)
        ]
        return list(zip(ids, ends, strict=True))

    def _check_borders(self, letters: dict[int, str]) -> None:
        """Refuse a tokenizer whose texts could not be told from what stands around and within them.

        Args:
            letters: special tokens that are text as well, by id.
        """
        for name in BORDERS:
            id = self.special(name)
            if id in letters:
                raise InputError(
                    f"tokenizer_config.json names {letters[id]!r} as {name}, one character that any text may have and "
                    "that could not be told from it: name another token"
                )

    def _arrays(self, texts: list[str], dtype: np.dtype[Any]) -> list[np.ndarray[Any, Any]]:
        encoded = self._inner.encode_batch_fast(texts, add_special_tokens=False)
        return [np.fromiter(each.ids, dtype=dtype, count=len(each)) for each in encoded]

    def _with_ends(self, texts: list[str]) -> list[tuple[Ids, Ends, int]]:
        """Ids and ends of each text, and its length."""
        encoded = self._inner.encode_batch(texts, add_special_tokens=False)
        ends = (np.array(each.offsets, dtype=np.int64).reshape(-1, 2)[:, 1] for each in encoded)
        ids = (np.fromiter(each.ids, dtype=np.int64, count=len(each)) for each in encoded)
        return list(zip(ids, ends, map(len, texts), strict=True))

    def template(self) -> tuple[list[int], list[int]]:
        """The tokens that the tokenizer's own template (its post-processor) puts before and behind a text."""
        plain = self._inner.encode("a", add_special_tokens=False).ids
        framed = self._inner.encode("a", add_special_tokens=True).ids
        places = range(len(framed) - len(plain) + 1)
        start = next((place for place in places if framed[place : place + len(plain)] == plain), 0)
        return framed[:start], framed[start + len(plain) :]

    def decode(self, ids: Iterable[int], *, after: Iterable[int] = ()) -> str:
        """The text of ``ids``: special tokens are no text, an unknown character is U+FFFD.

        Args:
            after: the tokens that the text goes on from, where it does: a word keeps the space before it.
        """
        stream = self.stream(after=after)
        return "".join(map(stream.push, ids)) + stream.flush()

    def stream(self, *, after: Iterable[int] = ()) -> TokenStream:
        """A decoder to be fed one token at a time; joined, its pieces are what ``decode`` gives."""
        tidy = Tidy() if self._tidies else None
        return TokenStream(self._spelling, begun=self.begun(after), tidy=tidy)

    def spell(self, *, after: Iterable[int] = ()) -> TokenStream:
        """``stream``, of exactly the bytes of the tokens: without ``clean_up_tokenization_spaces``."""
        return TokenStream(self._spelling, begun=self.begun(after))

    def begun(self, ids: Iterable[int]) -> bool:
        """Whether there is text in ``ids``."""
        return any(id not in self._spelling.silent for id in ids)

    def token_bytes(self, id: int, *, first: bool = False) -> bytes:
        """The bytes that one token stands for; a character may be spread over several tokens.

        Args:
            first: it begins a text, and may lose a space that it has within one.
        """
        if not first:
            return self._spelling.within[id]
        token = self._spelling.first[id]
        spaces = len(token) - len(token.lstrip(b" "))
        return token[min(spaces, self._spelling.leading_spaces) :]


@contextmanager
def _characters(texts: Sequence[str]) -> Iterator[None]:
    """Say which text the library refuses, and where."""
    try:
        yield
    except TypeError:
        for text in texts:
            try:
                text.encode()
            except UnicodeEncodeError as error:
                lone = f"U+{ord(text[error.start]):04X}"
                raise InputError(f"a text has {lone}, half a surrogate pair, at character {error.start}") from None
        raise


def tokenizer_config(**special_tokens: str) -> dict[str, Any]:
    """What ``tokenizer_config.json`` holds, so that ``AutoTokenizer`` takes ``tokenizer.json`` as it stands."""
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        **special_tokens,
        "clean_up_tokenization_spaces": False,  # transformers 4 would change "a ,b" to "a,b" in what it decodes
    }
