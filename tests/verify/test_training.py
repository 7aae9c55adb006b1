"""The table of ``danlu verify training``: its lines, its exit codes, and its names."""

from __future__ import annotations

import pytest

from danlu import cli
from danlu.verify import training
from danlu.verify.outcome import Outcome, Property, apart, within, worst


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two properties that take no time."""
    good = Property("sums", "sums are equal", lambda sample: within("2 sums", {"a": (1e-8, 1e-6), "b": (1e-15, 1e-10)}))
    elsewhere = Property("calls", "calls are heard", lambda sample: Outcome("", "-", "-", not_run="needs Linux"))
    monkeypatch.setattr(training, "PROPERTIES", [good, elsewhere])


@pytest.mark.usefixtures("few")
def test_one_line_a_property(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["verify", "training"]) == 0
    said = capsys.readouterr()
    first, head, sums, calls, last = said.out.splitlines()
    assert first.startswith("torch ")
    assert head.split() == ["property", "largest", "bound", "verdict", "seconds", "compared"]
    assert sums.split()[:6] == ["sums", "1e-08,", "1e-15", "1e-06,", "1e-10", "holds"]
    assert sums.endswith("sums are equal; 2 sums")
    assert calls.split()[:5] == ["calls", "-", "-", "not", "run"] and "needs Linux; calls are heard" in calls
    assert last == "2 properties in 0 s"
    assert said.err == ""


@pytest.mark.usefixtures("few")
def test_one_by_its_name(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["verify", "training", "--only", "sums"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "1 property in 0 s"
    assert cli.main(["verify", "training", "--only", "sum"]) == 2
    assert "--only: unknown property 'sum'; did you mean 'sums'? (choices: sums, calls)" in capsys.readouterr().err


def test_what_fails_is_said_and_so_does_the_exit_code(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = Property("sums", "sums are equal", lambda sample: within("2 sums", {"a": (1e-3, 1e-6), "b": (1.0, 1e-10)}))
    monkeypatch.setattr(training, "PROPERTIES", [bad])
    assert cli.main(["verify", "training"]) == 2
    said = capsys.readouterr()
    assert "fails" in said.out and "a: 1.0e-03 (2 faults); sums are equal; 2 sums" in said.out
    assert said.err == "danlu: error: training does not keep what it promises: sums\n"


def test_one_that_breaks_off_fails_and_the_table_goes_on(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def break_off(sample: object) -> Outcome:
        raise KeyError("a\nweight")

    good = Property("sums", "sums are equal", lambda sample: within("2 sums", {"a": (1e-8, 1e-6)}))
    monkeypatch.setattr(training, "PROPERTIES", [Property("kills", "the same bytes", break_off), good])
    assert cli.main(["verify", "training"]) == 2
    said = capsys.readouterr()
    kills, sums = said.out.splitlines()[2:4]
    assert kills.split()[:4] == ["kills", "-", "-", "fails"] and "it ended with KeyError: " in kills
    assert sums.split()[3] == "holds"
    assert "Traceback" in said.err and said.err.endswith("does not keep what it promises: kills\n")


def test_what_is_no_number_is_never_passed_over() -> None:
    nan = float("nan")
    outcome = within("", {"a": (nan, 1e-6), "b": (0.0, 1e-6)})
    assert (outcome.verdict, outcome.worst, outcome.faults) == ("fails", "nan", ["a: nan"])
    assert worst([1.0, nan, 2.0]) != worst([1.0, 2.0])
    assert apart({"a": __import__("torch").ones(2)}, {}) == float("inf")


def test_names_are_different_and_short() -> None:
    names = [each.name for each in training.PROPERTIES]
    assert len(set(names)) == len(names) and max(map(len, names)) <= 16
