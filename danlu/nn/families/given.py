"""The model that a folder holds, as a choice among families: pretraining that goes on from somebody's weights.

On text of a domain or of a task (Gururangan et al. 2020, arXiv:2004.10964). The tokenizer has to be the folder's own:
``tokenizer: {use: folder, path: …}``.
"""

from __future__ import annotations

from pathlib import Path

from danlu.errors import InputError, RecipeError
from danlu.nn.config import TransformerConfig
from danlu.nn.families.family import Family
from danlu.nn.hf.start import Start, with_words
from danlu.nn.transformer import Transformer
from danlu.recipe import Choice


class Folder(Choice):
    """A Hugging Face folder, whose weights are the first ones."""

    path: Path
    """As ``transformers`` or ``danlu import`` writes it."""

    def config(self, *, vocab_size: int, max_length: int) -> TransformerConfig:
        """The folder's shape, with a head for words where it has another.

        Raises:
            RecipeError: it has no row for a token, or sees less than a row.
            InputError, CheckpointError: there is no model, or it is damaged.
        """
        config = with_words(self.path)
        if vocab_size > config.vocab_size:
            raise RecipeError(
                f"model: {self.path} has {config.vocab_size:,} tokens, the tokenizer {vocab_size:,}; "
                f"set tokenizer to {{use: folder, path: {self.path}}}"
            )
        if max_length > config.max_length:
            raise RecipeError(f"model: {self.path} sees at most {config.max_length} tokens; got sequence {max_length}")
        return config

    def start(self, config: TransformerConfig, *, seed: int) -> Start:
        """Where a training of that shape begins."""
        return Start(self.path, config, seed, config.vocab_size)

    def files(self) -> list[Path]:
        """Which decide what is learned.

        Raises:
            InputError: there is no such folder.
        """
        if not self.path.is_dir():
            raise InputError(f"pretrain.model.path: there is no folder {self.path}")
        return sorted(path for path in self.path.glob("*") if path.is_file())


def first_model(family: Family, config: TransformerConfig, *, seed: int) -> Transformer:
    """The model at its first step: drawn from ``seed``, or as the folder has it."""
    if isinstance(family, Folder):
        return family.start(config, seed=seed).draw()
    model = Transformer(config)
    model.initialise(seed)
    return model
