"""Fine-tuning and prediction on a processor: Danlu beside Hugging Face, the same data and the same first weights.

sst2     MiniLM on SST-2: the time to the accuracy on dev that Trainer with its defaults reaches after 3 epochs
         (target: a quarter of its time, in the median of the seeds), and the accuracy on test (target: not lower)
predict  50,000 English texts classified by the model of sst2: danlu predict beside the transformers pipeline with
         batches of 32 (target: 4 times as fast)
chat     SmolLM2-135M learns 1,799 of Alpaca's conversations in English and Chinese by LoRA, once each, beside trl's
         SFTTrainer with peft: tokens a second (target: twice as many), peak memory (0.7), held-out loss (not higher);
         what is done stays in --work
multi30k English to German from scratch, T5-small's shape: BLEU of test2016 after 30 minutes of training each (target:
         5 points more than Seq2SeqTrainer's); an hour and a half for each seed: what is done stays in --work
own_bert BERTs pretrained by Danlu, then named entities (WNUT17, UNER-zh by characters) and CMRC2018: danlu finetune
         beside the examples of transformers with their settings (no target). Takes many hours, only where asked for;
         what is done stays in the folder --work

Data are read from a folder laid out as ``classification/en/sst2/train.tsv`` and ``instruct/en/alpaca_en_demo.json``;
what is missing is told and not measured.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import finetune_chat
import finetune_multi30k
import finetune_own_bert
import finetune_sst2
from forward_cpu import model_folder
from report import Comparison, run_benchmark, say_machine

PARTS = ("sst2", "predict", "chat", "multi30k", "own_bert")
USUAL = PARTS[:-1]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="the folder with the data")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=USUAL)
    parser.add_argument("--seeds", type=int, default=3, help="seeds of each side (default %(default)s)")
    parser.add_argument("--first", type=int, default=1, help="the first seed, of a run that is done in parts")
    parser.add_argument("--steps", type=int, default=0, help="of chat, for a dry run; by default one epoch")
    parser.add_argument("--held", type=int, default=200, help="of chat: conversations held out (default %(default)s)")
    parser.add_argument("--minutes", type=float, default=30, help="of multi30k: each training (default %(default)s)")
    parser.add_argument("--peers", nargs="+", choices=finetune_multi30k.WAYS, default=list(finetune_multi30k.WAYS),
                        help="of multi30k: Seq2SeqTrainer as it comes, or at T5's own rate (default both)")  # fmt: skip
    parser.add_argument("--problems", nargs="+", choices=list(finetune_own_bert.PROBLEMS),
                        default=list(finetune_own_bert.PROBLEMS), help="of own_bert (default all)")  # fmt: skip
    parser.add_argument("--pretraining", type=int, default=8000, help="of own_bert: steps (default %(default)s)")
    parser.add_argument("--work", type=Path, help="of chat, multi30k, own_bert: where it goes on when called again")
    options = parser.parse_args()
    if "own_bert" in options.parts and options.work is None:
        parser.error("own_bert needs --work")
    return run_benchmark(lambda: measure(options))


def measure(options: argparse.Namespace) -> list[Comparison]:
    """The parts in turn; the model of the first serves the second."""
    data, parts = options.data.resolve(), options.parts
    seeds = range(options.first, options.first + options.seeds)
    say_machine()
    comparisons: list[Comparison] = []
    with TemporaryDirectory(prefix="finetune-") as temporary:
        out = Path(temporary)
        if "sst2" in parts:
            comparisons += finetune_sst2.measure(finetune_sst2.Job(data, model_folder(), out), seeds=seeds)
        if "predict" in parts:
            comparisons += finetune_sst2.measure_predictions(finetune_sst2.Job(data, model_folder(), out))
        if "chat" in parts:
            kept = options.work.resolve() / "chat" if options.work else out
            comparisons += finetune_chat.measure(data, out, kept, seeds=seeds, steps=options.steps, held=options.held)
        if "multi30k" in parts:
            folder = options.work.resolve() / "multi30k" if options.work else out
            translation = finetune_multi30k.Job(
                data / "translation/en-de/multi30k", folder, options.minutes, options.peers
            )
            comparisons += finetune_multi30k.measure(translation, seeds=seeds)
    if "own_bert" in parts:
        own = finetune_own_bert.Job(data, options.work.resolve(), options.pretraining, options.problems)
        comparisons += finetune_own_bert.measure(own, seeds=seeds)
    return comparisons


if __name__ == "__main__":
    sys.exit(main())
