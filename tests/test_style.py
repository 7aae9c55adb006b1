"""The limits that keep every file readable; ruff counts the parameters (PLR0913)."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FILES = sorted(path for folder in ("danlu", "tests", "benchmarks") for path in (ROOT / folder).rglob("*.py"))
IN_CPP = sorted((ROOT / "danlu").rglob("*.?pp"))
MOST_LINES, MOST_FUNCTION_LINES = 400, 60
NAMES_OF_NO_SUBJECT = {"utils", "util", "helpers", "helper", "common", "misc"}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_file_has_one_subject_and_its_functions_fit_on_a_screen(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= MOST_LINES
    assert path.stem not in NAMES_OF_NO_SUBJECT
    long = [
        f"{node.name}: {lines} lines"
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (lines := (node.end_lineno or 0) - node.lineno + 1) > MOST_FUNCTION_LINES
    ]
    assert long == []


@pytest.mark.parametrize("path", IN_CPP, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_file_of_cpp_is_as_short(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= MOST_LINES
