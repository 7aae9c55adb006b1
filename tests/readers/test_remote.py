"""Files elsewhere: in fsspec's memory and on a server of our own that fails as asked."""

from __future__ import annotations

import gzip
import io
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import fsspec
import pytest

from danlu.errors import InputError
from danlu.readers import remote
from danlu.readers.record import Raw
from danlu.readers.sources import Found, Source, find_files

LINES = b"".join(b'{"text": "line %d"}\n' % number for number in range(3000))
FILES = {
    "/a.jsonl": LINES,
    "/b.jsonl.gz": gzip.compress(LINES),
    "/c.txt": "从前有一座山。".encode(),
    "/": b'<a href="a.jsonl">a</a> <a href="b.jsonl.gz">b</a> <a href="c.txt">c</a> <a href="d.png">d</a>',
    "/d.png": b"picture",
}


class Server(BaseHTTPRequestHandler):
    """Serves FILES; of a path in ``fails`` so many answers fail first, with that status, or cut short for 0."""

    fails: ClassVar[dict[str, tuple[int, int]]] = {}
    ranges: ClassVar[bool] = True
    asked: ClassVar[list[str]] = []

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self.asked.append(self.path)
        self._answer(body=True)

    def _answer(self, *, body: bool) -> None:
        times, status = self.fails.get(self.path, (0, 0))
        content = FILES.get(self.path)
        if content is None:
            self.send_error(404)
        elif times and status:
            self.fails[self.path] = (times - 1, status)
            self.send_error(status)
        else:
            self._send(content, body=body, cut=bool(times))

    def _send(self, content: bytes, *, body: bool, cut: bool) -> None:
        wanted = re.match(r"bytes=(\d+)-(\d*)", self.headers.get("Range", "")) if self.ranges else None
        first = int(wanted[1]) if wanted else 0
        last = min(int(wanted[2] or len(content)) if wanted else len(content), len(content) - 1)
        part = content[first : last + 1]
        self.send_response(206 if wanted else 200)
        if wanted:
            self.send_header("Content-Range", f"bytes {first}-{last}/{len(content)}")
        if self.ranges:
            self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(len(part)))
        self.send_header("ETag", f'"{len(content)}"')
        self.end_headers()
        if body and cut:
            self.fails[self.path] = (self.fails[self.path][0] - 1, 0)
            self.wfile.write(part[: len(part) // 2])
            self.close_connection = True
        elif body:
            self.wfile.write(part)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setattr(remote, "WAIT_SECONDS", 0.001)
    monkeypatch.setattr(Server, "fails", {})
    monkeypatch.setattr(Server, "asked", [])
    running = ThreadingHTTPServer(("127.0.0.1", 0), Server)
    thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{running.server_port}"
    running.shutdown()
    thread.join()
    running.server_close()


def find(*addresses: str, **settings: Any) -> Found:
    return find_files([Source(path=Path(address), **settings) for address in addresses], key="clean.sources")


def texts(found: Found) -> list[str]:
    return [record.text for file in found.files for record in file.records() if isinstance(record, Raw)]


@pytest.fixture
def memory() -> Iterator[str]:
    files = fsspec.filesystem("memory")
    for name, content in FILES.items():
        if name != "/":
            files.pipe(f"/bucket{name}", content)
            files.pipe(f"/bucket/deep{name}", content)
    yield "memory://bucket"
    files.rm("/bucket", recursive=True)


def test_names_of_members_of_archives_keep_apart(memory: str, tmp_path: Path) -> None:
    files = fsspec.filesystem("memory")
    files.pipe("/bucket/x/a.zip!/b.txt", b"b")
    files.pipe("/bucket/y/a.zip", b"a")
    (tmp_path / "a.zip").write_bytes(b"a")
    paths = [tmp_path, Path(f"{memory}/x"), Path(f"{memory}/y")]
    found = find_files([Source(path=path) for path in paths], key="clean.sources")
    assert [file.name for file in found.files] == ["a.zip", "1:a.zip!/b.txt", "2:a.zip"]
    found = find_files([Source(path=path) for path in paths[1:]], key="clean.sources")
    assert [file.name for file in found.files] == ["a.zip!/b.txt", "1:a.zip"]


def test_a_folder_a_pattern_and_a_file_of_a_store(memory: str) -> None:
    found = find(memory)
    names = ["a.jsonl", "b.jsonl.gz", "c.txt"]
    assert [file.name for file in found.files] == [*names, *(f"deep/{name}" for name in names)]
    assert found.ignored == ["d.png", "deep/d.png"]
    assert len(texts(found)) == 2 * 6001
    assert [file.name for file in find(f"{memory}/**/*.txt").files] == ["c.txt", "deep/c.txt"]
    assert texts(find(f"{memory}/c.txt")) == ["从前有一座山。"]


@pytest.mark.parametrize("ranges", [True, False])
def test_a_file_and_a_pattern_over_http(server: str, monkeypatch: pytest.MonkeyPatch, ranges: bool) -> None:
    monkeypatch.setattr(Server, "ranges", ranges)
    assert texts(find(f"{server}/a.jsonl")) == [f"line {number}" for number in range(3000)]
    assert [file.name for file in find(f"{server}/*.jsonl*").files] == ["a.jsonl", "b.jsonl.gz"]
    assert len(texts(find(f"{server}/b.jsonl.gz"))) == 3000


@pytest.mark.parametrize("ranges", [True, False])
@pytest.mark.parametrize("fails", [(2, 0), (2, 503)])
def test_what_fails_for_a_while_is_tried_again(
    server: str, monkeypatch: pytest.MonkeyPatch, fails: tuple[int, int], ranges: bool
) -> None:
    monkeypatch.setattr(Server, "ranges", ranges)
    found = find(f"{server}/a.jsonl")
    Server.fails["/a.jsonl"] = fails
    assert texts(found) == [f"line {number}" for number in range(3000)]
    assert Server.fails["/a.jsonl"][0] == 0


@pytest.mark.parametrize(
    ("path", "fails", "said"),
    [
        ("/none.txt", None, r"clean\.sources\.0: no file at .*/none\.txt \(not found\)"),
        ("/c.txt", (99, 403), r"clean\.sources\.0: cannot read .*: no credentials, or not those"),
        ("/c.txt", (99, 503), r"clean\.sources\.0: cannot read .*status 503.*, 5 times"),
        ("/d.png", None, r"clean\.sources\.0: cannot tell how to read .*/d\.png by its ending"),
        ("/*.docx", None, r"clean\.sources\.0: no file at .*/\*\.docx"),
    ],
)
def test_what_fails_for_good_is_one_line(server: str, path: str, fails: tuple[int, int] | None, said: str) -> None:
    if fails is not None:
        Server.fails[path] = fails
    with pytest.raises(InputError, match=said) as error:
        find(server + path)
    assert "\n" not in str(error.value)


def test_a_server_that_is_gone_while_reading_ends_the_run(server: str) -> None:
    found = find(f"{server}/a.jsonl")
    Server.fails["/a.jsonl"] = (99, 500)
    with pytest.raises(InputError, match=r"cannot read .*/a\.jsonl: the server answers with status 500, 5 times"):
        texts(found)


def test_no_server_and_no_store_of_that_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "WAIT_SECONDS", 0.001)
    with pytest.raises(InputError, match=r"cannot read http://127\.0\.0\.1:1/a\.txt: .*, 5 times"):
        find("http://127.0.0.1:1/a.txt")
    with pytest.raises(InputError, match=r"cannot read nowhere://a/b\.txt: Protocol not known"):
        find("nowhere://a/b.txt")


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gcsfs", None)
    with pytest.raises(InputError, match=r"gs://a/b\.txt needs the package gcsfs: pip install gcsfs"):
        find("gs://a/b.txt")


def test_a_cache_is_filled_once(server: str, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    for _ in range(2):
        found = find(f"{server}/b.jsonl.gz", cache=cache)
        assert len(texts(found)) == 3000
    assert [path.read_bytes() for path in cache.iterdir()] == [FILES["/b.jsonl.gz"]]
    asked = len(Server.asked)
    assert len(texts(find(f"{server}/b.jsonl.gz", cache=cache))) == 3000
    assert len(Server.asked) == asked


def test_what_packages_of_stores_log_is_not_printed() -> None:
    """gcsfs logs a traceback where it gives up, and Python prints what nobody handles."""
    code = (
        "import logging; from danlu.readers import remote; remote._filesystem('memory://a', 'test')\n"
        "logging.getLogger('gcsfs').error('lost'); logging.getLogger('other').error('seen')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "seen\n")


class NoCredentialsError(Exception):
    """Called as botocore's."""


def test_a_path_is_no_address() -> None:
    assert remote.remote_url(Path("data/s3:/a")) is None
    assert remote.remote_url(Path("/s3/a")) is None
    assert remote.remote_url(Path("C:/a")) is None
    assert remote.remote_url(Path("s3://bucket/a")) == "s3://bucket/a"


class Breaking(io.BytesIO):
    """Gives ten bytes a read, and breaks at the third read of every opening but the fourth."""

    def __init__(self, opened: int, *, seeks: bool) -> None:
        super().__init__(bytes(range(100)))
        self.size = 100 if seeks else None
        self._reads = 0
        self._breaks = opened < 4

    def read(self, size: int | None = -1, /) -> bytes:
        self._reads += 1
        if self._breaks and self._reads == 3:
            raise ConnectionError("broken")
        return super().read(10)


@pytest.mark.parametrize("seeks", [True, False])
def test_reading_goes_on_at_the_byte_where_it_broke(monkeypatch: pytest.MonkeyPatch, seeks: bool) -> None:
    opened = []

    class Store:
        def open(self, *_: Any, **__: Any) -> Breaking:
            opened.append(1)
            return Breaking(len(opened), seeks=seeks)

    monkeypatch.setattr(remote, "WAIT_SECONDS", 0.001)
    monkeypatch.setattr(remote, "_filesystem", lambda *_: Store())
    with remote.RemoteFile("s3://a/b", 100, "").open() as stream:
        assert stream.read() == bytes(range(100))
    assert len(opened) == 4


def test_a_store_that_takes_its_time_to_fail_is_tried_twice(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "PATIENCE_SECONDS", 0.0)
    Server.fails["/a.jsonl"] = (99, 500)
    with pytest.raises(InputError, match=r"the server answers with status 500, 2 times$"):
        find(f"{server}/a.jsonl")


@pytest.mark.parametrize(
    "error", [OSError("Forbidden: a/b.txt\nno right to see it"), PermissionError("a/b.txt"), NoCredentialsError("none")]
)
def test_whoever_may_not_read_is_told_so_at_once(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    """As gcsfs, s3fs and botocore say it."""
    opened = []

    class Store:
        def open(self, *_: Any, **__: Any) -> Any:
            opened.append(1)
            raise error

    monkeypatch.setattr(remote, "_filesystem", lambda *_: Store())
    with pytest.raises(InputError, match=r"^cannot read s3://a/b: no credentials, or not [^\n]*$"):
        remote.RemoteFile("s3://a/b", 100, "").open().read()
    assert len(opened) == 1
