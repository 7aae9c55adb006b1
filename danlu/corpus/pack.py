"""The stage ``pack``: clean documents to two token stores, ``train`` and ``heldout``.

It works in two passes: drafts of what each portion of the documents adds to the stores (``drafts.py``), and the stores
of all drafts behind each other (``gathering.py``).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, ClassVar

import numpy as np
from pydantic import Field, SkipValidation, model_validator

from danlu.corpus.description import FORM
from danlu.corpus.drafts import Drafting
from danlu.corpus.elsewhere import bring
from danlu.corpus.gathering import Gathered, gather
from danlu.corpus.marks import BITS, Marker, Unit
from danlu.corpus.origins import Origins
from danlu.corpus.portions import Portion, portions
from danlu.corpus.split import PARTS, HashSplit, Part, Split
from danlu.corpus.store import TokenStore
from danlu.errors import InputError
from danlu.files import hash_file
from danlu.log import progress, say
from danlu.machine import cores
from danlu.readers.remote import remote_url
from danlu.recipe import OneOf
from danlu.stage import Figures, Job, Stage, recorded
from danlu.text.document import document_shards
from danlu.text.lexicon import Lexicon
from danlu.text.words import Jieba, Segmenter
from danlu.tokenizers.tokenizer import Tokenizer
from danlu.workers.drafts import how_many, throw_away
from danlu.workers.processes import Workers
from danlu.workers.ray_workers import RayWorkers

DECIDING = ("numpy", "orjson", "rjieba", "tokenizers")
"""Packages whose version may change which tokens and marks come out."""
BYTES_A_PROCESS = 64 << 20
"""Of documents, without which another process is not worth its beginning: the threads of one have all cores too."""


class Pack(Stage):
    """Settings of ``pack``."""

    needs: ClassVar[tuple[str, ...]] = ("clean", "tokenizer")
    resumable: ClassVar[bool] = True
    version: ClassVar[int] = FORM
    unrecorded: ClassVar[tuple[str, ...]] = ("workers", "ray")

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
    workers: int | None = Field(default=None, ge=1)
    """Processes; by default all cores, or all of the cluster, and one where there is little text. One alone encodes on
    all cores, several on one each. Their number changes nothing in the result."""
    ray: str | None = Field(default=None, min_length=1)
    """The address of a Ray cluster whose processes do the work: ``auto``, ``HOST:PORT``, or ``local`` for a new one; it
    changes nothing in the result. All its machines must see ``run_dir`` at the same path."""

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
            self._pack(job)
        else:
            self._bring(job.out)
        stores = {part: TokenStore.open_for(tokenizer, job.out / part) for part in PARTS}
        self._check({part: len(store.documents) for part, store in stores.items()})
        _tell_languages(stores)
        figures: Figures = {}
        for part, store in stores.items():
            figures |= _figures(part, store)
        return figures

    def _bring(self, out: Path) -> None:
        """The columns of stores elsewhere."""
        assert self.stores is not None and self.cache is not None
        for part in PARTS:
            bring(f"{remote_url(self.stores)}/{part}", out / part, self.cache, self.cache_bytes)

    def progress(self, out: Path) -> str | None:
        done = how_many(out)
        return f"{done} portions of the documents are encoded" if done else None

    def _pack(self, job: Job) -> None:
        """Write the stores.

        Raises:
            InputError: no document is in one of them, or a shard of documents is damaged.
        """
        todo, out = portions(document_shards(job.inputs["clean"].absolute())), job.out.absolute()
        with self._workers(todo, out) as workers:
            self._draft(todo, self.drafting(job), workers)
            found = [Gathered.of(out, part, len(todo)) for part in PARTS] if todo else []
            documents = {each.part: each.about["documents"] for each in found}
            try:
                self._check(documents)
            except InputError:
                throw_away(out)  # the drafts are of no use to other settings, which are wanted now
                raise
            gather(out, found, workers, Origins.of(job.inputs["clean"], todo))

    def tidy(self, out: Path) -> None:
        throw_away(out)

    def drafting(self, job: Job) -> Drafting:
        """The first pass."""
        folder = job.inputs["tokenizer"].absolute()
        files = [*self.external_files(), *sorted(folder.glob("*.json"))]
        made_from = [FORM, recorded(self), [hash_file(file) for file in files]]
        settings = json.dumps(made_from, sort_keys=True, default=str)
        return Drafting(folder, self.split, self.marked, self.marker, job.out.absolute(), settings)

    def _draft(self, todo: list[Portion], drafting: Drafting, workers: Workers | RayWorkers) -> None:
        """The first pass, over the portions that have no draft yet, or one that was made of something else."""
        missing = drafting.missing(todo)
        size = sum(portion.size for portion in todo)
        done = size - sum(portion.size for portion in missing)
        made_from = [(portion, drafting.made_from(portion)) for portion in missing]
        if isinstance(workers, Workers) and min(workers.most, len(missing)) <= 1:
            drafts = drafting.on_all_cores(made_from)
        else:
            drafts = workers.work_through(drafting, made_from, named=lambda each: each[0].named)
        with progress("pack", size, "bytes") as bar:
            bar.update(done)
            for more in drafts:
                done += more
                bar.update(done)

    def _workers(self, todo: list[Portion], out: Path) -> Workers | RayWorkers:
        if self.ray is not None:
            return RayWorkers("pack", self.workers, address=self.ray, out=out, packages=DECIDING)
        enough = sum(portion.size for portion in todo) >= cores() * BYTES_A_PROCESS
        return Workers("pack", self.workers or (cores() if enough else 1))

    def _check(self, documents: Mapping[Part, int]) -> None:
        for part in PARTS:
            if not documents.get(part):
                raise InputError(
                    f"pack.split sends no document to the {part} part; there are too few for this fraction: "
                    "choose another pack.split.fraction, or 'use: tail', which holds out the end of each document"
                )


def _tell_languages(stores: Mapping[Part, TokenStore]) -> None:
    train, heldout = (stores[part].table.present() for part in PARTS)
    for language in sorted({*train} - {*heldout}):
        say(f"pack: no {language} document is held out; the held-out figures will not cover {language}")


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
