"""What a trace says of a row is what the loader puts into the batch, for every way of rows and every objective.

The batches are those of the training's own loader. From each row the tokens of its texts are put together again
(recovered.py). The trace says which documents these are, and which tokens of them; the truth is the file
on the disk: its bytes at the offset that the trace names, encoded anew.
"""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from recovered import both_sides, examples, masked, middle, paired, spans, stream, written

from danlu import catalog
from danlu.corpus.batches import Batch, StepBatches
from danlu.corpus.reading import Size
from danlu.corpus.store import TokenStore
from danlu.nn.hf.folder import save_model
from danlu.nn.transformer import Transformer
from danlu.objectives.protocol import Shape
from danlu.parallel.mesh import Place
from danlu.recipe import Recipe, load_recipe
from danlu.run_folder import RunFolder
from danlu.runs import run_stages
from danlu.tokenizers.tokenizer import Tokenizer
from danlu.tokenizers.vocabulary import Vocabulary
from danlu.trace.training import Order
from danlu.trace.walk import of_document, of_row
from danlu.train.gradients import OwnBatches
from danlu.train.pretrain import Pretrain
from danlu.train.setup import set_up

RECIPE = """
run_dir: {folder}/run
seed: 11
clean:
  sources:
    - {{path: {folder}/texts/en.jsonl, language: en}}
    - {{path: {folder}/texts/zh.jsonl, language: zh}}
    - {{path: {folder}/texts/pairs.jsonl, language: en, target_field: target}}
  normalise: {{spaces: keep}}
tokenizer: {{use: bpe, vocab_size: 480, special: [bert, t5, fim]}}
pack:
  split: {{use: hash, fraction: 0.1}}
  marks: [words, sentences]
pretrain:
  model: {{use: gpt, layers: 1, dim: 16}}
  sequence: 40
  batch: 4
  budget: {{steps: 60}}
"""
MODELS = {
    "decoder": {"use": "gpt", "layers": 1, "dim": 16, "heads": 2},
    "encoder": {"use": "bert", "layers": 1, "dim": 16, "heads": 2},
    "t5": {"use": "t5", "layers": 1, "dim": 16, "heads": 2},
    "bart": {"use": "bart", "layers": 1, "dim": 16, "heads": 2},
}
Texts = tuple[tuple[int, ...], ...]
"""The tokens of each text of a row, in the order in which the model reads them."""


@dataclass
class World:
    """A run up to what a training reads."""

    recipe: Recipe
    folder: RunFolder

    @cached_property
    def store(self) -> TokenStore:
        return TokenStore.open(self.folder.stage("pack") / "train")

    @cached_property
    def tokenizer(self) -> Tokenizer:
        return Tokenizer.load(self.folder.stage("tokenizer"))

    @cached_property
    def vocabulary(self) -> Vocabulary:
        return Vocabulary.of(self.tokenizer)

    def told(self, **settings: Any) -> Recipe:
        """The recipe with other settings of the training."""
        lines = self.recipe.to_yaml().encode()
        path = self.folder.path.parent / "other.yaml"
        path.write_bytes(lines)
        return load_recipe(path, [f"pretrain.{key}={json.dumps(value)}" for key, value in settings.items()])


TREES = ["oak", "elm", "ash", "yew", "fir", "pine", "rose", "reed", "fern", "moss"]


def sentence(number: int, words: int) -> str:
    chosen = np.random.default_rng(number).choice(TREES, words)
    return f"{' '.join(chosen).capitalize()} {number}."


def write_texts(folder: Path) -> None:
    folder.mkdir()
    numbers = np.random.default_rng(3)
    english = [" ".join(sentence(10 * n + k, 4) for k in range(numbers.integers(1, 9))) for n in range(50)]
    chinese = ["".join(f"第{n}棵树长在第{k}座山上。" for k in range(numbers.integers(1, 6))) for n in range(25)]
    pairs = [(sentence(900 + n, 4), f"Tree {n}.") for n in range(20)]
    for name, lines in (
        ("en", [{"text": text} for text in english]),
        ("zh", [{"text": text} for text in chinese]),
        ("pairs", [{"text": source, "target": target} for source, target in pairs]),
    ):
        (folder / f"{name}.jsonl").write_text(
            "".join(f"{json.dumps(line, ensure_ascii=False)}\n" for line in lines), encoding="utf-8"
        )


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """Not to be changed."""
    folder = tmp_path_factory.mktemp("objectives")
    write_texts(folder / "texts")
    path = folder / "r.yaml"
    path.write_text(RECIPE.format(folder=folder))
    recipe = load_recipe(path)
    run_stages(recipe, ["clean", "tokenizer", "pack"], lambda line: None, begin=lambda stage: None)
    return World(recipe, RunFolder(recipe.run_dir))


Recover = Callable[[dict[str, list[int]], Vocabulary], list[list[int]]]
CASES: dict[str, tuple[str, Any, Recover]] = {
    "clm": ("decoder", "clm", stream),
    "mlm": ("encoder", {"use": "mlm", "units": "words"}, masked),
    "nsp": ("encoder", {"use": "nsp", "short_share": 0.5}, paired),
    "sop": ("encoder", {"use": "sop", "short_share": 0.5}, paired),
    "prefix_lm": ("decoder", "prefix_lm", stream),
    "fim": ("decoder", {"use": "fim", "rate": 0.7}, middle),
    "span_corruption": ("t5", {"use": "span_corruption", "sentinels": 20}, spans),
    "ul2": ("t5", {"use": "ul2", "sentinels": 20}, spans),
    "bart": ("bart", "bart", written),
    "seq2seq": ("t5", "seq2seq", both_sides),
    "seq2seq of a decoder": ("decoder", {"use": "seq2seq", "encoder": False}, stream),
    "distil": ("encoder", {"use": "distil", "of": {"use": "nsp", "short_share": 0.3}}, paired),
    "multitask": ("decoder", {"use": "multitask", "tasks": {
        "plain": {"objective": "clm", "documents": {"language": ["zh"]}},
        "moved": {"objective": {"use": "fim", "rate": 0.7}, "documents": {"source": ["en.jsonl"]}, "rows": "padded"},
    }}, middle),
}  # fmt: skip


def settings_of(world: World, case: str, **more: Any) -> Recipe:
    model, objective, _ = CASES[case]
    if case == "distil":
        objective = {**objective, "teacher": str(teacher(world))}
    return world.told(model=MODELS[model], objective=objective, **more)


def teacher(world: World) -> Path:
    folder = world.folder.path.parent / "teacher"
    if not folder.exists():
        settings = world.told(model=MODELS["encoder"], objective="nsp").section("pretrain")
        assert isinstance(settings, Pretrain)
        model = Transformer(settings.shape(world.store.vocab_size))
        model.initialise(1)
        save_model(model, folder, tokenizer=world.folder.stage("tokenizer"))
    return folder


def loader(world: World, recipe: Recipe) -> StepBatches:
    """The training's own."""
    settings = recipe.section("pretrain")
    assert isinstance(settings, Pretrain)
    return set_up(settings, world.store, vocabulary=world.vocabulary, seed=recipe.seed).batches.whole


def given(world: World, batches: Sequence[Batch], recover: Recover) -> Counter[tuple[str, Texts]]:
    """The task and the texts of each row that the model is given."""
    return Counter(
        (batch.task, tuple(tuple(text) for each in row for text in recover(each, world.vocabulary)))
        for batch in batches
        for row in examples(batch)
    )


def traced(world: World, order: Order, step: int) -> Counter[tuple[str, Texts]]:
    """The same by what the trace says, and by the files that it names."""
    found: Counter[tuple[str, Texts]] = Counter()
    for row in order.of_step(step):
        told = of_row(world.folder, order, row)
        sources = {each["id"]: each["source"] for each in told["documents"]}
        texts = [from_disk(world, sources[each["id"]])[each["first"] : each["end"]] for each in told["stretches"]]
        tokens = [(each["text"], each["tokens"]) for each in told["stretches"]]
        for (text, length), piece, each in zip(tokens, texts, told["stretches"], strict=True):
            assert world.tokenizer.decode(list(piece)) == text
            assert length == len(from_disk(world, sources[each["id"]]))
        (task,) = {each["task"] for each in told["stretches"]}
        found[task, tuple(texts)] += 1
    return found


def spelled(world: World, rows: Counter[tuple[str, Texts]]) -> Counter[tuple[str, tuple[bytes, ...]]]:
    """The same texts without saying which tokens they are."""
    write = world.tokenizer.token_bytes
    return Counter(
        {(task, tuple(b"".join(map(write, text)) for text in texts)): n for (task, texts), n in rows.items()}
    )


def from_disk(world: World, source: dict[str, Any]) -> tuple[int, ...]:
    """The tokens of the record that begins at the byte that a trace names."""
    with Path(source["file"]).open("rb") as file:
        file.seek(source["offset"])
        line = file.readline()
    assert source["state"] == "unchanged" and bytes.fromhex(source["raw_hex"])[: len(line)] == line[:400]
    record = json.loads(line)
    sides = [world.tokenizer.encode(record[name]) for name in ("text", "target") if name in record]
    return tuple(sides[0] if len(sides) == 1 else [*sides[0], world.vocabulary.roles["sep"], *sides[1]])


def test_every_objective_of_the_catalog_is_followed() -> None:
    named = {objective if isinstance(objective, str) else objective["use"] for _, objective, _ in CASES.values()}
    assert named == set(catalog.names("objective"))


@pytest.mark.parametrize("case", CASES)
def test_every_objective(world: World, case: str) -> None:
    recipe = settings_of(world, case)
    batches, order = loader(world, recipe), Order(recipe, world.folder)
    for step in (1, 2, 30):
        told, read = traced(world, order, step), given(world, batches(step - 1), CASES[case][2])
        if CASES[case][2] is middle:  # where words are cut in two, their halves have tokens of their own
            told, read = spelled(world, told), spelled(world, read)
        assert told == read, step


WAYS = [(case, rows) for case in ("clm", "nsp", "span_corruption") for rows in catalog.names("rows")
        if case == "clm" or rows != "stream"]  # fmt: skip


@pytest.mark.parametrize(("case", "rows"), WAYS)
def test_every_way_of_rows_in_three_epochs(world: World, case: str, rows: str) -> None:
    recipe = settings_of(world, case, rows=rows, batch=8)
    settings = recipe.section("pretrain")
    assert isinstance(settings, Pretrain)
    training = set_up(settings, world.store, vocabulary=world.vocabulary, seed=recipe.seed)
    order, epoch = Order(recipe, world.folder), training.steps_per_epoch
    for step in (1, int(epoch) + 1, int(2 * epoch) + 2):
        assert traced(world, order, step) == given(world, training.batches(step - 1), CASES[case][2]), step
    epochs = {order.epoch(row) for step in (1, int(2 * epoch) + 2) for row in order.of_step(step)}
    assert min(epochs) == 0 and max(epochs) >= 2


@pytest.mark.parametrize(
    "rows", [{"use": "packed", "overlap": 8}, {"use": "padded", "long": "head"}, {"use": "bucketed", "long": "tail"}]
)
def test_documents_that_are_cut(world: World, rows: dict[str, Any]) -> None:
    recipe = settings_of(world, "clm", rows=rows, sequence=24)
    batches, order = loader(world, recipe), Order(recipe, world.folder)
    for step in range(1, 9):
        assert traced(world, order, step) == given(world, batches(step - 1), stream), step


PARTS = {
    "english": {"documents": {"source": ["en.jsonl"]}, "weight": 2},
    "chinese": {"documents": {"language": ["zh"]}, "weight": 1},
}


@pytest.mark.parametrize(
    "mixture",
    [
        {"use": "weights", "parts": PARTS},
        {"use": "weights", "parts": {**PARTS, "chinese": {**PARTS["chinese"], "max_epochs": 3}}},
        {"use": "temperature", "temperature": 3.0},
        {"use": "curriculum", "periods": [
            {"until": 7, "mixture": {"use": "weights", "parts": PARTS}},
            {"until": 30, "mixture": {"use": "temperature"}},
            {"mixture": {"use": "weights", "parts": {"chinese": PARTS["chinese"]}}},
        ]},
    ],
    ids=["weights", "max_epochs", "temperature", "curriculum"],
)  # fmt: skip
@pytest.mark.parametrize("case", ["clm", "nsp"])
def test_mixtures(world: World, case: str, mixture: dict[str, Any]) -> None:
    """Parts are stores of their own within the store, in which next-sentence prediction draws, too."""
    recipe = settings_of(world, case, mixture=mixture)
    batches, order = loader(world, recipe), Order(recipe, world.folder)
    for step in (1, 7, 8, 31, 60):
        assert traced(world, order, step) == given(world, batches(step - 1), CASES[case][2]), step


@pytest.mark.parametrize("micro_batch", [1, 2, 8])
@pytest.mark.parametrize("ranks", [1, 2, 3, 4])
def test_ranks_with_micro_batches_have_together_what_is_traced(world: World, ranks: int, micro_batch: int) -> None:
    """Whoever reads them, and however many rows at once: what is accumulated over a step is what the trace says."""
    for rows in ("packed", "bucketed"):
        recipe = settings_of(world, "nsp", batch=8, rows=rows)
        settings, order = recipe.section("pretrain"), Order(recipe, world.folder)
        assert isinstance(settings, Pretrain)
        example = loader(world, recipe).example
        size, shape = Size(settings.batch, micro_batch, ranks), Shape(settings.objective, settings.sequence)
        reader = settings.reading.read(world.store, shape, example, size=size, seed=recipe.seed)
        for step in (1, 9):
            each = [OwnBatches(reader.batches, Place(rank, data_size=ranks))(step - 1) for rank in range(ranks)]
            assert sum(map(len, each)) > 1 or micro_batch == 8
            together = [batch for batches in each for batch in batches]
            assert traced(world, order, step) == given(world, together, paired)


def test_what_a_resumed_training_reads(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The batches of a training that was stopped and goes on, as they reach its steps."""
    folder = tmp_path / "run"
    shutil.copytree(world.folder.path, folder)
    recipe = replace(settings_of(world, "nsp", budget={"steps": 6}, save={"steps": 2}), run_dir=folder)
    make, read, stop = OwnBatches.__call__, {}, [True]

    def noted(self: OwnBatches, step: int) -> list[Batch]:
        if step == 4 and stop[0]:
            raise KeyboardInterrupt
        read.setdefault(step + 1, []).append(batches := make(self, step))
        return batches

    monkeypatch.setattr(OwnBatches, "__call__", noted)
    with pytest.raises(KeyboardInterrupt):
        run_stages(recipe, ["pretrain"], lambda line: None, begin=lambda stage: None)
    stop[0] = False
    before = {step: len(each) for step, each in read.items()}
    run_stages(recipe, ["pretrain"], lambda line: None, begin=lambda stage: None)
    assert len(read[1]) == before[1] and len(read[6]) == 1, "it went on behind its checkpoint"
    order = Order(recipe, RunFolder(folder))
    for step, each in read.items():
        for batches in each:
            assert traced(world, order, step) == given(world, batches, paired)
    assert order.changed() == []


def test_what_is_held_out_is_in_no_row(world: World) -> None:
    """Neither as the text of a row nor as what is drawn beside it; and the trace of one says where it is."""
    held = {each["id"] for each in TokenStore.open(world.folder.stage("pack") / "heldout").documents}
    order = Order(settings_of(world, "nsp"), world.folder)
    drawn = [each for row in range(150) for each in order.of_row(row)]
    assert held and not held & {each.id for each in drawn}
    assert any(each.drawn for each in drawn)
    assert {place["part"] for each in held for place in of_document(world.folder, each)["pack"]} == {"heldout"}


def test_half_of_the_pairs_have_a_text_that_is_drawn(world: World) -> None:
    """Of another document of the same language, as the label of the pair says."""
    recipe = settings_of(world, "nsp", rows="padded")
    batches, order = loader(world, recipe), Order(recipe, world.folder)
    for step in range(1, 6):
        labels = Counter(int(label) for batch in batches(step - 1) for label in batch.targets["pairs"][:, 0])
        rows = [list(order.of_row(row)) for row in order.of_step(step)]
        assert all(len(row) == 2 and not row[0].drawn for row in rows)
        assert Counter(int(row[1].drawn) for row in rows) == labels
        assert all((row[0].id != row[1].id) == row[1].drawn for row in rows)
