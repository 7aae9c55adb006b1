"""Models by name, from a hub of our own on this machine."""

from __future__ import annotations

import errno
import json
import shutil
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import safetensors.torch
import torch

from danlu.errors import InputError, OutputError
from danlu.nn.hf.hub import locate

huggingface_hub = pytest.importorskip("huggingface_hub")

COMMIT = "0123456789abcdef0123456789abcdef01234567"
WEIGHTS = safetensors.torch.save({"a": torch.ones(1)})
FILES = {
    "config.json": b"{}",
    "model.safetensors": WEIGHTS,
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


NOBODY = "http://127.0.0.1:9"
"""Where nobody listens."""


class Hub(BaseHTTPRequestHandler):
    """As much of the hub's API as fetching a model needs."""

    asked: list[str]
    status = 200
    """Of every answer, where it is another one."""

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        self.asked.append(path)
        if self.status != 200:
            self.send_response(self.status)
            self.send_header("Content-Length", "0")
            self.end_headers()
        elif path == "/api/models/org/gguf":
            siblings = [{"rfilename": name} for name in ("README.md", "m-Q8_0.gguf", "m-F16.gguf")]
            self._send(json.dumps({"id": "org/gguf", "sha": COMMIT, "siblings": siblings}).encode())
        elif path.startswith("/api/models/org/model/tree/"):
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
    assert (folder / "model.safetensors").read_bytes() == WEIGHTS
    fetched = {path.rpartition("/")[2] for path in Hub.asked if "/resolve/" in path}
    assert not fetched & {"pytorch_model.bin", "model.pt", "modeling_odd.py", "model.onnx", "consolidated.safetensors"}


def test_what_was_fetched_before_is_there_without_a_network_and_a_line_says_so(
    hub: str, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = locate("org/model", endpoint=hub)
    assert capsys.readouterr().out == ""
    assert locate("org/model", endpoint=NOBODY) == folder
    said = capsys.readouterr().out
    assert said.startswith("org/model: the hub is not reached (ConnectError: ") and said.count("\n") == 1
    assert said.endswith(f"); what was fetched before is used: {folder}\n")


@pytest.mark.parametrize("status", [401, 403, 500])
def test_what_was_fetched_before_is_no_answer_to_a_refusal(
    status: int, hub: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    locate("org/model", endpoint=hub)
    monkeypatch.setattr(Hub, "status", status)
    with pytest.raises(InputError, match="there is no folder org/model, and it cannot be fetched from the hub: "):
        locate("org/model", endpoint=hub)


def test_a_bug_is_not_answered_with_what_was_fetched_before(hub: str, monkeypatch: pytest.MonkeyPatch) -> None:
    locate("org/model", endpoint=hub)

    def fail(*_: object, **__: object) -> None:
        raise ValueError("a bug")

    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", fail)
    with pytest.raises(InputError, match="it cannot be fetched from the hub: ValueError: a bug"):
        locate("org/model", endpoint=NOBODY)


@pytest.mark.parametrize(("lost", "listed"), [
    ("model.safetensors", True), ("config.json", True), ("vocab.txt", True),
    ("model.safetensors", False), ("config.json", False),
])  # fmt: skip
def test_a_part_is_never_taken_for_the_whole(lost: str, listed: bool, hub: str) -> None:
    """Be it as a client leaves it that keeps a list of what there is, or as older ones do."""
    folder = locate("org/model", endpoint=hub)
    (folder / lost).unlink()
    if not listed:
        shutil.rmtree(folder.parent.parent / "trees")
    with pytest.raises(InputError, match=r"what was fetched before is not whole") as error:
        locate("org/model", endpoint=NOBODY)
    assert "\n" not in str(error.value)


def test_a_download_that_breaks_off_leaves_no_model(hub: str, monkeypatch: pytest.MonkeyPatch) -> None:
    locate("org/model", endpoint=hub)

    def fail(*_: object, **__: object) -> None:
        raise ConnectionResetError(errno.ECONNRESET, "Connection reset by peer")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", fail)
    with pytest.raises(InputError, match="it cannot be fetched from the hub: ConnectionResetError"):
        locate("org/model", endpoint=hub)


def test_a_full_disk_is_one_line(hub: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", fail)
    with pytest.raises(OutputError, match=r"cannot write to .*: no space left on the disk"):
        locate("org/model", endpoint=hub)


def test_of_gguf_files_one_has_to_be_chosen(hub: str) -> None:
    with pytest.raises(InputError) as error:
        locate("org/gguf", endpoint=hub)
    assert str(error.value) == (
        "org/gguf on the hub is 2 GGUF files; download one "
        "(hf download org/gguf m-F16.gguf --local-dir .) and name that file"
    )
    assert not any("/resolve/" in path for path in Hub.asked)


@pytest.mark.parametrize("place", ["~nosuchuser9/x", "a" * 5000])
def test_a_place_that_cannot_be_is_one_line(place: str, hub: str) -> None:
    with pytest.raises(InputError, match=r"there is no file or folder ~nosuchuser9/x|cannot be read: File name too lo"):
        locate(place, endpoint=hub)
    assert Hub.asked == []


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
def test_what_is_no_name_is_not_asked_for(name: str, hub: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # beside which there is no x
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
