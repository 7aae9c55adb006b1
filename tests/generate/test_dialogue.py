"""A conversation at the terminal with a model that has a chat template: what transformers' template and generate do."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from danlu import cli
from danlu.tokenizers.named_chats import TEMPLATES

WRITTEN = 8


@pytest.fixture
def chatting(decoder: Path) -> Path:
    """A model with a chat template, whose answers its ``<|end|>`` ends."""
    (decoder / "chat_template.jinja").write_text(TEMPLATES["plain"])
    return decoder


def talk(folder: Path, lines: str, monkeypatch: pytest.MonkeyPatch, *settings: str) -> int:
    monkeypatch.setattr("sys.stdin", io.StringIO(lines))
    return cli.main(["generate", str(folder), "--chat", "temperature=0", f"max_tokens={WRITTEN}", *settings])


def answered(folder: Path, messages: list[dict[str, str]], begun: str = "") -> str:
    """What transformers says, and goes on to say after ``begun``."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model: Any = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    rendered = tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
    inputs = tokenizer(rendered + begun, add_special_tokens=False, return_tensors="pt")
    ids = model.generate(**inputs, max_new_tokens=WRITTEN, do_sample=False, pad_token_id=0)[0]
    said: str = tokenizer.decode(ids[inputs["input_ids"].shape[1] :], skip_special_tokens=True)
    return said


def test_every_line_is_a_message(
    chatting: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert talk(chatting, "To be?\nOnce upon\n/reset\nTo be?\n", monkeypatch) == 0
    messages = [{"role": "user", "content": "To be?"}]
    first = answered(chatting, messages)
    messages += [{"role": "assistant", "content": first}, {"role": "user", "content": "Once upon"}]
    second = answered(chatting, messages)
    assert capsys.readouterr().out == f"{first}\n{second}\n{first}\n"
    assert first != second


@pytest.mark.parametrize("settings", [(), ("search=beam", "search.beams=1")])
def test_an_empty_line_has_the_answer_go_on(
    settings: tuple[str, ...], chatting: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert talk(chatting, "\nTo be?\n\n", monkeypatch, *settings) == 0
    messages = [{"role": "user", "content": "To be?"}]
    first = answered(chatting, messages)
    second = answered(chatting, messages, begun=first)
    assert capsys.readouterr().out == f"there is nothing to answer yet\n{first}\n{second}\n"


def test_without_a_template_or_as_a_prompt_the_text_itself_goes_on(
    chatting: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    prompt = ["generate", str(chatting), "--prompt", "To be?", "temperature=0", f"max_tokens={WRITTEN}"]
    assert cli.main(prompt) == 0
    continued = capsys.readouterr().out
    (chatting / "chat_template.jinja").unlink()
    assert talk(chatting, "To be?\n", monkeypatch) == 0
    assert capsys.readouterr().out == continued


def test_a_prompt_may_be_the_first_message(
    chatting: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert talk(chatting, "", monkeypatch, "--prompt", "To be?") == 0
    assert capsys.readouterr().out == answered(chatting, [{"role": "user", "content": "To be?"}]) + "\n"
