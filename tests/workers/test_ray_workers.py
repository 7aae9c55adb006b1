"""``--ray`` of ``clean`` and ``pack``: the same files as of one process, also where a process of Ray is killed."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from danlu import cli
from danlu.clean.lineage import DECIDING
from danlu.errors import InputError
from danlu.workers.ray_workers import Greeting, RayWorker, versions

ROOT = Path(__file__).parents[2]
TWO_MACHINES = """
import sys
from ray.cluster_utils import Cluster
one = {"num_cpus": 1, "object_store_memory": 100 * 2**20}
cluster = Cluster(initialize_head=True, head_node_args=one)
cluster.add_node(**one)
print(cluster.address, flush=True)
sys.stdin.read()
cluster.shutdown()
"""
SLOW_RULE = """
import os, pathlib, time
import numpy
from danlu.corpus.split import HashSplit
from danlu.recipe import Choice

class Slow(Choice):
    told: str

    def make(self):
        (pathlib.Path(self.told) / str(os.getpid())).touch()
        def rule(document):
            time.sleep(0.02)
        return rule

class SlowSplit(HashSplit):
    told: str

    def parts(self, document):
        (pathlib.Path(self.told) / str(os.getpid())).touch()
        time.sleep(0.02)
        return super().parts(document)

class Learns(Choice):
    told: str

    def external_files(self):
        return []

    def learn(self):
        with open(self.told, "a") as file:
            file.write("once\\n")
        return {"longest": numpy.array([27])}, "learned"

    def rule(self, learned):
        return lambda document: "long" if len(document.text) > learned["longest"][0] else None

    def make(self):
        raise AssertionError("it is to learn before")
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A recipe, and sources with documents that repeat, that are empty and that cannot be read."""
    (tmp_path / "text").mkdir()
    (tmp_path / "told").mkdir()
    (tmp_path / "slow_rule.py").write_text(SLOW_RULE)
    for number in range(8):
        texts = [f"Document {number % 5} of the {place}th kind." for place in range(12)] + ["", "the same everywhere"]
        lines = [json.dumps({"text": text}) for text in texts]
        (tmp_path / f"text/{number}.jsonl").write_text("\n".join([*lines, "no json"]))
    (tmp_path / "recipe.yaml").write_text(
        "clean:\n"
        "  sources: [text]\n"
        f"  rules: [{{use: 'slow_rule:Slow', told: '{tmp_path}/told'}}, {{use: empty}},"
        f" {{use: 'slow_rule:Learns', told: '{tmp_path}/learned.txt'}}]\n"
        "  duplicates: [{use: exact}, {use: minhash}]\n"
        "tokenizer: {use: char}\n"
        f"pack: {{split: {{use: 'slow_rule:SlowSplit', fraction: 0.2, told: '{tmp_path}/told'}}}}\n"
    )
    # Portions are of megabytes, and tests have no such text: one a file for clean, several a shard for pack.
    (tmp_path / "small.py").write_text(
        "import sys\nimport danlu.clean.stage as stage\nfrom danlu import cli\nfrom danlu.corpus import portions\n"
        "if __name__ == '__main__':\n    stage.PORTION_BYTES = 600\n    portions.FEWEST_BYTES = 500\n"
        "    sys.exit(cli.main(sys.argv[1:]))\n"
    )
    return tmp_path


@contextmanager
def started(folder: Path, run: str, *arguments: str, verb: str = "clean") -> Iterator[subprocess.Popen[str]]:
    environ = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": f"{ROOT}:{folder}"}
    pipe = subprocess.PIPE
    command = [sys.executable, "small.py", verb, "recipe.yaml", f"run_dir={run}", *arguments]
    with subprocess.Popen(
        command, cwd=folder, env=environ, stdout=pipe, stderr=pipe, text=True, start_new_session=True
    ) as process:
        yield process
        process.kill()


def run_to_end(folder: Path, run: str, *arguments: str, verb: str = "clean") -> tuple[int, str, str]:
    with started(folder, run, *arguments, verb=verb) as process:
        out, err = process.communicate(timeout=120)
    return process.returncode, out, err


def outputs(folder: Path, run: str, stage: str = "clean") -> dict[str, str]:
    """Every file of the stage by its digest, but for what says when and where it ran."""
    place = folder / run / stage
    found = [path for path in sorted(place.rglob("*")) if path.is_file()]
    files = {str(path.relative_to(place)): hashlib.sha256(path.read_bytes()).hexdigest() for path in found}
    done = json.loads((place / "done.json").read_text())
    files["done.json"] = json.dumps([done["made_from"], done["outputs"], done["figures"]])
    return files


@pytest.fixture
def expected(folder: Path) -> dict[str, str]:
    """What one process makes of it."""
    code, _, err = run_to_end(folder, "one", "clean.workers=1")
    assert (code, err) == (0, "")
    found = outputs(folder, "one")
    assert len([name for name in found if name.startswith("documents-")]) > 3
    return found


@contextmanager
def two_machines() -> Iterator[str]:
    """The address of a cluster of two machines with one core each, which both are this one."""
    environ = {**os.environ, "RAY_USAGE_STATS_ENABLED": "0", "PYTHONWARNINGS": "ignore"}
    pipe = subprocess.PIPE
    with subprocess.Popen(
        [sys.executable, "-c", TWO_MACHINES], stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, text=True, env=environ
    ) as cluster:
        assert cluster.stdin is not None and cluster.stdout is not None
        yield cluster.stdout.readline().strip()
        cluster.stdin.close()
        cluster.wait(60)


def drafts(folder: Path, run: str, stage: str = "clean") -> int:
    return len(list((folder / run / stage / "drafts").glob("[0-9]*")))


def wait_for_drafts(
    folder: Path, run: str, process: subprocess.Popen[str], *, wanted: int, stage: str = "clean"
) -> None:
    until = time.monotonic() + 120
    while drafts(folder, run, stage) < wanted and time.monotonic() < until:
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)


@pytest.mark.cluster
def test_two_machines_make_what_one_process_makes(folder: Path, expected: dict[str, str]) -> None:
    pytest.importorskip("ray")
    code, _, err = run_to_end(folder, "two", "clean.workers=2")
    assert (code, err) == (0, "") and outputs(folder, "two") == expected
    for told in (folder / "told").iterdir():
        told.unlink()
    with two_machines() as address:
        code, out, err = run_to_end(folder, "ray", "--ray", address)
    assert (code, err) == (0, ""), out
    assert outputs(folder, "ray") == expected
    assert len(list((folder / "told").iterdir())) == 2  # each process has made the rule once
    assert (folder / "learned.txt").read_text() == "once\n" * 3, "in each of the three runs"
    assert run_to_end(folder, "ray")[1] == "clean: unchanged, skipped\n"


@pytest.mark.cluster
def test_what_a_killed_process_was_at_is_done_by_another(folder: Path, expected: dict[str, str]) -> None:
    pytest.importorskip("ray")
    for told in (folder / "told").iterdir():
        told.unlink()
    with started(folder, "killed", "--ray", "local", "clean.workers=2") as process:
        wait_for_drafts(folder, "killed", process, wanted=2)
        victims = [int(path.name) for path in (folder / "told").iterdir()]
        os.kill(victims[0], signal.SIGKILL)
        out, err = process.communicate(timeout=120)
    assert (process.returncode, err) == (0, ""), out
    assert len(victims) == 2 and len(list((folder / "told").iterdir())) == 3
    assert "clean: a process of Ray was lost at text/" in out
    assert outputs(folder, "killed") == expected


@pytest.mark.cluster
@pytest.mark.parametrize("first", ["ray", "processes"])
def test_a_stopped_run_goes_on_on_the_other_executor(first: str, folder: Path, expected: dict[str, str]) -> None:
    pytest.importorskip("ray")
    sides = {"ray": ["--ray", "local", "clean.workers=2"], "processes": ["clean.workers=2"]}
    with started(folder, "stopped", *sides[first]) as process:
        wait_for_drafts(folder, "stopped", process, wanted=2)
        os.killpg(process.pid, signal.SIGINT)
        out, err = process.communicate(timeout=120)
    assert (process.returncode, err) == (130, "danlu: stopped by Ctrl-C; the same command goes on from here\n"), out
    assert 2 <= drafts(folder, "stopped") < 8
    [second] = sides.keys() - {first}
    code, out, err = run_to_end(folder, "stopped", *sides[second])
    assert (code, err) == (0, ""), out
    assert outputs(folder, "stopped") == expected


@pytest.mark.cluster
@pytest.mark.parametrize(
    ("does", "problem"),
    [
        ("raise DanluError('not this one')", "not this one"),
        ("os.kill(os.getpid(), 9)", "--ray: 3 processes were lost at text/"),
    ],
)
def test_what_goes_wrong_each_time_is_one_line(does: str, problem: str, folder: Path) -> None:
    pytest.importorskip("ray")
    rule = SLOW_RULE.replace("time.sleep(0.02)", does)
    (folder / "slow_rule.py").write_text(f"from danlu.errors import DanluError\n{rule}")
    code, _, err = run_to_end(folder, "refused", "--ray", "local", "clean.workers=2")
    assert code == 2 and err.startswith(f"danlu: error: {problem}") and err.count("\n") == 1


@pytest.fixture
def cleaned(folder: Path) -> str:
    """A run that ``pack`` is to go on with; it is copied for each."""
    for verb in ("clean", "tokenizer"):
        code, _, err = run_to_end(folder, "cleaned", "clean.workers=1", verb=verb)
        assert (code, err) == (0, "")
    shutil.copytree(folder / "cleaned", folder / "one")
    code, _, err = run_to_end(folder, "one", "pack.workers=1", verb="pack")
    assert (code, err) == (0, "")
    for told in (folder / "told").iterdir():
        told.unlink()
    return "cleaned"


@pytest.mark.cluster
def test_two_machines_pack_what_one_process_packs(folder: Path, cleaned: str) -> None:
    pytest.importorskip("ray")
    shutil.copytree(folder / cleaned, folder / "ray")
    with two_machines() as address:
        code, out, err = run_to_end(folder, "ray", "--ray", address, verb="pack")
    assert (code, err) == (0, ""), out
    assert outputs(folder, "ray", "pack") == outputs(folder, "one", "pack")
    assert len(list((folder / "told").iterdir())) == 2
    assert run_to_end(folder, "ray", verb="pack")[1] == "pack: unchanged, skipped\n"


@pytest.mark.cluster
def test_what_a_killed_process_was_encoding_is_done_by_another(folder: Path, cleaned: str) -> None:
    pytest.importorskip("ray")
    shutil.copytree(folder / cleaned, folder / "killed")
    with started(folder, "killed", "--ray", "local", "pack.workers=2", verb="pack") as process:
        wait_for_drafts(folder, "killed", process, wanted=2, stage="pack")
        victims = [int(path.name) for path in (folder / "told").iterdir()]
        os.kill(victims[0], signal.SIGKILL)
        out, err = process.communicate(timeout=120)
    assert (process.returncode, err) == (0, ""), out
    assert "pack: a process of Ray was lost at documents-0" in out
    assert outputs(folder, "killed", "pack") == outputs(folder, "one", "pack")


@pytest.mark.cluster
def test_one_command_does_all_stages_on_the_cluster_and_here(folder: Path, cleaned: str) -> None:
    pytest.importorskip("ray")
    code, out, err = run_to_end(folder, "all", "--ray", "local", "clean.workers=2", "pack.workers=2", verb="run")
    assert (code, err) == (0, ""), out
    assert outputs(folder, "all", "pack") == outputs(folder, "one", "pack")


def test_a_machine_with_another_disk_or_another_danlu_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("danlu.workers.ray_workers.SECONDS_TO_APPEAR", 0.0)
    monkeypatch.chdir(tmp_path)
    here, mark = versions(DECIDING), tmp_path / "mark"
    blind = RayWorker().begin(Greeting(tmp_path / "nowhere", mark, here))
    assert blind is not None and isinstance(blind.error, InputError)
    seen = f"does not see {tmp_path}: run_dir and sources must lie on a disk that all machines share"
    assert str(blind.error).startswith("--ray: the machine ") and str(blind.error).endswith(seen)
    mark.touch()
    old = RayWorker().begin(Greeting(tmp_path, mark, {**here, "danlu": "0.0.1", "brotli": None, "numpy": "2.0.0"}))
    assert old is not None and str(old.error).endswith("; this one has danlu 0.0.1, brotli not, numpy 2.0.0")
    (tmp_path / "below").mkdir()
    assert RayWorker().begin(Greeting(tmp_path / "below", mark, here)) is None
    assert Path.cwd() == tmp_path / "below"


def test_without_ray_one_line_says_what_to_install(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(folder)
    assert cli.main(["clean", "recipe.yaml", "--ray", "local"]) == 2
    assert capsys.readouterr().err == "danlu: error: --ray needs the package ray: pip install ray\n"
