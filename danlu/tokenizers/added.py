"""A tokenizer with tokens that a task needs, such as marks around the entities of a text."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tokenizers import AddedToken

from danlu.tokenizers.folder import read_tokenizer
from danlu.tokenizers.tokenizer import Tokenizer


def with_tokens(folder: Path, tokens: Sequence[str], out: Path) -> Path:
    """The folder of the tokenizer in ``folder`` with ``tokens`` behind its own; itself where they are all there.

    They are found in any text, with the space before them, and are no special tokens: what a text says is one too.

    Args:
        out: the folder that is written.

    Raises:
        InputError: there is no tokenizer, or it cannot be read.
    """
    inner, config = read_tokenizer(folder)
    new = [token for token in tokens if inner.token_to_id(token) is None]
    if not new:
        return folder
    inner.add_tokens([AddedToken(token, lstrip=True, normalized=False) for token in new])
    out.mkdir(parents=True, exist_ok=True)
    Tokenizer(inner, config).save(out)
    return out
