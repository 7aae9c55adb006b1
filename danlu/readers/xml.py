"""XML from strangers, as a stream of events in bounded memory: what declares a document type is refused.

Entities that stand for entities (the "billion laughs") and files named in a document type cannot come to pass so;
documents of Word and EPUB have no need of one. Pages of EPUB are HTML, and are read as HTML.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, BinaryIO
from xml.parsers import expat

from danlu.readers.record import Damaged

_PIECE = 1 << 16
_DEPTH = 1000


def parse_xml(
    file: BinaryIO,
    start: Callable[[str, dict[str, str]], None],
    end: Callable[[str], None],
    text: Callable[[str], None] = lambda text: None,
) -> None:
    """Call back for every element that begins and ends, named ``{namespace}name``, and for the text in them.

    Attributes have their names the same way. A name without a namespace is the name alone.

    Raises:
        Damaged: it is not well formed, has a document type, or is nested deeper than 1000 elements.
    """
    depth = 0

    def begin(name: str, attributes: dict[str, str]) -> None:
        nonlocal depth
        depth += 1
        if depth > _DEPTH:
            raise Damaged("damaged XML", f"elements nested deeper than {_DEPTH}")
        start(_named(name), {_named(key): value for key, value in attributes.items()})

    def finish(name: str) -> None:
        nonlocal depth
        depth -= 1
        end(_named(name))

    def refuse(*_: Any) -> None:
        raise Damaged("XML with a document type", "which may define entities that grow without bound")

    parser = expat.ParserCreate(namespace_separator="}")
    parser.buffer_text = True
    parser.StartElementHandler = begin
    parser.EndElementHandler = finish
    parser.CharacterDataHandler = text
    parser.StartDoctypeDeclHandler = refuse
    try:
        while piece := file.read(_PIECE):
            parser.Parse(piece, False)
        parser.Parse(b"", True)
    except (expat.ExpatError, ValueError, LookupError) as error:
        raise Damaged("damaged XML", str(error)) from None


def _named(name: str) -> str:
    return "{" + name if "}" in name else name
