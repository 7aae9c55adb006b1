"""BERT in ten minutes on books: Danlu and Hugging Face's Trainer, judged by what fine-tuning makes of the two.

BERT of 4 layers, width 256, 4 heads, a WordPiece vocabulary of 8,192, rows of 128 tokens, no dropout, on English and
Chinese books. Each side has ten minutes of training, compilation not counted: Danlu its recipe, which is BERT's own
(masked tokens and next sentences), the Trainer what the ``run_mlm`` example of ``transformers`` does (texts joined and
cut into rows that need no padding, 15 % masked, AdamW, linear warm-up and decay over exactly the steps that fit),
compiled and in the number type that is the faster one here. Both take the same rows a step.

Then both folders are fine-tuned in the same way, by the Trainer, on SST-2 and ChnSentiCorp, with several seeds each;
so is the same model without any pretraining, for comparison. The learning rate of fine-tuning is for each the one of
two that does better on the development set of SST-2; a text is its first 64 tokens. Accuracy is that of the test sets.

The folder must have pretrain/en/books_en.jsonl.gz, pretrain/zh/classics_zh.jsonl.gz, classification/en/sst2 and
classification/zh/chnsenticorp.
"""

from __future__ import annotations

import argparse
import sys
import time
from itertools import pairwise
from pathlib import Path
from statistics import mean, median
from tempfile import TemporaryDirectory
from typing import Any

from classifiers import CHN_SENTI_CORP, SST2, Job, accuracies
from pretrain_sides import matrix_rates
from process import in_fresh_process
from report import Comparison, NotMeasuredError, compare, run_benchmark, say, say_machine, table

LAYERS, DIM, HEADS, VOCABULARY = 4, 256, 4, 8_192
SEQUENCE, BATCH = 128, 16
TRIAL_STEPS, TRIAL_WARMUP = 40, 15
TASKS, RATES = (SST2, CHN_SENTI_CORP), (1e-4, 2e-4)
RECIPE = """\
run_dir: {run_dir}
clean:
  sources:
    - {{path: {data}/pretrain/en/books_en.jsonl.gz, language: en, documents: {{use: blocks, characters: 4000}}}}
    - {{path: {data}/pretrain/zh/classics_zh.jsonl.gz, language: zh, documents: {{use: blocks, characters: 1000}}}}
tokenizer: {{use: wordpiece, vocab_size: {vocabulary}, sample_bytes: 20000000}}
pack: {{split: {{use: hash, fraction: 0.01}}, marks: [words, sentences]}}
pretrain:
  model: {{use: bert, layers: {layers}, dim: {dim}, heads: {heads}}}
  objective: {{use: nsp, rate: 0.3}}
  optimizer: {{use: adamw, lr: 0.001}}
  schedule: {{use: linear, warmup: 0.05}}
  sequence: {sequence}
  batch: {batch}
  budget: {{minutes: {minutes}}}
  evaluations: 3
export: {{}}
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="the folder with pretrain/ and classification/")
    parser.add_argument("--minutes", type=float, default=10, help="of pretraining, each side (default %(default)s)")
    parser.add_argument("--seeds", type=int, default=3, help="of fine-tuning (default %(default)s)")
    options = parser.parse_args()
    return run_benchmark(lambda: measure(options.data.resolve(), options.minutes, options.seeds))


def measure(data: Path, minutes: float, seeds: int) -> list[Comparison]:
    """Pretrain both, fine-tune both."""
    say_machine()
    with TemporaryDirectory(prefix="bert_books-") as temporary:
        run = Path(temporary) / "run"
        theirs = Path(temporary) / "trainer"
        in_fresh_process(danlu, data, run, minutes)
        rates, _ = in_fresh_process(matrix_rates)
        bf16 = rates["bf16"] > rates["fp32"]
        trial, _ = in_fresh_process(trainer, run, theirs, TRIAL_STEPS, bf16)
        steps = int(minutes * 60 / median(trial[TRIAL_WARMUP:]))
        say(f"Trainer: {median(trial[TRIAL_WARMUP:]) * 1e3:.0f} ms a step, {steps:,} steps of {BATCH} x {SEQUENCE}")
        seconds, _ = in_fresh_process(trainer, run, theirs, steps, bf16)
        say(f"Trainer: {sum(seconds):,.0f} s of training, the first step not counted")
        nothing = Path(temporary) / "untrained"
        in_fresh_process(untrained, run, nothing)
        found = judged({"Danlu": run / "export", "Trainer": theirs, "untrained": nothing}, data, seeds)
    return say_results(found)


def danlu(data: Path, run: Path, minutes: float) -> None:
    """All stages of the recipe."""
    from danlu.errors import DanluError
    from danlu.recipe import load_recipe
    from danlu.runs import run_stages

    run.parent.mkdir(exist_ok=True)
    recipe = run.parent / "bert_books.yaml"
    text = RECIPE.format(
        run_dir=run, data=data, vocabulary=VOCABULARY, layers=LAYERS, dim=DIM, heads=HEADS, sequence=SEQUENCE,
        batch=BATCH, minutes=minutes,
    )  # fmt: skip
    recipe.write_text(text, encoding="utf-8")
    try:
        loaded = load_recipe(recipe)
        done = run_stages(loaded, list(loaded.sections), say, begin=lambda _: None)
    except DanluError as error:
        raise NotMeasuredError(str(error)) from error
    say(f"Danlu: {done.figures('pretrain')}")


def trainer(run: Path, folder: Path, steps: int, bf16: bool) -> list[float]:
    """Pretrain with Hugging Face's Trainer, save to ``folder``; the seconds of each step but the first."""
    from transformers import DataCollatorForLanguageModeling, Trainer, TrainerCallback, TrainingArguments

    model, tokenizer = _fresh(run)
    marks = list[float]()

    class Clock(TrainerCallback):  # type: ignore[misc]
        def on_step_end(self, *args: Any, **kwargs: Any) -> None:
            marks.append(time.perf_counter())

    arguments = TrainingArguments(
        output_dir=str(folder), max_steps=steps, per_device_train_batch_size=BATCH, learning_rate=1e-3,
        warmup_steps=0.02, weight_decay=0.01, lr_scheduler_type="linear", torch_compile=True, bf16=bf16,
        optim="adamw_torch_fused", dataloader_pin_memory=False, disable_tqdm=True, logging_strategy="no",
        save_strategy="no", use_cpu=True, seed=1,
    )  # fmt: skip
    Trainer(
        model=model, args=arguments, train_dataset=_rows(run, tokenizer),
        data_collator=DataCollatorForLanguageModeling(tokenizer, mlm_probability=0.15), callbacks=[Clock()],
    ).train()  # fmt: skip
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return [after - before for before, after in pairwise(marks)]


def untrained(run: Path, folder: Path) -> None:
    """Save the model as the Trainer begins with it."""
    model, tokenizer = _fresh(run)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def _fresh(run: Path) -> tuple[Any, Any]:
    """BERT of the benchmark's shape as ``transformers`` draws it, and the tokenizer of the run."""
    import torch
    from transformers import AutoTokenizer, BertConfig, BertForMaskedLM

    torch.manual_seed(1)
    tokenizer = AutoTokenizer.from_pretrained(run / "tokenizer")
    config = BertConfig(
        vocab_size=len(tokenizer), hidden_size=DIM, num_hidden_layers=LAYERS, num_attention_heads=HEADS,
        intermediate_size=4 * DIM, max_position_embeddings=SEQUENCE, hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0, pad_token_id=tokenizer.pad_token_id,
    )  # fmt: skip
    return BertForMaskedLM(config), tokenizer


def _rows(run: Path, tokenizer: Any) -> list[dict[str, Any]]:
    """All texts as one stream, a separator between them, in rows that begin with the classifier's token."""
    import numpy as np

    from danlu.corpus.store import TokenStore

    store = TokenStore.open(run / "pack" / "train")
    stream = np.where(np.asarray(store.tokens) == store.eot, tokenizer.sep_token_id, store.tokens)
    width = SEQUENCE - 2
    rows = stream[: len(stream) // width * width].reshape(-1, width)
    return [{"input_ids": [tokenizer.cls_token_id, *row, tokenizer.sep_token_id]} for row in rows.tolist()]


def judged(folders: dict[str, Path], data: Path, seeds: int) -> dict[str, dict[str, list[float]]]:
    """Accuracies on the test sets by folder and task, one a seed, at each folder's best learning rate."""
    trials = [(name, rate) for name in folders for rate in RATES]
    on_dev = accuracies([Job(name, folders[name], data, SST2, "dev", rate, seed=1) for name, rate in trials])
    best = {
        name: max((accuracy, rate) for (other, rate), accuracy in zip(trials, on_dev, strict=True) if other == name)[1]
        for name in folders
    }
    say(f"learning rates of fine-tuning: {best}")
    runs = [(name, task, seed) for task in TASKS for name in folders for seed in range(1, seeds + 1)]
    on_test = accuracies([Job(name, folders[name], data, task, "test", best[name], seed) for name, task, seed in runs])
    found: dict[str, dict[str, list[float]]] = {name: {task.name: [] for task in TASKS} for name in folders}
    for (name, task, _), accuracy in zip(runs, on_test, strict=True):
        found[name][task.name].append(accuracy)
    return found


def say_results(found: dict[str, dict[str, list[float]]]) -> list[Comparison]:
    """Accuracies of all sides, task by task."""
    rows = [["task", *found, "Danlu - Trainer"]]
    comparisons = []
    for task in TASKS:
        ours, theirs = (found[name][task.name] for name in ("Danlu", "Trainer"))
        each = [sides[task.name] for sides in found.values()]
        rows.append([task.name, *(f"{mean(side):.4f} ({min(side):.4f} to {max(side):.4f})" for side in each),
                     f"{mean(ours) - mean(theirs):+.4f}"])  # fmt: skip
        comparisons.append(compare(f"ten minutes of BERT, then {task.name}: accuracy", ours, theirs, unit="accuracy"))
    say(f"\n{table(rows)}\n")
    for comparison in comparisons:
        say(f"{comparison.benchmark}: wanted more than the peer's: {'met' if comparison.ratio > 1 else 'MISSED'}")
    return comparisons


if __name__ == "__main__":
    sys.exit(main())
