"""Relation extraction: how two entities that are marked in a text are related.

Marks around both are tokens of their own (Baldini Soares et al. 2019, arXiv:1906.03158), which the tokenizer of the
model's folder has, and the label is told from the first token, or a decoder's last one: the folder is one of sequences,
as ``transformers`` has them.

Axes: T tokens.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
from pydantic import ValidationInfo, field_validator

from danlu.corpus.batches import IGNORE
from danlu.corpus.rows import Ints
from danlu.data.dataset import Dataset
from danlu.data.form import Form
from danlu.data.related import HEAD, RELATE, TAIL, Relation
from danlu.errors import RecipeError, shown, suggestion
from danlu.metrics.relations import Relations
from danlu.nn.config import TransformerConfig
from danlu.tasks.classify import OneLabel
from danlu.tasks.feature import Feature
from danlu.tasks.pooled import features_of_reads
from danlu.tasks.task import Known
from danlu.tasks.text_reader import MAX_TOKENS, Read, TextReader

WHOLE = 2**31 - 1
"""Tokens that no text has: nothing is cut off."""
MARK = re.compile(r"\[/?E[12](:[^\]]*)?\]")
GUESS = "guess"
NONE = ("no_relation", "no relation", "other", "none", "na", "n/a", "unknown", "无", "无关系", "其他", "未知")
"""What the label of no relation is called, in lower case."""


class Relate(OneLabel):
    """How a head and a tail in a text are related."""

    form: ClassVar[Form[Any]] = RELATE

    typed: bool = False
    """Marks say what kind of entity they stand around, where the file does (Zhong & Chen 2021, arXiv:2010.12812)."""
    none: str | None = GUESS
    """The label that says there is no relation, which F1 leaves out; null: all labels are relations. By default one
    that is called so: no_relation, Other, NA, 无, …"""

    @field_validator("cut", "chunks")
    @classmethod
    def _is_around_entities(cls, value: Any, field: ValidationInfo) -> Any:
        if value != cls.model_fields[str(field.field_name)].default:
            raise ValueError("cannot be set: of a longer text what is nearest to the two entities is read")
        return value

    def know(self, dataset: Dataset[Any], base: TransformerConfig) -> Known:
        if self.none not in (None, GUESS, *dataset.labels):
            near = suggestion(str(self.none), dataset.labels)
            raise RecipeError(f"finetune.task.none: no label {self.none!r}{near}")
        return super().know(dataset, base)

    def new_tokens(self, dataset: Dataset[Any]) -> tuple[str, ...]:
        kinds: list[str | None] = [None]
        if self.typed:
            found = {kind for each in dataset.splits["train"] for kind in (each.head_type, each.tail_type)}
            kinds += sorted(found - {None})
            if len(kinds) == 1:
                raise RecipeError(
                    "finetune.task.typed: the file says of no entity what kind it is; "
                    "name data.columns.head_type and data.columns.tail_type, or leave typed out"
                )
        return tuple(mark for kind in kinds for marks in (HEAD, TAIL) for mark in _of_kind(marks, kind))

    def features(self, examples: Sequence[Any], known: Known, reader: TextReader) -> list[Feature]:
        place_of = {label: place for place, label in enumerate(known.labels)}
        golds = [IGNORE if each.label is None else place_of.get(each.label, IGNORE) for each in examples]
        marks = [self._marks(each, known, reader) for each in examples]
        texts = [(each.marked(*own),) for each, own in zip(examples, marks, strict=True)]
        whole = replace(reader, max_tokens=WHOLE).read(texts)
        read = []
        for example, own, each in zip(examples, marks, whole, strict=True):
            away = _away(each, [reader.tokenizer.token_to_id(mark) for pair in own for mark in pair])
            needed = int((away <= 0).sum())
            if needed > reader.max_tokens:
                raise example.place.error(
                    f"its entities with their marks are {needed} tokens long; {MAX_TOKENS} is {reader.max_tokens}"
                )
            read.append(_nearest(each, away, reader.max_tokens))
        return features_of_reads(read, {self.loss: golds}, types=reader.types)

    def metric(self, known: Known) -> Relations:
        none = self.none
        if none == GUESS:
            none = next((label for label in known.labels if label.casefold() in NONE), None)
        return Relations(labels=known.labels, none=none)

    @property
    def criterion(self) -> str:
        return "micro.f1" if self.class_weights == "none" else "macro.f1"

    def _marks(self, example: Relation, known: Known, reader: TextReader) -> tuple[tuple[str, str], tuple[str, str]]:
        """Those around the head and around the tail.

        Raises:
            InputError: the text has such a mark itself, or an entity is of a kind that training had not.
        """
        kinds = (example.head_type, example.tail_type) if self.typed else (None, None)
        head, tail = (_of_kind(marks, kind) for marks, kind in zip((HEAD, TAIL), kinds, strict=True))
        for side, mark in (("head", head[0]), ("tail", tail[0])):
            if reader.tokenizer.token_to_id(mark) is None or mark in known.strangers:
                kind = mark[1:-1].partition(":")[2]
                raise example.place.error(f"the {side} is of the kind {shown(kind)!r}, which training had not")
        for found in MARK.finditer(example.text):
            if reader.tokenizer.token_to_id(found[0]) is not None:
                raise example.place.error(f"the text holds {found[0]!r}, which is the mark of an entity; take it out")
        return head, tail


def _of_kind(marks: tuple[str, str], kind: str | None) -> tuple[str, str]:
    """``[E1:PER]`` and ``[/E1:PER]``; without a kind as they are."""
    if kind is None:
        return marks
    before, behind = (f"{mark[:-1]}:{kind}]" for mark in marks)
    return before, behind


def _away(read: Read, marks: Sequence[int | None]) -> Ints:
    """``[T]`` how many tokens each is away from the nearer entity, 0 inside and for marks; -1 for special tokens."""
    places = np.arange(len(read.tokens))
    first, last, second, end = (int(np.flatnonzero(read.tokens == mark)[0]) for mark in marks)
    from_head, from_tail = np.maximum(first - places, places - last), np.maximum(second - places, places - end)
    away: Ints = np.maximum(0, np.minimum(from_head, from_tail))
    away[read.sides < 0] = -1
    return away


def _nearest(read: Read, away: Ints, most: int) -> Read:
    """Of a text that is too long the tokens that are nearest to the entities."""
    if len(read.tokens) <= most:
        return read
    kept = np.sort(np.argsort(away, kind="stable")[:most])
    return Read(read.tokens[kept], read.types[kept], read.offsets[kept], read.sides[kept], cut=True)
