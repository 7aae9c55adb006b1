"""When a rank counts as lost: the settings of the watch."""

from __future__ import annotations

from pydantic import Field

from danlu.recipe import Settings


class Watch(Settings):
    """When a rank counts as lost; all others then stop."""

    silent: float = Field(default=12.0, ge=3)
    """Seconds without a sign of life from its process."""
    stuck: float = Field(default=15.0, ge=2)
    """Seconds that others wait for it: without a micro-batch, or three times as long as one takes where that is more;
    without any work of its process in the first steps and in measurements (processor time, bytes), at the start,
    between stages and in saves (bytes, and processor time for half as many seconds); and beyond three times what the
    others took, where all do the same: they build the model, compile, do the first steps, measure; or beyond three
    times what a piece took before, where rank 0 draws the weights once more. In the compiler, and in what rank 0 does
    alone and never did before, as the figures at the end, a processor at work counts for half as many seconds, or three
    times what a piece has taken, unless the program comes to lines where it had not been, or tells of a piece."""
    blocked: float = Field(default=120.0, ge=2)
    """As ``stuck``, where it waits for a disk or for a lock of the compiler's that another process has, or compiles
    what the others had compiled before; between settled micro-batches only where no rank is ahead:
    there a disk that is so slow for one of them counts as a hang. Nothing may come for so long of what it fetches
    from elsewhere; and so long nobody is to blame where all are at work."""
    first: float = Field(default=1800.0, ge=2)
    """Seconds of work that comes to new lines of the program, but to no micro-batch or other piece: in what rank 0 does
    alone, such as the figures at the end, and in first steps and measurements in which no other rank is further."""
