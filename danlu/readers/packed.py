"""Packed streams: gzip, zstd, bzip2 and xz around any content, unpacked as they are read.

A stream may have several members (gzip, bzip2, xz: ``cat a.gz b.gz``) or frames (zstd), with zeros between and after
them. Its end is looked at: one that ends early, breaks, or goes on with something else raises
:class:`~danlu.readers.record.Damaged` there, after all that came before it was given. Memory: the window of the
packing (gzip 32 KiB, bzip2 some MiB, zstd and xz as the file says, at most 2 GiB) and two pieces of the input.
"""

from __future__ import annotations

import bz2
import io
import lzma
import sys
import zlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, BinaryIO, Protocol, cast

from danlu.readers.exhausted import keeping
from danlu.readers.limits import Budget, TooLarge, budget_of
from danlu.readers.record import Content, CutShort, Damaged, Wanted

INPUT_BYTES = 1 << 16
OUTPUT_BYTES = 1 << 20
WINDOW_LOG = 31
"""The longest window of zstd (``--long=31``) and as much memory for xz: 2 GiB."""

_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
_ZSTD_SKIPPED = tuple(bytes([0x50 + number]) + b"\x2a\x4d\x18" for number in range(16))
_ZSTD_DICTIONARY = b"\x37\xa4\x30\xec"
_DICTIONARY_BYTES = 16 << 20


class Decoder(Protocol):
    """What unpacks one member: the manners of ``bz2.BZ2Decompressor``."""

    @property
    def eof(self) -> bool: ...
    @property
    def needs_input(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int = -1) -> bytes: ...


class Zlib:
    """zlib's object with the manners of bzip2's and xz's; it gives what comes before damage, and then the error."""

    def __init__(self, bits: int) -> None:
        self._object = zlib.decompressobj(bits)
        self._saved = b""
        self._error: zlib.error | None = None

    @property
    def eof(self) -> bool:
        return self._object.eof and not self._saved

    @property
    def needs_input(self) -> bool:
        return not (self._object.unconsumed_tail or self._error)

    @property
    def unused_data(self) -> bytes:
        return self._object.unused_data

    def decompress(self, data: bytes, max_length: int = -1) -> bytes:
        if self._error is None:
            data = self._object.unconsumed_tail + data
            before = self._object.copy()
            try:
                return self._object.decompress(data, max(max_length, 0))
            except zlib.error as error:
                self._error = error
                self._object = before
                self._saved = self._save(data)
        if not self._saved:
            raise self._error
        length = max_length if max_length > 0 else len(self._saved)
        given, self._saved = self._saved[:length], self._saved[length:]
        return given

    def _save(self, data: bytes) -> bytes:
        """What the piece with the damage gives byte by byte: with its check sum at the end, all."""
        pieces = []
        try:
            for place in range(len(data)):
                pieces.append(self._object.decompress(data[place : place + 1]))
        except zlib.error:
            pass
        return b"".join(pieces)


def _zstd() -> Any:
    """The standard library's zstd, in its backport before Python 3.14."""
    if sys.version_info >= (3, 14):
        from compression import zstd
    else:
        from backports import zstd
    return zstd


def zstd_decoder(dictionary: bytes | None = None) -> Decoder:
    """What unpacks one frame of zstd."""
    zstd = _zstd()
    options = {int(zstd.DecompressionParameter.window_log_max): WINDOW_LOG}
    known = zstd.ZstdDict(dictionary) if dictionary else None
    return cast(Decoder, zstd.ZstdDecompressor(known, options))


@dataclass(frozen=True, slots=True)
class Packing:
    """One way to pack a stream; ``magics`` are what a member may begin with."""

    name: str
    magics: tuple[bytes, ...]
    make: Callable[[], Decoder]
    single: bool = False
    """One member alone, without a magic of its own, as in a zip archive."""

    def errors(self) -> tuple[type[Exception], ...]:
        """What its decoder raises for damaged data."""
        mine = (_zstd().ZstdError,) if self.name == "zstd" else ()
        # bz2 raises OSError and ValueError; a window beyond the limit is an LZMAError of xz and a ZstdError of zstd. A
        # MemoryError is none: this machine has no room, and the same bytes may be whole
        return (zlib.error, lzma.LZMAError, OSError, ValueError, EOFError, *mine)


PACKINGS = {
    packing.name: packing
    for packing in (
        Packing("gzip", (b"\x1f\x8b\x08",), lambda: Zlib(31)),
        Packing("zstd", (_ZSTD_MAGIC, *_ZSTD_SKIPPED), zstd_decoder),
        Packing("bzip2", (b"BZh",), bz2.BZ2Decompressor),
        Packing("xz", (b"\xfd7zXZ\0",), lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=1 << WINDOW_LOG)),
    )
}


@dataclass(frozen=True, slots=True)
class Unpacked:
    """What a packed content holds, as a content; its name has the ending that is left."""

    inner: Content
    wanted: Wanted
    packing: str
    name: str
    budget: Budget | None = None
    """What it shares with the archive that it stands in."""

    @property
    def size(self) -> int | None:
        return self.inner.size

    def open(self) -> BinaryIO:
        budget = self.budget or budget_of(self.inner, self.wanted)
        return buffered(UnpackedStream(self.inner.open(), PACKINGS[self.packing], budget))

    def local(self) -> AbstractContextManager[Path]:
        return copied(self)


def _by_ending(packing: str, ending: str, instead: str = "") -> Callable[[Content, Wanted], Unpacked]:
    def unpack(content: Content, wanted: Wanted) -> Unpacked:
        """What the packed content holds, within the limits of its source."""
        name = content.name[: -len(ending)] + instead
        budget = getattr(content, "budget", None)
        return Unpacked(content, wanted, packing, name, budget)

    return unpack


gz = _by_ending("gzip", ".gz")
zst = _by_ending("zstd", ".zst")
bz2_ = _by_ending("bzip2", ".bz2")
xz = _by_ending("xz", ".xz")
tgz = _by_ending("gzip", ".tgz", ".tar")
tzst = _by_ending("zstd", ".tzst", ".tar")
tbz2 = _by_ending("bzip2", ".tbz2", ".tar")
txz = _by_ending("xz", ".txz", ".tar")


@contextmanager
def copied(content: Content) -> Iterator[Path]:
    """A temporary copy of what ``content`` holds, unpacked, under a name of ours; of its name it has the ending.

    Raises:
        Damaged: by the content.
        OutputError: there is no room for it.
    """
    suffix = "".join(letter for letter in Path(content.name).suffix if letter.isascii() and letter.isalnum())
    with TemporaryDirectory(prefix="danlu-read-") as folder:
        path = Path(folder, f"copy.{suffix[:16]}")
        with content.open() as source, path.open("wb") as copy:
            while piece := source.read(OUTPUT_BYTES):
                with keeping():
                    copy.write(piece)
            with keeping():
                copy.flush()
        yield path


def buffered(raw: io.RawIOBase) -> BinaryIO:
    """``raw`` with lines and small reads.

    Where ``raw`` raises, ``read1`` and the whole lines of ``readline`` give all that came before; ``read`` gives all it
    was asked for or raises, so that no half of a file passes for the whole.
    """
    return io.BufferedReader(raw, OUTPUT_BYTES >> 2)


def read1_of(stream: BinaryIO) -> Callable[[int], bytes]:
    """What reads a piece of the stream, and loses nothing where it raises."""
    read1: Callable[[int], bytes] = getattr(stream, "read1", stream.read)
    return read1


class UnpackedStream(io.RawIOBase):
    """The bytes that a packed stream holds; not seekable, read it through a buffer.

    ``packed_bytes`` were read of the packed stream, and ``member_bytes`` given of the member at hand: where that one is
    damaged, its check sum perhaps, they are not to be trusted. After a :class:`Damaged`, :meth:`resume` goes on with
    the next member, where there is one.
    """

    def __init__(self, packed: BinaryIO, packing: Packing, budget: Budget) -> None:
        super().__init__()
        self._packed = packed
        self._read = read1_of(packed)
        self._packing = packing
        self._make = packing.make
        self._errors = packing.errors()
        self._budget = budget
        self._decoder: Decoder | None = None
        self._input = b""  # read of the packed stream and not yet given to a decoder
        self._recent = b""  # the last pieces that this member's decoder was given
        self._members = 0
        self._ended = False
        self._error: Damaged | None = None
        self.packed_bytes = 0
        self.member_bytes = 0

    def readable(self) -> bool:
        return True

    def close(self) -> None:
        if not self.closed:
            self._packed.close()
        super().close()

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer).cast("B")
        data = self._next(min(len(view), OUTPUT_BYTES)) if len(view) else b""
        view[: len(data)] = data
        return len(data)

    def _next(self, size: int) -> bytes:
        if self._error is not None:
            raise self._error
        try:
            while not self._ended and (self._decoder is not None or self._begin()):
                data = self._decode(size)
                if data:
                    self._budget.spend(len(data), self.packed_bytes)
                    return data
        except Damaged as error:
            self._error = error
            raise
        return b""

    def _begin(self) -> bool:
        """Look for the next member; False at the end."""
        longest = max(1, *map(len, self._packing.magics))
        while len(self._input) < longest and self._fill():
            if self._members:
                self._input = self._input.lstrip(b"\0")
        if self._packing.single and self._members:
            self._ended = True
            return False
        if not self._input:
            if not self._members:
                raise CutShort(f"truncated {self._packing.name}", "the file is empty")
            self._ended = True
            return False
        if not self._input.startswith(self._packing.magics):
            place = f"at packed byte {self.packed_bytes - len(self._input)}"
            if self._members:
                raise Damaged(f"junk after {self._packing.name}", place)
            if any(magic.startswith(self._input) for magic in self._packing.magics):
                raise CutShort(f"truncated {self._packing.name}", place)
            raise Damaged(f"not {self._packing.name}", f"it begins with 0x{self._input[:4].hex()}")
        if not self._members and self._input.startswith(_ZSTD_SKIPPED[13]) and self._packing.name == "zstd":
            self._learn_dictionary()
        self._decoder = self._make()
        self._recent = b""
        self.member_bytes = 0
        return True

    def _decode(self, size: int) -> bytes:
        decoder = self._decoder
        assert decoder is not None
        given = b""
        if hungry := decoder.needs_input:  # else what it holds back may be nothing, and it asks only now
            if not self._input:
                self._fill()
            given, self._input = self._input, b""
        try:
            data = decoder.decompress(given, size)
        except self._errors as error:
            self._recent += given
            place = f"near packed byte {self.packed_bytes}"
            raise Damaged(f"damaged {self._packing.name}", f"{place}: {error}") from None
        if given:
            self._recent = self._recent[-INPUT_BYTES:] + given
        if decoder.eof:
            self._input = decoder.unused_data
            self._members += 1
            self._decoder = None
            self._recent = b""  # it is whole: what comes next is not in it
            self._input = self._input.lstrip(b"\0")  # padding
        elif hungry and not data and not given:  # all was given, and nothing is held back
            raise CutShort(f"truncated {self._packing.name}", f"it ends early, at packed byte {self.packed_bytes}")
        self.member_bytes += len(data)
        return data

    def _fill(self) -> bool:
        piece = self._read(INPUT_BYTES)
        self.packed_bytes += len(piece)
        self._input += piece
        return bool(piece)

    def resume(self) -> bool:
        """Go on with the next member after the damage; False where none is found, or a limit was reached."""
        if isinstance(self._error, TooLarge):
            return False
        self._decoder = None
        # A member that ends early may have swallowed the beginning of the next: look there too, past its own magic.
        self._input = (self._recent[1:] if self._recent else self._input[1:]) + (self._input if self._recent else b"")
        self._recent = b""
        longest = max(map(len, self._packing.magics))
        while True:
            found = [place for magic in self._packing.magics if (place := self._input.find(magic)) >= 0]
            if found:
                self._input = self._input[min(found) :]
                self._error = None
                self._members = max(self._members, 1)
                return True
            self._input = self._input[-longest + 1 :]
            if not self._fill():
                self._input = b""
                return False

    def _learn_dictionary(self) -> None:
        """The dictionary that a file of WARC records in zstd begins with.

        After https://iipc.github.io/warc-specifications/specifications/warc-zstd/: a frame to be skipped, 0x184D2A5D,
        that holds the dictionary, perhaps packed itself.
        """
        while len(self._input) < 8 and self._fill():
            pass
        size = int.from_bytes(self._input[4:8], "little")
        if size > _DICTIONARY_BYTES:
            return
        while len(self._input) < 8 + size and self._fill():
            pass
        dictionary = self._input[8 : 8 + size]
        if dictionary.startswith(_ZSTD_MAGIC):
            try:
                dictionary = zstd_decoder().decompress(dictionary, _DICTIONARY_BYTES)
            except self._errors:
                return
        if dictionary.startswith(_ZSTD_DICTIONARY):
            self._make = lambda: zstd_decoder(dictionary)
