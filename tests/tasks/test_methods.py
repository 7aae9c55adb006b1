from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
import transformers
from safetensors.torch import load_file
from short_run import finetuned

from danlu.errors import InputError, RecipeError
from danlu.nn.hf.folder import load_model
from danlu.nn.transformer import Transformer
from danlu.tasks.material import Material
from danlu.tasks.methods import BitFit, Frozen, LowRank

pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")  # in peft


def _chats(tmp_path: Path) -> Path:
    path = tmp_path / "chats.jsonl"
    lines = [{"instruction": f"{number} 你好?", "output": f"Once {number} there."} for number in range(12)]
    path.write_text("".join(json.dumps(each, ensure_ascii=False) + "\n" for each in lines))
    return path


def _labelled(tmp_path: Path) -> Path:
    path = tmp_path / "labelled.jsonl"
    lines = [
        {"text": f"{'to be' if number % 2 else 'once'} {number}", "label": "ab"[number % 2]} for number in range(24)
    ]
    path.write_text("".join(json.dumps(each) + "\n" for each in lines))
    return path


CHAT = "{use: chat, template: plain, answer_tokens: 4}"


@pytest.mark.parametrize(("method", "exact"), [
    ("{use: lora, rank: 2}", True), ("{use: lora, rank: 2, dora: true, targets: [query, up]}", True),
    ("{use: lora, rank: 2, quantize: nf4}", False),
])  # fmt: skip
def test_adapters_load_in_peft_and_make_the_merged_model(
    decoder: Path, tmp_path: Path, method: str, exact: bool
) -> None:
    out = finetuned(tmp_path, decoder, _chats(tmp_path), CHAT, method)
    tokens = torch.arange(2, 40)[None]
    base = transformers.AutoModelForCausalLM.from_pretrained(decoder, dtype=torch.float32)
    with torch.no_grad():
        before = base(tokens).logits
        adapted = peft.PeftModel.from_pretrained(base, out / "adapters")(tokens).logits
        merged = transformers.AutoModelForCausalLM.from_pretrained(out / "model", dtype=torch.float32)(tokens).logits
    assert (adapted - before).abs().max() > 0.1
    if exact:
        torch.testing.assert_close(merged, adapted, rtol=1e-4, atol=1e-4)
    else:  # they are merged into the quantised weights
        assert 1e-3 < (merged - adapted).abs().max() < (merged - before).abs().max()
    assert json.loads((out / "adapters" / "adapter_config.json").read_text())["base_model_name_or_path"] == str(decoder)


def test_adapters_of_an_encoder_and_a_decoder(answerer: Path, tmp_path: Path) -> None:
    path = tmp_path / "pairs.jsonl"
    path.write_text("".join(json.dumps({"source": f"once {n}", "target": f"话 {n}"}) + "\n" for n in range(12)))
    out = finetuned(tmp_path, answerer, path, "{use: seq2seq, answer_tokens: 4}", "{use: lora, rank: 2}")
    tokens, written = torch.arange(2, 20)[None], torch.arange(4)[None]
    base = transformers.AutoModelForSeq2SeqLM.from_pretrained(answerer, dtype=torch.float32).eval()
    with torch.no_grad():
        before = base(tokens, decoder_input_ids=written).logits
        adapted = (
            peft.PeftModel.from_pretrained(base, out / "adapters").eval()(tokens, decoder_input_ids=written).logits
        )
        whole = transformers.AutoModelForSeq2SeqLM.from_pretrained(out / "model", dtype=torch.float32).eval()
        torch.testing.assert_close(whole(tokens, decoder_input_ids=written).logits, adapted, rtol=1e-4, atol=1e-4)
    assert (adapted - before).abs().max() > 0.01


def test_the_head_of_a_task_trains_and_is_with_the_adapters(encoder: Path, tmp_path: Path) -> None:
    out = finetuned(tmp_path, encoder, _labelled(tmp_path), "classify", "{use: lora, rank: 2}")
    base = transformers.AutoModelForSequenceClassification.from_pretrained(encoder, num_labels=2, dtype=torch.float32)
    theirs = peft.PeftModel.from_pretrained(base.eval(), out / "adapters").eval()
    merged = transformers.AutoModelForSequenceClassification.from_pretrained(out / "model", dtype=torch.float32)
    tokens = torch.tensor([[2, 20, 30, 40, 3]])
    with torch.no_grad():
        torch.testing.assert_close(merged(tokens).logits, theirs(tokens).logits, rtol=1e-4, atol=1e-4)


def test_numbers_are_scaled_beside_the_adapters_too(encoder: Path, tmp_path: Path) -> None:
    path = tmp_path / "numbers.jsonl"
    lines = [{"text": f"to be {number}", "score": 1000.0 + 100 * number} for number in range(24)]
    path.write_text("".join(json.dumps(each) + "\n" for each in lines))
    out = finetuned(tmp_path, encoder, path, "regress", "{use: lora, rank: 2}")
    base = transformers.AutoModelForSequenceClassification.from_pretrained(encoder, num_labels=1, dtype=torch.float32)
    theirs = peft.PeftModel.from_pretrained(base.eval(), out / "adapters").eval()
    merged = transformers.AutoModelForSequenceClassification.from_pretrained(out / "model", dtype=torch.float32)
    tokens = torch.tensor([[2, 20, 30, 40, 3]])
    with torch.no_grad():
        torch.testing.assert_close(merged(tokens).logits, theirs(tokens).logits, rtol=1e-5, atol=1e-4)
        assert merged(tokens).logits > 500


def test_a_checkpoint_holds_what_trains_and_no_more(decoder: Path, tmp_path: Path) -> None:
    out = finetuned(tmp_path, decoder, _chats(tmp_path), CHAT, "{use: lora, rank: 2, targets: [query]}")
    newest = max((out / "checkpoints").glob("step-*"))
    part = load_file(newest / "part.safetensors")
    assert len(part) == 4  # two blocks, two matrices
    assert all(".query.adapter." in name for name in part)
    moments = load_file(newest / "training" / "optimizer.safetensors")
    sizes = sum(each.numel() for each in part.values())
    assert sum(each.numel() for each in moments.values() if each.ndim > 1) == 2 * sizes
    assert not (newest / "model.safetensors").exists()


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_resumed_training_ends_with_the_same_adapters(
    decoder: Path, tmp_path: Path, precision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, method = _chats(tmp_path), "{use: lora, rank: 2, quantize: int8, dropout: 0.3}"
    more = (f"finetune.precision={precision}", "finetune.save.steps=3")
    adapters = Path("adapters") / "adapter_model.safetensors"
    whole = load_file(finetuned(tmp_path, decoder, file, CHAT, method, *more) / adapters)
    (tmp_path / "again").mkdir()

    def fails(*_: Any, **__: Any) -> None:
        raise InputError("the power is gone")

    with monkeypatch.context() as patch:
        patch.setattr(Material, "conclude", fails)
        with pytest.raises(AssertionError):
            finetuned(tmp_path / "again", decoder, file, CHAT, method, *more)
    checkpoints = tmp_path / "again" / "run" / "finetune" / "checkpoints"
    shutil.rmtree(checkpoints / "step-00000006")
    assert (checkpoints / "step-00000003").exists()
    out = finetuned(tmp_path / "again", decoder, file, CHAT, method, *more)
    again = load_file(out / adapters)
    assert all(torch.equal(again[name], whole[name]) for name in whole)


@pytest.mark.parametrize(("model", "method", "trains"), [
    ("encoder", "bitfit", lambda name: name.endswith(".bias") or "pooler" in name),
    ("encoder", "{use: frozen, layers: 1}", lambda name: "layer.1." in name or "pooler" in name),
])  # fmt: skip
def test_what_is_frozen_stays(
    model: str, method: str, trains: Any, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    folder = request.getfixturevalue(model)
    out = finetuned(tmp_path, folder, _labelled(tmp_path), "classify", method)
    before, after = load_file(folder / "model.safetensors"), load_file(out / "model" / "model.safetensors")
    before = {f"bert.{name}": each for name, each in before.items()}
    for name, weight in after.items():
        if name in before:
            assert torch.equal(weight, before[name]) != trains(name), name
    figures = json.loads((out / "metrics.json").read_text()) if (out / "metrics.json").exists() else None
    assert figures is None or figures["trained_parameters"] < figures["parameters"]


def test_no_product_is_made_for_frozen_weights(decoder: Path) -> None:
    """Products over the tokens make gradients of weights: of all, or of two narrow matrices alone."""

    def products(model: Transformer) -> int:
        tokens = torch.arange(2, 30)[None]
        with torch.profiler.profile(record_shapes=True) as profile:
            model.head.loss(model(tokens), tokens).backward()
        shapes = [each.input_shapes for each in profile.events() if each.name == "aten::mm"]
        return sum(first[1] == second[0] == tokens.numel() for first, second, *_ in shapes)

    model = load_model(decoder)
    assert products(model) == 13  # six linear layers in each of two blocks, and the head
    LowRank(rank=2, targets=("blocks.1.mlp.down",)).begin(model, tokenizer=decoder, seed=1)
    assert products(model) == 2


def test_what_cannot_be_is_told(decoder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = load_model(decoder)
    with pytest.raises(RecipeError, match=r"finetune.method bitfit trains biases, of which llama models have none"):
        BitFit().begin(model, tokenizer=decoder, seed=1)
    with pytest.raises(RecipeError, match=r"finetune.method.layers must be at most 2, .* got 3"):
        Frozen(layers=3).begin(model, tokenizer=decoder, seed=1)
    with pytest.raises(RecipeError, match=r"targets: 'nothing' names no linear layer; their names end in "):
        LowRank(targets=("nothing",)).begin(model, tokenizer=decoder, seed=1)
