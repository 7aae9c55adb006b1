"""Commands of their own, on small portions, which are struck on the way; and what they left in the end."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PROGRAM = """
import sys
from danlu import cli
from danlu.clean import stage
from danlu.corpus import portions

if __name__ == "__main__":
    stage.PORTION_BYTES, portions.FEWEST_BYTES = 40_000, 20_000
    sys.exit(cli.main())
"""
RECIPE = """
clean:
  sources: [{source}]
  rules: [empty, gopher_repetition, private]
  duplicates: [exact, minhash, lines, {{use: substrings, then: cut}}]
tokenizer: {{use: char}}
pack: {{split: {{fraction: 0.2}}}}
"""
Strike = Callable[[subprocess.Popen[str]], bool]
"""Does it; False where there was nothing to strike."""
MARKS = ("done.json", "begun.json", "ran.json")


def write_source(folder: Path) -> None:
    """Ten files in two languages, with copies, near copies, lines in common, private data, and what cannot be read."""
    draw = random.Random(7)
    folder.mkdir()
    words = ["".join(draw.choices("abcdefghijklmnop", k=draw.randint(2, 9))) for _ in range(800)]
    signs = [chr(number) for number in range(0x4E00, 0x4E00 + 600)]
    texts: list[str] = []
    for number in range(10):
        lines = []
        for _ in range(50):
            chinese = number % 2 == 1
            text = "".join(draw.choices(signs, k=300)) if chinese else " ".join(draw.choices(words, k=120))
            kind = draw.randrange(8)
            if kind == 0 and texts:
                text = draw.choice(texts)
            elif kind == 1 and texts:
                text = draw.choice(texts)[:-9] + text[:9]
            elif kind == 2:
                text += "\nThe same line stands under many of the documents here.\nMail li.ming@example.com now."
            texts.append(text)
            lines.append(json.dumps({"text": text if kind != 3 else ""}, ensure_ascii=False))
        lines.insert(draw.randrange(50), "this is no json")
        (folder / f"{number}.jsonl").write_text("\n".join(lines), encoding="utf-8")


@dataclass(frozen=True)
class Killing:
    """A recipe whose stages are struck, and what an undisturbed run of one process leaves, in ``whole``."""

    folder: Path
    seconds: dict[str, float]
    """Of the undisturbed run, by stage."""

    @classmethod
    def prepared(cls, folder: Path) -> Killing:
        """With the undisturbed run."""
        write_source(folder / "source")
        (folder / "program.py").write_text(PROGRAM)
        (folder / "r.yaml").write_text(RECIPE.format(source=folder / "source"))
        own = cls(folder, {})
        for stage in ("clean", "tokenizer", "pack"):
            began = time.monotonic()
            own.finish("whole", stage, 1)
            own.seconds[stage] = time.monotonic() - began
        return own

    def new(self, stage: str) -> str:
        """A run folder in which only the stages before are done."""
        name = f"struck-{stage}"
        shutil.rmtree(self.folder / name, ignore_errors=True)
        for before in {"clean": (), "pack": ("clean", "tokenizer")}[stage]:
            shutil.copytree(self.folder / "whole" / before, self.folder / name / before)
        return name

    def start(self, name: str, stage: str, workers: int) -> subprocess.Popen[str]:
        """The command, in a group of processes of its own."""
        settings = [] if stage == "tokenizer" else [f"{stage}.workers={workers}"]
        return subprocess.Popen(
            [sys.executable, "program.py", stage, "r.yaml", f"run_dir={self.folder / name}", *settings],
            cwd=self.folder, env={**os.environ, "OMP_NUM_THREADS": "1"}, start_new_session=True, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip

    def finish(self, name: str, stage: str, workers: int) -> str:
        """Run the command to its end; what it said."""
        process = self.start(name, stage, workers)
        said, errors = process.communicate(timeout=120)
        assert (process.returncode, errors) == (0, ""), said + errors
        return said

    def strike(
        self,
        name: str,
        stage: str,
        workers: int,
        randoms: random.Random,
        how: Strike,
        *,
        early: float = 0.1,
        within: float = 1.0,
    ) -> Struck | None:
        """Start, and strike at a random moment; None where it was over, and the next moments come sooner.

        Args:
            early: the share of strikes that may come before the stage begins, while Python starts.
            within: the share of an undisturbed run in which the moment lies.
        """
        process, began = self.start(name, stage, workers), time.monotonic()
        assert process.stdout is not None
        head = ""
        if randoms.random() >= early:
            head = process.stdout.readline()
            began += 0.7 * (time.monotonic() - began)
        longest = within * self.seconds[stage] * workers
        time.sleep(max(0.0, began + randoms.uniform(0.0, longest) - time.monotonic()))
        if process.poll() is not None:
            self.seconds[stage] *= 0.8  # the undisturbed run was slower than the machine is now
        struck = process.poll() is None and how(process)
        said, errors = process.communicate(timeout=120)
        return Struck(process.pid, process.returncode, head + said, errors) if struck else None

    def check(self, name: str, stage: str) -> None:
        """What is there is what an undisturbed run leaves, and no document is missing in the counts."""
        whole, found = (left(self.folder / each / stage) for each in ("whole", name))
        different = [key for key in whole | found if whole.get(key) != found.get(key)]
        assert not different, f"{name}/{stage}: {different}"
        files = [self.folder / each / stage / "done.json" for each in ("whole", name)]
        wanted, done = (json.loads(file.read_text(encoding="utf-8")) for file in files)
        assert (wanted["outputs"], wanted["figures"]) == (done["outputs"], done["figures"])
        figures = done["figures"]
        if stage == "clean":
            came, *went = (figures[f"documents_{kind}"] for kind in ("in", "kept", "dropped", "quarantined"))
            assert came == sum(went) == 10 * 51
        else:
            shards = (self.folder / name / "clean").glob("documents-*.jsonl")
            documents = sum(shard.read_bytes().count(b"\n") for shard in shards)
            assert documents == sum(figures[f"{part}.documents"] for part in ("train", "heldout"))


@dataclass(frozen=True)
class Struck:
    """How a command ended."""

    group: int
    """Of its processes."""
    code: int
    said: str
    errors: str


def left(folder: Path) -> dict[str, bytes]:
    """All that is there, hidden files too, but for the marks, which have times in them."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.name not in MARKS)
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files} | {
        f"{path.relative_to(folder)}/": b"" for path in folder.rglob("*") if path.is_dir()
    }


def to_group(number: signal.Signals) -> Strike:
    """Strike all processes of a command at once."""

    def strike(process: subprocess.Popen[str]) -> bool:
        os.killpg(process.pid, number)
        return True

    return strike


def to_one(number: signal.Signals) -> Strike:
    """Strike the one that was started."""

    def strike(process: subprocess.Popen[str]) -> bool:
        os.kill(process.pid, number)
        return True

    return strike


def to_a_worker(randoms: random.Random) -> Strike:
    """Kill one of those that work for it, a random while after they are there."""

    def strike(process: subprocess.Popen[str]) -> bool:
        while process.poll() is None and not list(workers_of(process.pid)):
            time.sleep(0.005)
        time.sleep(randoms.uniform(0.0, 0.6))
        if found := sorted(workers_of(process.pid)):
            os.kill(randoms.choice(found), signal.SIGKILL)
        return bool(found)

    return strike


def workers_of(pid: int) -> Iterator[int]:
    """The processes that it has started to work for it."""
    children = Path(f"/proc/{pid}/task/{pid}/children")
    for child in children.read_text().split() if children.exists() else ():
        try:
            command = Path(f"/proc/{child}/cmdline").read_bytes()
        except FileNotFoundError:  # it has just ended
            continue
        if b"spawn_main" in command:
            yield int(child)


def alive_in_group(group: int) -> list[int]:
    """Processes of the group that are there yet."""
    found: list[Any] = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(fields[2]) == group and fields[0] != "Z":
            found.append(int(stat.parent.name))
    return found
