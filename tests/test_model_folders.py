"""What can be wrong with a model folder that somebody brings, a list of texts, or a file to write: one line, exit 2."""

from __future__ import annotations

import io
import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import transformers
from safetensors.torch import load_file, save_file

from danlu import cli
from danlu.nn.transformer import Transformer

EMBED = ["embed", "encoder", "t.txt", "--out", "v.npy"]
ASK = ["generate", "decoder", "--prompt", "To be"]


@pytest.fixture(autouse=True)
def place(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, whole_decoder: Path, whole_encoder: Path) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(whole_decoder, "decoder")
    shutil.copytree(whole_encoder, "encoder")
    Path("t.txt").write_text("To be\nor not\n")
    Path("empty").mkdir()
    Path("there.jsonl").write_text("mine")
    Path("run/pretrain/model").mkdir(parents=True)
    Path("run/pretrain/model/config.json").write_text("{}")
    Path("gguf").mkdir()
    Path("gguf/m.gguf").write_bytes(b"GGUF")


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """The one line; nothing is printed beside it and nothing on the disk is new or gone."""
    before = {path: path.stat().st_mtime_ns for path in Path().rglob("*") if path.is_file()}
    capsys.readouterr()
    code = cli.main(arguments)
    captured = capsys.readouterr()
    assert (code, captured.out) == (2, ""), captured
    assert captured.err.startswith("danlu: error: ") and captured.err.count("\n") == 1, captured.err
    assert {path: path.stat().st_mtime_ns for path in Path().rglob("*") if path.is_file()} == before
    return captured.err.removeprefix("danlu: error: ").strip()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["generate", "decodr", "--prompt", "a"], "there is no model folder decodr; did you mean 'decoder'?"),
        (["generate", "org/m", "--prompt", "a"], "no model folder org/m; 'danlu import org/m' fetches it from the hub"),
        (["generate", "empty", "--prompt", "a"], "no model in empty: config.json is missing"),
        (["generate", "run", "--prompt", "a"], "config.json is missing; did you mean 'run/pretrain/model'?"),
        (["generate", "gguf", "--prompt", "a"], "gguf holds a GGUF file; 'danlu import gguf' makes a model folder of"),
        (["generate", "gguf/m.gguf", "--chat"], "is a file, not a folder with a model; 'danlu import gguf/m.gguf'"),
        (["generate", "q.yaml", "--prompt", "a"], "no recipe at q.yaml"),
        (["generate", "encoder", "--prompt", "a"], "is an encoder (bert) and writes no text; 'danlu embed encoder "),
        (["generate", "decoder"], "a model folder has no prompts of its own: --prompt TEXT, --chat or --prompts FILE"),
        ([*ASK, "temprature=1"], "temprature: unknown key; did you mean 'temperature'? (choices: max_tokens, "),
        ([*ASK, "top_p=7"], "top_p must be at most 1.0; got 7"),
        ([*ASK, "seed=-1"], "seed must be at least 0; got -1"),
        ([*ASK, "max_tokens"], "an override is key.path=value; got 'max_tokens'"),
        ([*ASK, "--prompts", "t.txt"], "--prompts stands alone; leave --prompt and --chat out"),
        ([*ASK, "--out", "a.jsonl"], "--out is where the answers to --prompts go"),
        (["generate", "decoder", "--prompts", "t.txt"], "--prompts needs --out ANSWERS.jsonl"),
        (["generate", "decoder", "--prompts", "t.txt", "--out", "a.txt"], "a.txt must end in .jsonl"),
        (["generate", "decoder", "--prompts", "t.txt", "--out", "there.jsonl"], "there.jsonl exists already; remove"),
        (["generate", "decoder", "--prompts", "s.txt", "--out", "a.jsonl"], "no file s.txt; did you mean 't.txt'?"),
        (["embed", "decoder", "t.txt", "--out", "v.npy"], "(llama with Head) embeds no texts; 'danlu generate decoder"),
        (["embed", "nothing", "t.txt", "--out", "v.npy"], "there is no model folder nothing"),
        (["embed", "encoder", "t.txt"], "--out requires an argument"),
        (["embed", "encoder", "t.pdf", "--out", "v.npy"], "cannot tell how to read 't.pdf' by its ending (choices: "),
        (["embed", "encoder", "t.txt", "--out", "v.pt"], "v.pt must end in .npy or .jsonl or .parquet"),
        (["embed", "encoder", "t.txt", "--out", "none/v.npy"], "cannot write to none/v.npy: there is no folder 'none'"),
        (["embed", "encoder", "t.txt", "--out", "t.txt/v.npy"], "cannot write to t.txt/v.npy: there is no folder"),
        (["embed", "encoder", "t.txt", "--out", "/sys/v.npy"], "cannot write to /sys"),
        ([*EMBED, "--key", "text"], "t.txt has no fields: a line is a text"),
        ([*EMBED, "--dtype", "int8"], "--dtype"),
        (["similar", "encoder", " ", "t.txt"], "TEXT is empty"),
        (["similar", "encoder", "a", "t.txt", "--top", "0"], "--top must be at least 1; got 0"),
        (["similar", "encoder", "a", "empty"], "cannot tell how to read 'empty'"),
    ],
)  # fmt: skip
def test_words_that_are_wrong(capsys: pytest.CaptureFixture[str], arguments: list[str], words: str) -> None:
    assert words in refused(capsys, *arguments)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.txt", b"", "a.txt holds no text"),
        ("a.txt", b"one\n\nthree\n", "a.txt, line 2: the text is empty"),
        ("a.txt", b"one\n  \t\r\n", "a.txt, line 2: the text is empty"),
        ("a.txt", b"one\ncaf\xe9\n", "a.txt, line 2: it is not UTF-8"),
        ("a.txt", "one".encode("utf-16"), "a.txt, line 1: it is not UTF-8, but UTF-16; save it as UTF-8"),
        ("a.txt", b"one\ntwo\0\n", "a.txt, line 2: it holds a NUL"),
        ("a.jsonl", b'{"text": "a"}\n\n{"text": "b"}\n', "a.jsonl, line 2: it is empty"),
        ("a.jsonl", b'{"text": "a"}\n{"text": \n', "a.jsonl, line 2: it is not JSON: "),
        ("a.jsonl", b'["a"]\n', "a.jsonl, line 1: it must be an object; got [\"a\"]"),
        ("a.jsonl", b'{"txt": "a"}\n', "a.jsonl, line 1: it has no 'text'; did you mean 'txt'? (choices: txt)"),
        ("a.jsonl", b'{"text": 7}\n', "a.jsonl, line 1: 'text' must be text; got 7"),
        ("a.jsonl", b'{"text": "\\ud800"}\n', "a.jsonl, line 1: half a surrogate pair is no character"),
        ("a.csv", b"", "a.csv, line 1: the header has no column 'text'"),
        ("a.csv", b"id,body\n1,a\n", "the header has no column 'text' (choices: id, body)"),
        ("a.csv", b"text,text\n1,a\n", "the header has several columns 'text'"),
        ("a.csv", b'text,id\n"a\nb",1\nc\n', "a.csv, line 4: it has 1 cells and the header 2"),
        ("a.csv", b'text\na\n"b\n', "a.csv, line 3: the table is damaged here: "),
        ("a.tsv", b"text\ta\nx\ty\n\nz\tw\n", "a.tsv, line 3: it is empty"),
        ("a.tsv", b"text\n", "a.tsv holds no text"),
    ],
)  # fmt: skip
def test_lists_that_are_none(capsys: pytest.CaptureFixture[str], name: str, content: bytes, words: str) -> None:
    Path(name).write_bytes(content)
    assert words in refused(capsys, "embed", "encoder", name, "--out", "v.npy")


def set_keys(path: str, **values: object) -> None:
    Path(path).write_text(json.dumps({**json.loads(Path(path).read_text()), **values}))


def test_folders_that_are_damaged(capsys: pytest.CaptureFixture[str]) -> None:
    Path("decoder/generation_config.json").write_text('{"do_sample": true, "top_p": 3}')
    assert refused(capsys, *ASK) == "decoder/generation_config.json: top_p must be at most 1.0; got 3"
    Path("decoder/generation_config.json").write_text('{"do_sample": "yes"}')
    assert refused(capsys, *ASK) == "decoder/generation_config.json: do_sample must be true or false; got 'yes'"
    Path("decoder/generation_config.json").write_text("{")
    assert refused(capsys, *ASK).startswith("decoder/generation_config.json is damaged: ")
    Path("decoder/tokenizer.json").unlink()
    assert re.match(r"no tokenizer in decoder: \S*tokenizer.json is missing", refused(capsys, *ASK))
    set_keys("decoder/config.json", model_type="lama")
    assert "unknown model_type 'lama'; did you mean 'llama'?" in refused(capsys, *ASK)
    Path("decoder/config.json").write_text("{")
    assert refused(capsys, *ASK).startswith("decoder/config.json is damaged: ")
    Path("encoder/model.safetensors").write_bytes(b"1234")
    assert refused(capsys, *EMBED).startswith("encoder/model.safetensors is damaged")
    Path("encoder/tokenizer.json").write_text("{")
    assert re.match(r"(encoder/tokenizer.json|the tokenizer in encoder) is damaged: ", refused(capsys, *EMBED))
    Path("encoder/tokenizer.json").unlink()
    assert re.match(r"no tokenizer in encoder: \S*tokenizer.json is missing", refused(capsys, *EMBED))


def test_vectors_that_are_no_numbers_are_not_written(capsys: pytest.CaptureFixture[str]) -> None:
    weights = load_file("encoder/model.safetensors")
    weights["encoder.layer.0.output.dense.weight"][0, 0] = float("nan")
    save_file(weights, "encoder/model.safetensors", metadata={"format": "pt"})
    assert cli.main(EMBED) == 2
    assert "the model in encoder makes vectors with infinity or what is no number" in capsys.readouterr().err
    assert not Path("v.npy").exists()


@pytest.mark.parametrize(("kind", "told"), [("MaskedLM", "Head"), ("SequenceClassification", "Labels")])
def test_encoders_with_a_head_say_who_uses_them(kind: str, told: str, capsys: pytest.CaptureFixture[str]) -> None:
    config = transformers.BertConfig(
        vocab_size=50, hidden_size=32, num_hidden_layers=1, num_attention_heads=4, intermediate_size=48
    )
    getattr(transformers, f"BertFor{kind}")(config).save_pretrained("headed")
    line = refused(capsys, "generate", "headed", "--prompt", "a")
    assert line.endswith("writes no text; Python callers use it through danlu.nn.hf.folder.load_model")
    line = refused(capsys, "embed", "headed", "t.txt", "--out", "v.npy")
    assert line == f"the model in headed (bert with {told}) embeds no texts; it needs a bare model"


def test_a_read_only_place_is_told_before_any_work() -> None:
    def danlu(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = ["unshare", "-rm", "sh", "-c", 'mount -t tmpfs -o ro tmpfs empty && exec "$@"', "sh"]
        command += [sys.executable, "-m", "danlu", *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    if shutil.which("unshare") is None or danlu("--version").returncode != 0:
        pytest.skip("no file system can be mounted here")
    for arguments in ((*EMBED[:-1], "empty/v.npy"), ("generate", "decoder", "--prompts=t.txt", "--out=empty/a.jsonl")):
        done = danlu(*arguments)
        assert (done.returncode, done.stdout) == (2, "")
        out = "empty/v.npy" if arguments[0] == "embed" else "empty/a.jsonl"
        assert done.stderr == f"danlu: error: cannot write to {out}: the file system is read-only\n"


@pytest.mark.parametrize("verb", ["generate", "embed"])
def test_what_is_stopped_midway_leaves_nothing(verb: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("danlu.generate.many.generate", stop)
    monkeypatch.setattr("danlu.tasks.embed.Embedder.embed", stop)
    before = sorted(Path().rglob("*"))
    arguments = EMBED if verb == "embed" else ["generate", "decoder", "--prompts", "t.txt", "--out", "a.jsonl"]
    assert cli.main(arguments) == 130
    assert sorted(Path().rglob("*")) == before


def test_import_ends_with_commands_that_work(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("decoder/LICENSE").write_text("Apache")
    for name, width in (("decoder", "32"), ("encoder", "32")):
        capsys.readouterr()
        assert cli.main(["import", name, f"my {name}"]) == 0
        lines = [line.split("  ", 1) for line in capsys.readouterr().out.splitlines()]
        rows = {key: value.strip() for key, value in lines}
        assert rows["width"] == width
        assert rows.get("licence") == ("decoder/LICENSE" if name == "decoder" else None)
        commands = [value.strip() for key, value in lines if key == "next" or not key]
        assert len(commands) == (3 if name == "decoder" else 2)
        for command in commands:
            assert f"danlu {'generate' if name == 'decoder' else 'embed'} 'my {name}'" in commands[0]
            words = command.replace("…", "To be").replace("TEXTS.txt", "t.txt").replace("PROMPTS.txt", "t.txt")
            monkeypatch.setattr("sys.stdin", io.StringIO())
            assert cli.main(shlex.split(words)[1:]) == 0, command


@pytest.mark.parametrize(
    ("name", "why"),
    [("decoder", "no text is written: no tokenizer in out: "), ("encoder", "no texts are embedded: no tokenizer in o")],
)
def test_import_says_why_no_command_works(name: str, why: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path(name, "tokenizer.json").unlink()
    assert cli.main(["import", name, "out"]) == 0
    last = capsys.readouterr().out.splitlines()[-1]
    assert f"load_model(Path('out'))  # {why}" in last
    names: dict[str, object] = {}
    exec(last.removeprefix("next").strip(), names)
    assert isinstance(names["model"], Transformer)
