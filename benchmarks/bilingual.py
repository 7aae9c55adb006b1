"""The English and Chinese text of corpora/, cleaned, tokenised and packed as a recipe does it."""

from __future__ import annotations

from pathlib import Path

from report import NotMeasuredError

from danlu.errors import DanluError
from danlu.recipe import load_recipe
from danlu.runs import run_stages

CORPORA = Path(__file__).resolve().parent.parent / "corpora"

RECIPE = """\
run_dir: {run_dir}
clean:
  sources:
    - {{path: {corpora}/en, language: en, documents: {{use: blocks, characters: 4000}}}}
    - {{path: {corpora}/zh, language: zh}}
tokenizer: {{use: bpe, vocab_size: {vocab_size}}}
pack: {{split: {{use: hash, fraction: 0.05}}}}
"""


PARAGRAPHS = """\
run_dir: {run_dir}
clean:
  sources:
    - {{path: {corpora}/en, language: en, documents: paragraphs}}
    - {{path: {corpora}/zh, language: zh, documents: paragraphs}}
tokenizer: {{use: bpe, vocab_size: {vocab_size}, special: [{special}]}}
pack: {{split: {{use: hash, fraction: 0.05}}}}
"""


def pack_paragraphs(folder: Path, *, vocab_size: int, special: str) -> Path:
    """Paragraphs are documents: of natural length, most of them short; the run folder.

    Raises:
        NotMeasuredError: a stage refuses; its line says why.
    """
    return _run(folder, PARAGRAPHS, vocab_size=vocab_size, special=special)


def pack_corpora(folder: Path, *, vocab_size: int) -> Path:
    """Run clean, tokenizer and pack in ``folder``; the folder that holds the stores ``train`` and ``heldout``.

    Raises:
        NotMeasuredError: a stage refuses; its line says why.
    """
    return _run(folder, RECIPE, vocab_size=vocab_size) / "pack"


def _run(folder: Path, text: str, **settings: object) -> Path:
    recipe = folder / "corpora.yaml"
    recipe.write_text(text.format(run_dir=folder / "run", corpora=CORPORA, **settings), encoding="utf-8")
    try:
        loaded = load_recipe(recipe)
        return run_stages(loaded, list(loaded.sections), begin=lambda _: None).path
    except DanluError as error:
        raise NotMeasuredError(str(error)) from error
