"""Any file to its records: the ending of its name picks what unpacks it and what reads it."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

from danlu import catalog
from danlu.readers.exhausted import check_blame
from danlu.readers.record import Content, Damaged, Raw, Reader, Rejected, Wanted


def reader_for(name: str, other: str | None = None) -> Reader | None:
    """The reader whose suffix ends the name of a file, packed or not, the longest first; None where no reader fits.

    Args:
        other: as what ending any other is taken.
    """
    suffix = kind(name, other)
    if suffix is None:
        return None
    return _loaded(catalog.CATALOG["reader"][suffix])


@cache
def _loaded(target: str) -> Reader:
    """Once, and not for each of a hundred thousand files."""
    reader: Reader = catalog.load("reader", target, key="reader")
    return reader


def kind(name: str, other: str | None = None) -> str | None:
    """The ending that picks the reader, in lower case: ``.csv`` of ``a.CSV.gz``; ``other`` where no reader fits."""
    rest = name.lower()
    while True:
        found = _ending(rest, "reader")
        if found is not None:
            return found
        packing = _ending(rest, "packing")
        if packing is None:
            return other
        rest = rest.removesuffix(packing)


def read(content: Content, wanted: Wanted) -> Iterator[Raw | Rejected]:
    """The records of a file, packed or not, by the reader that its name picks.

    Where what packs it is damaged, or the system fails to read it, the rest is one rejected record.

    Raises:
        DanluError: this machine has no room for it, or too many open files.
    """
    reader = reader_for(content.name, wanted.read_as)
    assert reader is not None, content.name
    count = 0
    number = -1
    try:
        for record in reader(unpacked(content, wanted), wanted):
            number = record.number
            count += 1
            yield record
    except Damaged as damage:
        after = f"after {count} records" if count else "before the first record"
        if count and damage.reason.startswith("damaged "):  # a check sum stands at the end, too late for them
            after += ", of which the last may be altered"
        yield Rejected(number + 1, damage.reason, f"{damage.detail}, {after}" if damage.detail else after)
    except OSError as error:
        check_blame(error, content.name)
        yield Rejected(number + 1, "cannot be read", f"{error.strerror or error}")


def unpacked(content: Content, wanted: Wanted) -> Content:
    """The content inside what the ending says packs it; itself where it is not packed."""
    while _ending(content.name.lower(), "reader") is None:
        packing = _ending(content.name.lower(), "packing")
        if packing is None:
            break
        content = catalog.load("packing", packing, key="packing")(content, wanted)
    return content


def is_packed(name: str) -> bool:
    """Whether what packs the file is taken off before it is read."""
    return _ending(name.lower(), "reader") is None and _ending(name.lower(), "packing") is not None


def _ending(name: str, what: str) -> str | None:
    known = catalog.CATALOG[what]
    dots = (place for place, letter in enumerate(name) if letter == ".")  # the longest ending first
    return next((name[place:] for place in dots if name[place:] in known), None)
