"""The report of made-up runs: whole, unfinished, and with text that would break a page."""

from __future__ import annotations

import json
import os
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import torch
import transformers
from safetensors.torch import save_file

from danlu.clean.stage import Clean
from danlu.errors import InputError
from danlu.evaluate.contents import parameters_by_part
from danlu.evaluate.report import write_report
from danlu.files import read_json
from danlu.pages.rendering import markdown_cell
from danlu.recipe import Recipe, build
from danlu.run_folder import RunFolder

GROUP = {
    "documents": 5, "tokens": 900, "bytes": 3000, "nats_per_token": 2.5, "bits_per_byte": 1.082, "perplexity": 12.18,
    "accuracy": 0.41, "nats_per_token_95": [2.4, 2.6], "bits_per_byte_95": [1.01, 1.15], "perplexity_95": [11, 13.5],
}  # fmt: skip
NASTY = '<script>alert(1)</script> | `x` 丹炉 & "quoted"'
FIGURES: dict[str, dict[str, Any]] = {
    "clean": {
        "files": 2, "files_ignored": 1, "documents_in": 12, "documents_kept": 9, "dropped.empty": 1,
        "dropped.exact duplicate": 1, "quarantined.not UTF-8": 1, "language.en.documents": 5,
        "language.en.bytes": 70000, "language.zh.documents": 4, "language.zh.bytes": 80000,
    },
    "tokenizer": {"vocab_size": 512, "bytes_per_token.en": 2.5, "tokens_per_word.en": 1.9, "bytes_per_token.zh": 2.1},
    "pack": {"train.en.tokens": 25000, "heldout.en.tokens": 900, "train.zh.tokens": 30000, "heldout.zh.tokens": 950},
    "pretrain": {
        "parameters": 11000, "steps": 40, "tokens": 81920, "seconds": 65.0, "tokens_per_second": 1260.3, "loss": 2.31,
        "precision": "fp32: as asked", "compilation": "off", "some_new_figure": 7,
    },
    "evaluate": {"all.bits_per_byte": 1.082, "all.nats_per_token": 2.5},
    "generate": {"samples": 2},
}  # fmt: skip


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    """A run with every stage done."""
    folder = RunFolder(tmp_path)
    env = {
        "danlu": "0.1.0",
        "commit": "a" * 40 + "+",
        "processor": "A Processor",
        "cores": 2,
        "packages": {"torch": "2"},
    }
    (tmp_path / "env.json").write_text(json.dumps(env))
    for stage, figures in FIGURES.items():
        folder.stage(stage).mkdir()
        done = {"stage": stage, "seconds": 61.0, "figures": figures, "made_from": {}, "outputs": {}}
        (folder.stage(stage) / "done.json").write_text(json.dumps(done))
    summary = {"row_tokens": 64, "resamples": 1000, "all": GROUP, "languages": {"en": GROUP, "zh": GROUP}}
    (tmp_path / "evaluate" / "perplexity.json").write_text(json.dumps(summary))
    hard = [{"id": f"d#{n}", "language": "en", "bits_per_byte": 1 + n / 10, "begins": NASTY} for n in range(5)]
    (tmp_path / "evaluate" / "perplexity_documents.jsonl").write_text("\n".join(map(json.dumps, hard)))
    samples = [
        {"prompt": "ROMEO:", "text": f" {NASTY}\n\n# not a heading", "language": "en", "seed": 1},
        {"prompt": "却说", "text": "曹操大怒", "language": "zh", "seed": 2},
    ]
    (tmp_path / "generate" / "samples.jsonl").write_text("\n".join(json.dumps(s, ensure_ascii=False) for s in samples))
    metrics = [{"step": n, "loss": 6 / n + 2, "lr": 1.0, "tokens": n} for n in range(1, 41)]
    metrics[-1]["heldout_loss"] = 2.6
    (tmp_path / "pretrain" / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in metrics))
    (tmp_path / "pretrain" / "model").mkdir()
    (tmp_path / "pretrain" / "model" / "config.json").write_text('{"model_type": "nanochat", "hidden_size": 10}')
    weights = {
        "model.embed_tokens.weight": torch.zeros(100, 10),
        "model.layers.0.self_attn.q_proj.weight": torch.zeros(10, 10),
        "model.layers.0.mlp.up_proj.weight": torch.zeros(40, 10), "lm_head.weight": torch.zeros(100, 10),
    }  # fmt: skip
    save_file(weights, tmp_path / "pretrain" / "model" / "model.safetensors")
    return folder


@pytest.fixture
def recipe(tmp_path: Path) -> Recipe:
    settings = build(Clean, {"sources": ["corpora"]}, key="clean")
    return Recipe("try <it>", tmp_path, 1, dict.fromkeys(FIGURES, settings))


class Page(HTMLParser):
    """Texts and tags of a page, and whether every tag that is opened is closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.texts: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "link", "input"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.texts).split())


def test_page_needs_no_other_file(run: RunFolder, recipe: Recipe) -> None:
    text = write_report(run, recipe).read_text()
    page = Page(text)
    addresses = [value for _, attrs in page.tags for name, value in attrs.items() if name in ("src", "href", "srcset")]
    assert addresses == ["data:,"]
    outside = set(re.findall(r"https?://[^\s\"'<]+", text)) - {"http://www.w3.org/2000/svg"}
    assert outside == set()
    assert "@import" not in text
    assert not any(tag == "script" for tag, _ in page.tags)


def test_page_says_what_the_stages_said(run: RunFolder, recipe: Recipe) -> None:
    text = Page(write_report(run, recipe).read_text()).text
    for wanted in (
        "A model of 11.0k parameters, trained for 65 seconds on 81.9k tokens of English and Chinese, "
        "foresees held-out documents at 1.082 bits per byte.",
        "1.010–1.150", "12.18", "41.0%", "exact duplicate", "not UTF-8", "81,920", "1,260", "some new figure",
        "aaaaaaaaaa, with changes",
        "2 files with 12 records, 9 kept. 1 file of other kinds not read.",
        "fp32: as asked", "却说", "曹操大怒", "d#4",
    ):  # fmt: skip
        assert wanted in text, wanted
    assert "d#0" not in text  # only the hardest three


@pytest.mark.parametrize(
    ("there", "counted"), [(900, "on the 900 training tokens"), (2000, "on 900 of the 2,000 training tokens")]
)
def test_the_baseline_stands_below_each_line(run: RunFolder, recipe: Recipe, there: int, counted: str) -> None:
    path = run.stage("evaluate") / "perplexity.json"
    summary = json.loads(path.read_text())
    worse = {**GROUP, "nats_per_token": 3.25, "perplexity": 25.79}
    languages = {"en": worse, "zh": worse}
    summary["baseline"] = {"order": 4, "tokens": 900, "train_tokens": there, "all": worse, "languages": languages}
    path.write_text(json.dumps(summary))
    text = Page(write_report(run, recipe).read_text()).text
    assert text.count("4-gram 3.250 1.082 1.010–1.150 25.79 41.0%") == 3
    assert counted in text
    table = (run.path / "report.md").read_text().partition("## Held-out documents")[2]
    firsts = re.findall(r"^\| ([^|]*?) \|", table, flags=re.MULTILINE)[2:8]
    assert firsts == ["en", "4-gram", "zh", "4-gram", "all", "4-gram"]


@pytest.mark.parametrize(("stride", "told"), [
    (None, "in rows of 64 that do not overlap; "), (64, "in rows of 64 that do not overlap; "),
    (16, "in rows of 64 that begin 16 tokens behind each other, each token scored once; "),
    (1, "in rows of 64 that begin 1 token behind each other, "),
])  # fmt: skip
def test_how_rows_overlap_is_told(stride: int | None, told: str, run: RunFolder, recipe: Recipe) -> None:
    path = run.stage("evaluate") / "perplexity.json"
    summary = json.loads(path.read_text())
    path.write_text(json.dumps({**summary, **({} if stride is None else {"stride": stride})}))
    assert told in Page(write_report(run, recipe).read_text()).text


@pytest.mark.parametrize(("share", "told"), [(0.0, False), (0.1234, True), (None, False)])
def test_what_the_tokenizer_does_not_know_is_told(
    share: float | None, told: bool, run: RunFolder, recipe: Recipe
) -> None:
    path = run.stage("evaluate") / "perplexity.json"
    summary = json.loads(path.read_text())
    summary["all"] |= {} if share is None else {"unknown_share": share}
    path.write_text(json.dumps(summary))
    text = Page(write_report(run, recipe).read_text()).text
    assert ("12.34% of the tokens stand for text that the tokenizer does not know" in text) == told


def test_suites_of_questions_stand_beside_perplexity(run: RunFolder, recipe: Recipe) -> None:
    figures = {"items": 40, "acc": 0.725, "acc_95": [0.6, 0.85], "chance": 0.25, "ties": 0, "cut": 0}
    (run.stage("evaluate") / "exam.json").write_text(json.dumps({"suite": {"use": "arc"}, "all": figures}))
    line = {"line": 3, "context": NASTY, "choices": ["yes", "no"], "gold": 0, "chosen": 1, "right": False,
            "log_likelihoods": [-3.0, -1.0]}  # fmt: skip
    (run.stage("evaluate") / "exam_items.jsonl").write_text(json.dumps(line) + "\n")
    page = Page(write_report(run, recipe).read_text())
    for wanted in ("Questions", "exam 40 0.725 (0.600–0.850) 0.250 0 0", "exam, line 3", "88.1% sure", NASTY, "1.082"):
        assert wanted in page.text, wanted
    assert [tag for tag, _ in page.tags].count("script") == 1, "that of the page itself"


def test_samples_are_text_whatever_they_hold(run: RunFolder, recipe: Recipe) -> None:
    page = Page(write_report(run, recipe).read_text())
    assert NASTY in page.text
    assert ("blockquote", {"class": "sample", "lang": "zh"}) in page.tags


def test_line_ends_of_other_kinds_are_text(run: RunFolder, recipe: Recipe) -> None:
    text = "a\u2028b\u2029c\x85d"
    hard = [{"id": f"d#{n}", "language": "en", "bits_per_byte": 1.0, "begins": text} for n in range(4)]
    samples = [{"prompt": text, "text": text, "language": "en", "seed": 1}]
    for place, lines in (("evaluate/perplexity_documents.jsonl", hard), ("generate/samples.jsonl", samples)):
        joined = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
        (run.path / place).write_bytes(joined.encode())
    page = write_report(run, recipe).read_text(encoding="utf-8")
    assert text in page
    assert Page(page).text.count("a b c d") == 2 + 3, "twice in the sample, and the three hardest documents"


def test_the_environment_is_that_of_the_training(run: RunFolder, recipe: Recipe) -> None:
    done = read_json(run.stage("pretrain") / "done.json")
    assert done is not None
    done["environment"] = {"danlu": "0.0.9", "python": "3.11.7", "packages": {"torch": "1.9"}}
    (run.stage("pretrain") / "done.json").write_text(json.dumps(done))
    text = Page(write_report(run, recipe).read_text()).text
    assert "3.11.7" in text and "torch 1.9" in text
    assert "A Processor" not in text and "torch 2" not in text, "what the last command ran on says nothing"


def test_the_date_is_that_of_the_last_stage(run: RunFolder, recipe: Recipe) -> None:
    for number, stage in enumerate(FIGURES):
        os.utime(run.stage(stage) / "done.json", (number * 86400, number * 86400))
    assert "6 January 1970" in Page(write_report(run, recipe).read_text()).text, "env.json is of today"


def test_every_colour_of_the_page_is_defined(run: RunFolder, recipe: Recipe) -> None:
    text = write_report(run, recipe).read_text()
    assert set(re.findall(r"var\((--\w+)\)", text)) - {"--c"} <= set(re.findall(r"(--\w+): ?#", text)) | {
        "--serif", "--sans", "--mono",
    }  # fmt: skip


def test_identifiers_are_used_once(run: RunFolder, recipe: Recipe) -> None:
    ids = [attrs["id"] for _, attrs in Page(write_report(run, recipe).read_text()).tags if "id" in attrs]
    assert len(ids) == len(set(ids)) == 4  # the clips of two charts in two widths


def test_markdown_tables_are_tables_and_pictures_are_there(run: RunFolder, recipe: Recipe) -> None:
    write_report(run, recipe)
    text = (run.path / "report.md").read_text()
    tables = re.findall(r"(?:^\|.*\n)+", text, flags=re.MULTILINE)
    assert len(tables) >= 8
    for table in tables:
        columns = {len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()}
        assert len(columns) == 1, table
        assert re.fullmatch(r"(\| :?-+:? )+\|", table.splitlines()[1])
    pictures = re.findall(r"!\[.*\]\((.*)\)", text)
    assert pictures == ["report/loss.svg", "report/learning_rate.svg"]
    for picture in pictures:
        ElementTree.parse(run.path / picture)
    assert "    # not a heading" in text
    assert re.search(r"^# try \\<it\\>$", text, flags=re.MULTILINE)


@pytest.mark.parametrize("gone", [[name] for name in FIGURES] + [list(FIGURES)])
def test_stages_may_be_missing(run: RunFolder, recipe: Recipe, gone: list[str]) -> None:
    for stage in gone:
        (run.stage(stage) / "done.json").unlink()
    page = Page(write_report(run, recipe).read_text())
    assert "Recipe" in page.text
    assert ("Samples" in page.text) == ("generate" not in gone)
    if "pretrain" in gone:
        assert "Not finished: 40 steps so far" in page.text
        assert "A run whose training has not finished" in page.text


def test_nothing_but_the_run_folder(tmp_path: Path, recipe: Recipe) -> None:
    (tmp_path / "env.json").write_text("{}")
    Page(write_report(RunFolder(tmp_path), recipe).read_text())
    assert (tmp_path / "report.md").exists()


def test_no_run_is_one_clear_line(tmp_path: Path, recipe: Recipe) -> None:
    with pytest.raises(InputError, match=r"there is no run in .*nowhere to report on; run 'danlu run' first"):
        write_report(RunFolder(tmp_path / "nowhere"), recipe)
    assert not (tmp_path / "nowhere").exists()


def test_parameters_are_counted_by_part(run: RunFolder) -> None:
    parts = parameters_by_part(run.stage("pretrain") / "model" / "model.safetensors")
    assert parts == {"embedding": 1000, "attention": 100, "MLP": 400, "head": 1000}
    (run.path / "damaged").write_bytes(b"{")
    assert parameters_by_part(run.path / "damaged") == parameters_by_part(run.path / "missing") == {}


@pytest.mark.parametrize("family", ["bert", "t5", "gpt2", "llama", "bart"])
def test_parameters_of_every_family_are_in_some_part(family: str, tmp_path: Path) -> None:
    small: dict[str, dict[str, Any]] = {
        "bert": {"num_hidden_layers": 1, "hidden_size": 12, "num_attention_heads": 2, "intermediate_size": 20},
        "t5": {"num_layers": 1, "d_model": 12, "num_heads": 2, "d_kv": 6, "d_ff": 20},
        "gpt2": {"n_layer": 1, "n_embd": 12, "n_head": 2},
        "llama": {"num_hidden_layers": 1, "hidden_size": 12, "num_attention_heads": 2, "intermediate_size": 20},
        "bart": {"encoder_layers": 1, "decoder_layers": 1, "d_model": 12, "encoder_attention_heads": 2,
                 "decoder_attention_heads": 2, "encoder_ffn_dim": 20, "decoder_ffn_dim": 20},
    }  # fmt: skip
    config = transformers.AutoConfig.for_model(family, vocab_size=30, **small[family])
    model = transformers.AutoModel.from_config(config)
    weights = {name: weight.contiguous().clone() for name, weight in model.state_dict().items()}
    save_file(weights, tmp_path / "model.safetensors")
    parts = parameters_by_part(tmp_path / "model.safetensors")
    assert sum(parts.values()) == sum(weight.numel() for weight in weights.values())
    assert "others" not in parts and parts["MLP"] > parts["norms"]
    attention = sum(weight.numel() for name, weight in model.named_parameters()
                    if ("attn" in name or "ttention" in name) and "norm" not in name.lower())  # fmt: skip
    assert parts["attention"] == attention > parts["norms"]


def test_markdown_cell() -> None:
    assert markdown_cell("a|b\nc_d") == r"a\|b c\_d"
