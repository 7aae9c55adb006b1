"""Text files."""

from __future__ import annotations

from collections.abc import Iterator

from danlu.readers.record import Content, Raw, Rejected, Wanted


def read_txt(content: Content, wanted: Wanted) -> Iterator[Raw | Rejected]:
    """A text file is one record, whole; one with a NUL byte or invalid UTF-8 is rejected whole."""
    with content.open() as file:
        whole = file.read(wanted.record_bytes + 1)
    if len(whole) > wanted.record_bytes:
        yield Rejected(0, "too long", f"the file is longer than {wanted.record_bytes:,} bytes (record_bytes)", 0)
    elif whole.startswith((b"\xff\xfe", b"\xfe\xff")):
        yield Rejected(0, "not UTF-8", "UTF-16 by its first two bytes; save it as UTF-8")
    elif b"\0" in whole:
        yield Rejected(0, "binary", f"NUL at byte {whole.index(0)}")
    else:
        try:
            yield Raw(0, whole.decode(), offset=0)
        except UnicodeDecodeError as error:
            yield Rejected(0, "not UTF-8", f"at byte {error.start}: 0x{whole[error.start]:02x}")
