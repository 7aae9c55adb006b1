"""The bytes of a file, packed or not, and their text: UTF-8, what a byte order mark says, or what the recipe says.

Chinese in GB 18030, which spreadsheets in China write, is recognised and said. All else that is not UTF-8 could be
read in several ways, and is refused with what those would be.
"""

from __future__ import annotations

import codecs
import gzip
import zlib
from pathlib import Path

from danlu.data.example import Place
from danlu.errors import InputError, shown

PACKED = (".gz", ".zst")
_MARKS = (  # UTF-32's little-endian mark begins with UTF-16's
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_ZIP = b"PK\x03\x04"
_POSSIBLE = ("gb18030", "big5", "cp1252")
_SURE = 0.9
"""Share of the letters beyond ASCII that have to be among the 7,000 of GB 2312, for the text to be Chinese."""


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
    for mark, name in _MARKS:
        if content.startswith(mark):
            return _decode(path, content, name), "" if name == "utf-8-sig" else f"read as {name} by its first bytes"
    if content.startswith(_ZIP):
        raise InputError(f"{path} is no text, but packed as .xlsx and .zip are; save the table in it as .csv")
    if b"\0" in content:
        line = content.count(b"\n", 0, content.index(0)) + 1
        raise Place(path, line).error("it holds a NUL, as no text does; of UTF-16 without its mark, set encoding")
    try:
        return content.decode(), ""
    except UnicodeDecodeError as error:
        text = _chinese(content)
        if text is None:
            raise _undecided(path, content, error) from None
        return text, "read as gb18030, as it is not UTF-8"


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


def _chinese(content: bytes) -> str | None:
    """The text, where it can hardly be anything but simplified Chinese in GB 18030."""
    if _is_mostly_utf8(content):
        return None
    try:
        text = content.decode("gb18030")
    except UnicodeDecodeError:
        return None
    letters = [letter for letter in text if ord(letter) > 127]
    common = len("".join(letters).encode("gb2312", "ignore")) // 2
    return text if common >= _SURE * len(letters) else None


def _is_mostly_utf8(content: bytes) -> bool:
    """Whether it is UTF-8 that was damaged or cut."""
    text = content.decode("utf-8", "replace")
    return text.count("\ufffd") * 10 <= sum(ord(letter) > 127 for letter in text)


def _undecided(path: Path, content: bytes, error: UnicodeDecodeError) -> InputError:
    line = content.count(b"\n", 0, error.start) + 1
    start = content.rfind(b"\n", 0, error.start) + 1
    end = content.find(b"\n", error.start)
    part = content[max(start, error.start - 10) : end if end >= 0 else len(content)]
    reason = f"it is not UTF-8: byte 0x{content[error.start]:02x}"
    if _is_mostly_utf8(content):
        return Place(path, line).error(f"{reason}, though most of the file is; correct that line, or set encoding")
    readings = []
    for name in _POSSIBLE:
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
