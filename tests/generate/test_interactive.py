"""The terminal: a prompt's continuation, a conversation, its commands, Ctrl-C and Ctrl-D."""

from __future__ import annotations

import io
import json
import os
import pty
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import transformers

from danlu import cli
from danlu.errors import InputError
from danlu.generate import interactive
from danlu.generate.engine import generate, load
from danlu.generate.prepare import Speed
from danlu.generate.sampling import Sampling
from danlu.generate.source import of_recipe
from danlu.generate.stage import Generate
from danlu.recipe import Recipe
from danlu.tokenizers.tokenizer import Tokenizer

SETTINGS = Sampling(max_tokens=8)


@pytest.fixture
def recipe(run_dir: Path) -> Recipe:
    return Recipe("x", run_dir, 5, {"generate": Generate(precision="fp32", sampling=SETTINGS)})


def main(recipe: Recipe, *, prompt: str | None = None, chat: bool = False) -> None:
    interactive.main(of_recipe(recipe), prompt=prompt, chat=chat)


def answer(run_dir: Path, text: str, *, seed: int, settings: Sampling = SETTINGS) -> str:
    model, tokenizer, _ = load(run_dir / "pretrain/model")
    return generate(model, tokenizer, [text], settings=settings, seed=seed)[0].text


def test_a_prompt_is_continued_and_nothing_else_is_printed(
    recipe: Recipe, run_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(recipe, prompt="To be")
    assert capsys.readouterr().out == answer(run_dir, "To be", seed=5) + "\n"


@pytest.mark.parametrize(("prompt", "chat", "known"), [("To be", False, 8), ("To be", True, None), (None, False, None)])
def test_how_much_is_written_is_known_of_one_answer_only(
    prompt: str | None, chat: bool, known: int | None, recipe: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    def asked(_: Path, __: Speed, *, tokens: int | None) -> None:
        raise InputError(str(tokens))

    monkeypatch.setattr(interactive, "load_ready", asked)
    with pytest.raises(InputError, match=f"^{known}$"):
        main(recipe, prompt=prompt, chat=chat)


def test_the_tokenizer_is_the_one_beside_the_model(
    run_dir: Path, retrained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(Recipe("x", retrained, 5, {"generate": Generate(precision="fp32", sampling=SETTINGS)}), prompt="To be")
    assert capsys.readouterr().out == answer(run_dir, "To be", seed=5) + "\n"


@pytest.mark.parametrize("chat", [False, True])
def test_the_seed_is_that_of_the_section(
    chat: bool, run_dir: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = []
    for recipe_seed, seed in ((5, 8), (6, 8), (5, 9), (9, None)):
        section = Generate(precision="fp32", sampling=SETTINGS, seed=seed)
        recipe = Recipe("x", run_dir, recipe_seed, {"generate": section})
        if chat:
            talk(recipe, "To be\n", monkeypatch)
        else:
            main(recipe, prompt="To be")
        shown.append(capsys.readouterr().out)
    assert shown == [answer(run_dir, "To be", seed=seed) + "\n" for seed in (8, 8, 9, 9)]
    assert shown[0] != shown[2]


def talk(recipe: Recipe, lines: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(lines))
    main(recipe, chat=True)


def test_the_text_so_far_is_the_context(
    recipe: Recipe, run_dir: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    talk(recipe, "To be\nor not\n/reset\nTo be\n/quit\nnever read\n", monkeypatch)
    first = answer(run_dir, "To be", seed=5)
    second = answer(run_dir, f"To be{first}\nor not".replace("\n\n", "\n"), seed=6)
    third = answer(run_dir, "To be", seed=7)
    assert capsys.readouterr().out == "".join(f"{text}\n" for text in (first, second, third))


def test_a_model_with_an_encoder_answers_each_line_by_itself(
    tokenizer: Tokenizer, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "pretrain/model"
    torch.manual_seed(1)
    config = transformers.T5Config(
        vocab_size=tokenizer.vocab_size,
        d_model=32,
        d_kv=8,
        d_ff=48,
        num_layers=1,
        num_heads=4,
        decoder_start_token_id=0,
    )
    stock = transformers.T5ForConditionalGeneration(config)
    for weight in stock.parameters():
        torch.nn.init.normal_(weight, 0.0, 0.35)
    stock.save_pretrained(folder)
    tokenizer.save(folder)
    (tmp_path / "pretrain/done.json").write_text('{"made_from": {}, "outputs": {}, "figures": {}}')
    greedy = Sampling(max_tokens=8, temperature=0)
    section = Generate(precision="fp32", sampling=greedy)
    talk(Recipe("x", tmp_path, 5, {"generate": section}), "To be\nor not\nTo be\n", monkeypatch)
    model, same, special = load(folder)
    lines = [
        generate(model, same, [text], settings=greedy, seed=0, special=special)[0].text for text in ("To be", "or not")
    ]
    assert capsys.readouterr().out == "".join(f"{line}\n" for line in (*lines, lines[0]))
    assert lines[0] != lines[1]


def test_settings_change_on_the_way(
    recipe: Recipe, run_dir: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    talk(recipe, "/set temperature=0\n/set stop=[e]\nTo be\n/set\n", monkeypatch)
    lines = capsys.readouterr().out
    settings = SETTINGS.model_copy(update={"temperature": 0.0, "stop": ("e",)})
    assert answer(run_dir, "To be", seed=5, settings=settings) in lines
    assert lines.count("temperature=0.0") == 3
    assert "stop=['e']" in lines


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("/set temprature=1", "/set.temprature: unknown key; did you mean 'temperature'"),
        ("/set top_p=7", "/set.top_p must be at most 1"),
        ("/set nonsense", "an override is key.path=value; got 'nonsense'"),
        ("/rest", "unknown command '/rest'; did you mean '/reset'"),
        ("/help", "/set NAME=VALUE  change a setting"),
    ],
)
def test_a_wrong_command_is_told_and_the_conversation_goes_on(
    line: str, told: str, recipe: Recipe, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    talk(recipe, f"{line}\n/set\n", monkeypatch)
    out = capsys.readouterr().out
    assert told in out
    assert "temperature=0.8" in out.splitlines()[-1]


def test_ctrl_c_stops_the_answer_and_keeps_what_was_said(
    recipe: Recipe, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def stream(model: object, tokenizer: object, text: str, **rest: object) -> Iterator[str]:
        asked.append(text)
        yield " or"
        raise KeyboardInterrupt

    monkeypatch.setattr(interactive, "stream", stream)
    talk(recipe, "To be\nnot\n\n", monkeypatch)
    assert asked == ["To be", "To be or\nnot", "To be or\nnot or"]
    assert capsys.readouterr().out == " or\n" * 3


def test_ctrl_c_stops_a_prompt_and_the_process_says_so(
    run_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def stream(*_: object, **rest: object) -> Iterator[str]:
        yield " or"
        raise KeyboardInterrupt

    monkeypatch.setattr(interactive, "stream", stream)
    monkeypatch.setattr("sys.stdin", io.StringIO("not\n"))
    (tmp_path / "r.yaml").write_text(json.dumps({"run_dir": str(run_dir), "generate": {}}))
    assert cli.main(["generate", str(tmp_path / "r.yaml"), "--prompt", "To be"]) == 130
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == (" or\n", "danlu: stopped by Ctrl-C\n")
    assert cli.main(["generate", str(tmp_path / "r.yaml"), "--prompt", "To be", "--chat"]) == 0
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == (" or\n" * 2, ""), "in a conversation only the answer ends"


@pytest.mark.parametrize("terminal", [False, True])
def test_on_a_terminal_control_characters_are_replaced(
    terminal: bool, recipe: Recipe, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(interactive, "stream", lambda *_, **rest: iter(["a\x1b[2J", "\x9b\tb\n"]))
    monkeypatch.setattr("sys.stdout.isatty", lambda: terminal)
    main(recipe, prompt="To be")
    assert ("a\ufffd[2J\ufffd\tb\n" if terminal else "a\x1b[2J\x9b\tb\n") in capsys.readouterr().out


@pytest.mark.parametrize("chat", [False, True])
def test_no_model_yet_is_one_clear_line(chat: bool, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no trained model yet; run 'danlu run'"):
        main(Recipe("x", tmp_path, 5, {}), prompt=None if chat else "a", chat=chat)


def test_a_prompt_that_is_no_text_is_told(recipe: Recipe) -> None:
    with pytest.raises(InputError, match="--prompt must be UTF-8"):
        main(recipe, prompt=b"\xff".decode(errors="surrogateescape"))


def test_an_exported_folder_will_do(run_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    export = tmp_path / "export"
    export.mkdir()
    for path in (*(run_dir / "pretrain/model").iterdir(), run_dir / "pretrain/done.json"):
        (export / path.name).write_bytes(path.read_bytes())
    main(Recipe("x", tmp_path, 5, {"generate": Generate(precision="fp32", sampling=SETTINGS)}), prompt="To be")
    assert capsys.readouterr().out == answer(run_dir, "To be", seed=5) + "\n"


def test_at_a_real_terminal(run_dir: Path, tmp_path: Path) -> None:
    """Ctrl-C in the midst of an answer, then Ctrl-D."""
    recipe = tmp_path / "recipe.yaml"
    sampling = {"max_tokens": 1_000_000, "temperature": 0}
    recipe.write_text(json.dumps({"run_dir": str(run_dir), "generate": {"sampling": sampling}}))
    control, terminal = pty.openpty()
    try:
        process = subprocess.Popen(
            [sys.executable, "-m", "danlu", "generate", str(recipe), "--chat"], stdin=terminal, stdout=terminal,
            stderr=terminal, start_new_session=True, env={**os.environ, "TERM": "xterm"},
        )  # fmt: skip
    finally:
        os.close(terminal)
    try:
        shown = read_until(control, "> ")
        assert f"with the model in {run_dir}/pretrain/model, " in shown
        assert "/help lists what you can do" in shown
        os.write(control, "话说\n".encode())
        read_until(control, "", characters=300)  # whatever an untrained model writes
        os.killpg(process.pid, signal.SIGINT)  # what the terminal sends for Ctrl-C
        shown = read_until(control, "> ")
        assert " tokens/s" in shown
        os.write(control, b"\x04")
        assert process.wait(timeout=30) == 0
    finally:
        process.kill()
        os.close(control)


def read_until(descriptor: int, text: str, *, characters: int = 0) -> str:
    """What the terminal shows up to ``text``, at least so many characters; a minute without any fails."""
    shown = ""
    while len(shown) < characters or text not in shown[-20:]:
        ready, _, _ = select.select([descriptor], [], [], 60)
        assert ready, shown
        shown += os.read(descriptor, 4096).decode(errors="replace")
    return shown
