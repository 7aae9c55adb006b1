"""Token stores are what was written, here or at an address."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from danlu.corpus.elsewhere import Elsewhere
from danlu.corpus.hashes import FILE as HASHES
from danlu.corpus.split import PARTS
from danlu.corpus.store import Checked, check_store, check_store_at
from danlu.errors import InputError
from danlu.readers.remote import find_remote, remote_url

SIGNS = ("store.json", HASHES)
"""Where one of these is, there was a store: one that has lost the other is not passed over."""


def lines(folder: Path) -> Iterator[str]:
    """One for each store in ``folder``, a path or an address.

    Raises:
        InputError: there is none, or one is not what was written, or two that belong together are of two tokenizers.
    """
    url, tokenizers = remote_url(folder), dict[str, tuple[str, str | None]]()
    if url is not None:
        for each in _stores_at(url):
            yield _told(each, check_store_at(each), tokenizers)
        return
    found = sorted({path.parent for name in SIGNS for path in folder.rglob(name)})
    if not found:
        raise InputError(f"no token store in {folder}: store.json is missing")
    for store in found:
        line = _told(str(store), check_store(store), tokenizers)
        place = Elsewhere.read(store)
        yield line if place is None else f"{line}; its shards are not here: danlu verify store {place.url}"


def _told(store: str, checked: Checked, tokenizers: dict[str, tuple[str, str | None]]) -> str:
    """The line for a store.

    Args:
        tokenizers: by folder, the first of the parts of a run in it, and its tokenizer.

    Raises:
        InputError: it is the other part, and of another tokenizer.
    """
    folder, _, name = store.rpartition("/")
    first, tokenizer = tokenizers.setdefault(folder, (store, checked.tokenizer)) if name in PARTS else ("", None)
    if first and checked.tokenizer != tokenizer:
        raise InputError(f"{store} and {first} were packed with two tokenizers: no run can read both")
    return f"{store}: {checked.bytes:,} bytes are what was written"


def _stores_at(url: str) -> list[str]:
    """The addresses of the stores at or below one; HTTP lists no folders."""
    if url.startswith("http"):
        return [url.rstrip("/")]
    files = [file.url for _, file in find_remote(url, "verify", None)]
    found = sorted({each.rpartition("/")[0] for each in files if each.rpartition("/")[2] in SIGNS})
    if not found:
        raise InputError(f"no token store at {url}: store.json is missing")
    return found
