"""The bytes of a file, packed or not, and their text: UTF-8, what a byte order mark says, or what the recipe says.

Another encoding that is certain, such as the GB 18030 that spreadsheets in China write, is recognised and said. What
could be read in several ways is refused with what those would be.
"""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path

from danlu.data.example import Place
from danlu.errors import InputError, shown
from danlu.text.encodings import MARKS, Detected, detect_whole

PACKED = (".gz", ".zst")
_ZIP = b"PK\x03\x04"
_POSSIBLE = ("gb18030", "big5", "cp1252")


def ending(path: Path) -> str:
    """What ends the file's name, in lower case and without what it is packed with: ``.csv`` of ``a.CSV.gz``."""
    name = Path(path.name.lower())
    return name.with_suffix("").suffix if name.suffix in PACKED else name.suffix


def read_bytes(path: Path) -> bytes:
    """The content, unpacked where the name ends in .gz or .zst.

    Raises:
        InputError: there is no such file, it cannot be read, or what packs it is damaged.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from None
    packing = path.suffix.lower()
    if packing not in PACKED:
        return content
    if not content:
        raise InputError(f"{path} is empty, not even packed")
    return _gunzip(path, content) if packing == ".gz" else _unzstd(path, content)


def read_text(path: Path, *, encoding: str | None = None) -> tuple[str, str]:
    """The whole file as text, and a note where it was not UTF-8, else an empty one.

    Raises:
        InputError: as :func:`read_bytes`; or it is not text of that encoding, of UTF-8 where none is given.
    """
    content = read_bytes(path)
    if encoding is not None:
        return _decode(path, content, encoding).removeprefix("\ufeff"), ""
    if content.startswith(_ZIP):
        raise InputError(f"{path} is no text, but packed as .xlsx and .zip are; save the table in it as .csv")
    found = detect_whole(content)
    if found.binary:
        line = content.count(b"\n", 0, content.index(0)) + 1
        raise Place(path, line).error("it holds a NUL, as no text does; of UTF-16 without its mark, set encoding")
    try:
        text = content.decode(found.encoding or "utf-8").removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        raise _undecided(path, content, error, found) from None
    if found.encoding in (None, "utf-8"):
        return text, ""
    marked = any(content.startswith(mark) for mark, _ in MARKS)
    return text, f"read as {found.encoding}{' by its first bytes' if marked else ', as it is not UTF-8'}"


def _decode(path: Path, content: bytes, encoding: str) -> str:
    try:
        return content.decode(encoding)
    except LookupError:
        raise InputError(
            f"encoding: Python knows no encoding {encoding!r} (such as utf-8, utf-16, {', '.join(_POSSIBLE)})"
        ) from None
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise Place(path, line).error(f"it is not {encoding}: byte 0x{content[error.start]:02x}") from None


def _undecided(path: Path, content: bytes, error: UnicodeDecodeError, found: Detected) -> InputError:
    line = content.count(b"\n", 0, error.start) + 1
    start = content.rfind(b"\n", 0, error.start) + 1
    end = content.find(b"\n", error.start)
    part = content[max(start, error.start - 10) : end if end >= 0 else len(content)]
    name = "UTF-8" if found.encoding in (None, "utf-8") else found.encoding
    reason = f"it is not {name}: byte 0x{content[error.start]:02x}"
    if found.encoding is not None:
        return Place(path, line).error(f"{reason}, though most of the file is; correct that line, or set encoding")
    readings = []
    for name in dict.fromkeys([*found.likely, *_POSSIBLE]):
        try:
            content.decode(name)
            readings.append(f"{part.decode(name, 'replace').strip()[:20]!r} as {name}")
        except UnicodeDecodeError:
            continue
    would = f"; it would read {', '.join(readings)}" if readings else ""
    return Place(path, line).error(f"{reason}{would}; save it as UTF-8, or set encoding")


def _gunzip(path: Path, content: bytes) -> bytes:
    try:
        return gzip.decompress(content)
    except EOFError:
        raise InputError(f"{path} is damaged: it ends early") from None
    except (gzip.BadGzipFile, zlib.error) as error:
        raise InputError(f"{path} is damaged: {error}") from None


def _unzstd(path: Path, content: bytes) -> bytes:
    import pyarrow

    try:
        with pyarrow.input_stream(pyarrow.BufferReader(content), compression="zstd") as stream:
            return bytes(stream.read())
    except (OSError, pyarrow.ArrowException) as error:
        raise InputError(f"{path} is damaged: {shown(' '.join(str(error).split()))}") from None
