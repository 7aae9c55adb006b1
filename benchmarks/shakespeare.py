"""Shakespeare in three minutes: training seconds and validation loss, by characters and by pieces of words.

recipes/shakespeare.yaml reads characters, as nanoGPT does; recipes/shakespeare_bpe.yaml the same text in 768 pieces of
words. Each runs as it stands, in a run folder of its own: 90 % of the text to train, and the loss over the whole of
the last 10 %, in nats a character for both: what all tokens cost over how many characters they stand for. nanoGPT's
figures, which use the same split, are cited from its README and were NOT measured here: they stand beside ours for
scale, not as a race on one machine.
"""

from __future__ import annotations

import argparse
import math
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from report import Comparison, NotMeasuredError, compare, run_benchmark, say, say_machine, table

from danlu.run_folder import RunFolder

ROOT = Path(__file__).resolve().parent.parent
STAGES = ("clean", "tokenizer", "pack", "pretrain", "evaluate")
RECIPES = ("shakespeare", "shakespeare_bpe")
TARGET_SECONDS, TARGET_LOSS = 180.0, 1.44


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


@dataclass(frozen=True)
class Run:
    """What a recipe gave."""

    loss: float
    """Nats a character."""
    seconds: float
    """Of training, without compilation, the first steps and saving."""
    stage_seconds: float
    """With them."""
    steps: int
    tokens: int
    """Held out."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="settings that differ, such as seed=2")
    parser.add_argument("--recipes", nargs="+", default=list(RECIPES), choices=RECIPES, help="by default both")
    options = parser.parse_args()
    return run_benchmark(lambda: measure(options.recipes, options.overrides))


def measure(recipes: list[str], overrides: list[str]) -> list[Comparison]:
    """Run the recipes, one after the other, and read their figures."""
    say_machine()
    runs = {}
    for recipe in recipes:
        with TemporaryDirectory(prefix="shakespeare-") as temporary:
            folder = Path(temporary) / "run"
            for stage in STAGES:
                run_stage(recipe, stage, [*overrides, f"run_dir={folder}"])
            runs[recipe] = read_run(folder)
    say_results(runs)
    return [
        compare(f"{recipe}: validation loss / {NANOGPT_CPU.name} (cited, not measured)", [run.loss],
                [NANOGPT_CPU.loss], unit="nats per character")
        for recipe, run in runs.items()
    ]  # fmt: skip


def run_stage(recipe: str, stage: str, overrides: list[str]) -> None:
    """One stage as a user runs it, in a process of its own; what it says is shown.

    Raises:
        NotMeasuredError: it fails.
    """
    command = [sys.executable, "-m", "danlu", stage, f"recipes/{recipe}.yaml", *overrides]
    done = subprocess.run(command, cwd=ROOT, check=False)
    if done.returncode:
        raise NotMeasuredError(f"danlu {stage} ended with exit code {done.returncode}")


def read_run(folder: Path) -> Run:
    """Its figures; the text is ASCII, so that a byte is a character.

    Raises:
        NotMeasuredError: one is missing.
    """
    run = RunFolder(folder)
    done, found = run.done("pretrain") or {}, run.figures("evaluate")
    try:
        trained = done["figures"]
        return Run(
            float(found["all.bits_per_byte"]) * math.log(2), float(trained["seconds"]), float(done["seconds"]),
            int(trained["steps"]), int(found["all.tokens"]),
        )  # fmt: skip
    except KeyError as error:
        raise NotMeasuredError(f"the run reports no figure {error}") from None


def say_results(runs: dict[str, Run]) -> None:
    """Ours beside what is wanted and what is cited."""
    rows = [["", "nats a character", "time", "measured"]]
    rows += [
        [f"Danlu, recipes/{name}.yaml", f"{run.loss:.4f}", f"{run.seconds:.1f} s", "here"] for name, run in runs.items()
    ]
    rows += [[cited.name, f"{cited.loss}", cited.time, "no: cited"] for cited in (NANOGPT_CPU, NANOGPT_GPU)]
    say(f"\n{table(rows)}\n")
    say(f"cited from {NANOGPT_CPU.source}; there, losses are means over sampled batches")
    for name, run in runs.items():
        say(f"{name}: {run.steps:,} steps; the loss is over all {run.tokens:,} targets")
        say(f"{name}: with compilation, timed first steps and saving the stage pretrain took {run.stage_seconds:.1f} s")
        met = "met" if run.loss <= TARGET_LOSS else "MISSED"
        say(f"{name}: loss {run.loss:.4f}; wanted at most {TARGET_LOSS}: {met}")
        met = "met" if run.seconds <= TARGET_SECONDS else "MISSED"
        say(f"{name}: training {run.seconds:.1f} s; wanted at most {TARGET_SECONDS:.0f} s: {met}")


if __name__ == "__main__":
    sys.exit(main())
