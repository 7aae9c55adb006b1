"""Several objectives over one model: each loss is what its objective alone would have, weighted and named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from danlu.corpus.batches import Batch
from danlu.corpus.reading import Size
from danlu.corpus.store import TokenStore
from danlu.errors import RecipeError
from danlu.log import read_metrics
from danlu.nn.families import GPT, T5, Bert
from danlu.nn.transformer import Transformer
from danlu.objectives.clm import CausalLM
from danlu.objectives.mlm import MaskedLM
from danlu.objectives.multitask import Multitask
from danlu.objectives.protocol import Shape, total_loss
from danlu.recipe import Recipe, build, build_choice, load_recipe, plain, recipe_schema
from danlu.runs import run_stages
from danlu.tokenizers.vocabulary import Vocabulary
from danlu.train.checkpoint import load_newest
from danlu.train.pretrain import Pretrain
from danlu.train.setup import set_up

SIZE = 40
VOCABULARY = Vocabulary.bare(SIZE, 0)


def tasks(**settings: Any) -> Multitask:
    known = {
        "plain": {"objective": "clm", "weight": 2.0, "documents": {"language": "en"}},
        "smooth": {"objective": {"use": "clm", "label_smoothing": 0.3}, "documents": {"language": ["zh"]}},
    }
    return build(Multitask, {"tasks": known, **settings}, key="pretrain.objective")


@pytest.fixture
def store() -> TokenStore:
    numbers = np.random.default_rng(3)
    lengths = numbers.integers(3, 9, 30)
    parts = [np.append(numbers.integers(1, SIZE, length), 0) for length in lengths]
    about = [{"language": "en" if n % 3 else "zh", "source": ""} for n in range(len(parts))]
    starts = np.concatenate(([0], np.cumsum(lengths + 1)))
    return TokenStore(np.concatenate([[0], *parts]), starts, about, SIZE, 0)


@pytest.fixture
def model() -> Transformer:
    made = Transformer(GPT(layers=2, dim=32, heads=2).config(vocab_size=SIZE, max_length=16)).double()
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for weight in made.parameters():
            weight.normal_(1.0 if weight.ndim == 1 else 0.0, 0.3, generator=generator)
    return made.train()


def step(objective: Multitask, store: TokenStore, *, micro_batch: int = 4, number: int = 0) -> list[Batch]:
    def example(piece: Any, *, noise: np.random.Generator) -> Any:
        return objective.example(piece, vocabulary=VOCABULARY, noise=noise)

    size = Size(12, micro_batch)
    reader = objective.read_by(None).read(store, Shape(objective, 16), example, size=size, seed=2)
    return reader.batches(number)


def test_the_loss_of_a_step_is_each_tasks_mean_times_its_weight(store: TokenStore, model: Transformer) -> None:
    objective = tasks()
    lesson = objective.prepare(model.config, dtype=torch.float64, seed=1)
    assert not lesson.by_step  # type: ignore[attr-defined]
    batches = step(objective, store)
    assert {batch.task for batch in batches} == {"plain", "smooth"}
    sums: dict[str, Tensor] = {}
    counts: dict[str, int] = {}
    for batch in batches:
        for name, value in lesson.losses(model, batch).items():
            sums[name] = sums.get(name, torch.zeros((), dtype=torch.float64)) + value
            counts[name] = counts.get(name, 0) + batch.counts[name]
    expected = torch.zeros((), dtype=torch.float64)
    for task, alone, weight in (("plain", CausalLM(), 2.0), ("smooth", CausalLM(label_smoothing=0.3), 1.0)):
        own = [batch for batch in batches if batch.task == task]
        total = sum(alone.losses(model, each)["words"] for each in _unnamed(own))
        expected = expected + weight * total / sum(int((batch.targets["words"] >= 0).sum()) for batch in own)
    assert sums.keys() == {"plain.words", "smooth.words"}
    torch.testing.assert_close(total_loss(lesson, sums, counts), expected, rtol=1e-12, atol=0)


def _unnamed(batches: list[Batch]) -> list[Batch]:
    return [
        Batch(each.inputs, each.targets, {"words": each.counts[f"{each.task}.words"]}, each.tokens) for each in batches
    ]


def test_each_task_reads_its_own_documents(store: TokenStore) -> None:
    languages = {number: about["language"] for number, about in enumerate(store.documents)}
    texts = {"en": set[tuple[int, ...]](), "zh": set[tuple[int, ...]]()}
    for number, language in languages.items():
        texts[language].add(tuple(store.tokens[store.starts[number] : store.starts[number + 1]].tolist()))
    for batch in (each for number in range(8) for each in step(tasks(), store, number=number)):
        known = texts["en" if batch.task == "plain" else "zh"]
        for row, segments in zip(batch.inputs["tokens"], batch.inputs["segments"], strict=True):
            whole = [tuple(row[segments == n].tolist()) for n in range(int(segments.max()) + 1)]
            assert all(each in known for each in whole[1:-1])  # the first and the last may be cut


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"tasks": {}}, "tasks must be"),
        ({"tasks": {"a.b": {"objective": "clm"}}}, "a task's name must be of letters, digits, _ and -; got 'a.b'"),
        ({"tasks": {"a": {}}}, r"pretrain.objective.tasks.a.objective is required"),
        ({"tasks": {"a": {"objective": "clmm"}}}, r"tasks.a.objective.use: unknown objective 'clmm'; did you mean"),
        ({"tasks": {"a": {"objective": {"use": "clm", "rate": 1}}}}, r"tasks.a.objective.rate: unknown key"),
        ({"tasks": {"a": {"objective": "clm", "share": 1}, "b": {"objective": "clm"}}}, "tasks.b must have a share"),
        ({"tasks": {"a": {"objective": "clm", "share": 0}}}, "tasks: one of them must have a share above 0"),
        ({"tasks": {"a": {"objective": "clm", "share": 1}}, "temperature": 2}, "temperature has no effect"),
        ({"tasks": {"a": {"objective": "clm", "rows": "bucketed"}}}, r"tasks.a.rows: bucketed and quarters make steps"),
        ({"tasks": {"a": {"objective": "mlm", "rows": "quarters"}}}, r"tasks.a.rows: bucketed and quarters make steps"),
        ({"tasks": {"a": {"objective": {"use": "multitask", "tasks": {"b": {"objective": "clm"}}}}}}, "a single one"),
    ],
)
def test_settings_that_make_no_mixture(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        build(Multitask, settings, key="pretrain.objective")


def test_tasks_of_other_sides_than_the_model_are_refused() -> None:
    both = {"words": {"objective": "clm"}, "holes": {"objective": "mlm"}}
    objective = build_choice("objective", {"use": "multitask", "tasks": both}, key="o")
    config = GPT(layers=1, dim=32, heads=2).config(vocab_size=SIZE, max_length=16)
    with pytest.raises(RecipeError, match=r"task holes: objective: .* needs a model with an encoder; got a decoder"):
        objective.config(config)
    for family in (Bert(layers=1, dim=32, heads=2), T5(layers=1, dim=32, heads=2)):
        with pytest.raises(RecipeError, match=r"task words: "):
            objective.config(family.config(vocab_size=SIZE, max_length=16))


def test_a_lacking_special_token_is_told_with_its_task(store: TokenStore) -> None:
    objective = Multitask(tasks={"holes": {"objective": MaskedLM()}})  # type: ignore[dict-item]
    with pytest.raises(RecipeError, match=r"task holes: .* the special tokens cls, sep, mask.* tokenizer.special"):
        objective.check(VOCABULARY, store)


def test_two_heads_of_one_model_are_learned_by_two_tasks() -> None:
    both = {"holes": {"objective": "mlm"}, "order": {"objective": "sop"}}
    config = Bert(layers=1, dim=32, heads=2).config(vocab_size=SIZE, max_length=16)
    made = [
        build(Multitask, {"tasks": dict(each)}, key="o").config(config)
        for each in (both.items(), reversed(list(both.items())))
    ]
    assert made[0] == made[1] != config
    model = Transformer(made[0])
    assert {name.split(".")[1] for name, _ in model.named_parameters() if name.startswith("head.")} == {"words", "pair"}


def test_settings_survive_yaml_and_have_a_schema(tmp_path: Path) -> None:
    objective = tasks(temperature=3.0)
    again = build_choice("objective", plain(Pretrain(objective=objective))["objective"], key="o")
    assert again == objective
    properties = recipe_schema()["properties"]["pretrain"]["properties"]["objective"]["anyOf"]
    [found] = [each for each in properties if each.get("properties", {}).get("use", {}).get("const") == "multitask"]
    task = found["properties"]["tasks"]["additionalProperties"]["properties"]
    assert {"objective", "weight", "share", "documents", "rows"} == task.keys()


RECIPE = """\
clean: {{sources: [{folder}/text]}}
tokenizer: {{use: char}}
pack: {{split: {{use: hash, fraction: 0.3}}}}
pretrain:
  model: {{use: gpt, layers: 1, dim: 32, heads: 2}}
  objective:
    use: multitask
    tasks:
      english: {{objective: clm, documents: {{source: "en/*"}}, rows: packed}}
      chinese: {{objective: {{use: clm, z_loss: 0.01}}, documents: {{source: "zh/*"}}}}
  sequence: 24
  batch: 4
  budget: {{steps: 40}}
  evaluations: 2
  precision: fp32
  compile: off
evaluate: {{tasks: [objective]}}
"""


def write_corpus(folder: Path) -> None:
    numbers = np.random.default_rng(5)
    for language, words in {"en": ["to ", "be ", "or ", "not "], "zh": list("话说天下大势分久必合")}.items():
        (folder / "text" / language).mkdir(parents=True)
        for number in range(24):
            text = "".join(numbers.choice(words, numbers.integers(5, 30)))
            (folder / "text" / language / f"{number}.txt").write_text(f"{text} {number}", encoding="utf-8")


def recipe(folder: Path, text: str, *overrides: str) -> Recipe:
    (folder / "r.yaml").write_text(text, encoding="utf-8")
    return load_recipe(folder / "r.yaml", [f"run_dir={folder / 'run'}", *overrides])


def test_a_training_of_two_tasks_logs_each_and_both_fall(tmp_path: Path) -> None:
    write_corpus(tmp_path)
    made = recipe(tmp_path, RECIPE.format(folder=tmp_path))
    done = run_stages(made, ["clean", "tokenizer", "pack", "pretrain", "evaluate"], begin=lambda _: None)
    figures = done.figures("evaluate")
    parts = [figures[f"all.{task}.words.nats"] for task in ("english", "chinese")]
    assert figures["all.loss"] == pytest.approx(sum(parts), abs=1e-5) and min(parts) > 0.5
    assert figures["en.english.words.targets"] == figures["all.english.words.targets"] > 50
    lines = read_metrics(tmp_path / "run" / "pretrain")
    for task in ("english", "chinese"):
        found = [line[f"loss.{task}.words"] for line in lines if f"loss.{task}.words" in line]
        assert len(found) >= 20 and sum(found[-5:]) / 5 < 0.9 * found[0]
        measured = [line[f"heldout_loss.{task}.words"] for line in lines if "heldout_loss" in line]
        assert len(measured) == 2 and measured[1] < measured[0]
    for line in lines:
        parts = [value for name, value in line.items() if name.startswith("loss.")]
        assert line["loss"] == pytest.approx(sum(parts), rel=1e-5)


DISTILLED = """
pretrain:
  model: {{use: gpt, layers: 1, dim: 16, heads: 1}}
  objective: {{use: distil, teacher: {folder}/run/pretrain/model, hidden: 0.3, attention: 0.2}}
  sequence: 24
  batch: 4
  budget: {{steps: 8}}
  save: {{steps: 4}}
  evaluations: 1
  precision: {precision}
  compile: off
  average: {{decay: 0.5}}
"""


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_distilled_training_stops_and_goes_on_with_its_projection(precision: str, tmp_path: Path) -> None:
    write_corpus(tmp_path)
    whole = RECIPE.format(folder=tmp_path)
    made = recipe(tmp_path, whole, "pretrain.objective=clm", "pretrain.budget.steps=5")
    run_stages(made, ["clean", "tokenizer", "pack", "pretrain"], begin=lambda _: None)
    head = whole[: whole.index("pretrain:")]
    student = head + DISTILLED.format(folder=tmp_path, precision=precision)
    results = []
    for name, budgets in (("straight", [8]), ("stopped", [4, 8])):
        for steps in budgets:
            made = recipe(tmp_path, student, f"pretrain.budget.steps={steps}", "seed=3")
            stage = made.section("pretrain")
            assert isinstance(stage, Pretrain)
            training = set_up(stage, TokenStore.open(tmp_path / "run" / "pack" / "train"), seed=3)
            assert "objective.weight" in training.masters.named
            _train(training, stage, tmp_path / name, steps)
        results.append(training.masters.state())
    before = training.own_weights["objective.weight"]
    assert not torch.equal(results[0]["objective.weight"], before)  # the projection has learned
    assert all(torch.equal(results[0][name], results[1][name]) for name in results[0])
    state = load_newest(tmp_path / "stopped", pytest.fail)
    assert state is not None and torch.equal(state.weights["objective.weight"], results[1]["objective.weight"])
    assert "objective.weight" in state.average
    teacher = training.lesson.teacher  # type: ignore[attr-defined]
    assert {weight.dtype for weight in teacher.parameters()} == {next(training.model.parameters()).dtype}


def _train(training: Any, stage: Pretrain, folder: Path, steps: int) -> None:
    from danlu.train.checkpoint import save_checkpoint
    from danlu.train.loop import fit

    state = load_newest(folder, pytest.fail)
    if state is not None:
        training.restore(state)
    fit(
        training.model, training.batches, training.lesson, training.optimizer, lambda _: 1.0,
        steps=steps, start=0 if state is None else state.step, masters=training.masters,
        hooks=[training.after_step],
    )  # fmt: skip
    save_checkpoint(folder, training.state(steps), training.model.config)


def test_a_distilled_stage_runs_again_when_its_teacher_changes(tmp_path: Path) -> None:
    write_corpus(tmp_path)
    whole = RECIPE.format(folder=tmp_path)
    stages = ["clean", "tokenizer", "pack", "pretrain"]
    run_stages(
        recipe(tmp_path, whole, "pretrain.objective=clm", "pretrain.budget.steps=2"), stages, begin=lambda _: None
    )
    teacher = tmp_path / "teacher"
    (tmp_path / "run" / "pretrain" / "model").rename(teacher)
    text = whole[: whole.index("pretrain:")] + DISTILLED.format(folder=tmp_path, precision="fp32")
    overrides = (f"pretrain.objective.teacher={teacher}", "pretrain.budget.steps=2")
    said: list[str] = []
    for again in range(3):
        if again == 2:
            settings = (teacher / "generation_config.json").read_bytes(), (teacher / "config.json").read_text()
            (teacher / "config.json").write_text(settings[1] + "\n")
        run_stages(recipe(tmp_path, text, *overrides), ["pretrain"], said.append, begin=lambda _: None)
    assert [line for line in said if "skipped" in line] == ["pretrain: unchanged, skipped"]
    assert any("the files that it reads changed" in line for line in said)
    model = tmp_path / "run" / "pretrain" / "model" / "model.safetensors"
    from safetensors.torch import load_file

    assert not [name for name in load_file(model) if "objective" in name]
