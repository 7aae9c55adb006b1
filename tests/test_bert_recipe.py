"""``recipes/bert.yaml`` from end to end on a piece of both corpora; stock transformers loads what comes out."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from transformers import AutoModelForMaskedLM, AutoTokenizer, BertForMaskedLM

from danlu.cli import main
from danlu.corpus.batches import IGNORE
from danlu.corpus.store import TokenStore
from danlu.nn.hf.folder import load_model
from danlu.objectives.protocol import Shape
from danlu.recipe import load_recipe
from danlu.tokenizers.tokenizer import Tokenizer
from danlu.tokenizers.vocabulary import Vocabulary

ROOT = Path(__file__).parents[1]
TINY = (
    "tokenizer.vocab_size=1600", "pretrain.model={use: bert, layers: 1, dim: 32, heads: 2}", "pretrain.sequence=64",
    "pretrain.batch=8", "pretrain.budget={steps: 150}", "pretrain.evaluations=1", "pretrain.compile=off",
    "pack.split.fraction=0.15",
)  # fmt: skip


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder, all its stages done."""
    folder = tmp_path_factory.mktemp("bert")
    english = (ROOT / "corpora/en/tinyshakespeare.txt").read_text(encoding="utf-8")[:40_000]
    (folder / "play.txt").write_text(english, encoding="utf-8")
    with gzip.open(ROOT / "corpora/zh/classics_zh.jsonl.gz", "rt", encoding="utf-8") as file:
        chinese = json.loads(file.readline())["text"][:12_000]
    (folder / "novel.jsonl").write_text(json.dumps({"text": chinese}, ensure_ascii=False), encoding="utf-8")
    sources = [
        {"path": str(folder / "play.txt"), "language": "en", "documents": {"use": "blocks", "characters": 400}},
        {"path": str(folder / "novel.jsonl"), "language": "zh", "documents": {"use": "blocks", "characters": 150}},
    ]
    overrides = (*TINY, f"clean.sources={json.dumps(sources)}", f"run_dir={folder / 'run'}")
    assert not main(["run", str(ROOT / "recipes/bert.yaml"), *overrides])
    return folder / "run"


def test_the_exported_folder_is_a_masked_language_model_of_transformers(run: Path) -> None:
    stock = AutoModelForMaskedLM.from_pretrained(run / "export").eval()
    assert isinstance(stock, BertForMaskedLM)
    tokenizer, ours = AutoTokenizer.from_pretrained(run / "export"), load_model(run / "pretrain" / "model")
    for text in ("Speak, speak. What [MASK] the people?", "话说天下大[MASK]，分久必合。"):
        tokens = tokenizer(text, return_tensors="pt")
        assert (tokens["input_ids"] == tokenizer.mask_token_id).sum() == 1
        with torch.no_grad():
            mine = ours.head(ours.eval()(tokens["input_ids"]))
            torch.testing.assert_close(mine, stock(**tokens).logits, rtol=1e-5, atol=1e-5)


def test_figures_by_language_are_what_transformers_says(run: Path) -> None:
    """Each example by itself through the stock model, its targets counted by language."""
    recipe = load_recipe(run / "recipe.yaml")
    pretrain: Any = recipe.section("pretrain")
    stock = AutoModelForMaskedLM.from_pretrained(run / "pretrain" / "model").eval()
    vocabulary, store = Vocabulary.of(Tokenizer.load(run / "tokenizer")), TokenStore.open(run / "pack" / "heldout")
    rows = pretrain.reading.rows(store, Shape(pretrain.objective, 64), seed=recipe.seed)
    example = partial(pretrain.objective.example, vocabulary=vocabulary)
    nats: Counter[str] = Counter()
    counts: Counter[str] = Counter()
    right: Counter[str] = Counter()
    for number in range(rows.per_epoch):
        noise = np.random.default_rng([recipe.seed, number, 2])
        for piece in rows[number]:
            made = example(piece, noise=noise)
            targets = torch.from_numpy(made.targets["words"])
            with torch.no_grad():
                logits = stock(input_ids=torch.from_numpy(made.inputs["tokens"])[None]).logits[0]
            for group in ("all", store.documents[piece.document]["language"]):
                nats[group] += float(F.cross_entropy(logits, targets, ignore_index=IGNORE, reduction="sum"))
                counts[group] += int((targets != IGNORE).sum())
                right[group] += int((logits.argmax(-1) == targets).sum())
    figures = json.loads((run / "evaluate" / "done.json").read_text())["figures"]
    assert set(counts) == {"all", "en", "zh"} and min(counts.values()) > 50
    for group, count in counts.items():
        assert figures[f"{group}.words.targets"] == count
        assert (
            figures[f"{group}.words.nats"] == figures[f"{group}.loss"] == pytest.approx(nats[group] / count, rel=1e-5)
        )
        assert figures[f"{group}.words.accuracy"] == pytest.approx(right[group] / count, abs=1e-6)
    assert figures["all.words.nats"] < np.log(vocabulary.size) - 0.3, "it has learned something"


def test_the_report_shows_them(run: Path) -> None:
    report = (run / "report.md").read_text(encoding="utf-8")
    figures = json.loads((run / "evaluate" / "done.json").read_text())["figures"]
    assert "Held-out objective" in report and "The objective mlm on all" in report
    for language in ("en", "zh"):
        nats, accuracy = figures[f"{language}.words.nats"], figures[f"{language}.words.accuracy"]
        targets = figures[f"{language}.words.targets"]
        assert f"| {language} | words | {targets:,} | {nats:.3f} | {accuracy:.1%} |" in report


def test_words_are_masked_whole_in_both_languages(run: Path) -> None:
    store = TokenStore.open(run / "pack" / "train")
    assert store.marked == ("words",) and store.marks is not None
    inner = store.marks == 0
    languages = np.array([each["language"] for each in store.documents])
    documents = np.clip(np.searchsorted(store.starts, np.arange(len(store.tokens)), side="right") - 1, 0, None)
    of = languages[np.minimum(documents, len(languages) - 1)]
    assert min(inner[of == language].mean() for language in ("en", "zh")) > 0.1  # tokens within words
