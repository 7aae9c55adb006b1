"""Reward models against ``transformers``' own class, loaded from what was written, on what its tokenizer renders."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tokenizers
import torch
import transformers

from danlu.cli import main
from danlu.corpus.batches import collate
from danlu.corpus.rows import Widths
from danlu.data.dataset import Data, load
from danlu.nn.hf.folder import load_model
from danlu.tasks.reward import Reward
from danlu.tasks.task import Known
from danlu.tasks.text_reader import TextReader

PAIRS = [
    {"prompt": f"{n} 你好?", "chosen": "Once 话说." + " that" * (n % 3), "rejected": f"{n} no." + "!" * (n % 4)}
    for n in range(8)
]


def chat(pair: dict[str, str], side: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": pair["prompt"]}, {"role": "assistant", "content": pair[side]}]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "pairs.jsonl"
    path.write_text("".join(json.dumps(pair, ensure_ascii=False) + "\n" for pair in PAIRS))
    return path


def run(folder: Path, file: Path, tmp_path: Path, *more: str) -> Path | None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(
        f"run_dir: {tmp_path / 'run'}\n"
        f"finetune:\n  data: {{train: {file}, dev: {file}}}\n  model: {folder}\n"
        "  task: {use: reward, template: plain, centre: 0.01}\n"
        "  budget: {steps: 8}\n  batch: 4\n  precision: fp32\n  evaluations: 2\n  optimizer: {lr: 3e-3}\n"
    )
    return None if main(["finetune", str(recipe), *more]) else tmp_path / "run" / "finetune"


def loaded(folder: Path) -> tuple[Any, Any]:
    """The model, and its reward of a conversation."""
    model = transformers.AutoModelForSequenceClassification.from_pretrained(folder, dtype=torch.float32)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)

    def reward(messages: list[dict[str, str]]) -> torch.Tensor:
        inputs = tokenizer.apply_chat_template(messages, return_tensors="pt", return_dict=True)
        found: torch.Tensor = model(**inputs).logits[0, 0]
        return found

    return model, reward


def test_figures_and_predictions_are_those_of_transformers(
    decoder: Path, file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = run(decoder, file, tmp_path)
    assert out is not None
    _, reward = loaded(out / "model")
    with torch.no_grad():
        wanted = np.array([[reward(chat(pair, side)).item() for side in ("chosen", "rejected")] for pair in PAIRS])
    lines = [json.loads(line)["prediction"] for line in (out / "dev.predictions.jsonl").read_text().splitlines()]
    found = np.array([[line[side] for side in ("chosen", "rejected")] for line in lines])
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)
    losses = np.log1p(np.exp(wanted[:, 1] - wanted[:, 0])) + 0.01 * wanted.sum(1) ** 2
    np.testing.assert_allclose([line["loss"] for line in lines], losses, rtol=1e-4)
    figures = json.loads((out / "dev.json").read_text())["figures"]
    assert figures["accuracy"] == (wanted[:, 0] > wanted[:, 1]).mean()

    asked, said = tmp_path / "asked.jsonl", tmp_path / "said.jsonl"
    asked.write_text("".join(json.dumps({"messages": chat(pair, "chosen")}) + "\n" for pair in PAIRS))
    assert main(["predict", str(out / "model"), str(asked), "--out", str(said), "--dtype", "float32"]) == 0
    predicted = [json.loads(line)["prediction"] for line in said.read_text().splitlines()]
    np.testing.assert_allclose(predicted, wanted[:, 0], rtol=1e-4, atol=1e-5)
    asked.write_text(json.dumps({"messages": chat(PAIRS[0], "chosen")[:1]}) + "\n")
    assert main(["predict", str(out / "model"), str(asked), "--out", str(tmp_path / "more.jsonl")]) != 0
    assert "asked.jsonl, line 1: there is no answer to score" in capsys.readouterr().err
    assert not (tmp_path / "more.jsonl").exists()


ENDING = "{%- for m in messages -%}{{- m['role'] + ': ' + m['content'] + eos_token -}}{%- endfor -%}"
"""A template whose last token is what many tokenizers pad with."""


@pytest.mark.parametrize("begins", [True, False])
def test_what_a_conversation_ends_with_is_no_padding(begins: bool, decoder: Path, file: Path, tmp_path: Path) -> None:
    (decoder / "mine.jinja").write_text(ENDING)
    if begins:  # a second special token
        inner = tokenizers.Tokenizer.from_str((decoder / "tokenizer.json").read_text())
        inner.add_special_tokens(["<|begin|>"])
        named = {"eos_token": "<|end|>", "bos_token": "<|begin|>", "pad_token": "<|end|>"}
        transformers.PreTrainedTokenizerFast(tokenizer_object=inner, **named).save_pretrained(decoder)
    out = run(decoder, file, tmp_path, f"finetune.task.template={decoder / 'mine.jinja'}")
    assert out is not None
    model, reward = loaded(out / "model")
    tokenizer = transformers.AutoTokenizer.from_pretrained(out / "model")
    lines = [json.loads(line)["prediction"] for line in (out / "dev.predictions.jsonl").read_text().splitlines()]
    with torch.no_grad():
        if not begins:
            assert model.config.pad_token_id is None and tokenizer.pad_token is None
            found = [reward(chat(pair, "chosen")).item() for pair in PAIRS]
        else:
            chats = [chat(pair, "chosen") for pair in PAIRS]
            inputs = tokenizer.apply_chat_template(chats, padding=True, return_tensors="pt", return_dict=True)
            assert not inputs["attention_mask"].all()
            found = model(**inputs).logits[:, 0].tolist()
    np.testing.assert_allclose([line["chosen"] for line in lines], found, rtol=1e-4, atol=1e-5)


def test_losses_and_gradients_are_those_of_bradley_and_terry(decoder: Path, file: Path, tmp_path: Path) -> None:
    out = run(decoder, file, tmp_path)
    assert out is not None
    task, ours = Reward(centre=0.2), load_model(out / "model")
    examples = load(Data(train=file, dev=file), task.form).splits["train"]
    features = task.features(examples, Known(), TextReader.load(out / "model", max_tokens=96))
    width = Widths(sum(len(each.tokens) for each in features))
    batch = collate([[each.as_example() for each in features]], widths=width)
    loss = task.losses(ours, batch, Known())["reward"]
    loss.backward()  # type: ignore[no-untyped-call]
    theirs, reward = loaded(out / "model")
    total = 0.0
    for pair in PAIRS:
        chosen, rejected = reward(chat(pair, "chosen")), reward(chat(pair, "rejected"))
        wanted = -(chosen.exp() / (chosen.exp() + rejected.exp())).log() + 0.2 * (chosen + rejected) ** 2
        wanted.backward()
        total += wanted.item()
    assert batch.counts == {"reward": len(PAIRS)}
    assert loss.item() == pytest.approx(total, rel=1e-4)
    mine, their = ours.decoder.blocks[0].mlp.down.weight.grad, theirs.model.layers[0].mlp.down_proj.weight.grad  # type: ignore[union-attr]
    torch.testing.assert_close(mine, their, rtol=1e-3, atol=1e-4 * float(their.abs().max()))


def test_encoders_are_refused(encoder: Path, file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(encoder, file, tmp_path) is None
    assert "this task needs a decoder without an encoder; got bert" in capsys.readouterr().err
    assert not (tmp_path / "run/finetune/model").exists()
