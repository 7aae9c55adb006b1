"""Which documents stand in a row of a pretraining, or in a step: worked out anew from the seed, as the training does.

The order is a pure function of the recipe and the number (``danlu/corpus``), and so is what an objective draws for a
row, so that nothing was written down for either: the examples of a row are made once more.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from danlu.corpus.batches import EqualGroups, Extract, make_examples
from danlu.corpus.mixture import MixedGroups, MixedRows
from danlu.corpus.reading import Reader, Size
from danlu.corpus.rows import Piece
from danlu.corpus.split import PARTS
from danlu.corpus.store import TokenStore
from danlu.differences import changes, listed
from danlu.errors import InputError
from danlu.files import read_json
from danlu.objectives.protocol import Shape
from danlu.recipe import Recipe
from danlu.run_folder import RunFolder
from danlu.stage import recorded, stage_of
from danlu.tokenizers.tokenizer import Tokenizer
from danlu.tokenizers.vocabulary import Vocabulary
from danlu.train.pretrain import Pretrain
from danlu.train.run import PLAN
from danlu.train.setup import example_of

ORDERING = ("batch", "sequence", "objective", "rows", "mixture")
"""Settings of ``pretrain`` that decide which text a row has; where there is a mixture, the budget does too."""
MOST_ROWS = 1 << 62


@dataclass(frozen=True, slots=True)
class Stretch:
    """What a row has of a document."""

    row: int
    id: str
    first: int
    """Of the document's tokens the first that the row learns, from 0."""
    end: int
    """Behind the last of them; the end-of-text token, which is learned too, is not counted."""
    tokens: int
    """Of the whole document."""
    text: str
    """Of the row's tokens."""
    task: str
    drawn: bool
    """Whether the objective drew it to stand beside the text that the row is of, as next-sentence prediction does."""


@dataclass(frozen=True, slots=True)
class Packed:
    """Where a document stands in the packed store."""

    part: str
    document: int
    tokens: int


class Order:
    """The rows of a pretraining.

    Raises:
        InputError: the run has none, or what it reads is not there.
    """

    def __init__(self, recipe: Recipe, folder: RunFolder) -> None:
        if "pretrain" not in recipe.sections:
            raise InputError(
                "--row and --step are of a pretraining, which the recipe lacks; rows of finetune are not walked"
            )
        settings = stage_of(recipe, "pretrain")
        assert isinstance(settings, Pretrain)
        self._folder, self._recipe = folder, recipe
        self._tokenizer = Tokenizer.load(folder.stage("tokenizer"))
        self._store = TokenStore.open_for(self._tokenizer, folder.stage("pack") / "train")
        config = settings.shape(self._store.vocab_size)
        example = example_of(settings.objective, Vocabulary.of(self._tokenizer), config)
        # How many go through the model at once does not change which rows a step has, nor does where it computes.
        self._size = Size(settings.batch, settings.batch)
        shape = Shape(settings.objective, settings.sequence)
        self._reader: Reader = settings.reading.read(self._store, shape, example, size=self._size, seed=recipe.seed)

    def of_step(self, step: int) -> list[int]:
        """The numbers of the rows of a step, counted from 1 as ``metrics.jsonl`` does.

        Raises:
            InputError: the training has no such step.
        """
        most = MOST_ROWS // self._size.batch if self._steps is None else self._steps
        if not 1 <= step <= most:
            known = "" if self._steps is None and step < 1 else f" to {most:,}"
            raise InputError(f"--step must be from 1{known}, as metrics.jsonl counts; got {step}")
        return sorted(number for group in self._reader.batches.groups(step - 1) for number in group.numbers)

    def changed(self) -> list[str]:
        """What is no longer as the training had it, in words."""
        return [*other_order(self._folder, self._recipe), *changed_since(self._folder)]

    @cached_property
    def _steps(self) -> int | None:
        """Of the whole training, as far as its plan says."""
        length = (read_json(self._folder.stage("pretrain") / PLAN) or {}).get("length")
        steps = length.get("steps") if isinstance(length, dict) else None
        return steps if isinstance(steps, int) else None

    def _rows(self) -> int:
        """How many rows the training has at most, as far as its plan says."""
        if self._steps is None:
            return MOST_ROWS
        if isinstance(self._reader.batches.groups, EqualGroups | MixedGroups):
            return self._steps * self._size.batch
        epochs = math.ceil(self._steps / self._reader.steps_per_epoch)
        return (epochs + 1) * self._reader.rows.per_epoch  # wide and narrow rows may be in epochs that differ by one

    def epoch(self, row: int) -> int:
        """Of the row's own part, where parts are mixed."""
        rows = self._reader.rows
        if isinstance(rows, MixedRows):
            part, row = rows.where(row)
            rows = rows.parts[part].rows
        return row // rows.per_epoch

    def of_row(self, row: int) -> Iterator[Stretch]:
        """What a row has of each document in it, in the order in which it is read.

        Raises:
            InputError: there is no such row.
        """
        most = self._rows()
        if not 0 <= row < most:
            raise InputError(f"--row must be from 0 to {most - 1:,}; got {row}")
        pieces, batches = self._reader.rows[row], self._reader.batches
        for piece, made in zip(pieces, make_examples(batches.example, pieces, batches.noise(row)), strict=True):
            whole = Extract(piece.start + 1, piece.start + 1 + len(piece.body))
            for extract in made.made_of or (whole,):
                yield self._stretch(row, piece, extract)

    def _stretch(self, row: int, piece: Piece, extract: Extract) -> Stretch:
        store, (start, end, drawn) = piece.store, extract
        number = int(np.searchsorted(store.starts, start - 1, side="right")) - 1
        begin = int(store.starts[number]) + 1
        length = int(store.starts[number + 1]) - begin
        text = self._tokenizer.decode(np.asarray(store.tokens[start:end], dtype=np.int64).tolist())
        document: dict[str, Any] = store.documents[number]
        return Stretch(row, document["id"], start - begin, end - begin, length, text, piece.task, drawn)


def packed(folder: RunFolder, identity: str) -> list[Packed]:
    """Where a document stands in the packed stores; twice where its tail is held out, nowhere where none is packed.

    The index of a store is gone through an entry at a time.
    """
    found: list[Packed] = []
    for part in PARTS:
        place = folder.stage("pack") / part
        if not (place / "store.json").exists():
            continue
        store = TokenStore.open(place)
        number = store.number_of(identity)
        if number is not None:
            found.append(Packed(part, number, int(store.starts[number + 1] - store.starts[number]) - 1))
    return found


def changed_since(folder: RunFolder) -> list[str]:
    """What has been made anew since what was made from it, in words."""
    told = []
    for stage, need in (("pretrain", "pack"), ("pack", "clean")):
        was = _made_from(folder, stage).get("inputs", {}).get(need)
        if was is not None and was != folder.digest(need):
            told.append(f"{need} has changed since {stage} ran: this walk is of what lies there now")
    return told


def other_order(folder: RunFolder, recipe: Recipe) -> list[str]:
    """How the recipe orders rows otherwise than the training did that lies in the folder, in words."""
    was, settings = _made_from(folder, "pretrain"), stage_of(recipe, "pretrain")
    if not isinstance(was.get("settings"), dict):
        return []
    deciding = [*ORDERING, *(["budget"] if was["settings"].get("mixture") is not None else [])]
    before = {"seed": was.get("seed"), **{name: was["settings"].get(name) for name in deciding}}
    now = recorded(settings)
    found = changes("", before, {"seed": recipe.seed, **{name: now.get(name) for name in deciding}})
    keys = [f"pretrain.{key}" if key != "seed" else key for key, _, _ in found]
    return [f"the recipe has changed since pretrain ran ({listed(keys)}): this walk is of the recipe"] if keys else []


def _made_from(folder: RunFolder, stage: str) -> dict[str, Any]:
    """What a stage was made from, or is being made from; empty where that is not on record."""
    done = folder.done(stage) or read_json(folder.stage(stage) / "begun.json") or {}
    found = done.get("made_from")
    return found if isinstance(found, dict) else {}
