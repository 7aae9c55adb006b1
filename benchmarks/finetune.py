"""Fine-tuning and prediction on a processor: Danlu beside Hugging Face, the same data and the same first weights.

sst2     MiniLM on SST-2: the time to the accuracy on dev that Trainer with its defaults reaches after 3 epochs
         (target: a quarter of its time), and the accuracy on test (target: not lower)
predict  50,000 English texts classified by the model of sst2: danlu predict beside the transformers pipeline with
         batches of 32 (target: 4 times as fast)
multi30k English to German from scratch, T5-small's shape: BLEU of test2016 after 30 minutes of training each (target:
         5 points more than Seq2SeqTrainer's)
own_bert BERTs pretrained by Danlu, then named entities (WNUT17, UNER-zh by characters) and CMRC2018: danlu finetune
         beside the examples of transformers with their settings (no target). Takes many hours, only where asked for;
         what is done stays in the folder --work

Data are read from a folder laid out as ``classification/en/sst2/train.tsv``; what is missing is told and not measured.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import finetune_multi30k
import finetune_own_bert
import finetune_sst2
from forward_cpu import model_folder
from report import Comparison, run_benchmark, say_machine

PARTS = ("sst2", "predict", "multi30k", "own_bert")
USUAL = PARTS[:-1]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="the folder with the data")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=USUAL)
    parser.add_argument("--seeds", type=int, default=3, help="seeds of each side (default %(default)s)")
    parser.add_argument("--minutes", type=float, default=30, help="multi30k: of each training (default %(default)s)")
    parser.add_argument("--steps", type=int, default=8000, help="own_bert: of each pretraining (default %(default)s)")
    parser.add_argument("--work", type=Path, help="own_bert: a folder in which it goes on when it is called again")
    options = parser.parse_args()
    if "own_bert" in options.parts and options.work is None:
        parser.error("own_bert needs --work")
    return run_benchmark(lambda: measure(options))


def measure(options: argparse.Namespace) -> list[Comparison]:
    """The parts in turn; the model of the first serves the second."""
    say_machine()
    data, parts, seeds = options.data.resolve(), options.parts, options.seeds
    comparisons: list[Comparison] = []
    with TemporaryDirectory(prefix="finetune-") as temporary:
        job = finetune_sst2.Job(data, model_folder(), Path(temporary))
        if "sst2" in parts:
            comparisons += finetune_sst2.measure(job, seeds=seeds)
        if "predict" in parts:
            comparisons += finetune_sst2.measure_predictions(job)
        if "multi30k" in parts:
            folder = data / "translation/en-de/multi30k"
            comparisons += finetune_multi30k.measure(finetune_multi30k.Job(folder, Path(temporary), options.minutes))
    if "own_bert" in parts:
        own = finetune_own_bert.Job(data, options.work.resolve(), options.steps)
        comparisons += finetune_own_bert.measure(own, seeds=seeds)
    return comparisons


if __name__ == "__main__":
    sys.exit(main())
