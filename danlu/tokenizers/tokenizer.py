"""A tokenizer as a folder in Hugging Face form: ``tokenizer.json`` and ``tokenizer_config.json``.

Text that looks like a special token is text: ``encode("<|endoftext|>")`` never gives the one token that
parts documents. Stock ``transformers`` does the same when called with ``split_special_tokens=True``.
"""

from __future__ import annotations

import codecs
import json
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

import tokenizers

from danlu.errors import InputError
from danlu.files import atomic_write

END_OF_TEXT = "<|endoftext|>"
"""Begins every document, ends every answer; id 0 in the tokenizers that are trained here."""
UNKNOWN = "<|unknown|>"
"""What a character-level vocabulary gives for a character that it lacks."""
REPLACEMENT = "\ufffd"
"""What is decoded for an unknown character and for bytes that are no UTF-8."""


class Tokenizer:
    """Text to token ids and back."""

    def __init__(self, inner: tokenizers.Tokenizer, config: dict[str, Any]) -> None:
        inner.encode_special_tokens = True  # that is, as the plain text that they are
        self._inner = inner
        self._config = config
        self.vocab_size: int = inner.get_vocab_size(with_added_tokens=True)
        eot = self._special("eos_token")
        if eot is None:
            raise InputError(
                f"tokenizer_config.json names no token of tokenizer.json as eos_token: {config.get('eos_token')!r}"
            )
        self.eot: int = eot
        self.bos: int | None = self._special("bos_token")
        unknown = self._special("unk_token")
        self.unknown: int | None = unknown if unknown != eot else None  # GPT-2's names one token for all
        self._bytes = _token_bytes(inner, self.unknown)

    @classmethod
    def load(cls, folder: Path) -> Tokenizer:
        """The tokenizer in ``folder``.

        Raises:
            InputError: a file is missing or damaged, or it names no end-of-text token.
        """
        try:
            inner = tokenizers.Tokenizer.from_str((folder / "tokenizer.json").read_text(encoding="utf-8"))
            config = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
        except FileNotFoundError as error:
            raise InputError(f"no tokenizer in {folder}: {error.filename} is missing") from None
        except Exception as error:  # the tokenizers library raises bare Exception
            if isinstance(error, OSError | MemoryError):
                raise
            raise InputError(f"the tokenizer in {folder} is damaged: {error}") from None
        return cls(inner, config)

    def save(self, folder: Path) -> None:
        """Write ``tokenizer.json`` and ``tokenizer_config.json`` into ``folder``, which must be there."""
        atomic_write(folder / "tokenizer.json", self.to_json().encode())
        atomic_write(folder / "tokenizer_config.json", (json.dumps(self._config, indent=2) + "\n").encode())

    def to_json(self) -> str:
        """What ``tokenizer.json`` holds: the tokenizers library's own form."""
        return str(self._inner.to_str(pretty=True))

    def encode(self, text: str) -> list[int]:
        """Token ids of ``text``; nothing is put before or after."""
        ids: list[int] = self._inner.encode(text, add_special_tokens=False).ids
        return ids

    def encode_batch(self, texts: list[str]) -> list[list[int]]:
        """``encode`` of each text, on all cores."""
        return [encoding.ids for encoding in self._inner.encode_batch_fast(texts, add_special_tokens=False)]

    def template(self) -> tuple[list[int], list[int]]:
        """The tokens that the tokenizer's own template (its post-processor) puts before and behind a text."""
        plain = self._inner.encode("a", add_special_tokens=False).ids
        framed = self._inner.encode("a", add_special_tokens=True).ids
        places = range(len(framed) - len(plain) + 1)
        start = next((place for place in places if framed[place : place + len(plain)] == plain), 0)
        return framed[:start], framed[start + len(plain) :]

    def decode(self, ids: Iterable[int]) -> str:
        """The text of ``ids``: the end-of-text token is no text, an unknown character is U+FFFD."""
        return b"".join(self._bytes[id] for id in ids).decode(errors="replace")

    def stream(self) -> TokenStream:
        """A decoder to be fed one token at a time."""
        return TokenStream(self)

    def token_bytes(self, id: int) -> bytes:
        """The bytes that one token stands for; a character may be spread over several tokens."""
        return self._bytes[id]

    def _special(self, name: str) -> int | None:
        token = self._config.get(name)
        content = token.get("content") if isinstance(token, dict) else token
        id: int | None = self._inner.token_to_id(content) if isinstance(content, str) else None
        return id


class TokenStream:
    """Turns tokens into text as they come, and holds back what is only a part of a character."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")

    def push(self, id: int) -> str:
        """The text that is certain after this token; may be empty."""
        return self._decoder.decode(self._tokenizer.token_bytes(id))

    def flush(self) -> str:
        """What is left at the end: U+FFFD where the last character was not completed."""
        return self._decoder.decode(b"", final=True)


def tokenizer_config(**special_tokens: str) -> dict[str, Any]:
    """What ``tokenizer_config.json`` holds, so that ``AutoTokenizer`` takes ``tokenizer.json`` as it stands."""
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        **special_tokens,
        "clean_up_tokenization_spaces": False,  # transformers 4 would change "a ,b" to "a,b" in what it decodes
    }


def _token_bytes(inner: tokenizers.Tokenizer, unknown: int | None) -> list[bytes]:
    """The bytes of every token, by id."""
    decoder = type(inner.decoder).__name__
    if decoder not in ("ByteLevel", "Fuse"):
        raise InputError(f"tokenizer.json has the decoder {decoder}; Danlu reads byte-level and character tokenizers")
    added = inner.get_added_tokens_decoder()
    table = [b""] * inner.get_vocab_size(with_added_tokens=True)
    for token, id in inner.get_vocab(with_added_tokens=False).items():
        if id not in added:
            table[id] = bytes(_byte_of()[letter] for letter in token) if decoder == "ByteLevel" else token.encode()
    for id, added_token in added.items():
        table[id] = b"" if added_token.special else added_token.content.encode()
    if unknown is not None:
        table[unknown] = REPLACEMENT.encode()
    return table


@cache
def _byte_of() -> dict[str, int]:
    """The byte that each letter of the byte-level alphabet stands for (Radford et al. 2019, GPT-2's encoder)."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(256 + place): byte for place, byte in enumerate(others)}
