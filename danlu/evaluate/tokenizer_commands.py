"""The verbs of ``danlu tokenizer`` beside the stage. Imports stand inside: ``danlu --help`` answers at once."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from danlu.log import say


def compare_tokenizers(
    *tokenizers: Annotated[
        Path,
        Parameter(
            name="TOKENIZER",
            help="Recipes, run folders, folders of Hugging Face's, or files: tokenizer.json, *.model, vocab.txt.",
        ),
    ],
    text: Annotated[list[Path] | None, Parameter(negative=())] = None,
    passes: int = 5,
    limit: int = 5_000_000,
    json: Annotated[bool, Parameter(negative=())] = False,
) -> None:
    """Compare tokenizers by language: bytes per token, fertility, unknown text, exact round trip, speed.

    Fertility is tokens a word, or a character where words are not parted by spaces (Chinese, Japanese, Thai …).

    Parameters
    ----------
    text
        What they are compared on, may be given several times: a file, a folder, a pattern, or a recipe or run folder
        for its clean documents. By default the clean documents of the first tokenizer that is a run's.
    passes
        How often the texts are encoded for the speed, the tokenizers in turn; the median is shown.
    limit
        Bytes of text that are read of each language.
    json
        Print all figures as JSON instead of the table.
    """
    from json import dumps

    from danlu.errors import InputError
    from danlu.evaluate.tokenizer_table import as_json, show
    from danlu.tokenizers import compare
    from danlu.tokenizers.named import NamedTokenizer
    from danlu.tokenizers.texts import read_texts, texts_beside

    for name, value in (("passes", passes), ("limit", limit)):
        if value < 1:
            raise InputError(f"--{name} must be at least 1; got {value}")
    if not tokenizers:
        raise InputError("danlu tokenizer compare needs at least one tokenizer: a recipe, a folder or a file")
    encoders = [NamedTokenizer.open(path) for path in tokenizers]
    texts = read_texts(text or texts_beside(tokenizers), limit_bytes=limit)
    for path, count in texts.rejected.items():
        print(f"{path}: {count:,} records cannot be read and are left out; danlu clean says why", file=sys.stderr)
    found = compare.compare_tokenizers(encoders, texts.by_language, passes=passes)
    if json:
        say(dumps(as_json(encoders, found), indent=2, ensure_ascii=False))
    else:
        show(encoders, found)
