"""The numbers of special tokens that ``config.json`` and ``generation_config.json`` name."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from danlu.errors import CheckpointError
from danlu.files import read_json, write_json
from danlu.nn.config import UNBOUNDED, Head, Labels, TransformerConfig
from danlu.nn.hf.family import FolderFamily
from danlu.tokenizers.tokenizer import Tokenizer

Ids = dict[str, int | None]


def token_ids(config: TransformerConfig, family: FolderFamily, roles: Mapping[str, int]) -> tuple[Ids, Ids]:
    """What ``config.json`` and what ``generation_config.json`` says.

    Args:
        roles: the tokenizer's special tokens (``Vocabulary.roles``), at least ``eot``.
    """
    end = roles["eot"]
    ids: Ids = {"bos_token_id": roles.get("bos", end), "eos_token_id": end}
    padding = roles.get("pad", end)
    if config.encoder is not None and config.decoder is not None:
        ids["pad_token_id"] = padding
        ids["decoder_start_token_id"] = decoder_start(family, roles)
        return ids, ids
    if config.encoder is not None:
        ids |= {f"{role}_token_id": roles.get(role) for role in ("cls", "sep", "mask")}
    # Padding is named, because some families have a padding token by default, which is then never learned.
    written = {**ids, "pad_token_id": roles.get("pad")}
    return written, {"bos_token_id": ids["bos_token_id"], "eos_token_id": end, "pad_token_id": padding}


def decoder_start(family: FolderFamily, roles: Mapping[str, int]) -> int:
    """The token that a decoder with an encoder starts from."""
    return roles.get("pad", roles["eot"]) if family.decoder_start == "pad" else roles["eot"]


def input_names(config: TransformerConfig) -> list[str]:
    """What ``transformers``' tokenizer has to make for the model."""
    reads_types = config.encoder is not None and config.encoder.entry.types > 1
    return ["input_ids", *(["token_type_ids"] if reads_types else []), "attention_mask"]


def longest_text(config: TransformerConfig) -> int | None:
    """The most tokens that ``transformers``' tokenizer may leave of a text; None where any number fits."""
    return config.max_length if config.max_length < UNBOUNDED else None


def with_padding(tokenizer: Tokenizer, config: TransformerConfig) -> Tokenizer:
    """The tokenizer with a padding token where ``transformers`` needs one to read several texts at once.

    Its classes of decoders score the last token of a text that is no padding, so that what the tokenizer puts behind a
    text must not be padding too.
    """
    if config.encoder is not None or isinstance(config.head, Head):
        return tokenizer
    last = isinstance(config.head, Labels) and config.head.pooling == "last"
    return tokenizer.padded(apart=tokenizer.template()[1] if last else ())


def part_padding(folder: Path, ends: Collection[int]) -> None:
    """Have the padding of the model in ``folder`` be none of the tokens that the texts which it scores end with.

    Where no other token is left there is none, and ``transformers`` reads one text at a time.
    """
    whole = Tokenizer.load(folder)
    parted = whole.padded(apart={*whole.template()[1], *ends})
    parted.save(folder)
    path = folder / "config.json"
    write_json(path, {**(read_json(path) or {}), "pad_token_id": parted.special("pad_token")})


def check_padding(config: TransformerConfig, written: Mapping[str, Any], roles: Mapping[str, int]) -> None:
    """Refuse a tokenizer whose padding is not the token that the model's positions are counted by.

    ``transformers`` counts RoBERTa's positions by all tokens but that one, wherever it stands.

    Args:
        written: what the family's ``config.json`` holds.

    Raises:
        CheckpointError: it is another token, or none.
    """
    wanted, found = written.get("pad_token_id"), roles.get("pad")
    if wanted is not None and wanted != found:
        raise CheckpointError(
            f"the model {config.family} needs a tokenizer whose padding is token {wanted}, as one that is trained with "
            f"tokenizer.special: [bert] has it; this one has {'none' if found is None else f'token {found}'}"
        )
