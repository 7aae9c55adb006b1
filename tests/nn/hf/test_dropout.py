"""Every dropout of a folder: it comes back as it was, and drops in training what ``transformers`` drops."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from torch import Tensor

from danlu.errors import CheckpointError
from danlu.nn.config import Stack
from danlu.nn.dropout import STEPS
from danlu.nn.hf.folder import load_model, save_model
from danlu.nn.transformer import Transformer

SIZES: dict[str, Any] = {
    "vocab_size": 97, "hidden_size": 32, "intermediate_size": 40, "num_hidden_layers": 2, "num_attention_heads": 4,
    "max_position_embeddings": 40, "num_labels": 2,
}  # fmt: skip
GPT2: dict[str, Any] = {
    "vocab_size": 97, "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 40, "num_labels": 2,
}  # fmt: skip
T5: dict[str, Any] = {
    "vocab_size": 97, "d_model": 32, "d_kv": 8, "d_ff": 40, "num_layers": 2, "num_heads": 4,
}  # fmt: skip
BART: dict[str, Any] = {
    "vocab_size": 97, "d_model": 32, "encoder_layers": 2, "decoder_layers": 2, "encoder_attention_heads": 4,
    "decoder_attention_heads": 4, "encoder_ffn_dim": 40, "decoder_ffn_dim": 40, "max_position_embeddings": 40,
}  # fmt: skip
MODERN: dict[str, Any] = {
    **SIZES, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "cls_token_id": 1, "sep_token_id": 2,
}  # fmt: skip
BERT_KEYS = ("hidden_dropout_prob", "attention_probs_dropout_prob")
MODERN_KEYS = ("embedding_dropout", "attention_dropout", "mlp_dropout")
GPT2_KEYS = ("embd_pdrop", "resid_pdrop", "attn_pdrop")
LABELS = ("classifier_dropout",)
CASES: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "GPT2LMHeadModel": (GPT2, GPT2_KEYS),
    "GPT2ForTokenClassification": (GPT2, GPT2_KEYS + LABELS),
    "LlamaForCausalLM": (SIZES, ("attention_dropout",)),
    "LlamaForTokenClassification": (SIZES, ("attention_dropout", *LABELS)),
    "BertForMaskedLM": (SIZES, BERT_KEYS),
    "BertForSequenceClassification": (SIZES, BERT_KEYS + LABELS),
    "BertForTokenClassification": (SIZES, BERT_KEYS + LABELS),
    "RobertaForMaskedLM": (SIZES, BERT_KEYS),
    "RobertaForSequenceClassification": (SIZES, BERT_KEYS + LABELS),
    "RobertaForTokenClassification": (SIZES, BERT_KEYS + LABELS),
    "ModernBertForMaskedLM": (MODERN, MODERN_KEYS),
    "ModernBertForSequenceClassification": (MODERN, MODERN_KEYS + LABELS),
    "ModernBertForTokenClassification": (MODERN, MODERN_KEYS + LABELS),
    "ModernBertForQuestionAnswering": (MODERN, MODERN_KEYS + LABELS),
    "T5ForConditionalGeneration": (T5, ("dropout_rate",)),
    "MT5ForConditionalGeneration": (T5, ("dropout_rate",)),
    "BartForConditionalGeneration": (
        BART, ("dropout", "attention_dropout", "activation_dropout", "encoder_layerdrop", "decoder_layerdrop"),
    ),
}  # fmt: skip
"""Class -> sizes, and the keys of all dropouts that it reads."""
TOKENS = torch.randint(3, 97, (2, 11), generator=torch.Generator().manual_seed(1))
REPLIES = torch.randint(3, 97, (2, 7), generator=torch.Generator().manual_seed(2))
EACH = [(name, key) for name, (_, keys) in CASES.items() for key in keys]


def stock_of(name: str, **dropouts: float) -> Any:
    """A model of ``transformers``, with large weights, so that each part counts."""
    kind = getattr(transformers, name)
    config = kind.config_class(**CASES[name][0], **dropouts, attn_implementation="eager")
    torch.manual_seed(3)
    model = kind(config)
    with torch.no_grad():
        for weight in model.parameters():
            weight.normal_(0.0, 0.3)
    return model


def make(name: str, folder: Path, **dropouts: float) -> tuple[Any, Transformer]:
    """The same model on both sides; all other dropouts are 0."""
    stock = stock_of(name, **{**dict.fromkeys(CASES[name][1], 0.0), **dropouts})
    stock.save_pretrained(folder)
    return stock, load_model(folder)


def theirs(stock: Any, *, training: bool) -> Tensor:
    inputs = {"input_ids": TOKENS}
    if stock.config.is_encoder_decoder:
        inputs["decoder_input_ids"] = REPLIES
    torch.manual_seed(5)
    with torch.no_grad():
        out = stock.train(training)(**inputs)
    if "start_logits" in out:
        return torch.stack([out.start_logits, out.end_logits], 2)
    logits: Tensor = out.logits
    return logits


def ours(model: Transformer, *, training: bool) -> Tensor:
    torch.manual_seed(5)
    model.train(training)
    with torch.no_grad():
        if model.encoder is not None and model.decoder is not None:
            logits: Tensor = model.head(model(REPLIES, memory=model.encode(TOKENS)))
        else:
            logits = model.head(model(TOKENS))
    return logits


@pytest.fixture(autouse=True)
def layers_are_drawn_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """BART asks for a number before each layer, dropped or not; here it takes none from the generator."""

    def scripted() -> Iterator[float]:
        while True:
            yield from (0.7, 0.2, 0.6, 0.3)

    numbers = scripted()
    monkeypatch.setattr(torch, "rand", lambda *_: torch.tensor(next(numbers)))


@pytest.fixture(autouse=True)
def masks_are_torchs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ours are drawn in another way: here they are those that ``transformers`` draws, in the order of the layers."""

    def mask(x: Tensor, dropped: int) -> Tensor:
        return torch.nn.functional.dropout(torch.ones_like(x), dropped / STEPS)

    monkeypatch.setattr("danlu.nn.dropout._mask", mask)


@pytest.mark.parametrize("name", CASES)
def test_every_key_comes_back_as_it_was(name: str, tmp_path: Path) -> None:
    keys = CASES[name][1]
    stock_of(name, **{key: 0.125 + number / 16 for number, key in enumerate(keys)}).save_pretrained(tmp_path / "given")
    save_model(load_model(tmp_path / "given"), tmp_path / "written")
    given, written = (json.loads((tmp_path / each / "config.json").read_text()) for each in ("given", "written"))
    assert {key: written.get(key) for key in keys} == {key: given[key] for key in keys}
    assert not {key for key, value in written.items() if "drop" in key and value and key not in keys}


@pytest.mark.parametrize("name", ["BertForTokenClassification", "RobertaForSequenceClassification"])
def test_null_stays_null(name: str, tmp_path: Path) -> None:
    stock_of(name, hidden_dropout_prob=0.25, classifier_dropout=None).save_pretrained(tmp_path / "given")  # type: ignore[arg-type]
    save_model(load_model(tmp_path / "given"), tmp_path / "written")
    assert json.loads((tmp_path / "written/config.json").read_text())["classifier_dropout"] is None


@pytest.mark.parametrize(("name", "key"), EACH)
def test_each_drops_what_it_drops_in_transformers(name: str, key: str, tmp_path: Path) -> None:
    stock, model = make(name, tmp_path, **{key: 0.45})
    plain = theirs(stock, training=False)
    expected = theirs(stock, training=True)
    scale = float(plain.abs().max())
    assert float((expected - plain).abs().max()) > 0.01 * scale
    torch.testing.assert_close(ours(model, training=False), plain, rtol=1e-4, atol=1e-5 * scale)
    torch.testing.assert_close(ours(model, training=True), expected, rtol=1e-4, atol=1e-5 * scale)


CHANGES: dict[str, tuple[str, Callable[[Stack], Stack], str]] = {
    "an embedding's, where it has none": (
        "LlamaForCausalLM", lambda stack: replace(stack, entry=replace(stack.entry, dropout=0.25)),
        "a llama folder cannot say that decoder.entry.dropout is 0.25",
    ),
    "an embedding's, where it is that of the parts": (
        "BertForMaskedLM", lambda stack: replace(stack, entry=replace(stack.entry, dropout=0.25)),
        "a bert folder cannot say that encoder.entry.dropout is 0.25",
    ),
    "of the parts, where there is none": (
        "ModernBertForMaskedLM", lambda stack: replace(stack, dropout=0.25),
        "a modernbert folder cannot say that encoder.dropout is 0.25",
    ),
    "behind the last norm": (
        "GPT2LMHeadModel", lambda stack: replace(stack, final_dropout=0.25),
        "a gpt2 folder cannot say that decoder.final_dropout is 0.25",
    ),
    "of whole layers": (
        "GPT2LMHeadModel", lambda stack: replace(stack, layer_drop=0.25),
        "a gpt2 folder cannot say that decoder.layer_drop is 0.25",
    ),
    "of one side": (
        "BartForConditionalGeneration", lambda stack: replace(stack, dropout=0.25),
        "a bart folder cannot say that encoder.entry.dropout is 0.0",
    ),
}  # fmt: skip


@pytest.mark.parametrize("change", CHANGES)
def test_what_a_folder_cannot_say_is_refused(change: str, tmp_path: Path) -> None:
    name, changed, line = CHANGES[change]
    _, model = make(name, tmp_path / "given")
    side = "decoder" if model.decoder is not None else "encoder"
    config = replace(model.config, **{side: changed(model.config.stack)})  # type: ignore[arg-type]
    with pytest.raises(CheckpointError, match=line):
        save_model(Transformer(config), tmp_path / "written")
