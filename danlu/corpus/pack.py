"""The stage ``pack``: clean documents to two token stores, ``train`` and ``heldout``."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, ClassVar

import numpy as np
from pydantic import Field, SkipValidation, model_validator

from danlu.corpus.elsewhere import bring
from danlu.corpus.mapped import Array
from danlu.corpus.marks import BITS, Marker, Marks, Unit
from danlu.corpus.split import HashSplit, Part, Split
from danlu.corpus.store import StoreWriter, TokenStore, token_dtype
from danlu.errors import InputError
from danlu.log import progress, say
from danlu.readers.remote import remote_url
from danlu.recipe import OneOf
from danlu.runs import Figures, Job, Stage
from danlu.text.document import Document, read_documents
from danlu.text.lexicon import Lexicon
from danlu.text.words import Jieba, Segmenter
from danlu.tokenizers.tokenizer import Tokenizer

PARTS: tuple[Part, Part] = ("train", "heldout")
BATCH = 2048
"""Documents tokenised at once, on all cores."""
BATCH_CHARACTERS = 1 << 21
"""Of those documents, after which no other joins them: what is known of their tokens takes some 100 bytes each."""
AT_ONCE = 2
"""Batches that are encoded at once."""


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

    stores: Path | None = None
    """Where stores lie that were packed before, ``train`` and ``heldout``, such as s3://bucket/pack: nothing is packed,
    what is in them is read from there."""
    cache: Path | None = None
    """The folder into which their shards are copied when they are looked at."""
    cache_bytes: int = Field(default=100 << 30, ge=1)
    """That it holds at most; a training reads from all over the store, so that it should hold it whole."""

    @model_validator(mode="after")
    def _stores_elsewhere_have_a_cache(self) -> Pack:
        if (self.stores is None) != (self.cache is None):
            raise ValueError("stores and cache go together: give the address of stores and a folder for their shards")
        if self.stores is not None and remote_url(self.stores) is None:
            raise ValueError(f"stores must be an address such as s3://bucket/pack; got {self.stores}")
        return self

    def needed(self) -> tuple[str, ...]:
        return self.needs if self.stores is None else ("tokenizer",)

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
        tokenizer = Tokenizer.load(job.inputs["tokenizer"])
        if self.stores is None:
            self._pack(job, tokenizer)
        else:
            self._bring(job.out)
        stores = {part: TokenStore.open(job.out / part) for part in PARTS}
        for part, store in stores.items():
            if (store.vocab_size, store.eot) != (tokenizer.vocab_size, tokenizer.eot):
                raise InputError(
                    f"pack.stores: {part} was packed with another tokenizer: its vocabulary has {store.vocab_size:,} "
                    f"tokens, that of this run {tokenizer.vocab_size:,}"
                )
        self._check(stores)
        figures: Figures = {}
        for part, store in stores.items():
            figures |= _figures(part, store)
        return figures

    def _bring(self, out: Path) -> None:
        """The columns of stores elsewhere."""
        assert self.stores is not None and self.cache is not None
        for part in PARTS:
            bring(f"{remote_url(self.stores)}/{part}", out / part, self.cache, self.cache_bytes)

    def _pack(self, job: Job, tokenizer: Tokenizer) -> None:
        marker = self.marker()
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
            for batch, encoded in encode_ahead(tokenizer, batches(pieces), marker):
                for (part, document), (ids, marks) in zip(batch, encoded, strict=True):
                    writers[part].add(document, ids, marks)
                packed += len(batch)
                bar.update(packed)

    def _check(self, stores: Mapping[Part, TokenStore]) -> None:
        for part, store in stores.items():
            if not store.documents:
                raise InputError(
                    f"pack.split sends no document to the {part} part; there are too few for this fraction: "
                    "choose another pack.split.fraction, or 'use: tail', which holds out the end of each document"
                )
        train, heldout = (stores[part].table.present() for part in PARTS)
        for language in sorted({*train} - {*heldout}):
            say(f"pack: no {language} document is held out; the held-out figures will not cover {language}")


Encoded = tuple[Array, Marks | None]
"""Token ids and their marks."""


def encode_ahead(
    tokenizer: Tokenizer, batches: Iterable[list[tuple[Part, Document]]], marker: Marker | None
) -> Iterator[tuple[list[tuple[Part, Document]], list[Encoded]]]:
    """Each batch and its token ids, in order; the next ones are encoded while the caller works on this one.

    A batch ends when its last text does, and then cores stand still: so two are encoded at once.

    Raises:
        InputError: there are pairs, and no token between them.
    """
    with ThreadPoolExecutor(AT_ONCE) as pool:
        waiting: deque[tuple[list[tuple[Part, Document]], Future[list[Encoded]]]] = deque()
        try:
            for batch in batches:
                documents = [document for _, document in batch]
                waiting.append((batch, pool.submit(encode, tokenizer, documents, marker)))
                if len(waiting) > AT_ONCE:
                    first, encoded = waiting.popleft()
                    yield first, encoded.result()
            while waiting:
                first, encoded = waiting.popleft()
                yield first, encoded.result()
        finally:
            for _, encoded in waiting:
                encoded.cancel()


def encode(tokenizer: Tokenizer, documents: list[Document], marker: Marker | None) -> list[Encoded]:
    """The token ids of each document, ``sep_token`` between the sides of a pair, and their marks where there is a
    marker.

    Raises:
        InputError: there are pairs, and no such token.
    """
    sides = [document.sides for document in documents]
    encoded = iter(_encode_texts(tokenizer, [text for each in sides for text in each], marker))
    found: list[Encoded] = []
    for each in sides:
        ids, marks = next(encoded)
        if len(each) > 1:
            more, more_marks = next(encoded)
            ids = np.concatenate([ids, np.array([_separator(tokenizer)], dtype=ids.dtype), more])
            if marks is not None and more_marks is not None:
                marks = np.concatenate([marks, more_marks[:1], more_marks])  # the separator begins what it parts
        found.append((ids, marks))
    return found


def _encode_texts(tokenizer: Tokenizer, texts: list[str], marker: Marker | None) -> list[Encoded]:
    dtype = token_dtype(tokenizer.vocab_size)
    if marker is None:
        return [(ids, None) for ids in tokenizer.encode_arrays(texts, dtype)]
    encoded = zip(texts, tokenizer.encode_with_ends(texts), strict=True)
    return [(np.fromiter(ids, dtype=dtype, count=len(ids)), marker.marks(text, ends)) for text, (ids, ends) in encoded]


def _separator(tokenizer: Tokenizer) -> int:
    sep = tokenizer.special("sep_token")
    if sep is None or sep == tokenizer.eot:
        raise InputError(
            "pack: pairs of texts need a token between them, which the tokenizer lacks: add bert to tokenizer.special"
        )
    return sep


def batches(pieces: Iterable[tuple[Part, Document]]) -> Iterator[list[tuple[Part, Document]]]:
    """The pieces in lists of about ``BATCH_CHARACTERS``; no list has more than ``BATCH``."""
    batch: list[tuple[Part, Document]] = []
    characters = 0
    for part, document in pieces:
        batch.append((part, document))
        characters += len(document.text)
        if characters >= BATCH_CHARACTERS or len(batch) == BATCH:
            yield batch
            batch, characters = [], 0
    if batch:
        yield batch


def _figures(part: Part, store: TokenStore) -> Figures:
    figures: Figures = {f"{part}.documents": len(store.documents), f"{part}.tokens": len(store.tokens)}
    names = store.table.languages
    totals = np.zeros((2, len(names)), dtype=np.int64)
    for spoken, lengths, sizes in zip(store.table.spoken(), store.lengths(), store.table.sizes(), strict=True):
        np.add.at(totals[0], spoken, lengths)
        np.add.at(totals[1], spoken, sizes)
    for number, language in enumerate(names):
        figures[f"{part}.{language}.tokens"] = int(totals[0, number])
        figures[f"{part}.{language}.bytes"] = int(totals[1, number])
    return figures
