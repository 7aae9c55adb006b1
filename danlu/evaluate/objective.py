"""The held-out loss of what the model was trained for, whatever that is: by language, and how often it was right.

Every held-out row is read once, as in training and with noise that is always the same, in float32 and without
dropout. Rows are parted by the languages of their documents, which never see each other.

Axes: B rows, T tokens, D model width, N targets.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from danlu import log
from danlu.corpus.batches import IGNORE, Batch, Example, Group, MakeExample, collate
from danlu.corpus.rows import Rows
from danlu.errors import InputError, RecipeError
from danlu.evaluate.protocol import Subject
from danlu.evaluate.unknown import unknown_shares
from danlu.files import write_json
from danlu.nn.head import rows_at_once
from danlu.nn.hf.folder import find_family
from danlu.nn.hf.token_ids import decoder_start
from danlu.nn.transformer import Transformer
from danlu.objectives.protocol import Lesson, Shape, total_loss
from danlu.objectives.words import word_head
from danlu.recipe import Choice
from danlu.stage import Figures
from danlu.tokenizers.vocabulary import Vocabulary


@dataclass
class Tally:
    """What targets cost in all, by the name of their loss."""

    sums: dict[str, Tensor] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)
    right: Counter[str] = field(default_factory=Counter)
    """How many were foreseen; only of losses that choose among tokens or labels."""

    def add(self, other: Tally) -> None:
        """Put what ``other`` has to it."""
        for name, value in other.sums.items():
            self.sums[name] = self.sums[name] + value if name in self.sums else value
        self.counts.update(other.counts)
        self.right.update(other.right)

    def figures(self, lesson: Lesson) -> dict[str, float]:
        """``loss``, which training minimises, and of each of its parts the targets, their mean cost and accuracy."""
        # So that a loss that is the only one is its own mean to the last digit.
        sums = {name: value.double() for name, value in self.sums.items()}
        found: dict[str, float] = {"loss": _rounded(float(total_loss(lesson, sums, dict(self.counts))))}
        for name, value in sums.items():
            count = self.counts[name]
            found[f"{name}.targets"] = count
            if count:
                found[f"{name}.nats"] = _rounded(float(value) / count)
            if count and name in self.right:
                found[f"{name}.accuracy"] = _rounded(self.right[name] / count)
        return found


class OwnObjective(Choice):
    """The loss of the recipe's own ``pretrain.objective`` on held-out documents, in all and by language."""

    batch_tokens: int = Field(default=8192, ge=1)
    """Tokens that go through the model at once: more takes more memory and changes no figure."""

    def measure(self, subject: Subject) -> Figures:
        """Write ``objective.json``; figures ``all.…`` and by language.

        Raises:
            RecipeError: the recipe trains nothing.
            InputError: no document was held out.
        """
        measured, about = heldout_figures(subject, batch_tokens=self.batch_tokens)
        shares = unknown_shares(subject)
        groups = {
            name: found | ({"unknown_share": shares[name]} if name in shares else {})
            for name, found in measured.items()
        }
        languages = {name: found for name, found in groups.items() if name != "all"}
        write_json(subject.out / "objective.json", {**about, "all": groups["all"], "languages": languages})
        return {f"{group}.{name}": value for group, found in groups.items() for name, value in found.items()}


def heldout_figures(subject: Subject, *, batch_tokens: int) -> tuple[dict[str, dict[str, float]], dict[str, Any]]:
    """The figures of ``all`` and of each language, and how they were measured: once, however many measures ask.

    Raises:
        RecipeError: the recipe trains nothing.
        InputError: no document was held out.
    """
    return subject.once(("heldout_figures", batch_tokens), lambda: _measured(subject, batch_tokens))


def _measured(subject: Subject, batch_tokens: int) -> tuple[dict[str, dict[str, float]], dict[str, Any]]:
    training, store = subject.training, subject.heldout
    if training is None:
        raise RecipeError("evaluate.tasks: objective needs the section pretrain, which says what is learned")
    if not store.documents:
        raise InputError("evaluate needs held-out documents, and there are none; give pack.split a larger share")
    objective, known = training.objective, Vocabulary.of(subject.tokenizer)
    start = decoder_start(find_family(subject.model.config.family), known.roles)
    vocabulary = replace(known, roles={**known.roles, "start": start})
    objective.check(vocabulary, subject.train)
    shape = Shape(objective, training.sequence)
    lesson = objective.prepare(subject.model.config, dtype=torch.float32, seed=subject.seed)
    if lesson.modules is not None:
        lesson.modules.to(subject.model.embedding.weight.device)
    sample = training.reading.sample(store, shape, tokens=None, seed=subject.seed)
    example = partial(objective.example, vocabulary=vocabulary)
    tallies: defaultdict[str, Tally] = defaultdict(Tally)
    rows = sample.rows
    with log.progress("evaluate", rows.per_epoch, "rows") as progress, torch.inference_mode():
        for group in sample.groups:  # one a task
            for done, language, task, part in _parts(rows, example, group, batch_tokens):
                batch = collate(part, widths=group.widths, segments=rows.several, task=task)
                tallies[language].add(tally(subject.model, lesson, batch))
                progress.update(done)
    everything = Tally()
    for each in tallies.values():
        everything.add(each)
    about = {
        "objective": objective.to_recipe(),
        "rows": rows.per_epoch,
        "row_tokens": int(shape.room.source or shape.room.inputs),
    }
    languages = {name: tallies[name].figures(lesson) for name in sorted(tallies)}
    return {"all": everything.figures(lesson), **languages}, about


def tally(model: Transformer, lesson: Lesson, batch: Batch) -> Tally:
    """The losses of one batch, and how many of its targets were the most likely ones."""
    hidden: list[Tensor] = []
    # The losses alone do not say what was foreseen; a second pass through the model would double the time.
    batch = batch.to(next(model.parameters()).device)
    hook = model.register_forward_hook(lambda _, __, out: hidden.append(out))
    try:
        sums = lesson.losses(model, batch)
    finally:
        hook.remove()
    right = {
        name: _right(model, kind, hidden[-1], batch.targets[kind])
        for name in sums
        if (kind := name.rpartition(".")[2]) in ("words", "pairs")
    }
    return Tally(dict(sums), Counter(batch.counts), Counter(right))


def _right(model: Transformer, name: str, hidden_BTD: Tensor, targets_BT: Tensor) -> int:
    flat = targets_BT.flatten()
    places = (flat != IGNORE).nonzero().flatten()
    found = 0
    for part in torch.split(places, rows_at_once(model.config.vocab_size)):
        hidden_ND = hidden_BTD.flatten(0, 1)[part]
        scores = word_head(model)(hidden_ND) if name == "words" else model.head.pair(hidden_ND[:, None])
        found += int((scores.argmax(-1) == flat[part]).sum())
    return found


def _parts(
    rows: Rows, example: MakeExample, group: Group, tokens: int
) -> Iterator[tuple[int, str, str, list[list[Example]]]]:
    """(rows read, language, task, rows of examples of that language that hold up to so many tokens)."""
    at_once = max(1, tokens // (int(group.widths.inputs) + int(group.widths.source)))
    waiting: defaultdict[str, list[list[Example]]] = defaultdict(list)
    task = ""
    for number in group.numbers:
        noise = np.random.default_rng([rows.seed, number, 2])
        by_language: defaultdict[str, list[Example]] = defaultdict(list)
        for piece in rows[number]:
            language, task = piece.store.documents[piece.document]["language"], piece.task
            by_language[language].append(example(piece, noise=noise))
        for language, examples in by_language.items():
            waiting[language].append(examples)
            if len(waiting[language]) == at_once:
                yield number + 1, language, task, waiting.pop(language)
    yield from ((group.numbers[-1] + 1, language, task, part) for language, part in waiting.items())


def _rounded(value: float) -> float:
    return round(value, 6)
