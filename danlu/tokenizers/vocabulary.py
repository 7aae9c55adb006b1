"""What training must know of a vocabulary: what its special tokens are for, and which tokens are plain text."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from hashlib import sha256

import numpy as np
from numpy.typing import NDArray

from danlu.tokenizers.cutter import Cutter
from danlu.tokenizers.tokenizer import Tokenizer

ROLES = {
    "bos": "bos_token", "eos": "eos_token", "unk": "unk_token", "sep": "sep_token", "pad": "pad_token",
    "cls": "cls_token", "mask": "mask_token",
}  # fmt: skip
"""A role -> the key of ``tokenizer_config.json`` that names its token."""
FIM = ("fim_prefix", "fim_middle", "fim_suffix")
"""Roles of fill-in-the-middle (Bavarian et al. 2022, arXiv:2207.14255), known by the name of their token."""
FIM_SPELLINGS = ("<|{}|>", "<{}>")
"""Qwen's, which is ours too, and StarCoder's."""
SENTINEL = re.compile("▁?<extra_id_([0-9]+)>")
"""T5's names; in mT5's vocabulary they begin with a mark for a space."""
UNUSED = re.compile(r"\[unused[0-9]+\]")
"""Rows that BERT's vocabulary keeps free, and no text has."""


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """The ids that are more, or less, than text."""

    size: int
    """One more than the highest id."""
    eot: int
    """What parts documents."""
    roles: dict[str, int]
    """``eot`` and, where the tokenizer has them, ``bos``, ``eos``, ``cls``, ``sep``, ``mask``, ``pad``, ``unk``,
    ``fim_prefix``, ``fim_middle`` and ``fim_suffix``; and ``start``, where a model's decoder starts from a token."""
    sentinels: tuple[int, ...]
    """T5's ``<extra_id_0>``, ``<extra_id_1>`` …, in this order, which in T5's own vocabulary go downwards."""
    ordinary: NDArray[np.int64]
    """Ids of text, rising: no special tokens, none that is kept free and none without a token."""
    special: NDArray[np.int64]
    """Ids of special tokens, rising."""
    before: tuple[int, ...] = ()
    """What the tokenizer itself puts before a text."""
    after: tuple[int, ...] = ()
    """What it puts behind one."""
    tokens: str = ""
    """A hash of which token has which id, by which two vocabularies are told apart; empty where nobody knows."""
    spelled: dict[str, int] = field(default_factory=dict)
    """All tokens as the files spell them, and their ids; empty where nobody knows."""
    cutter: Cutter | None = field(default=None, compare=False, repr=False)
    """Cuts tokens between characters; None where nobody knows, or the tokenizer's cannot be cut."""

    @classmethod
    def of(cls, tokenizer: Tokenizer) -> Vocabulary:
        """What the files of ``tokenizer`` say."""
        tokens = tokenizer.tokens()
        roles = {"eot": tokenizer.eot}
        for role, key in ROLES.items():
            if (id := tokenizer.special(key)) is not None:
                roles[role] = id
        for role in FIM:
            spelled = next((name.format(role) for name in FIM_SPELLINGS if name.format(role) in tokens), None)
            if spelled is not None:
                roles[role] = tokens[spelled]
        sentinels = _sentinels(tokens)
        special = {*roles.values(), *sentinels, *(id for id in tokens.values() if tokenizer.is_special(id))}
        unused = {id for token, id in tokens.items() if UNUSED.fullmatch(token)}
        before, after = tokenizer.template()
        return cls(
            size=tokenizer.vocab_size, eot=tokenizer.eot, roles=roles, sentinels=sentinels,
            ordinary=_sorted(set(tokens.values()) - special - unused), special=_sorted(special),
            before=tuple(before), after=tuple(after),
            tokens=sha256(json.dumps(sorted(tokens.items())).encode()).hexdigest(), spelled=tokens,
            cutter=Cutter.of(tokenizer),
        )  # fmt: skip

    @classmethod
    def bare(cls, size: int, eot: int) -> Vocabulary:
        """All text but ``eot``: what a store of tokens says of itself."""
        ids = np.arange(size, dtype=np.int64)
        return cls(size, eot, {"eot": eot}, (), ids[ids != eot], ids[ids == eot])


def _sentinels(tokens: dict[str, int]) -> tuple[int, ...]:
    """By their numbers, as far as these go without a gap."""
    found = {int(match[1]): id for token, id in tokens.items() if (match := SENTINEL.fullmatch(token))}
    whole = next(number for number in range(len(found) + 1) if number not in found)
    return tuple(found[number] for number in range(whole))


def _sorted(ids: Iterable[int]) -> NDArray[np.int64]:
    return np.array(sorted(ids), dtype=np.int64)
