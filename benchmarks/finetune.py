"""Fine-tuning and prediction on a processor: Danlu beside Hugging Face, the same data and the same first weights.

sst2     MiniLM on SST-2: the time to the accuracy on dev that Trainer with its defaults reaches after 3 epochs
         (target: a quarter of its time), and the accuracy on test (target: not lower)
predict  50,000 English texts classified by the model of sst2: danlu predict beside the transformers pipeline with
         batches of 32 (target: 4 times as fast)
chat     SmolLM2-135M learns 1,799 of Alpaca's conversations in English and Chinese by LoRA, once each, beside trl's
         SFTTrainer with peft: tokens a second (target: twice as many), peak memory (0.7), held-out loss (not higher)

Data are read from a folder laid out as ``classification/en/sst2/train.tsv`` and ``instruct/en/alpaca_en_demo.json``;
what is missing is told and not measured.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import finetune_chat
import finetune_sst2
from forward_cpu import model_folder
from report import Comparison, run_benchmark, say_machine

PARTS = ("sst2", "predict", "chat")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="the folder with the data")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--seeds", type=int, default=3, help="seeds of each side (default %(default)s)")
    parser.add_argument("--steps", type=int, default=0, help="of chat, for a dry run; by default one epoch")
    parser.add_argument("--held", type=int, default=200, help="of chat: conversations held out (default %(default)s)")
    options = parser.parse_args()
    return run_benchmark(lambda: measure(options))


def measure(options: argparse.Namespace) -> list[Comparison]:
    """The parts in turn; the model of the first serves the second."""
    data, parts = options.data, options.parts
    say_machine()
    comparisons: list[Comparison] = []
    with TemporaryDirectory(prefix="finetune-") as temporary:
        out = Path(temporary)
        if "sst2" in parts:
            comparisons += finetune_sst2.measure(finetune_sst2.Job(data, model_folder(), out), seeds=options.seeds)
        if "predict" in parts:
            comparisons += finetune_sst2.measure_predictions(finetune_sst2.Job(data, model_folder(), out))
        if "chat" in parts:
            comparisons += finetune_chat.measure(data, out, seeds=options.seeds, steps=options.steps, held=options.held)
    return comparisons


if __name__ == "__main__":
    sys.exit(main())
