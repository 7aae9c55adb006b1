"""The tokenizer in a GGUF file's metadata, as the Hugging Face files that it was made from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import tokenizers
from tokenizers import AddedToken, processors

from danlu.errors import CheckpointError
from danlu.files import atomic_write
from danlu.nn.hf.config_file import ConfigFile
from danlu.nn.hf.gguf_file import GGUFFile
from danlu.nn.hf.gguf_tokenizer_models import BUILDERS, CUTS, WHOLE_WORDS
from danlu.nn.hf.gguf_vocabulary import CONTROL, KEY, USER_DEFINED, Vocabulary, read_vocabulary
from danlu.tokenizers.folder import TRIAL
from danlu.tokenizers.panic import no_panics
from danlu.tokenizers.tokenizer import tokenizer_config


def write_tokenizer(file: GGUFFile, folder: Path) -> None:
    """Write ``tokenizer.json`` and ``tokenizer_config.json``, with the chat template, into ``folder``.

    Raises:
        CheckpointError: the file holds no tokenizer, or one of a kind that is not built here, or it is damaged.
    """
    meta = ConfigFile(file.path, file.metadata)
    model = meta.get(KEY + "model")
    if meta.get(KEY + "tokens") is not None and (not isinstance(model, str) or model not in BUILDERS):
        raise meta.wrong(KEY + "model", model, " or ".join(BUILDERS))
    vocabulary = read_vocabulary(meta, model)
    special = _by_role(vocabulary)
    try:
        with no_panics():
            inner = BUILDERS[model](vocabulary)
            _add_tokens(inner, vocabulary)
            _add_ends(inner, vocabulary, special)
            inner.encode(TRIAL)
    except CheckpointError:
        raise
    except Exception as error:  # the tokenizers library raises bare Exception
        raise CheckpointError(f"{file.path}: its tokenizer is damaged: {error}") from None
    config: dict[str, Any] = tokenizer_config(**special)
    config["model_max_length"] = meta.integer(f"{meta.get('general.architecture')}.context_length")
    if model == "bert":
        config["model_input_names"] = ["input_ids", "token_type_ids", "attention_mask"]
    if isinstance(template := meta.get("tokenizer.chat_template"), str):
        config["chat_template"] = template
    atomic_write(folder / "tokenizer.json", inner.to_str(pretty=True).encode())
    atomic_write(folder / "tokenizer_config.json", (json.dumps(config, indent=2, ensure_ascii=False) + "\n").encode())


def _by_role(vocabulary: Vocabulary) -> dict[str, str]:
    """The special tokens by what ``tokenizer_config.json`` calls them."""
    special = dict(vocabulary.special)
    if vocabulary.model == "gpt2":  # every text has bytes: there is nothing unknown
        special.pop("unk_token", None)
    if _encoder(vocabulary):  # llama.cpp has one name for what begins a text and what stands for it
        for encoder, decoder in (("cls_token", "bos_token"), ("sep_token", "eos_token")):
            if encoder not in special and decoder in special:
                special[encoder] = special[decoder]
    return special


def _encoder(vocabulary: Vocabulary) -> bool:
    """Whether texts stand between the tokens that BERT has for it."""
    return vocabulary.model == "bert" or vocabulary.flag("add_sep_token", False)


def _add_tokens(inner: tokenizers.Tokenizer, vocabulary: Vocabulary) -> None:
    """Tokens that no merge makes: they are matched in the text as a whole."""
    special = set(vocabulary.special.values())
    kinds = list(zip(vocabulary.tokens, vocabulary.kinds, strict=True))
    control = [token for token, kind in kinds if kind == CONTROL or token in special]
    users = [token for token, kind in kinds if kind == USER_DEFINED and token not in special]
    # Each call builds the library's search for all of them anew, so that one a token would take hours.
    inner.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in control])
    inner.add_tokens([AddedToken(token, special=False, normalized=False) for token in users])


def _add_ends(inner: tokenizers.Tokenizer, vocabulary: Vocabulary, special: dict[str, str]) -> None:
    """What ``tokenizer(text)`` puts before and after a text."""
    encoder, model = _encoder(vocabulary), vocabulary.model
    whole = model == "gpt2" and CUTS[vocabulary.meta.values[KEY + "pre"]] in WHOLE_WORDS
    begins = vocabulary.flag("add_bos_token", encoder or model == "llama" or whole)
    ends = encoder or vocabulary.flag("add_eos_token", model == "t5")
    first = special.get("cls_token" if encoder else "bos_token") if begins else None
    last = special.get("sep_token" if encoder else "eos_token") if ends else None
    if first is None and last is None:
        return

    def around(text: str, before: str | None, number: int) -> list[str]:
        pieces = (before, text, last)
        return [f"{piece}:{number}" for piece in pieces if piece is not None]

    single = around("$A", first, 0)
    # Of an encoder's pair only the first text is begun, and BERT's second is of the other type.
    second = around("$B", None if encoder else first, int(model == "bert"))
    inner.post_processor = processors.TemplateProcessing(
        single=single, pair=[*single, *second],
        special_tokens=[(token, inner.token_to_id(token)) for token in dict.fromkeys((first, last)) if token],
    )  # fmt: skip
