"""Small studies, and a server of one."""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from danlu.rate.answers import Material
from danlu.rate.rubric import Criterion, Rubric, Scale
from danlu.rate.server import RatingServer
from danlu.rate.store import Store, create
from danlu.rate.study import plan

Writes = Callable[[str, list[dict[str, object]]], Path]
Makes = Callable[..., Store]

RUBRIC = Rubric(
    criteria=[
        Criterion(name="fluency", question="Fluent?", scale=Scale(worst="no", best="yes")),
        Criterion(name="relevance", question="切题吗？", scale=Scale(lowest=0, worst="否", highest=3, best="是")),
    ]
)


@pytest.fixture
def rubric() -> Rubric:
    return RUBRIC


@pytest.fixture
def write(tmp_path: Path) -> Writes:
    def written(name: str, records: list[dict[str, object]]) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(json.dumps(r, ensure_ascii=False) + "\n" for r in records), encoding="utf-8")
        return path

    return written


@pytest.fixture
def make(tmp_path: Path) -> Makes:
    """Answers say who wrote them, so that tests can tell sides apart."""

    def made(
        *, prompts: int = 6, models: int = 2, raters: int = 3, rubric: Rubric | None = None, seed: int = 1
    ) -> Store:
        names = tuple(f"model{number}" for number in range(models))
        material = Material(
            names,
            tuple(f"prompt {number}" for number in range(prompts)),
            tuple(tuple(f"answer {number} of {name}" for name in names) for number in range(prompts)),
        )
        path = tmp_path / f"{len(list(tmp_path.iterdir()))}.db"
        return create(path, *plan(material, rubric, raters=raters, seed=seed))

    return made


def damage(path: Path, *tables: str) -> None:
    """Overwrite the first page of each table, as a bad disk would."""
    with sqlite3.connect(path) as database:
        (size,) = database.execute("PRAGMA page_size").fetchone()
        pages = dict(database.execute("SELECT name, rootpage FROM sqlite_master").fetchall())
    database.close()
    with path.open("r+b") as file:
        for table in tables:
            file.seek((pages[table] - 1) * size)
            file.write(b"\xff" * size)


@pytest.fixture
def serve() -> Iterator[Callable[[Store], str]]:
    """The address of a server of a study, at a free port."""
    servers: list[tuple[RatingServer, threading.Thread]] = []

    def served(store: Store) -> str:
        server = RatingServer(store, host="127.0.0.1", port=0)
        thread = threading.Thread(target=lambda: server.serve_forever(poll_interval=0.01))
        thread.start()
        servers.append((server, thread))
        return server.url.rstrip("/")

    yield served
    for server, thread in servers:
        server.shutdown()
        thread.join()
        server.server_close()
