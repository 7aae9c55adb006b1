"""Every example in docs/extend.md runs, as it stands there."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import torch

from danlu import catalog
from danlu.clean.duplicates import Sketched, read_cuts, write_sketch
from danlu.recipe import build_choice, load_recipe
from danlu.run_folder import RunFolder
from danlu.runs import run_stages

PAGE = Path(__file__).parent.parent / "docs" / "extend.md"
SENTENCE = "To be, or not to be: 生存还是毁灭。\n"


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)


@pytest.fixture
def parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The page's modules on the path, its lines in the catalog, some notes to learn from."""
    (tmp_path / "my_parts").mkdir()
    known = {kind: dict(names) for kind, names in catalog.CATALOG.items()}
    for block in blocks("python"):
        head, _, body = block.partition("\n")
        if kind := re.fullmatch(r'# danlu/catalog.py, in "(\w+)"', head):
            known[kind[1]].update(json.loads("{" + body.strip().rstrip(",") + "}"))
        else:
            (name,) = re.fullmatch(r"# my_parts/(\w+\.py)", head).groups()  # type: ignore[union-attr]
            (tmp_path / "my_parts" / name).write_text(block, encoding="utf-8")
    monkeypatch.setattr(catalog, "CATALOG", known)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.chdir(tmp_path)
    Path("notes").mkdir()
    Path("notes/a.wiki").write_text(
        "To be, or not to be: 生存还是毁灭。\n" * 20 + "[[Category:Oo]]\n", encoding="utf-8"
    )
    Path("notes/b.txt").write_text("Too short.", encoding="utf-8")
    Path("plurals.jsonl").write_text('{"word": "mouse", "plural": "mice", "wrong": "mouses"}\n', encoding="utf-8")
    Path("r.yaml").write_text(blocks("yaml")[0], encoding="utf-8")


@pytest.mark.usefixtures("parts")
def test_the_recipe_of_the_page_runs() -> None:
    from transformers import AutoModelForCausalLM

    from danlu.nn.hf.folder import load_config, load_model

    recipe = load_recipe(Path("r.yaml"))
    run = run_stages(recipe, list(recipe.sections), lambda _: None, begin=lambda _: None)

    clean = run.figures("clean")
    assert (clean["documents_kept"], clean["dropped.too short"]) == (1, 1)
    characters = json.loads((run.stage("census") / "characters.json").read_text(encoding="utf-8"))
    assert characters["o"] == 4 * 20
    assert clean["characters"] == len(SENTENCE) * 20  # the front matter is gone
    assert run.figures("tokenizer")["vocab_size"] == 257
    assert run.figures("pretrain")["steps"] == 3
    assert run.figures("evaluate")["all.nats_per_token"] > 0
    assert run.figures("evaluate")["plurals.items"] == 1
    settings = json.loads((run.stage("pretrain") / "done.json").read_text())["made_from"]["settings"]
    assert settings["objective"] == {
        "use": "my_parts.noisy:NoisyCausalLM",
        "rate": 0.1,
        "label_smoothing": 0.0,
        "z_loss": 0.0,
    }
    assert settings["optimizer"] == {"use": "my_parts.sgd:SGD", "lr": 0.5, "momentum": 0.9}

    shape = recipe.section("pretrain").model.config(vocab_size=257, max_length=32)  # type: ignore[attr-defined]
    assert load_config(run.stage("export")) == shape
    theirs = AutoModelForCausalLM.from_pretrained(run.stage("export"))
    assert type(theirs).__name__ == "OlmoForCausalLM"
    ours, tokens = load_model(run.stage("export")), torch.arange(1, 30)[None]
    with torch.no_grad():
        torch.testing.assert_close(ours.head(ours(tokens)), theirs(tokens).logits, rtol=1e-5, atol=1e-5)


@pytest.mark.usefixtures("parts")
def test_the_objective_of_the_page_is_noisy_and_repeatable() -> None:
    import numpy as np

    from danlu.corpus.rows import Piece
    from danlu.corpus.store import TokenStore
    from danlu.tokenizers.vocabulary import Vocabulary

    objective = load_recipe(Path("r.yaml")).section("pretrain").objective  # type: ignore[attr-defined]
    row = np.arange(1, 1002)
    store = TokenStore(row, np.array([0, 1000]), [{}], vocab_size=1002, eot=0)
    known = {"vocabulary": Vocabulary.bare(1002, 0)}
    first, again = (objective.example(Piece(store, 0, row), noise=np.random.default_rng(5), **known) for _ in range(2))
    swapped = (first.inputs["tokens"] != row[:-1]).mean()
    assert 0.05 < swapped < 0.15
    assert (first.inputs["tokens"] == again.inputs["tokens"]).all()
    assert (first.targets["words"] == row[1:]).all()


@pytest.mark.usefixtures("parts")
def test_a_run_with_parts_from_outside_is_skipped_when_nothing_changed() -> None:
    lines: list[str] = []
    recipe = load_recipe(Path("r.yaml"))
    for _ in range(2):
        run_stages(recipe, ["clean", "census"], lines.append, begin=lambda _: None)
    assert lines[-2:] == ["clean: unchanged, skipped", "census: unchanged, skipped"]
    assert RunFolder(recipe.run_dir).figures("census")["distinct"] > 10


def test_the_table_names_every_kind_that_has_a_protocol() -> None:
    kinds = set(re.findall(r"^\| .* \| `(\w+)` \| \[", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE))
    small, composed = {"documents", "split", "rows"}, {"mixture"}  # one file each; all proportions, and a curriculum
    assert kinds == set(catalog.CATALOG) - small - composed


@pytest.mark.usefixtures("parts")
def test_the_finder_of_the_page_is_masked_beside_the_others() -> None:
    from danlu.clean.private import Private
    from danlu.recipe import build
    from danlu.text.document import Document

    document = Document("a", "E123456 wrote to li@qq.com")
    build(Private, {"finders": "my_parts.staff:Staff", "by_kind": {"staff": "mask"}}, key="rule").make()(document)
    assert document.text == "[STAFF] wrote to [EMAIL]"


@pytest.mark.usefixtures("parts")
def test_the_kind_of_duplicate_of_the_page() -> None:
    choice = build_choice("duplicates", "my_parts.same_words:SameWords", key="clean.duplicates")
    write_sketch(Path("sketch"), choice, [["to be or not", "to see"], ["Not to\nbe or"]])
    Path("copies").mkdir()
    (file,) = choice.decide([Sketched(Path("sketch"))], Path("copies"))
    assert read_cuts(file).tolist() == [(2, 0, -1, 0)]
