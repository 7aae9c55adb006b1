"""Which documents stand in a row of a pretraining, or in a step: worked out anew from the seed, as the training does.

The order is a pure function of the recipe and the number (``danlu/corpus``), so that nothing was written down for it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NoReturn

from danlu.corpus.mixture import MixedRows
from danlu.corpus.reading import Reader, Size
from danlu.corpus.rows import Piece
from danlu.corpus.split import PARTS
from danlu.corpus.store import TokenStore
from danlu.errors import InputError
from danlu.files import read_json
from danlu.objectives.protocol import Shape
from danlu.recipe import Recipe
from danlu.run_folder import RunFolder
from danlu.stage import stage_of
from danlu.tokenizers.tokenizer import Tokenizer
from danlu.train.pretrain import Pretrain
from danlu.train.run import PLAN


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
            raise InputError("--row and --step are of a pretraining, which the recipe lacks")
        settings = stage_of(recipe, "pretrain")
        assert isinstance(settings, Pretrain)
        self._folder = folder
        self._store = TokenStore.open(folder.stage("pack") / "train")
        self._tokenizer = Tokenizer.load(folder.stage("tokenizer"))
        # How many go through the model at once does not change which rows a step has, nor does where it computes.
        size = Size(settings.batch, settings.batch)
        shape = Shape(settings.objective, settings.sequence)
        self._reader: Reader = settings.reading.read(self._store, shape, _no_example, size=size, seed=recipe.seed)

    def of_step(self, step: int) -> list[int]:
        """The numbers of the rows of a step, counted from 1 as ``metrics.jsonl`` does.

        Raises:
            InputError: the training has no such step.
        """
        plan = read_json(self._folder.stage("pretrain") / PLAN) or {}
        planned = plan.get("length", {}).get("steps")
        if step < 1 or (planned is not None and step > planned):
            known = "" if planned is None else f" to {planned}"
            raise InputError(f"--step must be from 1{known}, as metrics.jsonl counts; got {step}")
        return sorted(number for group in self._reader.batches.groups(step - 1) for number in group.numbers)

    def epoch(self, row: int) -> int:
        """Of the row's own part, where parts are mixed."""
        rows = self._reader.rows
        if isinstance(rows, MixedRows):
            part, row = rows.where(row)
            rows = rows.parts[part].rows
        return row // rows.per_epoch

    def of_row(self, row: int) -> Iterator[Stretch]:
        """What a row has of each document in it.

        Raises:
            InputError: there is no such row.
        """
        if row < 0:
            raise InputError(f"--row must be at least 0; got {row}")
        for piece in self._reader.rows[row]:
            yield self._stretch(row, piece)

    def _stretch(self, row: int, piece: Piece) -> Stretch:
        store, number = piece.store, piece.document
        first = piece.start - int(store.starts[number])
        length = int(store.starts[number + 1] - store.starts[number]) - 1
        text = self._tokenizer.decode(piece.body.tolist())
        document: dict[str, Any] = store.documents[number]
        return Stretch(row, document["id"], first, first + len(piece.body), length, text, piece.task)


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


def _no_example(*_: object, **__: object) -> NoReturn:
    raise AssertionError("examples are not made here")


def changed_since(folder: RunFolder) -> list[str]:
    """What has been made anew since what was made from it, in words."""
    told = []
    for stage, need in (("pretrain", "pack"), ("pack", "clean")):
        done = folder.done(stage) or read_json(folder.stage(stage) / "begun.json") or {}
        was = (done.get("made_from") or {}).get("inputs", {}).get(need)
        if was is not None and was != folder.digest(need):
            told.append(f"{need} has changed since {stage} ran: this walk is of what lies there now")
    return told
