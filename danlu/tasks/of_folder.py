"""What texts are read and answers are written with beside a reader: read from its folder once, as long as it lives."""

from __future__ import annotations

from danlu.generate.special_tokens import SpecialTokens
from danlu.nn.config import TransformerConfig
from danlu.nn.hf.folder import load_config
from danlu.tasks.text_reader import TextReader
from danlu.tasks.transcript import Transcriber
from danlu.tokenizers.tokenizer import Tokenizer


def transcriber_of(reader: TextReader, template: str | None) -> Transcriber:
    """The tokenizer in the reader's folder, with its own template or another.

    Raises:
        InputError, RecipeError: as :meth:`~danlu.tasks.transcript.Transcriber.load`.
    """
    return reader.once(("transcriber", template), lambda: Transcriber.load(reader.folder, template))


def tokenizer_of(reader: TextReader) -> Tokenizer:
    """The tokenizer in the reader's folder, whose special tokens are named.

    Raises:
        InputError: there is none, or it cannot be read.
    """
    return reader.once("tokenizer", lambda: Tokenizer.load(reader.folder))


def special_of(reader: TextReader, config: TransformerConfig | None = None) -> SpecialTokens:
    """What goes around texts.

    Args:
        config: of the model; by default of the one in the reader's folder.

    Raises:
        InputError, CheckpointError: as :meth:`~danlu.generate.special_tokens.SpecialTokens.read`.
    """
    config = config or reader.once("config", lambda: load_config(reader.folder))
    key = ("special", config.vocab_size, config.encoder is None)  # all that it goes by
    return reader.once(key, lambda: SpecialTokens.read(reader.folder, tokenizer_of(reader), config))
