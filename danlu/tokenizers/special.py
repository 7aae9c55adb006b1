"""Special tokens that a tokenizer is trained with besides ``<|endoftext|>``, for what masks and corrupts text.

They are given as sets, by the model or the objective that needs them. The end of a text stays token 0; where there is
padding it is token 1, as RoBERTa's positions want it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import tokenizers
from tokenizers import processors

from danlu.tokenizers.tokenizer import END_OF_TEXT, tokenizer_config
from danlu.tokenizers.vocabulary import FIM, FIM_SPELLINGS

SpecialSet = Literal["bert", "t5", "fim"]
"""What a recipe asks for: BERT's, T5's, or those of fill-in-the-middle."""
BERT = {"cls_token": "[CLS]", "sep_token": "[SEP]", "mask_token": "[MASK]"}
PADDING: dict[str, str] = {"bert": "[PAD]", "t5": "<pad>"}
"""One token pads for all: that of the first set that has one."""
MORE: dict[str, list[str]] = {
    "t5": [f"<extra_id_{number}>" for number in range(100)], "fim": [FIM_SPELLINGS[0].format(role) for role in FIM],
}  # fmt: skip
"""Tokens without a key of their own in ``tokenizer_config.json``."""


@dataclass(frozen=True, slots=True)
class Reserved:
    """The special tokens of a tokenizer that is to be trained."""

    tokens: list[str]
    """In the order of their ids, which begin at 0."""
    config: dict[str, Any]
    """What ``tokenizer_config.json`` says of them."""
    template: SpecialSet | None
    """The set that says what the tokenizer puts around a text: the first one."""

    @classmethod
    def of(cls, sets: Sequence[SpecialSet], *, unknown: str | None = None) -> Reserved:
        """The tokens of all ``sets``, each once.

        Args:
            unknown: the token for text that has none, where the tokenizer needs it.
        """
        names = {"bos_token": END_OF_TEXT, "eos_token": END_OF_TEXT}
        padding = next((PADDING[each] for each in sets if each in PADDING), None)
        if padding is not None:
            names["pad_token"] = padding
        if unknown is not None:
            names["unk_token"] = unknown
        if "bert" in sets:
            names |= BERT
        more = [token for each in dict.fromkeys(sets) for token in MORE.get(each, [])]
        config: dict[str, Any] = tokenizer_config(**names)
        if more:
            config["additional_special_tokens"] = more  # the older name, which transformers 4 and 5 both read
        return cls(list(dict.fromkeys([*names.values(), *more])), config, sets[0] if sets else None)

    def add_template(self, inner: tokenizers.Tokenizer) -> None:
        """Have ``inner`` put around a text what BERT's or T5's tokenizer does; fill-in-the-middle has no such thing."""
        if self.template == "bert":
            single, pair, around = "[CLS] $A [SEP]", "[CLS] $A [SEP] $B:1 [SEP]:1", ["[CLS]", "[SEP]"]
        elif self.template == "t5":
            single, pair, around = f"$A {END_OF_TEXT}", f"$A {END_OF_TEXT} $B {END_OF_TEXT}", [END_OF_TEXT]
        else:
            return
        ids = [(token, self.tokens.index(token)) for token in around]
        inner.post_processor = processors.TemplateProcessing(single=single, pair=pair, special_tokens=ids)

    def check_room(self, vocab_size: int, *, others: int, named: str) -> None:
        """Refuse a vocabulary that is too small.

        Args:
            others: tokens that it holds whatever the text is.
            named: what those are, for the error.

        Raises:
            ValueError: ``vocab_size`` is below both together; who validates puts the key before it.
        """
        least = len(self.tokens) + others
        if vocab_size < least:
            raise ValueError(
                f"vocab_size must be at least {least} ({named} and {len(self.tokens)} special tokens); got {vocab_size}"
            )
