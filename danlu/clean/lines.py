"""Lines that stand in an earlier document, or earlier in the same one: menus, footers, notes on rights."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np
from pydantic import Field

from danlu.clean.duplicates import Duplicates, Sketch, Sketched, write_cuts
from danlu.clean.exact import digests
from danlu.clean.repeats import Dealt, Places, Repeats, by_part, extent, in_order, owners


class Lines(Duplicates):
    """Cut every line that has been there before, with its line end; spaces around it do not count."""

    reason: ClassVar[str] = "repeated lines"

    characters: int = Field(default=30, ge=1)
    """Shorter lines stay, however often they are there."""

    @property
    def cuts(self) -> bool:
        return True

    def sketch(self, texts: Sequence[str]) -> Sketch:
        """``lines`` (documents,): how many are long enough; of these ``key`` and ``span`` (lines, 2)."""
        counts: list[int] = []
        bare: list[str] = []
        spans: list[tuple[int, int]] = []
        for text in texts:
            start, before = 0, len(bare)
            for line in text.split("\n"):
                end = start + len(line) + 1
                if len(line) >= self.characters and len(stripped := line.strip()) >= self.characters:
                    bare.append(stripped)
                    spans.append((start, min(end, len(text))))
                start = end
            counts.append(len(bare) - before)
        return {
            "lines": np.array(counts, np.int64),
            "key": digests(bare),
            "span": np.array(spans, np.int64).reshape(-1, 2),
        }

    def decide(self, parts: Sequence[Sketched], out: Path) -> list[Path]:
        """Cut all but the first line of each key."""
        most, rows = extent(part.load()["lines"] for part in parts)
        places, files, share = Places(parts, most), [], self.memory // 2
        with (
            Repeats(out / "keys", rows=rows, memory=share, width=2) as repeats,
            Dealt(out / "copies", files=len(parts), width=2, memory=share) as copies,
        ):
            for number, part in enumerate(parts):
                sketch = part.load()
                documents, within = owners(sketch["lines"])
                compared = np.flatnonzero(part.standing()[documents])
                keys = sketch["key"][compared]
                keys ^= self.salt(part)
                repeats.add(keys, places.of(number, documents[compared], within[compared]))
            by_part(repeats, places, copies)
            for number, part in enumerate(parts):
                copied, firsts = in_order(copies, number)
                documents = places.documents(copied) - places.starts[number]
                sketch = part.load()
                starts = np.cumsum(sketch["lines"]) - sketch["lines"]
                span = sketch["span"][starts[documents] + places.within(copied)]
                first = places.documents(firsts)
                columns = {"document": documents, "start": span[:, 0], "end": span[:, 1], "first": first}
                files.append(write_cuts(out, number, columns))
        return files
