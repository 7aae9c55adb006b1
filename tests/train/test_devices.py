"""Training on another device than the processor: nothing is made in the wrong place, and nothing waits without need.

On ``meta`` tensors have a device and no numbers: what mixes it with the processor, or asks for a number, is an error.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.fx.experimental import _config as shapes

from danlu.corpus.batches import Batch
from danlu.nn.config import Alibi, Positions, TransformerConfig
from danlu.nn.families import GPT, GPT2, T5, Bart, Bert, Family, Llama, Mistral, ModernBert, Qwen3, Roberta
from danlu.nn.transformer import Transformer
from danlu.objectives.clm import CausalLM
from danlu.objectives.mlm import MaskedLM
from danlu.objectives.pairs import NextSentence
from danlu.objectives.prefix_lm import PrefixLM
from danlu.objectives.protocol import Objective, total_loss
from danlu.objectives.span_corruption import SpanCorruption

META = torch.device("meta")
ROWS, LENGTH, VOCAB = 2, 32, 64
SMALL: dict[str, Any] = {"layers": 2, "dim": 32, "heads": 2}


@pytest.fixture(autouse=True)
def _as_many_as_there_are() -> Iterator[None]:
    """Which tokens are scored is the one thing that has to be asked; on ``meta`` all are."""
    with shapes.patch(meta_nonzero_assume_all_nonzero=True):  # type: ignore[attr-defined]
        yield


def batch(config: TransformerConfig, names: tuple[str, ...], *, prefix: bool) -> Batch:
    """Two documents a row."""
    tokens = torch.zeros(ROWS, LENGTH, dtype=torch.long)
    segments = (torch.arange(LENGTH) // 20).expand(ROWS, -1)
    inputs = {"tokens": tokens, "segments": segments}
    if config.stack.entry.types:
        inputs["types"] = tokens
    if prefix:
        inputs["prefix"] = tokens == 0
    both = config.encoder is not None and config.decoder is not None
    source = {"tokens": tokens, "segments": segments} if both else {}
    return Batch(inputs, dict.fromkeys(names, tokens), dict.fromkeys(names, 3), ROWS * LENGTH, source).to(META)


CASES: list[tuple[Family, Objective]] = [
    *((family(**SMALL), CausalLM(z_loss=1e-4)) for family in (GPT, GPT2, Llama, Mistral, Qwen3)),
    (Llama(**SMALL), PrefixLM()),
    *((family(**SMALL), MaskedLM()) for family in (Bert, Roberta, ModernBert)),
    (Bert(**SMALL), NextSentence()),
    *((family(**SMALL), SpanCorruption()) for family in (T5, Bart)),
]  # fmt: skip


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize(
    ("family", "objective"), CASES, ids=[f"{type(one).__name__}-{type(other).__name__}" for one, other in CASES]
)
def test_a_step_makes_everything_where_the_model_is(family: Family, objective: Objective, dtype: torch.dtype) -> None:
    config = objective.config(family.config(vocab_size=VOCAB, max_length=LENGTH))
    check(config, objective, dtype)


def test_alibi_and_sines_are_made_where_the_model_is() -> None:
    config = GPT(**SMALL).config(vocab_size=VOCAB, max_length=LENGTH)
    assert config.decoder is not None
    entry = replace(config.decoder.entry, positions=Positions("sinusoidal"))
    check(replace(config, decoder=replace(config.decoder, bias=Alibi(), entry=entry)), CausalLM(), torch.float32)


def check(config: TransformerConfig, objective: Objective, dtype: torch.dtype) -> None:
    """A step's loss and its gradients."""
    model = Transformer(config).to(META, dtype).train()
    names = ("words", "pairs") if isinstance(objective, NextSentence) else ("words",)
    given = batch(config, names, prefix=isinstance(objective, PrefixLM))
    total = total_loss(objective, objective.losses(model, given), given.counts)
    assert total.device == META
    total.backward()  # type: ignore[no-untyped-call]
    for name, weight in model.named_parameters():
        assert weight.grad is not None, name
        assert weight.grad.device == META and weight.grad.dtype == dtype


def test_what_stands_on_the_processor_would_be_found() -> None:
    model = Transformer(Llama(**SMALL).config(vocab_size=VOCAB, max_length=LENGTH)).to(META)
    stack: Any = model.stack
    stack.cos_0 = torch.ones(LENGTH, 8)
    with pytest.raises(RuntimeError, match="meta"):
        given: Tensor = model(torch.zeros(1, LENGTH, dtype=torch.long, device=META))
        given.sum().backward()  # type: ignore[no-untyped-call]
