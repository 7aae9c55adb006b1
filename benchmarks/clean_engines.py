"""One pass of ``clean`` on each engine that could run it: MB/s, memory, start, order, a broken line, a killed process.

``python benchmarks/clean_engines.py FILE ...``: the files are JSON lines with a ``text``, plain or gzip-compressed; as
many megabytes of them as --megabytes says, in turn from each. Engines whose package is not installed are left out,
which is said. See docs/decisions/0036.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice, zip_longest
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from engine_sides import SIDES, kept, near_copies, written
from process import in_fresh_process
from report import Comparison, NotMeasuredError, compare, run_benchmark, say, say_machine, table

FILES = 8
"""That the text is spread over: engines that share out files have something to share out."""
LITTLE = 0.6
"""Megabytes of the text by which starting is timed; some for each file, for Daft refuses empty ones."""
COPIED, LONG = 100, 1000
"""Texts of a file whose near copies are looked for, those of so many characters."""
LIMIT = 240.0
"""Seconds that a side may take."""
PATIENCE = 4
"""A side that takes so many times as long after a kill as without, hangs."""


@dataclass(frozen=True)
class Done:
    """What became of a side."""

    seconds: float
    peak_bytes: int
    """Of all its processes together, pages that they share counted once."""
    code: int | None
    """None where it did not end in time."""
    said: str
    out: Path


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE")
    parser.add_argument("--megabytes", type=float, default=32, help="of text (default %(default)s)")
    parser.add_argument("--workers", type=int, default=2, help="processes of each side (default %(default)s)")
    parser.add_argument("--rounds", type=int, default=1, help="how often each is timed (default %(default)s)")
    parser.add_argument("--sides", nargs="+", choices=list(SIDES), default=list(SIDES), metavar="SIDE")
    options = parser.parse_args()
    if options.megabytes <= 0 or options.workers < 2 or options.rounds < 1:
        parser.error("--megabytes must be above 0, --workers at least 2, --rounds at least 1")
    return run_benchmark(lambda: measure(options))


def measure(options: argparse.Namespace) -> list[Comparison]:
    """Every side in turn; then what each does when something goes wrong."""
    say_machine()
    sides = [name for name in options.sides if _installed(name)]
    with TemporaryDirectory(prefix="engines-") as temporary:
        folder = Path(temporary)
        size, documents = spread(options.files, folder / "text", megabytes=options.megabytes)
        spread(options.files, folder / "little", megabytes=LITTLE)
        spread(options.files, folder / "broken", megabytes=LITTLE)
        _break(folder / "broken")
        say(
            f"text: {size / 1e6:.1f} MB, {documents:,} documents in {FILES} files; {options.workers} processes a side\n"
        )
        times: dict[str, list[Done]] = {name: [] for name in sides}
        for number in range(options.rounds):
            for name in sides[:: -1 if number % 2 else 1]:
                out = folder / f"{name}-{number}"
                times[name].append(run_side(name, folder / "text", out, options.workers))
                _check(name, times[name][-1])
                say(f"round {number + 1}: {name}: {size / 1e6 / times[name][-1].seconds:.2f} MB/s")
        texts = {name: kept(runs[0].out) for name, runs in times.items()}
        rows = [["side", "MB/s", "start s", "peak MB", "kept", "same texts", "order kept", "alike with 1 process"]]
        for name, runs in times.items():
            rows.append([
                name, f"{size / 1e6 / median(run.seconds for run in runs):.2f}",
                f"{run_side(name, folder / 'little', folder / f'{name}-little', options.workers).seconds:.1f}",
                f"{median(run.peak_bytes for run in runs) / 1e6:.0f}", f"{len(texts[name]):,}",
                _yes(Counter(texts[name]) == Counter(texts[sides[0]])), _yes(texts[name] == texts[sides[0]]),
                _yes(_alike(name, folder)),
            ])  # fmt: skip
        say(f"\n{table(rows)}\n")
        for name in sides:
            say(f"{name}, a line that is no JSON: {_after_a_broken_line(name, folder, options.workers)}")
            say(
                f"{name}, a process is killed: {_after_a_kill(name, folder, texts[name], times[name], options.workers)}"
            )
        if "Daft" in sides:
            for path in options.files:
                sample = [text for text in islice(_texts(path), COPIED) if len(text) >= LONG]
                found, _ = in_fresh_process(near_copies, sample)
                shares = ", ".join(f"{name} {share:.0%}" for name, share in found.items())
                say(f"near copies found by MinHash, {path.name}, {len(sample)} texts: {shares}")
    speeds = {name: [size / 1e6 / run.seconds for run in runs] for name, runs in times.items()}
    first, *others = sides
    return [compare(f"clean, one pass: {first} / {name}", speeds[first], speeds[name], unit="MB/s") for name in others]


def spread(files: Sequence[Path], out: Path, *, megabytes: float) -> tuple[int, int]:
    """Write so much text, from each of ``files`` in turn, into new ones; bytes and documents.

    Raises:
        NotMeasuredError: they have no text.
    """
    out.mkdir()
    size = documents = 0
    lines = [b""] * FILES
    for text in chain.from_iterable(zip_longest(*map(_texts, files))):
        if size >= megabytes * 1e6:
            break
        if text is not None:
            line = json.dumps({"text": text}, ensure_ascii=False).encode() + b"\n"
            lines[documents % FILES] += line
            size += len(line)
            documents += 1
    if not documents:
        raise NotMeasuredError(f"no text in {', '.join(map(str, files))}")
    for number, content in enumerate(lines):
        (out / f"{number}.jsonl").write_bytes(content)
    return size, documents


def _texts(path: Path) -> Iterator[str]:
    with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
        for line in file:
            yield json.loads(line)["text"]


def run_side(
    name: str, source: Path, out: Path, workers: int, *, kill_after: float = 0.0, limit: float = LIMIT
) -> Done:
    """A side in a session of its own; ``kill_after`` so many seconds its busiest helper is killed."""
    here = Path(__file__).parent
    code = f"import sys, engine_sides; engine_sides.call({name!r}, sys.argv[1], sys.argv[2], {workers})"
    paths = f"{here}:{here.parent}:{os.environ.get('PYTHONPATH', '')}"
    environ = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": paths}
    log = out.with_suffix(".log")
    began = time.perf_counter()
    with (
        log.open("wb") as said,
        subprocess.Popen(
            [sys.executable, "-c", code, str(source), str(out)],
            env=environ,
            stdout=said,
            stderr=said,
            start_new_session=True,
        ) as process,
    ):
        peak, killed = 0, False
        while process.poll() is None and time.perf_counter() - began < limit:
            members = _session(process.pid)
            peak = max(peak, sum(map(_memory, members)))
            if kill_after and not killed and time.perf_counter() - began > kill_after:
                killed = _kill_busiest([member for member in members if member != process.pid])
            time.sleep(0.1)
        seconds, ended = time.perf_counter() - began, process.poll()
        for member in _session(process.pid):
            _send(member, signal.SIGKILL)
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    if kill_after and not killed:
        raise NotMeasuredError(f"{name}: no helper to kill after {kill_after:.0f} s")
    return Done(seconds, peak, ended, lines[-1] if lines else "", out)


def _session(leader: int) -> list[int]:
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            if os.getsid(int(path.name)) == leader:
                found.append(int(path.name))
        except OSError:
            continue
    return found


def _memory(process: int) -> int:
    """Its proportional set size in bytes."""
    try:
        lines = Path(f"/proc/{process}/smaps_rollup").read_text(encoding="ascii").splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:")), 0)


def _kill_busiest(helpers: Sequence[int]) -> bool:
    """Kill the one that has computed most, which is one that applies the rules."""
    times = {helper: _ticks(helper) for helper in helpers}
    busiest = max(times, key=lambda helper: times[helper], default=None)
    return busiest is not None and times[busiest] > 0 and _send(busiest, signal.SIGKILL)


def _ticks(process: int) -> int:
    try:
        fields = Path(f"/proc/{process}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except OSError:
        return 0
    return int(fields[11]) + int(fields[12])


def _send(process: int, number: int) -> bool:
    try:
        os.kill(process, number)
    except OSError:
        return False
    return True


def _installed(name: str) -> bool:
    package = SIDES[name][1]
    there = package is None or importlib.util.find_spec(package) is not None
    if not there:
        say(f"{name}: left out, for {package} is not installed")
    return there


def _check(name: str, done: Done) -> None:
    if done.code != 0:
        raise NotMeasuredError(f"{name} ended with {done.code}: {done.said}")


def _break(source: Path) -> None:
    """Put a line that is no JSON into the middle of the first file."""
    path = source / "0.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[:1], b'{"text": "no end\n', *lines[1:]]))


def _alike(name: str, folder: Path) -> bool:
    """Whether one process writes what several have written, file by file."""
    out = folder / f"{name}-one"
    _check(name, run_side(name, folder / "little", out, 1))
    return _files(out) == _files(folder / f"{name}-little")


def _files(out: Path) -> list[str]:
    """The digests of what a side has written; Daft and Ray Data name files by chance."""
    return sorted(hashlib.sha256(path.read_bytes()).hexdigest() for path in written(out) if path.stat().st_size)


def _after_a_broken_line(name: str, folder: Path, workers: int) -> str:
    done = run_side(name, folder / "broken", folder / f"{name}-broken", workers)
    if done.code != 0:
        return f"the run fails: {done.said[:150]}"
    lost = len(kept(folder / f"{name}-little")) - len(kept(done.out))
    counted = (done.out / "clean/quarantine.jsonl").exists()
    return f"{lost} other documents lost; {'the line is in quarantine.jsonl' if counted else 'no count of it'}"


def _after_a_kill(name: str, folder: Path, texts: list[str], times: Sequence[Done], workers: int) -> str:
    usual, out = median(run.seconds for run in times), folder / f"{name}-killed"
    done = run_side(name, folder / "text", out, workers, kill_after=0.6 * usual, limit=PATIENCE * usual)
    if done.code is None:
        return f"it hangs: ended after {done.seconds:.0f} s, where {usual:.0f} s are usual"
    if done.code != 0:
        return f"the run ends with code {done.code}: {done.said[:150]}"
    same = "the same texts" if Counter(kept(out)) == Counter(texts) else "OTHER texts"
    return f"it goes on and ends with {same}, in {done.seconds:.0f} s, where {usual:.0f} s are usual"


def _yes(value: bool) -> str:
    return "yes" if value else "no"


if __name__ == "__main__":
    sys.exit(main())
