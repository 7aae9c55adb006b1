"""Folders against transformers, both ways; and every way in which a folder can be wrong."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from torch import Tensor

from danlu.errors import CheckpointError, DanluError, InputError
from danlu.nn.cache import KVCache
from danlu.nn.hf import folder as folder_module
from danlu.nn.hf.folder import load_config, load_model, save_model
from danlu.nn.transformer import Transformer
from danlu.tokenizers.bpe import BPE

MakeModel = Callable[..., Transformer]

CASES: list[tuple[str, dict[str, Any], dict[str, Any]]] = [  # family, our fields, transformers' fields
    ("nanochat", {}, {}),
    ("nanochat", {"softcap": None, "tied": True}, {"final_logit_softcapping": None, "tie_word_embeddings": True}),
    ("nanochat", {"rope_theta": 500.0, "kv_heads": 6}, {"rope_theta": 500.0, "num_key_value_heads": 6}),
    ("llama", {}, {}),
    ("llama", {"tied": True}, {"tie_word_embeddings": True}),
    ("llama", {"norm_eps": 1e-3, "kv_heads": 1}, {"rms_norm_eps": 1e-3, "num_key_value_heads": 1}),
    ("qwen3", {}, {}),
    ("qwen3", {"tied": True, "rope_theta": 1e6}, {"tie_word_embeddings": True, "rope_theta": 1e6}),
]
IDS = [f"{family}-{'-'.join(ours) or 'plain'}" for family, ours, _ in CASES]
CONFIGS = {
    "nanochat": transformers.NanoChatConfig,
    "llama": transformers.LlamaConfig,
    "qwen3": transformers.Qwen3Config,
}


@pytest.fixture(scope="module")
def tokens() -> Tensor:
    """``[2, 33]``"""
    return torch.randint(0, 97, (2, 33), generator=torch.Generator().manual_seed(5))


def stock_model(family: str, fields: dict[str, Any]) -> Any:
    fields = dict(fields)
    rope = {"rope_type": "default", "rope_theta": fields.pop("rope_theta", 10000.0)}
    sizes = {
        "vocab_size": 97, "hidden_size": 36, "num_attention_heads": 6, "num_key_value_heads": 2, "head_dim": 8,
        "intermediate_size": 52, "num_hidden_layers": 3, "max_position_embeddings": 40, "rope_parameters": rope,
        "bos_token_id": 0, "eos_token_id": 0, "pad_token_id": None,
    }  # fmt: skip
    model = transformers.AutoModelForCausalLM.from_config(CONFIGS[family](**{**sizes, **fields}))
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for weight in model.parameters():
            weight.normal_(1.0 if weight.ndim == 1 else 0.0, 0.3, generator=generator)
    return model.eval()


@torch.no_grad()
def assert_same(ours: Transformer, stock: Any, tokens_BT: Tensor) -> None:
    """Logits, loss and 32 greedy tokens."""
    expected = stock(tokens_BT, labels=tokens_BT)
    hidden = ours(tokens_BT)
    logits = ours.head(hidden)
    assert (logits - expected.logits).abs().max() <= 1e-5 * expected.logits.abs().max()
    loss = ours.head.loss(hidden[:, :-1], tokens_BT[:, 1:]) / tokens_BT[:, 1:].numel()
    assert loss.item() == pytest.approx(expected.loss.item(), rel=1e-6)
    prompt = tokens_BT[:1, :7]
    greedy = stock.generate(
        prompt, max_new_tokens=32, min_new_tokens=32, do_sample=False, attention_mask=torch.ones_like(prompt)
    )
    assert greedy_tokens(ours, prompt, 32) == greedy[0, 7:].tolist()


def greedy_tokens(model: Transformer, prompt_BT: Tensor, count: int) -> list[int]:
    """The likeliest tokens, end-of-text never among them."""
    cache = KVCache(model.config, batch=1, length=40, dtype=torch.float32)
    found: list[int] = []
    step = prompt_BT
    while len(found) < count:
        logits = model.head(model(step, cache=cache)[:, -1])
        logits[:, 0] = -torch.inf
        step = logits.argmax(-1, keepdim=True)
        found.append(int(step))
    return found


@pytest.mark.parametrize(("family", "ours", "theirs"), CASES, ids=IDS)
def test_loads_what_transformers_writes(
    family: str, ours: dict[str, Any], theirs: dict[str, Any], tmp_path: Path, tokens: Tensor
) -> None:
    stock = stock_model(family, theirs)
    stock.save_pretrained(tmp_path)
    model = load_model(tmp_path)
    for field, value in ours.items():
        assert getattr(model.config, field) == value
    assert_same(model, stock, tokens)


@pytest.mark.parametrize(("family", "ours", "theirs"), CASES, ids=IDS)
def test_transformers_loads_what_it_writes(
    family: str, ours: dict[str, Any], theirs: dict[str, Any], tmp_path: Path, tokens: Tensor, make_model: MakeModel
) -> None:
    model = make_model(family, **ours)
    save_model(model, tmp_path)
    stock, report = transformers.AutoModelForCausalLM.from_pretrained(
        tmp_path, trust_remote_code=False, output_loading_info=True
    )
    assert not any(report.values()), report
    assert stock.dtype == torch.float32
    assert_same(model, stock, tokens)
    for field, value in theirs.items():
        assert {**stock.config.to_dict(), **stock.config.rope_parameters}[field] == value


@pytest.mark.parametrize(("family", "ours", "theirs"), CASES, ids=IDS)
def test_comes_back_bit_by_bit(
    family: str, ours: dict[str, Any], theirs: dict[str, Any], tmp_path: Path, tokens: Tensor, make_model: MakeModel
) -> None:
    model = make_model(family, **ours)
    save_model(model, tmp_path / "a")
    again = load_model(tmp_path / "a")
    assert again.config == model.config
    assert all(map(torch.equal, model.state_dict().values(), again.state_dict().values()))
    assert len(list(again.parameters())) == len(list(model.parameters()))  # tied stays tied
    assert torch.equal(model.head(model(tokens)), again.head(again(tokens)))
    save_model(again, tmp_path / "b")
    for path in (tmp_path / "a").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes(), path.name


@pytest.mark.parametrize("family", CONFIGS)
def test_reads_several_files_by_their_index(family: str, tmp_path: Path, tokens: Tensor) -> None:
    stock = stock_model(family, {})
    stock.save_pretrained(tmp_path, max_shard_size="20KB")
    assert len(list(tmp_path.glob("model-*.safetensors"))) > 1
    assert_same(load_model(tmp_path), stock, tokens)


def test_the_files_name_the_tokens_that_begin_and_end_a_text(tmp_path: Path, make_model: MakeModel) -> None:
    tokenizer = BPE(vocab_size=257).train(["to be or not to be"])
    (tmp_path / "tokenizer").mkdir()
    tokenizer.save(tmp_path / "tokenizer")
    save_model(make_model(), tmp_path / "model", tokenizer=tmp_path / "tokenizer")
    config = json.loads((tmp_path / "model/config.json").read_text())
    assert (config["bos_token_id"], config["eos_token_id"], config["pad_token_id"]) == (0, 0, None)
    stock = transformers.AutoTokenizer.from_pretrained(tmp_path / "model")
    assert stock("not to be").input_ids == tokenizer.encode("not to be")
    generation = transformers.GenerationConfig.from_pretrained(tmp_path / "model")
    assert (generation.bos_token_id, generation.eos_token_id) == (0, 0)


def test_weights_take_the_type_that_is_asked_for(tmp_path: Path, make_model: MakeModel) -> None:
    model = make_model("llama")
    save_model(model, tmp_path, dtype=torch.bfloat16)
    assert json.loads((tmp_path / "config.json").read_text())["dtype"] == "bfloat16"
    assert {tensor.dtype for tensor in load_file(tmp_path / "model.safetensors").values()} == {torch.bfloat16}
    again = load_model(tmp_path)
    for weight, read in zip(model.parameters(), again.parameters(), strict=True):
        assert torch.equal(read, weight.bfloat16().float())
    assert load_model(tmp_path, dtype=torch.bfloat16).embedding.weight.dtype == torch.bfloat16
    assert transformers.AutoModelForCausalLM.from_pretrained(tmp_path).dtype == torch.bfloat16


def test_loading_draws_no_random_numbers_and_keeps_no_hold_on_the_file(
    tmp_path: Path, tokens: Tensor, make_model: MakeModel
) -> None:
    save_model(make_model(), tmp_path)
    before = torch.get_rng_state()
    model = load_model(tmp_path)
    assert torch.equal(torch.get_rng_state(), before)
    logits = model.head(model(tokens))
    path = tmp_path / "model.safetensors"
    with path.open("r+b") as file:  # the same file, not a new one of its name
        file.write(b"\xff" * path.stat().st_size)
    assert torch.equal(model.head(model(tokens)), logits)


def test_a_failed_save_leaves_the_former_file_and_nothing_else(
    tmp_path: Path, make_model: MakeModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_model(make_model(), tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert set(before) == {"config.json", "generation_config.json", "model.safetensors"}

    def full_disk(tensors: object, path: Path, metadata: object) -> None:
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(folder_module, "save_file", full_disk)
    with pytest.raises(OSError, match="No space"):
        save_model(make_model(seed=1), tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def edit_config(folder: Path, **values: Any) -> None:
    path = folder / "config.json"
    config = {**json.loads(path.read_text()), **values}
    path.write_text(json.dumps({key: value for key, value in config.items() if value != "absent"}))


def edit_tensors(folder: Path, change: Callable[[dict[str, Tensor]], object]) -> None:
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors")


def truncate(folder: Path, size: int) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:size])


def to_pickle(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def to_index(folder: Path, text: str) -> None:
    (folder / "model.safetensors.index.json").write_text(text)


FC1 = "model.layers.0.mlp.fc1.weight"
BAD_CONFIGS: list[tuple[dict[str, Any], str]] = [
    ({"model_type": "nanochatt"}, "unknown model_type 'nanochatt'; did you mean 'nanochat'"),
    ({"model_type": "absent"}, "unknown model_type None"),
    ({"hidden_size": "absent"}, "hidden_size is missing"),
    ({"hidden_size": "36"}, 'hidden_size must be a whole number above 0; got "36"'),
    ({"num_hidden_layers": -3}, "num_hidden_layers must be a whole number above 0; got -3"),
    ({"rms_norm_eps": 0}, "rms_norm_eps must be a number above 0; got 0"),
    ({"tie_word_embeddings": "no"}, "tie_word_embeddings must be true or false"),
    ({"num_key_value_heads": 4}, "kv_heads must divide"),
    ({"attention_bias": True}, "attention_bias must be false; got true"),
    ({"hidden_act": "gelu"}, 'hidden_act must be "relu2"; got "gelu"'),
    ({"rope_parameters": {"rope_type": "yarn"}}, 'rope_type must be "default"'),
    ({"rope_parameters": [1]}, "rope_parameters must be a mapping; got [1]"),
]


@pytest.mark.parametrize(("values", "words"), BAD_CONFIGS, ids=[words[:40] for _, words in BAD_CONFIGS])
def test_says_in_one_line_what_is_wrong_with_a_config(
    values: dict[str, Any], words: str, tmp_path: Path, make_model: MakeModel
) -> None:
    save_model(make_model(), tmp_path)
    edit_config(tmp_path, **values)
    assert_refused(tmp_path, "config.json", words)


@pytest.mark.parametrize(
    ("text", "words"), [('{"model_type":', "is damaged"), ("[]", "must hold a JSON object; got list")]
)
def test_says_in_one_line_that_a_config_is_none(text: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(text)
    assert_refused(tmp_path, "config.json", words)


BAD_WEIGHTS: list[tuple[Callable[[Path], object], str]] = [
    (lambda d: truncate(d, -1), "is damaged"),
    (lambda d: truncate(d, 5), "is damaged"),
    (lambda d: truncate(d, 0), "is damaged"),
    (to_pickle, "is missing; pytorch_model.bin is a pickle, which can run code and is never loaded"),
    (lambda d: edit_tensors(d, lambda t: t.pop(FC1)), f"lacks tensor {FC1}; config.json"),
    (lambda d: edit_tensors(d, lambda t: t.update({FC1: t[FC1][:-1]})), f"{FC1} must be [52, 36]; got [51, 36]"),
    (lambda d: edit_config(d, num_hidden_layers=4), "lacks tensor model.layers.3.self_attn.q_proj.weight and 5 more"),
    (lambda d: edit_config(d, num_hidden_layers=2), "holds the unknown tensor model.layers.2"),
    (lambda d: edit_config(d, vocab_size=96), "model.embed_tokens.weight must be [96, 36]; got [97, 36]"),
    (lambda d: edit_config(d, tie_word_embeddings=True), "lm_head.weight differs from the embedding"),
    (lambda d: to_index(d, '{"weight_map": {"a": "../b"}}'), "index.json: a file must lie in the same folder"),
    (lambda d: to_index(d, '{"weight_map": {"a": "b.safetensors"}}'), "b.safetensors is missing"),
    (lambda d: to_index(d, "{}"), "index.json is damaged"),
]


@pytest.mark.parametrize(("damage", "words"), BAD_WEIGHTS, ids=[words[:40] for _, words in BAD_WEIGHTS])
def test_says_in_one_line_what_is_wrong_with_the_weights(
    damage: Callable[[Path], object], words: str, tmp_path: Path, make_model: MakeModel
) -> None:
    save_model(make_model(), tmp_path)
    load_model(tmp_path)
    damage(tmp_path)
    assert_refused(tmp_path, "safetensors", words)


def assert_refused(folder: Path, file: str, words: str) -> None:
    with pytest.raises(CheckpointError) as error:
        load_model(folder)
    message = str(error.value)
    assert words in message
    assert str(folder) in message and file in message
    assert "\n" not in message


@pytest.mark.parametrize("place", ["missing", "file"])
def test_a_folder_without_a_model_is_bad_input(place: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"no model in .*: config\.json is missing"):
        load_model(tmp_path / place)


def test_sliding_windows_are_refused(tmp_path: Path, make_model: MakeModel) -> None:
    save_model(make_model("qwen3"), tmp_path)
    edit_config(tmp_path, layer_types=["full_attention", "sliding_attention", "full_attention"])
    with pytest.raises(CheckpointError, match="layer_types"):
        load_config(tmp_path)


def test_reads_the_older_form_of_rotary_settings(tmp_path: Path, make_model: MakeModel) -> None:
    save_model(make_model("llama", rope_theta=12345.0), tmp_path)
    edit_config(tmp_path, rope_parameters="absent", rope_theta=54321.0, rope_scaling=None)
    assert load_config(tmp_path).rope_theta == 54321.0
    edit_config(tmp_path, rope_scaling={"type": "linear", "factor": 2.0})
    with pytest.raises(DanluError, match="type must be"):
        load_config(tmp_path)
