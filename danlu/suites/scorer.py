"""The scorer that fits a model."""

from __future__ import annotations

from danlu.errors import InputError
from danlu.generate.special_tokens import SpecialTokens
from danlu.nn.transformer import Transformer
from danlu.suites.likelihood import BATCH_TOKENS, AnswererScorer, DecoderScorer
from danlu.suites.pseudo import MaskedScorer
from danlu.suites.request import Scorer
from danlu.tokenizers.tokenizer import Tokenizer


def scorer_of(
    model: Transformer,
    tokenizer: Tokenizer,
    *,
    special: SpecialTokens | None = None,
    batch_tokens: int = BATCH_TOKENS,
) -> Scorer:
    """What scores texts with ``model``: its decoder, or for want of one its masks.

    Args:
        special: what its folder says, where it has one; by default what the tokenizer says.

    Raises:
        InputError: the model has no head for words, or its tokenizer no mask where it needs one.
    """
    config = model.config
    if config.words is None:
        kind = type(config.head).__name__
        raise InputError(f"a {config.family} with {kind} finds no text likely or not; it needs a head for words")
    if config.vocab_size < tokenizer.vocab_size:
        raise InputError(f"the model has {config.vocab_size} tokens, but its tokenizer has {tokenizer.vocab_size}")
    if config.decoder is None:
        return MaskedScorer(model, tokenizer, batch_tokens=batch_tokens)
    if config.encoder is None:
        return DecoderScorer(model, tokenizer, batch_tokens=batch_tokens)
    return AnswererScorer(model, tokenizer, special=special, batch_tokens=batch_tokens)
