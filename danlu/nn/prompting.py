"""Give a model virtual tokens, which begin as those of a text or are read from a file.

Axes: P virtual tokens, D model width, G key/value heads, E head width, L layers.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from danlu.errors import RecipeError
from danlu.nn.config import Embedding, Labels, TransformerConfig, Virtual
from danlu.nn.positions import depends_on_length
from danlu.nn.stack import Stack, recording
from danlu.nn.transformer import Transformer
from danlu.nn.virtual import make_virtual, turned


def with_virtual(config: TransformerConfig, virtual: Virtual) -> TransformerConfig:
    """The shape with virtual tokens: a prompt's in the encoder where there is one, a prefix's in the decoder.

    They take their places from those of a document's own tokens.

    Raises:
        RecipeError: the model cannot have them; the line goes on from what asks for them.
    """
    _check(config, virtual)
    name = "decoder" if config.encoder is None or (virtual.kind == "prefix" and config.decoder) else "encoder"
    return replace(
        config,
        max_length=config.max_length - virtual.tokens,
        **{name: replace(getattr(config, name), virtual=virtual)},
    )


def without_virtual(config: TransformerConfig) -> TransformerConfig:
    """The shape of the model without them."""
    encoder, decoder = (
        None if stack is None else replace(stack, virtual=None) for stack in (config.encoder, config.decoder)
    )
    return replace(config, max_length=config.places, encoder=encoder, decoder=decoder)


def add_virtual(model: Transformer, virtual: Virtual, table: Tensor) -> None:
    """Put virtual tokens before each document of the model.

    Args:
        table: ``[P, D]`` of a prompt, in place of scaled embeddings; ``[P, L * 2 * G * E]`` of a prefix, its keys
            turned as at the beginning of a row.

    Raises:
        RecipeError: the model cannot have them.
    """
    model.config = with_virtual(model.config, virtual)
    stack = virtual_stack(model)
    shape = model.config.encoder if stack is model.encoder else model.config.decoder
    assert shape is not None
    like = model.embedding.weight
    with torch.device("meta"):
        stack.entry.prompt, stack.prefix = make_virtual(shape, model.config.dim)
    weight = torch.nn.Parameter(table.detach().clone().to(like))
    if stack.prefix is None:
        stack.entry.prompt = weight
    else:
        stack.prefix.weight = weight


def is_virtual(name: str) -> bool:
    """Whether a parameter of this name is of virtual tokens."""
    return name.endswith(".entry.prompt") or name.partition(".")[2].startswith("prefix.")


def virtual_stack(model: Transformer) -> Stack:
    """The one that has virtual tokens."""
    encoder = model.config.encoder
    stack = model.encoder if encoder is not None and encoder.virtual is not None else model.decoder
    assert stack is not None
    return stack


def table_of(model: Transformer) -> Tensor:
    """What :func:`add_virtual` takes, of a model that has virtual tokens."""
    stack = virtual_stack(model)
    table = stack.prefix.table() if stack.prefix is not None else stack.entry.prompt
    assert table is not None
    return table.detach()


@torch.no_grad()
def embeddings_of(model: Transformer, tokens_P: Tensor) -> Tensor:
    """The prompt that is these tokens, ``[P, D]``."""
    return model.embedding(tokens_P) * model.stacks[0].entry.scale  # type: ignore[no-any-return]


@torch.no_grad()
def keys_and_values_of(model: Transformer, tokens_P: Tensor) -> Tensor:
    """The prefix that these tokens would leave in the stack of the head, ``[P, L * 2 * G * E]``.

    An encoder beside the decoder reads the same.
    """
    tokens_1P, was_training = tokens_P[None], model.training
    model.eval()
    memory = model.encode(tokens_1P) if len(model.stacks) > 1 else None
    with recording(model.stack) as inputs:
        model(tokens_1P, memory=memory)
    model.train(was_training)
    layers = []
    for block, x_1PD in zip(model.stack.blocks, inputs, strict=False):
        attention = block.attention
        _, k_1PF, v_1PF = block.projected(x_1PD)  # type: ignore[operator]
        k_PGE, v_PGE = (each[0].unflatten(-1, (-1, attention.head_dim)) for each in (k_1PF, v_1PF))  # type: ignore[union-attr]
        layers.append((attention.norm_k(k_PGE), v_PGE))  # type: ignore[union-attr,operator]
    rotaries = [layer.attention.rotary for layer in model.config.stack.layers]
    pairs = [torch.stack([turned(k_PGE, rotary), v_PGE], 1)
             for (k_PGE, v_PGE), rotary in zip(layers, rotaries, strict=True)]  # fmt: skip
    return torch.stack(pairs, 1).flatten(1)


def empty_prefix(model: Transformer, tokens: int) -> Tensor:
    """Room for a prefix, ``[P, L * 2 * G * E]``, whose numbers are still to be put in."""
    layers = model.config.stack.layers
    width = len(layers) * 2 * layers[0].attention.kv_heads * layers[0].attention.head_dim
    return model.embedding.weight.new_empty(tokens, width)


def _check(config: TransformerConfig, virtual: Virtual) -> None:
    if config.virtual is not None:
        raise RecipeError("the model has virtual tokens already; take the one that it was trained from")
    if virtual.tokens >= config.max_length:
        raise RecipeError(f"tokens must be below {config.max_length}, which the model sees; got {virtual.tokens}")
    layers = [layer.attention for layer in config.stack.layers]
    if any(each.linformer is not None for each in layers):
        raise RecipeError("a Linformer mixes all tokens of a row, and has no virtual ones")
    if virtual.kind == "prompt":
        if isinstance(config.head, Labels | Embedding) and config.head.pooling == "mean":
            raise RecipeError(f"this head of {config.family} averages a text's tokens, among which a prompt has no "
                              "place; use prefix")  # fmt: skip
        return
    if len({(each.kv_heads, each.head_dim) for each in layers}) > 1:
        raise RecipeError("the layers' keys differ in width; a prefix is for models whose layers are alike")
    if any(each.rotary is not None and depends_on_length(each.rotary) for each in layers):
        raise RecipeError("how the model turns its keys depends on the length of a text; use prompt")
