"""What a pretrained folder is worth: accuracy of the classifiers that Hugging Face's Trainer makes of it."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

from process import OFFLINE, environment
from report import NotMeasuredError, say

from danlu.orphans import end_with_parent

EPOCHS, BATCH, LONGEST = 2, 32, 64

Part = Literal["train", "dev", "test"]


@dataclass(frozen=True)
class Task:
    """A set of texts with labels."""

    name: str
    folder: str
    header: bool
    text: int
    """The column of the text."""
    label: int


SST2 = Task("SST-2", "classification/en/sst2", header=False, text=0, label=1)
CHN_SENTI_CORP = Task("ChnSentiCorp", "classification/zh/chnsenticorp", header=True, text=1, label=0)


@dataclass(frozen=True)
class Job:
    """One fine-tuning, and what it is judged by."""

    side: str
    """Whose model it is."""
    model: Path
    """A folder as ``save_pretrained`` writes it, with its tokenizer."""
    data: Path
    task: Task
    judged_on: Part
    rate: float
    """The learning rate's peak."""
    seed: int


def accuracies(jobs: list[Job]) -> list[float]:
    """Of each of them, in order; as many at once as there are cores, on one thread each, in fresh processes.

    Raises:
        NotMeasuredError: a file of a task is not there.
    """
    found = []
    with (
        environment(OFFLINE),
        ProcessPoolExecutor(
            os.cpu_count(), mp_context=get_context("spawn"), initializer=end_with_parent, max_tasks_per_child=1
        ) as pool,
    ):
        for job, accuracy in zip(jobs, pool.map(fine_tune, jobs), strict=True):
            say(f"{job.side}: {job.task.name} {job.judged_on}, {job.rate:g}, seed {job.seed}: {accuracy:.4f}")
            found.append(accuracy)
    return found


def fine_tune(job: Job) -> float:
    """Train a classifier on top of the folder; its accuracy."""
    import numpy as np
    import torch
    from transformers import (
        AutoModelForSequenceClassification,
        AutoTokenizer,
        DataCollatorWithPadding,
        Trainer,
        TrainingArguments,
        logging,
        set_seed,
    )
    from transformers.trainer_callback import PrinterCallback

    torch.set_num_threads(1)
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    set_seed(job.seed)
    tokenizer = AutoTokenizer.from_pretrained(job.model)
    model = AutoModelForSequenceClassification.from_pretrained(job.model, num_labels=2)
    train, judged = (
        [
            {**tokenizer(text, truncation=True, max_length=LONGEST), "label": label}
            for text, label in read_task(job.data, job.task, part)
        ]
        for part in ("train", job.judged_on)
    )
    with TemporaryDirectory() as temporary:
        arguments = TrainingArguments(
            output_dir=temporary, num_train_epochs=EPOCHS, per_device_train_batch_size=BATCH,
            per_device_eval_batch_size=64, learning_rate=job.rate, warmup_steps=0.1, lr_scheduler_type="linear",
            weight_decay=0.01, train_sampling_strategy="group_by_length", dataloader_pin_memory=False,
            disable_tqdm=True, logging_strategy="no", save_strategy="no", use_cpu=True, seed=job.seed,
        )  # fmt: skip
        judge = Trainer(
            model=model, args=arguments, train_dataset=train, processing_class=tokenizer,
            data_collator=DataCollatorWithPadding(tokenizer),
        )  # fmt: skip
        judge.remove_callback(PrinterCallback)
        judge.train()
        output: Any = judge.predict(judged)
    return float((np.argmax(output.predictions, axis=1) == output.label_ids).mean())


def read_task(data: Path, task: Task, part: Part) -> Iterator[tuple[str, int]]:
    """Texts and labels.

    Raises:
        NotMeasuredError: the file is not there.
    """
    path = data / task.folder / f"{part}.tsv"
    if not path.is_file():
        raise NotMeasuredError(f"{path} is missing")
    with path.open(encoding="utf-8", newline="") as file:
        for number, row in enumerate(csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE)):
            if task.header and number == 0:
                continue
            yield row[task.text], int(row[task.label])
