"""``recipes/mixing.yaml`` from end to end on a piece of both corpora: what is read is what the recipe asks for."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from danlu.cli import main
from danlu.corpus.blend import Blend
from danlu.corpus.store import TokenStore
from danlu.files import read_json
from danlu.recipe import load_recipe
from danlu.run_folder import RunFolder
from danlu.trace.training import Order
from danlu.train import plan, probe
from danlu.train.pretrain import Pretrain
from danlu.train.setup import set_up

ROOT = Path(__file__).parents[1]
TINY = (
    "tokenizer.vocab_size=600", "pretrain.model={use: gpt, layers: 1, dim: 32, heads: 2}", "pretrain.sequence=64",
    "pretrain.batch=8", "pretrain.budget={steps: 150}", "pretrain.evaluations=1", "pretrain.compile=off",
    "pack.split.fraction=0.15", "pretrain.precision=fp32",
)  # fmt: skip


@pytest.fixture(scope="module")
def overrides(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """That make of the recipe one of a second; the run folder is the last."""
    folder = tmp_path_factory.mktemp("mixing")
    english = (ROOT / "corpora/en/tinyshakespeare.txt").read_text(encoding="utf-8")[:60_000]
    (folder / "tinyshakespeare.txt").write_text(english, encoding="utf-8")
    with gzip.open(ROOT / "corpora/zh/classics_zh.jsonl.gz", "rt", encoding="utf-8") as file:
        chinese = json.loads(file.readline())["text"][:6_000]
    line = json.dumps({"text": chinese}, ensure_ascii=False)
    (folder / "classics_zh.jsonl").write_text(line, encoding="utf-8")
    sources = [
        {"path": str(folder / name), "language": language, "documents": {"use": "blocks", "characters": 300}}
        for name, language in (("tinyshakespeare.txt", "en"), ("classics_zh.jsonl", "zh"))
    ]
    return [*TINY, f"clean.sources={json.dumps(sources)}", f"run_dir={folder / 'run'}"]


@pytest.fixture(scope="module")
def run(overrides: list[str]) -> Path:
    """A run folder, all its stages done."""
    assert not main(["run", str(ROOT / "recipes/mixing.yaml"), *overrides])
    return Path(overrides[-1].partition("=")[2])


def test_the_training_reads_the_languages_as_the_periods_say(run: Path) -> None:
    """Every token of every batch, looked up in the store, against the formulas in float64."""
    recipe, store = load_recipe(run / "recipe.yaml"), TokenStore.open(run / "pack" / "train")
    settings = recipe.section("pretrain")
    assert isinstance(settings, Pretrain)
    training = set_up(settings, store, seed=recipe.seed)
    rows = training.batches.whole.rows
    read = [Counter[str](), Counter[str]()]
    for number in range(150 * 8):
        for piece in rows[number]:
            language = piece.store.documents[piece.document]["language"]
            read[number >= 120 * 8][language] += len(piece.tokens) - 1
    lengths = np.diff(store.starts)
    size = {name: int(lengths[of].sum()) for name, of in store.by_language.items()}
    for found, wanted in (
        (read[0], (size["zh"] / size["en"]) ** (1 / 3.3)),
        (read[1], 3.0),
    ):
        assert found["zh"] / found["en"] == pytest.approx(wanted, rel=0.05)
    done = read_json(run / "pretrain" / "done.json")
    assert done is not None
    for label, language in (("en/rest", "en"), ("zh/novels", "zh")):
        epochs = (read[0][language] + read[1][language]) / size[language]
        assert done["figures"][f"mixture.{label}.epochs"] == pytest.approx(epochs, rel=0.02)


def test_a_row_is_traced_with_the_epoch_of_its_own_part(run: Path) -> None:
    """Novels are read several times while the plays are read once: each epoch has each row of novels once."""
    order = Order(load_recipe(run / "recipe.yaml"), RunFolder(run))
    rows = order._reader.rows
    assert isinstance(rows, Blend)
    novels = rows.ledger.labels.index("zh/novels")
    epochs = [order.epoch(number) for number in range(150 * 8) if rows.where(number)[0] == novels]
    assert epochs == sorted(epochs) and epochs[-1] > 2
    assert {epochs.count(epoch) for epoch in range(epochs[-1])} == {rows.parts[novels].rows.per_epoch}


def test_the_plan_tells_the_parts(
    overrides: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What it measures of time and memory is not asked here, so it may be measured in this process."""
    monkeypatch.setattr(plan, "in_own_process", lambda do, *arguments: do(*arguments))
    monkeypatch.setattr(probe, "PROBE_SECONDS", 0.0)
    assert not main(["plan", str(ROOT / "recipes/mixing.yaml"), *overrides])
    lines = capsys.readouterr().out.splitlines()
    first = lines.index("mixture     from step 0 to step 120:")
    table = [line.split() for line in lines[first + 1 :]]
    assert table[0] == ["part", "documents", "tokens", "share", "epochs"]
    assert [row[0] for row in table[1:3]] == ["en", "zh"]
    assert lines[first + 4].strip() == "from step 120 to the end:"
    assert [(row[0], row[3]) for row in table[5:7]] == [("novels", "75.00%"), ("rest", "25.00%")]
    assert "the text of zh/novels is read" in lines[first + 8]


def test_a_part_that_nothing_is_of_is_one_line(
    overrides: list[str], run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    parts = "{use: weights, parts: {a: {weight: 1, documents: {source: 'clasics_zh.jsonl'}}}}"
    assert main(["pretrain", str(ROOT / "recipes/mixing.yaml"), *overrides, f"pretrain.mixture={parts}"]) == 2
    [line] = [line for line in capsys.readouterr().err.splitlines() if line]
    assert "pretrain.mixture.parts.a.documents: no such document is to train on; did you mean 'classics_zh" in line
