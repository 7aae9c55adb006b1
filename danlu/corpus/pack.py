"""The stage ``pack``: clean documents to two token stores, ``train`` and ``heldout``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from itertools import islice
from typing import Annotated, ClassVar

from pydantic import SkipValidation

from danlu.corpus.split import HashSplit, Part, Split
from danlu.corpus.store import StoreWriter, TokenStore
from danlu.errors import InputError
from danlu.log import progress, say
from danlu.recipe import OneOf
from danlu.runs import Figures, Job, Stage
from danlu.text.document import Document, read_documents
from danlu.tokenizers.tokenizer import Tokenizer

PARTS: tuple[Part, Part] = ("train", "heldout")
BATCH = 256
"""Documents tokenised at once, on all cores."""


class Pack(Stage):
    """Settings of ``pack``."""

    needs: ClassVar[tuple[str, ...]] = ("clean", "tokenizer")

    split: Annotated[SkipValidation[Split], OneOf("split")] = HashSplit()
    """What is held out."""

    def run(self, job: Job) -> Figures:
        tokenizer = Tokenizer.load(job.inputs["tokenizer"])
        pieces = (piece for document in read_documents(job.inputs["clean"]) for piece in self.split.parts(document))
        with ExitStack() as stack, progress("pack", None, "documents") as bar:
            writers = {
                part: stack.enter_context(
                    StoreWriter(job.out / part, vocab_size=tokenizer.vocab_size, eot=tokenizer.eot)
                )
                for part in PARTS
            }
            packed = 0
            for batch in _batches(pieces, BATCH):
                encoded = tokenizer.encode_batch([document.text for _, document in batch])
                for (part, document), ids in zip(batch, encoded, strict=True):
                    writers[part].add(document, ids)
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


def _batches(pieces: Iterable[tuple[Part, Document]], size: int) -> Iterator[list[tuple[Part, Document]]]:
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
