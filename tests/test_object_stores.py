"""S3 and Google Cloud Storage end to end: cleaning, trainings and verifying from a bucket, and what fails on the way.

Amazon's is moto, Google's gcp-storage-emulator, each a server in this process that s3fs and gcsfs talk to:
``pip install 'moto[s3]' flask flask-cors s3fs gcsfs gcp-storage-emulator``. Between them stands a door that can be
shut, or shut in the middle of an answer.
"""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest

from danlu.cli import main
from danlu.corpus.elsewhere import bring
from danlu.corpus.store import TokenStore
from danlu.corpus.store_writer import StoreWriter
from danlu.errors import InputError
from danlu.readers import remote
from danlu.readers.record import Raw
from danlu.readers.sources import Source, find_files
from danlu.text.document import Document

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")

BUCKET = "danlu-bucket"


class Door:
    """A TCP proxy before a server; ``most`` is how many bytes of each connection's answers come through."""

    def __init__(self, port: int) -> None:
        self.most: int | None = None
        self.connections = 0
        self._behind = port
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self._socket.accept()
            except OSError:
                return
            self.connections += 1
            server = socket.create_connection(("127.0.0.1", self._behind))
            for source, sink, counted in ((client, server, False), (server, client, True)):
                threading.Thread(target=self._pass, args=(source, sink, counted), daemon=True).start()

    def _pass(self, source: socket.socket, sink: socket.socket, counted: bool) -> None:
        passed = 0
        try:
            while content := source.recv(1 << 16):
                if counted and self.most is not None:
                    content = content[: max(0, self.most - passed)]
                    passed += len(content)
                sink.sendall(content)
                if counted and self.most is not None and passed >= self.most:
                    break
        except OSError:
            pass
        for each in (source, sink):
            try:
                each.shutdown(socket.SHUT_RDWR)
            except OSError:
                each.close()

    def close(self) -> None:
        """Nobody comes through any more, nor is there anyone to ask."""
        if self._socket.fileno() >= 0:
            self._socket.shutdown(socket.SHUT_RDWR)
            self._socket.close()


@dataclass
class Cloud:
    """A bucket and how to reach it."""

    address: str
    """``s3://BUCKET`` or ``gs://BUCKET``."""
    port: int
    """Of the server itself."""
    door: Door
    direct: Any
    """A file system that does not go through the door."""

    def put(self, name: str, content: bytes) -> None:
        self.direct.pipe_file(f"{BUCKET}/{name}", content)

    def put_folder(self, folder: Path, name: str) -> None:
        for path in folder.rglob("*"):
            if path.is_file():
                self.put(f"{name}/{path.relative_to(folder).as_posix()}", path.read_bytes())


@pytest.fixture(scope="module")
def amazon() -> Iterator[int]:
    """The port of a server."""
    pytest.importorskip("aiobotocore", reason="s3fs is not installed with all that it needs (pip install s3fs)")
    server = pytest.importorskip(
        "moto.server", reason="moto is not installed (pip install 'moto[s3]' flask flask-cors)"
    )
    running = server.ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    running.start()
    yield running.get_host_and_port()[1]
    running.stop()


@pytest.fixture(scope="module")
def google() -> Iterator[int]:
    with pytest.MonkeyPatch.context() as patch:  # else gcsfs asks by gRPC, which the emulator lacks
        patch.setenv("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")
        pytest.importorskip("gcsfs", reason="gcsfs is not installed (pip install gcsfs)")
    server = pytest.importorskip(
        "gcp_storage_emulator.server", reason="its emulator is not installed (pip install gcp-storage-emulator)"
    )
    running = server.create_server("127.0.0.1", 0, in_memory=True, default_bucket=BUCKET)
    running.start()
    yield running._api._httpd.server_port
    running.stop()


def settings_of(protocol: str, port: int) -> dict[str, Any]:
    """As a user would write them into fsspec's configuration; no attempts of the package's own but one."""
    address = f"http://127.0.0.1:{port}"
    if protocol == "gs":
        return {"endpoint_url": address, "token": "anon"}
    return {"endpoint_url": address, "config_kwargs": {"retries": {"max_attempts": 1}, "connect_timeout": 5}}


@pytest.fixture(params=["s3", "gs"])
def cloud(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Cloud]:
    protocol: str = request.param
    port: int = request.getfixturevalue({"s3": "amazon", "gs": "google"}[protocol])
    for name, value in (("ACCESS_KEY_ID", "key"), ("SECRET_ACCESS_KEY", "secret"), ("DEFAULT_REGION", "us-east-1"),
                        ("EC2_METADATA_DISABLED", "true")):  # fmt: skip
        monkeypatch.setenv(f"AWS_{name}", value)
    monkeypatch.setattr(remote, "WAIT_SECONDS", 0.001)
    door = Door(port)
    monkeypatch.setitem(fsspec.config.conf, protocol, settings_of(protocol, door.port))
    direct = fsspec.filesystem(protocol, use_listings_cache=False, **settings_of(protocol, port))
    if not direct.exists(BUCKET):
        direct.mkdir(BUCKET)
    for name in direct.find(BUCKET):
        direct.rm_file(name)
    monkeypatch.chdir(tmp_path)
    yield Cloud(f"{protocol}://{BUCKET}", port, door, direct)
    door.close()
    fsspec.get_filesystem_class(protocol).clear_instance_cache()


@pytest.fixture
def in_a_hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """gcsfs waits between six attempts of its own, half a minute in all, s3fs between five."""

    async def sleep(*_: Any) -> None:
        pass

    monkeypatch.setattr("asyncio.sleep", sleep)
    monkeypatch.setattr(remote, "PATIENCE_SECONDS", 0.0)


def texts(address: str, **settings: Any) -> list[str]:
    found = find_files([Source(path=Path(address), **settings)], key="clean.sources")
    return [record.text for file in found.files for record in file.records() if isinstance(record, Raw)]


LINES = [f"line {number} of 从前有座山" for number in range(3000)]
JSONL = "".join(json.dumps({"text": line}) + "\n" for line in LINES).encode()


def test_a_bucket_a_folder_a_pattern_and_a_file(cloud: Cloud) -> None:
    cloud.put("a/one.jsonl", JSONL)
    cloud.put("a/deep/two.txt", "从前有座山".encode())
    cloud.put("b/three.jsonl", b'{"text": "three"}\n')
    assert texts(f"{cloud.address}/a/one.jsonl") == LINES
    assert texts(f"{cloud.address}/a") == ["从前有座山", *LINES]
    assert texts(f"{cloud.address}/*/*.jsonl") == [*LINES, "three"]
    assert texts(cloud.address) == ["从前有座山", *LINES, "three"]


def test_a_cache_is_filled_once_and_anew_when_the_file_changes(cloud: Cloud, tmp_path: Path) -> None:
    cloud.put("a.jsonl", JSONL)
    for _ in range(2):
        assert texts(f"{cloud.address}/a.jsonl", cache=tmp_path / "cache") == LINES
    [kept] = (tmp_path / "cache").iterdir()
    assert kept.read_bytes() == JSONL
    cloud.put("a.jsonl", JSONL.replace(b"line", b"LINE"))
    fsspec.get_filesystem_class(cloud.address.partition(":")[0]).clear_instance_cache()  # a later run
    assert texts(f"{cloud.address}/a.jsonl", cache=tmp_path / "cache")[0].startswith("LINE 0")
    assert len([*(tmp_path / "cache").iterdir()]) == 2


RECIPE = """
clean: {sources: [SOURCE]}
tokenizer: {use: char}
pack: {split: {use: hash, fraction: 0.2}}
pretrain:
  model: {use: gpt, layers: 1, dim: 16, heads: 2}
  sequence: 16
  batch: 4
  budget: {steps: 4}
  evaluations: 1
  compile: off
  precision: fp32
"""


def test_a_training_from_a_bucket_is_the_training_from_the_disk(
    cloud: Cloud, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Cleaned from a bucket, packed here, copied there, trained from there, and verified there."""
    cloud.put("texts/a.jsonl", JSONL[:30_000].rpartition(b"\n")[0])
    Path("recipe.yaml").write_text(RECIPE.replace("SOURCE", f"{cloud.address}/texts"), encoding="utf-8")
    assert main(["run", "recipe.yaml", "run_dir=here"]) == 0
    cloud.put_folder(Path("here/pack"), "pack")
    stores = [f"pack={json.dumps({'stores': f'{cloud.address}/pack', 'cache': 'cache'})}", "run_dir=there"]
    assert main(["run", "recipe.yaml", *stores]) == 0
    assert not any(path.name.startswith("tokens-") for path in Path("there/pack").rglob("*"))
    metrics = [
        [{name: line[name] for name in ("step", "loss", "grad_norm") if name in line} for line in lines(run)]
        for run in ("here", "there")
    ]
    assert metrics[0] == metrics[1] and len(metrics[0]) >= 4
    for path in Path("cache").glob("*/*.bin"):
        assert path.read_bytes() in [
            Path(f"here/pack/{part}/{path.name}").read_bytes() for part in ("train", "heldout")
        ]
    assert len([*Path("cache").glob("*/tokens-00000.bin")]) == 2
    capsys.readouterr()
    assert main(["verify", "store", f"{cloud.address}/pack"]) == 0
    assert [line.partition(": ")[0] for line in capsys.readouterr().out.splitlines()] == [
        f"{cloud.address}/pack/{part}" for part in ("heldout", "train")
    ]


def lines(run: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in Path(run, "pretrain/metrics.jsonl").read_text(encoding="utf-8").splitlines()]


SHARD = 1 << 21
"""Tokens, 4 MiB: four blocks."""


@pytest.fixture
def store(tmp_path: Path, cloud: Cloud) -> Path:
    """One that lies in the bucket too."""
    chance = np.random.default_rng(1)
    with StoreWriter(tmp_path / "store", vocab_size=500, eot=0, shard_tokens=SHARD) as writer:
        for number in range(5):
            writer.add(Document(f"a#{number}", "text"), chance.integers(1, 500, 500_000).astype("<u2"))
    cloud.put_folder(tmp_path / "store", "store")
    bring(f"{cloud.address}/store", tmp_path / "opened", tmp_path / "cache", 1 << 30)
    return tmp_path / "store"


@pytest.mark.usefixtures("in_a_hurry")
def test_a_download_that_is_cut_is_never_taken_for_whole(cloud: Cloud, store: Path, tmp_path: Path) -> None:
    """Each connection breaks after 0.9 MB: nothing has the shard's name until all is there."""
    whole = (store / "tokens-00000.bin").read_bytes()
    cloud.door.most = 900_000
    with pytest.raises(InputError) as caught:
        TokenStore.open(tmp_path / "opened").tokens[1]
    assert str(caught.value).startswith(f"cannot read {cloud.address}/store/tokens-00000.bin: ")
    assert "\n" not in str(caught.value) and [*(tmp_path / "cache").glob("*/*.bin")] == []
    [part] = (tmp_path / "cache").glob("*/.tokens-00000.bin.part")
    assert whole.startswith(part.read_bytes())
    cloud.door.most = None
    assert TokenStore.open(tmp_path / "opened").tokens[:SHARD].tobytes() == whole
    assert [path.read_bytes() for path in (tmp_path / "cache").glob("*/*.bin")] == [whole] and not part.exists()


@pytest.mark.usefixtures("in_a_hurry")
def test_a_source_that_is_cut_leaves_nothing_in_its_cache(cloud: Cloud, tmp_path: Path) -> None:
    content = b"".join(b'{"text": "%d"}\n' % number for number in range(400_000))
    cloud.put("a.jsonl", content)
    found = find_files([Source(path=Path(f"{cloud.address}/a.jsonl"), cache=tmp_path / "cache")], key="clean.sources")
    cloud.door.most = 900_000
    with pytest.raises(InputError, match=rf"^cannot read {cloud.address}/a\.jsonl: [^\n]*$"):
        [*found.files[0].records()]
    assert [*(tmp_path / "cache").iterdir()] == []
    cloud.door.most = None
    assert len([*found.files[0].records()]) == 400_000
    assert [path.read_bytes() for path in (tmp_path / "cache").iterdir()] == [content]


def test_lines_that_break_are_taken_up_where_they_broke(cloud: Cloud, store: Path, tmp_path: Path) -> None:
    """No connection lasts for a shard, and there is more than one shard."""
    cloud.door.most, before = 4_600_000, cloud.door.connections
    found = TokenStore.open(tmp_path / "opened")
    assert np.array_equal(found.tokens[:], TokenStore.open(store).tokens[:]) and len(found.tokens) > SHARD
    assert cloud.door.connections > before


def command(cloud: Cloud, verb: str, *overrides: str) -> int:
    Path("recipe.yaml").write_text(RECIPE.replace("SOURCE", f"{cloud.address}/none"), encoding="utf-8")
    return main([verb, "recipe.yaml", "run_dir=run", *overrides])


def one_line(capsys: pytest.CaptureFixture[str]) -> str:
    err = capsys.readouterr().err
    assert err.startswith("danlu: error: ") and err.count("\n") == 1
    return err.removeprefix("danlu: error: ").rstrip("\n")


def fails(cloud: Cloud, address: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    """In one line and with exit code 2, as text, as a store and to be verified; and nothing is half done."""
    protocol = cloud.address.partition(":")[0]
    for verb in ("clean", "verify"):
        capsys.readouterr()
        if verb == "clean":
            assert command(cloud, "clean", f'clean.sources=["{address}"]') == 2
        else:
            assert main(["verify", "store", address]) == 2
        line = one_line(capsys)
        assert said in line and f"{protocol}://" in line, line
    assert not Path("run/clean/done.json").exists()
    with pytest.raises(InputError) as caught:
        bring(address, Path("half"), Path("cache"), 1 << 30)
    assert said in str(caught.value) and "\n" not in str(caught.value)
    assert not any(Path("half").iterdir())


def test_no_such_file_and_no_such_bucket(cloud: Cloud, capsys: pytest.CaptureFixture[str]) -> None:
    fails(cloud, f"{cloud.address}/none", f"no file at {cloud.address}/none", capsys)
    elsewhere = f"{cloud.address}-of-nobody"
    fails(cloud, f"{elsewhere}/texts", f"no file at {elsewhere}/texts", capsys)


@pytest.mark.usefixtures("in_a_hurry")
def test_nobody_answers(cloud: Cloud, capsys: pytest.CaptureFixture[str]) -> None:
    cloud.door.close()
    fails(cloud, f"{cloud.address}/texts", f"cannot read {cloud.address}/texts", capsys)


def test_no_credentials(
    cloud: Cloud, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    protocol = cloud.address.partition(":")[0]
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE", "GOOGLE_APPLICATION_CREDENTIALS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path / "none"))
    monkeypatch.setenv("GCE_METADATA_HOST", "127.0.0.1:1")
    monkeypatch.setenv("GCE_METADATA_IP", "127.0.0.1:1")
    monkeypatch.setitem(fsspec.config.conf[protocol], "token" if protocol == "gs" else "anon",
                        "google_default" if protocol == "gs" else False)  # fmt: skip
    fails(cloud, f"{cloud.address}/texts", "no credentials, or not those that it asks for", capsys)
