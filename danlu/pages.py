"""The colours and letters of all pages that Danlu serves or writes, whose sheets name no others; text in tables."""

from __future__ import annotations

from collections.abc import Iterable

COLOURS = {
    "paper": ("#fff", "#15171a"),
    "ink": ("#1b1d20", "#e4e6e9"),
    "muted": ("#6b7076", "#989ea6"),
    "rule": ("#e4e5e7", "#2c3036"),
    "strong-rule": ("#1b1d20", "#777d85"),
    "soft": ("#f6f6f4", "#1e2125"),
    "accent": ("#b4402a", "#ef8a6c"),
    "on-accent": ("#fff", "#15171a"),
    "second": ("#2f6690", "#7db8dc"),
    "third": ("#3f7d4e", "#86c796"),
    "fourth": ("#8a5a9e", "#c6a0d8"),
    "fifth": ("#a67c1f", "#dcb75e"),
    "sixth": ("#2f868c", "#74c3c8"),
}
"""What a variable of CSS is on light paper, and on dark."""
LETTERS = {
    "serif": "'Iowan Old Style','Palatino Linotype',Palatino,'Source Serif 4','Noto Serif',Charter,Georgia,"
    "'Songti SC','Noto Serif CJK SC','Source Han Serif SC',SimSun,serif",
    "sans": "system-ui,-apple-system,'Segoe UI','Noto Sans',Helvetica,Arial,"
    "'PingFang SC','Microsoft YaHei','Noto Sans CJK SC','Source Han Sans SC',sans-serif",
    "mono": "ui-monospace,'SF Mono',Menlo,Consolas,'DejaVu Sans Mono','Noto Sans Mono CJK SC',monospace",
}
"""Families of letters, Chinese ones behind the others."""


def light(names: Iterable[str] = COLOURS) -> str:
    """Colours by day, as ``--paper:#fff;--ink:…``."""
    return ";".join(f"--{name}:{COLOURS[name][0]}" for name in names)


def dark(names: Iterable[str] = COLOURS) -> str:
    """The same by night."""
    return ";".join(f"--{name}:{COLOURS[name][1]}" for name in names)


def variables() -> str:
    """All of them, to stand before the sheet of a page."""
    letters = ";".join(f"--{name}:{families}" for name, families in LETTERS.items())
    return (
        f":root{{{light()};{letters};color-scheme:light dark}}\n"
        f"@media(prefers-color-scheme:dark){{:root{{{dark()}}}}}\n"
    )


def markdown_cell(text: str) -> str:
    """Text that stands in a cell of a Markdown table as it is."""
    flat = " ".join(text.split())
    for mark in "\\|`*_<>[]#~":
        flat = flat.replace(mark, f"\\{mark}")
    return flat
