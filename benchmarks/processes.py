"""Two processes of one thread each beside one process of two: tokens a second of the same training.

A decoder of 6 layers, width 384, 6 heads, vocabulary 8192, 8 rows of 512 tokens a step, on the text of corpora/, with
AdamW and with Muon. Both sides are ``danlu pretrain`` as a user calls it, the one of two processes by
``torchrun --nproc-per-node 2``; they take turns. The first steps, in which torch.compile works, are left out.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from bilingual import CORPORA, RECIPE, pack_corpora
from process import in_fresh_process
from report import Comparison, NotMeasuredError, compare, run_benchmark, say, say_machine, table

from danlu.log import read_metrics

TARGET = 0.9
"""Of the throughput of one process with two threads."""
WARMUP = 6
"""Steps that are left out."""
OPTIMIZERS = {"AdamW": "{use: adamw, lr: 0.001}", "Muon": "{use: muon}"}
PRETRAIN = """\
pretrain:
  model: {{use: gpt, layers: 6, dim: 384, heads: 6}}
  optimizer: {optimizer}
  sequence: 512
  batch: 8
  budget: {{steps: {steps}}}
  evaluations: 0
  save: {{minutes: null}}
  compile: on
"""
VOCABULARY = 8192


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3, help="how often each side runs (default %(default)s)")
    parser.add_argument("--steps", type=int, default=24, help="steps of a training (default %(default)s)")
    options = parser.parse_args()
    if options.rounds < 1 or options.steps < 2 * WARMUP:
        parser.error(f"--rounds must be at least 1 and --steps {2 * WARMUP}")
    return run_benchmark(lambda: measure(options.rounds, options.steps))


def measure(rounds: int, steps: int) -> list[Comparison]:
    """Both sides in turn, with each optimizer."""
    say_machine()
    comparisons = []
    rows = [["optimizer", "2 processes, tokens/s", "1 process, tokens/s", "ratio", "spread"]]
    with TemporaryDirectory(prefix="processes-") as temporary:
        packed, _ = in_fresh_process(pack_corpora, Path(temporary), vocab_size=VOCABULARY)
        for name, optimizer in OPTIMIZERS.items():
            paces: dict[int, list[float]] = {1: [], 2: []}
            for number in range(rounds):
                for processes in (2, 1) if number % 2 else (1, 2):
                    run_dir = Path(temporary) / f"{name}-{number}-{processes}"
                    pace = train(run_dir, packed.parent, PRETRAIN.format(optimizer=optimizer, steps=steps), processes)
                    paces[processes].append(pace)
                    say(f"round {number + 1}, {name}: {processes} of {2 // processes}: {pace:,.0f} tokens/s")
            comparison = compare(f"two processes / two threads, {name}", paces[2], paces[1], unit="tokens/s")
            comparisons.append(comparison)
            least, greatest = comparison.spread
            rows.append([name, *(f"{median(paces[count]):,.0f}" for count in (2, 1)), f"{comparison.ratio:.2f}",
                         f"{least:.2f} to {greatest:.2f}"])  # fmt: skip
    say(f"\n{table(rows)}\n")
    for comparison in comparisons:
        met = "met" if comparison.ratio >= TARGET else "MISSED"
        say(f"{comparison.benchmark}: {comparison.ratio:.2f}; wanted at least {TARGET}: {met}")
    return comparisons


def train(run_dir: Path, packed: Path, pretrain: str, processes: int) -> float:
    """Tokens a second of one training in a run folder of its own, over the steps after those that warm up.

    Raises:
        NotMeasuredError: it fails.
    """
    run_dir.mkdir()
    for stage in ("clean", "tokenizer", "pack"):
        (run_dir / stage).symlink_to(packed / stage)
    recipe = run_dir.with_suffix(".yaml")
    before = RECIPE.format(run_dir=run_dir, corpora=CORPORA, vocab_size=VOCABULARY)
    recipe.write_text(before + pretrain, encoding="utf-8")
    launch = ["-m", "torch.distributed.run", "--nproc-per-node", str(processes)] if processes > 1 else []
    command = [sys.executable, *launch, "-m", "danlu", "pretrain", str(recipe)]
    environment = {**os.environ, "OMP_NUM_THREADS": str(2 // processes), "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise NotMeasuredError(f"{' '.join(command[1:])} ended with {done.returncode}: {done.stderr.strip()[-500:]}")
    lines = read_metrics(run_dir / "pretrain")
    first, last = lines[WARMUP - 1], lines[-1]
    return float((last["tokens"] - first["tokens"]) / (last["seconds"] - first["seconds"]))


if __name__ == "__main__":
    sys.exit(main())
