"""The stage ``pack``: clean documents to two token stores, ``train`` and ``heldout``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, ClassVar

import numpy as np
from pydantic import SkipValidation, model_validator

from danlu.corpus.marks import BITS, Marker, Marks, Unit
from danlu.corpus.split import HashSplit, Part, Split
from danlu.corpus.store import StoreWriter, TokenStore
from danlu.errors import InputError
from danlu.log import progress, say
from danlu.recipe import OneOf
from danlu.runs import Figures, Job, Stage
from danlu.text.document import Document, read_documents
from danlu.text.lexicon import Lexicon
from danlu.text.words import Jieba, Segmenter
from danlu.tokenizers.tokenizer import Tokenizer

PARTS: tuple[Part, Part] = ("train", "heldout")
BATCH = 256
"""Documents tokenised at once, on all cores."""


class Pack(Stage):
    """Settings of ``pack``."""

    needs: ClassVar[tuple[str, ...]] = ("clean", "tokenizer")

    split: Annotated[SkipValidation[Split], OneOf("split")] = HashSplit()
    """What is held out."""
    marks: tuple[Unit, ...] = ()
    """What to mark the beginnings of, beside the tokens: words, phrases, sentences. Whole-word masking needs words."""
    segmenter: Annotated[SkipValidation[Segmenter], OneOf("segmenter")] = Jieba()
    """How runs of Chinese characters are cut into words."""
    lexicon: Path | None = None
    """A UTF-8 file of phrases and names, one a line; what follows a tab there is left out. Phrases need it."""

    @model_validator(mode="after")
    def _phrases_have_a_lexicon(self) -> Pack:
        if "phrases" in self.marks and self.lexicon is None:
            raise ValueError("marks of phrases need a lexicon; name its file as pack.lexicon")
        if "phrases" not in self.marks and self.lexicon is not None:
            raise ValueError("lexicon has no effect without phrases among pack.marks")
        return self

    def external_files(self) -> list[Path]:
        if self.lexicon is None:
            return []
        if not self.lexicon.is_file():
            raise InputError(f"pack.lexicon: there is no file {self.lexicon}")
        return [self.lexicon]

    @property
    def marked(self) -> tuple[Unit, ...]:
        """What is marked, in the order of their bits."""
        return tuple(unit for unit in BITS if unit in self.marks)

    def marker(self) -> Marker | None:
        """What finds the beginnings; None where nothing is marked.

        Raises:
            InputError: the lexicon cannot be read.
        """
        lexicon = None if self.lexicon is None else Lexicon.read(self.lexicon)
        return Marker(self.marked, self.segmenter, lexicon) if self.marked else None

    def run(self, job: Job) -> Figures:
        tokenizer, marker = Tokenizer.load(job.inputs["tokenizer"]), self.marker()
        pieces = (piece for document in read_documents(job.inputs["clean"]) for piece in self.split.parts(document))
        with ExitStack() as stack, progress("pack", None, "documents") as bar:
            writers = {
                part: stack.enter_context(
                    StoreWriter(
                        job.out / part,
                        vocab_size=tokenizer.vocab_size,
                        eot=tokenizer.eot,
                        marks=self.marked,
                        sep=tokenizer.special("sep_token"),
                    )
                )
                for part in PARTS
            }
            packed = 0
            for batch in batches(pieces, BATCH):
                encoded = encode(tokenizer, [document for _, document in batch], marker)
                for (part, document), (ids, marks) in zip(batch, encoded, strict=True):
                    writers[part].add(document, ids, marks)
                packed += len(batch)
                bar.update(packed)
        stores = {part: TokenStore.open(job.out / part) for part in PARTS}
        self._check(stores)
        figures: Figures = {}
        for part, store in stores.items():
            figures |= _figures(part, store)
        return figures

    def _check(self, stores: Mapping[Part, TokenStore]) -> None:
        for part, store in stores.items():
            if not store.documents:
                raise InputError(
                    f"pack.split sends no document to the {part} part; there are too few for this fraction: "
                    "choose another pack.split.fraction, or 'use: tail', which holds out the end of each document"
                )
        train, heldout = ({document["language"] for document in stores[part].documents} for part in PARTS)
        for language in sorted(train - heldout):
            say(f"pack: no {language} document is held out; the held-out figures will not cover {language}")


def encode(
    tokenizer: Tokenizer, documents: list[Document], marker: Marker | None
) -> Iterator[tuple[list[int], Marks | None]]:
    """The token ids of each document, ``sep_token`` between the sides of a pair, and their marks where there is a
    marker.

    Raises:
        InputError: there are pairs, and no such token.
    """
    sides = [document.sides for document in documents]
    encoded = _encode_texts(tokenizer, [text for each in sides for text in each], marker)
    for each in sides:
        ids, marks = next(encoded)
        if len(each) > 1:
            more, more_marks = next(encoded)
            ids = [*ids, _separator(tokenizer), *more]
            if marker is not None:
                marks = np.concatenate([marks, more_marks[:1], more_marks])  # the separator begins what it parts
        yield ids, marks


def _encode_texts(tokenizer: Tokenizer, texts: list[str], marker: Marker | None) -> Iterator[tuple[list[int], Any]]:
    if marker is None:
        yield from ((ids, None) for ids in tokenizer.encode_batch(texts))
        return
    for text, (ids, ends) in zip(texts, tokenizer.encode_with_ends(texts), strict=True):
        yield ids, marker.marks(text, ends)


def _separator(tokenizer: Tokenizer) -> int:
    sep = tokenizer.special("sep_token")
    if sep is None or sep == tokenizer.eot:
        raise InputError(
            "pack: pairs of texts need a token between them, which the tokenizer lacks: add bert to tokenizer.special"
        )
    return sep


def batches(pieces: Iterable[tuple[Part, Document]], size: int) -> Iterator[list[tuple[Part, Document]]]:
    """The pieces in lists of ``size``."""
    source = iter(pieces)
    while batch := list(islice(source, size)):
        yield batch


def _figures(part: Part, store: TokenStore) -> Figures:
    figures: Figures = {f"{part}.documents": len(store.documents), f"{part}.tokens": len(store.tokens)}
    lengths = store.starts[1:] - store.starts[:-1]
    for document, length in zip(store.documents, lengths, strict=True):
        for name, amount in ((".tokens", int(length)), (".bytes", document["bytes"])):
            key = f"{part}.{document['language']}{name}"
            figures[key] = figures.get(key, 0) + amount
    return figures
