"""The HTTP of ``danlu serve`` over a socket, and the command from start to stop."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest
import uvicorn

from danlu import cli
from danlu.address import Address
from danlu.errors import InputError
from danlu.serve.api import MOST_BYTES, application

JSON = {"Content-Type": "application/json"}


class Fake:
    """In the place of a model."""

    def said(self) -> dict[str, Any]:
        return {"model": "fake", "task": "classify", "labels": ["a"], "fields": []}

    def answer(self, rows: Sequence[Any]) -> list[dict[str, Any]]:
        if "bug" in rows:
            raise RuntimeError("secret")
        if None in rows:
            raise InputError("request, row 1: it is\nnothing")
        return [{"prediction": row} for row in rows]


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    address = Address("127.0.0.1", 0)
    with address.listening() as listener:
        config = uvicorn.Config(application(Fake(), is_ours=address.is_ours), log_level="critical", lifespan="off")
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        yield listener.getsockname()[1]
        server.should_exit = True
        thread.join()


def ask(
    port: int, body: Any, *, method: str = "POST", path: str = "/predict", headers: dict[str, str] = JSON
) -> tuple[int, Any]:
    """Status and answer."""
    connection = HTTPConnection("127.0.0.1", port, timeout=30)
    sent = body if isinstance(body, bytes | None) else json.dumps(body).encode()
    connection.request(method, path, sent, headers)
    response = connection.getresponse()
    text = response.read().decode()
    connection.close()
    return response.status, json.loads(text) if response.headers["Content-Type"] == "application/json" else text


def test_a_row_is_answered_and_a_list_of_rows_in_kind(port: int) -> None:
    assert ask(port, {"text": "你好"}) == (200, {"prediction": {"text": "你好"}})
    assert ask(port, ["x", {"text": "y"}]) == (200, [{"prediction": "x"}, {"prediction": {"text": "y"}}])
    assert ask(port, [], headers={"Content-Type": "Application/JSON; charset=utf-8"}) == (200, [])


@pytest.mark.parametrize(("body", "headers", "status", "reason"), [
    (b"{", JSON, 400, "the request is no JSON: "),
    (b"[" * 100_000, JSON, 400, "the request is no JSON: "),
    (b"\xff", JSON, 400, "the request is no JSON: "),
    ([None], JSON, 422, "request, row 1: it is nothing"),
    ({}, {"Content-Type": "text/plain"}, 415, "send JSON, with the header Content-Type: application/json"),
    ({}, {**JSON, "Host": "evil.example"}, 421, "this server is not 'evil.example'"),
    (b" " * (MOST_BYTES + 1), JSON, 413, "a request may have 8 MiB"),
    (["bug"], JSON, 500, "the server failed; its own screen says why"),
])  # fmt: skip
def test_refusals_are_one_line_of_json(port: int, body: Any, headers: dict[str, str], status: int, reason: str) -> None:
    found, answer = ask(port, body, headers=headers)
    assert (found, list(answer)) == (status, ["error"])
    assert answer["error"].startswith(reason)
    assert "\n" not in answer["error"]
    assert "secret" not in answer["error"]
    assert ask(port, None, method="GET", path="/health") == (200, {"status": "ok"})


def test_other_paths_say_what_there_is(port: int) -> None:
    assert ask(port, None, method="GET", path="/model") == (200, Fake().said())
    for method, path, status in (("GET", "/predict", 405), ("GET", "/../etc/passwd", 404), ("POST", "/model", 405)):
        found, answer = ask(port, None, method=method, path=path)
        assert (found, answer["error"].partition(":")[0]) == (status, f"there is no {method} {path}")


def test_the_page_takes_nothing_from_elsewhere(port: int) -> None:
    for path in ("/", "/serve.css", "/serve.js"):
        status, text = ask(port, None, method="GET", path=path)
        assert status == 200
        assert not re.search(r"(src|href)=\"(https?:)?//|url\(|@import", text)


def test_the_command_serves_until_it_is_stopped(folders: dict[str, Path]) -> None:
    command = [sys.executable, "-m", "danlu", "serve", str(folders["classify"]), "--port", "0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    found = next(each for line in process.stdout if (each := re.search(r"http://127\.0\.0\.1:(\d+)/ ", line)))
    status, answers = ask(int(found[1]), [{"review": "to be"}, {"review": "or not"}])
    assert status == 200
    assert [set(each) for each in answers] == [{"prediction", "confidence", "scores"}] * 2
    process.send_signal(signal.SIGTERM)
    _, error = process.communicate(timeout=30)
    assert (process.returncode, error) == (143, "danlu: stopped serving\n")


def test_a_port_in_use_and_a_folder_that_is_none_end_in_one_line(
    folders: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert cli.main(["serve", str(folders["classify"]), "--port", port]) == 2
    assert capsys.readouterr().err == f"danlu: error: port {port} of 127.0.0.1 is in use; --port 0 takes a free one\n"
    assert cli.main(["serve", str(tmp_path / "none"), "--port", "0"]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert str(tmp_path / "none") in error


def test_a_request_that_is_being_answered_is_finished(folders: dict[str, Path]) -> None:
    """A server that is stopped meanwhile answers it, and takes no other."""
    address, entered, held = Address("127.0.0.1", 0), threading.Event(), threading.Event()

    class Slow(Fake):
        def answer(self, rows: Sequence[Any]) -> list[dict[str, Any]]:
            entered.set()
            held.wait(10)
            return super().answer(rows)

    with address.listening() as listener:
        server = uvicorn.Server(
            uvicorn.Config(application(Slow(), is_ours=address.is_ours), log_level="critical", lifespan="off")
        )
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        answers: list[Any] = []
        asking = threading.Thread(target=lambda: answers.append(ask(listener.getsockname()[1], ["x"])))
        asking.start()
        assert entered.wait(10)
        server.should_exit = True
        time.sleep(0.3)
        held.set()
        asking.join(10)
        thread.join(10)
    assert answers == [(200, [{"prediction": "x"}])]
