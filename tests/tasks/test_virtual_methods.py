"""Prompt and prefix tuning from a file of examples to predictions, and in PEFT."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import peft
import pytest
import torch
import transformers
from safetensors.torch import load_file
from short_run import finetuned

from danlu.cli import main
from danlu.errors import InputError, RecipeError
from danlu.nn.hf.folder import load_model
from danlu.nn.prompting import table_of
from danlu.nn.transformer import Transformer
from danlu.tasks.material import Material
from danlu.tasks.virtual_methods import Prefix, Prompt

pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")  # in peft

CHAT = "{use: chat, template: plain, answer_tokens: 4}"
NOWHERE = {"adapter_kwargs": {"subfolder": "none"}}
"""With which transformers loads the folder's own weights and leaves PEFT's files alone, as the guide says."""


def _chats(path: Path) -> Path:
    lines = [{"instruction": f"{number} 你好?", "output": f"Once {number} there."} for number in range(12)]
    path.write_text("".join(json.dumps(each, ensure_ascii=False) + "\n" for each in lines))
    return path


def _labelled(path: Path) -> Path:
    lines = [
        {"text": "to be " * (number % 4) + f"{'to be' if number % 2 else 'once'} {number}", "label": "ab"[number % 2]}
        for number in range(24)
    ]
    path.write_text("".join(json.dumps(each) + "\n" for each in lines))
    return path


def _pairs(path: Path) -> Path:
    path.write_text("".join(json.dumps({"source": f"once {n}", "target": f"话 {n}"}) + "\n" for n in range(12)))
    return path


def _tagged(path: Path) -> Path:
    path.write_text("".join(f"to O\nbe B-X\nonce {'B-Y' if n % 2 else 'O'}\n\n" for n in range(12)))
    return path


def _asked(path: Path) -> Path:
    lines = [{"question": "what?", "context": f"to be {n} once", "answer": "be"} for n in range(12)]
    path.write_text("".join(json.dumps(each) + "\n" for each in lines))
    return path


def _finetuned(tmp_path: Path, folder: Path, file: Path, task: str, method: str, *more: str) -> Path:
    return finetuned(tmp_path, folder, file, task, method, *more, rate=0.05)


METHODS = ["{use: prompt, tokens: 3}", "{use: prefix, tokens: 3}", "{use: prefix, tokens: 3, mlp: 8}",
           "{use: prefix, tokens: 3, text: once upon}"]  # fmt: skip


@pytest.mark.parametrize("method", METHODS)
def test_a_decoder_is_the_same_in_peft_and_its_weights_stay(decoder: Path, tmp_path: Path, method: str) -> None:
    out = _finetuned(tmp_path, decoder, _chats(tmp_path / "chats.jsonl"), CHAT, method)
    tokens = torch.arange(2, 40)[None]
    base = transformers.AutoModelForCausalLM.from_pretrained(decoder, dtype=torch.float32).eval()
    ours = load_model(out / "model")
    with torch.no_grad():
        before = base(tokens).logits
        theirs = peft.AutoPeftModelForCausalLM.from_pretrained(out / "model", dtype=torch.float32).eval()
        logits = ours.head(ours(tokens))
        torch.testing.assert_close(theirs(tokens).logits[:, -38:], logits, rtol=1e-4, atol=1e-4)
        assert (logits - before).abs().max() > 0.05
        alone = transformers.AutoModelForCausalLM.from_pretrained(out / "model", dtype=torch.float32, **NOWHERE)
        torch.testing.assert_close(alone(tokens).logits, before)
    table = load_file(out / "model" / "adapter_model.safetensors")
    assert set(table) == {"prompt_embeddings"}
    config = json.loads((out / "model" / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == str(decoder)


@pytest.mark.parametrize(("task", "make", "name"), [
    ("classify", _labelled, "AutoModelForSequenceClassification"),
    ("{use: tag}", _tagged, "AutoModelForTokenClassification"),
    ("{use: extract, max_tokens: 20, stride: 2}", _asked, "AutoModelForQuestionAnswering"),
])  # fmt: skip
@pytest.mark.parametrize("method", METHODS[:2])
def test_the_predictions_of_an_encoder_are_of_what_peft_computes(
    encoder: Path, tmp_path: Path, method: str, task: str, make: Any, name: str
) -> None:
    file = make(tmp_path / ("data.conll" if make is _tagged else "data.jsonl"))
    out = _finetuned(tmp_path, encoder, file, task, method)
    base = getattr(transformers, name).from_pretrained(out / "model", dtype=torch.float32, **NOWHERE)
    theirs = peft.PeftModel.from_pretrained(base.eval(), out / "model").eval()
    ours = load_model(out / "model")
    tokens, segments = torch.tensor([[2, 20, 30, 40, 3, 2, 21, 3]]), torch.tensor([[0, 0, 0, 0, 0, 1, 1, 1]])
    with torch.no_grad():
        hidden = ours(tokens, segments=segments)
        for document in (0, 1):
            own = tokens[segments == document][None]
            said = theirs(own, attention_mask=torch.ones_like(own))
            if task == "classify":
                pooled = hidden[:, 0 if document == 0 else 5]
                torch.testing.assert_close(ours.head.scores(pooled), said.logits, rtol=1e-4, atol=1e-4)
                continue
            wanted = said.logits if name.endswith("TokenClassification") else torch.stack(
                [said.start_logits, said.end_logits], -1)  # fmt: skip
            made = ours.head(hidden)[segments == document]
            torch.testing.assert_close(made, wanted[0, -own.shape[1] :], rtol=1e-4, atol=1e-4)
    answers = tmp_path / "answers.jsonl"
    assert main(["predict", str(out / "model"), str(file), "--out", str(answers)]) == 0
    said_here = [json.loads(line)["prediction"] for line in answers.read_text().splitlines()]
    told = [json.loads(line) for line in (out / "dev.predictions.jsonl").read_text().splitlines()]
    assert said_here == [each["prediction"] for each in sorted(told, key=lambda each: each.get("number", 0))]


def test_the_figures_of_a_classifier_are_those_of_peft_on_the_file(encoder: Path, tmp_path: Path) -> None:
    """The head trains, and on the original base PEFT puts its own in."""
    file = _labelled(tmp_path / "data.jsonl")
    out = _finetuned(tmp_path, encoder, file, "classify", METHODS[0])
    base = transformers.AutoModelForSequenceClassification.from_pretrained(encoder, num_labels=2, dtype=torch.float32)
    theirs = peft.PeftModel.from_pretrained(base.eval(), out / "model").eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(encoder)
    answers = tmp_path / "answers.jsonl"
    assert main(["predict", str(out / "model"), str(file), "--out", str(answers), "--dtype", "float32"]) == 0
    for line, said in zip(file.read_text().splitlines(), answers.read_text().splitlines(), strict=True):
        ids = torch.tensor([tokenizer(json.loads(line)["text"])["input_ids"]])
        with torch.no_grad():
            shares = theirs(ids, attention_mask=torch.ones_like(ids)).logits.softmax(-1)[0]
        answer = json.loads(said)
        assert answer["scores"]["a"] == pytest.approx(float(shares[0]), abs=1e-4)


@pytest.mark.parametrize("method", METHODS[:2])
def test_a_model_with_two_sides_writes_with_them(answerer: Path, tmp_path: Path, method: str) -> None:
    file = _pairs(tmp_path / "pairs.jsonl")
    out = _finetuned(tmp_path, answerer, file, "{use: seq2seq, answer_tokens: 4}", method)
    ours = load_model(out / "model")
    base = transformers.AutoModelForSeq2SeqLM.from_pretrained(answerer, dtype=torch.float32).eval()
    base._prepare_encoder_decoder_kwargs_for_generation = None  # which PEFT 0.21 looks for, and transformers 5 has not
    theirs = peft.PeftModel.from_pretrained(base, out / "model").eval()
    tokens, written = torch.arange(2, 20)[None], torch.arange(4)[None]
    with torch.no_grad():
        logits = ours.head(ours(written, memory=ours.encode(tokens)))
        said = theirs(tokens, attention_mask=torch.ones_like(tokens), decoder_input_ids=written).logits
    torch.testing.assert_close(logits, said, rtol=1e-4, atol=1e-4)
    answers = tmp_path / "answers.jsonl"
    assert main(["predict", str(out / "model"), str(file), "--out", str(answers)]) == 0
    assert len(answers.read_text().splitlines()) == 12


@pytest.mark.parametrize("method", METHODS[:2])
def test_what_is_generated_is_what_peft_would_take_next(decoder: Path, tmp_path: Path, method: str) -> None:
    out = _finetuned(tmp_path, decoder, _chats(tmp_path / "chats.jsonl"), CHAT, method)
    theirs = peft.AutoPeftModelForCausalLM.from_pretrained(out / "model", dtype=torch.float32).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(out / "model")
    prompts = tmp_path / "prompts.txt"
    prompts.write_text("Once upon\n话说\n")
    answers = tmp_path / "answers.jsonl"
    settings = ["temperature=0", "max_tokens=6", "--out", str(answers)]
    assert main(["generate", str(out / "model"), "--prompts", str(prompts), *settings]) == 0
    for prompt, line in zip(prompts.read_text().splitlines(), answers.read_text().splitlines(), strict=True):
        ids = tokenizer(prompt, return_tensors="pt")["input_ids"]
        begun = ids.shape[1]
        while ids.shape[1] < begun + 6 and (ids.shape[1] == begun or ids[0, -1] != 0):
            with torch.no_grad():
                ids = torch.cat([ids, theirs(ids).logits[:, -1:].argmax(-1)], 1)
        said = json.loads(line)
        assert tokenizer.decode(ids[0, begun:], skip_special_tokens=True) == said["text"], said


def test_vectors_are_those_of_peft(encoder: Path, tmp_path: Path) -> None:
    file = tmp_path / "pairs.jsonl"
    file.write_text("".join(json.dumps({"text1": f"to {n}", "text2": f"be {n}"}) + "\n" for n in range(12)))
    out = _finetuned(tmp_path, encoder, file, "{use: embed, pooling: mean}", METHODS[1])
    texts = ["to be or not", "once", "话说"]
    (tmp_path / "texts.txt").write_text("\n".join(texts) + "\n")
    written = tmp_path / "v.npy"
    assert main(["embed", str(out / "model"), str(tmp_path / "texts.txt"), "--out", str(written),
                 "--dtype", "float32"]) == 0  # fmt: skip
    base = transformers.AutoModel.from_pretrained(encoder).eval()
    theirs = peft.PeftModel.from_pretrained(base, out / "model").eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(encoder)
    for text, vector in zip(texts, np.load(written), strict=True):
        ids = torch.tensor([tokenizer(text)["input_ids"]])
        with torch.no_grad():
            mean = theirs(ids, attention_mask=torch.ones_like(ids)).last_hidden_state.mean(1)
        np.testing.assert_allclose(vector, torch.nn.functional.normalize(mean)[0], atol=1e-5)


def test_a_checkpoint_holds_them_and_no_more(decoder: Path, tmp_path: Path) -> None:
    out = _finetuned(tmp_path, decoder, _chats(tmp_path / "chats.jsonl"), CHAT, "{use: prefix, tokens: 3}")
    newest = max((out / "checkpoints").glob("step-*"))
    assert {name: tuple(each.shape) for name, each in load_file(newest / "part.safetensors").items()} == {
        "decoder.prefix.weight": (3, 2 * 2 * 16)
    }
    assert not (newest / "model.safetensors").exists()


@pytest.mark.parametrize("method", [METHODS[0], METHODS[2]])
def test_a_resumed_training_ends_with_the_same(
    decoder: Path, tmp_path: Path, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = _chats(tmp_path / "chats.jsonl")
    adapter = Path("model") / "adapter_model.safetensors"
    whole = load_file(_finetuned(tmp_path, decoder, file, CHAT, method, "finetune.save.steps=3") / adapter)
    (tmp_path / "again").mkdir()

    def fails(*_: Any, **__: Any) -> None:
        raise InputError("the power is gone")

    with monkeypatch.context() as patch:
        patch.setattr(Material, "conclude", fails)
        with pytest.raises(AssertionError):
            _finetuned(tmp_path / "again", decoder, file, CHAT, method, "finetune.save.steps=3")
    checkpoints = tmp_path / "again" / "run" / "finetune" / "checkpoints"
    shutil.rmtree(checkpoints / "step-00000006")
    out = _finetuned(tmp_path / "again", decoder, file, CHAT, method, "finetune.save.steps=3")
    again = load_file(out / adapter)
    assert all(torch.equal(again[name], whole[name]) for name in whole)


def test_a_text_is_what_they_begin_with(decoder: Path) -> None:
    tokenizer = transformers.AutoTokenizer.from_pretrained(decoder)
    words = tokenizer("once upon", add_special_tokens=False)["input_ids"]
    ids = torch.tensor([(words * 9)[:9]])
    base = transformers.AutoModelForCausalLM.from_pretrained(decoder, dtype=torch.float32).eval()
    tokens = torch.arange(2, 12)[None]
    with torch.no_grad():
        wanted = base(torch.cat([ids, tokens], 1)).logits[:, 9:]
        for method in (Prompt(tokens=9, text="once upon"), Prefix(tokens=9, text="once upon")):
            model = load_model(decoder)
            method.begin(model, tokenizer=decoder, seed=1)
            torch.testing.assert_close(model.head(model(tokens)), wanted, rtol=1e-4, atol=1e-4)


def test_what_an_mlp_makes_needs_no_reading(decoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither of words nor by the model: the numbers are those of its own seed."""

    def reads(*_: Any, **__: Any) -> None:
        raise AssertionError("the model reads")

    tables = []
    for seed in (1, 1, 2):
        model = load_model(decoder)
        with monkeypatch.context() as patch:
            patch.setattr(Transformer, "forward", reads)
            Prefix(tokens=3, mlp=8).begin(model, tokenizer=tmp_path / "none", seed=seed)
        table = table_of(model)
        assert table.shape == (3, 2 * 2 * 16) and table.isfinite().all()
        tables.append(table)
        tokens = torch.arange(2, 12)[None]
        assert model.head(model(tokens)).isfinite().all()
    assert torch.equal(tables[0], tables[1]) and not torch.equal(tables[0], tables[2])


@pytest.mark.parametrize(("model", "task", "method", "line"), [
    ("encoder", "classify", "{use: prompt, tokens: 24}", "finetune.method.tokens must be below 24, which the model"),
    ("encoder", "{use: classify, max_tokens: 22}", "{use: prefix, tokens: 3}",
     "finetune.task.max_tokens must be at most 21, which the model sees; got 22"),
    ("encoder", "embed", METHODS[0], "finetune.method prompt: this head of bert averages a text's tokens"),
    ("decoder", CHAT, "{use: prefix, mlp: 4, text: once}", "text and mlp exclude each other"),
    ("decoder", CHAT, "{use: prompt, tokens: 0}", "tokens"),
])  # fmt: skip
def test_bad_input_is_one_line(
    model: str, task: str, method: str, line: str, tmp_path: Path, request: pytest.FixtureRequest,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    folder = request.getfixturevalue(model)
    file = _chats(tmp_path / "data.jsonl") if task == CHAT else _labelled(tmp_path / "data.jsonl")
    if task == "embed":
        file.write_text("".join(json.dumps({"text1": f"to {n}", "text2": f"be {n}"}) + "\n" for n in range(12)))
    with pytest.raises(AssertionError):
        _finetuned(tmp_path, folder, file, task, method)
    assert line in capsys.readouterr().err


def test_families_without_keys_are_told(decoder: Path, tmp_path: Path) -> None:
    config = transformers.ModernBertConfig(
        vocab_size=300, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32,
        pad_token_id=0, cls_token_id=1, sep_token_id=2, bos_token_id=1, eos_token_id=2,
    )  # fmt: skip
    transformers.ModernBertForMaskedLM(config).save_pretrained(tmp_path / "modern")
    with pytest.raises(RecipeError, match=r"modernbert models of transformers take no keys and values .*; use prompt"):
        Prefix().begin(load_model(tmp_path / "modern"), tokenizer=decoder, seed=1)
    Prompt().begin(load_model(tmp_path / "modern"), tokenizer=decoder, seed=1)


def test_another_training_does_not_begin_with_them(
    decoder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = _chats(tmp_path / "chats.jsonl")
    out = _finetuned(tmp_path, decoder, file, CHAT, METHODS[0])
    (tmp_path / "again").mkdir()
    with pytest.raises(AssertionError):
        _finetuned(tmp_path / "again", out / "model", file, CHAT, "full")
    assert "has virtual tokens, beside which nothing else is trained" in capsys.readouterr().err
