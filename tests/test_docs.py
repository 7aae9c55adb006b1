"""The documents say what is so: links lead somewhere, commands and rooms exist, recipes load, both languages agree."""

from __future__ import annotations

import re
import shlex
import shutil
import signal
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
import pytest
import torch
import transformers

from danlu.cli import app, main
from danlu.errors import DanluError
from danlu.parallel.verdict import LOST
from danlu.recipe import load_recipe

ROOT = Path(__file__).parent.parent
ENGLISH, CHINESE = ROOT / "README.md", ROOT / "README.zh-CN.md"
PAGES = sorted(
    path for pattern in ("*.md", "docs/**/*.md", "corpora/*.md", "benchmarks/*.md") for path in ROOT.glob(pattern)
)
HEADINGS_OF_A_DECISION = ["Context", "Tried", "Measured", "Decision"]


def prose(path: Path) -> str:
    """The page without its blocks of code."""
    return re.sub(r"^```.*?^```$", "", path.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)


def code_blocks(path: Path, language: str) -> list[str]:
    text = path.read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```$", text, flags=re.DOTALL | re.MULTILINE)


def without_comments(block: str) -> list[str]:
    return [re.sub(r"\s+#.*", "", line).rstrip() for line in block.splitlines()]


def commands(path: Path) -> list[list[str]]:
    """Everything on a page that calls danlu, in blocks and between backticks, as words."""
    blocks = [line for block in code_blocks(path, "bash") for line in without_comments(block)]
    inline = re.findall(r"`(danlu [^`]*)`", prose(path))
    return [shlex.split(line) for line in [*blocks, *inline] if line.startswith("danlu ")]


def tables(path: Path) -> list[list[list[str]]]:
    """Tables of a page, as rows of cells."""
    found = re.findall(r"(?:^\|.*\|\n)+", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return [[[cell.strip() for cell in row.strip("|").split("|")] for row in table.splitlines()] for table in found]


def facts(cell: str) -> list[str]:
    """What must not differ between two languages: code, and numbers that stand for themselves."""
    code = re.findall(r"`[^`]*`", cell)
    return code + sorted(re.findall(r"(?<![\w`])\d[\d,.]*\b", re.sub(r"`[^`]*`", "", cell).replace("1400 万", "14 M")))


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_to_something(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if not re.match(r"https?://|mailto:|#", target):
            file = unquote(target.partition("#")[0])
            assert (page.parent / file).exists(), target
            assert (page.parent / file).resolve().is_relative_to(ROOT), target


def anchors(path: Path) -> set[str]:
    """What GitHub calls the headings of a page."""
    headings = re.findall(r"^#+ (.*)$", prose(path), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_links_lead_to_headings_that_are_there() -> None:
    found = 0
    for page in PAGES:
        for file, anchor in re.findall(r"\]\(((?!https?:)[^)\s#]*)#([^)\s]+)\)", prose(page)):
            found += 1
            assert anchor in anchors(page.parent / file if file else page), f"{page.name}: {file}#{anchor}"
    assert found > 10


RECIPES = [
    (path, block)
    for path in sorted((ROOT / "docs").glob("**/*.md"))
    for block in code_blocks(path, "yaml")
    if re.match(r"(clean|tokenizer|pack|pretrain|finetune|evaluate):", block)
    and path.name != "extend.md"
    and "path: gpt2/" not in block
]
"""Blocks on the pages that are recipes, or sections of one. Those of docs/extend.md are run, and one begins with a
folder that only its reader has."""


@pytest.mark.parametrize(("page", "recipe"), RECIPES, ids=lambda value: getattr(value, "stem", ""))
def test_recipes_on_the_pages_load(page: Path, recipe: str, tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_text(recipe, encoding="utf-8")
    assert load_recipe(tmp_path / "r.yaml").sections, page


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_code_that_is_named_exists(page: Path) -> None:
    """Names such as `danlu/nn/transformer.py` and `recipes/quickstart.yaml`, not patterns with capital letters."""
    for name in re.findall(r"`((?:danlu|tests|benchmarks|recipes|docs|corpora)/[\w./-]*)`", prose(page)):
        assert re.search(r"[A-Z]{3}", name) or (ROOT / name).exists(), name


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_commands_exist(page: Path) -> None:
    known = {*app, "VERB"}
    for command in commands(page):
        assert command[1] in known, command


def test_every_command_is_described() -> None:
    described = {command[1] for command in commands(ENGLISH)}
    assert set(app) - {"--help", "-h", "--version"} <= described


@pytest.mark.parametrize("page", [ENGLISH, CHINESE], ids=lambda path: path.name)
def test_the_exit_codes_are_all_there(page: Path) -> None:
    """0 and 1 are Python's own; 141 is what a shell tells of a process that SIGPIPE has ended."""
    (codes,) = ([row[0] for row in table[2:]] for table in tables(page) if table[2][0] == "0")
    signals = (signal.SIGINT, signal.SIGPIPE, signal.SIGTERM)
    assert [int(code) for code in codes] == [0, 1, DanluError.exit_code, LOST, *(128 + number for number in signals)]


def test_make_targets_exist() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for page in PAGES:
        for target in re.findall(r"(?:^|`)make (\w+)", page.read_text(encoding="utf-8"), flags=re.MULTILINE):
            assert re.search(rf"^{target}:", makefile, flags=re.MULTILINE), f"{page.name}: make {target}"


@pytest.mark.parametrize("page", [ENGLISH, CHINESE], ids=lambda path: path.name)
def test_the_recipe_is_that_of_the_quickstart(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    (block,) = code_blocks(page, "yaml")
    (tmp_path / "r.yaml").write_text(block, encoding="utf-8")
    shown, real = load_recipe(tmp_path / "r.yaml").sections, load_recipe(ROOT / "recipes" / "quickstart.yaml").sections
    assert list(shown) == list(real)
    for stage in set(real) - {"generate"}:  # shortened: fewer prompts
        assert shown[stage] == real[stage]


@pytest.mark.parametrize("page", [ENGLISH, CHINESE], ids=lambda path: path.name)
def test_the_map_is_the_rooms_in_the_order_of_their_layers(page: Path) -> None:
    (rooms,) = (
        [row[0].strip("`").removesuffix("/") for row in table[2:]]
        for table in tables(page)
        if table[2][0] == "`errors.py`"
    )
    there = {
        path.name for path in (ROOT / "danlu").iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()
    }
    assert set(rooms) == there - {"__init__.py", "__main__.py"}
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    layers = settings["tool"]["importlinter"]["contracts"][0]["layers"]
    height = {name.strip(): -place for place, layer in enumerate(layers) for name in layer.split("|")}
    heights = [height[room.removesuffix(".py")] for room in rooms]
    assert heights == sorted(heights)


def test_both_languages_have_the_same_code() -> None:
    for language in ("bash", "yaml", "python"):
        english, chinese = (
            [without_comments(block) for block in code_blocks(page, language)] for page in (ENGLISH, CHINESE)
        )
        assert chinese == english
        assert english


def test_a_model_you_already_have(
    whole_decoder: Path, whole_encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every command of the section, and then every line of its Python, with folders that transformers has written."""
    (block,) = [block for block in code_blocks(ENGLISH, "bash") if "danlu embed" in block]
    (program,) = code_blocks(ENGLISH, "python")
    assert 12 <= len([line for line in program.splitlines() if line]) <= 20
    (tmp_path / "downloads").mkdir()
    monkeypatch.chdir(tmp_path)
    shutil.copytree(whole_decoder, "downloads/story")
    shutil.copytree(whole_encoder, "downloads/encoder")
    Path("prompts.txt").write_text("Once upon a time\n从前\n", encoding="utf-8")
    Path("texts.csv").write_text("id,body\n1,a sentence\n2,一句话\n", encoding="utf-8")
    for line in without_comments(block):
        assert main(shlex.split(line)[1:]) == 0, line
    assert len(Path("answers.jsonl").read_text(encoding="utf-8").splitlines()) == 2
    shutil.rmtree("story")
    found: dict[str, Any] = {}
    exec(compile(program, str(ENGLISH), "exec"), found)
    stock = transformers.AutoModelForCausalLM.from_pretrained("downloads/story", dtype=torch.float32).eval()
    torch.testing.assert_close(found["logits"], stock(torch.tensor([found["ids"]])).logits, rtol=1e-4, atol=1e-5)
    assert found["vectors"].shape == np.load("vectors.npy").shape == (2, 32)
    copy = transformers.AutoModelForCausalLM.from_pretrained("copy")
    assert copy.dtype == torch.bfloat16
    assert torch.equal(copy.get_input_embeddings().weight, stock.get_input_embeddings().weight.bfloat16())


def assert_serves(arguments: list[str]) -> None:
    """That the command says where it listens."""
    command = [sys.executable, "-m", "danlu", *arguments, "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert any(line.startswith("http://127.0.0.1:") for line in process.stdout)
        process.terminate()


def test_a_task_of_your_own(whole_encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every command of the section, with a small table."""
    (block,) = [block for block in code_blocks(ENGLISH, "bash") if "danlu predict" in block]
    monkeypatch.chdir(tmp_path)
    shutil.copytree(whole_encoder, "downloads/encoder")
    rows = [f"to be that is {number},good\nor not the question {number},bad" for number in range(20)]
    Path("reviews.csv").write_text("\n".join(["review,stars", *rows]), encoding="utf-8")
    Path("new.csv").write_text("review\nto be\nthe question\n", encoding="utf-8")
    for line in without_comments(block):
        if line.startswith("danlu serve"):
            assert_serves(shlex.split(line)[1:])
        else:
            assert main(shlex.split(line)[1:]) == 0, line
    assert len(Path("answers.csv").read_text(encoding="utf-8").splitlines()) == 3


def test_both_languages_have_the_same_tables() -> None:
    english, chinese = tables(ENGLISH), tables(CHINESE)
    assert len(english) == len(chinese) >= 4
    for ours, theirs in zip(english, chinese, strict=True):
        assert len(ours) == len(theirs)
        assert ours[1] == theirs[1]  # how the columns are set
        for our_row, their_row in zip(ours, theirs, strict=True):
            assert [facts(cell) for cell in our_row] == [facts(cell) for cell in their_row]


def test_both_languages_have_the_same_links_and_headings() -> None:
    english, chinese = (re.findall(r"\]\(([^)]+)\)", prose(page)) for page in (ENGLISH, CHINESE))
    assert sorted({*english} - {"README.zh-CN.md"}) == sorted({*chinese} - {"README.md"})
    levels = [re.findall(r"^(#+) ", prose(page), flags=re.MULTILINE) for page in (ENGLISH, CHINESE)]
    assert levels[0] == levels[1]


def test_the_tour_has_ten_files() -> None:
    stops = re.findall(
        r"^(\d+)\. \[([\w/.]+)\]\(\.\./([\w/.]+)\)", prose(ROOT / "docs" / "tour.md"), flags=re.MULTILINE
    )
    assert [int(number) for number, _, _ in stops] == list(range(1, 11))
    assert all(name == target for _, name, target in stops)


def test_decisions_are_numbered_and_say_what_they_rest_on() -> None:
    pages = sorted((ROOT / "docs" / "decisions").glob("*.md"))
    assert [page.name[:5] for page in pages] == [f"{number:04}-" for number in range(1, len(pages) + 1)]
    for page in pages:
        text = prose(page)
        assert re.match(rf"# {int(page.name[:4])}\. ", text), page.name
        assert re.findall(r"^## (\w+)", text, flags=re.MULTILINE) == HEADINGS_OF_A_DECISION, page.name
