"""Virtual tokens of a folder: the same logits in PEFT, whoever has written them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from torch import Tensor

from danlu.errors import CheckpointError, RecipeError
from danlu.nn.config import Virtual
from danlu.nn.hf.folder import load_config, load_model, save_model, stored_dtype
from danlu.nn.hf.start import begin, begin_embedding, with_words
from danlu.nn.prompting import add_virtual, table_of
from danlu.nn.transformer import Transformer

pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")  # in peft

SIZES = {"vocab_size": 50, "hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 32,
         "max_position_embeddings": 32}  # fmt: skip
FEW = {**SIZES, "num_key_value_heads": 1}
GPT2 = {"vocab_size": 50, "n_positions": 32, "n_embd": 16, "n_layer": 3, "n_head": 2, "bos_token_id": 0,
        "eos_token_id": 0}  # fmt: skip
YARN = {"rope_type": "yarn", "rope_theta": 10000.0, "factor": 4.0, "original_max_position_embeddings": 8}
SIDES = {"vocab_size": 50, "d_model": 16, "decoder_start_token_id": 0, "pad_token_id": 0, "eos_token_id": 1}
BART = {**SIDES, "encoder_layers": 2, "decoder_layers": 2, "encoder_attention_heads": 2, "decoder_attention_heads": 2,
        "encoder_ffn_dim": 32, "decoder_ffn_dim": 32, "max_position_embeddings": 32, "scale_embedding": True,
        "bos_token_id": 0, "forced_eos_token_id": None}  # fmt: skip
BOTH = ("prompt", "prefix")
MODELS: dict[str, tuple[Callable[[], Any], tuple[str, ...], str]] = {
    "bert_labels": (lambda: transformers.BertForSequenceClassification(transformers.BertConfig(**SIZES, num_labels=3)),
                    BOTH, "SEQ_CLS"),
    "bert_tags": (lambda: transformers.BertForTokenClassification(transformers.BertConfig(**SIZES, num_labels=3)),
                  BOTH, "TOKEN_CLS"),
    "bert_spans": (lambda: transformers.BertForQuestionAnswering(transformers.BertConfig(**SIZES)),
                   BOTH, "QUESTION_ANS"),
    "bert_vectors": (lambda: transformers.BertModel(transformers.BertConfig(**SIZES)), ("prefix",),
                     "FEATURE_EXTRACTION"),
    "roberta_labels": (lambda: transformers.RobertaForSequenceClassification(
        transformers.RobertaConfig(**SIZES, num_labels=3, pad_token_id=1)), BOTH, "SEQ_CLS"),
    "modernbert_tags": (lambda: transformers.ModernBertForTokenClassification(transformers.ModernBertConfig(
        **SIZES, num_labels=3, pad_token_id=0, cls_token_id=1, sep_token_id=2, bos_token_id=1, eos_token_id=2)),
        ("prompt",), "TOKEN_CLS"),
    "gpt2": (lambda: transformers.GPT2LMHeadModel(transformers.GPT2Config(**GPT2)), BOTH, "CAUSAL_LM"),
    "gpt2_labels": (lambda: transformers.GPT2ForSequenceClassification(
        transformers.GPT2Config(**GPT2, num_labels=3, pad_token_id=0)), BOTH, "SEQ_CLS"),
    "llama": (lambda: transformers.LlamaForCausalLM(transformers.LlamaConfig(**FEW)), BOTH, "CAUSAL_LM"),
    "llama_yarn": (lambda: transformers.LlamaForCausalLM(transformers.LlamaConfig(**FEW, rope_parameters=YARN)),
                   BOTH, "CAUSAL_LM"),
    "llama_labels": (lambda: transformers.LlamaForSequenceClassification(
        transformers.LlamaConfig(**FEW, num_labels=3, pad_token_id=0)), BOTH, "SEQ_CLS"),
    "mistral": (lambda: transformers.MistralForCausalLM(transformers.MistralConfig(**FEW, sliding_window=5)),
                BOTH, "CAUSAL_LM"),
    "qwen3": (lambda: transformers.Qwen3ForCausalLM(transformers.Qwen3Config(**FEW, head_dim=12)), BOTH, "CAUSAL_LM"),
    "t5": (lambda: transformers.T5ForConditionalGeneration(
        transformers.T5Config(**SIDES, d_kv=8, d_ff=32, num_layers=2, num_heads=2)), BOTH, "SEQ_2_SEQ_LM"),
    "t5_narrow": (lambda: transformers.T5ForConditionalGeneration(
        transformers.T5Config(**SIDES, d_kv=6, d_ff=32, num_layers=3, num_heads=2)), ("prefix",), "SEQ_2_SEQ_LM"),
    "bart": (lambda: transformers.BartForConditionalGeneration(transformers.BartConfig(**BART)), BOTH, "SEQ_2_SEQ_LM"),
}  # fmt: skip
CASES = [(name, kind) for name, (_, kinds, _) in MODELS.items() for kind in kinds]
OF_PEFT = [(name, kind) for name, kind in CASES if name in ("bert_labels", "gpt2", "llama_yarn", "qwen3", "t5", "bart")]
"""PEFT cannot make a prefix for a T5 whose heads are not as wide together as the model."""
TOKENS, WRITTEN = torch.tensor([[5, 6, 7, 8, 9, 11]]), torch.tensor([[0, 12, 13, 14]])
P = 4


def _theirs(name: str, folder: Path) -> Any:
    """A model of transformers, saved; PEFT's class for two sides looks for a method that transformers 5 has not."""
    build, _, task = MODELS[name]
    torch.manual_seed(1)
    model = build().eval()
    for part, weight in model.named_parameters():
        weight.data = torch.randn_like(weight) * 0.3 + float("norm" in part.lower() and part.endswith("weight"))
    model.save_pretrained(folder)
    if task == "SEQ_2_SEQ_LM":
        model._prepare_encoder_decoder_kwargs_for_generation = None
    return model


def _ours_of(model: Transformer) -> Tensor:
    """Logits, scores or vectors of each token, or of the text."""
    if model.config.encoder is not None and model.config.decoder is not None:
        return model.head(model(WRITTEN, memory=model.encode(TOKENS)))  # type: ignore[no-any-return]
    hidden = model(TOKENS)
    return hidden if type(model.head).__name__ == "EmbeddingHead" else model.head(hidden)


def _of_theirs(model: Any, task: str) -> Tensor:
    written = {"decoder_input_ids": WRITTEN} if task == "SEQ_2_SEQ_LM" else {}
    out = model(input_ids=TOKENS, attention_mask=torch.ones_like(TOKENS), **written)
    if task == "QUESTION_ANS":
        return torch.stack([out.start_logits, out.end_logits], -1)
    return out[0]  # type: ignore[no-any-return]


def _own(theirs: Tensor, ours: Tensor) -> Tensor:
    """Without what virtual tokens have there."""
    return theirs[:, -ours.shape[1] :] if theirs.ndim == 3 else theirs


def _give(model: Transformer, kind: Any) -> None:
    attention = model.config.stack.layers[0].attention
    layers = len(model.config.stack.layers)
    width = model.config.dim if kind == "prompt" else layers * 2 * attention.kv_heads * attention.head_dim
    add_virtual(model, Virtual(kind, P), torch.randn(P, width))


@torch.no_grad()
@pytest.mark.parametrize(("name", "kind"), CASES)
def test_peft_reads_what_is_written_here(name: str, kind: str, tmp_path: Path) -> None:
    theirs, task = _theirs(name, tmp_path / "base"), MODELS[name][2]
    model = load_model(tmp_path / "base")
    before = _of_theirs(theirs, task)
    _give(model, kind)
    for number, weight in enumerate(model.head.parameters() if task in ("SEQ_CLS", "TOKEN_CLS") else []):
        weight.add_(0.1 * (number + 1))  # as if it had been trained
    save_model(model, tmp_path / "ours")
    ours = _ours_of(model)
    again = load_model(tmp_path / "ours")
    assert all(torch.equal(weight, model.state_dict()[name]) for name, weight in again.state_dict().items())
    assert again.config == load_config(tmp_path / "ours") == model.config
    read = _of_theirs(peft.PeftModel.from_pretrained(theirs, tmp_path / "ours").eval(), task)
    torch.testing.assert_close(_own(read, ours), ours, rtol=1e-4, atol=1e-4)
    assert (_own(before, ours) - ours).abs().max() > 0.01


@torch.no_grad()
@pytest.mark.parametrize(("name", "kind"), OF_PEFT)
def test_what_peft_has_written_is_read_here(name: str, kind: str, tmp_path: Path) -> None:
    theirs, task = _theirs(name, tmp_path / "ours"), MODELS[name][2]
    settings = {"prompt": peft.PromptTuningConfig, "prefix": peft.PrefixTuningConfig}[kind]
    torch.manual_seed(2)
    prompted = peft.get_peft_model(theirs, settings(task_type=task, num_virtual_tokens=P)).eval()
    prompted.save_pretrained(tmp_path / "ours")
    ours = _ours_of(load_model(tmp_path / "ours"))
    torch.testing.assert_close(_own(_of_theirs(prompted, task), ours), ours, rtol=1e-4, atol=1e-4)


def test_another_model_takes_the_place_of_one_with_virtual_tokens(tmp_path: Path) -> None:
    _theirs("gpt2", tmp_path / "base")
    model = load_model(tmp_path / "base")
    plain = _ours_of(model)
    _give(model, "prefix")
    save_model(model, tmp_path / "ours")
    save_model(load_model(tmp_path / "base"), tmp_path / "ours")
    assert not list((tmp_path / "ours").glob("adapter*"))
    torch.testing.assert_close(_ours_of(load_model(tmp_path / "ours")), plain)


@pytest.fixture(scope="module")
def prompted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("prompted")
    _theirs("gpt2", folder)
    model = load_model(folder)
    _give(model, "prompt")
    save_model(model, folder)
    return folder


def test_the_type_of_numbers_is_as_wanted(prompted: Path, tmp_path: Path) -> None:
    model = load_model(prompted, dtype=torch.bfloat16)
    assert table_of(model).dtype == torch.bfloat16
    save_model(load_model(prompted), tmp_path / "narrow", dtype=torch.bfloat16)
    narrow = load_file(tmp_path / "narrow" / "adapter_model.safetensors")["prompt_embeddings"]
    assert narrow.dtype == torch.bfloat16
    torch.testing.assert_close(narrow, table_of(model), rtol=0, atol=0)
    assert stored_dtype(tmp_path / "narrow") == torch.bfloat16
    shutil.copy(prompted / "adapter_model.safetensors", tmp_path / "narrow")  # the weights stay narrow
    assert stored_dtype(tmp_path / "narrow") == torch.float32


@pytest.mark.parametrize(("config", "line"), [
    ({"num_virtual_tokens": 0}, r"adapter_config.json: num_virtual_tokens must be a whole number above 0; got 0"),
    ({"num_virtual_tokens": 3}, r"prompt_embeddings must be \[3, 16\]; got \[4, 16\]"),
    ({"num_virtual_tokens": 32}, r"adapter_config.json: tokens must be below 32, .*; got 32"),
    ({"peft_type": "PREFIX_TUNING"}, r"prompt_embeddings must be \[4, 96\]; got \[4, 16\]"),
    ({"peft_type": "PREFIX_TUNING", "num_layers": 2}, r"num_layers must be at least 3, the model's layers; got 2"),
    ({"peft_type": "PREFIX_TUNING", "num_transformer_submodules": 2},
     r"num_transformer_submodules must be 1 for this model; got 2"),
    ({"peft_type": "LORA"}, r"peft_type 'LORA' beside a whole model is not read .*PROMPT_TUNING, PREFIX_TUNING"),
])  # fmt: skip
def test_a_damaged_file_is_one_line(prompted: Path, tmp_path: Path, config: dict[str, Any], line: str) -> None:
    folder = Path(shutil.copytree(prompted, tmp_path / "damaged"))
    path = folder / "adapter_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **config}))
    with pytest.raises(CheckpointError, match=line):
        load_model(folder)


def test_missing_and_torn_weights_are_one_line(prompted: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(prompted, tmp_path / "damaged"))
    path = folder / "adapter_model.safetensors"
    save_file({"other": torch.zeros(1)}, path)
    with pytest.raises(CheckpointError, match="lacks tensor prompt_embeddings"):
        load_model(folder)
    path.write_bytes(b"torn")
    with pytest.raises(CheckpointError, match=r"adapter_model.safetensors is damaged"):
        load_model(folder)
    path.unlink()
    with pytest.raises(CheckpointError, match=r"adapter_model.safetensors is missing"):
        load_model(folder)


def test_nothing_else_is_trained_beside_virtual_tokens(prompted: Path) -> None:
    for start in (lambda: begin(prompted, None, labels=0, seed=1), lambda: begin_embedding(prompted, seed=1),
                  lambda: with_words(prompted)):  # fmt: skip
        with pytest.raises(RecipeError, match=r"has virtual tokens, .*; begin with the model that they were trained"):
            start()
