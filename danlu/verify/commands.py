"""``danlu verify``: what it can look at. Imports stand inside the verbs, so that ``danlu --help`` answers at once."""

from __future__ import annotations

from pathlib import Path

from cyclopts import App

from danlu.log import say

verify = App(name="verify", help="Compare with other libraries, and try what is promised, here.", sort_key=(9,))


@verify.command
def models(*, family: str | None = None) -> None:
    """Compare the logits, losses and greedy tokens of every model family with those of transformers.

    Parameters
    ----------
    family
        Only this one, such as llama.
    """
    from danlu.verify.models import lines

    for line in lines(family):
        say(line)


@verify.command
def training(*, only: str | None = None) -> None:
    """Try what a training promises: equal sums, bad steps, masking, full disks, damaged checkpoints, kills, ranks.

    Parameters
    ----------
    only
        This property and no other, such as kills.
    """
    from danlu.verify.training import lines

    for line in lines(only):
        say(line)


@verify.command
def store(folder: Path) -> None:
    """Read the token stores in a folder in full and compare them with the hashes that were written with them.

    Parameters
    ----------
    folder
        A store, such as runs/quickstart/pack/train, or a folder above some, here or at an address such as s3://….
    """
    from danlu.verify.stores import lines

    for line in lines(folder):
        say(line)
