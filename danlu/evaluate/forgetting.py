"""What a model has learned and forgotten where pretraining goes on from a folder's weights: held-out losses before it
and after.

Networks forget what they no longer read (McCloskey and Cohen 1989); some of the old text among the new, its replay, is
the plainest remedy (Ibrahim et al. 2024, arXiv:2403.08763). Whether it was enough can be told only from old text that
is held out. Both models read the same of it, with the same noise, so that a change is theirs alone.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from danlu.corpus.store import TokenStore
from danlu.errors import RecipeError
from danlu.evaluate.objective import heldout_figures
from danlu.evaluate.perplexity import losses_of
from danlu.evaluate.protocol import Subject
from danlu.files import write_json
from danlu.log import say
from danlu.metrics.bootstrap import RESAMPLES, ratio_interval
from danlu.nn.families.given import Folder
from danlu.nn.hf.start import Start
from danlu.objectives.multitask import Multitask
from danlu.recipe import Choice
from danlu.stage import Figures


@dataclass(frozen=True, slots=True)
class Text:
    """What one text costs, in nats a target."""

    targets: int
    before: float
    """By the folder's model."""
    after: float
    interval: tuple[float, float] | None = None
    """Of 95 %, of the change had other documents been held out; None where documents are not told apart."""

    @property
    def change(self) -> float:
        """Above 0 something was forgotten."""
        return self.after - self.before


class Forgetting(Choice):
    """The held-out loss by the folder that pretraining began with, and by what came out: of the documents of each task
    of the objective ``multitask``, or of all and of each language.

    Of decoders it is what each token costs, of models with an encoder what their objective costs.
    """

    batch_tokens: int = Field(default=8192, ge=1)
    """Tokens that go through the model at once: more takes more memory and changes no figure."""

    def measure(self, subject: Subject) -> Figures:
        """Write ``forgetting.json``; figures ``forgetting.<text>.before``, ``.after`` and ``.change``.

        Raises:
            RecipeError: pretraining did not go on from a folder, or from one without the head that it learns.
            InputError: no document was held out.
        """
        start = start_of(subject)
        if start is None:
            raise RecipeError("evaluate.tasks: forgetting needs a model before: pretrain.model {use: folder}")
        if new := start.new:
            raise RecipeError(f"evaluate.tasks: forgetting: {without(start, new)}")
        before = replace(subject, model=start.draw().eval().to(subject.model.embedding.weight.device))
        told = _by_documents if subject.model.config.encoder is None else _by_objective
        texts = told(before, subject, self.batch_tokens)
        summary = {
            name: {
                "targets": text.targets, "before": round(text.before, 6), "after": round(text.after, 6),
                "change": round(text.change, 6),
                "change_95": None if text.interval is None else [round(bound, 6) for bound in text.interval],
            }
            for name, text in texts.items()
        }  # fmt: skip
        write_json(subject.out / "forgetting.json", {"resamples": RESAMPLES, "texts": summary})
        shown = ("before", "after", "change")
        return {f"forgetting.{name}.{figure}": text[figure] for name, text in summary.items() for figure in shown}


def can_tell(subject: Subject) -> bool:
    """Whether there is a model before, whose loss says something; where its head is drawn anew, that is told."""
    start = start_of(subject)
    if start is None:
        return False
    if new := start.new:
        say(f"evaluate: {without(start, new)}")
    return not new


def start_of(subject: Subject) -> Start | None:
    """The folder that pretraining began with; None where it began with nothing."""
    training = subject.training
    if training is None or not isinstance(training.model, Folder):
        return None
    shape = training.shape(subject.heldout.vocab_size)
    return training.model.start(shape, seed=subject.seed, tokens=subject.tokenizer.tokens())


def without(start: Start, new: list[str]) -> str:
    """In words, why there is no loss before."""
    return f"the head is new ({new[0]} is not in {start.folder}): there is no loss before the training to compare with"


def _by_documents(before: Subject, after: Subject, batch_tokens: int) -> dict[str, Text]:
    """Of a decoder: each text's tokens, with the interval of the change."""
    first, last = (losses_of(each, batch_tokens=batch_tokens) for each in (before, after))
    texts: dict[str, Text] = {}
    for name, chosen in _texts(after).items():
        tokens, more = first.tokens[chosen], (last.nats - first.nats)[chosen]
        then, now = (float(losses.nats[chosen].sum() / tokens.sum()) for losses in (first, last))
        interval = ratio_interval(more, tokens, seed=after.seed)
        texts[name] = Text(int(tokens.sum()), then, now, interval)
    return texts


def _texts(subject: Subject) -> dict[str, NDArray[np.bool_]]:
    """Which of the held-out documents are of each text; one of which none is held out is told."""
    training, store = subject.training, subject.heldout
    assert training is not None, "it has begun with a folder"
    if not isinstance(training.objective, Multitask):
        return _languages(store)
    found: dict[str, NDArray[np.bool_]] = {}
    for name, task in training.objective.tasks.items():
        chosen = task.documents.chosen(store)
        if chosen.any():
            found[name] = chosen
        else:
            say(f"evaluate: no document of the task {name} is held out, so that its loss is not told")
    return found


def _languages(store: TokenStore) -> dict[str, NDArray[np.bool_]]:
    count, spoken = len(store.documents), store.by_language
    several = {name: np.isin(np.arange(count), spoken[name]) for name in sorted(spoken)} if len(spoken) > 1 else {}
    return {"all": np.ones(count, dtype=bool), **several}


def _by_objective(before: Subject, after: Subject, batch_tokens: int) -> dict[str, Text]:
    """Of a model with an encoder: each loss of the objective; that of words goes by the name of its text alone."""
    first, last = (heldout_figures(each, batch_tokens=batch_tokens)[0] for each in (before, after))
    assert after.training is not None, "it has begun with a folder"
    tasks = isinstance(after.training.objective, Multitask)
    # Losses of tasks have their names, and one language is all.
    groups = ["all"] if tasks or len(first) == 2 else list(first)
    texts: dict[str, Text] = {}
    for group in groups:
        for loss in (name.removesuffix(".nats") for name in first[group] if name.endswith(".nats")):
            name = (loss if tasks else f"{group}.{loss}").removesuffix(".words")
            then, now = (each[group][f"{loss}.nats"] for each in (first, last))
            texts[name] = Text(int(first[group][f"{loss}.targets"]), then, now)
    return texts
