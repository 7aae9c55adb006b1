"""A tokenizer that somebody names on the command line, ours or anybody's, as the tokenizers library runs it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import tokenizers

from danlu.errors import InputError
from danlu.recipe import load_recipe
from danlu.tokenizers.folder import READERS, read_tokenizer, read_tokenizer_file
from danlu.tokenizers.panic import no_panics

RECIPES = (".yaml", ".yml")
STAGE = "tokenizer"
"""The folder of a run that has its tokenizer."""


@dataclass(frozen=True)
class NamedTokenizer:
    """A tokenizer and what it is called; special tokens in a text are text to it, and nothing is put around one."""

    name: str
    inner: tokenizers.Tokenizer

    @classmethod
    def open(cls, path: Path) -> NamedTokenizer:
        """That of a recipe, of a run folder, of a folder of Hugging Face's, or a single file.

        A single file is a ``tokenizer.json``, a SentencePiece ``.model`` or a ``vocab.txt``.

        Raises:
            InputError, RecipeError: there is none, or it is damaged.
        """
        if path.suffix in RECIPES or (path / "recipe.yaml").is_file():
            folder = run_of(path) / STAGE
            if not (folder / "done.json").is_file():
                raise InputError(f"{path} has no tokenizer yet; 'danlu tokenizer RECIPE' trains it")
            inner = read_tokenizer(folder)[0]
        elif path.is_dir():
            inner = read_tokenizer_file(_file_of(path))
        elif path.exists():
            inner = read_tokenizer_file(path)
        else:
            raise InputError(f"there is no tokenizer {path}: no file, no folder, no recipe")
        inner.encode_special_tokens = True
        return cls(str(path), inner)

    @property
    def vocab_size(self) -> int:
        """One more than the highest id."""
        return max(self.inner.get_vocab(with_added_tokens=True).values(), default=-1) + 1

    @cached_property
    def kind(self) -> str:
        """``BPE``, ``Unigram``, ``WordPiece`` or ``WordLevel``."""
        return type(self.inner.model).__name__

    @cached_property
    def unknown(self) -> int | None:
        """What its model gives for text that it has no token for; None where it has tokens for all, such as bytes."""
        model = json.loads(self.inner.to_str())["model"]
        if self.kind == "Unigram":
            id: int | None = model["unk_id"]
            return id
        token = model.get("unk_token")
        return None if token is None else self.inner.token_to_id(token)

    def encode_batch(self, texts: list[str]) -> list[list[int]]:
        """The ids of each text, on all cores.

        Raises:
            ValueError: the tokenizers library cannot encode one.
        """
        with no_panics():
            return [each.ids for each in self.inner.encode_batch_fast(texts, add_special_tokens=False)]

    def decode_batch(self, ids: list[list[int]]) -> list[str]:
        """The text of each, with the names of special tokens as they stand."""
        with no_panics():
            texts: list[str] = self.inner.decode_batch(ids, skip_special_tokens=False)
            return texts


def _file_of(folder: Path) -> Path:
    """The file that holds the tokenizer of a folder: one of the known names, or the only SentencePiece file."""
    known = [folder / name for name in READERS if (folder / name).is_file()] or sorted(folder.glob("*.model"))
    if not known:
        raise InputError(f"no tokenizer in {folder}: it has none of {', '.join(READERS)}, *.model")
    if known[0].name not in READERS and len(known) > 1:
        raise InputError(f"{folder} has {len(known)} files of tokenizers; name one: {', '.join(map(str, known))}")
    return known[0]


def run_of(path: Path) -> Path:
    """The run folder that is meant: itself, or that of a recipe.

    Raises:
        RecipeError: the recipe cannot be read.
    """
    return load_recipe(path).run_dir if path.suffix in RECIPES else path
