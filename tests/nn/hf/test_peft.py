"""Adapters of ``peft`` in and out: logits of its model and of ours with the same adapter, and what is refused."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from torch import Tensor

from danlu.errors import CheckpointError, DanluError, InputError, RecipeError
from danlu.nn.hf.folder import load_model, save_model
from danlu.nn.hf.peft import load_adapters, save_adapters
from danlu.nn.lora import LoRA, adapted_layers, add_adapters, merge
from danlu.nn.quantized import QuantizedLinear, quantize
from danlu.nn.transformer import Transformer

pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")  # in peft

SIZES = {"vocab_size": 97, "num_hidden_layers": 2, "hidden_size": 36, "intermediate_size": 52, "num_attention_heads": 6}
POSITIONS = {"max_position_embeddings": 40}
SPECIAL = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "cls_token_id": 1, "sep_token_id": 2}
STOCK: dict[str, Callable[[], Any]] = {
    "llama": lambda: transformers.LlamaForCausalLM(
        transformers.LlamaConfig(**SIZES, **POSITIONS, num_key_value_heads=2)
    ),
    "gpt2": lambda: transformers.GPT2LMHeadModel(
        transformers.GPT2Config(
            vocab_size=97, n_embd=36, n_layer=2, n_head=6, n_positions=40, n_inner=50, bos_token_id=0, eos_token_id=0
        )
    ),
    "bert": lambda: transformers.BertForMaskedLM(transformers.BertConfig(**SIZES, **POSITIONS)),
    "bare": lambda: transformers.BertModel(transformers.BertConfig(**SIZES, **POSITIONS)),
    "t5": lambda: transformers.T5ForConditionalGeneration(
        transformers.T5Config(
            vocab_size=97, d_model=36, d_kv=8, d_ff=52, num_layers=2, num_heads=6, feed_forward_proj="gated-gelu",
            tie_word_embeddings=False,
        )
    ),
    "modernbert": lambda: transformers.ModernBertForMaskedLM(
        transformers.ModernBertConfig(**SIZES, **POSITIONS, **SPECIAL, local_attention=8)
    ),
}  # fmt: skip
EVERYTHING = {
    "llama": ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"],
    "gpt2": ["c_attn", "c_proj", "c_fc"],
    "bert": ["query", "key", "value", "dense"],
    "bare": ["query", "intermediate.dense"],
    "t5": ["q", "k", "v", "o", "wi_0", "wi_1", "wo"],
    "modernbert": ["Wqkv", "Wo", "Wi"],
}
SOME = {
    "llama": (["q_proj", "gate_proj"], "layers.1.self_attn.q_proj"),
    "gpt2": (["c_attn"], "h.1.attn.c_attn"),
    "bert": (["value", "output.dense"], "layer.1.attention.self.value"),
    "bare": (["key"], "layer.0.attention.self.key"),
    "t5": (["wi_1", "v"], "decoder.block.1.layer.1.EncDecAttention.v"),
    "modernbert": (["Wqkv", "mlp.Wo"], "layers.1.attn.Wqkv"),
}
VARIANTS: dict[str, dict[str, Any]] = {
    "lora": {},
    "rslora": {"use_rslora": True},
    "dora": {"use_dora": True},
}


@torch.no_grad()
def stock_model(family: str) -> Any:
    model = STOCK[family]().eval()
    generator = torch.Generator().manual_seed(1)
    for name, weight in model.named_parameters():
        gain = weight.ndim == 1 and name.endswith("weight")
        weight.normal_(1.0 if gain else 0.0, 0.15, generator=generator)
    return model


@torch.no_grad()
def peft_model(stock: Any, family: str, **settings: Any) -> Any:
    """An adapter that has learnt something: no matrix of it is 0."""
    settings = {"r": 4, "lora_alpha": 6, "target_modules": EVERYTHING[family], "init_lora_weights": False, **settings}
    model = peft.get_peft_model(stock, peft.LoraConfig(fan_in_fan_out=family == "gpt2", **settings)).eval()
    generator = torch.Generator().manual_seed(2)
    for name, weight in model.named_parameters():
        if "lora_magnitude" in name:
            weight.mul_(1 + 0.3 * torch.rand(weight.shape, generator=generator))
        elif "lora_" in name:
            weight.normal_(0.0, 0.1, generator=generator)
    return model


def tokens(seed: int, length: int) -> Tensor:
    return torch.randint(5, 97, (2, length), generator=torch.Generator().manual_seed(seed))


@torch.no_grad()
def their_output(model: Any) -> Tensor:
    inputs = {"decoder_input_ids": tokens(2, 7)} if model.config.is_encoder_decoder else {}
    out = model(input_ids=tokens(1, 21), **inputs)
    found: Tensor = out.logits if "logits" in out else out.last_hidden_state
    return found


@torch.no_grad()
def our_output(model: Transformer) -> Tensor:
    if model.encoder is not None and model.decoder is not None:
        logits: Tensor = model.head(model(tokens(2, 7), memory=model.encode(tokens(1, 21))))
        return logits
    hidden = model(tokens(1, 21))
    return hidden if model.config.family == "bert" and model.config.words is None else model.head(hidden)


def assert_near(ours: Tensor, theirs: Tensor) -> None:
    assert (ours - theirs).abs().max() <= 1e-5 * theirs.abs().max()


def both(family: str, folder: Path, **settings: Any) -> tuple[Any, Transformer, Tensor]:
    """Stock model, ours with the adapter that peft wrote, and the logits of peft's."""
    stock = stock_model(family)
    stock.save_pretrained(folder / "base")
    without = their_output(stock)
    adapted = peft_model(copy.deepcopy(stock), family, **settings)
    adapted.save_pretrained(folder / "theirs")
    expected = their_output(adapted)
    assert (expected - without).abs().max() > 0.01 * without.abs().max()  # the adapter does something
    ours = load_model(folder / "base").eval()
    load_adapters(ours, folder / "theirs")
    return stock, ours, expected


def assert_written(stock: Any, ours: Transformer, folder: Path, expected: Tensor) -> None:
    """peft loads what is written, says that nothing is missing, and computes the same."""
    save_adapters(ours, folder)
    again = peft.PeftModel.from_pretrained(copy.deepcopy(stock), folder).eval()
    adapters = {name for name in again.state_dict() if "lora_" in name}
    assert len(adapters) == len(load_file(folder / "adapter_model.safetensors"))
    assert_near(their_output(again), expected)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("family", STOCK)
def test_adapters_of_all_layers_in_and_out(family: str, variant: str, tmp_path: Path) -> None:
    stock, ours, expected = both(family, tmp_path, **VARIANTS[variant])
    assert_near(our_output(ours), expected)
    assert_written(stock, ours, tmp_path / "ours", expected)
    mine, theirs = (load_file(tmp_path / side / "adapter_model.safetensors") for side in ("ours", "theirs"))
    assert mine.keys() == theirs.keys()
    assert all(torch.equal(mine[name], theirs[name]) for name in theirs)
    again = load_model(tmp_path / "base").eval()
    load_adapters(again, tmp_path / "ours")
    assert torch.equal(our_output(again), our_output(ours))
    merge(ours)
    assert_near(our_output(ours), expected)


@pytest.mark.parametrize("rslora", [False, True])
@pytest.mark.parametrize("family", STOCK)
def test_ranks_and_alphas_by_pattern_on_some_layers(family: str, rslora: bool, tmp_path: Path) -> None:
    targets, special = SOME[family]
    alphas = {special: 2.5} if special.endswith(targets[-1]) else {special: 2.5, targets[-1]: 9}
    patterns = {"rank_pattern": {special: 7}, "alpha_pattern": alphas}
    stock, ours, expected = both(family, tmp_path, target_modules=targets, use_rslora=rslora, **patterns)
    assert_near(our_output(ours), expected)
    assert_written(stock, ours, tmp_path / "ours", expected)
    written = json.loads((tmp_path / "ours" / "adapter_config.json").read_text())
    assert set(written["rank_pattern"].values()) | {written["r"]} == {4, 7}


@pytest.mark.parametrize("dora", [False, True])
@pytest.mark.parametrize("targets", [("blocks.*",), ("query", "blocks.1.*value", "up")])
@pytest.mark.parametrize("family", STOCK)
def test_our_own_adapters_out_and_in(family: str, targets: tuple[str, ...], dora: bool, tmp_path: Path) -> None:
    stock = stock_model(family)
    stock.save_pretrained(tmp_path / "base")
    ours = load_model(tmp_path / "base").eval()
    add_adapters(ours, LoRA(rank=3, alpha=5, dora=dora, rank_stabilised=dora, targets=targets))
    shake(ours)
    expected = our_output(ours)
    assert_written(stock, ours, tmp_path / "ours", expected)
    again = load_model(tmp_path / "base").eval()
    load_adapters(again, tmp_path / "ours")
    assert_near(our_output(again), expected)


@torch.no_grad()
def shake(model: Transformer) -> None:
    generator = torch.Generator().manual_seed(3)
    for weight in model.parameters():
        if weight.requires_grad:
            weight.add_(torch.randn(weight.shape, generator=generator), alpha=0.1)


def test_queries_keys_and_values_that_are_one_layer_there_share_a_matrix(tmp_path: Path) -> None:
    _, ours, _ = both("gpt2", tmp_path)
    layers = adapted_layers(ours)
    query, key = (layers[f"decoder.blocks.0.attention.{name}"].adapters[0] for name in ("query", "key"))
    assert query.a is key.a
    our_output(ours)
    hidden = ours(tokens(1, 21))
    ours.head.loss(hidden[:, :-1], tokens(1, 21)[:, 1:]).backward()
    with torch.no_grad():
        query.a -= 0.1 * query.a.grad
    save_adapters(ours, tmp_path / "trained")
    written = load_file(tmp_path / "trained" / "adapter_model.safetensors")
    assert written["base_model.model.transformer.h.0.attn.c_attn.lora_A.weight"].shape == (4, 36)  # still of rank 4


def test_gate_and_value_have_adapters_of_their_own(tmp_path: Path) -> None:
    _, ours, _ = both("llama", tmp_path, target_modules=["up_proj"])
    layer = adapted_layers(ours)["decoder.blocks.0.mlp.up"]
    assert (layer.parts, list(layer.adapters)) == (2, [1])


def test_what_is_trained_is_the_adapters_and_dropout_is_read(tmp_path: Path) -> None:
    _, ours, _ = both("t5", tmp_path, lora_dropout=0.25)
    trained = {name for name, weight in ours.named_parameters() if weight.requires_grad}
    assert trained and all(".adapter." in name for name in trained)
    assert {layer.dropout for layer in adapted_layers(ours).values()} == {0.25}
    save_adapters(ours, tmp_path / "ours", base="path/to/base")
    written = json.loads((tmp_path / "ours" / "adapter_config.json").read_text())
    assert (written["lora_dropout"], written["task_type"]) == (0.25, None)
    assert written["base_model_name_or_path"] == "path/to/base"
    assert set(written["target_modules"]) == set(EVERYTHING["t5"])


def test_adapters_over_a_quantised_model(tmp_path: Path) -> None:
    both("llama", tmp_path, use_dora=True)
    ours = load_model(tmp_path / "base").eval()
    quantize(ours, "int8")
    plain = copy.deepcopy(ours)
    for layer in [layer for layer in plain.modules() if isinstance(layer, QuantizedLinear)]:
        layer.__class__ = _Decoded  # the same numbers, multiplied the plain way
    for model in (ours, plain):
        load_adapters(model, tmp_path / "theirs")
    assert_near(our_output(ours), our_output(plain))
    save_adapters(ours, tmp_path / "ours")
    mine, theirs = (load_file(tmp_path / side / "adapter_model.safetensors") for side in ("ours", "theirs"))
    assert all(torch.equal(mine[name], theirs[name]) for name in theirs)


class _Decoded(QuantizedLinear):
    def product(self, x: Tensor) -> Tensor:
        return x @ self.weight.T


@pytest.fixture(scope="module")
def adapter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a Llama in ``base`` and an adapter in ``theirs``."""
    folder = tmp_path_factory.mktemp("adapter")
    both("llama", folder, target_modules=["q_proj", "gate_proj"])
    return folder


Q = "base_model.model.model.layers.0.self_attn.q_proj"


def changed(adapter: Path, folder: Path, config: dict[str, Any], tensors: dict[str, Tensor | None]) -> Path:
    """The adapter with other settings and tensors; None takes one away."""
    folder.mkdir(exist_ok=True)
    settings = json.loads((adapter / "theirs" / "adapter_config.json").read_text())
    (folder / "adapter_config.json").write_text(json.dumps({**settings, **config}))
    found = {**load_file(adapter / "theirs" / "adapter_model.safetensors"), **tensors}
    save_file({n: t for n, t in found.items() if t is not None}, folder / "adapter_model.safetensors")
    return folder


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"peft_type": "IA3"}, 'peft_type must be "LORA"; got "IA3"'),
        ({"bias": "all"}, 'bias must be "none"; got "all"'),
        ({"bias": "lora_only"}, 'bias must be "none"; got "lora_only"'),
        ({"modules_to_save": ["lm_head"]}, "lacks tensor base_model.model.lm_head.weight; adapter_config.json says"),
        ({"modules_to_save": "lm_head"}, 'modules_to_save must be a list of names; got "lm_head"'),
        ({"modules_to_save": [""]}, r'modules_to_save must be a list of names; got \[""\]'),
        ({"trainable_token_indices": [1]}, "lacks tensor .*embed_tokens.token_adapter.trainable_tokens_delta"),
        ({"trainable_token_indices": [1, 97]}, "trainable_token_indices must be below 97, .*; got 97"),
        ({"trainable_token_indices": [1, 1]}, r"must be different token ids from 0; got \[1, 1\]"),
        ({"trainable_token_indices": [True]}, r"must be different token ids from 0; got \[true\]"),
        ({"trainable_token_indices": 3}, "must be a list of token ids, or such lists by an embedding's name; got 3"),
        ({"trainable_token_indices": {"lm_head": [1]}}, 'must be of model.embed_tokens, .*; got "lm_head"'),
        ({"target_parameters": ["mlp.experts.gate_up_proj"]}, "target_parameters must be null"),
        ({"lora_bias": True}, "lora_bias must be null"),
        ({"layer_replication": [[0, 2]]}, "layer_replication must be null"),
        ({"setting_of_tomorrow": 3}, "setting_of_tomorrow must be null"),
        ({"init_lora_weights": "pissa"}, 'init_lora_weights must be true or false or .*; got "pissa"'),
        ({"rank_pattern": {"q_proj": 5}}, r"q_proj\.lora_A\.weight must be \[5, 36\]; got \[4, 36\]"),
        ({"r": 0}, "r must be a whole number above 0; got 0"),
        ({"alpha_pattern": {"(": 5}}, "alpha_pattern: '\\(' is no pattern"),
        ({"alpha_pattern": [5]}, "alpha_pattern must be a mapping"),
        (
            {"alpha_pattern": {"(a+)+b": 5}},
            "alpha_pattern must be patterns with at most 3 repeats and no repeated group",
        ),
        ({"rank_pattern": {".*.*.*.*q": 5}}, "rank_pattern must be patterns with at most 3 repeats"),
        ({"rank_pattern": {".?" * 40 + "!": 5}}, "rank_pattern must be patterns with at most 3 repeats"),
        ({"rank_pattern": {"(.|.)" * 31 + "!": 5}}, "rank_pattern must be patterns with at most 3 repeats"),
        ({"use_dora": True}, "lacks tensor .*lora_magnitude_vector"),
    ],
)
def test_settings_that_are_not_built_are_refused(
    config: dict[str, Any], said: str, adapter: Path, tmp_path: Path
) -> None:
    model = load_model(adapter / "base")
    with pytest.raises(CheckpointError, match=said) as raised:
        load_adapters(model, changed(adapter, tmp_path, config, {}))
    assert "\n" not in str(raised.value) and str(tmp_path) in str(raised.value)
    assert not adapted_layers(model)


@pytest.mark.parametrize(
    ("tensors", "said"),
    [
        ({f"{Q}.lora_A.weight": None}, f"lacks tensor {Q}.lora_A.weight"),
        ({f"{Q}.lora_B.weight": torch.zeros(35, 4)}, r"q_proj.lora_B.weight must be \[36, 4\]; got \[35, 4\]"),
        ({f"{Q}.lora_magnitude_vector": torch.zeros(36)}, "unknown tensor .*lora_magnitude_vector"),
        ({"base_model.model.model.embed_tokens.lora_embedding_A": torch.zeros(4, 97)}, "adapts an embedding"),
        ({"base_model.model.lm_head.weight": torch.zeros(97, 36)}, "unknown tensor base_model.model.lm_head.weight"),
        (
            {f"base_model.model.lm_head.lora_{x}.weight": torch.zeros(4, 4) for x in "AB"},
            "lm_head is no linear layer of this model",
        ),
        (
            {f"base_model.model.model.layers.9.mlp.up_proj.lora_{x}.weight": torch.zeros(4, 4) for x in "AB"},
            "model.layers.9.mlp.up_proj is no linear layer of this model",
        ),
    ],
)
def test_tensors_that_do_not_fit_are_refused(
    tensors: dict[str, Tensor | None], said: str, adapter: Path, tmp_path: Path
) -> None:
    model = load_model(adapter / "base")
    with pytest.raises(CheckpointError, match=said):
        load_adapters(model, changed(adapter, tmp_path, {}, tensors))
    assert not adapted_layers(model)


def test_files_that_are_missing_or_damaged(adapter: Path, tmp_path: Path) -> None:
    def fails(kind: type[DanluError], said: str) -> None:
        with pytest.raises(kind, match=said):
            load_adapters(load_model(adapter / "base"), tmp_path)

    fails(InputError, f"no adapter in {tmp_path}: adapter_config.json is missing")
    config = changed(adapter, tmp_path, {}, {}) / "adapter_config.json"
    weights = tmp_path / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-9])
    fails(CheckpointError, f"{weights} is damaged")
    weights.unlink()
    fails(CheckpointError, f"{weights} is missing$")
    (tmp_path / "adapter_model.bin").touch()
    fails(CheckpointError, f"{weights} is missing; adapter_model.bin is a pickle")
    save_file({}, weights)
    fails(CheckpointError, f"{weights} holds no adapter")
    config.write_text("[]")
    fails(CheckpointError, f"{config} must hold a JSON object; got list")
    config.write_text("{")
    fails(CheckpointError, f"{config} is damaged")


def test_one_adapter_at_a_time_and_none_to_write(adapter: Path, tmp_path: Path) -> None:
    model = load_model(adapter / "base")
    with pytest.raises(RecipeError, match="the model has no adapters to write"):
        save_adapters(model, tmp_path)
    load_adapters(model, adapter / "theirs")
    with pytest.raises(RecipeError, match="has adapters already; merge or remove them first"):
        load_adapters(model, adapter / "theirs")
    merge(model)
    save_model(model, tmp_path / "merged")
    stock = transformers.LlamaForCausalLM.from_pretrained(tmp_path / "merged").eval()
    base = transformers.LlamaForCausalLM.from_pretrained(adapter / "base")
    expected = their_output(peft.PeftModel.from_pretrained(base, adapter / "theirs").eval())
    assert_near(their_output(stock), expected)
