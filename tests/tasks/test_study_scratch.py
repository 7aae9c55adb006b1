"""A study whose trainings begin with drawn models: none is kept once its training is done."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import transformers

from danlu.cli import main
from danlu.errors import DanluError
from danlu.tasks import scratch, study
from danlu.tasks.measure import TaskMeasure

BERT = {"family": {"use": "bert", "layers": 1, "dim": 16, "heads": 2}, "max_length": 40,
        "tokenizer": {"use": "wordpiece", "vocab_size": 60}}  # fmt: skip
LAST = "seed-4"


class KilledError(BaseException):
    """In place of a signal."""


def recipe(tmp_path: Path, **section: Any) -> str:
    """The path of one with two seeds, 3 and 4; its run is ``run``."""
    data, path = tmp_path / "data.csv", tmp_path / "recipe.yaml"
    data.write_text("text,label\n" + "".join(f"to be {number},{'ab'[number % 2]}\n" for number in range(30)))
    settings = {"data": str(data), "model": BERT, "task": "classify", "budget": {"steps": 4}, "save": {"steps": 2},
                "batch": 4, "evaluations": 2, "precision": "fp32", **section}  # fmt: skip
    study = {"use": "seeds", "count": 2}
    path.write_text(json.dumps({"run_dir": str(tmp_path / "run"), "seed": 3, "study": study, "finetune": settings}))
    return str(path)


def models(run: Path) -> dict[str, bytes]:
    """All files of the trained models."""
    files = [path for path in sorted(run.glob("study/*/model/*")) if path.is_file()]
    return {str(path.relative_to(run)): path.read_bytes() for path in files}


def is_whole(run: Path, whole: Path) -> bool:
    """Whether both have the same models and nothing that trainings go on from."""
    spent = [path for name in ("start", "checkpoints", "best") for path in run.rglob(name)]
    return not spent and len(models(run)) > 8 and models(run) == models(whole)


def test_what_a_done_training_began_with_is_gone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The models are those of ``finetune``, which keeps it, and need nothing else; what is done stays done."""
    path = recipe(tmp_path)
    assert main(["study", path]) == 0
    assert not [found for name in ("start", "checkpoints", "best") for found in tmp_path.glob(f"run/study/*/{name}")]
    assert main(["finetune", path]) == 0
    finetuned, first = tmp_path / "run/finetune", tmp_path / "run/study/seed-3"
    assert (finetuned / "start/model.safetensors").is_file()
    assert (finetuned / "model/model.safetensors").read_bytes() == (first / "model/model.safetensors").read_bytes()
    loaded = transformers.AutoModelForSequenceClassification.from_pretrained(first / "model")
    assert loaded.config.hidden_size == 16
    assert main(["predict", str(first / "model"), str(tmp_path / "data.csv"), "--out", str(tmp_path / "a.csv")]) == 0
    capsys.readouterr()
    assert main(["study", path]) == 0
    assert "study: unchanged, skipped" in capsys.readouterr().out
    assert main(["study", path, "study.count=3"]) == 0  # what the former study has done is taken over
    said = capsys.readouterr().out
    assert said.count("of 3: unchanged, skipped") == 2 and "seed-5, 3 of 3: done" in said


def test_a_half_done_one_goes_on_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path, run = recipe(tmp_path), tmp_path / "run"
    assert main(["study", path, f"run_dir={tmp_path / 'whole'}"]) == 0
    measure = TaskMeasure.measure

    def stopping(self: TaskMeasure, model: Any) -> Any:
        if (run / "study" / LAST / "checkpoints").is_dir():
            raise DanluError("stopped")
        return measure(self, model)

    with monkeypatch.context() as patch:
        patch.setattr(TaskMeasure, "measure", stopping)
        assert main(["study", path]) != 0
    assert [found.parent.name for found in run.rglob("start")] == [LAST]
    assert list(run.glob(f"study/{LAST}/checkpoints/step-*"))
    first = (run / "study/seed-3/done.json").stat().st_mtime_ns
    capsys.readouterr()
    assert main(["study", path]) == 0
    said = capsys.readouterr().out
    assert "seed-3, 1 of 2: unchanged, skipped" in said and "going on after step" in said
    assert (run / "study/seed-3/done.json").stat().st_mtime_ns == first
    assert is_whole(run, tmp_path / "whole")


@pytest.mark.parametrize("module", [study, scratch], ids=["after the checkpoints", "halfway through"])
def test_killed_while_it_is_removed_the_training_begins_again(
    module: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half of a model is not taken for one."""
    path, run = recipe(tmp_path), tmp_path / "run"
    assert main(["study", path, f"run_dir={tmp_path / 'whole'}"]) == 0
    remove = module.remove_folder

    def dies(folder: Path) -> None:
        if folder.parent.name == LAST and folder.name != "checkpoints":
            (run / "study" / LAST / folder.name / "model.safetensors").unlink(missing_ok=True)
            raise KilledError
        remove(folder)

    with monkeypatch.context() as patch:
        patch.setattr(module, "remove_folder", dies)
        with pytest.raises(KilledError):
            main(["study", path])
    assert (run / "study" / LAST / "start").is_dir() and not (run / "study" / LAST / "checkpoints").exists()
    assert not (run / "study" / LAST / "done.json").exists()
    assert main(["study", path]) == 0
    assert is_whole(run, tmp_path / "whole")


@pytest.mark.parametrize(
    ("method", "file"), [("lora", "adapters/adapter_config.json"), ("prompt", "model/adapter_config.json")]
)
def test_what_adapters_belong_beside_stays(method: str, file: str, tmp_path: Path) -> None:
    settings = {"use": method, **({"tokens": 4} if method == "prompt" else {})}
    assert main(["study", recipe(tmp_path, method=settings, task={"use": "classify", "max_tokens": 20})]) == 0
    for name in ("seed-3", LAST):
        base = Path(json.loads((tmp_path / "run/study" / name / file).read_text())["base_model_name_or_path"])
        assert base == tmp_path / "run/study" / name / "start" and (base / "model.safetensors").is_file()
