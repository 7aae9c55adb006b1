"""The model that a folder holds, as a choice among families: pretraining that goes on from somebody's weights.

On text of a domain or of a task (Gururangan et al. 2020, arXiv:2004.10964). The tokenizer has to be the folder's own,
``tokenizer: {use: folder, path: …}``, or that with more tokens, ``{use: extend, path: …}``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from danlu.errors import InputError, RecipeError
from danlu.nn.config import TransformerConfig
from danlu.nn.families.family import Family
from danlu.nn.hf.new_rows import NewRows, new_tokens
from danlu.nn.hf.start import Start, with_words
from danlu.nn.transformer import Transformer
from danlu.recipe import Choice
from danlu.tokenizers.folder import READERS


class Folder(Choice):
    """A Hugging Face folder, whose weights are the first ones."""

    path: Path
    """As ``transformers`` or ``danlu import`` writes it."""
    new_rows: NewRows = "pieces"
    """What the rows of tokens begin as that an extended tokenizer has and the folder's has not: the mean of the rows of
    their old pieces, or draws around the mean of all rows (``mean``)."""

    def config(self, *, vocab_size: int, max_length: int) -> TransformerConfig:
        """The folder's shape, with a head for words where it has another, and rows for all tokens.

        Raises:
            RecipeError: it has no row for a token and no tokenizer that could tell what it is, or sees less than a row.
            InputError, CheckpointError: there is no model, or it is damaged.
        """
        config = with_words(self.path)
        if vocab_size > config.vocab_size:
            if not any((self.path / name).is_file() for name in READERS):
                raise self._other_tokenizer(config.vocab_size, vocab_size)
            config = replace(config, vocab_size=vocab_size)
        if max_length > config.max_length:
            raise RecipeError(f"model: {self.path} sees at most {config.max_length} tokens; got sequence {max_length}")
        return config

    def start(self, config: TransformerConfig, *, seed: int, tokens: Mapping[str, int] | None = None) -> Start:
        """Where a training of that shape begins.

        Args:
            tokens: all that the tokenizer has, and their ids; where None, they are not more than the folder's.

        Raises:
            RecipeError: the folder has no rows for them, and its tokenizer does not have the first of them.
        """
        rows = with_words(self.path).vocab_size
        known = any((self.path / name).is_file() for name in READERS)
        added = new_tokens(self.path, tokens, begin=self.new_rows) if tokens and known else None
        if added is None and tokens and max(tokens.values()) >= rows:
            raise self._other_tokenizer(rows, max(tokens.values()) + 1)
        return Start(self.path, config, seed, rows, added=added if added is not None and added.pieces else None)

    def _other_tokenizer(self, rows: int, vocab_size: int) -> RecipeError:
        return RecipeError(
            f"model: {self.path} has {rows:,} tokens, the tokenizer {vocab_size:,}; "
            f"set tokenizer to {{use: folder, path: {self.path}}}, or to {{use: extend, path: {self.path}}} for more"
        )

    def files(self) -> list[Path]:
        """Which decide what is learned.

        Raises:
            InputError: there is no such folder.
        """
        if not self.path.is_dir():
            raise InputError(f"pretrain.model.path: there is no folder {self.path}")
        return sorted(path for path in self.path.glob("*") if path.is_file())


def first_model(
    family: Family, config: TransformerConfig, *, seed: int, tokens: Mapping[str, int] | None = None
) -> Transformer:
    """The model at its first step: drawn from ``seed``, or as the folder has it.

    Args:
        tokens: all that the tokenizer has, and their ids, where there may be more than in the folder.
    """
    if isinstance(family, Folder):
        return family.start(config, seed=seed, tokens=tokens).draw()
    model = Transformer(config)
    model.initialise(seed)
    return model
