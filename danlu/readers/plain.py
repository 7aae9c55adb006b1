"""Text files: whole, or where lines, paragraphs, blocks or what is between lines of one kind are the documents, as a
stream of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from danlu.readers.lines import Lines, TextLine
from danlu.readers.record import Content, CutShort, Raw, Rejected, Wanted
from danlu.readers.whole import encoding_field, lost_field, read_text
from danlu.text import cuts


def read_txt(content: Content, wanted: Wanted) -> Iterator[Raw | Rejected]:
    """A text file is one record, without its damaged lines; cut into lines, paragraphs, blocks or at lines that part,
    each of those is one.

    What is cut is numbered by its first line. Every such record is held in memory, the file is not.
    """
    match wanted.documents:
        case cuts.Lines():
            yield from _gathered(content, wanted, lambda line, _: True)
        case cuts.Paragraphs():
            yield from _gathered(content, wanted, lambda line, _: not line.strip())
        case cuts.Separated() as separated:
            yield from _gathered(content, wanted, lambda line, _: separated.ends(line))
        case cuts.Blocks() as blocks:
            yield from _gathered(content, wanted, lambda line, before: blocks.ends(before + len(line), line))
        case _:
            text = read_text(content, wanted)
            if isinstance(text, Rejected):
                yield text
            else:
                yield Raw(0, text.text, text.fields, 0)
                yield from text.lost


def _gathered(content: Content, wanted: Wanted, ends: Callable[[str, int], bool]) -> Iterator[Raw | Rejected]:
    """Lines up to each of which ``ends`` says, of it and the characters before it, that it is a record's last."""
    with content.open() as file:
        group: list[TextLine] = []
        size = 0
        try:
            for line in map(_without_nuls, Lines(content, wanted, file)):
                if isinstance(line, Rejected):
                    yield from _record(group)
                    group, size = [], 0
                    yield line
                    continue
                last = ends(line.text, size)
                size += len(line.text)
                if last and isinstance(wanted.documents, cuts.Separated):
                    pass  # it falls here: normalised, it may be another line
                elif size <= wanted.record_bytes:
                    group.append(line)
                elif group:
                    yield _too_long(group, wanted.record_bytes)
                    group = []  # the rest of it is passed over
                if last:
                    yield from _record(group)
                    group, size = [], 0
        except CutShort:
            yield from _record(group, lost=1)
            raise
        yield from _record(group)


def _without_nuls(line: TextLine | Rejected) -> TextLine | Rejected:
    """The line; one with a NUL is no text."""
    if isinstance(line, Rejected) or "\0" not in line.text:
        return line
    return Rejected(line.number, "binary", f"a NUL in the text at byte {line.offset}", line.offset)


def _record(group: list[TextLine], lost: int = 0) -> Iterator[Raw | Rejected]:
    if not group:
        return
    text = "".join(line.text for line in group)
    number, offset = group[0].number, group[0].offset
    if text.strip():
        encoding = next((line.encoding for line in group if line.encoding != "utf-8"), "utf-8")
        yield Raw(number, text, {**encoding_field(encoding), **lost_field(lost)}, offset)


def _too_long(group: list[TextLine], limit: int) -> Rejected:
    first = group[0]
    detail = f"at byte {first.offset}: lines that belong together are longer than {limit:,} bytes (record_bytes)"
    return Rejected(first.number, "too long", detail, first.offset)
