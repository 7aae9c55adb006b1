"""What is done to a model before it writes, and what it says."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from danlu import log
from danlu.generate import prepare as module
from danlu.generate.engine import generate
from danlu.generate.prepare import SHAPES, CompiledStep, Speed, load_ready, prepare
from danlu.generate.sampling import Sampling
from danlu.nn.cache import KVCache
from danlu.nn.families import Llama
from danlu.nn.packed import PackedLinear
from danlu.nn.stack import call_block
from danlu.nn.transformer import Transformer

MakeModel = Callable[[], Transformer]


@pytest.fixture
def make_model() -> MakeModel:
    def make() -> Transformer:
        settings = Llama(layers=3, dim=36, heads=6, kv_heads=2, head_dim=8)
        model = Transformer(settings.config(vocab_size=97, max_length=40))
        torch.manual_seed(0)
        for weight in model.parameters():
            torch.nn.init.normal_(weight, std=0.2)
        return model.eval()

    return make


@pytest.mark.parametrize(
    ("setting", "tokens", "told"),
    [
        ("auto", 10, "no compilation: 10 tokens are too few to earn it back"),
        ("auto", 6_666, "no compilation: 6,666 tokens are too few to earn it back"),
        ("auto", 6_667, "steps are compiled"),  # times 3 blocks
        ("auto", None, "no compilation: how many tokens there will be is not known"),
        ("off", 10**6, "no compilation: as asked"),
        ("off", None, "no compilation: as asked"),
        ("on", None, "steps are compiled"),
        ("on", 1, "steps are compiled"),
    ],
)
def test_what_pays_is_compiled_and_told(setting: Any, tokens: int | None, told: str, make_model: MakeModel) -> None:
    model = make_model()
    said = prepare(model, setting, tokens=tokens)
    assert said.startswith("weights are packed; ") and told in said
    assert isinstance(model.blocks[0].mlp.up, PackedLinear)
    assert model.decoder is not None
    assert isinstance(model.decoder.step, CompiledStep) is ("compiled by" in said)


def test_a_compiler_that_fails_is_told_once(make_model: MakeModel, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr(log, "say", said.append)
    model = make_model()
    expected = model(tokens := torch.randint(0, 97, (1, 8)))
    assert model.decoder is not None
    model.decoder.step = step = CompiledStep()

    def broken(*_: Any) -> Any:
        raise torch._dynamo.exc.BackendCompilerFailed(lambda: None, RuntimeError("no such header"), None)

    step._compiled = broken
    cache = KVCache(model.config, batch=1, length=8, dtype=torch.float32)
    with torch.inference_mode():
        parts = [model(part, cache=cache) for part in torch.split(tokens, [5, 1, 1, 1], dim=1)]
    torch.testing.assert_close(torch.cat(parts, 1), expected, rtol=1e-4, atol=1e-4)
    assert len(said) == 1 and "torch.compile failed" in said[0]
    assert step._compiled is call_block


def test_errors_of_the_model_stay_errors() -> None:
    step = CompiledStep()

    def broken(*_: Any) -> Any:
        raise ValueError("ours")

    step._compiled = broken
    with pytest.raises(ValueError, match="ours"):
        step(None, torch.zeros(1), None)  # type: ignore[arg-type]
    assert torch._dynamo.config.recompile_limit >= SHAPES


def test_the_model_is_where_the_settings_say(run_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The device without memory stands for a GPU, where weights are not packed."""
    meta = torch.device("meta")
    types = {meta: torch.float64}
    monkeypatch.setattr(module, "choose_device", lambda *_, **__: meta)
    monkeypatch.setattr(module, "choose_dtype", lambda _, device=None: (types.get(device, torch.float32), "as asked"))
    loaded, how = load_ready(run_dir / "pretrain/model", Speed("auto", "off", "auto"), tokens=1)
    assert {(weight.device, weight.dtype) for weight in loaded.model.parameters()} == {(meta, torch.float64)}
    assert "weights are as they were" in how


@pytest.mark.gpu
@pytest.mark.parametrize("temperature", [0.0, 0.8])
def test_a_gpu_writes_what_a_processor_writes(temperature: float, run_dir: Path) -> None:
    texts = []
    for device in ("cpu", "cuda"):
        speed = Speed("fp32", "off", device)  # type: ignore[arg-type]
        (model, tokenizer, special), _ = load_ready(run_dir / "pretrain/model", speed, tokens=24)
        assert model.embedding.weight.device.type == device
        settings = Sampling(max_tokens=24, temperature=temperature, repetition_penalty=1.1)
        answers = generate(model, tokenizer, ["To be", "话说"], settings=settings, seed=1, special=special)
        texts.append([answer.text for answer in answers])
    assert texts[0] == texts[1]


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_what_is_compiled_writes_what_is_not(precision: Any, run_dir: Path) -> None:
    """The whole way with the compiler's own code: prompts of three lengths, of which two end before the third."""
    folder, settings = run_dir / "pretrain/model", Sampling(max_tokens=24, temperature=0, stop=("e", "。"))
    texts = []
    for compiling in ("on", "off"):
        (model, tokenizer, special), how = load_ready(folder, Speed(precision, compiling), tokens=24)  # type: ignore[arg-type]
        assert ("steps are compiled" in how) is (compiling == "on") and how.startswith(f"precision {precision}")
        answers = generate(model, tokenizer, ["To be", "话说", "F"], settings=settings, seed=1, special=special)
        assert model.decoder is not None
        if compiling == "on":
            assert isinstance(model.decoder.step, CompiledStep) and model.decoder.step._compiled is not call_block
        texts.append([answer.text for answer in answers])
    if precision == "fp32":  # in bfloat16 fused code rounds less often, and near ties fall otherwise
        assert texts[0] == texts[1]
    assert any(texts[0])
