"""The database of a study: a new one, or the one that is there, if it is of the same answers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from danlu.errors import InputError
from danlu.log import say
from danlu.rate.answers import read_answers
from danlu.rate.rubric import OVERALL, read_rubric
from danlu.rate.store import Store, create, open_store, want_more_raters
from danlu.rate.study import Study, plan

RATERS, SEED = 3, 1


def open_study(files: Sequence[Path], out: Path, *, rubric: Path | None, raters: int | None, seed: int | None) -> Store:
    """The study of ``out``, which is made where it is not there yet.

    Raises:
        InputError, RecipeError: files or settings cannot be used, or ``out`` is of other ones.
        OutputError: it cannot be written.
    """
    there = out.exists()
    known = open_store(out) if there else None
    if known is not None and raters not in (None, known.study.raters):
        if raters is None or raters < 1:
            raise InputError(f"--raters must be at least 1; got {raters}")
        known = want_more_raters(known, raters)
    if known is not None and not files:
        if rubric is not None or seed not in (None, known.study.seed):
            raise InputError(f"{out} has its rubric and its seed; --rubric and --seed are for a new one")
        return known
    if not files:
        raise InputError(f"there is no {out} to go on with; name the files of answers: danlu rate A.jsonl B.jsonl …")
    criteria = None if rubric is None else read_rubric(rubric)
    if criteria is None and len(files) == 1:
        criteria = OVERALL
        if known is None:
            say("one file and no --rubric: answers are scored as a whole, from 1 to 5")
    material = read_answers(files)
    wanted = RATERS if raters is None else raters
    study, items = plan(material, criteria, raters=wanted, seed=SEED if seed is None else seed)
    if known is None:
        return create(out, study, items)
    if difference := _difference(known.study, study):
        raise InputError(f"{out} is of another study: {difference}; name another --out, or leave the files out")
    return known


def _difference(was: Study, now: Study) -> str:
    """What makes it another study, in a few words; nothing where it is the same."""
    if was.material.models != now.material.models:
        return f"it is of {', '.join(was.material.models)}, not {', '.join(now.material.models)}"
    if was.material.prompts != now.material.prompts:
        return "it has other prompts, or in another order"
    if was.material.answers != now.material.answers:
        return "it has other answers"
    if was.rubric != now.rubric:
        return "it is rated in another way (--rubric)"
    return f"its seed is {was.seed}, not {now.seed}" if was.seed != now.seed else ""
