"""Models by name, from a hub of our own on this machine."""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from danlu.errors import InputError
from danlu.nn.hf.hub import locate

huggingface_hub = pytest.importorskip("huggingface_hub")

COMMIT = "0123456789abcdef0123456789abcdef01234567"
FILES = {
    "config.json": b"{}",
    "model.safetensors": b"weights",
    "tokenizer.json": b"{}",
    "chat_template.jinja": b"{{ messages }}",
    "1_Pooling/config.json": b"{}",
    "vocab.txt": b"a",
    "pytorch_model.bin": b"a pickle",
    "model.pt": b"a pickle",
    "modeling_odd.py": b"raise SystemExit('code was run')",
    "README.md": b"words",
    "onnx/model.onnx": b"another form",
    "onnx/config.json": b"{}",
    "consolidated.safetensors": b"the same again",
}


class Hub(BaseHTTPRequestHandler):
    """As much of the hub's API as fetching a model needs."""

    asked: list[str]

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        self.asked.append(path)
        if path.startswith("/api/models/org/model/tree/"):
            self._send(json.dumps(
                [{"type": "file", "path": name, "size": len(data), "oid": "0"} for name, data in FILES.items()]
            ).encode())  # fmt: skip
        elif path.startswith("/api/models/org/model"):
            siblings = [{"rfilename": name} for name in FILES]
            self._send(json.dumps({"id": "org/model", "sha": COMMIT, "siblings": siblings}).encode())
        elif path.removeprefix(f"/org/model/resolve/{COMMIT}/") in FILES:
            self._send(FILES[path.removeprefix(f"/org/model/resolve/{COMMIT}/")])
        else:
            self.send_response(404)
            self.send_header("X-Error-Code", "RepoNotFound")
            self.send_header("Content-Length", "0")
            self.end_headers()

    do_HEAD = do_GET

    def log_message(self, *_: object) -> None:
        pass

    def _send(self, data: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.send_header("ETag", f'"{hash(data)}"')
        self.send_header("X-Repo-Commit", COMMIT)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(data)


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[str]:
    """The address of a hub, whose cache is empty."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_PROGRESS_BARS", True)
    Hub.asked = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    huggingface_hub.close_session()
    server.shutdown()
    server.server_close()
    thread.join()


def names(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_fetches_weights_settings_and_tokenizers_only(hub: str) -> None:
    folder = locate("org/model", endpoint=hub)
    assert names(folder) == {
        "config.json", "model.safetensors", "tokenizer.json", "chat_template.jinja", "1_Pooling/config.json",
        "vocab.txt",
    }  # fmt: skip
    assert (folder / "model.safetensors").read_bytes() == b"weights"
    fetched = {path.rpartition("/")[2] for path in Hub.asked if "/resolve/" in path}
    assert not fetched & {"pytorch_model.bin", "model.pt", "modeling_odd.py", "model.onnx", "consolidated.safetensors"}


def test_what_was_fetched_before_is_there_without_a_network(hub: str, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = locate("org/model", endpoint=hub)
    assert locate("org/model", endpoint="http://127.0.0.1:9") == folder


@pytest.mark.usefixtures("hub")
def test_no_network_is_one_line_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    began = time.monotonic()
    with pytest.raises(InputError) as caught:
        locate("org/model", endpoint="http://127.0.0.1:9")  # where nobody listens
    assert time.monotonic() - began < 5
    assert str(caught.value).startswith(
        "there is no folder org/model, and it cannot be fetched from the hub: ConnectError"
    )
    assert "\n" not in str(caught.value)


@pytest.mark.usefixtures("hub")
def test_offline_mode_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    huggingface_hub.close_session()
    with pytest.raises(InputError, match=r"it cannot be fetched from the hub: OfflineModeIsEnabled"):
        locate("org/model")


def test_an_unknown_model_is_one_line(hub: str) -> None:
    with pytest.raises(InputError, match="there is no such model, or it is not open to everybody"):
        locate("org/nothing", endpoint=hub)


def test_a_folder_that_is_there_is_never_fetched(hub: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("org/model").mkdir(parents=True)
    assert locate("org/model", endpoint=hub) == Path("org/model")
    assert Hub.asked == []


@pytest.mark.parametrize("name", ["a/b/c", "../x", "/no/such/folder", "org/model.gguf/x", "org/mo del"])
def test_what_is_no_name_is_not_asked_for(name: str, hub: str) -> None:
    with pytest.raises(InputError, match=r"there is no file or folder .* \(a name on the hub looks like org/model\)"):
        locate(name, endpoint=hub)
    assert Hub.asked == []


def test_without_the_package_it_names_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(InputError, match=r"needs the package huggingface_hub: pip install huggingface_hub"):
        locate("org/model")


def test_a_name_without_an_organisation_is_asked_for(hub: str) -> None:
    with pytest.raises(InputError, match="there is no folder gpt2, and it cannot be fetched from the hub: there is no"):
        locate("gpt2", endpoint=hub)
