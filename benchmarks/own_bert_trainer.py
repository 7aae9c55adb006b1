"""The other side of ``finetune_own_bert.py``: the examples ``run_ner`` and ``run_qa`` of ``transformers``.

Their ways and their settings: no choice among checkpoints, AdamW without decay, a learning rate that falls in a line
from its peak, three epochs; 8 sentences a step at 5e-5, or 12 windows at 3e-5.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

EPOCHS = 3
NO_LABEL = -100
STRIDE, LONGEST_ANSWER, BEST = 128, 30, 20
"""Tokens that two windows share, tokens of an answer at most, and the starts and ends that are looked at."""


@dataclass(frozen=True)
class Fit:
    """What is trained, on what."""

    model: Path
    train: Sequence[Any]
    test: Sequence[Any]
    labels: tuple[str, ...]
    longest: int
    """Tokens that are read at once."""
    seed: int


@dataclass(frozen=True)
class Parts:
    """What a ``Trainer`` is given."""

    model: Any
    train: list[Any]
    test: list[Any]
    collator: Any


def tag(fit: Fit) -> list[list[str]]:
    """``run_ner``: the first token of a word is scored; the tags of each sentence of the test part."""
    from transformers import (
        AutoModelForTokenClassification,
        AutoTokenizer,
        DataCollatorForTokenClassification,
        set_seed,
    )

    set_seed(fit.seed)
    tokenizer = AutoTokenizer.from_pretrained(fit.model)
    model = AutoModelForTokenClassification.from_pretrained(fit.model, num_labels=len(fit.labels))
    place_of = {label: place for place, label in enumerate(fit.labels)}

    def read(example: Any) -> tuple[dict[str, Any], dict[int, int]]:
        """What the model reads, and the place of each word's first token."""
        encoded = tokenizer(list(example.tokens), is_split_into_words=True, truncation=True, max_length=fit.longest)
        first: dict[int, int] = {}
        for place, word in enumerate(encoded.word_ids()):
            if word is not None:
                first.setdefault(word, place)
        labels = [NO_LABEL] * len(encoded["input_ids"])
        for word, place in first.items():
            labels[place] = place_of[example.tags[word]]
        return {**encoded, "labels": labels}, first

    train, test = ([read(example) for example in part] for part in (fit.train, fit.test))
    parts = Parts(
        model, [features for features, _ in train], [features for features, _ in test],
        DataCollatorForTokenClassification(tokenizer),
    )  # fmt: skip
    scores = _trained(parts, tokenizer, batch=8, rate=5e-5, seed=fit.seed)
    found = []
    for example, (_, first), scores_TL in zip(fit.test, test, scores, strict=True):
        tags = ["O"] * len(example.tokens)  # also of what was cut off, or has no token
        for word, place in first.items():
            tags[word] = fit.labels[int(scores_TL[place].argmax())]
        found.append(tags)
    return found


def extract(fit: Fit) -> list[str]:
    """``run_qa``: the best part of each context of the test part."""
    from transformers import AutoModelForQuestionAnswering, AutoTokenizer, default_data_collator, set_seed

    set_seed(fit.seed)
    tokenizer = AutoTokenizer.from_pretrained(fit.model)
    model = AutoModelForQuestionAnswering.from_pretrained(fit.model)
    keys = [*tokenizer.model_input_names]
    train, test, contexts = [], [], []
    for example in fit.train:
        answer = next((each for each in example.answers if each.start is not None), None)
        if answer is None:  # one that is not in its context
            continue
        for window, offsets in _windows(tokenizer, example, fit.longest):
            first, last = _place_of(answer, offsets)
            train.append({**{key: window[key] for key in keys}, "start_positions": first, "end_positions": last})
    for number, example in enumerate(fit.test):
        for window, offsets in _windows(tokenizer, example, fit.longest):
            test.append({key: window[key] for key in keys})
            contexts.append((number, offsets))
    parts = Parts(model, train, test, default_data_collator)
    scores = _trained(parts, tokenizer, batch=12, rate=3e-5, seed=fit.seed)
    best = [(-np.inf, "")] * len(fit.test)
    for (number, offsets), scores_2T in zip(contexts, scores, strict=True):
        found = _best_part(scores_2T, offsets, fit.test[number].context)
        best[number] = max(best[number], found, key=lambda each: each[0])
    return [text for _, text in best]


def _windows(tokenizer: Any, example: Any, longest: int) -> list[tuple[dict[str, Any], list[Any]]]:
    """The windows of a question's context, and where each of their tokens stands there; None of all other tokens."""
    encoded = tokenizer(
        example.question.lstrip(), example.context, truncation="only_second", max_length=longest,
        stride=STRIDE, return_overflowing_tokens=True, return_offsets_mapping=True, padding="max_length",
    )  # fmt: skip
    windows = []
    for place, offsets in enumerate(encoded["offset_mapping"]):
        sides = encoded.sequence_ids(place)
        own = [offset if side == 1 else None for offset, side in zip(offsets, sides, strict=True)]
        windows.append(({key: encoded[key][place] for key in encoded if key != "offset_mapping"}, own))
    return windows


def _place_of(answer: Any, offsets: list[Any]) -> tuple[int, int]:
    """The first and the last token of an answer; of a window without it, twice the first of all."""
    inside = [place for place, offset in enumerate(offsets) if offset is not None]
    start, end = answer.start, answer.start + len(answer.text)
    if offsets[inside[0]][0] > start or offsets[inside[-1]][1] < end:
        return 0, 0
    first = max((place for place in inside if offsets[place][0] <= start), default=inside[0])
    last = min((place for place in inside if offsets[place][1] >= end), default=inside[-1])
    return first, last


def _best_part(scores_2T: Any, offsets: list[Any], context: str) -> tuple[float, str]:
    starts_T, ends_T = scores_2T
    best = (-np.inf, "")
    for first in np.argsort(starts_T)[: -BEST - 1 : -1]:
        for last in np.argsort(ends_T)[: -BEST - 1 : -1]:
            outside = offsets[first] is None or offsets[last] is None
            if outside or last < first or last - first + 1 > LONGEST_ANSWER:
                continue
            score = float(starts_T[first] + ends_T[last])
            if score > best[0]:
                best = (score, context[offsets[first][0] : offsets[last][1]])
    return best


def _trained(parts: Parts, tokenizer: Any, *, batch: int, rate: float, seed: int) -> list[Any]:
    """The scores of each row of the test part, after training."""
    from transformers import Trainer, TrainingArguments

    with TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            output_dir=folder, num_train_epochs=EPOCHS, per_device_train_batch_size=batch, learning_rate=rate,
            use_cpu=True, seed=seed, save_strategy="no", logging_strategy="no", disable_tqdm=True,
            dataloader_pin_memory=False,
        )  # fmt: skip
        trainer = Trainer(
            model=parts.model,
            args=arguments,
            train_dataset=parts.train,
            processing_class=tokenizer,
            data_collator=parts.collator,
        )
        trainer.train()
        output: Any = trainer.predict(parts.test)
    scores = output.predictions
    return list(np.stack(scores, 1)) if isinstance(scores, tuple) else list(scores)
