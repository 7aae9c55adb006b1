"""The stage ``generate``, from a recipe's section to ``samples.jsonl``."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from danlu.errors import RecipeError
from danlu.files import read_jsonl
from danlu.generate import prepare
from danlu.generate import stage as stage_module
from danlu.generate.engine import Answer, generate, load
from danlu.generate.interactive import main
from danlu.generate.source import of_folder, of_recipe
from danlu.generate.speculative import Drafting, speculate
from danlu.generate.stage import Generate
from danlu.recipe import Recipe, build, plain
from danlu.stage import Job

SECTION = {
    "prompts": ["To be", {"text": "话说", "language": "zh"}],
    "samples": 3,
    "sampling": {"max_tokens": 12, "stop": "\n"},
}


def test_writes_every_sample_with_the_seed_that_gives_it_again(run_dir: Path, tmp_path: Path) -> None:
    stage = build(Generate, {**SECTION, "precision": "fp32"}, key="generate")
    recipe = Recipe("x", run_dir, 40, {"generate": stage})
    figures = stage.run(Job(recipe, {need: run_dir / need for need in stage.needs}, tmp_path))
    samples = read_jsonl(tmp_path / "samples.jsonl")
    assert [list(sample) for sample in samples] == [["prompt", "text", "language", "seed"]] * 6
    assert [sample["prompt"] for sample in samples] == ["To be"] * 3 + ["话说"] * 3
    assert [sample["language"] for sample in samples[3:]] == ["zh"] * 3
    assert [sample["seed"] for sample in samples] == [40, 41, 42, 43, 44, 45]
    assert figures["samples"] == 6
    assert figures["tokens"] <= 6 * 12
    model, tokenizer, _ = load(run_dir / "pretrain/model")
    for sample in samples:
        (again,) = generate(model, tokenizer, [sample["prompt"]], settings=stage.sampling, seed=sample["seed"])
        assert again.text == sample["text"]


def write(run_dir: Path, out: Path, **settings: object) -> list[tuple[str, int]]:
    """Text and seed of each sample that the section writes where the recipe's seed is 40."""
    stage = build(Generate, {**SECTION, **settings}, key="generate")
    out.mkdir()
    stage.run(Job(Recipe("x", run_dir, 40, {"generate": stage}), {"pretrain": run_dir / "pretrain"}, out))
    return [(sample["text"], sample["seed"]) for sample in read_jsonl(out / "samples.jsonl")]


def test_a_gpu_that_is_not_there_is_told(run_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(RecipeError, match=r"^generate\.device is cuda, and torch finds no GPU here \(choices: auto, c"):
        write(run_dir, tmp_path / "1", device="cuda")
    recipe = Recipe("x", run_dir, 40, {"generate": Generate(device="cuda")})
    with pytest.raises(RecipeError, match=r"^generate\.device is cuda, and torch finds no GPU here"):
        main(of_recipe(recipe), prompt="To be")
    with pytest.raises(RecipeError, match=r"^device is cuda, and torch finds no GPU here"):
        main(of_folder(run_dir / "pretrain/model", ["device=cuda"]), prompt="To be")
    assert write(run_dir, tmp_path / "2", device="auto") == write(run_dir, tmp_path / "3")


def test_a_draft_is_where_the_model_is(run_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The device without memory stands for a GPU: nothing can be computed there."""
    found: list[str] = []

    def note(drafting: Drafting, *_: object, **__: object) -> list[Answer]:
        found.extend(loaded.model.embedding.weight.device.type for loaded in (drafting.target, drafting.draft))
        return []

    monkeypatch.setattr(prepare, "choose_device", lambda setting, *, key: torch.device("meta"))
    monkeypatch.setattr(stage_module, "speculate", note)
    write(run_dir, tmp_path / "1", draft=run_dir / "pretrain/model")
    assert found == ["meta"] * 4


def test_a_seed_of_its_own(run_dir: Path, tmp_path: Path) -> None:
    one, same, other = (write(run_dir, tmp_path / name, seed=seed) for name, seed in (("1", 7), ("2", 7), ("3", 90)))
    assert one == same
    assert [seed for _, seed in one] == [7, 8, 9, 10, 11, 12]
    assert {text for text, _ in one}.isdisjoint(text for text, _ in other)
    assert write(run_dir, tmp_path / "4", seed=None) == write(run_dir, tmp_path / "5", seed=40)


def test_a_draft_model_changes_no_greedy_sample(run_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    monkeypatch.setattr(
        stage_module, "speculate", lambda *args, **rest: calls.append(args[0].count) or speculate(*args, **rest)
    )
    greedy = {"max_tokens": 12, "temperature": 0}
    draft = str(run_dir / "pretrain/model")
    drafted = write(run_dir, tmp_path / "1", sampling=greedy, draft=draft, draft_tokens=3, precision="fp32")
    assert drafted == write(run_dir, tmp_path / "2", sampling=greedy, precision="fp32")
    assert calls == [3, 3]  # one for each prompt


def test_the_tokenizer_is_the_one_beside_the_model(
    run_dir: Path, tmp_path: Path, retrained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert write(retrained, tmp_path / "1") == write(run_dir, tmp_path / "2")
    assert f"with the model in {retrained}/pretrain/model\n" in capsys.readouterr().out


def test_an_empty_section_begins_one_new_document() -> None:
    stage = build(Generate, {}, key="generate")
    assert [prompt.text for prompt in stage.prompts] == [""]
    assert build(Generate, plain(stage), key="generate") == stage


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"prompts": []}, r"generate\.prompts must be a list of at least 1"),
        ({"prompts": [{"txt": "a"}]}, r"generate\.prompts\.0\.txt: unknown key; did you mean 'text'"),
        ({"seed": -1}, r"generate\.seed must be at least 0; got -1"),
        ({"draft_tokens": 0}, r"generate\.draft_tokens must be at least 1; got 0"),
        ({"samples": 0}, r"generate\.samples must be at least 1; got 0"),
        ({"sampling": {"top_k": "x"}}, r"generate\.sampling\.top_k must be"),
    ],
)
def test_says_what_is_wrong(section: dict[str, object], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        build(Generate, section, key="generate")


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        ({"draft": "x"}, "generate: search and draft do not go together"),
        ({"sampling": {"regex": "a+"}}, r"a search draws nothing and minds no sampling\.regex"),
        ({"sampling": {"top_k": 3}}, r"a search draws nothing and minds no sampling\.top_k"),
    ],
)
def test_what_a_search_would_leave_out_is_refused(settings: dict[str, object], line: str) -> None:
    assert build(Generate, {"search": "beam", "sampling": {"max_tokens": 3, "stop": "x"}}, key="generate").search
    with pytest.raises(RecipeError, match=line):
        build(Generate, {"search": "beam", **settings}, key="generate")
