"""Progress in words, and metrics that survive kills and rewinds."""

from __future__ import annotations

import errno
import io
import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.table import Table
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from danlu import log
from danlu.errors import OutputError
from danlu.log import Lines, MetricsLog, Progress, duration, progress, read_metrics, short


class Clock:
    """Time that passes when it is told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_line_says_how_far_how_fast_how_long() -> None:
    clock = Clock()
    state = Progress("pretrain", 920, "steps", clock=clock)
    assert state.line() == "0/920 steps"
    state.update(100)
    clock.now += 2
    state.update(120, loss=2.3109, tokens_per_second=18234.0)
    assert state.line() == "120/920 steps loss 2.311 18.2k tokens/s 01:20 left"
    clock.now += 80
    state.update(920, loss=1.5, note="cooling")
    assert state.line() == "920/920 steps loss 1.5 18.2k tokens/s note cooling"


def test_a_damaged_line_does_not_take_the_others_along(tmp_path: Path) -> None:
    """A flipped bit in the first hundred lines once cost the ten thousand behind it, when the training went on."""
    metrics = MetricsLog(tmp_path)
    for step in range(1, 7):
        metrics.write(step, loss=float(step))
    data = bytearray(metrics.path.read_bytes())
    data[data.index(b'"step": 2')] ^= 1
    metrics.path.write_bytes(bytes(data) + b"[" * 100_000 + b'\n{"step": 7, "lo')
    again = MetricsLog(tmp_path)
    assert [row["step"] for row in read_metrics(tmp_path)] == [1, 3, 4, 5, 6]
    again.rewind(4)
    again.write(5, loss=0.5)
    assert [(row["step"], row["loss"]) for row in read_metrics(tmp_path)] == [(1, 1.0), (3, 3.0), (4, 4.0), (5, 0.5)]


def full(patch: pytest.MonkeyPatch, number: int) -> None:
    """Standard output goes to a file, and the disk says this."""

    class Full(io.StringIO):
        def write(self, text: str) -> int:
            raise OSError(number, os.strerror(number))

    patch.setattr("sys.stdout", Full())


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EIO])
def test_a_line_that_the_disk_has_no_room_for_ends_nothing_and_is_told_in_the_end(
    number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It once ended trainings: the line said that a checkpoint could not be saved."""
    with monkeypatch.context() as patch:
        full(patch, number)
        log.say("could not save a checkpoint")
        log.say_table(Table("stage"))
    with pytest.raises(OutputError, match=r"^not all lines could be written to standard output: "):
        log.said()
    log.said()  # the next command has lost none


def test_a_table_is_as_wide_as_it_shall_be_where_nobody_looks(capsys: pytest.CaptureFixture[str]) -> None:
    for least in (0, 200):
        table = Table("a" * 90, "b" * 90)
        table.add_row("[red]", "2")
        log.say_table(table, least=least)
        drawn = capsys.readouterr().out
        assert (("b" * 90) in drawn) == (least == 200) and "[red]" in drawn and drawn.endswith("┘\n")


def test_somebody_who_reads_no_more_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    full(monkeypatch, errno.EPIPE)
    with pytest.raises(BrokenPipeError):
        log.say("enough")


def test_the_time_left_follows_the_last_updates() -> None:
    clock = Clock()
    state = Progress("x", 1_000, "steps", clock=clock)
    for done in range(100):  # the first steps are slow: compilation, a cold cache
        clock.now += 10
        state.update(done)
    for done in range(100, 200):
        clock.now += 1
        state.update(done)
    assert state.seconds_left() == pytest.approx(801)


def test_no_time_left_is_made_up() -> None:
    clock = Clock()
    state = Progress("x", None, "documents", clock=clock)
    state.update(1)
    clock.now += 1
    state.update(1200)
    assert state.line() == "1,200 documents"
    state.total = 2400
    assert state.line().endswith("00:01 left")
    resumed = Progress("x", 100, "steps", clock=clock)
    resumed.update(90)
    assert resumed.seconds_left() is None, "after a resume, one update says nothing about the pace"


def test_lines_come_at_most_every_few_seconds(capsys: pytest.CaptureFixture[str]) -> None:
    clock = Clock()
    lines = Lines("clean", 100, "files", clock=clock)
    for done in range(12):
        clock.now += 1
        lines.update(done)
    assert [line.split()[1] for line in capsys.readouterr().out.splitlines()] == ["4/100", "9/100"]


def test_in_a_pipe_there_are_plain_lines_and_a_last_one(capsys: pytest.CaptureFixture[str]) -> None:
    with progress("clean", 3, "files") as state:
        state.update(3, kept=2)
        log.say("a word in between")
    assert capsys.readouterr().out == "a word in between\nclean 3/3 files kept 2 in 00:00\n"


def test_work_that_fails_has_no_last_line(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ValueError), progress("clean", 3, "files"):
        raise ValueError
    assert capsys.readouterr().out == ""


class Terminal(io.StringIO):
    """Standard output that says that it is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(("variables", "bar"), [({}, True), ({"CI": "true"}, False), ({"TERM": "dumb"}, False)])
def test_a_bar_only_where_somebody_sees_it(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], bar: bool
) -> None:
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    terminal = Terminal()
    monkeypatch.setattr("sys.stdout", terminal)
    with progress("clean", 3, "files") as state:
        state.update(2, kept=2)
    assert ("\x1b[" in terminal.getvalue()) is bar
    assert terminal.getvalue().endswith("clean 2/3 files kept 2 in 00:00\n")


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (0.25, "0.2"), (7, "7"), (950, "950"), (18_234, "18.2k"), (3.4e6, "3.4M"), (2e9, "2.0G")],
)
def test_short_numbers(value: float, text: str) -> None:
    assert short(value) == text


@pytest.mark.parametrize(("seconds", "text"), [(0, "00:00"), (80, "01:20"), (3599.6, "1:00:00"), (7384, "2:03:04")])
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def scalars(folder: Path, name: str) -> list[tuple[int, float]]:
    """What TensorBoard itself reads."""
    accumulator = EventAccumulator(str(folder / "tensorboard")).Reload()
    return [(event.step, event.value) for event in accumulator.Scalars(name)]


def test_metrics_go_to_both_files(tmp_path: Path) -> None:
    metrics = MetricsLog(tmp_path)
    for step in range(1, 301):  # steps beyond 127 take two bytes in an event file
        metrics.write(step, loss=step / 2, phase="warm-up", lr=1e-3)
    rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    assert rows == read_metrics(tmp_path)
    assert rows[0] == {"step": 1, "loss": 0.5, "phase": "warm-up", "lr": 0.001}
    assert scalars(tmp_path, "loss") == [(step, step / 2) for step in range(1, 301)]


def test_what_json_lacks_is_null(tmp_path: Path) -> None:
    MetricsLog(tmp_path).write(1, loss=float("nan"), norm=float("inf"))
    assert (tmp_path / "metrics.jsonl").read_bytes() == b'{"step": 1, "loss": null, "norm": null}\n'
    assert str(scalars(tmp_path, "norm")) == "[(1, inf)]"


@pytest.mark.parametrize("step", [0, 4, 200, 1000])
def test_rewind_drops_what_came_later(tmp_path: Path, step: int) -> None:
    expected, rewound = tmp_path / "expected", tmp_path / "rewound"
    log.MetricsLog(expected)
    for folder, last in ((expected, min(step, 300)), (rewound, 300)):
        metrics = MetricsLog(folder)
        for number in range(1, last + 1):
            metrics.write(number, loss=float(number))
    MetricsLog(rewound).rewind(step)
    expected_metrics = expected / "metrics.jsonl"
    before = expected_metrics.read_bytes() if expected_metrics.exists() else b""
    assert (rewound / "metrics.jsonl").read_bytes() == before
    MetricsLog(rewound).write(step + 1, loss=0.0)
    assert scalars(rewound, "loss") == [*((n, float(n)) for n in range(1, min(step, 300) + 1)), (step + 1, 0.0)]


@given(cut=st.integers(min_value=1, max_value=60), event_cut=st.integers(min_value=1, max_value=90))
def test_half_written_ends_are_dropped(tmp_path_factory: pytest.TempPathFactory, cut: int, event_cut: int) -> None:
    folder = tmp_path_factory.mktemp("killed")
    metrics = MetricsLog(folder)
    for step in range(1, 6):
        metrics.write(step, loss=float(step))
    for path, length in ((folder / "metrics.jsonl", cut), (next((folder / "tensorboard").iterdir()), event_cut)):
        os.truncate(path, path.stat().st_size - length)
    reopened = MetricsLog(folder)
    left = [row["step"] for row in read_metrics(folder)]
    assert left == list(range(1, len(left) + 1)) and len(left) == 5 - -(-cut // len('{"step": 1, "loss": 1.0}\n'))
    reopened.write(6, loss=6.0)
    assert [row["step"] for row in read_metrics(folder)] == [*left, 6]
    steps = [step for step, _ in scalars(folder, "loss")]
    assert steps[-1] == 6 and steps[:-1] == list(range(1, len(steps)))


def test_a_rewind_that_the_disk_refused_is_done_with_a_later_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a stretch that was left nothing stays, though the training has gone on and back again meanwhile."""
    metrics = MetricsLog(tmp_path)
    for step in range(1, 9):
        metrics.write(step, loss=1.0)
    with monkeypatch.context() as patch:
        patch.setattr(os, "truncate", lambda *_: (_ for _ in ()).throw(OSError(errno.EROFS, "Read-only file system")))
        with pytest.raises(OSError, match="Read-only"):
            metrics.rewind(2)
    metrics.rewind(6)
    metrics.write(7, loss=2.0)
    metrics.write(8, loss=2.0)
    assert [(line["step"], line["loss"]) for line in read_metrics(tmp_path)] == [(1, 1.0), (2, 1.0), (7, 2.0), (8, 2.0)]
    assert scalars(tmp_path, "loss") == [(1, 1.0), (2, 1.0), (7, 2.0), (8, 2.0)]


def test_no_metrics_is_an_empty_list(tmp_path: Path) -> None:
    assert read_metrics(tmp_path) == []
