"""The stage finetune and the command predict: from a table to a model that others load, and its answers."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
import yaml
from killed_run import killed_and_whole
from safetensors.torch import load_file

from danlu import cli
from danlu.machine import cpp_compiler
from danlu.nn.hf.folder import load_model
from danlu.nn.native.attention import HERE
from danlu.tasks import predict
from danlu.tasks.model_folder import Trained

GOOD = ["to be is the question", "话说天下大势 to be", "once upon a time to be", "be there a sentence", "to be to be"]
BAD = ["or not that", "not the question or not", "从前有座山 not", "that was not a time", "not once not a sentence"]
ROWS = [(f"{text} {extra}", label) for extra in ("", "a", "be", "was", "to") for label, texts in
        (("good", GOOD), ("bad", BAD)) for text in texts]  # fmt: skip
COMMON = {"compile": "off", "precision": "fp32", "batch": 8, "optimizer": {"lr": 3e-3}, "budget": {"epochs": 2}}


def table(path: Path, rows: Sequence[Sequence[Any]] = ROWS, header: Sequence[str] = ("text", "label")) -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    return path


@pytest.fixture
def recipe(encoder: Path, tmp_path: Path) -> Callable[..., Path]:
    """``recipe(task=…, …)``: the path of one that fine-tunes the small BERT on ``train.csv``."""
    table(tmp_path / "train.csv")

    def write(**settings: Any) -> Path:
        data = {"train": str(tmp_path / "train.csv"), **settings.pop("data", {})}
        section = {"model": str(encoder), "task": "classify", "data": data, **COMMON, **settings}
        path = tmp_path / "recipe.yaml"
        path.write_text(yaml.safe_dump({"finetune": section, "run_dir": str(tmp_path / "run"), "seed": 3}))
        return path

    return write


def refusal(capfd: pytest.CaptureFixture[str], *arguments: str | Path) -> str:
    """The one line with which a command is refused; nothing is written."""
    capfd.readouterr()
    assert cli.main([str(each) for each in arguments]) == 2
    line = capfd.readouterr().err
    assert line.startswith("danlu: error: ") and line.count("\n") == 1
    return line.removeprefix("danlu: error: ").strip()


def test_from_a_table_to_predictions(
    recipe: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["finetune", str(recipe(budget={"epochs": 8}))]) == 0
    said = capsys.readouterr().out
    assert "text from column 'text', label from column 'label'" in said and "examples split by label" in said
    assert "examples: accuracy 1.0000 (95 % between 1.0000 and 1.0000)" in said and "the model: " in said
    out = tmp_path / "run/finetune"
    figures = json.loads((out / "done.json").read_text())["figures"]
    assert figures["dev.accuracy"] == 1.0
    scored = json.loads((out / "dev.json").read_text())
    assert scored["confusion"]["labels"] == ["bad", "good"] and scored["examples"] == figures["dev.examples"]
    assert set(scored["slices"]) == {"characters", "label"}
    lines = [json.loads(line) for line in (out / "dev.predictions.jsonl").read_text().splitlines()]
    assert [line["prediction"] for line in lines] == [line["gold"] for line in lines]

    new = table(tmp_path / "new.csv", [("to be",), ("not once not a sentence a",), ("be to be",)], ["text"])
    assert cli.main(["predict", str(out / "model"), str(new), "--out", str(tmp_path / "answers.csv")]) == 0
    with (tmp_path / "answers.csv").open(encoding="utf-8", newline="") as file:
        answers = list(csv.DictReader(file))
    assert [each["prediction"] for each in answers] == ["good", "bad", "good"]
    assert [each["text"] for each in answers] == ["to be", "not once not a sentence a", "be to be"]
    assert all(0.5 < float(each["confidence"]) <= 1 for each in answers)


def test_the_model_loads_in_transformers_which_says_the_same(recipe: Callable[..., Path], tmp_path: Path) -> None:
    assert cli.main(["finetune", str(recipe())]) == 0
    folder = tmp_path / "run/finetune/model"
    pipeline = transformers.pipeline("text-classification", str(folder), device="cpu", top_k=None)
    lines = [json.loads(line) for line in (folder.parent / "dev.predictions.jsonl").read_text().splitlines()]
    for line in lines:
        theirs = {each["label"]: each["score"] for each in pipeline(line["texts"])[0]}
        assert theirs == pytest.approx(line["scores"], abs=1e-4)
    trained = Trained.load(folder)
    assert trained.known.labels == ("bad", "good") and trained.columns == {"text": "text", "label": "label"}


def test_the_best_weights_are_the_model(recipe: Callable[..., Path], tmp_path: Path) -> None:
    """At such a rate the last weights are no good."""
    path = recipe(optimizer={"lr": 0.5}, schedule="constant", budget={"epochs": 4}, evaluations=20,
                  early_stopping={"patience": 20}, clip="none", anomalies={"rewinds": 0})  # fmt: skip
    assert cli.main(["finetune", str(path)]) == 0
    out = tmp_path / "run/finetune"
    figures = json.loads((out / "done.json").read_text())["figures"]
    measured = [line for line in map(json.loads, (out / "metrics.jsonl").read_text().splitlines())
                if "heldout.accuracy" in line]  # fmt: skip
    best = min(measured, key=lambda line: (-line["heldout.accuracy"], line["heldout_loss"]))
    assert figures["best_step"] == best["step"] and figures["dev.accuracy"] == pytest.approx(best["heldout.accuracy"])


def test_a_killed_training_goes_on_to_the_same_bytes(recipe: Callable[..., Path], tmp_path: Path) -> None:
    path = recipe(budget={"epochs": 6}, save={"steps": 2})
    killed, whole = killed_and_whole("finetune", path, tmp_path, lines=12)
    for file in ("model/model.safetensors", "dev.json", "dev.predictions.jsonl"):
        assert (killed / file).read_bytes() == (whole / file).read_bytes(), file


@pytest.mark.skipif(not HERE, reason="this processor has no AVX512-BF16, or AMX as well, with which torch's are used")
@pytest.mark.skipif(cpp_compiler() is None, reason="there is no C++ compiler")
def test_a_killed_training_with_attention_in_cpp_goes_on_to_the_same_bytes(
    recipe: Callable[..., Path], encoder: Path, tmp_path: Path
) -> None:
    """Whose dropout has a seed in place of a mask."""
    config = json.loads((encoder / "config.json").read_text())
    assert config["attention_probs_dropout_prob"] > 0
    (encoder / "config.json").write_text(json.dumps({**config, "num_attention_heads": 1}))  # of a width that it takes
    path = recipe(budget={"epochs": 6}, save={"steps": 2}, precision="bf16")
    killed, whole = killed_and_whole("finetune", path, tmp_path, lines=12)
    for file in ("model/model.safetensors", "dev.json", "dev.predictions.jsonl"):
        assert (killed / file).read_bytes() == (whole / file).read_bytes(), file
    assert json.loads((whole / "plan.json").read_text())["arithmetic"]["attention"] == "in C++"


def test_a_recipe_of_its_own_pretraining_begins_with_that(tmp_path: Path) -> None:
    (tmp_path / "corpus").mkdir()
    (tmp_path / "corpus/a.txt").write_text("\n\n".join(text for text, _ in ROWS))
    sections = {
        "clean": {"sources": [str(tmp_path / "corpus")]}, "pack": {"split": "tail"},
        "tokenizer": {"use": "wordpiece", "vocab_size": 80, "special": ["bert"]},
        "pretrain": {"model": {"use": "bert", "layers": 1, "dim": 32, "heads": 2}, "objective": "mlm", "sequence": 32,
                     "budget": {"steps": 3}, "compile": "off", "optimizer": "adamw"},
        "finetune": {"data": str(table(tmp_path / "train.csv")), **COMMON},
    }  # fmt: skip
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump({**sections, "run_dir": str(tmp_path / "run")}))
    assert cli.main(["run", str(tmp_path / "recipe.yaml")]) == 0
    model = load_model(tmp_path / "run/finetune/model")
    assert model.config.family == "bert" and model.config.head.count == 2  # type: ignore[union-attr]
    assert "finetune" in (tmp_path / "run/report.md").read_text()


@pytest.mark.parametrize(
    ("settings", "rows", "message"),
    [
        ({"model": "nowhere"}, None, "finetune.model: there is no folder nowhere"),
        ({"data": {"train": "nowhere.csv"}}, None, "finetune.data: there is no file nowhere.csv"),
        ({"task": "clasify"}, None, "finetune.task.use: unknown task 'clasify'; did you mean 'classify'?"),
        (
            {"task": {"max_tokens": 200}},
            None,
            "finetune.task.max_tokens must be at most 24, which the model sees; got 200",
        ),
        ({"task": {"max_tokens": 4}}, None, "finetune.task.max_tokens must be above 4"),
        ({"data": {"columns": {"text": "txt"}}}, None, "did you mean 'text'?"),
        ({}, [("to be", "good"), ("not", "")], "train.csv, line 3: the label is empty"),
        ({}, [("to be", "good"), ("", "bad")], "train.csv, line 3: the text is empty"),
        ({}, [("to be", "good"), ("not", "good")], "all 2 labels are 'good'; there must be at least 2"),
    ],
    ids=lambda value: str(value)[:40] if isinstance(value, dict) else None,
)
def test_bad_input_is_one_line_and_nothing_is_trained(
    settings: dict[str, Any], rows: Any, message: str, recipe: Callable[..., Path], tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    path = recipe(**settings)
    if rows is not None:
        table(tmp_path / "train.csv", rows)
    assert message in refusal(capfd, "finetune", path)
    assert not list(tmp_path.glob("run/finetune/model*")) and not list(tmp_path.glob("run/finetune/checkpoints"))


def test_what_predict_refuses(
    recipe: Callable[..., Path], encoder: Path, decoder: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    new, out = table(tmp_path / "new.csv", [("to be",)], ["text"]), tmp_path / "out.jsonl"
    assert "was trained for no task that is known here" in refusal(capfd, "predict", decoder, new, "--out", out)
    assert cli.main(["finetune", str(recipe(budget={"steps": 1}))]) == 0
    folder = tmp_path / "run/finetune/model"
    assert "out.txt" in refusal(capfd, "predict", folder, new, "--out", tmp_path / "out.txt")
    assert "FIELD=COLUMN" in refusal(capfd, "predict", folder, new, "text", "--out", out)
    assert "nowhere.csv" in refusal(capfd, "predict", folder, tmp_path / "nowhere.csv", "--out", out)
    said = json.loads((folder / "danlu.json").read_text())
    (folder / "danlu.json").write_text(json.dumps({**said, "max_tokens": 3}))
    line = refusal(capfd, "predict", folder, new, "--out", out)
    assert line.startswith(f"{folder / 'danlu.json'}: task.max_tokens must be above 4")
    (folder / "danlu.json").write_text("{")
    assert "danlu.json is damaged" in refusal(capfd, "predict", folder, new, "--out", out)
    assert not out.exists()


def test_weights_begin_as_the_folder_has_them(recipe: Callable[..., Path], encoder: Path, tmp_path: Path) -> None:
    assert cli.main(["finetune", str(recipe(optimizer={"lr": 1e-12}, budget={"steps": 1}))]) == 0
    before, after = (
        load_file(encoder / "model.safetensors"),
        load_file(tmp_path / "run/finetune/model/model.safetensors"),
    )
    for name, weight in before.items():
        torch.testing.assert_close(after[f"bert.{name.removeprefix('bert.')}"], weight, rtol=0, atol=1e-8)
    assert set(after) - {f"bert.{name.removeprefix('bert.')}" for name in before} == {
        "classifier.weight",
        "classifier.bias",
    }


def test_a_label_that_the_model_does_not_have_is_answered_and_has_no_figures(
    recipe: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["finetune", str(recipe(budget={"steps": 1}))]) == 0
    new = table(tmp_path / "new.csv", [("to be", "good"), ("not", "odd")])
    arguments = ["predict", str(tmp_path / "run/finetune/model"), str(new), "--out", str(tmp_path / "out.csv")]
    assert cli.main(arguments) == 0
    assert "no figures: item 2: unknown gold label 'odd'" in capsys.readouterr().out
    assert len((tmp_path / "out.csv").read_text().splitlines()) == 3


def test_a_file_without_a_header_has_none_in_predict_either(recipe: Callable[..., Path], tmp_path: Path) -> None:
    path = recipe(budget={"steps": 1})
    table(tmp_path / "train.csv", ROWS[1:], ROWS[0])
    assert cli.main(["finetune", str(path)]) == 0
    (tmp_path / "new.csv").write_text("to be\nnot once\n")
    out = tmp_path / "out.jsonl"
    assert (
        cli.main(["predict", str(tmp_path / "run/finetune/model"), str(tmp_path / "new.csv"), "--out", str(out)]) == 0
    )
    assert [json.loads(line)["texts"] for line in out.read_text().splitlines()] == [["to be"], ["not once"]]


def test_numbers_are_not_rounded(recipe: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Years in bfloat16 would come in steps of 8."""
    monkeypatch.setattr(predict, "fast_bfloat16", lambda: True)
    table(tmp_path / "years.csv", [(f"to be {text}", 1900 + 7 * number) for number, (text, _) in enumerate(ROWS)])
    path = recipe(
        task="regress", data={"train": str(tmp_path / "years.csv"), "columns": {"text": "text", "number": "label"}}
    )
    assert cli.main(["finetune", str(path)]) == 0
    folder, out = tmp_path / "run/finetune/model", tmp_path / "out.jsonl"
    assert cli.main(["predict", str(folder), str(tmp_path / "years.csv"), "--out", str(out)]) == 0
    found = [json.loads(line)["prediction"] for line in out.read_text().splitlines()]
    stock = transformers.AutoModelForSequenceClassification.from_pretrained(folder).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    assert stock.config.problem_type == "regression"
    with torch.no_grad():
        theirs = [float(stock(**tokenizer(f"to be {text}", return_tensors="pt")).logits) for text, _ in ROWS[:5]]
    assert found[:5] == pytest.approx(theirs, abs=0.05)


def test_of_equal_figures_the_lower_loss_is_the_best(recipe: Callable[..., Path], tmp_path: Path) -> None:
    """Almost all labels are alike, and the rate is low: the figure stays, the loss falls."""
    rows = [
        (f"to be {text} {number}", "bad" if number % 12 == 0 else "good") for number, (text, _) in enumerate(ROWS * 2)
    ]
    table(tmp_path / "train.csv", rows)
    path = recipe(budget={"epochs": 3}, evaluations=8, optimizer={"lr": 3e-4}, early_stopping={"patience": 8})
    assert cli.main(["finetune", str(path)]) == 0
    lines = [json.loads(line) for line in (tmp_path / "run/finetune/metrics.jsonl").read_text().splitlines()]
    measured = [line for line in lines if "heldout.accuracy" in line]
    most = max(line["heldout.accuracy"] for line in measured)
    tied = [line for line in measured if line["heldout.accuracy"] == most]
    least = min(tied, key=lambda line: line["heldout_loss"])
    assert len(tied) > 1 and least["step"] > tied[0]["step"]
    figures = json.loads((tmp_path / "run/finetune/done.json").read_text())["figures"]
    assert figures["best_step"] == least["step"]


def test_a_step_has_no_more_tokens_than_the_data(
    recipe: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = recipe(batch=1000, budget={"tokens": 1200})
    assert cli.main(["finetune", str(path)]) == 0
    lines = [json.loads(line) for line in (tmp_path / "run/finetune/metrics.jsonl").read_text().splitlines()]
    tokens = [line["tokens"] for line in lines if "tokens" in line]
    assert f"{len(tokens)} steps of {tokens[0]:,} tokens: {len(tokens)}.00 epochs" in capsys.readouterr().out
    assert len(tokens) == -(-1200 // tokens[0])


def test_gpt2_learns_labels(tmp_path: Path, recipe: Callable[..., Path], decoder: Path) -> None:
    torch.manual_seed(0)
    vocab_size = json.loads((decoder / "config.json").read_text())["vocab_size"]
    config = transformers.GPT2Config(vocab_size=vocab_size, n_embd=32, n_layer=1, n_head=2, n_positions=64,
                                     bos_token_id=0, eos_token_id=0)  # fmt: skip
    transformers.GPT2LMHeadModel(config).save_pretrained(decoder)
    assert cli.main(["finetune", str(recipe(model=str(decoder), budget={"steps": 1}))]) == 0
    stock = transformers.AutoModelForSequenceClassification.from_pretrained(tmp_path / "run/finetune/model")
    assert type(stock).__name__ == "GPT2ForSequenceClassification"
