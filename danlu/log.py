"""What a run says while it works: lines and a progress bar for people, metrics for machines.

On a terminal :func:`progress` draws a bar; in a pipe or in CI it prints a plain line now and then.
:class:`MetricsLog` writes the same numbers to ``metrics.jsonl`` and to a TensorBoard event file.
Errors are not printed here; they go to standard error, and everything here to standard output.
"""

from __future__ import annotations

import errno
import json
import math
import os
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from danlu import events
from danlu.errors import OutputError
from danlu.ticks import tick

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress
    from rich.progress import TaskID
    from rich.table import Table

SECONDS_BETWEEN_LINES = 5.0
"""In pipes and in CI, at most one progress line in this time."""
SECONDS_BETWEEN_MARKS = 0.5
"""The pace, and so the time left, is that of the last fifty marks."""
REFUSED = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)
"""What the system says where output goes to a file on a full or failing disk, or to a terminal that is gone."""
_lost: OSError | None = None
CONTROLS = {code: "\ufffd" for code in (*range(0x20), *range(0x7F, 0xA0)) if chr(code) not in "\n\t"}
"""A model may write any byte; on a terminal these could move the cursor or worse."""


def say(line: str) -> None:
    """Print one line, at once; a progress bar that is being drawn stays below it.

    One that the disk has no room for is lost, which :func:`said` tells in the end: work of hours must not end here.
    """
    with lost_where_refused():
        print(line, flush=True)


def say_table(table: Table, *, least: int = 0) -> None:
    """Print a table as :func:`say` does a line.

    Args:
        least: its characters where the output is no terminal, which has no width, if it would have fewer.
    """
    from rich.console import Console

    console = Console(highlight=False, markup=False)
    if not console.is_terminal:
        console.width = max(console.width, least)
    with lost_where_refused():
        console.print(table)


@contextmanager
def lost_where_refused() -> Iterator[None]:
    """What is printed in it, by whatever means, is lost where there is no room for it; :func:`said` tells."""
    global _lost  # noqa: PLW0603
    try:
        yield
    except OSError as error:
        if error.errno not in REFUSED:
            raise
        _lost = error


def said() -> None:
    """See at the end of a command that all its lines have come to where they go.

    Raises:
        OutputError: some have not.
    """
    global _lost
    lost, _lost = _lost, None
    try:
        sys.stdout.flush()
    except OSError as error:
        if error.errno not in REFUSED:
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # else Python tries once more when it ends
        lost = error
    if lost is not None:
        raise OutputError(f"not all lines could be written to standard output: {lost.strerror}; the work is done")


def harmless(text: str) -> str:
    """The text with U+FFFD for every control character but line end and tab."""
    return text.translate(CONTROLS)


class Progress:
    """How far a piece of work is; ``update`` it as often as you like.

    ``total`` may be set later, or stay None where the end is not known.
    """

    def __init__(
        self, title: str, total: int | None, unit: str, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.title = title
        self.total = total
        self.unit = unit
        self.done = 0
        self._clock = clock
        self._shown: dict[str, float | str] = {}
        self._began = clock()
        self._marks: deque[tuple[float, int]] = deque(maxlen=50)

    def update(self, done: int, **shown: float | str) -> None:
        """``done`` of ``total`` units are done; ``shown`` values stand beside them (``loss=2.31``).

        A name that ends in ``_per_second`` is shown as a rate: ``tokens_per_second=18200`` is ``18.2k tokens/s``.
        """
        tick()
        self.done = done
        self._shown.update(shown)
        now = self._clock()
        if not self._marks or done == self.total or now - self._marks[-1][0] >= SECONDS_BETWEEN_MARKS:
            self._marks.append((now, done))
        self._draw()

    def line(self) -> str:
        """Where the work stands, such as ``120/920 steps loss 2.31 18.2k tokens/s 01:20 left``."""
        of_total = f"/{self.total:,}" if self.total is not None else ""
        parts = [f"{self.done:,}{of_total} {self.unit}", *(_show(name, value) for name, value in self._shown.items())]
        left = self.seconds_left()
        if left:
            parts.append(f"{duration(left)} left")
        return " ".join(parts)

    def seconds_left(self) -> float | None:
        """Seconds to go at the pace of the last updates; None where that is not known yet."""
        if self.total is None or len(self._marks) < 2:
            return None
        (first_time, first_done), (last_time, last_done) = self._marks[0], self._marks[-1]
        if last_done <= first_done:
            return None
        return (self.total - last_done) * (last_time - first_time) / (last_done - first_done)

    def elapsed(self) -> float:
        """Seconds since the work began."""
        return self._clock() - self._began

    def _draw(self) -> None:
        """Show the present state; a subclass says how."""


class Lines(Progress):
    """Progress as plain lines, at most one every few seconds."""

    _printed = 0.0

    def _draw(self) -> None:
        if self.elapsed() - self._printed >= SECONDS_BETWEEN_LINES:
            self._printed = self.elapsed()
            say(f"{self.title} {self.line()}")


class Bar(Progress):
    """Progress as a bar on a terminal."""

    _drawn = -1.0

    def __init__(self, title: str, total: int | None, unit: str, *, bar: RichProgress) -> None:
        super().__init__(title, total, unit)
        self._bar = bar
        self._task: TaskID = bar.add_task(title, total=total, line="")

    def _draw(self) -> None:
        if self.elapsed() - self._drawn < 0.1:  # more often than the eye follows
            return
        self._drawn = self.elapsed()
        self._bar.update(self._task, completed=self.done, total=self.total, line=self.line())


@contextmanager
def progress(title: str, total: int | None, unit: str) -> Iterator[Progress]:
    """Show the progress of the work inside the ``with``; a last line says what was done and in what time."""
    if _draws_bars():
        from rich.console import Console
        from rich.progress import BarColumn, TextColumn
        from rich.progress import Progress as RichProgress

        columns = (TextColumn("{task.description}"), BarColumn(bar_width=20), TextColumn("{task.fields[line]}"))
        with RichProgress(*columns, transient=True, console=Console(highlight=False)) as bar:
            state: Progress = Bar(title, total, unit, bar=bar)
            yield state
    else:
        state = Lines(title, total, unit)
        yield state
    say(f"{title} {state.line()} in {duration(state.elapsed())}")


def _draws_bars() -> bool:
    """Bars need a terminal that can move its cursor and somebody who looks at it."""
    return sys.stdout.isatty() and os.environ.get("TERM") != "dumb" and not os.environ.get("CI")


def _show(name: str, value: float | str) -> str:
    if isinstance(value, str):
        return f"{name} {value}"
    if name.endswith("_per_second"):
        return f"{short(value)} {name.removesuffix('_per_second')}/s"
    return f"{name} {value:,}" if isinstance(value, int) else f"{name} {value:.4g}"


def short(value: float) -> str:
    """A number in at most five characters: ``950``, ``18.2k``, ``3.4M``."""
    for size, letter in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:.1f}{letter}"
    return f"{value:.0f}" if value >= 10 or value == int(value) else f"{value:.1f}"


def duration(seconds: float) -> str:
    """``01:20`` or ``2:03:04``."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes:02}:{rest:02}"


class Metrics(Protocol):
    """Where numbers go that are measured step by step."""

    def write(self, step: int, **values: float | str) -> None: ...
    def rewind(self, step: int) -> None: ...


class NoLog:
    """For processes whose numbers another one writes."""

    def write(self, step: int, **values: float | str) -> None:
        """Nothing."""

    def rewind(self, step: int) -> None:
        """Nothing."""


class MetricsLog:
    """Numbers by step, in ``folder/metrics.jsonl`` and as TensorBoard scalars in ``folder/tensorboard``.

    Each ``write`` has reached the operating system when it returns, so a killed process loses none.
    Opened on files that exist, it goes on behind their last whole line.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / "metrics.jsonl"
        self._events_path = folder / "tensorboard" / "events.out.tfevents.0.danlu"
        self._events_path.parent.mkdir(parents=True, exist_ok=True)
        self._keep_to = sys.maxsize
        """The earliest step of a :meth:`rewind` that the disk has refused."""
        self.rewind(sys.maxsize)

    def write(self, step: int, **values: float | str) -> None:
        """Append one line; numbers go to TensorBoard too. NaN and infinity are null in JSON, which lacks them."""
        if self._keep_to < sys.maxsize:
            self.rewind(self._keep_to)
        row = {
            name: None if isinstance(value, float) and not math.isfinite(value) else value
            for name, value in values.items()
        }
        _append(self.path, json.dumps({"step": step, **row}, ensure_ascii=False).encode() + b"\n")
        scalars = {name: float(value) for name, value in values.items() if not isinstance(value, str)}
        record = events.scalars_record(step, scalars, wall_time=time.time())
        if not self._events_path.exists():
            record = events.first_record(wall_time=time.time()) + record
        _append(self._events_path, record)

    def rewind(self, step: int) -> None:
        """Drop everything after ``step``, and whatever a killed process left half-written.

        Where the disk refuses, it is done before the next line is written.
        """
        self._keep_to = step = min(step, self._keep_to)  # what is behind an earlier one is of a stretch that was left
        if self.path.exists():
            os.truncate(self.path, _length_up_to(self.path, step))
        if self._events_path.exists():
            os.truncate(self._events_path, events.length_up_to(self._events_path, step))
            if self._events_path.stat().st_size == 0:
                self._events_path.unlink()
        self._keep_to = sys.maxsize


def read_metrics(folder: Path) -> list[dict[str, Any]]:
    """The whole lines of ``folder/metrics.jsonl``, none where there is no such file."""
    path = folder / "metrics.jsonl"
    rows = (_row(line) for line in path.read_bytes().splitlines(keepends=True)) if path.exists() else ()
    return [row for row in rows if row is not None]


def _length_up_to(path: Path, step: int) -> int:
    """Bytes up to the last whole line whose step is <= ``step``; a damaged one does not take those behind it along."""
    end = at = 0
    for line in path.read_bytes().splitlines(keepends=True):
        at, row = at + len(line), _row(line)
        if row is not None and row["step"] > step:
            break
        end = end if row is None else at
    return end


def _row(line: bytes) -> dict[str, Any] | None:
    """What a line of metrics says; None where it is cut or damaged."""
    try:
        row = json.loads(line) if line.endswith(b"\n") else None
    except (ValueError, RecursionError):
        return None
    return row if isinstance(row, dict) and isinstance(row.get("step"), int) else None


def _append(path: Path, data: bytes) -> None:
    """All of ``data`` or, where the disk is full, nothing: what follows later would stand behind half a line."""
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        end = os.lseek(descriptor, 0, os.SEEK_END)
        try:
            while data:
                data = data[os.write(descriptor, data) :]
        except OSError:
            os.ftruncate(descriptor, end)
            raise
    finally:
        os.close(descriptor)
