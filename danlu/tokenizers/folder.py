"""The files of a folder that hold its tokenizer, and what they say together, as ``transformers`` reads them."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import tokenizers
from tokenizers import AddedToken

from danlu.errors import InputError
from danlu.tokenizers.byte_level import read_vocab_json
from danlu.tokenizers.charsmap import charsmaps, check_charsmap
from danlu.tokenizers.conventions import BERT, convention
from danlu.tokenizers.panic import no_panics
from danlu.tokenizers.sentencepiece import read_sentencepiece
from danlu.tokenizers.special_text import cut_special_text
from danlu.tokenizers.vocab_txt import read_vocab_txt

NAMED = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")
"""Keys of ``tokenizer_config.json`` that name a token each."""
MORE = ("additional_special_tokens", "extra_special_tokens")
"""Keys that name several; the second is the newer one."""
TRIAL = "It was 1594, café 话说天下 👩\n"
"""A text that shows whether a tokenizer works at all."""
WHOLE = {"tokenizer_class": "PreTrainedTokenizerFast"}
"""Says that ``tokenizer.json`` is to be taken as it stands."""


def read_tokenizer(folder: Path) -> tuple[tokenizers.Tokenizer, dict[str, Any]]:
    """The tokenizer in ``folder``, and what ``tokenizer_config.json`` has to say beside its ``tokenizer.json``.

    Raises:
        InputError: a file is missing, damaged or cannot be read.
    """
    name = next((name for name in READERS if (folder / name).is_file()), None)
    if name is None:
        first, *others = READERS
        raise InputError(f"no tokenizer in {folder}: {first} is missing, and so are {', '.join(others)}")
    return _read(folder, folder / name, READERS[name])


def read_tokenizer_file(path: Path) -> tokenizers.Tokenizer:
    """The tokenizer in one file, whatever it is called: by its ending, with what the files beside it say of it.

    A ``vocab.txt`` of which nothing is said beside it is taken for BERT's, in small letters.

    Raises:
        InputError: it is missing, damaged, or of no kind that is read.
    """
    reader = READERS.get(path.name) or ENDINGS.get(path.suffix.lower())
    if reader is None:
        kinds = ", ".join(f"*{ending}" for ending in ENDINGS)
        raise InputError(f"cannot tell what tokenizer {path} is by its name (choices: {', '.join(READERS)}, {kinds})")
    if not path.is_file():
        raise InputError(f"there is no file {path}")
    return _read(path.parent, path, reader)[0]


def _read(
    folder: Path, path: Path, reader: Callable[[Path, dict[str, Any]], tokenizers.Tokenizer]
) -> tuple[tokenizers.Tokenizer, dict[str, Any]]:
    try:
        # What lies beside a file of another name may be about another tokenizer.
        unsaid, said = _settings(folder) if path.name in READERS else ({}, {})
        if reader is read_vocab_txt and not unsaid:
            unsaid = dict(BERT)
        config = {**unsaid, **said}
        with no_panics():
            inner = reader(path, config)
            listed = list(_listed(folder, config))
            _add(inner, [token for _, token in listed])
            contents = [content for key in NAMED if (content := content_of(config.get(key))) is not None]
            known = [content for content in contents if inner.token_to_id(content) is not None]
            _add(inner, [AddedToken(content, normalized=False, special=True) for content in known])
            inner.no_truncation()
            inner.no_padding()
            inner.encode(TRIAL)
            cut_special_text(inner)
    except OSError as error:
        raise InputError(f"cannot read {error.filename or folder}: {error.strerror or error}") from None
    except Exception as error:  # the tokenizers library raises bare Exception
        if isinstance(error, MemoryError | InputError):
            raise
        raise InputError(
            f"the tokenizer in {path if path.name not in READERS else folder} is damaged: {error}"
        ) from None
    for id, token in listed:
        if id is not None and inner.token_to_id(token.content) != id:
            raise InputError(f"the tokenizer in {folder} has no place {id} for the added token {token.content!r}")
    names = {key: unsaid[key] for key in NAMED if key in unsaid and inner.token_to_id(unsaid[key]) is not None}
    return inner, {**names, **said, **WHOLE}


def content_of(token: object) -> str | None:
    """The text of a token, which may be spelled out with how it is matched."""
    content = token.get("content") if isinstance(token, dict) else token
    return content if isinstance(content, str) else None


def _read_tokenizer_json(path: Path, config: dict[str, Any]) -> tokenizers.Tokenizer:
    content = path.read_text(encoding="utf-8")
    if "precompiled_charsmap" in content:
        for charsmap in charsmaps(json.loads(content).get("normalizer")):
            check_charsmap(base64.b64decode(charsmap))
    return tokenizers.Tokenizer.from_str(content)


READERS: dict[str, Callable[[Path, dict[str, Any]], tokenizers.Tokenizer]] = {
    "tokenizer.json": _read_tokenizer_json, "vocab.txt": read_vocab_txt, "spiece.model": read_sentencepiece,
    "tokenizer.model": read_sentencepiece, "vocab.json": read_vocab_json,
}  # fmt: skip
"""By the name of the file, the best first."""
ENDINGS: dict[str, Callable[[Path, dict[str, Any]], tokenizers.Tokenizer]] = {
    ".json": _read_tokenizer_json, ".model": read_sentencepiece, ".txt": read_vocab_txt,
}  # fmt: skip
"""By the end of the name, where a file of another name is meant."""


def _settings(folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """What holds where the files are silent, and what they say; ``special_tokens_map.json`` has the last word."""
    model, said = _object(folder / "config.json"), _object(folder / "tokenizer_config.json")
    unsaid = convention(said.get("tokenizer_class", model.get("tokenizer_class")), model.get("model_type"))
    # Where all added tokens stand in it, transformers looks no further.
    names = {} if "added_tokens_decoder" in said else _object(folder / "special_tokens_map.json")
    return dict(unsaid), {**said, **names}


def _listed(folder: Path, config: dict[str, Any]) -> Iterator[tuple[int | None, AddedToken]]:
    """Tokens behind those of the vocabulary, or that are matched as a whole, with their numbers where they are said."""
    several = [content for key in MORE for content in _contents(config.get(key))]
    if "added_tokens_decoder" in config:
        for key, settings in sorted(config["added_tokens_decoder"].items(), key=lambda item: int(item[0])):
            yield int(key), AddedToken(**settings)
    else:
        special = {content_of(config.get(key)) for key in NAMED} | set(several)
        for content, id in sorted(_object(folder / "added_tokens.json").items(), key=lambda item: int(item[1])):
            yield id, AddedToken(content, normalized=content not in special, special=content in special)
    for content in several:
        yield None, AddedToken(content, normalized=False, special=True)


def _contents(tokens: Any) -> list[str]:
    """The texts of several tokens, which may have names besides."""
    values = tokens.values() if isinstance(tokens, dict) else tokens or []
    return [content for token in values if (content := content_of(token)) is not None]


def _add(inner: tokenizers.Tokenizer, tokens: list[AddedToken]) -> None:
    """Add tokens; those that are there already stay as they are, but that they become special."""
    there = {token.content: token.special for token in inner.get_added_tokens_decoder().values()}
    inner.add_tokens([token for token in tokens if token.special > there.get(token.content, -1)])


def _object(path: Path) -> dict[str, Any]:
    """The JSON object in the file; empty where there is no file."""
    if not path.exists():
        return {}
    value = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(value, dict):
        raise InputError(f"{path} must hold a JSON object; got {type(value).__name__}")
    return value
