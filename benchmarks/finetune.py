"""Fine-tuning and prediction on a processor: Danlu beside Hugging Face, the same data and the same first weights.

sst2     MiniLM on SST-2: the time to the accuracy on dev that Trainer with its defaults reaches after 3 epochs
         (target: a quarter of its time), and the accuracy on test (target: not lower)
predict  50,000 English texts classified by the model of sst2: danlu predict beside the transformers pipeline with
         batches of 32 (target: 4 times as fast)

Data are read from a folder laid out as ``classification/en/sst2/train.tsv``; what is missing is told and not measured.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import finetune_sst2
from forward_cpu import model_folder
from report import Comparison, run_benchmark, say_machine

PARTS = ("sst2", "predict")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="the folder with the data")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--seeds", type=int, default=3, help="seeds of each side (default %(default)s)")
    options = parser.parse_args()
    return run_benchmark(lambda: measure(options.data, options.parts, options.seeds))


def measure(data: Path, parts: list[str], seeds: int) -> list[Comparison]:
    """The parts in turn; the model of the first serves the second."""
    say_machine()
    comparisons: list[Comparison] = []
    with TemporaryDirectory(prefix="finetune-") as temporary:
        job = finetune_sst2.Job(data, model_folder(), Path(temporary))
        if "sst2" in parts:
            comparisons += finetune_sst2.measure(job, seeds=seeds)
        if "predict" in parts:
            comparisons += finetune_sst2.measure_predictions(job)
    return comparisons


if __name__ == "__main__":
    sys.exit(main())
