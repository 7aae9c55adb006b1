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


def pack_corpora(folder: Path, *, vocab_size: int) -> Path:
    """Run clean, tokenizer and pack in ``folder``; the folder that holds the stores ``train`` and ``heldout``.

    Raises:
        NotMeasuredError: a stage refuses; its line says why.
    """
    recipe = folder / "corpora.yaml"
    recipe.write_text(RECIPE.format(run_dir=folder / "run", corpora=CORPORA, vocab_size=vocab_size), encoding="utf-8")
    try:
        loaded = load_recipe(recipe)
        return run_stages(loaded, list(loaded.sections), begin=lambda _: None).stage("pack")
    except DanluError as error:
        raise NotMeasuredError(str(error)) from error
