"""Token stores are what was written, here or at an address."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from danlu.corpus.elsewhere import Elsewhere
from danlu.corpus.hashes import FILE as HASHES
from danlu.corpus.store import check_store, check_store_at
from danlu.errors import InputError
from danlu.readers.remote import find_remote, remote_url

SIGNS = ("store.json", HASHES)
"""Where one of these is, there was a store: one that has lost the other is not passed over."""


def lines(folder: Path) -> Iterator[str]:
    """One for each store in ``folder``, a path or an address.

    Raises:
        InputError: there is none, or one is not what was written.
    """
    url = remote_url(folder)
    if url is not None:
        for each in _stores_at(url):
            yield f"{each}: {check_store_at(each):,} bytes are what was written"
        return
    found = sorted({path.parent for name in SIGNS for path in folder.rglob(name)})
    if not found:
        raise InputError(f"no token store in {folder}: store.json is missing")
    for store in found:
        line = f"{store}: {check_store(store):,} bytes are what was written"
        place = Elsewhere.read(store)
        yield line if place is None else f"{line}; its shards are not here: danlu verify store {place.url}"


def _stores_at(url: str) -> list[str]:
    """The addresses of the stores at or below one; HTTP lists no folders."""
    if url.startswith("http"):
        return [url.rstrip("/")]
    files = [file.url for _, file in find_remote(url, "verify", None)]
    found = sorted({each.rpartition("/")[0] for each in files if each.rpartition("/")[2] in SIGNS})
    if not found:
        raise InputError(f"no token store at {url}: store.json is missing")
    return found
