"""Names and addresses of people, found by a model that ``danlu finetune`` taught to tag, for ``danlu.clean.private``.

The room ``clean`` knows this finder by its name in the catalog alone, so that it loads no torch where none is used.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from pydantic import Field

from danlu.clean.private_page import Found
from danlu.data.example import Place
from danlu.data.spans import token_places
from danlu.data.tagged import Tagged
from danlu.data.tags import read_tag
from danlu.data.writing import cut
from danlu.errors import InputError
from danlu.recipe import Choice
from danlu.tasks.model_folder import Trained
from danlu.tasks.predict import Predictor
from danlu.tasks.tag import Tag

LINES_AT_ONCE = 256
"""Lines of a text that are read together."""


class EntityFinder(Choice):
    """Entities of some types, as a tagging model sees them; it is far slower than patterns."""

    model: Path
    """The folder of a model for the task ``tag``."""
    kinds: dict[str, str] = Field(
        default={
            "PER": "name",
            "PERSON": "name",
            "PER.NAM": "name",
            "person": "name",
            "name": "name",
            "ADDRESS": "address",
            "address": "address",
        },
        min_length=1,
    )
    """Which types of entities are private, and what each is called: ``{PER: name}``."""
    confidence: float = Field(default=0.5, ge=0, le=1)
    """The least probability of an entity that counts."""

    def names(self) -> frozenset[str]:
        """The kinds that it finds."""
        return frozenset(self.kinds.values())

    def external_files(self) -> list[Path]:
        """The files of the model."""
        return sorted(path for path in self.model.iterdir() if path.is_file()) if self.model.is_dir() else [self.model]

    def make(self) -> Callable[[str], Iterable[Found]]:
        """From a text to the entities in it.

        Raises:
            InputError: there is no tagging model of entities in the folder, or it knows none of the types.
        """
        trained = Trained.load(self.model)
        if not isinstance(trained.task, Tag):
            raise InputError(f"{self.model}: the model is for another task than tag, so it finds no names")
        tags = [read_tag(label, trained.known.scheme) for label in trained.known.labels]
        types = sorted({tag[1] for tag in tags if tag is not None and tag[1]})
        if not set(types) & set(self.kinds):
            known, wanted = ", ".join(types), ", ".join(self.kinds)
            raise InputError(f"{self.model}: the model finds none of {wanted} (finders.kinds; it knows {known})")
        predictor = Predictor(self.model, trained, dtype="float32")  # the same on every machine
        return lambda text: self._found(text, predictor)

    def _found(self, text: str, predictor: Predictor) -> Iterator[Found]:
        lines = [(start, line) for start, line in _lines(text) if line.strip()]
        for first in range(0, len(lines), LINES_AT_ONCE):
            some = lines[first : first + LINES_AT_ONCE]
            answers = predictor.answer_together([self._example(line) for _, line in some])
            for (start, _), answer in zip(some, answers, strict=True):
                for entity in answer.more["entities"]:
                    kind = self.kinds.get(entity["type"])
                    if kind is not None and entity["confidence"] >= self.confidence:
                        yield Found(start + entity["start"], start + entity["end"], kind)

    def _example(self, line: str) -> Tagged:
        places = token_places(line)
        tokens = tuple(line[start:end] for start, end in places)
        return Tagged(Place(self.model, 0), tokens, None, written=cut(line, places))


def _lines(text: str) -> Iterator[tuple[int, str]]:
    """The lines of a text, and where each begins."""
    start = 0
    for line in text.split("\n"):
        yield start, line
        start += len(line) + 1
