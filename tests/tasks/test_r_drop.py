"""R-Drop: every text is read twice, and what both readings cost is what torch's own losses make of them."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from danlu.corpus.batches import IGNORE, Batch, collate
from danlu.corpus.rows import Widths
from danlu.errors import RecipeError
from danlu.nn.hf.start import begin
from danlu.nn.transformer import Transformer
from danlu.recipe import build_choice
from danlu.tasks.classify import Classify
from danlu.tasks.documents import twice
from danlu.tasks.task import Known
from danlu.tasks.text_reader import TextReader
from danlu.train.dropout import Dropout

TEXTS = ["To be", "or not to be that is the question", "Once upon a time there was a", "a"]
LABELS = ("bad", "good")
KNOWN = Known(LABELS)
WEIGHT = 3.0
DATA: Any = SimpleNamespace(splits={"train": (SimpleNamespace(label="bad"),)}, labels=LABELS)


def task(**settings: Any) -> Classify:
    made = build_choice("task", {"use": "classify", "r_drop": WEIGHT, **settings}, key="finetune.task")
    assert isinstance(made, Classify)
    return made


def batch_of(folder: Path, made: Classify, *, rows: int = 1) -> Batch:
    """The texts in one row, or an equal part of them in each of several, filled up."""
    examples = [SimpleNamespace(texts=(text,), label=LABELS[n % 2]) for n, text in enumerate(TEXTS)]
    features = made.features(examples, KNOWN, TextReader.load(folder, max_tokens=24))
    each = len(features) // rows
    parts = [[feature.as_example() for feature in features[n * each : (n + 1) * each]] for n in range(rows)]
    width = max(sum(len(example.inputs["tokens"]) for example in part) for part in parts)
    return collate(parts, widths=Widths(width))


def model_of(folder: Path) -> Transformer:
    return begin(folder, "ForSequenceClassification", labels=2, seed=3).draw()


@pytest.mark.parametrize("rows", [1, 2])
def test_all_documents_stand_there_twice(encoder: Path, rows: int) -> None:
    batch = batch_of(encoder, task(), rows=rows)
    double = twice(batch)
    real = batch.inputs["segments"].flatten() != -1
    [tokens] = double.inputs["tokens"].tolist()
    assert tokens == batch.inputs["tokens"].flatten()[real].tolist() * 2
    [numbers] = double.inputs["segments"].tolist()
    assert sorted(set(numbers)) == list(range(2 * len(TEXTS))) and numbers == sorted(numbers)
    golds = double.targets["label"][double.targets["label"] != IGNORE].tolist()
    assert golds == [0, 1, 0, 1] * 2


@pytest.mark.parametrize("settings", [{}, {"label_smoothing": 0.1}, {"class_weights": {"good": 3}}], ids=str)
def test_the_loss_is_that_of_the_paper(
    encoder: Path, settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Liang et al. 2021, equations 2 to 4, divided by 2; the weight is half of their alpha."""
    made, model = task(**settings), model_of(encoder).train()
    scores = torch.randn(2 * len(TEXTS), 2, generator=torch.Generator().manual_seed(1))
    seen: list[Batch] = []

    def scored(self: Classify, model: Transformer, batch: Batch) -> Tensor:
        seen.append(batch)
        return scores

    monkeypatch.setattr(Classify, "scores", scored)
    known = made.know(DATA, model.config)
    batch = batch_of(encoder, made)
    found = made.losses(model, batch, known)
    first, second = scores.double().chunk(2)
    targets = torch.tensor([0, 1, 0, 1])
    weight = torch.tensor([1.0, 3.0]).double()[targets] if "class_weights" in settings else torch.ones(4).double()
    smoothing = settings.get("label_smoothing", 0.0)
    likelihoods = sum(
        (F.cross_entropy(each, targets, reduction="none", label_smoothing=smoothing) * weight).sum()
        for each in (first, second)
    )
    logs = first.log_softmax(-1), second.log_softmax(-1)
    apart = sum(F.kl_div(*each, log_target=True, reduction="sum") for each in (logs, logs[::-1])) / 2
    assert found["label"].item() == pytest.approx(((likelihoods + 2 * WEIGHT * apart) / 2).item(), rel=1e-5)
    assert len(seen) == 1 and len(seen[0].inputs["tokens"][0]) == 2 * len(batch.inputs["tokens"][0])


def test_only_dropout_tells_the_two_readings_apart(encoder: Path) -> None:
    made, plain, model = task(), task(r_drop=0.0), model_of(encoder)
    batch = batch_of(encoder, made)
    model.eval()
    once = plain.losses(model, batch, KNOWN)["label"]
    assert torch.equal(made.losses(model, batch, KNOWN)["label"], once)  # dev is read once
    assert torch.equal(task(label_smoothing=0.1).losses(model, batch, KNOWN)["label"], once)  # and as it is
    model.train()
    torch.manual_seed(0)
    differing = made.losses(model, batch, KNOWN)["label"]
    Dropout(model).scale(0.0)
    alike = made.losses(model, batch, KNOWN)["label"]
    torch.testing.assert_close(alike, once, rtol=1e-4, atol=1e-4)
    assert abs(differing.item() - once.item()) > 1e-3


def test_a_model_without_dropout_is_refused(encoder: Path) -> None:
    file = encoder / "config.json"
    none = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    file.write_text(json.dumps({**json.loads(file.read_text()), **none}))
    with pytest.raises(RecipeError, match=r"^finetune\.task\.r_drop .* none$"):
        task().know(DATA, model_of(encoder).config)
    task(r_drop=0.0).know(DATA, model_of(encoder).config)


def test_the_model_learns_by_it(encoder: Path) -> None:
    """A gradient of both readings reaches the model."""
    made, model = task(), model_of(encoder).train()
    made.losses(model, batch_of(encoder, made), KNOWN)["label"].backward()
    assert all(np.isfinite(float(weight.grad.norm())) for weight in model.parameters() if weight.grad is not None)
    assert model.embedding.weight.grad is not None and model.embedding.weight.grad.any()
