"""A run folder: which stage is done, for which recipe and inputs, and who is working in it.

``runs/<name>/<stage>/`` is one folder a stage. ``begun.json`` names the fingerprint being worked
on, ``done.json`` (written last) the fingerprint, the hashes of the outputs and the figures. A
folder whose fingerprint no longer fits is moved to ``previous/``, so nothing is lost.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import platform
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, ClassVar

from danlu import __version__
from danlu.errors import InputError, OutputError, RunLockedError
from danlu.recipe import Recipe, Settings, plain

Figures = dict[str, Any]
"""A flat table of names and numbers (or strings) that a stage reports."""


@dataclass(frozen=True)
class Job:
    """What a stage is given: the recipe, the folders of the stages that it needs, its own folder."""

    recipe: Recipe
    inputs: Mapping[str, Path]
    out: Path

    @property
    def seed(self) -> int:
        return self.recipe.seed


class Stage(Settings):
    """A section of the recipe that does something: folders in, one folder out."""

    needs: ClassVar[tuple[str, ...]] = ()
    """Stages whose folders it reads; a change there runs it again."""
    resumable: ClassVar[bool] = False
    """Whether it can go on in a half-filled folder of its own; others start from an empty one."""

    def sources(self) -> list[Path]:
        """Files outside the run folder that it reads; their content is part of its fingerprint."""
        return []

    def run(self, job: Job) -> Figures:
        """Fill ``job.out`` and return the figures."""
        raise NotImplementedError(type(self).__name__)


@dataclass(frozen=True)
class RunFolder:
    """``runs/<name>``; everything here is plain files."""

    path: Path

    def stage(self, name: str) -> Path:
        return self.path / name

    def done(self, name: str) -> dict[str, Any] | None:
        """The stage's ``done.json``, or None where it has not finished."""
        return read_json(self.stage(name) / "done.json")

    def figures(self, name: str) -> Figures:
        return dict((self.done(name) or {}).get("figures", {}))

    def fingerprint(self, recipe: Recipe, name: str) -> str:
        """Hash of everything that decides the stage's output: settings, seed, version, inputs."""
        settings = recipe.section(name)
        assert isinstance(settings, Stage)
        inputs = {need: (self.done(need) or {}).get("outputs") for need in _needs(settings, recipe)}
        known = {
            "danlu": __version__,
            "seed": recipe.seed,
            "settings": plain(settings),
            "inputs": inputs,
            "sources": [[path.name, hash_file(path)] for path in settings.sources()],
        }
        return hashlib.sha256(json.dumps(known, sort_keys=True, default=str).encode()).hexdigest()

    def is_done(self, name: str, fingerprint: str) -> bool:
        """Whether the stage finished with this fingerprint and its outputs are still what they were."""
        done = self.done(name)
        if done is None or done.get("fingerprint") != fingerprint:
            return False
        folder = self.stage(name)
        return all(
            (folder / file).is_file() and hash_file(folder / file) == digest for file, digest in done["outputs"].items()
        )

    def begin(self, name: str, fingerprint: str, *, keep: bool) -> Path:
        """Make the stage's folder ready; ``keep`` leaves a half-done one of this fingerprint as it is."""
        folder = self.stage(name)
        begun = (read_json(folder / "begun.json") or {}).get("fingerprint")
        if folder.exists() and not (keep and begun == fingerprint):
            previous = self.path / "previous" / name
            shutil.rmtree(previous, ignore_errors=True)
            previous.parent.mkdir(parents=True, exist_ok=True)
            folder.rename(previous)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "done.json").unlink(missing_ok=True)
        write_json(folder / "begun.json", {"fingerprint": fingerprint})
        return folder

    def finish(self, name: str, fingerprint: str, figures: Figures, seconds: float) -> None:
        """Write ``done.json``: from here on the stage is skipped while nothing changes."""
        folder = self.stage(name)
        (folder / "begun.json").unlink(missing_ok=True)
        outputs = {str(path.relative_to(folder)): hash_file(path) for path in sorted(_outputs(folder))}
        done = {
            "stage": name,
            "fingerprint": fingerprint,
            "seconds": round(seconds, 3),
            "figures": figures,
            "outputs": outputs,
        }
        write_json(folder / "done.json", done)

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the folder for this process; the lock goes with the process, however it ends.

        Raises:
            RunLockedError: another process holds it.
            OutputError: the folder cannot be written.
        """
        with writing(self.path):
            self.path.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self.path / ".lock", os.O_RDWR | os.O_CREAT, 0o644)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                owner = os.read(descriptor, 100).decode() or "another process"
                raise RunLockedError(
                    f"{self.path} is in use by {owner}; wait for it to end or choose another folder with run_dir=…"
                ) from None
            os.truncate(descriptor, 0)
            os.pwrite(descriptor, f"process {os.getpid()} since {time.strftime('%H:%M:%S')}".encode(), 0)
            yield
        finally:
            os.close(descriptor)


def run_stages(
    recipe: Recipe, stages: Iterable[str], say: Callable[[str], None] = print, *, begin: Callable[[str], None] = print
) -> RunFolder:
    """Run ``stages`` in order in the recipe's folder, skipping those that are done.

    ``say`` gets a line a skipped or finished stage, ``begin`` the name of each that starts.
    """
    folder = RunFolder(recipe.run_dir)
    with folder.lock():
        with writing(folder.path):
            atomic_write(folder.path / "recipe.yaml", recipe.to_yaml().encode())
            write_json(folder.path / "env.json", environment())
        for name in stages:
            settings = recipe.section(name)
            assert isinstance(settings, Stage)
            inputs = {}
            for need in _needs(settings, recipe):
                if folder.done(need) is None:
                    raise InputError(f"{name} needs the output of {need}; run 'danlu {need}' first, or 'danlu run'")
                inputs[need] = folder.stage(need)
            fingerprint = folder.fingerprint(recipe, name)
            if folder.is_done(name, fingerprint):
                say(f"{name}: unchanged, skipped")
                continue
            begin(name)
            started = time.perf_counter()
            with writing(folder.stage(name)):
                out = folder.begin(name, fingerprint, keep=settings.resumable)
                figures = settings.run(Job(recipe, inputs, out))
                seconds = time.perf_counter() - started
                folder.finish(name, fingerprint, figures, seconds)
            say(f"{name}: done in {seconds:.1f} s")
    return folder


def _needs(settings: Stage, recipe: Recipe) -> tuple[str, ...]:
    return tuple(need for need in settings.needs if need in recipe.sections)


def _outputs(folder: Path) -> Iterator[Path]:
    """The files of a stage that others may read: not its own marks, not logs for people."""
    for path in folder.rglob("*"):
        if path.is_file() and path.name not in ("done.json", "begun.json") and "tensorboard" not in path.parts:
            yield path


def environment() -> dict[str, Any]:
    """What this run runs on: versions, hardware, commit."""
    packages = ("torch", "numpy", "tokenizers", "safetensors", "pyarrow", "pydantic")
    return {
        "danlu": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "packages": {name: metadata.version(name) for name in packages},
        "command": [Path(sys.argv[0]).name, *sys.argv[1:]],
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")


@contextmanager
def writing(place: Path) -> Iterator[None]:
    """Turn the operating system's refusals to write below ``place`` into one clear line."""
    reasons = {
        errno.ENOSPC: "no space left on the disk",
        errno.EDQUOT: "the disk quota is used up",
        errno.EACCES: "permission denied",
        errno.EPERM: "permission denied",
        errno.EROFS: "the file system is read-only",
        errno.ENOTDIR: "a part of the path is a file",
        errno.EEXIST: "a part of the path is a file",
    }
    try:
        yield
    except OSError as error:
        if error.errno not in reasons:
            raise
        raise OutputError(f"cannot write to {error.filename or place}: {reasons[error.errno]}") from error


def atomic_write(path: Path, data: bytes) -> None:
    """Write a file that appears whole or not at all, and is on the disk when this returns."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make renames inside ``folder`` durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_json(path: Path, value: Any) -> None:
    """Atomic, indented, readable JSON."""
    atomic_write(path, (json.dumps(value, indent=2, ensure_ascii=False, default=str) + "\n").encode())


def read_json(path: Path) -> dict[str, Any] | None:
    """The object in ``path``; None where there is no such file or it is not whole."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None
    return value if isinstance(value, dict) else None


def hash_file(path: Path) -> str:
    """SHA-256 of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
