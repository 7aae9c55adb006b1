"""Tokens that a task adds learn by every method, alone of their embedding, and are with what PEFT loads."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
import transformers
from safetensors.torch import load_file
from short_run import finetuned

from danlu.nn.hf.folder import load_model
from danlu.nn.hf.peft import load_adapters
from danlu.nn.hf.start import begin
from danlu.nn.trained_rows import PartlyTrained, put_back, train_rows
from danlu.nn.transformer import Transformer

pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")  # in peft

MARKED = "[E1] once [/E1] upon a [E2] time [/E2]"
KIND = transformers.AutoModelForSequenceClassification


@pytest.fixture
def relations(tmp_path: Path) -> Path:
    path = tmp_path / "relations.jsonl"
    lines = [
        {"text": f"once {n} upon a time", "head": "once", "tail": "time", "relation": "ab"[n % 2]} for n in range(24)
    ]
    path.write_text("".join(json.dumps(each) + "\n" for each in lines))
    return path


def resized(folder: Path, tokenizer: Any) -> Any:
    """The model that training began with, with rows for the marks that no training has seen."""
    base = KIND.from_pretrained(folder, num_labels=2, dtype=torch.float32)
    base.resize_token_embeddings(len(tokenizer))
    return base.eval()


def embedding(folder: Path) -> torch.Tensor:
    [name] = [name for name in load_file(folder / "model.safetensors") if name.endswith(
        ("word_embeddings.weight", "embed_tokens.weight"))]  # fmt: skip
    return load_file(folder / "model.safetensors")[name]


@pytest.mark.parametrize(("model", "method"), [
    ("encoder", "{use: lora, rank: 2}"), ("decoder", "{use: lora, rank: 2, dora: true}"),
    ("encoder", "{use: lora, rank: 2, quantize: int8}"), ("encoder", "bitfit"), ("encoder", "{use: frozen, layers: 1}"),
    ("encoder", "{use: prompt, tokens: 3}"), ("encoder", "{use: prefix, tokens: 3}"),
])  # fmt: skip
def test_they_learn_and_other_tokens_stay(
    model: str, method: str, relations: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    folder = request.getfixturevalue(model)
    out = finetuned(tmp_path, folder, relations, "relate", method, "seed=3")
    before, after = embedding(folder), embedding(out / "model")
    assert len(after) == len(before) + 4 and torch.equal(after[: len(before)], before)
    begun = begin(folder, "ForSequenceClassification", labels=2, seed=3).with_rows(len(after)).draw()
    moved = (after - begun.embedding.weight)[len(before) :].abs().amax(1)
    assert moved.min() > 0.01  # six steps of 0.02 and less


@pytest.mark.parametrize("model", ["encoder", "decoder"])
@pytest.mark.parametrize("dora", [False, True])
def test_adapters_have_their_rows_and_no_others(
    model: str, dora: bool, relations: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    folder = request.getfixturevalue(model)
    out = finetuned(tmp_path, folder, relations, "relate", f"{{use: lora, rank: 2, dora: {str(dora).lower()}}}")
    tokenizer = transformers.AutoTokenizer.from_pretrained(out / "adapters")
    base = resized(folder, tokenizer)
    inputs = tokenizer(MARKED, return_tensors="pt").input_ids
    assert len(base.get_input_embeddings().weight) - 4 in inputs
    with torch.no_grad():
        before = base(inputs).logits
        theirs = peft.PeftModel.from_pretrained(base, out / "adapters").eval()
        merged = KIND.from_pretrained(out / "model", dtype=torch.float32).eval()(inputs).logits
        ours = begin(folder, "ForSequenceClassification", labels=2, seed=5).with_rows(len(tokenizer)).draw().eval()
        load_adapters(ours, out / "adapters")
        torch.testing.assert_close(ours.head(ours(inputs)), theirs(inputs).logits, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(merged, theirs(inputs).logits, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(merged, theirs.merge_and_unload()(inputs).logits, rtol=1e-4, atol=1e-4)
    assert (merged - before).abs().max() > 0.01
    tensors = load_file(out / "adapters" / "adapter_model.safetensors")
    [rows] = [each for name, each in tensors.items() if "embed" in name]
    assert rows.shape == (4, 32)


@pytest.mark.parametrize("method", ["{use: prompt, tokens: 3}", "{use: prefix, tokens: 3}"])
def test_virtual_tokens_have_them_too(method: str, relations: Path, encoder: Path, tmp_path: Path) -> None:
    """On the model that training began with, and on the folder's own weights."""
    out = finetuned(tmp_path, encoder, relations, "relate", method)
    tokenizer = transformers.AutoTokenizer.from_pretrained(out / "model")
    tokens = tokenizer(MARKED, return_tensors="pt").input_ids
    own = KIND.from_pretrained(out / "model", dtype=torch.float32, adapter_kwargs={"subfolder": "none"}).eval()
    ours = load_model(out / "model")
    with torch.no_grad():
        wanted = ours.head(ours(tokens))
        for base in (resized(encoder, tokenizer), own):
            theirs = peft.PeftModel.from_pretrained(base, out / "model").eval()
            said = theirs(tokens, attention_mask=torch.ones_like(tokens)).logits
            torch.testing.assert_close(said, wanted, rtol=1e-4, atol=1e-4)


def test_a_checkpoint_has_no_row_of_another_token(relations: Path, encoder: Path, tmp_path: Path) -> None:
    out = finetuned(tmp_path, encoder, relations, "relate", "{use: lora, rank: 2}")
    part = load_file(max((out / "checkpoints").glob("step-*")) / "part.safetensors")
    assert {name: tuple(each.shape) for name, each in part.items() if "embed" in name} == {"embedding.rows": (4, 32)}


def test_rows_that_learn_give_what_the_whole_gives(encoder: Path) -> None:
    """Values and gradients against the plain embedding's, of which the other rows' gradient is left out."""
    whole, part = (load_model(encoder) for _ in range(2))
    part.requires_grad_(False)
    train_rows(part, [7, 8, 9])
    assert isinstance(part.embedding, PartlyTrained)
    tokens = torch.tensor([[2, 7, 9, 20, 7, 3], [9, 9, 0, 10, 6, 3]])
    one, other = (each(tokens) for each in (whole, part))
    assert torch.equal(one, other)
    for each in (one, other):
        each.square().mean(0)[:, :5].sum().backward()
    gradient, own = whole.embedding.weight.grad, part.embedding.rows.grad
    assert gradient is not None and own is not None
    torch.testing.assert_close(own, gradient[7:10], rtol=1e-5, atol=1e-7)
    assert own[0].abs().max() > 0 and own[1].abs().max() == 0
    with torch.no_grad():
        part.embedding.rows += 1
    put_back(part)
    assert type(part.embedding) is torch.nn.Embedding and part.state_dict().keys() == whole.state_dict().keys()
    difference = (part.embedding.weight - whole.embedding.weight).detach()
    assert difference[7:10].mean() == pytest.approx(1.0) and difference.sum() == pytest.approx(3 * 32, rel=1e-4)


def test_where_all_rows_learn_there_are_none_apart(encoder: Path) -> None:
    model: Transformer = load_model(encoder)
    train_rows(model, [7, 8])
    assert type(model.embedding) is torch.nn.Embedding
