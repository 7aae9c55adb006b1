"""A tokenizer that is there already: that of a folder, for a model that goes on from its weights."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from danlu.errors import InputError
from danlu.recipe import Choice
from danlu.tokenizers.folder import READERS
from danlu.tokenizers.tokenizer import Tokenizer


class Folder(Choice):
    """The tokenizer in a Hugging Face folder; nothing is trained."""

    path: Path
    """With a ``tokenizer.json``, or what its kind was published as."""

    @property
    def sample_bytes(self) -> int:
        """As little as may be: no text is read."""
        return 1

    def train(self, texts: Iterable[str]) -> Tokenizer:
        """As it stands, but for how much the folder's model reads: the one that is trained with it may read more.

        Raises:
            InputError: there is none, or it is damaged.
        """
        return Tokenizer.load(self.path).for_any_length()

    def files(self) -> list[Path]:
        """All that says what it is.

        Raises:
            InputError: there is none.
        """
        return files_of(self.path, key="tokenizer.path")


def files_of(folder: Path, *, key: str) -> list[Path]:
    """The files of ``folder`` that say what its tokenizer is.

    Args:
        key: of the recipe that names it.

    Raises:
        InputError: there is none.
    """
    names = (*READERS, "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "config.json")
    found = [folder / name for name in names if (folder / name).is_file()]
    if not found:
        raise InputError(f"{key}: there is no tokenizer in {folder}")
    return found
