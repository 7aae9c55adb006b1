"""PDF: the text layer of the pages, in the order in which they were drawn; pages are parted by a blank line.

A page without text is a picture: nothing is recognised here. Encrypted files are read where they open without a
password.
"""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from danlu.optional import optional
from danlu.readers.pdf_pages import MEMORY_BYTES, PAGE_SECONDS
from danlu.readers.record import Content, Raw, Rejected, Wanted, checked

_PASSWORD, _SECURITY = 4, 5  # FPDF_ERR_* of fpdfview.h
_HYPHEN = re.compile("[\x02\ufffe](?:\r?\n)?")
"""What PDFium gives for a hyphen at the end of a line."""


def read_pdf(content: Content, wanted: Wanted) -> Iterator[Raw | Rejected]:
    """One record a file, with ``title``, ``author`` and ``pages``; pages that cannot be read are rejected behind it.

    Raises:
        InputError: pypdfium2 is not installed.
    """
    optional("pypdfium2", purpose="a PDF file", install="'danlu[office]'")
    texts: list[str] = []
    broken: list[Rejected] = []
    size = 0
    head: dict[str, Any] = {}
    with content.local() as path:
        for number, line in enumerate(_lines(path)):
            if isinstance(line, Rejected):
                yield line
                return
            if number == 0:
                head = line
                if "error" in head:
                    yield _refused(head)
                    return
            elif "error" in line:
                broken.append(Rejected(len(broken) + 1, "damaged PDF page", f"page {number}: {line['error']}"))
            else:
                texts.append(_HYPHEN.sub("", line["text"]).replace("\r\n", "\n").replace("\0", "").strip())
                size += len(texts[-1])
                if size > wanted.record_bytes:
                    yield Rejected(0, "too long", f"more than {wanted.record_bytes:,} characters (record_bytes)")
                    return
    if not any(texts):
        empty = "damaged PDF" if broken else "no text layer"
        yield Rejected(0, empty, f"{head['pages']} pages")
        return
    fields = {name: head[name].strip("\0 ") for name in ("title", "author") if head.get(name)}
    text = "\n\n".join(text for text in texts if text) + "\n"
    yield checked(Raw(0, ""), text, {**fields, "pages": str(head["pages"])}, wanted.text_field, "in the PDF")
    yield from broken


def _refused(head: dict[str, Any]) -> Rejected:
    if head["code"] in (_PASSWORD, _SECURITY):
        return Rejected(0, "encrypted", "the PDF opens with a password only")
    return Rejected(0, "damaged PDF", head["error"])


def _lines(path: Path) -> Iterator[dict[str, Any] | Rejected]:
    """What the process says of the file; where it ends before the file does, why."""
    command = [sys.executable, "-m", "danlu.readers.pdf_pages", str(path)]
    expected = 1
    quiet = subprocess.DEVNULL
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=quiet, stdin=quiet) as process:
        assert process.stdout is not None
        try:
            for line in process.stdout:
                if not line.endswith(b"\n"):
                    break
                found = json.loads(line)
                expected += found.get("pages", 0) - 1
                yield found
        finally:
            process.stdout.close()
            process.kill()
            process.wait()
    if process.returncode == -signal.SIGXCPU:
        yield Rejected(0, "PDF takes too long", f"more than {PAGE_SECONDS} seconds for a page")
    elif process.returncode not in (0, -signal.SIGKILL) or expected:
        detail = f"{_ending(process.returncode)}; the limit is {MEMORY_BYTES >> 30} GiB of memory"
        yield Rejected(0, "PDF breaks its library", detail)


def _ending(code: int) -> str:
    return f"signal {-code}" if code < 0 else f"code {code}"
