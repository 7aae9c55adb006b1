"""The rows of a step are those that the training is given, and what they say of documents is so."""

from __future__ import annotations

import re
import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from traced import Made

from danlu.corpus.reading import Bucketed, Packed
from danlu.corpus.store import TokenStore
from danlu.errors import InputError
from danlu.run_folder import RunFolder
from danlu.runs import run_stages
from danlu.tokenizers.tokenizer import Tokenizer
from danlu.tokenizers.vocabulary import Vocabulary
from danlu.trace.training import Order, packed
from danlu.train.pretrain import Pretrain
from danlu.train.setup import set_up


@pytest.mark.parametrize("rows", [None, Packed(), Bucketed()])
def test_a_step_has_the_text_that_the_training_is_given(made: Made, rows: Any) -> None:
    settings = made.recipe.section("pretrain")
    assert isinstance(settings, Pretrain)
    settings = settings.model_copy(update={"rows": rows})
    recipe = replace(made.recipe, sections={**made.recipe.sections, "pretrain": settings})
    tokenizer = Tokenizer.load(made.folder.stage("tokenizer"))
    store = TokenStore.open(made.folder.stage("pack") / "train")
    training = set_up(settings, store, vocabulary=Vocabulary.of(tokenizer), seed=recipe.seed)
    order = Order(recipe, made.folder)
    for step in (1, 2, 40):
        given: Counter[str] = Counter()
        for batch in training.batches(step - 1):
            (targets_BT,) = batch.targets.values()
            for targets in targets_BT.tolist():
                given[tokenizer.decode([target for target in targets if target >= 0])] += 1
        traced = Counter("".join(stretch.text for stretch in order.of_row(row)) for row in order.of_step(step))
        assert traced == given


def test_a_training_is_traced_where_its_device_is_not(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = made.recipe.section("pretrain")
    assert isinstance(settings, Pretrain)
    hardware = settings.hardware.model_copy(update={"device": "cuda"})
    sections = {**made.recipe.sections, "pretrain": settings.model_copy(update={"hardware": hardware})}
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    order, here = Order(replace(made.recipe, sections=sections), made.folder), Order(made.recipe, made.folder)
    assert order.of_step(3) == here.of_step(3)


def test_stretches_of_an_epoch_are_all_tokens_of_all_documents(made: Made) -> None:
    order = Order(made.recipe, made.folder)
    store = TokenStore.open(made.folder.stage("pack") / "train")
    seen: dict[str, Counter[int]] = {}
    for row in range(order._reader.rows.per_epoch):
        for stretch in order.of_row(row):
            seen.setdefault(stretch.id, Counter()).update(range(stretch.first, stretch.end))
            assert stretch.text in made.texts[stretch.id] or "\ufffd" in stretch.text
    lengths = {known["id"]: int(store.starts[number + 1] - store.starts[number]) - 1
               for number, known in enumerate(store.documents)}  # fmt: skip
    assert {name: Counter(range(length)) for name, length in lengths.items()} == seen
    assert {order.epoch(row) for row in (0, order._reader.rows.per_epoch)} == {0, 1}


def test_where_a_document_is_packed(made: Made) -> None:
    parts = Counter(place.part for identity in made.texts for place in packed(made.folder, identity))
    assert parts.total() == len(made.texts) and set(parts) == {"train", "heldout"}
    (place,) = packed(made.folder, "b.txt#1.0")
    store = TokenStore.open(made.folder.stage("pack") / place.part)
    begin = int(store.starts[place.document]) + 1
    tokenizer = Tokenizer.load(made.folder.stage("tokenizer"))
    assert tokenizer.decode(store.tokens[begin : begin + place.tokens].tolist()) == made.texts["b.txt#1.0"]
    assert packed(made.folder, "short.jsonl#0") == []


@pytest.mark.parametrize(("rows", "most"), [(Packed(), 5 * 3), (Bucketed(), None)])
def test_a_planned_training_has_no_rows_behind_its_last_step(made: Made, tmp_path: Path, rows: Any, most: int) -> None:
    shutil.copytree(made.folder.path, tmp_path / "run")
    (tmp_path / "run/pretrain").mkdir()
    (tmp_path / "run/pretrain/plan.json").write_text('{"length": {"steps": 5}}')
    settings = made.recipe.section("pretrain")
    assert isinstance(settings, Pretrain)
    sections = {**made.recipe.sections, "pretrain": settings.model_copy(update={"rows": rows})}
    order = Order(replace(made.recipe, sections=sections), RunFolder(tmp_path / "run"))
    last = max(row for step in range(1, 6) for row in order.of_step(step))
    assert list(order.of_row(last))
    with pytest.raises(InputError, match=r"--row must be from 0 to ") as told:
        list(order.of_row(10 * last + 1000))
    assert most is None or f"from 0 to {most - 1};" in str(told.value)
    with pytest.raises(InputError, match=r"--step must be from 1 to 5, as metrics.jsonl counts; got 6"):
        order.of_step(6)


@pytest.mark.parametrize(
    ("section", "told"),
    [({"batch": 4}, r"\(pretrain.batch\)"), ({"rows": Bucketed()}, r"\(pretrain.rows\)"), ({}, None)],
)
def test_a_recipe_that_orders_otherwise_than_the_training_did(
    made: Made, tmp_path: Path, section: dict[str, Any], told: str | None
) -> None:
    shutil.copytree(made.folder.path, tmp_path / "run")
    recipe = replace(made.recipe, run_dir=tmp_path / "run")
    run_stages(recipe, ["pretrain"], lambda line: None, begin=lambda stage: None)
    settings = recipe.section("pretrain")
    assert isinstance(settings, Pretrain)
    other = replace(recipe, sections={**recipe.sections, "pretrain": settings.model_copy(update=section)})
    changed = Order(other, RunFolder(tmp_path / "run")).changed()
    assert changed == [] if told is None else re.search(f"the recipe has changed since pretrain ran {told}", *changed)


def test_rows_and_steps_that_are_not_there(made: Made) -> None:
    order = Order(made.recipe, made.folder)
    with pytest.raises(InputError, match=r"--step must be from 1, as metrics.jsonl counts; got 0"):
        order.of_step(0)
    for row in (-1, 1 << 62, 10**40):
        with pytest.raises(InputError, match=f"--row must be from 0 to [0-9,]+; got {row}$"):
            list(order.of_row(row))
    with pytest.raises(InputError, match=f"--step must be from 1 to [0-9,]+, as metrics.jsonl counts; got {10**40}$"):
        order.of_step(10**40)
    order.of_step((1 << 62) // 3)
    sections = {name: section for name, section in made.recipe.sections.items() if name != "pretrain"}
    with pytest.raises(InputError, match="are of a pretraining, which the recipe lacks"):
        Order(replace(made.recipe, sections=sections), made.folder)
