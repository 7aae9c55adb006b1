"""The text of a PDF's pages, in a process of its own: ``python -m danlu.readers.pdf_pages FILE``.

PDFium is C++ that reads what anybody wrote: a file that makes it crash, loop or fill the memory ends this process, and
not the run. A line of JSON goes out for every page: ``{"text"}``, or ``{"error"}`` where it cannot be read, behind one
for the document: ``{"pages", "title", "author"}``, or ``{"error", "code"}``.
"""

from __future__ import annotations

import json
import resource
import sys

MEMORY_BYTES = 2 << 30
PAGE_SECONDS = 60
"""Seconds of the processor that opening, or one page, may take: not of the clock, which other work holds up."""


def _limit_seconds() -> None:
    used = resource.getrusage(resource.RUSAGE_SELF)
    seconds = int(used.ru_utime + used.ru_stime) + PAGE_SECONDS
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    resource.setrlimit(resource.RLIMIT_CPU, (seconds if hard == resource.RLIM_INFINITY else min(seconds, hard), hard))


def _say(**fields: object) -> None:
    sys.stdout.write(json.dumps(fields) + "\n")


def main(path: str) -> None:
    """Write the lines of the file at ``path``."""
    import pypdfium2

    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, hard))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _limit_seconds()
    try:
        document = pypdfium2.PdfDocument(path)
    except pypdfium2.PdfiumError as error:
        _say(error=str(error), code=error.err_code)
        return
    _say(pages=len(document), **{key.lower(): document.get_metadata_value(key) for key in ("Title", "Author")})
    for number in range(len(document)):
        _limit_seconds()
        try:
            page = document[number]
            text = page.get_textpage().get_text_bounded()
            page.close()
        except (pypdfium2.PdfiumError, OverflowError, ValueError) as error:
            _say(error=str(error))
        else:
            _say(text=text)


if __name__ == "__main__":
    main(sys.argv[1])
