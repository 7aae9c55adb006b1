"""The model card of an exported folder: what the model is, what it was made from, what it reaches, how to load it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from danlu import __version__
from danlu.clean.data_card import FILE as DATA_CARD
from danlu.corpus.elsewhere import FILE as ELSEWHERE
from danlu.corpus.split import PARTS
from danlu.machine import CORE_PACKAGES, version
from danlu.nn.config import TransformerConfig
from danlu.nn.hf.card_kinds import card_kind
from danlu.recipe import Recipe
from danlu.run_folder import RunFolder
from danlu.stage import Figures

READS = ("clean", "pack", "evaluate")
"""Stages whose figures stand in the card, beside those of ``pretrain``; of ``evaluate`` if it measured this model."""


def model_card(recipe: Recipe, config: TransformerConfig, *, parameters: int) -> str:
    """Markdown, with the front matter that model hubs read."""
    run = RunFolder(recipe.run_dir)
    clean, pack, evaluate = (run.current(recipe, stage) for stage in READS)
    languages = sorted(key.split(".")[1] for key in clean if key.startswith("language.") and key.endswith(".bytes"))
    kind = card_kind(config)
    front = ["library_name: transformers", f"pipeline_tag: {kind.pipeline}", "tags: [danlu]"]
    if languages:
        front.append(f"language: [{', '.join(languages)}]")
    parts = [
        "\n".join(["---", *front, "---"]),
        f"# {recipe.name}",
        f"{kind.name}, trained by Danlu {__version__} from scratch. {kind.does}",
        *_section("Model", _shape(config, parameters)),
        *_section("Training data", _data(clean, pack, languages)),
        *_whence(recipe),
        *_section("Training", _training(run.figures("pretrain"))),
        *_section("Held-out figures", evaluate),
        f"## How to load it\n\n```python\n{kind.usage}```",
        *_section("Versions", {name: str(version(name)) for name in CORE_PACKAGES}),
    ]
    return "\n\n".join(parts) + "\n"


def data_card_of(recipe: Recipe) -> Path | None:
    """The data card of the text that the run was made from; None where there is none, or it is of other text."""
    run = RunFolder(recipe.run_dir)
    store = run.stage("pack") / PARTS[0]
    # A store that was packed elsewhere carries the card of the run that cleaned its text.
    stage, folder = ("pack", store) if (store / ELSEWHERE).exists() else ("clean", run.stage("clean"))
    card = folder / DATA_CARD
    return card if run.current(recipe, stage) and card.is_file() else None


def _whence(recipe: Recipe) -> list[str]:
    if data_card_of(recipe) is None:
        return []
    return [f"Sources, licences and what was left out: [{DATA_CARD}]({DATA_CARD})."]


def _shape(config: TransformerConfig, parameters: int) -> Figures:
    attention = config.stack.layers[0].attention
    return {
        "family": config.family,
        "parameters": parameters,
        "layers": " and ".join(str(len(stack.layers)) for stack in config.stacks),
        "width": config.dim,
        "attention heads": f"{attention.heads} ({attention.kv_heads} for keys and values), {attention.head_dim} wide",
        "vocabulary": config.vocab_size,
        "longest context in tokens": config.max_length,
    }


def _data(clean: Figures, pack: Figures, languages: Iterable[str]) -> Figures:
    figures = _chosen(clean, "documents_kept", "bytes")
    for language in languages:
        figures |= {f"bytes, {language}": clean[f"language.{language}.bytes"]}
    return figures | _chosen(pack, "train.documents", "train.tokens", "heldout.documents", "heldout.tokens")


def _training(pretrain: Figures) -> Figures:
    figures = _chosen(pretrain, "steps", "tokens", "epochs", "precision", "loss")
    if "precision" in figures:
        figures["precision"] = figures["precision"].partition(":")[0]  # what, without why
    return figures


def _chosen(figures: Figures, *names: str) -> Figures:
    return {name: figures[name] for name in names if name in figures}


def _section(title: str, figures: Figures) -> list[str]:
    """A heading and a table; nothing where there are no figures."""
    if not figures:
        return []
    rows = [f"| {name.replace('_', ' ')} | {_readable(value)} |" for name, value in figures.items()]
    return [f"## {title}", "\n".join(["| | |", "|---|---|", *rows])]


def _readable(value: object) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
