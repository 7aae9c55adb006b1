"""``--ray ADDRESS``: which stages run where."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from danlu.log import say
from danlu.recipe import Recipe
from danlu.run_folder import Changed, RunFolder
from danlu.runs import run_stages
from danlu.stage import stage_of


def run_with_ray(
    recipe: Recipe,
    stages: Sequence[str],
    begin: Callable[[str], None],
    changed: Changed,
    *,
    address: str | None,
    workers: int | None,
) -> RunFolder:
    """Run ``stages``: clean and pack have workers of their own, whom this process waits for, and it does itself what is
    between them; the rest is where the training is.

    Args:
        workers: those that train.

    Raises:
        DanluError: as of :func:`danlu.runs.run_stages` and :func:`danlu.train.on_ray.run_on_ray`.
    """
    own = [
        place
        for place, stage in enumerate(stages, 1)
        if stage in recipe.sections and "ray" in type(recipe.sections[stage]).model_fields
    ]
    last = max(own, default=0) if address is not None else 0
    here, rest = stages[:last], stages[last:]
    if here and workers is None and not any(stage_of(recipe, stage).together for stage in rest):
        return run_stages(recipe, stages, say, begin=begin, changed=changed)
    from danlu.train.on_ray import check_workers, run_on_ray

    if here:
        check_workers(recipe, workers)
        run_stages(recipe, here, say, begin=begin, changed=changed)
    return run_on_ray(recipe, rest, address=address, workers=workers, changed=changed)
