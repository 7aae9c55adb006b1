"""What every objective of the catalog has to do, on a tiny text with a tiny model that fits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from danlu import catalog
from danlu.corpus.batches import Batch, Example, collate
from danlu.corpus.marks import all_bits
from danlu.corpus.reading import Packed, Reader, Size
from danlu.corpus.rows import Piece
from danlu.corpus.store import TokenStore
from danlu.errors import RecipeError
from danlu.nn.families import GPT, T5, Bart, Bert
from danlu.nn.hf.folder import save_model
from danlu.nn.transformer import Transformer
from danlu.objectives.protocol import AnyObjective, Lesson, Shape
from danlu.optim.adamw import AdamW
from danlu.optim.depth import build_optimizer
from danlu.recipe import build_choice
from danlu.tokenizers.vocabulary import Vocabulary
from danlu.train.gradients import Gradients, count_targets
from danlu.train.loop import fit
from danlu.train.precision import FloatMasters

SIZE, SEQUENCE, BATCH = 100, 48, 6
ROLES = {"eot": 0, "pad": 1, "cls": 2, "sep": 3, "mask": 4, "fim_prefix": 5, "fim_middle": 6, "fim_suffix": 7,
         "start": 0}  # fmt: skip
SENTINELS = tuple(range(8, 48))
WORDS = 56
MODELS = {
    "decoder": GPT(layers=2, dim=32, heads=2), "encoder": Bert(layers=2, dim=32, heads=2),
    "t5": T5(layers=1, dim=32, heads=2), "bart": Bart(layers=1, dim=32, heads=2),
}  # fmt: skip


@dataclass(frozen=True)
class Case:
    """An objective of the catalog, settings that make sense of a tiny text, and a model that can learn it."""

    use: str
    model: str
    settings: dict[str, Any]
    teacher: bool = False

    @property
    def recipe(self) -> dict[str, Any]:
        return {"use": self.use, **self.settings}


CASES = {
    "clm": Case("clm", "decoder", {}),
    "mlm": Case("mlm", "encoder", {"rate": 0.3}),
    "mlm of words": Case("mlm", "encoder", {"units": "words"}),
    "nsp": Case("nsp", "encoder", {}),
    "sop": Case("sop", "encoder", {}),
    "prefix_lm": Case("prefix_lm", "decoder", {}),
    "fim": Case("fim", "decoder", {"rate": 0.7}),
    "span_corruption": Case("span_corruption", "t5", {"sentinels": 20}),
    "ul2": Case("ul2", "t5", {"sentinels": 20}),
    "bart": Case("bart", "bart", {}),
    "seq2seq": Case("seq2seq", "t5", {}),
    "seq2seq of a decoder": Case("seq2seq", "decoder", {"encoder": False, "prefix": True}),
    "distil": Case("distil", "decoder", {"hidden": 0.3, "attention": 0.2}, teacher=True),
    "distil of mlm": Case("distil", "encoder", {"of": "mlm", "hidden": 0.3, "attention": 0.2}, teacher=True),
    "distil of spans": Case("distil", "t5", {"of": {"use": "span_corruption", "sentinels": 20}, "hidden": 0.3},
                            teacher=True),
    "multitask": Case("multitask", "decoder", {"tasks": {
        "a": {"objective": "clm", "weight": 2.0, "documents": {"language": "en"}},
        "b": {"objective": {"use": "fim", "rate": 0.9}, "documents": {"language": "zh"}},
    }}),
}  # fmt: skip
BY_NAME = pytest.mark.parametrize("name", CASES)


def test_every_objective_has_a_case() -> None:
    assert {case.use for case in CASES.values()} == set(catalog.names("objective"))


@cache
def make_store() -> TokenStore:
    """Documents of repeated phrases, some longer than a row, each with a separator in it, all marks where words are."""
    numbers = np.random.default_rng(4)
    phrases = [numbers.integers(WORDS, SIZE, 3) for _ in range(4)]
    parts, marks = [np.array([0])], [np.array([all_bits(("words", "phrases", "sentences"))])]
    for length in [*numbers.integers(3, 9, 40), 30, 25]:
        body = np.concatenate([phrases[n] for n in numbers.integers(0, 4, length)])
        body[len(body) // 2] = ROLES["sep"]
        parts.append(np.append(body, 0))
        marks.append(np.append(np.where(np.arange(len(body)) % 3, 0, marks[0]), marks[0]))
    lengths = [len(part) for part in parts[1:]]
    about = [{"language": "zh" if n % 3 else "en", "source": "", "bytes": 1, "id": str(n)} for n in range(len(lengths))]
    return TokenStore(
        np.concatenate(parts), np.concatenate(([0], np.cumsum(lengths))), about, SIZE, 0,
        np.concatenate(marks).astype(np.uint8), ("words", "phrases", "sentences"), ROLES["sep"],
    )  # fmt: skip


@cache
def make_vocabulary() -> Vocabulary:
    special = np.array(sorted({*ROLES.values(), *SENTINELS}))
    return Vocabulary(SIZE, 0, dict(ROLES), SENTINELS, np.arange(WORDS, SIZE), special)


@pytest.fixture(scope="session")
def teachers(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The folder of a model of another width, drawn at random."""

    @cache
    def make(model: str) -> Path:
        folder = tmp_path_factory.mktemp(model)
        wide = MODELS[model].model_copy(update={"dim": 64})  # type: ignore[attr-defined]
        save_model(drawn(Transformer(wide.config(vocab_size=SIZE, max_length=64))), folder)
        return folder

    return make


@pytest.fixture
def make_objective(teachers: Callable[[str], Path]) -> Callable[[str], AnyObjective]:
    def make(name: str) -> AnyObjective:
        case = CASES[name]
        told = {"teacher": str(teachers(case.model))} if case.teacher else {}
        made: AnyObjective = build_choice("objective", {**case.recipe, **told}, key="pretrain.objective")
        return made

    return make


def drawn(model: Transformer) -> Transformer:
    """Weights that make every part matter."""
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for weight in model.parameters():
            weight.normal_(1.0 if weight.ndim == 1 else 0.0, 0.2, generator=generator)
    return model


def make_model(objective: AnyObjective, name: str) -> Transformer:
    config = objective.config(MODELS[CASES[name].model].config(vocab_size=SIZE, max_length=64))
    return Transformer(config)


def read(objective: AnyObjective, *, micro_batch: int = BATCH, packed: bool = False) -> Reader:
    store, vocabulary = make_store(), make_vocabulary()
    objective.check(vocabulary, store)
    example = partial(objective.example, vocabulary=vocabulary)
    reading = objective.read_by(Packed() if packed else None)
    return reading.read(store, Shape(objective, SEQUENCE), example, size=Size(BATCH, micro_batch), seed=3)


def pieces(objective: AnyObjective) -> list[Piece]:
    """Of some rows, packed."""
    reader = read(objective, packed=True)
    return [piece for number in range(min(12, reader.rows.per_epoch)) for piece in reader.rows[number]]


def example(objective: AnyObjective, piece: Piece, seed: int) -> Example:
    return objective.example(piece, vocabulary=make_vocabulary(), noise=np.random.default_rng(seed))


def parts(made: Example) -> dict[str, list[int]]:
    both = {"inputs": made.inputs, "targets": made.targets, "source": made.source}
    return {f"{side}.{name}": values.tolist() for side, each in both.items() for name, values in each.items()}


@BY_NAME
def test_settings_survive_yaml(name: str, make_objective: Callable[[str], AnyObjective]) -> None:
    objective = make_objective(name)
    assert build_choice("objective", objective.to_recipe(), key="o") == objective


@BY_NAME
def test_an_example_follows_from_its_noise(name: str, make_objective: Callable[[str], AnyObjective]) -> None:
    objective = make_objective(name)
    first, again = ([parts(example(objective, piece, 1)) for piece in pieces(objective)] for _ in range(2))
    assert first == again
    for made in first:
        assert len({len(values) for key, values in made.items() if not key.startswith("source")}) == 1


@BY_NAME
def test_no_example_is_wider_than_was_said(name: str, make_objective: Callable[[str], AnyObjective]) -> None:
    objective = make_objective(name)
    for number, piece in enumerate(pieces(objective)):
        own = objective.tasks[piece.task].objective if piece.task else objective  # type: ignore[attr-defined]
        said = own.measure(piece.store, np.array([piece.start + 1]), np.array([len(piece.body)]))
        assert bool(np.all(said.fit(own.room(SEQUENCE))))
        for seed in range(3):
            made = example(objective, piece, 10 * number + seed)
            assert len(made.inputs["tokens"]) <= int(np.max(said.inputs))
            assert len(made.source.get("tokens", ())) <= int(np.max(said.source))


def lesson_for(objective: AnyObjective, model: Transformer, dtype: torch.dtype) -> Lesson:
    lesson = objective.prepare(model.config, dtype=dtype, seed=1)
    if lesson.modules is not None:
        lesson.modules.to(dtype)
    return lesson


def trained(model: Transformer, lesson: Lesson) -> dict[str, torch.nn.Parameter]:
    own = {} if lesson.modules is None else {f"own.{n}": p for n, p in lesson.modules.named_parameters()}
    return {**dict(model.named_parameters()), **own}


@BY_NAME
def test_the_loss_falls_within_thirty_steps(name: str, make_objective: Callable[[str], AnyObjective]) -> None:
    objective = make_objective(name)
    model = make_model(objective, name)
    model.initialise(1)
    lesson = lesson_for(objective, model, torch.float32)
    optimizer = build_optimizer(AdamW(lr=0.01), trained(model, lesson).items())
    losses: list[float] = []
    fit(model, read(objective).batches, lesson, optimizer, lambda _: 1.0, steps=30,
        hooks=[lambda info: losses.append(info.loss)])  # fmt: skip
    assert sum(losses[-4:]) / 4 < 0.9 * losses[0]


def gradients(objective: AnyObjective, name: str, batches: list[Batch]) -> dict[str, Tensor]:
    """Of a step in float64."""
    model = drawn(make_model(objective, name)).double().train()
    lesson = lesson_for(objective, model, torch.float64)
    weights = trained(model, lesson)
    optimizer = torch.optim.SGD(weights.values())
    Gradients(model, lesson, optimizer, FloatMasters(model, torch.float32)).add(batches, count_targets(batches))
    return {key: weight.grad for key, weight in weights.items() if weight.grad is not None}


@BY_NAME
def test_a_step_is_the_same_however_it_is_cut(name: str, make_objective: Callable[[str], AnyObjective]) -> None:
    objective = make_objective(name)
    whole = read(objective).batches(0)
    expected = gradients(objective, name, whole)
    assert len(expected) > 10
    for cut in (read(objective, micro_batch=1).batches(0), [half for batch in whole for half in batch.halves()]):
        found = gradients(objective, name, cut)
        assert found.keys() == expected.keys()
        for key, gradient in found.items():
            bound = 1e-10 * max(1.0, float(expected[key].abs().max()))
            torch.testing.assert_close(gradient, expected[key], rtol=0, atol=bound, msg=key)


@BY_NAME
def test_packed_examples_cost_what_they_cost_alone(name: str, make_objective: Callable[[str], AnyObjective]) -> None:
    objective = make_objective(name)
    model = drawn(make_model(objective, name)).double().train()
    lesson = lesson_for(objective, model, torch.float64)
    reader = read(objective, packed=True)
    row = next(row for row in (reader.rows[number] for number in range(50)) if len(row) > 1)
    own = objective.tasks[row[0].task].objective if row[0].task else objective  # type: ignore[attr-defined]
    made = [example(objective, piece, n) for n, piece in enumerate(row)]
    widths = own.room(SEQUENCE) if row[0].task else reader.batches.groups(0)[0].widths

    def losses(examples: list[Example]) -> dict[str, Tensor]:
        with torch.no_grad():
            return lesson.losses(model, collate([examples], widths=widths, task=row[0].task))

    together, alone = losses(made), [losses([one]) for one in made]
    for key, value in together.items():
        # The tables of rotary positions are float32, and positions count on from document to document.
        torch.testing.assert_close(value, torch.stack([each[key] for each in alone]).sum(), rtol=1e-6, atol=1e-9)


@BY_NAME
def test_a_model_of_other_sides_is_refused(name: str, make_objective: Callable[[str], AnyObjective]) -> None:
    other = {"decoder": "encoder", "encoder": "t5", "t5": "decoder", "bart": "decoder"}[CASES[name].model]
    with pytest.raises(RecipeError, match="needs a model with"):
        make_objective(name).config(MODELS[other].config(vocab_size=SIZE, max_length=64))
