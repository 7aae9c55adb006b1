"""What stands beside adapters in a folder of ``peft``: whole modules, and rows of tokens."""

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

from danlu.errors import CheckpointError
from danlu.nn.hf.folder import load_model, save_model
from danlu.nn.hf.peft import load_adapters, save_adapters
from danlu.nn.lora import merge
from danlu.nn.trained_rows import PartlyTrained, Replaced, put_back
from danlu.nn.transformer import Transformer

pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")  # in peft

SIZES = {"vocab_size": 61, "num_hidden_layers": 2, "hidden_size": 32, "intermediate_size": 40, "num_attention_heads": 4}
POSITIONS = {"max_position_embeddings": 40}
LLAMA, BERT = transformers.LlamaConfig, transformers.BertConfig
STOCK: dict[str, Callable[[], Any]] = {
    "llama": lambda: transformers.LlamaForCausalLM(LLAMA(**SIZES, **POSITIONS, tie_word_embeddings=False)),
    "tied": lambda: transformers.LlamaForCausalLM(LLAMA(**SIZES, **POSITIONS, tie_word_embeddings=True)),
    "scored": lambda: transformers.LlamaForSequenceClassification(
        LLAMA(**SIZES, **POSITIONS, num_labels=3, pad_token_id=0)
    ),
    "bert": lambda: transformers.BertForSequenceClassification(BERT(**SIZES, **POSITIONS, num_labels=3)),
    "bare": lambda: transformers.BertModel(BERT(**SIZES, **POSITIONS)),
    "gpt2": lambda: transformers.GPT2LMHeadModel(
        transformers.GPT2Config(
            vocab_size=61, n_embd=32, n_layer=2, n_head=4, n_positions=40, n_inner=40, bos_token_id=0, eos_token_id=0
        )
    ),
}  # fmt: skip
TOKENS = [50, 7, 23]
"""Not in order, and with gaps."""
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "head": ("bert", {"task_type": "SEQ_CLS"}),
    "head of a decoder": ("scored", {"task_type": "SEQ_CLS"}),
    "rows": ("llama", {"trainable_token_indices": TOKENS}),
    "rows and words": ("llama", {"trainable_token_indices": {"embed_tokens": TOKENS}, "modules_to_save": ["lm_head"]}),
    "rows of a tied model": ("tied", {"trainable_token_indices": TOKENS}),
    "rows and head": ("bert", {"task_type": "SEQ_CLS", "trainable_token_indices": TOKENS}),
    "rows of a bare model": ("bare", {"trainable_token_indices": TOKENS, "modules_to_save": ["pooler"]}),
    "embedding": ("llama", {"modules_to_save": ["embed_tokens"]}),
    "half of our layer": ("llama", {"modules_to_save": ["0.mlp.up_proj", "norm"]}),
    "several of our layers": ("gpt2", {"modules_to_save": ["h.1.attn.c_attn"]}),
}
TARGETS = {"llama": ["q_proj"], "tied": ["q_proj"], "scored": ["q_proj"], "bert": ["query"], "bare": ["query"],
           "gpt2": ["c_fc"]}  # fmt: skip


@torch.no_grad()
def shaken(model: Any, seed: int, *, trained: bool) -> Any:
    """Weights that nothing else has: all, or those that peft trains."""
    generator = torch.Generator().manual_seed(seed)
    for name, weight in model.named_parameters():
        if weight.requires_grad or not trained:
            gain = weight.ndim == 1 and name.endswith("weight")
            weight.normal_(1.0 if gain else 0.0, 0.15, generator=generator)
    return model.eval()


def words() -> Tensor:
    """Those of which rows are trained are among them, and others."""
    drawn = torch.randint(5, 61, (2, 12), generator=torch.Generator().manual_seed(1))
    drawn[:, :3] = torch.tensor(TOKENS)
    return drawn


@torch.no_grad()
def their_output(model: Any) -> Tensor:
    out = model(input_ids=words(), attention_mask=torch.ones_like(words()))
    found: Tensor = out.logits if "logits" in out else out.last_hidden_state
    return found


@torch.no_grad()
def our_output(model: Transformer) -> Tensor:
    hidden = model(words())
    bare = model.config.family == "bert" and not hasattr(model.head, "out")
    out: Tensor = hidden if bare else model.head(hidden)
    return out


def assert_near(ours: Tensor, theirs: Tensor) -> None:
    assert (ours - theirs).abs().max() <= 2e-5 * theirs.abs().max()


def adapted(name: str, folder: Path) -> tuple[Any, Tensor]:
    """A stock model, which lies in ``folder/base``, and what it gives with the adapter in ``folder/theirs``."""
    family, settings = CASES[name]
    stock = shaken(STOCK[family](), 1, trained=False)
    stock.save_pretrained(folder / "base")
    config = peft.LoraConfig(r=2, target_modules=TARGETS[family], fan_in_fan_out=family == "gpt2", **settings)
    theirs = shaken(peft.get_peft_model(copy.deepcopy(stock), config), 2, trained=True)
    theirs.save_pretrained(folder / "theirs")
    return stock, their_output(theirs)


@pytest.mark.parametrize("name", CASES)
def test_what_peft_writes_is_read_and_written_again(name: str, tmp_path: Path) -> None:
    stock, expected = adapted(name, tmp_path)
    ours = load_model(tmp_path / "base").eval()
    without = our_output(ours)
    load_adapters(ours, tmp_path / "theirs")
    assert_near(our_output(ours), expected)
    assert (expected - without).abs().max() > 0.01 * without.abs().max()
    save_adapters(ours, tmp_path / "ours")
    again = peft.PeftModel.from_pretrained(copy.deepcopy(stock), tmp_path / "ours").eval()
    assert_near(their_output(again), expected)
    mine, theirs = (load_file(tmp_path / side / "adapter_model.safetensors") for side in ("ours", "theirs"))
    assert mine.keys() >= theirs.keys() and all(mine[key].shape == each.shape for key, each in theirs.items())
    merge(ours)
    put_back(ours)
    assert_near(our_output(ours), expected)
    save_model(ours, tmp_path / "merged")
    assert_near(our_output(load_model(tmp_path / "merged").eval()), expected)


@pytest.mark.parametrize("name", ["head", "head of a decoder"])
def test_a_head_that_the_settings_do_not_name(name: str, tmp_path: Path) -> None:
    """As older versions of ``peft`` have written it."""
    _, expected = adapted(name, tmp_path)
    path = tmp_path / "theirs/adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"modules_to_save": None}))
    ours = load_model(tmp_path / "base").eval()
    load_adapters(ours, tmp_path / "theirs")
    assert_near(our_output(ours), expected)


def test_what_is_beside_learns_and_nothing_else(tmp_path: Path) -> None:
    adapted("rows and words", tmp_path)
    ours = load_model(tmp_path / "base")
    load_adapters(ours, tmp_path / "theirs")
    trained = {name for name, weight in ours.named_parameters() if weight.requires_grad and ".adapter." not in name}
    assert trained == {"head.weight", "embedding.rows"} and isinstance(ours.embedding, PartlyTrained)
    ours(words()).square().sum().backward()
    gradient = ours.embedding.rows.grad
    assert gradient is not None and gradient.abs().amax(1).min() > 0 and ours.embedding.weight.grad is None


def test_rows_to_which_a_head_is_tied_stay(tmp_path: Path) -> None:
    """They would have to learn at both places."""
    adapted("rows of a tied model", tmp_path)
    ours = load_model(tmp_path / "base")
    load_adapters(ours, tmp_path / "theirs")
    assert isinstance(ours.embedding, Replaced) and ours.head.weight is ours.embedding.weight
    assert all(".adapter." in name for name, weight in ours.named_parameters() if weight.requires_grad)


@pytest.mark.parametrize("family", ["llama", "tied"])
@pytest.mark.parametrize("settings", [{}, {"trainable_token_indices": [61, 62, 7]}])
def test_an_embedding_that_has_got_rows(family: str, settings: dict[str, Any], tmp_path: Path) -> None:
    """peft writes it whole, with the head, when it knows the base model's folder to be of fewer tokens."""
    stock = shaken(STOCK[family](), 1, trained=False)
    stock.save_pretrained(tmp_path / "base")
    theirs = type(stock).from_pretrained(tmp_path / "base")
    theirs.resize_token_embeddings(64, mean_resizing=False)
    theirs.save_pretrained(tmp_path / "larger")
    shaken(theirs, 4, trained=False)
    config = peft.LoraConfig(r=2, target_modules=["q_proj"], **settings)
    with_adapter = shaken(peft.get_peft_model(theirs, config), 2, trained=True)
    with pytest.warns(UserWarning, match="embedding layer has been resized"):
        with_adapter.save_pretrained(tmp_path / "theirs")
    rows = {name for name in load_file(tmp_path / "theirs" / "adapter_model.safetensors") if "lora" not in name}
    assert any("embed_tokens" in name for name in rows)
    ours = load_model(tmp_path / "larger").eval()
    load_adapters(ours, tmp_path / "theirs")
    expected = peft.PeftModel.from_pretrained(type(stock).from_pretrained(tmp_path / "larger"), tmp_path / "theirs")
    assert_near(our_output(ours), their_output(expected.eval()))


def test_what_does_not_fit_is_told_and_changes_nothing(tmp_path: Path) -> None:
    adapted("rows and words", tmp_path)
    adapted("rows of a tied model", tmp_path / "tied")
    path = tmp_path / "theirs" / "adapter_model.safetensors"
    whole = load_file(path)
    rows = "base_model.model.model.embed_tokens.token_adapter.trainable_tokens_delta"

    def fails(tensors: dict[str, Tensor], said: str, base: Path = tmp_path / "base") -> None:
        save_file(tensors, path)
        model = load_model(base)
        before = our_output(model)
        with pytest.raises(CheckpointError, match=said) as raised:
            load_adapters(model, tmp_path / "theirs")
        assert "\n" not in str(raised.value) and str(tmp_path) in str(raised.value)
        assert torch.equal(our_output(model), before) and type(model.embedding) is torch.nn.Embedding

    fails({name: each for name, each in whole.items() if name != rows}, f"lacks tensor {rows}")
    fails({**whole, rows: torch.zeros(3, 9)}, r"trainable_tokens_delta must be \[3, 32\]; got \[3, 9\]")
    head = "base_model.model.lm_head.weight"
    fails({name: each for name, each in whole.items() if name != head}, f"lacks tensor {head}")
    fails({**whole, head: torch.zeros(60, 32)}, r"lm_head.weight must be \[61, 32\]; got \[60, 32\]")
    fails({**whole, "base_model.model.model.norm.weight": torch.zeros(32)}, "unknown tensor .*norm.weight")
    config = tmp_path / "theirs" / "adapter_config.json"
    settings = json.loads(config.read_text()) | {"modules_to_save": ["embed_tokens"]}
    config.write_text(json.dumps(settings))
    fails(
        whole, "modules_to_save must be without the embedding, to which the head is tied here", tmp_path / "tied/base"
    )
    fails({**whole, "base_model.model.model.embed_tokens.weight": torch.zeros(61, 32)}, "must be null where modules_to")
