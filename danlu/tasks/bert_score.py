"""BERTScore: how near in meaning each token of an answer is to one of the reference, by the states of an encoder.

Equal to the package ``bert_score``, rescaled by a ``baseline`` or not (``bert_score_baseline.py``); but that a token
that is nearer to none than a right angle counts below 0 here, and there 0 where the other text is padded.

Axes: N items, T tokens of an answer, S of a reference, D model width.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from danlu.corpus.rows import Ints
from danlu.errors import InputError, RecipeError
from danlu.files import stamps
from danlu.metrics.bleu import references
from danlu.metrics.tally import Named, Numbers, Tally, by_sums, share
from danlu.nn.hf.folder import bare_config, load_embedding_model
from danlu.nn.packed import may_be_packed, pack
from danlu.nn.speed import choose_device_beside
from danlu.nn.transformer import Transformer
from danlu.objectives.words import hidden_states
from danlu.recipe import Choice
from danlu.tasks.answering import batches_of
from danlu.tasks.bert_score_baseline import Baseline, checked, read_baseline
from danlu.tasks.documents import apart
from danlu.tasks.feature import Feature
from danlu.tasks.text_reader import TextReader
from danlu.ticks import ticking

ITEMS_AT_ONCE = 512
"""Items whose states are in memory together."""
READ_AT_ONCE = 2**12
"""Texts that are cut into tokens in one call."""
USUAL_LAYER = 0.75
"""Of the blocks, where none is named: 9 of the 12 of bert-base-uncased, as in ``bert_score``."""
SPACED = ("roberta", "gpt2")
"""Families whose texts begin with a space, as ``bert_score`` has it."""


class BERTScore(Choice):
    """BERTScore (Zhang et al. 2020, arXiv:1904.09675), by a model in a folder."""

    main: ClassVar[str] = "bertscore.f1"
    """The figure that stands for all of them."""

    model: Path
    """The folder of an encoder of the language, such as bert-base-chinese; figures of two models do not compare."""
    layer: int | None = Field(default=None, ge=1)
    """The block whose states are compared, counted from 1; by default three quarters of the way up."""
    idf: bool = False
    """Let a token count by how few of the references that are measured together have it."""
    baseline: Path | None = None
    """What figures are rescaled by, so that 0 is of texts that have nothing to do with each other: a file of the
    package ``bert_score`` for this model (LAYER,P,R,F), or text of yours, a sentence a line, of which pairs are
    measured. By default they are not rescaled."""

    def files(self, key: str) -> list[Path]:
        """Those of the model.

        Raises:
            InputError: there is no such folder.
        """
        if not self.model.is_dir():
            raise InputError(f"{key}.model: there is no folder {self.model}")
        if self.baseline is not None and not self.baseline.is_file():
            raise InputError(f"{key}.baseline: there is no file {self.baseline}")
        return [*_files(self.model), *([] if self.baseline is None else [self.baseline])]

    def tally(self, gold: Sequence[str | Sequence[str]], predicted: Sequence[str]) -> Tally:
        """Figures ``bertscore.precision``, ``bertscore.recall`` and ``bertscore.f1``: means over items, at most 1.

        An item without a token on either side has 0, before it is rescaled. Of several references each figure's best
        counts. Of a text that is longer than the model sees the beginning counts. In ``notes``, ``bertscore``: by
        what model and layer, and by what it is rescaled.

        Raises:
            InputError: there is no item, lengths differ, an item has no reference, or there is no such model.
            RecipeError: the model has no such layer, or is no single stack of blocks.
        """
        texts = references(gold, predicted)
        return self._tally(texts, predicted, self._idf(texts) if self.idf else None)

    def settled(self, gold: Sequence[str | Sequence[str]]) -> WithIDF:
        """With the weights that tokens have among all of ``gold``."""
        texts = references(gold, [""] * len(gold))
        return WithIDF(self, self._idf(texts) if self.idf else None)

    def _idf(self, texts: Sequence[Sequence[str]]) -> Mapping[int, float]:
        flat = [text for each in texts for text in each]
        tokens = Scorer.load(self.model, self.layer).read(flat)
        return _weights([tokens[text].ids for text in flat])

    def _tally(
        self, texts: Sequence[Sequence[str]], predicted: Sequence[str], weights: Mapping[int, float] | None
    ) -> Tally:
        scorer = Scorer.load(self.model, self.layer)
        tokens = scorer.read([*predicted, *(text for each in texts for text in each)])
        sums_N4 = np.ones((len(texts), 4))
        for start in range(0, len(texts), ITEMS_AT_ONCE):
            part = slice(start, start + ITEMS_AT_ONCE)
            needed = [*predicted[part], *(text for each in texts[part] for text in each)]
            states = scorer.states({text: tokens[text] for text in needed})
            for item, (all_references, answer) in enumerate(zip(texts[part], predicted[part], strict=True), start):
                scored = [_score(states[answer], states[each], weights) for each in all_references]
                sums_N4[item, :3] = np.max(scored, axis=0)
        rescaled = "not rescaled"
        if self.baseline is not None:
            base = np.array(_baseline(scorer, self.baseline, stamps([self.baseline])))
            sums_N4[:, :3] = (sums_N4[:, :3] - base) / (1 - base)
            rescaled = f"rescaled by {self.baseline.name} (F1 {base[2]:.4f})"

        def figures(sums_B4: Numbers) -> Named:
            names = ("precision", "recall", "f1")
            return {f"bertscore.{name}": sums_B4[:, place] / sums_B4[:, 3] for place, name in enumerate(names)}

        said = f"{self.model.name}, layer {scorer.layer} of {scorer.layers}{', idf' if self.idf else ''}, {rescaled}"
        return by_sums(sums_N4, figures, {"bertscore": said})


@dataclass(frozen=True)
class WithIDF:
    """A BERTScore whose tokens count what they count among some references, whichever are measured."""

    metric: BERTScore
    weights: Mapping[int, float] | None
    """By token; None where all count alike."""

    def tally(self, gold: Sequence[str | Sequence[str]], predicted: Sequence[str]) -> Tally:
        """As :meth:`BERTScore.tally`."""
        return self.metric._tally(references(gold, predicted), predicted, self.weights)


class Tokens(NamedTuple):
    """A text as the model reads it."""

    ids: Ints
    """Special ones included."""
    real: Ints
    """1, or 0 for a special token, which counts nothing but may be what another is nearest to."""


class States(NamedTuple):
    """What the model makes of a text."""

    tokens: Tokens
    units_TD: Tensor
    """Of length 1 each."""


@dataclass(frozen=True, eq=False)
class Scorer:
    """An encoder up to some layer, with its tokenizer."""

    model: Transformer
    reader: TextReader
    layer: int
    layers: int
    """That its folder has."""

    @classmethod
    def load(cls, folder: Path, layer: int | None) -> Scorer:
        """The model in ``folder`` without what is above ``layer``; the last one is kept while its files stay the same.

        Raises:
            InputError, CheckpointError: there is no model, or it is damaged.
            RecipeError: the model has no such layer, or is no single stack of blocks.
        """
        whole = folder.resolve()
        return _load(whole, layer, stamps(_files(whole)), choose_device_beside("metrics: bertscore"))

    def read(self, texts: Sequence[str]) -> dict[str, Tokens]:
        """The tokens of every text."""
        before = " " if self.model.config.family in SPACED else ""
        bare = {text: text.strip() for text in texts}
        self.reader.tokenizer.enable_truncation(self.reader.max_tokens)
        spaced = [f"{before}{each}" if each else "" for each in bare.values()]
        encoded = [
            each
            for start in ticking(range(0, len(spaced), READ_AT_ONCE))
            for each in self.reader.tokenizer.encode_batch(spaced[start : start + READ_AT_ONCE])
        ]
        return {
            text: Tokens(np.array(each.ids, dtype=np.int64), 1 - np.array(each.special_tokens_mask, dtype=np.int64))
            for text, each in zip(bare, encoded, strict=True)
        }

    @torch.inference_mode()
    def states(self, texts: Mapping[str, Tokens]) -> dict[str, States]:
        """What the model makes of every text; texts of like length go through it together."""
        read = {text: tokens for text, tokens in texts.items() if len(tokens.ids)}
        named, device = list(read), next(self.model.parameters()).device
        nothing = torch.zeros(0, self.model.config.dim)
        found = {text: States(tokens, nothing) for text, tokens in texts.items()}
        for places, batch in batches_of([Feature(number, read[text].ids) for number, text in enumerate(named)]):
            hidden_BTD = hidden_states(self.model, batch.to(device)).float()
            units_BTD = torch.nn.functional.normalize(hidden_BTD, dim=-1).cpu()
            for place, units_TD in zip(places, apart(units_BTD, batch.inputs["segments"]), strict=True):
                found[named[place]] = States(read[named[place]], units_TD)
        return found


@lru_cache(maxsize=1)
def _load(folder: Path, layer: int | None, files: tuple[Any, ...], device: torch.device) -> Scorer:
    """``files``: their stamps, by which those that have changed since are read again."""
    config = bare_config(folder)
    stack = config.decoder if config.encoder is None else config.encoder
    if stack is None or (config.encoder is not None and config.decoder is not None):
        raise RecipeError(f"metrics: bertscore needs an encoder or a decoder, not both; {folder} is {config.family}")
    layers = len(stack.layers)
    chosen = round(layers * USUAL_LAYER) if layer is None else layer
    if chosen > layers:
        raise RecipeError(f"metrics: bertscore.layer must be at most {layers}, the blocks of {folder}; got {layer}")
    model = load_embedding_model(folder).eval()
    whole = model.decoder if config.encoder is None else model.encoder
    assert whole is not None
    whole.blocks = whole.blocks[:chosen]
    model.to(device)
    if may_be_packed(model):
        pack(model)
    return Scorer(model, TextReader.load(folder, max_tokens=config.max_length), chosen, layers)


@lru_cache(maxsize=4)
def _baseline(scorer: Scorer, path: Path, file: tuple[Any, ...]) -> Baseline:
    """``file``: its stamp, by which one that has changed since is read again. Tokens count alike, as in the package."""
    found = read_baseline(path, scorer.layer)
    if isinstance(found, Baseline):
        return found
    tokens = scorer.read([text for pair in found for text in pair])
    sums_3 = np.zeros(3)
    for start in range(0, len(found), ITEMS_AT_ONCE):
        part = found[start : start + ITEMS_AT_ONCE]
        states = scorer.states({text: tokens[text] for pair in part for text in pair})
        sums_3 += np.sum([_score(states[answer], states[reference], None) for answer, reference in part], axis=0)
    return checked(path, Baseline(*(sums_3 / len(found)).tolist()))


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _weights(texts: Sequence[Ints]) -> dict[int, float]:
    """How rare each token is: the logarithm of the share of texts that have it, one more of both."""
    counts = Counter(token for ids in texts for token in set(ids.tolist()))
    weights = {token: math.log((len(texts) + 1) / (count + 1)) for token, count in counts.items()}
    return {**weights, UNSEEN: math.log(len(texts) + 1)}


UNSEEN = -1
"""The token that stands for all that no reference has."""


def _score(answer: States, reference: States, weights: Mapping[int, float] | None) -> tuple[float, float, float]:
    """Precision, recall and F1: the mean over tokens of the cosine with the nearest one of the other side."""
    if not answer.tokens.real.any() or not reference.tokens.real.any():
        return 0.0, 0.0, 0.0
    cosines_TS = (answer.units_TD @ reference.units_TD.T).double().numpy()
    precision = _mean(cosines_TS.max(1), answer.tokens, weights)
    recall = _mean(cosines_TS.max(0), reference.tokens, weights)
    return precision, recall, 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def _mean(cosines_T: Numbers, tokens: Tokens, weights: Mapping[int, float] | None) -> float:
    counts_T = tokens.real.astype(np.float64)
    if weights is not None:
        counts_T = counts_T * [weights.get(token, weights[UNSEEN]) for token in tokens.ids.tolist()]
    return float(share((cosines_T * counts_T).sum(), counts_T.sum()))
