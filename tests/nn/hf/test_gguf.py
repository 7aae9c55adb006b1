"""Models in GGUF files against the models of transformers that they were made from."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers

from danlu.errors import CheckpointError
from danlu.nn.config import Scaling
from danlu.nn.hf.gguf import load_gguf, stored_gguf_dtype
from danlu.nn.hf.gguf_file import GGUFFile

WriteGGUF = Callable[..., Path]
CONFIGS = {
    "llama": transformers.LlamaConfig, "qwen2": transformers.Qwen2Config, "qwen3": transformers.Qwen3Config,
}  # fmt: skip
THETA = 500.0
CASES: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {  # architecture, transformers' fields, metadata
    "llama": ("llama", {}, {}),
    "llama-tied": ("llama", {"tie_word_embeddings": True, "num_key_value_heads": 1}, {}),
    "llama-biased": ("llama", {"attention_bias": True, "mlp_bias": True}, {}),
    "llama-linear": (
        "llama",
        {"rope_parameters": {"rope_type": "linear", "rope_theta": THETA, "factor": 3.0}},
        {"rope.scaling.type": "linear", "rope.scaling.factor": 3.0},
    ),
    "llama-linear-old": (
        "llama",
        {"rope_parameters": {"rope_type": "linear", "rope_theta": THETA, "factor": 3.0}},
        {"rope.scale_linear": 3.0},
    ),
    "qwen2": ("qwen2", {}, {}),
    "qwen2-yarn": (
        "qwen2",
        {
            "rope_parameters": {
                "rope_type": "yarn",
                "rope_theta": THETA,
                "factor": 4.0,
                "original_max_position_embeddings": 16,
            }
        },
        {"rope.scaling.type": "yarn", "rope.scaling.factor": 4.0, "rope.scaling.original_context_length": 16},
    ),
    "qwen3": ("qwen3", {}, {}),
    "qwen3-tied": ("qwen3", {"tie_word_embeddings": True, "rms_norm_eps": 1e-3}, {}),
}


def stock_model(architecture: str, **fields: Any) -> Any:
    sizes = {
        "vocab_size": 97, "hidden_size": 96, "num_attention_heads": 6, "num_key_value_heads": 2, "head_dim": 8,
        "intermediate_size": 128, "num_hidden_layers": 2, "max_position_embeddings": 40, "rms_norm_eps": 1e-5,
        "tie_word_embeddings": False, "rope_parameters": {"rope_type": "default", "rope_theta": THETA},
        "bos_token_id": 0, "eos_token_id": 0, "pad_token_id": None,
    }  # fmt: skip
    model = transformers.AutoModelForCausalLM.from_config(CONFIGS[architecture](**{**sizes, **fields}))
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for weight in model.parameters():
            weight.normal_(1.0 if weight.ndim == 1 else 0.0, 0.3, generator=generator)
    return model.eval()


@torch.no_grad()
def worst_difference(path: Path, stock: Any) -> float:
    """Of logits, relative to the largest."""
    tokens_BT = torch.randint(0, 97, (2, 33), generator=torch.Generator().manual_seed(5))
    model = load_gguf(GGUFFile.open(path))
    expected = stock(tokens_BT).logits
    return float((model.head(model(tokens_BT)) - expected).abs().max() / expected.abs().max())


@pytest.mark.parametrize("case", CASES)
def test_logits_are_those_of_transformers(case: str, tmp_path: Path, write_gguf: WriteGGUF) -> None:
    architecture, fields, metadata = CASES[case]
    stock = stock_model(architecture, **fields)
    path = write_gguf(tmp_path / "model.gguf", stock, architecture, metadata=metadata)
    assert worst_difference(path, stock) <= 1e-5


@pytest.mark.parametrize("factor", [8.0, 32.0])
def test_llama_3s_scaling_is_found_again_from_its_factors(factor: float, tmp_path: Path, write_gguf: WriteGGUF) -> None:
    rope = {
        "rope_type": "llama3", "rope_theta": 500000.0, "factor": factor, "original_max_position_embeddings": 8192,
        "low_freq_factor": 1.0, "high_freq_factor": 4.0,
    }  # fmt: skip
    fields = {"head_dim": 64, "num_attention_heads": 1, "num_key_value_heads": 1, "rope_parameters": rope}
    stock = stock_model("llama", **fields)
    plain = 1 / 500000.0 ** (np.arange(0, 64, 2) / 64)
    factors = (plain / stock.model.rotary_emb.inv_freq.double().numpy()).astype(np.float32)
    path = write_gguf(tmp_path / "model.gguf", stock, "llama", tensors={"rope_freqs.weight": factors})
    rotary = load_gguf(GGUFFile.open(path)).config.stack.layers[0].attention.rotary
    assert rotary is not None
    assert rotary.scaling == Scaling("llama3", pytest.approx(factor, rel=1e-6), 8192, fast=4.0, slow=1.0)
    assert worst_difference(path, stock) <= 1e-5

    factors[3] = 1.7
    path = write_gguf(tmp_path / "odd.gguf", stock, "llama", tensors={"rope_freqs.weight": factors})
    with pytest.raises(CheckpointError, match=r"rope_freqs\.weight holds other factors"):
        load_gguf(GGUFFile.open(path))


def test_factors_of_one_scale_nothing(tmp_path: Path, write_gguf: WriteGGUF) -> None:
    stock = stock_model("llama")
    ones = {"rope_freqs.weight": np.ones(4, np.float32)}
    path = write_gguf(tmp_path / "model.gguf", stock, "llama", tensors=ones)
    assert worst_difference(path, stock) <= 1e-5
    rotary = load_gguf(GGUFFile.open(path)).config.stack.layers[0].attention.rotary
    assert rotary is not None
    assert rotary.scaling is None


@pytest.mark.parametrize(("kind", "bits"), [
    ("F16", 10), ("BF16", 7), ("Q8_0", 7), ("Q5_1", 4), ("Q5_0", 4), ("Q4_1", 3), ("Q4_0", 3),
])  # fmt: skip
def test_a_quantised_model_is_near_the_one_that_it_was_made_from(
    kind: str, bits: int, tmp_path: Path, write_gguf: WriteGGUF
) -> None:
    stock = stock_model("qwen3", num_attention_heads=4, head_dim=16)
    file = GGUFFile.open(write_gguf(tmp_path / "model.gguf", stock, "qwen3", kind=kind))
    assert stored_gguf_dtype(file) == torch.float32  # as the norms are, which have numbers of no narrower type
    weight = load_gguf(file).embedding.weight
    original = stock.model.embed_tokens.weight
    blocks = (weight - original).abs().view(-1, 32).amax(1) / original.abs().view(-1, 32).amax(1)
    assert 0 < blocks.max() <= 1.1 * 2.0**-bits


@pytest.mark.parametrize(("kind", "others", "dtype"), [
    ("F16", "F16", torch.float16), ("BF16", "BF16", torch.bfloat16), ("F16", "Q8_0", torch.float32),
    ("BF16", "Q8_0", torch.float32), ("Q8_0", "Q8_0", torch.float32),
])  # fmt: skip
def test_the_type_is_the_narrowest_that_holds_every_weight(
    kind: str, others: str, dtype: torch.dtype, tmp_path: Path, write_gguf: WriteGGUF
) -> None:
    """The embedding is of one type, other matrices are of another, norms in float32 have numbers of both."""
    stock = stock_model("llama", num_attention_heads=4, head_dim=16)
    with torch.no_grad():
        for weight in stock.parameters():
            if weight.ndim == 1:
                weight.copy_(weight.bfloat16())
    file = GGUFFile.open(
        write_gguf(tmp_path / "model.gguf", stock, "llama", kind=others, kinds={"token_embd.weight": kind})
    )
    assert stored_gguf_dtype(file) == dtype
    weights = load_gguf(file, dtype=dtype).state_dict()
    for name, weight in load_gguf(file).state_dict().items():
        assert torch.equal(weights[name].float(), weight), name


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "expert_count": ({"expert_count": 8}, "llama.expert_count must be 0; got 8"),
    "rope-part": ({"rope.dimension_count": 4}, "llama.rope.dimension_count must be 8; got 4"),
    "longrope": ({"rope.scaling.type": "longrope"}, 'llama.rope.scaling.type must be "none" or "linear" or "yarn"'),
    "factor": ({"rope.scaling.type": "linear"}, "llama.rope.scaling.factor must be a number above 0; got null"),
    "attn_factor": ({"rope.scaling.attn_factor": 1.5}, "llama.rope.scaling.attn_factor must be 1.0; got 1.5"),
    "parts": ({".split.count": 3}, "is one of 3 parts"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refuses_what_changes_the_arithmetic(case: str, tmp_path: Path, write_gguf: WriteGGUF) -> None:
    metadata, message = REFUSED[case]
    path = write_gguf(tmp_path / "model.gguf", stock_model("llama"), "llama", metadata=metadata)
    with pytest.raises(CheckpointError, match=message):
        load_gguf(GGUFFile.open(path))


def test_refuses_an_architecture_that_is_not_built_here(tmp_path: Path, write_gguf: WriteGGUF) -> None:
    path = write_gguf(tmp_path / "model.gguf", stock_model("llama"), "qwen2moe")
    with pytest.raises(CheckpointError, match=r"unknown general.architecture 'qwen2moe'; did you mean 'qwen3moe'\?"):
        load_gguf(GGUFFile.open(path))


def test_refuses_tensors_that_are_missing_unknown_or_of_another_shape(tmp_path: Path, write_gguf: WriteGGUF) -> None:
    stock = stock_model("llama")
    more = write_gguf(
        tmp_path / "more.gguf", stock, "llama", metadata={}, tensors={"blk.0.odd.weight": np.ones(4, np.float32)}
    )
    with pytest.raises(
        CheckpointError, match=r"holds the unknown tensor blk\.0\.odd\.weight; its metadata say otherwise"
    ):
        load_gguf(GGUFFile.open(more))
    stock.config.num_hidden_layers = 3
    with pytest.raises(CheckpointError, match=r"lacks tensor blk\.2\..* and 8 more"):
        load_gguf(GGUFFile.open(write_gguf(tmp_path / "less.gguf", stock, "llama")))
    stock.config.num_hidden_layers = 2
    stock.config.intermediate_size = 127
    with pytest.raises(CheckpointError, match=r"mlp.gate_proj.weight must be \[127, 96\]; got \[128, 96\]"):
        load_gguf(GGUFFile.open(write_gguf(tmp_path / "other.gguf", stock, "llama")))


def test_numbers_of_the_metadata_are_those_that_were_meant(tmp_path: Path, write_gguf: WriteGGUF) -> None:
    """1e-05 in float32 is 9.999999747378752e-06 in float64."""
    file = GGUFFile.open(write_gguf(tmp_path / "model.gguf", stock_model("llama"), "llama"))
    assert file.metadata["llama.attention.layer_norm_rms_epsilon"] == 1e-05
    assert file.metadata["llama.rope.freq_base"] == THETA
