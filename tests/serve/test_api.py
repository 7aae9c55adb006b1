"""The HTTP of ``danlu serve`` over a socket, and the command from start to stop."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest
import uvicorn

from danlu import cli
from danlu.address import Address
from danlu.errors import InputError
from danlu.pages import colours
from danlu.serve.api import MOST_BYTES, application

JSON = {"Content-Type": "application/json"}
Folders = Callable[[str], Path]


class Fake:
    """In the place of a model: what it is asked decides what it does."""

    def said(self) -> dict[str, Any]:
        return {"model": "fake", "task": "classify", "labels": ["a"], "fields": []}

    def ask(self, rows: Sequence[Any]) -> Future[list[dict[str, Any]]]:
        if None in rows:
            raise InputError("request, row 1: it is\nnothing")
        coming: Future[list[dict[str, Any]]] = Future()
        if "bug" in rows:
            coming.set_exception(RuntimeError("secret"))
        elif "late" in rows:
            coming.set_exception(InputError("it is too long"))
        else:
            coming.set_result([{"prediction": float("nan") if row == "nan" else row} for row in rows])
        return coming


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
    assert ask(port, ["x"], headers={"Content-Type": "Application/JSON; charset=utf-8"}) == (200, [{"prediction": "x"}])


def test_what_json_or_utf8_has_not_is_sent_all_the_same(port: int) -> None:
    assert ask(port, "nan") == (200, {"prediction": None})
    assert ask(port, b'"\\ud800"') == (200, {"prediction": "\ud800"})


@pytest.mark.parametrize(("body", "headers", "status", "reason"), [
    (b"{", JSON, 400, "the request is no JSON: "),
    (b"[" * 100_000, JSON, 400, "the request is no JSON: "),
    (b"\xff", JSON, 400, "the request is no JSON: "),
    ([None], JSON, 422, "request, row 1: it is nothing"),
    ({}, {"Content-Type": "text/plain"}, 415, "send JSON, with the header Content-Type: application/json"),
    ({}, {**JSON, "Host": "evil.example"}, 421, "this server is not called 'evil.example'"),
    (b" " * (MOST_BYTES + 1), JSON, 413, "a request may have 8 MiB"),
    (["late"], JSON, 422, "it is too long"),
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
        assert status == 200 and text.startswith(colours.variables()) == (path == "/serve.css")
        assert not re.search(r"(src|href)=\"(https?:)?//|url\(|@import", text)


@contextmanager
def serving(*arguments: str) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """The command in a process of its own, and its port."""
    command = [sys.executable, "-m", "danlu", "serve", *arguments, "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            found = (re.search(r"http://127\.0\.0\.1:(\d+)/ ", line) for line in process.stdout)
            yield process, next(int(each[1]) for each in found if each)
        finally:
            process.kill()


def test_the_command_serves_until_it_is_stopped(folder_of: Folders) -> None:
    with serving(str(folder_of("classify")), "--name", "models.example") as (process, port):
        status, answers = ask(port, [{"review": "to be"}, {"review": "or not"}])
        assert status == 200
        assert [set(each) for each in answers] == [{"prediction", "confidence", "scores"}] * 2
        named = {**JSON, "Host": "Models.example:443"}
        assert ask(port, {"review": " "}, headers=named)[0] == 422
        process.send_signal(signal.SIGTERM)
        _, error = process.communicate(timeout=30)
        assert (process.returncode, error) == (143, "danlu: stopped serving\n")


def test_a_port_in_use_and_a_folder_that_is_none_end_in_one_line(
    folder_of: Folders, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert cli.main(["serve", str(folder_of("classify")), "--port", port]) == 2
    assert capsys.readouterr().err == f"danlu: error: port {port} of 127.0.0.1 is in use; --port 0 takes a free one\n"
    assert cli.main(["serve", str(tmp_path / "none"), "--port", "0"]) == 2
    assert capsys.readouterr().err == f"danlu: error: there is no model folder {tmp_path / 'none'}\n"
    assert cli.main(["serve", str(folder_of("classify")), "--host", "a..b"]) == 2
    assert capsys.readouterr().err == "danlu: error: --host 'a..b' is no name that a machine can have\n"
