"""From the documents of stores that were packed elsewhere to their sources, by what the stores carry of it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from danlu.clean.lineage import read_lineage
from danlu.corpus.offsets import NOWHERE, offsets_in
from danlu.corpus.split import PARTS
from danlu.corpus.store import TokenStore
from danlu.errors import InputError, shown
from danlu.readers.sources import Source
from danlu.recipe import build
from danlu.trace.fates import Fate, origins_of, parse


@dataclass(frozen=True)
class Carried:
    """The folder of ``pack``; it stands for the folder of ``clean`` that is not here
    (:class:`danlu.trace.fates.Cleaned`)."""

    folder: Path

    @cached_property
    def lineage(self) -> dict[str, Any]:
        """What all documents share.

        Raises:
            InputError: it is damaged.
        """
        return read_lineage(self.folder / PARTS[0])

    def source(self, number: int) -> Source:
        """The settings of a source."""
        return build(Source, self.lineage["settings"]["sources"][number], key=f"clean.sources.{number}")

    def find(self, identity: str) -> Fate:
        """Where the document of this id was kept.

        Raises:
            InputError: no store has it, or none says of which file it is.
        """
        parsed = parse(identity)
        for part in PARTS if parsed is not None else ():
            place = self.folder / part
            store = TokenStore.open(place)
            number = store.number_of(identity)
            if number is None:
                continue
            assert parsed is not None
            origins = list(origins_of(place, parsed["file"], int(parsed["record"])))
            if not origins:
                raise InputError(f"{place} does not say from which file {shown(identity)!r} is; pack the text again")
            offset = int(offsets_in(place, len(store.documents))[number])
            return Fate(identity, "kept", origins[-1], None if offset == NOWHERE else offset, None)
        such = TokenStore.open(self.folder / PARTS[0]).documents[0]["id"]
        raise InputError(
            f"no document {shown(identity)!r} in the stores, which know nothing of what was dropped; "
            f"an id is FILE#RECORD, such as {shown(such)!r}"
        )
