"""What a run has come to, on the terminal: a table of the stages' figures, and samples of what the model writes."""

from __future__ import annotations

from collections.abc import Mapping

from rich.table import Table

from danlu.files import read_jsonl
from danlu.log import duration, harmless, say, say_table
from danlu.recipe import Recipe
from danlu.run_folder import RunFolder


def show(folder: RunFolder, recipe: Recipe) -> None:
    """Print a table of the stages' figures, then the samples."""
    table = Table(title=f"{recipe.name}: results", title_justify="left", show_lines=True)
    table.add_column("stage")
    table.add_column("time", justify="right")
    table.add_column("figures", overflow="fold")
    for stage in recipe.sections:
        done = folder.done(stage) or {}
        table.add_row(stage, duration(done.get("seconds", 0)), "\n".join(figure_lines(done.get("figures", {}))))
    say_table(table)
    show_samples(folder)


def figure_lines(figures: Mapping[str, object]) -> list[str]:
    """Figures in words, those with a common first part on one line: ``en: bits_per_byte 1.9, perplexity 41``."""
    lines: dict[str, list[str]] = {}
    for name, value in figures.items():
        group, _, last = name.rpartition(".")
        lines.setdefault(group, []).append(f"{last} {_in_words(value)}")
    return [f"{group}: {', '.join(parts)}" if group else ", ".join(parts) for group, parts in lines.items()]


def _in_words(value: object) -> str:
    if isinstance(value, float):
        return f"{value:,.4g}" if abs(value) < 1000 else f"{value:,.0f}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def show_samples(folder: RunFolder) -> None:
    if texts := sample_texts(folder):
        say("\n" + "\n\n".join(texts) + "\n")


def sample_texts(folder: RunFolder) -> list[str]:
    """The samples of a run for a terminal, which a pipe may lead to as well; the file has them as they are."""
    path = folder.stage("generate") / "samples.jsonl"
    return [
        harmless(f"sample ({sample['language']}); the model writes from ⟩ on\n{sample['prompt']}⟩{sample['text']}")
        for sample in (read_jsonl(path) if path.exists() else [])
    ]
