"""Data sets of Hugging Face on disk, read without their package: which files hold the rows, and of which split.

Known are what ``save_to_disk`` writes (a folder with ``state.json`` and ``dataset_info.json``, in a folder a split of a
``DatasetDict``) and the cache of the Hub (``datasets--org--name/snapshots/…``); of the cache the revision is read that
``refs/main`` names.
"""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path

from danlu.errors import InputError, shown
from danlu.files import read_json

_DATA = (".parquet", ".arrow", ".jsonl", ".json", ".csv", ".tsv", ".txt")
_PACKED = (".gz", ".zst", ".bz2", ".xz")
_NO_DATA = {"dataset_infos.json", "dataset_info.json", "dataset_dict.json", "state.json"}
_SPLIT = re.compile(r"(?:^|[^a-z])(train|test|validation|valid|val|dev|eval)(?:ing|uation)?(?![a-z])", re.IGNORECASE)
_SHARD = re.compile(r"([\w.-]+?)-\d{5}-of-\d{5}")
_NAMES = {"valid": "validation", "val": "validation", "dev": "validation", "eval": "test"}
"""What the package ``datasets`` takes for the same split."""


def data_files(folder: Path, where: str) -> list[Path] | None:
    """The files with the rows, in order, where ``folder`` is a data set; None for any other folder.

    Raises:
        InputError: rows of it are chosen by an index that no reader applies, or no revision of it can be told.
    """
    saved = read_json(folder / "dataset_dict.json")
    if saved is not None and isinstance(saved.get("splits"), list) and saved["splits"]:
        files = []
        for split in map(str, saved["splits"]):
            inside = _saved_files(folder / split, where) if Path(split).name == split != ".." else None
            if inside is None:
                raise InputError(f"{where}: the data set in {folder} lacks its split {shown(split)!r}")
            files += inside
        return files
    if (found := _saved_files(folder, where)) is not None:
        return found
    if folder.name.startswith("datasets--") and (folder / "snapshots").is_dir():
        root = _revision(folder, where)
        return [path for path in sorted(root.rglob("*")) if path.is_file() and _holds_rows(path.relative_to(root))]
    return None


def _saved_files(folder: Path, where: str) -> list[Path] | None:
    """The files of a data set without splits; None where the folder is none."""
    if (folder / "dataset_info.json").is_file() and (state := read_json(folder / "state.json")) is not None:
        if state.get("_indices_data_files") or state.get("_indices_files"):
            how = "save it anew with datasets.Dataset.flatten_indices().save_to_disk"
            raise InputError(f"{where}: the rows of {folder} are chosen by an index; {how}")
        listed = state.get("_data_files")
        listed = listed if isinstance(listed, list) else []
        names = [str(file.get("filename")) for file in listed if isinstance(file, dict)]
        files = [folder / Path(name).name for name in names]
        missing = [file.name for file in files if not file.is_file()]
        if missing:
            raise InputError(f"{where}: the data set in {folder} lacks {', '.join(missing[:3])}")
        return files
    return None


def _revision(folder: Path, where: str) -> Path:
    found = sorted(path for path in (folder / "snapshots").iterdir() if path.is_dir())
    main = folder / "refs" / "main"
    named = folder / "snapshots" / main.read_text(encoding="utf-8").strip() if main.is_file() else None
    if named is not None and named in found:
        return named
    if len(found) != 1:
        raise InputError(f"{where}: {folder} has {len(found)} revisions and none is main; name one of snapshots/")
    return found[0]


def _holds_rows(path: Path) -> bool:
    hidden = any(part.startswith(".") for part in path.parts)
    name = path.name.lower()
    for ending in _PACKED:
        name = name.removesuffix(ending)
    return name.endswith(_DATA) and path.name not in _NO_DATA and not hidden


def has_splits(folder: Path) -> bool:
    """Whether :func:`split_fields` may say something of a file in it."""
    return _saved_split(folder) is not None or "snapshots" in folder.parts


def split_fields(path: Path) -> dict[str, str]:
    """``{"split": "train"}`` for a file of a data set, nothing for any other one."""
    saved = _saved_split(path.parent)
    if saved is not None:
        return {"split": saved} if saved else {}
    below = path.parts
    places = [place for place, part in enumerate(below) if part == "snapshots" and place]
    inside = [place for place in places if below[place - 1].startswith("datasets--")]
    if not inside or len(below) < inside[-1] + 3:
        return {}
    shard = _SHARD.match(path.name)
    if shard is not None:
        return {"split": shard[1]}
    word = _SPLIT.search("/".join(below[inside[-1] + 2 :]))
    return {"split": _NAMES.get(word[1].lower(), word[1].lower())} if word is not None else {}


@lru_cache(maxsize=1024)
def _saved_split(folder: Path) -> str | None:
    """The split that a saved folder is, empty where it is none in particular; None for any other folder."""
    if not (folder / "dataset_info.json").is_file():
        return None
    state = read_json(folder / "state.json")
    if state is None:
        return None
    if (folder.parent / "dataset_dict.json").is_file():
        return folder.name
    split = state.get("_split")
    return split if isinstance(split, str) else ""
