"""Every architecture of GGUF files: random models of transformers, written as llama.cpp's converter writes them.

Names come from the package gguf; the metadata and what is done to tensors are those of ``convert_hf_to_gguf.py``.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from torch import Tensor

from danlu import cli
from danlu.errors import CheckpointError, DanluError
from danlu.nn.hf.folder import load_config, load_model
from danlu.nn.hf.gguf import ARCHITECTURES, load_gguf
from danlu.nn.hf.gguf_file import GGUFFile
from danlu.nn.hf.gguf_tokenizer import write_tokenizer
from danlu.nn.patterns import Full, Window
from danlu.nn.transformer import Transformer

gguf = pytest.importorskip("gguf")

WORDS, LONGEST = 97, 40
DECODER = {
    "vocab_size": WORDS, "hidden_size": 48, "num_attention_heads": 6, "num_key_value_heads": 2, "head_dim": 8,
    "intermediate_size": 56, "num_hidden_layers": 2, "max_position_embeddings": LONGEST, "tie_word_embeddings": False,
    "rope_parameters": {"rope_type": "default", "rope_theta": 500.0}, "pad_token_id": None,
}  # fmt: skip
ENCODER = {
    "vocab_size": WORDS, "hidden_size": 36, "num_hidden_layers": 4, "num_attention_heads": 6, "intermediate_size": 52,
    "max_position_embeddings": LONGEST, "pad_token_id": 0,
}  # fmt: skip
MOE = {"num_experts": 5, "num_experts_per_tok": 2, "moe_intermediate_size": 768, "norm_topk_prob": True}
FIRST_T5 = {
    "vocab_size": WORDS, "d_model": 32, "d_kv": 6, "d_ff": 40, "num_layers": 2, "num_decoder_layers": 3, "num_heads": 4,
    "relative_attention_num_buckets": 8, "feed_forward_proj": "relu", "tie_word_embeddings": True,
    "decoder_start_token_id": 0,
}  # fmt: skip
LATER_T5 = {**FIRST_T5, "feed_forward_proj": "gated-gelu", "tie_word_embeddings": False, "num_decoder_layers": 2}
GPT2 = {"vocab_size": WORDS, "n_positions": 1024, "n_embd": 36, "n_layer": 2, "n_head": 6, "n_inner": 144,
        "bos_token_id": 0, "eos_token_id": 0}  # fmt: skip
OTHER_GPT2 = {**GPT2, "n_positions": LONGEST, "n_inner": 52, "tie_word_embeddings": False, "layer_norm_epsilon": 1e-3}
LOCAL = {"local_attention": 8, "global_attn_every_n_layers": 3, "norm_eps": 1e-3}

CASES: dict[str, tuple[str, str, dict[str, Any]]] = {  # architecture, class of transformers, its fields
    "llama": ("llama", "Llama", DECODER),
    "mistral": ("llama", "Mistral", {**DECODER, "sliding_window": 7}),
    "mistral-full": ("llama", "Mistral", {**DECODER, "sliding_window": None}),
    "qwen3moe": ("qwen3moe", "Qwen3Moe", {**DECODER, **MOE}),
    "gpt2": ("gpt2", "GPT2", GPT2),
    "gpt2-untied": ("gpt2", "GPT2", OTHER_GPT2),
    "t5": ("t5", "T5", FIRST_T5),
    "t5-later": ("t5", "T5", LATER_T5),
    "bert": ("bert", "Bert", {**ENCODER, "type_vocab_size": 3, "layer_norm_eps": 1e-3}),
    "modern-bert": ("modern-bert", "ModernBert", {**ENCODER, **LOCAL}),
}
LOADED_BY_TRANSFORMERS = ("llama", "qwen3moe", "gpt2", "t5-later")
"""With ``gguf_file``; it takes Mistral for Llama, every T5 for one with gates, some sizes for the published ones."""
CLASSES = {"GPT2": "GPT2LMHeadModel", "T5": "T5ForConditionalGeneration", "Bert": "BertModel",
           "ModernBert": "ModernBertModel"}  # fmt: skip


def stock_model(case: str) -> Any:
    _, stem, fields = CASES[case]
    config = getattr(transformers, f"{stem}Config")(**fields)
    model = getattr(transformers, CLASSES.get(stem, f"{stem}ForCausalLM"))(config)
    if case == "t5-later":  # as transformers loads it from a folder with a head of its own
        model.lm_head.weight = torch.nn.Parameter(torch.empty(WORDS, 32))
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for weight in model.parameters():
            weight.normal_(1.0 if weight.ndim == 1 else 0.0, 0.2, generator=generator)
    return model.eval()


def add_metadata(writer: Any, architecture: str, config: Any) -> None:
    """As the class of this architecture in llama.cpp's converter does."""
    writer.add_name("Tiny " + config.model_type)
    heads, dim = config.num_attention_heads, config.hidden_size
    t5, gpt2 = architecture == "t5", architecture == "gpt2"
    writer.add_context_length(512 if t5 else config.max_position_embeddings)
    writer.add_embedding_length(dim)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.d_ff if t5 else config.n_inner if gpt2 else config.intermediate_size)
    writer.add_head_count(heads)
    if architecture in ("llama", "qwen3moe"):
        writer.add_head_count_kv(config.num_key_value_heads)
        writer.add_key_length(config.head_dim)
        writer.add_value_length(config.head_dim)
        writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
        writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    if getattr(config, "sliding_window", None) and config.model_type == "mistral":
        writer.add_sliding_window(config.sliding_window)
    if architecture == "qwen3moe":
        writer.add_expert_count(config.num_experts)
        writer.add_expert_used_count(config.num_experts_per_tok)
        writer.add_expert_feed_forward_length(config.moe_intermediate_size)
    if gpt2:
        writer.add_layer_norm_eps(config.layer_norm_epsilon)
    if t5:
        writer.add_decoder_block_count(config.num_decoder_layers)
        writer.add_key_length(config.d_kv)
        writer.add_value_length(config.d_kv)
        writer.add_layer_norm_eps(config.layer_norm_epsilon)
        writer.add_layer_norm_rms_eps(config.layer_norm_epsilon)
        writer.add_relative_attn_buckets_count(config.relative_attention_num_buckets)
        writer.add_decoder_start_token_id(config.decoder_start_token_id)
    if "bert" in architecture:
        writer.add_causal_attention(False)
        writer.add_layer_norm_eps(config.layer_norm_eps if architecture == "bert" else config.norm_eps)
    if architecture == "modern-bert":
        writer.add_sliding_window(config.local_attention)
        writer.add_sliding_window_pattern(3)
        writer.add_rope_scaling_type(gguf.RopeScalingType.NONE)
        writer.add_rope_freq_base(config.rope_parameters["full_attention"]["rope_theta"])
        writer.add_rope_freq_base_swa(config.rope_parameters["sliding_attention"]["rope_theta"])


def converted(architecture: str, stock: Any) -> Iterator[tuple[str, np.ndarray]]:
    """The tensors as the converter writes them."""
    config = stock.config
    number = next(each for each, name in gguf.MODEL_ARCH_NAMES.items() if name == architecture)
    table = gguf.get_tensor_name_map(number, 4)
    for name, tensor in parted(stock):
        if name.startswith("pooler.") or (name.endswith("embed_tokens.weight") and architecture == "t5"):
            continue
        if name == "lm_head.weight" and tensor.data_ptr() == stock.get_input_embeddings().weight.data_ptr():
            continue
        values = tensor
        if architecture == "gpt2" and name.endswith((".c_attn.weight", ".c_proj.weight", ".c_fc.weight")):
            values = values.T
        if architecture == "llama" and (".q_proj." in name or ".k_proj." in name):
            heads = config.num_attention_heads if ".q_proj." in name else config.num_key_value_heads
            values = values.view(heads, 2, -1, *values.shape[1:]).swapaxes(1, 2).reshape(values.shape)
        stem, _, ending = name.rpartition(".")
        yield f"{table.get_name(stem)}.{ending}", np.ascontiguousarray(values.numpy())


def parted(stock: Any) -> Iterator[tuple[str, Tensor]]:
    """The tensors of the folder; transformers keeps experts' gates and what they gate in one."""
    for name, tensor in stock.state_dict().items():
        if name.endswith("experts.gate_up_proj"):
            for part, values in zip(("gate_proj", "up_proj"), tensor.chunk(2, 1), strict=True):
                yield name.replace("gate_up_proj", part) + ".weight", values
        else:
            yield name + (".weight" if name.endswith("experts.down_proj") else ""), tensor


def write(
    path: Path, case: str, stock: Any, *, change: Callable[[Any, dict[str, np.ndarray]], object] | None = None
) -> Path:
    """A file with the model; ``change`` gets writer and tensors before anything is written."""
    architecture = CASES[case][0]
    writer = gguf.GGUFWriter(path, architecture)
    add_metadata(writer, architecture, stock.config)
    tensors = dict(converted(architecture, stock))
    if change is not None:
        change(writer, tensors)
    for name, values in tensors.items():
        writer.add_tensor(name, values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


@torch.no_grad()
def outcome(model: Any) -> Tensor:
    """Logits, or hidden states where there is no head: of our model or of one of transformers."""
    tokens_BT = torch.randint(0, WORDS, (2, 33), generator=torch.Generator().manual_seed(5))
    answers_BT = tokens_BT[:, :17].flip(1)
    if not isinstance(model, Transformer):
        both = {"decoder_input_ids": answers_BT} if model.config.is_encoder_decoder else {}
        out = model(tokens_BT, **both)
        found: Tensor = out.logits if "logits" in out else out.last_hidden_state
        return found
    if model.config.encoder is None:
        return model.head(model(tokens_BT))
    if model.config.decoder is None:
        return model(tokens_BT)
    return model.head(model(answers_BT, memory=model.encode(tokens_BT)))


def assert_same(ours: Tensor, theirs: Tensor) -> None:
    assert ours.shape == theirs.shape
    assert float((ours - theirs).abs().max() / theirs.abs().max()) <= 1e-5


@pytest.mark.parametrize("case", CASES)
def test_is_the_model_that_was_converted(case: str, tmp_path: Path) -> None:
    stock = stock_model(case)
    model = load_gguf(GGUFFile.open(write(tmp_path / "model.gguf", case, stock)))
    assert model.config.family == stock.config.model_type
    assert_same(outcome(model), outcome(stock))


@pytest.mark.parametrize("case", LOADED_BY_TRANSFORMERS)
def test_is_the_model_that_transformers_reads(case: str, tmp_path: Path) -> None:
    path = write(tmp_path / "model.gguf", case, stock_model(case), change=add_words)
    auto = transformers.AutoModelForSeq2SeqLM if case.startswith("t5") else transformers.AutoModelForCausalLM
    theirs = auto.from_pretrained(tmp_path, gguf_file=path.name, dtype=torch.float32).eval()
    for module in theirs.modules():
        if type(module).__name__ == "T5DenseGatedActDense":  # which it knows to be gated, but takes for a ReLU
            module.act = transformers.activations.ACT2FN["gelu_new"]
    assert_same(outcome(load_gguf(GGUFFile.open(path))), outcome(theirs))


def add_words(writer: Any, tensors: dict[str, np.ndarray]) -> None:
    """Transformers takes the size of the vocabulary from them."""
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(["<|end|>", *[chr(0x21 + number) for number in range(WORDS - 1)]])
    writer.add_token_types([3, *[1] * (WORDS - 1)])
    writer.add_eos_token_id(0)


def test_every_architecture_is_tried() -> None:
    assert {architecture for architecture, _, _ in CASES.values()} | {"qwen2", "qwen3"} == set(ARCHITECTURES)


@pytest.mark.parametrize("case", CASES)
def test_what_is_imported_loads_here_and_in_transformers(
    case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    stock = stock_model(case)
    write(Path("model.gguf"), case, stock, change=add_words)
    assert cli.main(["import", "model.gguf", "out"]) == 0
    assert_same(outcome(load_model(Path("out"))), outcome(stock))
    theirs, report = type(stock).from_pretrained("out", output_loading_info=True)
    assert not any(missing for kind, missing in report.items() if kind != "missing_keys" or case != "bert"), report
    assert_same(outcome(theirs.eval()), outcome(stock))
    if case.startswith("t5"):
        assert json.loads(Path("out/generation_config.json").read_text())["decoder_start_token_id"] == 0


@pytest.mark.parametrize(("named", "window", "family", "pattern"), [
    ("Tiny", None, "llama", Full()), ("Tiny", 7, "mistral", Window(6)), ("Mistral 7B v0.1", None, "mistral", Full()),
    ("Mistral 7B v0.1", 0, "mistral", Full()),
])  # fmt: skip
def test_mistral_is_told_from_llama(named: str, window: int | None, family: str, pattern: Any, tmp_path: Path) -> None:
    def change(writer: Any, tensors: dict[str, np.ndarray]) -> None:
        writer.add_string("general.basename", named)
        if window is not None:
            writer.add_sliding_window(window)

    config = load_gguf(GGUFFile.open(write(tmp_path / "x.gguf", "llama", stock_model("llama"), change=change))).config
    assert config.family == family
    assert [layer.attention.pattern for layer in config.stack.layers] == [pattern, pattern]


def test_a_first_t5_may_hold_its_embedding_twice(tmp_path: Path) -> None:
    """Its oldest folders have ``lm_head.weight`` besides, which the converter takes over."""
    stock = stock_model("t5")

    def change(writer: Any, tensors: dict[str, np.ndarray]) -> None:
        tensors["output.weight"] = tensors["token_embd.weight"].copy()
        tensors["dec.blk.0.cross_attn_rel_b.weight"] = np.ones((8, 4), np.float32)

    model = load_gguf(GGUFFile.open(write(tmp_path / "x.gguf", "t5", stock, change=change)))
    assert model.config.tied
    assert_same(outcome(model), outcome(stock))


@pytest.mark.parametrize(("kind", "pooling"), [(1, "mean"), (2, "first"), (3, "last")])
def test_pooling_is_kept(kind: int, pooling: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    def change(writer: Any, tensors: dict[str, np.ndarray]) -> None:
        add_words(writer, tensors)
        writer.add_pooling_type(gguf.PoolingType(kind))

    write(Path("x.gguf"), "bert", stock_model("bert"), change=change)
    assert cli.main(["import", "x.gguf", "out"]) == 0
    assert load_config(Path("out")).head.pooling == pooling  # type: ignore[union-attr]


@pytest.mark.parametrize("flags", [[False, True, False, True], 2, 1])
def test_the_pattern_of_windows_is_a_flag_a_layer_or_a_period(flags: Any, tmp_path: Path) -> None:
    def change(writer: Any, tensors: dict[str, np.ndarray]) -> None:
        del writer.kv_data[0][f"modern-bert.{'attention.sliding_window_pattern'}"]
        writer.add_sliding_window_pattern(flags)

    path = write(tmp_path / "x.gguf", "modern-bert", stock_model("modern-bert"), change=change)
    patterns = [layer.attention.pattern for layer in load_gguf(GGUFFile.open(path)).config.stack.layers]
    full, window = Full(), Window(4, 4)
    assert patterns == ([full] * 4 if flags == 1 else [full, window, full, window])


def _no_gates(writer: Any, tensors: dict[str, np.ndarray]) -> None:
    tensors["output.weight"] = tensors["token_embd.weight"] + 1


def _one_expert_less(writer: Any, tensors: dict[str, np.ndarray]) -> None:
    tensors["blk.1.ffn_up_exps.weight"] = tensors["blk.1.ffn_up_exps.weight"][:4]


def _many_layers(writer: Any, tensors: dict[str, np.ndarray]) -> None:
    writer.kv_data[0]["gpt2.block_count"].value = 2**31 - 1


def _no_width(writer: Any, tensors: dict[str, np.ndarray]) -> None:
    del writer.kv_data[0]["bert.embedding_length"]


def _rank(writer: Any, tensors: dict[str, np.ndarray]) -> None:
    writer.add_pooling_type(gguf.PoolingType.RANK)


def _labels(writer: Any, tensors: dict[str, np.ndarray]) -> None:
    tensors["cls.output.weight"] = np.ones((3, 36), np.float32)


def _wide(writer: Any, tensors: dict[str, np.ndarray]) -> None:
    tensors["blk.0.attn_qkv.weight"] = tensors["blk.0.attn_qkv.weight"][:-1]


def _odd_pattern(writer: Any, tensors: dict[str, np.ndarray]) -> None:
    del writer.kv_data[0]["modern-bert.attention.sliding_window_pattern"]
    writer.add_sliding_window_pattern([True, False])


def _causal(writer: Any, tensors: dict[str, np.ndarray]) -> None:
    del writer.kv_data[0]["bert.attention.causal"]
    writer.add_causal_attention(True)


def _wide_types(writer: Any, tensors: dict[str, np.ndarray]) -> None:
    del tensors["token_types.weight"]


def _windowed(writer: Any, tensors: dict[str, np.ndarray]) -> None:
    writer.add_sliding_window(16)


REFUSED: dict[str, tuple[str, Callable[[Any, dict[str, np.ndarray]], object], str]] = {
    "t5-head": ("t5", _no_gates, "output.weight differs from token_embd.weight in a T5 without gates"),
    "experts": ("qwen3moe", _one_expert_less,
                r"blk.1.ffn_up_exps.weight must hold a matrix for each of 5 experts; got \[4, 768, 48\]"),
    "layers": ("gpt2", _many_layers, "gpt2.block_count is 2147483647, but there are only 28 tensors"),
    "missing": ("bert", _no_width, "bert.embedding_length is missing"),
    "types": ("bert", _wide_types, "lacks tensor token_types.weight"),
    "rank": ("bert", _rank, "bert.pooling_type must be 1 or 2 or 3; got 4"),
    "labels": ("modern-bert", _labels, "holds the unknown tensor cls.output.weight"),
    "shape": ("gpt2", _wide, r"transformer.h.0.attn.c_attn.weight must be \[36, 108\]; got \[36, 107\]"),
    "pattern": ("modern-bert", _odd_pattern, "sliding_window_pattern must be 4 times true or false"),
    "causal": ("bert", _causal, "bert.attention.causal must be false; got true"),
    "window": ("qwen3moe", _windowed, "qwen3moe.attention.sliding_window must be 0; got 16"),
}  # fmt: skip


@pytest.mark.parametrize("refused", REFUSED)
def test_refuses_with_one_line_and_leaves_nothing(
    refused: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    case, change, message = REFUSED[refused]
    monkeypatch.chdir(tmp_path)
    write(Path("x.gguf"), case, stock_model(case), change=change)
    with pytest.raises(CheckpointError, match=message):
        load_gguf(GGUFFile.open(Path("x.gguf")))
    capsys.readouterr()
    assert cli.main(["import", "x.gguf", "out"]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["x.gguf"]


@pytest.mark.parametrize("case", CASES)
def test_whatever_the_header_says_there_is_one_line_or_a_model(case: str, tmp_path: Path) -> None:
    sound = write(tmp_path / "x.gguf", case, stock_model(case), change=add_words).read_bytes()
    generator, refused = random.Random(0), 0
    header = sound.index(b"tokenizer.ggml.model")
    for _ in range(60):
        odd = bytearray(sound)
        for _ in range(generator.randint(1, 3)):
            odd[generator.randrange(24, header)] = generator.choice([0, 1, 2, 8, 127, 255])
        (tmp_path / "odd.gguf").write_bytes(odd)
        try:
            file = GGUFFile.open(tmp_path / "odd.gguf")
            load_gguf(file)
            write_tokenizer(file, tmp_path)
        except DanluError as error:
            refused += 1
            assert "\n" not in str(error)
            assert len(str(error)) < 600
    assert refused > 20
