"""What a family's folder cannot say is refused, and nothing is written."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from danlu.errors import CheckpointError
from danlu.nn.config import Alibi, Attention, Experts, Layer, Norm
from danlu.nn.hf.folder import save_model
from danlu.nn.patterns import Window
from danlu.nn.transformer import Transformer

MakeModel = Callable[..., Transformer]


def llama(
    make_model: MakeModel, *, layers: Callable[[Layer, int], Layer] | None = None, **stack: object
) -> Transformer:
    plain = make_model("llama").config.decoder
    assert plain is not None
    changed = tuple(layers(layer, n) for n, layer in enumerate(plain.layers)) if layers else plain.layers
    return make_model("llama", decoder=replace(plain, layers=changed, **stack))  # type: ignore[arg-type]


def attention(layer: Layer, **fields: object) -> Layer:
    changed: Attention = replace(layer.attention, **fields)  # type: ignore[arg-type]
    return replace(layer, attention=changed)


@pytest.mark.parametrize(
    ("layers", "stack", "line"),
    [
        (lambda layer, n: attention(layer, pattern=Window(3)), {}, "attention.pattern is Window"),
        (lambda layer, n: attention(layer, dropout=0.25 * n), {}, "cannot say that decoder.layers.1.attention.dropout"),
        (
            lambda layer, n: attention(layer, qk_norm=Norm()),
            {},
            "no place for the weight decoder.blocks.0.attention.norm_k",
        ),
        (
            lambda layer, n: replace(layer, mlp=Experts(4, 2, 8)) if n else layer,
            {},
            "adapters or quantised|has no place",
        ),
        (None, {"bias": Alibi()}, "cannot say that decoder.bias is Alibi"),
        (None, {"drop_path": 0.5}, "cannot say that decoder.drop_path is 0.5"),
    ],
    ids=["window", "dropout of one layer", "QK-norm", "experts", "ALiBi", "drop path"],
)
def test_what_would_be_lost_is_refused(
    layers: Callable[[Layer, int], Layer] | None,
    stack: dict[str, object],
    line: str,
    make_model: MakeModel,
    tmp_path: Path,
) -> None:
    with pytest.raises(CheckpointError, match=line):
        save_model(llama(make_model, layers=layers, **stack), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_what_fits_is_written(make_model: MakeModel, tmp_path: Path) -> None:
    save_model(llama(make_model), tmp_path / "out")
    assert (tmp_path / "out" / "model.safetensors").exists()
