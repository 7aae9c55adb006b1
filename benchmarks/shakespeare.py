"""Shakespeare, character by character: training seconds and validation loss of recipes/shakespeare.yaml.

The recipe runs as it stands, in a run folder of its own: 90 % of the text to train, and the loss over
the whole of the last 10 %. nanoGPT's figures, which use the same split, are cited from its README and
were NOT measured here: they stand beside ours for scale, not as a race on one machine.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from report import Comparison, NotMeasuredError, compare, run_benchmark, say, say_machine, table

from danlu.runs import RunFolder

ROOT = Path(__file__).resolve().parent.parent
STAGES = ("clean", "tokenizer", "pack", "pretrain", "evaluate")
TARGET_SECONDS, TARGET_LOSS = 180.0, 1.48


@dataclass(frozen=True)
class Cited:
    """What somebody else has published; nothing here was measured by this script."""

    name: str
    loss: float
    """Validation loss from a sample of batches, in nats a character."""
    time: str
    source: str


README = "README.md of https://github.com/karpathy/nanoGPT at commit 0110f3c8ab"
NANOGPT_CPU = Cited("nanoGPT's CPU recipe", 1.88, "about 3 minutes on a CPU", README)
NANOGPT_GPU = Cited("nanoGPT's GPU recipe", 1.4697, "about 3 minutes on an A100", README)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="settings that differ, such as seed=2")
    options = parser.parse_args()
    return run_benchmark(lambda: measure(options.overrides))


def measure(overrides: list[str]) -> list[Comparison]:
    """Run the recipe and read its figures."""
    say_machine()
    with TemporaryDirectory(prefix="shakespeare-") as temporary:
        folder = Path(temporary) / "run"
        for stage in STAGES:
            run_stage(stage, [*overrides, f"run_dir={folder}"])
        done = RunFolder(folder).done("pretrain") or {}
        return say_results({**done["figures"], "stage_seconds": done["seconds"]}, RunFolder(folder).figures("evaluate"))


def run_stage(stage: str, overrides: list[str]) -> None:
    """One stage as a user runs it, in a process of its own; what it says is shown.

    Raises:
        NotMeasuredError: it fails.
    """
    command = [sys.executable, "-m", "danlu", stage, "recipes/shakespeare.yaml", *overrides]
    done = subprocess.run(command, cwd=ROOT, check=False)
    if done.returncode:
        raise NotMeasuredError(f"danlu {stage} ended with exit code {done.returncode}")


def say_results(pretrain: dict[str, Any], evaluate: dict[str, Any]) -> list[Comparison]:
    """Ours beside what is wanted and what is cited."""
    whole_stage = pretrain["stage_seconds"]
    try:
        loss, seconds = float(evaluate["all.nats_per_token"]), float(pretrain["seconds"])
        steps, speed, characters = pretrain["steps"], pretrain["tokens_per_second"], evaluate["all.tokens"]
    except KeyError as error:
        raise NotMeasuredError(f"the run reports no figure {error}") from None
    rows = [["", "loss", "time", "measured"]]
    rows.append(["Danlu, recipes/shakespeare.yaml", f"{loss:.4f}", f"{seconds:.1f} s", "here"])
    rows += [[cited.name, f"{cited.loss}", cited.time, "no: cited"] for cited in (NANOGPT_CPU, NANOGPT_GPU)]
    say()
    say(table(rows))
    say(f"\n{steps:,} steps, {speed:,.0f} characters/s; the loss is the mean over all {characters:,} targets")
    say(f"cited from {NANOGPT_CPU.source}; there, losses are means over sampled batches")
    met = loss <= TARGET_LOSS
    say(f"loss {loss:.4f}; wanted at most {TARGET_LOSS}: {'met' if met else 'MISSED'}")
    met = seconds <= TARGET_SECONDS
    say(f"with compilation, timed first steps and saving the stage pretrain took {whole_stage:.1f} s")
    say(f"training {seconds:.1f} s; wanted at most {TARGET_SECONDS:.0f} s: {'met' if met else 'MISSED'}")
    name = f"shakespeare: validation loss / {NANOGPT_CPU.name} (cited, not measured)"
    return [compare(name, [loss], [NANOGPT_CPU.loss], unit="nats per character")]


if __name__ == "__main__":
    sys.exit(main())
