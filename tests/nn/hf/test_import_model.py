"""``danlu import``: folders and GGUF files in, complete Hugging Face folders out, or one line and nothing."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from danlu import cli
from danlu.errors import CheckpointError
from danlu.nn.hf.folder import load_config, load_embedding_model, load_model
from danlu.tokenizers.bpe import BPE

WriteGGUF = Callable[..., Path]


@pytest.fixture(autouse=True)
def _empty_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def stock() -> Any:
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=97, hidden_size=32, num_attention_heads=4, num_key_value_heads=2, intermediate_size=64,
        num_hidden_layers=2, max_position_embeddings=40, bos_token_id=3, eos_token_id=[4, 5], pad_token_id=6,
        rope_parameters={"rope_type": "default", "rope_theta": 500.0},
    )  # fmt: skip
    return transformers.LlamaForCausalLM(config).eval()


def write_folder(stock: Any, folder: Path) -> Path:
    """The model and a tokenizer that goes with it, and code that must not come along."""
    stock.save_pretrained(folder)
    BPE(vocab_size=300).train(["the world is a stage, 天地玄黄"] * 9).save(folder)
    config = json.loads((folder / "tokenizer_config.json").read_text())
    config |= {"chat_template": "{{ messages }}", "auto_map": {"AutoTokenizer": ["odd.Odd", None]}}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    (folder / "odd.py").write_text("raise SystemExit('code was run')")
    model_config = json.loads((folder / "config.json").read_text()) | {"auto_map": {"AutoModel": "odd.Odd"}}
    (folder / "config.json").write_text(json.dumps(model_config))
    return folder


@torch.no_grad()
def assert_same_logits(folder: Path, stock: Any) -> None:
    """Ours and what transformers loads from ``folder``."""
    tokens_BT = torch.arange(40)[None] % 97
    expected = stock(tokens_BT).logits
    ours = load_model(folder)
    theirs, report = transformers.AutoModelForCausalLM.from_pretrained(
        folder, trust_remote_code=False, output_loading_info=True, dtype=torch.float32
    )
    assert not any(report.values()), report
    for logits in (ours.head(ours(tokens_BT)), theirs(tokens_BT).logits):
        torch.testing.assert_close(logits, expected, rtol=1e-5, atol=1e-5)


def test_a_folder_becomes_a_complete_folder(stock: Any, capsys: pytest.CaptureFixture[str]) -> None:
    write_folder(stock, Path("there"))
    capsys.readouterr()
    assert cli.main(["import", "there"]) == 0
    out = Path("runs/imported/there")
    assert_same_logits(out, stock)
    config = json.loads((out / "config.json").read_text())
    assert (config["bos_token_id"], config["eos_token_id"], config["pad_token_id"]) == (3, [4, 5], 6)
    generation = json.loads((out / "generation_config.json").read_text())
    assert (generation["bos_token_id"], generation["eos_token_id"]) == (3, [4, 5])
    assert "auto_map" not in config
    assert "auto_map" not in json.loads((out / "tokenizer_config.json").read_text())
    assert (out / "tokenizer.json").read_bytes() == Path("there/tokenizer.json").read_bytes()
    assert not (out / "odd.py").exists()
    table = dict(line.split("  ", 1) for line in capsys.readouterr().out.splitlines())
    rows = {name: value.strip() for name, value in table.items()}
    assert rows["family"] == "llama (decoder)"
    assert rows["parameters"] == f"{sum(weight.numel() for weight in stock.parameters()):,} in float32"
    assert (rows["layers"], rows["vocabulary"], rows["context"]) == ("2", "97 tokens", "40 tokens")
    assert rows["tokenizer"].startswith("BPE, ")
    assert rows["tokenizer"].endswith(" tokens, with a chat template")
    assert rows["written to"] == str(out)
    assert {path.name for path in out.parent.iterdir()} == {"there"}


@pytest.mark.parametrize(("stored", "asked", "expected"), [
    (torch.float32, None, torch.float32), (torch.bfloat16, None, torch.bfloat16), (torch.float16, None, torch.float16),
    (torch.float32, "bfloat16", torch.bfloat16), (torch.bfloat16, "float32", torch.float32),
])  # fmt: skip
def test_weights_keep_their_type_unless_another_is_asked_for(
    stored: torch.dtype, asked: str | None, expected: torch.dtype, stock: Any
) -> None:
    stock.to(stored).save_pretrained("there")
    assert cli.main(["import", "there", "out", *([f"--dtype={asked}"] if asked else [])]) == 0
    was, now = load_file("there/model.safetensors"), load_file("out/model.safetensors")
    assert was.keys() == now.keys()
    for name, weight in now.items():
        assert weight.dtype == expected
        assert torch.equal(weight, was[name].to(expected))
    assert json.loads(Path("out/config.json").read_text())["dtype"] == str(expected).removeprefix("torch.")


def add_tokenizer() -> dict[str, Any]:
    tokens = ["<|end|>", *[chr(number) for number in range(0x21, 0x7F)], "Ġ", "<|turn|>"]
    return {
        ".tokenizer.ggml.model": "gpt2", ".tokenizer.ggml.pre": "smollm", ".tokenizer.ggml.tokens": tokens,
        ".tokenizer.ggml.token_type": [3, *[1] * 95, 3],
        ".tokenizer.ggml.eos_token_id": 0, ".tokenizer.ggml.eot_token_id": 96, ".tokenizer.ggml.bos_token_id": 0,
        ".tokenizer.chat_template": "{{ messages[0].content }}<|end|>",
    }  # fmt: skip


def test_a_gguf_file_becomes_a_complete_folder(
    stock: Any, write_gguf: WriteGGUF, capsys: pytest.CaptureFixture[str]
) -> None:
    write_gguf(Path("tiny.gguf"), stock, "llama", metadata=add_tokenizer())
    assert cli.main(["import", "tiny.gguf"]) == 0
    out = Path("runs/imported/tiny")
    assert_same_logits(out, stock)
    tokenizer = transformers.AutoTokenizer.from_pretrained(out)
    assert tokenizer("az AZ").input_ids == [tokenizer.convert_tokens_to_ids(each) for each in ("a", "z", "Ġ", "A", "Z")]
    assert tokenizer.apply_chat_template([{"role": "user", "content": "Hi"}], tokenize=False) == "Hi<|end|>"
    assert json.loads((out / "generation_config.json").read_text())["eos_token_id"] == [0, 96]
    config = json.loads((out / "config.json").read_text())
    assert (config["bos_token_id"], config["eos_token_id"], config["pad_token_id"]) == (0, 0, None)
    assert "BPE, 97 tokens, with a chat template" in capsys.readouterr().out


def test_a_folder_with_one_gguf_file_is_enough(
    stock: Any, write_gguf: WriteGGUF, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("there").mkdir()
    write_gguf(Path("there/tiny.gguf"), stock, "llama", metadata=add_tokenizer())
    assert cli.main(["import", "there", "out"]) == 0
    assert load_config(Path("out")).family == "llama"
    Path("there/other.gguf").write_bytes(Path("there/tiny.gguf").read_bytes())
    assert cli.main(["import", "there", "out2"]) == 2
    assert "there holds 2 GGUF files; name one of them, such as there/other.gguf" in capsys.readouterr().err


def test_the_modules_of_an_embedding_come_along() -> None:
    config = transformers.BertConfig(
        vocab_size=97, hidden_size=36, num_hidden_layers=2, num_attention_heads=6, intermediate_size=52,
        max_position_embeddings=40,
    )  # fmt: skip
    transformers.BertModel(config).save_pretrained("there")
    modules = [
        {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
        {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
    ]
    Path("there/modules.json").write_text(json.dumps(modules))
    Path("there/1_Pooling").mkdir()
    Path("there/1_Pooling/config.json").write_text(json.dumps({"pooling_mode_cls_token": True}))
    assert cli.main(["import", "there", "out"]) == 0
    assert load_config(Path("out")) == load_config(Path("there"))
    assert json.loads(Path("out/modules.json").read_text()) == modules


@torch.no_grad()
def test_a_decoder_in_a_gguf_file_that_says_how_it_pools_embeds_and_writes(
    write_gguf: WriteGGUF, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.manual_seed(0)
    config = transformers.Qwen3Config(
        vocab_size=97, hidden_size=32, num_attention_heads=4, num_key_value_heads=2, head_dim=8, intermediate_size=64,
        num_hidden_layers=2, max_position_embeddings=40, tie_word_embeddings=True, bos_token_id=0, eos_token_id=0,
        rope_parameters={"rope_type": "default", "rope_theta": 500.0},
    )  # fmt: skip
    stock = transformers.Qwen3ForCausalLM(config).eval()
    tokenizer = {**add_tokenizer(), ".tokenizer.ggml.pre": "qwen2"}
    write_gguf(Path("tiny.gguf"), stock, "qwen3", metadata={**tokenizer, "pooling_type": 3})
    assert cli.main(["import", "tiny.gguf", "out"]) == 0
    assert_same_logits(Path("out"), stock)
    tokens_BT = torch.arange(40)[None]
    expected_BD = torch.nn.functional.normalize(stock.model(tokens_BT).last_hidden_state[:, -1])
    model = load_embedding_model(Path("out"))
    torch.testing.assert_close(model.head(model(tokens_BT), None), expected_BD, rtol=1e-5, atol=1e-5)
    write_gguf(Path("odd.gguf"), stock, "qwen3", metadata={**tokenizer, "pooling_type": 4})
    assert refuses(capsys, "odd.gguf") == "odd.gguf: qwen3.pooling_type must be 1 or 2 or 3; got 4"


def test_names_of_labels_are_kept() -> None:
    config = transformers.BertConfig(
        vocab_size=97, hidden_size=36, num_hidden_layers=1, num_attention_heads=6, intermediate_size=52,
        max_position_embeddings=40, id2label={0: "bad", 1: "fair", 2: "good"},
        label2id={"bad": 0, "fair": 1, "good": 2},
    )  # fmt: skip
    transformers.BertForSequenceClassification(config).save_pretrained("there")
    assert cli.main(["import", "there", "out"]) == 0
    assert json.loads(Path("out/config.json").read_text())["id2label"] == {"0": "bad", "1": "fair", "2": "good"}


def refuses(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """The one line on standard error; there is nothing new on the disk."""
    capsys.readouterr()  # what transformers said while it wrote
    before = sorted(Path().rglob("*"))
    assert cli.main(["import", *arguments]) == 2
    assert sorted(Path().rglob("*")) == before
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    return captured.err.removeprefix("danlu: error: ").strip()


def test_refuses_with_one_line_and_leaves_nothing(stock: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert refuses(capsys, "./nothing").startswith("there is no file or folder ./nothing")
    Path("empty").mkdir()
    assert refuses(capsys, "empty") == "no model in empty: config.json is missing"
    Path("model.bin").write_bytes(b"a pickle")
    assert refuses(capsys, "model.bin") == "model.bin must be a folder or a .gguf file"
    Path("odd.gguf").write_bytes(b"a pickle")
    assert refuses(capsys, "odd.gguf") == "odd.gguf is no GGUF file: it does not begin with GGUF"
    stock.save_pretrained("there")
    Path("there/model.safetensors").write_bytes(Path("there/model.safetensors").read_bytes()[:-4])
    assert refuses(capsys, "there").startswith("there/model.safetensors is damaged")


def test_refuses_weights_that_are_no_numbers(stock: Any, capsys: pytest.CaptureFixture[str]) -> None:
    stock.save_pretrained("there")
    weights = load_file("there/model.safetensors")
    weights["model.layers.1.mlp.down_proj.weight"][0, 0] = 1e5
    save_file(weights, "there/model.safetensors", metadata={"format": "pt"})
    assert "mlp.down.weight holds infinity or what is no number, read as float16" in refuses(
        capsys, "there", "--dtype=float16"
    )
    weights["model.norm.weight"][0] = np.nan
    save_file(weights, "there/model.safetensors", metadata={"format": "pt"})
    assert "decoder.norm.weight holds infinity or what is no number, read as float32" in refuses(capsys, "there")


@pytest.mark.parametrize("index", [True, False])
def test_a_hostile_name_neither_moves_the_cursor_nor_fills_the_terminal(
    index: bool, stock: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    stock.save_pretrained("there")
    name = "\x1b]0;owned\x07\x9b2J" + "a" * 100_000
    weights = {**load_file("there/model.safetensors"), name: torch.ones(1)}
    save_file(weights, f"there/{'a' if index else 'model'}.safetensors", metadata={"format": "pt"})
    if index:
        Path("there/model.safetensors").unlink()
        places = dict.fromkeys(weights, "a.safetensors") | {name: "b\x1b[2J.safetensors"}
        Path("there/model.safetensors.index.json").write_text(json.dumps({"weight_map": places}))
    line = refuses(capsys, "there")
    assert line.startswith("there/model.safetensors") and line.isprintable()
    assert len(line) < 300


def test_an_error_is_not_pages_long(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise CheckpointError("words " * 100_000)

    monkeypatch.setattr("danlu.nn.hf.import_model.import_model", fail)
    assert len(refuses(capsys, "there")) <= 2001


def test_never_writes_over_what_is_there(stock: Any, capsys: pytest.CaptureFixture[str]) -> None:
    stock.save_pretrained("there")
    Path("out").mkdir()
    Path("out/mine.txt").write_text("mine")
    assert refuses(capsys, "there", "out") == "out exists already; remove it or name another folder"
    Path("file").write_text("mine")
    assert refuses(capsys, "there", "file") == "file exists already; remove it or name another folder"
    Path("void").mkdir()
    assert cli.main(["import", "there", "void"]) == 0


def test_a_tokenizer_that_is_damaged_leaves_nothing(
    stock: Any, write_gguf: WriteGGUF, capsys: pytest.CaptureFixture[str]
) -> None:
    write_gguf(Path("tiny.gguf"), stock, "llama", metadata={**add_tokenizer(), ".tokenizer.ggml.pre": "odd"})
    assert "tokenizer.ggml.pre must be gpt-2 or" in refuses(capsys, "tiny.gguf")
    stock.save_pretrained("there")
    Path("there/tokenizer.json").write_text("{")
    assert refuses(capsys, "there", "out").startswith("there/tokenizer.json is damaged: ")
    Path("there/tokenizer.json").write_text("{}")
    assert refuses(capsys, "there", "out").startswith("the tokenizer in there is damaged: ")


@pytest.mark.parametrize("name", ["generation_config.json", "tokenizer_config.json", "added_tokens.json", "vocab.json"])
@pytest.mark.parametrize("content", ['{"eos_token_id": 3, "temper', "\ufeff{}"], ids=["cut off", "a mark"])
def test_a_damaged_file_is_refused_and_never_left_out(
    name: str, content: str, stock: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    write_folder(stock, Path("there"))
    (Path("there") / name).write_text(content, encoding="utf-8")
    assert refuses(capsys, "there", "out").startswith(f"there/{name} is damaged: ")
    assert not Path("out").exists()


def test_generation_settings_are_an_object(stock: Any, capsys: pytest.CaptureFixture[str]) -> None:
    stock.save_pretrained("there")
    Path("there/generation_config.json").write_text("[1]")
    assert refuses(capsys, "there") == "there/generation_config.json must hold a JSON object; got list"


@pytest.mark.parametrize("name", [
    "config.json", "generation_config.json", "model.safetensors", "tokenizer.json", "vocab.txt", "chat_template.jinja",
    "config_sentence_transformers.json",
])  # fmt: skip
def test_no_link_leads_out_of_the_folder(name: str, stock: Any, capsys: pytest.CaptureFixture[str]) -> None:
    write_folder(stock, Path("there"))
    Path("there/modules.json").write_text("[]")
    secret, link = Path("secret"), Path("there", name)
    secret.write_bytes(link.read_bytes() if link.exists() else b"{}")
    link.unlink(missing_ok=True)
    link.symlink_to("../secret")
    assert (
        refuses(capsys, "there", "out") == f"{link} is a link that leads out of the folder; put the file itself there"
    )
    secret.rename(f"there/.{name}")
    link.unlink()
    link.symlink_to(f".{name}")
    assert cli.main(["import", "there", "out"]) == 0


def test_the_links_of_a_hubs_cache_are_followed(stock: Any) -> None:
    folder, blobs = write_folder(stock, Path("hub/models--a/snapshots/0123")), Path("hub/models--a/blobs")
    blobs.mkdir()
    for number, path in enumerate(sorted(folder.iterdir())):
        path.rename(blobs / str(number))
        path.symlink_to(f"../../blobs/{number}")
    assert cli.main(["import", str(folder), "out"]) == 0
    assert_same_logits(Path("out"), stock)


def test_links_that_go_round_are_one_line(stock: Any, capsys: pytest.CaptureFixture[str]) -> None:
    stock.save_pretrained("there")
    Path("there/model.safetensors").unlink()
    Path("there/model.safetensors").symlink_to("model.safetensors")
    assert refuses(capsys, "there").startswith("there/model.safetensors ")
