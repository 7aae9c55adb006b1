"""The database of a study, an SQLite file: what is rated, who rates, and every rating in a transaction of its own.

It can be read with any SQLite client: ``SELECT * FROM readable``. Several servers and readers may have it open.
"""

from __future__ import annotations

import hmac
import json
import secrets
import sqlite3
import tempfile
import time
import unicodedata
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple

from danlu.errors import InputError, OutputError
from danlu.files import writing
from danlu.rate.answers import Material
from danlu.rate.rubric import Rubric
from danlu.rate.study import Item, Study, choose, is_swapped, order_of
from danlu.recipe import build, plain

APPLICATION = int.from_bytes(b"Danl")
"""Which says in an SQLite file whose it is."""
VERSION = 1
HELD_SECONDS = 20 * 60.0
"""So long an item is kept for the rater who looks at it."""
SECONDS_TO_WAIT = 30.0
"""For another transaction to end."""

Marks = Mapping[str, str | int]
"""What is said of an item, by criterion: a choice of a pair, or numbers."""


class Rater(NamedTuple):
    """Somebody who rates; ``token`` is what their browser shows."""

    id: int
    name: str
    token: str


class Given(NamedTuple):
    """An item in a rater's hands; ``swapped``: the second model's answer is on the left."""

    number: int
    item: Item
    swapped: bool
    marks: Marks
    """What they said of it before, where they go back to it."""


class Progress(NamedTuple):
    """How many items a rater has rated, and how many are still wanted of them."""

    done: int
    left: int


class Rating(NamedTuple):
    """One rating, as the report reads it."""

    rater: str
    number: int
    swapped: bool
    marks: Marks
    seconds: float


class NotYoursError(Exception):
    """The item is neither in the rater's hands nor the last that they rated."""


class DatabaseError(InputError):
    """The database cannot be used: it was moved away, the disk is full, another program locks it, it is damaged."""


@dataclass(frozen=True, slots=True)
class Store:
    """An open study; each call is a connection and a transaction of its own, so that threads may share it."""

    path: Path
    study: Study
    items: tuple[Item, ...]
    secret: str
    """Stands on no page: what a page has is made of it."""

    @property
    def form_secret(self) -> str:
        """Goes with every form that the server makes, and with no other."""
        return self._made("form")

    def ticket(self, rater: Rater, number: int) -> str:
        """What an item is called on the pages of a rater.

        Its number would tell whose answers have to do with each other: items are numbered model by model.
        """
        return self._made(f"item {number} of {rater.id}")

    def _made(self, of: str) -> str:
        return hmac.digest(self.secret.encode(), of.encode(), "sha256").hex()[:32]

    def join(self, name: str) -> Rater:
        """The rater of that name, new or known; upper and lower case and kinds of spaces make no other name."""
        name = " ".join(name.split())
        folded = unicodedata.normalize("NFKC", name).casefold()
        with _transaction(self.path) as database:
            found = database.execute("SELECT id, name, token FROM raters WHERE folded = ?", (folded,)).fetchone()
            if found is not None:
                return Rater(*found)
            token = secrets.token_urlsafe(24)
            made = database.execute("INSERT INTO raters (name, folded, token) VALUES (?, ?, ?)", (name, folded, token))
            return Rater(int(made.lastrowid or 0), name, token)

    def rater(self, token: str) -> Rater | None:
        """Who has this token."""
        with _transaction(self.path) as database:
            found = database.execute("SELECT id, name, token FROM raters WHERE token = ?", (token,)).fetchone()
        return None if found is None else Rater(*found)

    def give(self, rater: Rater, *, now: float | None = None) -> Given | None:
        """What the rater has in hand, or else the next item, which is kept for them; None where there is none."""
        now = time.time() if now is None else now
        with _transaction(self.path) as database:
            held = database.execute("SELECT item, since FROM held WHERE rater = ?", (rater.id,)).fetchone()
            times, mine = self._times(database, but=rater, now=now)
            if held is not None and (times[held[0]] < self.study.raters or now - held[1] < HELD_SECONDS):
                return self._given(held[0], rater, {})
            order = order_of(rater.id, items=len(self.items), seed=self.study.seed)
            number = choose(times, mine, order, most=self.study.raters)
            database.execute("DELETE FROM held WHERE rater = ?", (rater.id,))
            if number is None:
                return None
            database.execute("INSERT INTO held VALUES (?, ?, ?)", (rater.id, number, now))
        return self._given(number, rater, {})

    def last(self, rater: Rater) -> Given | None:
        """The item that the rater rated last, with what they said."""
        with _transaction(self.path) as database:
            found = _last(database, rater)
            if found is None:
                return None
            marks = database.execute("SELECT criterion, value FROM marks WHERE rating = ?", (found[0],)).fetchall()
        return self._given(found[1], rater, dict(marks))

    def rate(self, rater: Rater, number: int, marks: Marks, *, now: float | None = None) -> None:
        """Keep a rating of the item in hand, or another one of the last item; on the disk when this returns.

        Raises:
            NotYoursError: it is neither.
        """
        now = time.time() if now is None else now
        at = datetime.fromtimestamp(now, tz=UTC).isoformat(timespec="seconds")
        with _transaction(self.path) as database:
            held = database.execute("SELECT item, since FROM held WHERE rater = ?", (rater.id,)).fetchone()
            last = _last(database, rater)
            if last is not None and last[1] == number:
                rating = last[0]
                database.execute("UPDATE ratings SET at = ?, changed = changed + 1 WHERE id = ?", (at, rating))
                database.execute("DELETE FROM marks WHERE rating = ?", (rating,))
            elif held is not None and held[0] == number:
                swapped = is_swapped(self.items[number], rater.id)
                made = database.execute(
                    "INSERT INTO ratings (rater, item, swapped, seconds, at) VALUES (?, ?, ?, ?, ?)",
                    (rater.id, number, swapped, round(now - held[1], 1), at),
                )
                rating = int(made.lastrowid or 0)
                database.execute("DELETE FROM held WHERE rater = ?", (rater.id,))
            else:
                raise NotYoursError
            database.executemany("INSERT INTO marks VALUES (?, ?, ?)", [(rating, *mark) for mark in marks.items()])

    def progress(self, rater: Rater) -> Progress:
        """How far the rater is."""
        with _transaction(self.path) as database:
            times, mine = self._times(database, but=rater, now=float("inf"))
        open_items = (number for number, count in enumerate(times) if count < self.study.raters and number not in mine)
        return Progress(len(mine), sum(1 for _ in open_items))

    def ratings(self) -> list[Rating]:
        """All ratings, in the order in which they were given."""
        with _transaction(self.path, write=False) as database:
            marks: dict[int, dict[str, str | int]] = {}
            for rating, criterion, value in database.execute("SELECT rating, criterion, value FROM marks"):
                marks.setdefault(rating, {})[criterion] = value
            rows = database.execute(
                "SELECT ratings.id, raters.name, item, swapped, seconds FROM ratings"
                " JOIN raters ON raters.id = ratings.rater ORDER BY ratings.id"
            ).fetchall()
        for key, _, item, _, _ in rows:
            if item >= len(self.items) or set(marks.get(key, ())) != set(self.study.criteria):
                raise DatabaseError(f"{self.path} is damaged: rating {key} lacks its item or its marks")
        return [Rating(name, item, bool(swapped), marks[key], secs) for key, name, item, swapped, secs in rows]

    def _times(self, database: sqlite3.Connection, *, but: Rater, now: float) -> tuple[list[int], set[int]]:
        """How often each item is rated or being rated, and which this rater has rated."""
        times, mine = [0] * len(self.items), set()
        for number, rater in database.execute("SELECT item, rater FROM ratings"):
            times[number] += 1
            if rater == but.id:
                mine.add(number)
        for number, rater, since in database.execute("SELECT item, rater, since FROM held"):
            if rater != but.id and now - since < HELD_SECONDS:
                times[number] += 1
        return times, mine

    def _given(self, number: int, rater: Rater, marks: Marks) -> Given:
        item = self.items[number]
        return Given(number, item, is_swapped(item, rater.id), marks)


def create(path: Path, study: Study, items: list[Item]) -> Store:
    """Write a new database; it appears whole or not at all.

    Raises:
        OutputError: it cannot be written.
    """
    if not path.parent.is_dir():
        raise OutputError(f"cannot write to {path}: there is no folder {str(path.parent)!r}")
    rubric = None if study.rubric is None else plain(study.rubric)
    settings = {"raters": study.raters, "seed": study.seed, "rubric": rubric, "secret": secrets.token_urlsafe(24)}
    material = study.material
    with writing(path.parent), tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}.") as folder:
        made = Path(folder) / "new.db"
        database = sqlite3.connect(made)
        try:
            database.executescript(files("danlu.rate").joinpath("schema.sql").read_text(encoding="utf-8"))
            texts = [(p, m, text) for p, row in enumerate(material.answers) for m, text in enumerate(row)]
            rows = [(number, *item) for number, item in enumerate(items)]
            named = [(name, json.dumps(value, ensure_ascii=False)) for name, value in settings.items()]
            database.executemany("INSERT INTO settings VALUES (?, ?)", named)
            database.executemany("INSERT INTO models VALUES (?, ?)", enumerate(material.models))
            database.executemany("INSERT INTO prompts VALUES (?, ?)", enumerate(material.prompts))
            database.executemany("INSERT INTO answers VALUES (?, ?, ?)", texts)
            database.executemany("INSERT INTO items VALUES (?, ?, ?, ?, ?)", rows)
            database.execute(f"PRAGMA application_id = {APPLICATION}")
            database.execute(f"PRAGMA user_version = {VERSION}")
            database.commit()
            database.execute("PRAGMA journal_mode = WAL")  # a reader and a writer do not wait for each other
        except sqlite3.OperationalError as error:
            raise OutputError(f"cannot write to {path}: {error}") from None
        finally:
            database.close()
        made.replace(path)
    return open_store(path)


def open_store(path: Path) -> Store:
    """The study in a database that ``danlu rate`` has made.

    Raises:
        InputError: there is none, or it is a database of something else, or of a newer Danlu, or damaged.
    """
    if not path.is_file():
        raise InputError(f"there is no database {path}; 'danlu rate ANSWERS.jsonl … --out {path}' makes one")
    try:
        with _connected(path, write=False) as database:
            (application,) = database.execute("PRAGMA application_id").fetchone()
            (version,) = database.execute("PRAGMA user_version").fetchone()
            if application != APPLICATION:
                raise InputError(f"{path} is a database of something else, and not one that danlu rate has made")
            if version != VERSION:
                raise InputError(f"{path} is in form {version} of danlu rate's databases; this Danlu reads {VERSION}")
            (state,) = database.execute("PRAGMA quick_check(1)").fetchone()
            if state != "ok":
                raise InputError(f"{path} is damaged: {' '.join(state.split())}")
            return _read(path, database)
    except (KeyError, IndexError, ValueError) as error:
        raise InputError(f"{path} is damaged: what it says of its study is not whole ({error})") from None
    except sqlite3.OperationalError as error:
        raise InputError(f"cannot open {path}: {error}") from None
    except sqlite3.DatabaseError as error:
        raise InputError(f"{path} is no database that danlu rate has made: {error}") from None


def want_more_raters(store: Store, raters: int) -> Store:
    """The store with another number of raters an item."""
    with _transaction(store.path) as database:
        database.execute("UPDATE settings SET value = ? WHERE name = 'raters'", (json.dumps(raters),))
    return open_store(store.path)


def _read(path: Path, database: sqlite3.Connection) -> Store:
    settings: dict[str, Any] = {
        name: json.loads(value) for name, value in database.execute("SELECT name, value FROM settings")
    }
    models = tuple(name for (name,) in database.execute("SELECT name FROM models ORDER BY id"))
    prompts = tuple(text for (text,) in database.execute("SELECT text FROM prompts ORDER BY id"))
    answers: list[list[str]] = [[] for _ in prompts]
    for prompt, text in database.execute("SELECT prompt, text FROM answers ORDER BY prompt, model"):
        answers[prompt].append(text)
    rubric = None if settings["rubric"] is None else build(Rubric, settings["rubric"], key="rubric")
    material = Material(models, prompts, tuple(map(tuple, answers)))
    rows = database.execute("SELECT prompt, first, second, flipped FROM items ORDER BY id")
    items = tuple(Item(prompt, first, second, bool(flipped)) for prompt, first, second, flipped in rows)
    return Store(path, Study(material, rubric, settings["raters"], settings["seed"]), items, settings["secret"])


def _last(database: sqlite3.Connection, rater: Rater) -> tuple[int, int] | None:
    found: tuple[int, int] | None = database.execute(
        "SELECT id, item FROM ratings WHERE rater = ? ORDER BY id DESC LIMIT 1", (rater.id,)
    ).fetchone()
    return found


@contextmanager
def _transaction(path: Path, *, write: bool = True) -> Iterator[sqlite3.Connection]:
    """The same as :func:`_connected`, for what is read and written of a study that is open.

    Raises:
        DatabaseError: the file fails.
    """
    try:
        with _connected(path, write=write) as database:
            yield database
    except sqlite3.DatabaseError as error:
        if type(error) not in (sqlite3.DatabaseError, sqlite3.OperationalError):
            raise  # a bug of ours, and not the file's
        raise DatabaseError(f"{path} cannot be used: {error}") from error


@contextmanager
def _connected(path: Path, *, write: bool) -> Iterator[sqlite3.Connection]:
    """A connection with one transaction, which holds as a whole or not at all."""
    uri = f"{path.resolve().as_uri()}?mode=rw"  # for readers too: else nobody clears away the files beside it
    database = sqlite3.connect(uri, uri=True, timeout=SECONDS_TO_WAIT, isolation_level=None)
    try:
        database.execute("PRAGMA foreign_keys = ON")
        database.execute("PRAGMA synchronous = FULL")  # on the disk before the rater sees the next item
        database.execute("BEGIN IMMEDIATE" if write else "BEGIN")
        try:
            yield database
        except BaseException:
            database.rollback()
            raise
        database.commit()
    finally:
        database.close()
