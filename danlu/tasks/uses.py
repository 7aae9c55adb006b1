"""What a model folder is good for: the commands to try next, with which ``danlu import`` ends."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path

from danlu.errors import InputError
from danlu.nn.config import Embedding, Head, TransformerConfig
from danlu.nn.hf.folder import load_config
from danlu.tokenizers.folder import read_tokenizer
from danlu.tokenizers.tokenizer import Tokenizer

LICENCES = ("LICEN[CS]E*", "COPYING*")


def summary(source: str, rows: Mapping[str, str]) -> list[tuple[str, str]]:
    """What ``import_model`` says of the folder that it has written, its width, its licence, and what to do with it."""
    folder = Path(rows["written to"])
    config = load_config(folder)
    lines: list[tuple[str, str]] = []
    for name, value in rows.items():
        if name == "vocabulary":
            lines.append(("width", f"{config.dim:,}"))
        if name == "written to" and (files := _licences(Path(source).expanduser())):
            lines.append(("licence", ", ".join(map(str, files))))
        lines.append((name, value))
    return lines + [("" if place else "next", command) for place, command in enumerate(uses(folder, config))]


def uses(folder: Path, config: TransformerConfig) -> list[str]:
    """Commands that work with the model in ``folder``; where there are none, how Python callers read it."""
    name = shlex.quote(str(folder))
    imports = "from pathlib import Path; from danlu.nn.hf.folder import load_model"
    python = f"{imports}; model = load_model(Path({str(folder)!r}))"
    if isinstance(config.head, Embedding):
        try:
            read_tokenizer(folder)
        except InputError as error:
            return [f"{python}  # no texts are embedded: {error}"]
        return [
            f"danlu embed {name} TEXTS.txt --out VECTORS.npy",
            f"danlu similar {name} TEXT TEXTS.txt",
        ]
    if config.decoder is None or not isinstance(config.head, Head):
        return [python]
    try:
        Tokenizer.load(folder)
    except InputError as error:
        return [f"{python}  # no text is written: {error}"]
    chat = [f"danlu generate {name} --chat"] if config.encoder is None else []
    return [
        f'danlu generate {name} --prompt "…"',
        *chat,
        f"danlu generate {name} --prompts PROMPTS.txt --out ANSWERS.jsonl",
    ]


def _licences(source: Path) -> list[Path]:
    """The licence files in the folder that was imported, where it lies here; they do not come along.

    What lies beside a single file may be about something else.
    """
    return sorted(path for pattern in LICENCES for path in source.glob(pattern) if path.is_file())
