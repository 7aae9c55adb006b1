"""The other side of ``finetune_multi30k.py``, after the example ``run_translation`` of ``transformers``."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from statistics import mean
from typing import Any

TRIAL_SECONDS, WARMUP = 40.0, 3
"""How long steps are timed before a training, and how many are left out, the first ones."""
AT_ONCE = 50
"""Sentences that are translated together."""


@dataclass(frozen=True)
class Way:
    """How a peer trains."""

    batch: int
    arguments: Mapping[str, Any] = field(default_factory=dict)
    """Of ``Seq2SeqTrainingArguments``, beside its defaults."""


@dataclass(frozen=True)
class Fit:
    """What is trained, on what, how."""

    start: Path
    out: Path
    """The trained model."""
    train: tuple[list[str], list[str]]
    """Sources and translations."""
    way: Way
    longest: int
    seed: int


def trial(fit: Fit) -> float:
    """Seconds a step, by training for some; nothing is kept of it."""
    marks: list[float] = []
    _train(fit, 1_000_000, seconds=TRIAL_SECONDS, marks=marks)
    return mean(after - before for before, after in list(pairwise(marks))[WARMUP:])


def train(fit: Fit, steps: int, *, seconds: float) -> tuple[int, float]:
    """Train for so many steps, or until the time is over, and save; how many were done, and the seconds they took."""
    marks: list[float] = []
    model, tokenizer = _train(fit, steps, seconds=seconds, marks=marks)
    model.save_pretrained(fit.out)
    tokenizer.save_pretrained(fit.out)
    return len(marks) - 1, marks[-1] - marks[0]


def _train(fit: Fit, steps: int, *, seconds: float, marks: list[float]) -> tuple[Any, Any]:
    """The model and its tokenizer; ``marks`` gets the time of the beginning and of each step's end."""
    from transformers import (
        AutoModelForSeq2SeqLM,
        AutoTokenizer,
        DataCollatorForSeq2Seq,
        Seq2SeqTrainer,
        Seq2SeqTrainingArguments,
        TrainerCallback,
        set_seed,
    )

    class Clock(TrainerCallback):  # type: ignore[misc]
        def on_train_begin(self, *args: Any, **kwargs: Any) -> None:
            marks.append(time.perf_counter())

        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            marks.append(time.perf_counter())
            control.should_training_stop |= marks[-1] - marks[0] > seconds

    set_seed(fit.seed)
    tokenizer = AutoTokenizer.from_pretrained(fit.start)
    model = AutoModelForSeq2SeqLM.from_pretrained(fit.start)
    sources, targets = fit.train
    encoded = tokenizer(sources, text_target=targets, max_length=fit.longest, truncation=True)
    rows = [dict(zip(encoded, values, strict=True)) for values in zip(*encoded.values(), strict=True)]
    arguments = Seq2SeqTrainingArguments(
        output_dir=str(fit.out), max_steps=steps, seed=fit.seed, per_device_train_batch_size=fit.way.batch,
        use_cpu=True, save_strategy="no", logging_strategy="no", disable_tqdm=True, dataloader_pin_memory=False,
        **fit.way.arguments,
    )  # fmt: skip
    Seq2SeqTrainer(
        model=model, args=arguments, train_dataset=rows, processing_class=tokenizer,
        data_collator=DataCollatorForSeq2Seq(tokenizer, model=model), callbacks=[Clock()],
    ).train()  # fmt: skip
    return model, tokenizer


def translated(folder: Path, sources: Sequence[str], beams: int, longest: int) -> list[str]:
    """The translations by a folder's model, those of like length together."""
    import torch
    from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForSeq2SeqLM.from_pretrained(folder, dtype=torch.float32).eval()
    order = sorted(range(len(sources)), key=lambda number: len(sources[number]))
    found = [""] * len(sources)
    for start in range(0, len(order), AT_ONCE):
        numbers = order[start : start + AT_ONCE]
        batch = tokenizer([sources[number] for number in numbers], return_tensors="pt", padding=True)
        with torch.inference_mode():
            made = model.generate(**batch, num_beams=beams, max_new_tokens=longest, do_sample=False)
        texts = tokenizer.batch_decode(made, skip_special_tokens=True)
        for number, text in zip(numbers, texts, strict=True):
            found[number] = text.strip()
    return found
