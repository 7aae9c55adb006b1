"""How far packed data are read: against files that unpack to more than anybody means to read.

A decompression bomb shows itself by its ratio (42.zip: 42 kB that unpack to 4.5 PB) or by its size. What all layers of
one file unpack to, an archive's members and what is packed in them included, is counted in one :class:`Budget`; where
it is used up, reading that file ends, and what was read before stays.
"""

from __future__ import annotations

from dataclasses import dataclass

from danlu.readers.record import Content, Damaged, Wanted

PLAIN_BYTES = 64 << 20
"""The ratio is not looked at before this many bytes: a small file of repeats is harmless."""


class TooLarge(Damaged):
    """A limit was reached: nothing more of the whole file is read."""


@dataclass(slots=True)
class Budget:
    """What was unpacked of one file so far, all layers together.

    ``stored`` is the size of the outermost file in bytes, None where it is not known.
    """

    most: int
    ratio: int
    stored: int | None = None
    unpacked: int = 0
    over: bool = False
    """A limit was reached: whoever reads an archive with this budget stops."""

    def spend(self, size: int, packed: int) -> None:
        """Count ``size`` bytes more; ``packed`` bytes were read for what this stream has given so far.

        Raises:
            TooLarge: that is beyond a limit.
        """
        self.unpacked += size
        stored = packed if self.stored is None else self.stored
        self.over = self.unpacked > min(self.most, max(PLAIN_BYTES, self.ratio * stored))
        if self.unpacked > self.most:
            raise TooLarge("unpacks to too much", f"more than {self.most:,} bytes (unpacked_bytes)")
        if self.over:
            detail = f"{stored:,} bytes to more than {self.ratio:,} times as many (unpacked_ratio)"
            raise TooLarge("unpacks to too much", detail)


def budget_of(content: Content, wanted: Wanted) -> Budget:
    """The budget that ``content`` shares with the archive it stands in, or a new one for a file of its own."""
    shared = getattr(content, "budget", None)
    return shared if isinstance(shared, Budget) else Budget(wanted.unpacked_bytes, wanted.unpacked_ratio, content.size)
