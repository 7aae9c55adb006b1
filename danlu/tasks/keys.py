"""Which keys errors of tasks name: theirs are those of a fine-tuning, wherever the task stands."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from danlu.data.content import ending
from danlu.data.read import ENDINGS, PARTS
from danlu.errors import InputError, RecipeError

_KEY = re.compile(
    r"(?:finetune\.(?:task|data|model|method)(?:\.\w+)*|columns(?:\.\w+)?|model|template|leave_out|split_column)"
    r"(?=[ :])"
)
_WITHIN = re.compile(r"(?<=[ (])finetune\.(?:task|data|method)(?:\.\w+)+(?=[ ,;:)]|$)")
"""One in the middle of an error, which is always said whole."""


@contextmanager
def keys_said(moved: Mapping[str, str]) -> Iterator[None]:
    """Have an error name keys as the user knows them: one that it begins with, and those within it.

    Args:
        moved: what stands for the beginning of a key, the first that fits; others stay as they are.
    """
    try:
        yield
    except (RecipeError, InputError) as error:
        before = str(error)
        said = _moved(before, moved) if _begins_with_key(before) else before
        said = _WITHIN.sub(lambda found: found[0] if _is_file(found[0]) else _moved(found[0], moved), said)
        if said == before:
            raise
        raise type(error)(said) from None


def _moved(said: str, moved: Mapping[str, str]) -> str:
    old = next((old for old in moved if said.startswith(old)), None)
    return said if old is None else moved[old] + said.removeprefix(old)


def _begins_with_key(said: str) -> bool:
    """Whether it is a key that stands there, and no file with a name like one: ``finetune.jsonl, line 3``."""
    key = _KEY.match(said)
    return key is not None and not _is_file(key[0])


def _is_file(key: str) -> bool:
    """Whether it is the name of a file that only looks like a key; ``finetune.data.train`` is one."""
    return ending(Path(key)) in {*ENDINGS} - {*PARTS}


def keys_of(section: str, name: str) -> dict[str, str]:
    """Those of one of several tasks of a section."""
    task = f"{section}.tasks.{name}."
    return {
        "finetune.model": f"{section}.model", "model:": f"{section}.model:", "finetune.": task,
        "template": f"{task}task.template",
        **{key: f"{task}data.{key}" for key in ("columns", "leave_out", "split_column")},
    }  # fmt: skip
