"""What ``danlu tokenizer compare`` shows: a table by language, or JSON."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.table import Table

from danlu.log import harmless, say_table, short
from danlu.tokenizers.compare import Compared, Comparison
from danlu.tokenizers.named import NamedTokenizer

FILES = (".json", ".model", ".txt")
LEAST_WIDTH = 132
"""Characters of the table where the output is no terminal, which has no width."""
COLUMNS = ("tokens", "bytes/token", "fertility", "unknown", "exact", "MB/s", "tokens/s")


def show(encoders: Sequence[NamedTokenizer], found: Comparison) -> None:
    """Print the table, a part a language."""
    table = Table()
    table.add_column("language")
    table.add_column("tokenizer", overflow="fold")
    for name in COLUMNS:
        table.add_column(name, justify="right")
    names = shortest([encoder.name for encoder in encoders])
    for language, compared in found.items():
        first = compared[0]
        label = f"{language}: {short(first.cost.bytes)}B in {first.texts:,} texts"
        for place, (name, encoder, each) in enumerate(zip(names, encoders, compared, strict=True)):
            described = f"{name} ({encoder.kind} {encoder.vocab_size:,})"
            table.add_row(label if place == 0 else "", harmless(described), *_cells(each))
        table.add_section()
    say_table(table, least=LEAST_WIDTH)


def as_json(encoders: Sequence[NamedTokenizer], found: Comparison) -> list[dict[str, Any]]:
    """One flat record a tokenizer and language, with all that is measured; ``unknown_rate`` is null without unknown."""
    return [
        {
            "tokenizer": encoder.name, "kind": encoder.kind, "vocab_size": encoder.vocab_size, "language": language,
            "texts": each.texts, "bytes": each.cost.bytes, "tokens": each.cost.tokens, f"{each.unit}s": each.cost.units,
            "bytes_per_token": each.bytes_per_token, f"tokens_per_{each.unit}": each.fertility,
            "unknown_rate": each.unknown_rate, "exact_share": each.exact_share,
            "megabytes_per_second": each.megabytes_per_second, "tokens_per_second": each.tokens_per_second,
            "seconds": each.seconds,
        }
        for language, compared in found.items()
        for encoder, each in zip(encoders, compared, strict=True)
    ]  # fmt: skip


def shortest(names: Sequence[str]) -> list[str]:
    """Of each path the last parts, as few as tell all of them apart; a file with its folder."""
    parts = [Path(name).parts for name in names]
    counts = [2 if Path(name).suffix in FILES else 1 for name in names]
    most = max(map(len, parts), default=0)
    for more in range(most):
        short = [str(Path(*each[-count - more :])) for each, count in zip(parts, counts, strict=True)]
        if len(set(short)) == len(set(names)):
            return short
    return list(names)


def _cells(each: Compared) -> list[str]:
    unknown = "—" if each.unknown_rate is None else f"{each.unknown_rate:.3%}"
    return [
        f"{each.cost.tokens:,}", f"{each.bytes_per_token:.3f}", f"{each.fertility:.3f} a {each.unit}", unknown,
        f"{each.exact_share:.1%}", f"{each.megabytes_per_second:.2f}", short(each.tokens_per_second),
    ]  # fmt: skip
