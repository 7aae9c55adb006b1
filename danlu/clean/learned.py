"""What rules learn from a user's texts: once for all processes and before any begins, a file for each rule that learns.

Learning takes far more time and memory than what was learned, which all processes of a machine have mapped from one
file. And all judge by the same numbers, also where machines of a cluster would add them up differently.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np

from danlu import __version__, log
from danlu.clean.arrays import Arrays, read_about, read_arrays, write_arrays
from danlu.clean.rules import Rule, RuleChoice
from danlu.errors import InputError
from danlu.files import hash_file
from danlu.recipe import Choice, plain


@runtime_checkable
class LearningChoice(Protocol):
    """Settings of a rule that learns before it judges; ``external_files`` names what it learns from."""

    def external_files(self) -> list[Path]:
        """What it learns from."""

    def learn(self) -> tuple[Arrays, str]:
        """What it learned, and a line that tells the user of it."""

    def rule(self, learned: Arrays) -> Rule:
        """The rule by what it learned."""


def learn_all(rules: Sequence[RuleChoice], folder: Path) -> tuple[Path | None, ...]:
    """Have all rules learn that do, unless the folder has what they learn from the same texts; say what they say.

    Returns:
        For each rule the file of what it learned; None where it does not learn.

    Raises:
        InputError: a text that one learns from cannot be read, or is too short.
    """
    found: list[Path | None] = []
    for number, choice in enumerate(rules):
        if not isinstance(choice, LearningChoice):
            found.append(None)
            continue
        folder.mkdir(parents=True, exist_ok=True)
        path, made_from = folder / f"{number}.safetensors", _made_from(choice)
        said = _said(path, made_from)
        if said is None:
            arrays, said = choice.learn()
            write_arrays(path, arrays, {"made_from": made_from, "said": said})
        log.say(said)
        found.append(path)
    return tuple(found)


def ready(choice: RuleChoice, learned: Path | None) -> Rule:
    """The rule, by the file of what it learned, if there is one."""
    if learned is None:
        return choice.make()
    assert isinstance(choice, LearningChoice), choice
    return choice.rule(read_arrays(learned))


def _said(path: Path, made_from: str) -> str | None:
    """What was said of a file that was made from the same; None where there is none."""
    if not path.exists():
        return None
    try:
        about = read_about(path)
    except InputError:
        return None
    return about.get("said") if about.get("made_from") == made_from else None


def _made_from(choice: LearningChoice) -> str:
    """A hash of all that decides what it learns."""
    assert isinstance(choice, Choice), choice
    files = [[str(path), hash_file(path)] for path in choice.external_files()]
    known = [__version__, np.__version__, type(choice).__module__, type(choice).__qualname__, plain(choice), files]
    return hashlib.blake2b(json.dumps(known, sort_keys=True, default=str).encode(), digest_size=16).hexdigest()
