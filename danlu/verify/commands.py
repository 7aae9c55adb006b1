"""``danlu verify``: what it can look at. Imports stand inside the verbs, so that ``danlu --help`` answers at once."""

from __future__ import annotations

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
