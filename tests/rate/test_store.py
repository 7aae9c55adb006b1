"""The database: nothing is lost, nothing is rated twice, and nothing of others is taken for ours."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from danlu.errors import InputError, OutputError
from danlu.rate.rubric import Rubric
from danlu.rate.store import (
    HELD_SECONDS,
    DatabaseError,
    NotYoursError,
    Store,
    create,
    open_store,
    want_more_raters,
)
from danlu.rate.study import PREFERENCE, plan

from .conftest import damage

Makes = Callable[..., Store]
FIRST = {PREFERENCE: "first"}


def rate_next(store: Store, name: str, marks: dict[str, str | int] | None = None) -> int | None:
    rater = store.join(name)
    given = store.give(rater)
    if given is None:
        return None
    store.rate(rater, given.number, FIRST if marks is None else marks)
    return given.number


def test_what_is_written_is_read_again(make: Makes) -> None:
    store = make(prompts=5, models=3, raters=2, seed=7)
    again = open_store(store.path)
    assert again == store
    assert len(store.items) == 15


def test_a_rubric_is_kept(make: Makes, rubric: Rubric) -> None:
    store = make(rubric=rubric)
    assert open_store(store.path).study.rubric == rubric
    assert store.study.criteria == ["fluency", "relevance"]


def test_three_raters_who_go_on_to_the_end(make: Makes) -> None:
    store = make(prompts=6, raters=3)
    for name in ("a", "b", "c"):
        seen = [rate_next(store, name) for _ in range(7)]
        assert seen[-1] is None and sorted(seen[:-1], key=str) == [0, 1, 2, 3, 4, 5]
    assert rate_next(store, "a fourth") is None
    assert Counter(rating.number for rating in store.ratings()) == dict.fromkeys(range(6), 3)


def test_many_at_once_rate_each_item_so_often_as_is_wanted(make: Makes) -> None:
    """Threads with connections of their own: an item in one rater's hands is counted for the others."""
    store = make(prompts=8, raters=2)

    def all_of_them(name: str) -> None:
        while rate_next(store, name) is not None:
            pass

    threads = [threading.Thread(target=all_of_them, args=(f"rater {number}",)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert Counter(rating.number for rating in store.ratings()) == dict.fromkeys(range(8), 2)


def test_an_item_stays_in_hand_until_it_is_rated(make: Makes) -> None:
    store = make(prompts=2, raters=1)
    one, other = store.join("one"), store.join("other")
    held = store.give(one, now=0.0)
    assert held is not None and store.give(one, now=10.0) == held == store.give(one, now=HELD_SECONDS - 1)
    theirs = store.give(other, now=10.0)
    assert theirs is not None and theirs.number != held.number
    store.rate(other, theirs.number, FIRST)
    assert store.give(other, now=20.0) is None  # the last is with somebody else
    assert store.progress(other) == (1, 1)
    late = store.give(other, now=HELD_SECONDS + 1)
    assert late is not None and late.number == held.number
    store.rate(other, late.number, FIRST)
    assert store.give(one, now=2 * HELD_SECONDS) is None  # it was given away, and there is none left


def test_nobody_rates_an_item_twice_but_may_change_the_last(make: Makes) -> None:
    store = make(prompts=4, raters=2)
    rater = store.join("a")
    first, second = rate_next(store, "a"), rate_next(store, "a")
    assert first is not None and second is not None
    with pytest.raises(NotYoursError):
        store.rate(rater, first, FIRST)
    store.rate(rater, second, {PREFERENCE: "both bad"})
    last = store.last(rater)
    assert last is not None and (last.number, last.marks) == (second, {PREFERENCE: "both bad"})
    assert [rating.marks[PREFERENCE] for rating in store.ratings()] == ["first", "both bad"]


def test_what_another_has_in_hand_is_not_yours(make: Makes) -> None:
    store = make(prompts=1, raters=1)
    given = store.give(store.join("a"))
    assert given is not None
    with pytest.raises(NotYoursError):
        store.rate(store.join("b"), given.number, FIRST)
    assert store.ratings() == []


def test_a_name_is_the_same_in_another_spelling(make: Makes) -> None:
    store = make()
    known = store.join("Zoë  Lin")
    assert store.join(" zoe\u0308 LIN ") == known
    assert store.join("ＺＯË lin") == known
    assert store.join("Zoe Lin") != known
    assert store.rater(known.token) == known
    assert store.rater("another") is None


def test_more_raters_may_be_asked_for_later(make: Makes) -> None:
    store = make(prompts=1, raters=1)
    assert [rate_next(store, name) for name in "ab"] == [0, None]
    store = want_more_raters(store, 2)
    assert rate_next(store, "b") == 0


def test_a_kill_loses_no_rating(make: Makes) -> None:
    """A process that says which ratings it has made, killed somewhere: all that it said are there."""
    store = make(prompts=500, raters=1)
    program = f"""
from pathlib import Path
from danlu.rate.store import open_store
store = open_store(Path({str(store.path)!r}))
rater = store.join("a")
while (given := store.give(rater)) is not None:
    store.rate(rater, given.number, {{"preference": "second"}})
    print(given.number, flush=True)
"""
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    said = [int(process.stdout.readline()) for _ in range(20)]
    os.kill(process.pid, signal.SIGKILL)
    rest, _ = process.communicate()
    said += [int(line) for line in rest.splitlines()]
    kept = [rating.number for rating in open_store(store.path).ratings()]
    assert kept[: len(said)] == said and len(kept) <= len(said) + 1
    with sqlite3.connect(store.path) as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert database.execute("SELECT count(*) FROM readable").fetchone() == (len(kept),)
    database.close()


def test_databases_of_other_things(tmp_path: Path, make: Makes) -> None:
    (tmp_path / "text.db").write_text("no database " * 100, encoding="utf-8")
    with sqlite3.connect(tmp_path / "other.db") as other:
        other.execute("CREATE TABLE t (x)")
    other.close()
    newer = make().path
    with sqlite3.connect(newer) as database:
        database.execute("PRAGMA user_version = 9")
    database.close()
    for path, complaint in [
        (tmp_path / "text.db", "is no database that danlu rate has made: file is not a database"),
        (tmp_path / "other.db", "is a database of something else"),
        (newer, "is in form 9 .* reads 1"),
        (tmp_path / "none.db", "there is no database"),
        (tmp_path, "there is no database"),
    ]:
        with pytest.raises(InputError, match=complaint):
            open_store(path)


def test_a_damaged_database_is_one_line(make: Makes) -> None:
    pages, rows, settings = (make(prompts=2, raters=1) for _ in range(3))
    for store in (pages, rows):
        rate_next(store, "a")
    damage(pages.path, "ratings")
    with pytest.raises(DatabaseError, match=r"cannot be used: database disk image is malformed$"):
        pages.ratings()
    with pytest.raises(InputError, match=r"is damaged: \*\*\* in database main"):
        open_store(pages.path)
    for store, change, complaint in [
        (rows, "DELETE FROM marks", "is damaged: rating 1 lacks its item or its marks"),
        (settings, "DELETE FROM settings WHERE name = 'seed'", r"is damaged: .* not whole \('seed'\)"),
    ]:
        with sqlite3.connect(store.path) as database:
            database.execute(change)
        database.close()
        with pytest.raises(InputError, match=complaint):
            open_store(store.path).ratings()


def test_a_locked_database_is_one_line(make: Makes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("danlu.rate.store.SECONDS_TO_WAIT", 0.01)
    store = make(prompts=1)
    other = sqlite3.connect(store.path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(DatabaseError, match="cannot be used: database is locked"):
        store.join("a")
    assert store.ratings() == [], "readers do not wait"
    other.close()


def test_nothing_is_left_where_nothing_can_be_written(make: Makes, tmp_path: Path) -> None:
    store = make()
    study, items = plan(store.study.material, None, raters=1, seed=1)
    with pytest.raises(OutputError, match="there is no folder"):
        create(tmp_path / "none" / "r.db", study, items)
    assert [path.name for path in tmp_path.iterdir()] == [store.path.name]
