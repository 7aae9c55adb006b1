"""The predictions of a run, ``dev.predictions.jsonl``, or of another tool: what was read, what is right, what was said.

Nothing here imports torch.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from danlu.errors import InputError
from danlu.files import read_jsonl

Key = tuple[str, str]
"""What an example is known by: where it stands, and what it says with its gold."""

LEAST_IS_BEST = ("error", "perplexity", "loss", "nats", "bits")
"""Parts of the names of figures of which less is better."""
CALLED = {
    "bleu": "BLEU", "chrf": "chrF", "rouge1": "ROUGE-1", "rouge2": "ROUGE-2", "rougeL": "ROUGE-L",
    "meteor": "METEOR", "bertscore": "BERTScore", "pearson": "Pearson", "spearman": "Spearman", "matthews": "Matthews",
    "mrr@10": "MRR@10", "ndcg@10": "nDCG@10",
}  # fmt: skip
"""What the field calls a figure, where that is not how its name is written."""
_MOST_TOKENS = 30
"""Tokens of a text whose tags are shown."""


@dataclass(frozen=True, slots=True)
class Prediction:
    """A line of the file."""

    place: str
    """File and line; empty where the line does not say."""
    texts: tuple[str, ...]
    gold: Any
    """None where it is not said."""
    said: Any
    confidence: float | None = None
    figures: Mapping[str, float] = field(default_factory=dict)
    """The task's figure of this example alone, where right and wrong do not say it all."""
    words: tuple[str, ...] = ()
    """Those that tags are of."""
    parts: Mapping[str, float] = field(default_factory=dict)
    """Of a question of a suite what it adds to each figure but ``acc``: 0 or 1, for ``perplexity`` nats."""

    @property
    def content(self) -> str:
        """Texts and gold, as one text."""
        return json.dumps([self.texts, self.gold], ensure_ascii=False)

    @property
    def right(self) -> bool:
        """Whether nothing is missing and nothing wrong."""
        if self.said == self.gold or (isinstance(self.gold, list) and self.said in self.gold):
            return True
        return any(value >= 1 for name, value in self.figures.items() if not less_is_better(name) and _is_share(name))

    @property
    def badness(self) -> float:
        """How far from right it is by its figure; 0 of all where there is none."""
        return next((value if less_is_better(name) else -value for name, value in self.figures.items()), 0.0)


def read_predictions(path: Path) -> list[Prediction]:
    """The lines of a file of predictions, in their order.

    Raises:
        InputError: there is no such file, or a line of it has no ``prediction``.
    """
    if not path.is_file():
        raise InputError(f"there is no file {path}")
    found = [_prediction(path, number, line) for number, line in enumerate(read_jsonl(path), 1)]
    if not found:
        raise InputError(f"{path} has no prediction")
    return found


def read_answers(path: Path) -> list[Prediction]:
    """What a model chose, of a suite's ``NAME_items.jsonl``: gold and answer are the numbers of choices, as text.

    Where the answer was to be written, it is the gold one if that is what the model would have written, else -1.

    Raises:
        InputError: a line is none of a suite's.
    """
    found = []
    for number, line in enumerate(read_jsonl(path), 1):
        missing = [name for name in ("line", "context", "choices", "gold", "right") if name not in line]
        if missing or not isinstance(line["choices"], list):
            raise InputError(
                f"{path} is damaged at line {number}: it lacks {', '.join(missing) or 'a list of choices'}"
            )
        said = line.get("chosen", line["gold"] if line["right"] else -1)
        texts, place = tuple(map(str, (line["context"], *line["choices"]))), f"{path.name}, line {line['line']}"
        parts = _parts(path, number, line)
        found.append(Prediction(place, texts, str(line["gold"]), str(said), parts=parts))
    return found


def _parts(path: Path, number: int, line: Mapping[str, Any]) -> dict[str, float]:
    """What a question adds to the figures but ``acc``; lines of earlier versions do not say what was chosen by length.

    Raises:
        InputError: the line is damaged.
    """
    chosen, nats = line.get("chosen_by", {}), line.get("log_likelihoods")
    if not isinstance(chosen, dict):
        raise InputError(f"{path} is damaged at line {number}: chosen_by must be places of choices by figure")
    parts = {name: float(place == line["gold"]) for name, place in chosen.items()}
    if "greedy" not in line:
        return parts
    if not isinstance(nats, list) or len(nats) != 1 or not _is_number(nats[0]):
        raise InputError(f"{path} is damaged at line {number}: log_likelihoods must be one number, of what was asked")
    return parts | {"perplexity": -float(nats[0])}


def spelled(name: str) -> str:
    """A figure or a task in words: ``macro.f1`` is macro F1."""
    words = name.replace(".", " ").replace("_", " ").split(" ")
    return " ".join(CALLED.get(word, word.replace("f1", "F1")) for word in words)


def titled(name: str) -> str:
    """The same with a capital letter."""
    return spelled(name)[:1].upper() + spelled(name)[1:]


def less_is_better(name: str) -> bool:
    """Whether the figure is one of errors or costs."""
    return any(part in name for part in LEAST_IS_BEST)


def worst_first(predictions: Sequence[Prediction]) -> list[Prediction]:
    """Those that are not right: the worst by their figure, of equally bad ones the most confident."""
    return sorted((each for each in predictions if not each.right), key=how_bad, reverse=True)


def how_bad(each: Prediction) -> tuple[float, float]:
    """What the worst has most of: the figure first, of equally bad ones the confidence."""
    return each.badness, each.confidence or 0.0


def has_right(predictions: Sequence[Prediction]) -> bool:
    """Whether an answer can be right or wrong, and is not only near or far."""
    return not any(less_is_better(name) or not _is_share(name) for each in predictions for name in each.figures)


def in_words(value: Any, beside: Sequence[Any] = (), words: Sequence[str] = ()) -> str:
    """A gold value or an answer for people; of the tags of ``words`` only those that are not the same in all.

    Args:
        beside: what else is said of the example, so that of tags the same words are shown.
    """
    tags = [each for each in (value, *beside) if isinstance(each, list) and len(each) == len(words) > 0]
    apart = [place for place in range(len(words)) if len({str(each[place]) for each in tags}) > 1]
    if apart and len(tags) == 1 + len(beside):
        shown = " ".join(f"{words[place]}/{value[place]}" for place in apart[:_MOST_TOKENS])
        return shown + (" …" if len(apart) > _MOST_TOKENS else "")
    if isinstance(value, list):
        return " · ".join(in_words(each) for each in value) or "none"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, dict):
        return ", ".join(f"{name} {in_words(each)}" for name, each in value.items())
    return "—" if value is None else str(value) or "nothing"


def _is_share(name: str) -> bool:
    """Whether 1 is the best there is: BLEU and chrF go to 100."""
    return name.rpartition(".")[2] not in ("bleu", "chrf")


def _prediction(path: Path, number: int, line: Mapping[str, Any]) -> Prediction:
    if "prediction" not in line:
        raise InputError(f"{path}, line {number}: has no 'prediction'; it has {', '.join(line) or 'nothing'}")
    texts = line.get("texts", [line["text"]] if "text" in line else [])
    confidence, figures = line.get("confidence"), line.get("figures") or {}
    if not isinstance(texts, list) or not all(isinstance(each, str) for each in texts):
        raise InputError(f"{path}, line {number}: 'texts' must be a list of texts")
    if confidence is not None and not (_is_number(confidence) and math.isfinite(confidence)):
        raise InputError(f"{path}, line {number}: 'confidence' must be a finite number; got {confidence!r:.40}")
    if not isinstance(figures, dict) or not all(map(_is_number, figures.values())):
        raise InputError(f"{path}, line {number}: 'figures' must be numbers by name")
    try:
        json.dumps([texts, line.get("gold"), line["prediction"]], ensure_ascii=False).encode()
    except UnicodeEncodeError:  # JSON can spell half a surrogate pair, which is no character
        raise InputError(f"{path}, line {number}: half a surrogate pair is no character") from None
    file, unit = line.get("file"), next((name for name, value in line.items() if _counts(name, value)), None)
    place = f"{file}, {unit} {line[unit]}" if file is not None and unit is not None else ""
    words = line.get("words")
    known = tuple(map(str, words)) if isinstance(words, list) else ()
    return Prediction(place, tuple(texts), line.get("gold"), line["prediction"], confidence, figures, known)


def _is_number(value: Any) -> bool:
    return isinstance(value, float | int) and not isinstance(value, bool) and not math.isnan(value)


UNITS = ("line", "row", "question", "item")
"""What examples are counted in, by the kind of file; in a list within an object it is ``data item`` and the like."""


def _counts(name: str, value: Any) -> bool:
    """Whether a key of a line says where the example stands; a question may be one's text as well."""
    return isinstance(value, int) and (name in UNITS or name.endswith(" item"))
