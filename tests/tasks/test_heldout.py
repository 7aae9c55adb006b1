"""The held-out loss of a task: of each text of dev by itself, though many are read in a row."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from danlu.data.dataset import Data, load
from danlu.tasks.classify import Classify
from danlu.tasks.finetune import Finetune
from danlu.tasks.material import Material
from danlu.tasks.teaching import teaching_of
from danlu.train.monitor import Heldout

WORDS = ("to", "be", "or", "not", "that", "is", "the", "question")


@pytest.mark.parametrize(("room", "longest"), [(64, 9), (200, 9), (2, 9)])
def test_texts_of_dev_are_read_in_as_few_rows_as_there_is_room(
    room: int, longest: int, encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the batch; a text that is longer than the room has a row of its own."""
    monkeypatch.setattr("danlu.tasks.teaching.TOKENS_AT_ONCE", room)
    texts = [" ".join(WORDS[: 1 + number % 7]) for number in range(60)]
    rows = [{"text": text, "label": ("bad", "good")[number % 2]} for number, text in enumerate(texts)]
    file = tmp_path / "data.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    task = Classify()
    settings = Finetune(
        data=Data(train=file, dev=file), task=task, model=encoder, precision="fp32", batch=4, hardware={"device": "cpu"}
    )
    material = Material.of(settings, encoder, load(settings.data, task.form), out=tmp_path, seed=1)
    teaching = teaching_of(task)(material, 1)
    training = teaching.training()
    measure = teaching.heldout(training)
    assert isinstance(measure.loss, Heldout)
    lengths = [len(feature.tokens) for feature in material.features["dev"]]
    widths = [made.tokens for made in measure.loss._batches()]
    assert sum(widths) == sum(lengths)
    assert max(lengths) == longest
    most = max(room, longest)
    assert max(widths) <= most and len(widths) <= -(-sum(lengths) // (most - longest + 1))

    found = measure.measure(training.model).losses["label"]
    golds = torch.tensor([material.known.labels.index(row["label"]) for row in rows])
    training.model.eval()
    with torch.no_grad():
        alone = torch.cat([
            training.model.head(training.model(torch.as_tensor(feature.tokens).long()[None]))
            for feature in material.features["dev"]
        ])  # fmt: skip
    assert found == pytest.approx(F.cross_entropy(alone, golds).item(), rel=1e-5)
