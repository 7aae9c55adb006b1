"""Which keys errors of tasks name: theirs are those of a fine-tuning, wherever the task stands."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from danlu.data.content import ending
from danlu.data.read import ENDINGS
from danlu.errors import InputError, RecipeError

_KEY = re.compile(
    r"(?:finetune\.(?:task|data|model|method)(?:\.\w+)*|columns(?:\.\w+)?|model|template|leave_out|split_column)"
    r"(?=[ :])"
)


@contextmanager
def keys_said(moved: Mapping[str, str]) -> Iterator[None]:
    """Have an error that begins with a key name it as the user knows it.

    Args:
        moved: what stands for the beginning of an error, the first that fits; the others stay as they are.
    """
    try:
        yield
    except (RecipeError, InputError) as error:
        said = str(error)
        old = next((old for old in moved if said.startswith(old)), None) if _begins_with_key(said) else None
        if old is None:
            raise
        raise type(error)(moved[old] + said.removeprefix(old)) from None


def _begins_with_key(said: str) -> bool:
    """Whether it is a key that stands there, and no file with a name like one: ``finetune.jsonl, line 3``."""
    key = _KEY.match(said)
    return key is not None and ending(Path(key[0])) not in ENDINGS


def keys_of(section: str, name: str) -> dict[str, str]:
    """Those of one of several tasks of a section."""
    task = f"{section}.tasks.{name}."
    return {
        "finetune.model": f"{section}.model", "model:": f"{section}.model:", "finetune.": task,
        "template": f"{task}task.template",
        **{key: f"{task}data.{key}" for key in ("columns", "leave_out", "split_column")},
    }  # fmt: skip
