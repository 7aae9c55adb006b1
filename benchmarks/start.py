"""How long ``danlu --help`` takes, beside an interpreter that does nothing.

Wall time from start to end of the process, the median of 20 of each, in turn.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from pathlib import Path
from statistics import median

from report import Comparison, NotMeasuredError, compare, run_benchmark, say, say_machine, table

DANLU = Path(sys.executable).parent / "danlu"
COMMANDS = {"danlu --help": [str(DANLU), "--help"], "python -c pass": [sys.executable, "-c", "pass"]}
TARGET_SECONDS = 0.3


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=20, help="how often each command runs (default %(default)s)")
    options = parser.parse_args()
    if options.rounds < 1:
        parser.error("--rounds must be at least 1")
    return run_benchmark(lambda: measure(options.rounds))


def measure(rounds: int) -> list[Comparison]:
    """Run both commands in turn; one run of each before that is not timed, so that files are in memory."""
    say_machine()
    if not DANLU.exists():
        raise NotMeasuredError(f"no {DANLU}; install danlu into the interpreter that runs this")
    seconds: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for number in range(rounds + 1):
        for name, command in COMMANDS.items():
            wall = seconds_of(command)
            if number:
                seconds[name].append(wall)
    rows = [["command", "median s", "least", "greatest"]]
    for name, taken in seconds.items():
        rows.append([name, *(f"{value:.3f}" for value in (median(taken), min(taken), max(taken)))])
    say(table(rows))
    ours, bare = seconds.values()
    met = median(ours) <= TARGET_SECONDS
    say(f"\ndanlu --help: {median(ours):.3f} s; wanted at most {TARGET_SECONDS} s: {'met' if met else 'MISSED'}")
    return [compare("start: danlu --help / python -c pass", ours, bare, unit="s")]


def seconds_of(command: list[str]) -> float:
    """Wall time of one run.

    Raises:
        NotMeasuredError: it fails.
    """
    started = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    taken = time.perf_counter() - started
    if done.returncode:
        raise NotMeasuredError(f"{' '.join(command)} ended with {done.returncode}: {done.stderr.strip()[-200:]}")
    return taken


if __name__ == "__main__":
    sys.exit(main())
