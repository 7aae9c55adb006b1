"""A half-done training whose settings or inputs have changed is refused, and nothing of it is lost."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from danlu.errors import CheckpointError, DanluError, InputError
from danlu.run_folder import Changed
from danlu.runs import run_stages
from danlu.verify import forks, kills
from danlu.verify.outcome import Outcome
from danlu.verify.sample import Sample, quiet

ALL = ("clean", "tokenizer", "pack", "pretrain")


def _another_document(text: Path, run_dir: Path) -> None:
    (text / "another.txt").write_text("A text that was not there before. It is short.", encoding="utf-8")


def _another_word(text: Path, run_dir: Path) -> None:
    path = text / "00.txt"
    path.write_text(path.read_text(encoding="utf-8").replace(" ", " indeed ", 1), encoding="utf-8")


def _flipped_token(text: Path, run_dir: Path) -> None:
    path = run_dir / "pack" / "train" / "tokens-00000.bin"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


@dataclass(frozen=True, slots=True)
class Change:
    """What is changed, and what the refusal must name."""

    named: str
    overrides: tuple[str, ...] = ()
    change: Callable[[Path, Path], None] | None = None
    """Of the raw text or the run folder."""
    stages: tuple[str, ...] = ("pretrain",)
    error: type[DanluError] = CheckpointError


CHANGES = {
    "the batch": Change("pretrain.batch: 4 -> 8", ("pretrain.batch=8",)),
    "the optimizer": Change("pretrain.optimizer.lr: ", ("pretrain.optimizer.lr=0.5",)),
    "the model": Change("pretrain.model.layers: 1 -> 2", ("pretrain.model.layers=2",)),
    "the objective": Change("pretrain.objective.z_loss: ", ("pretrain.objective={use: clm, z_loss: 0.001}",)),
    "the precision": Change("pretrain.precision: ", ("pretrain.precision=bf16",)),
    "the seed": Change("seed: 11 -> 12", ("seed=12",), stages=ALL),
    "the tokenizer": Change("tokenizer/tokenizer.json changed", ("tokenizer.lowercase=false",), stages=ALL),
    "the split": Change("since it began: pack/", ("pack.split.fraction=0.4",), stages=ALL),
    "a document more": Change("pack/train/documents.bin changed", (), _another_document, ALL),
    "a word more": Change("since it began: pack/", (), _another_word, ALL),
    "a token of the store": Change(
        "pack/train/tokens-00000.bin is missing or damaged", (), _flipped_token, error=InputError
    ),
}
NEUTRAL = ("pretrain.save.steps=7", "pretrain.save.background=true")
"""Settings that change nothing in the result."""
TOLD: tuple[Changed, ...] = ("go-on", "restart")


def changes(sample: Sample) -> Outcome:
    """Each by itself; and what changes nothing is no reason to refuse."""
    half_done = sample.copy()
    fork = kills.train(sample, half_done, kills.SAVES["in the training"])
    forks.wait_until(lambda: kills.saved(half_done) >= 5, fork=fork)
    fork.kill()
    faults = []
    for what, change in CHANGES.items():
        faults += [f"{what}: {each}" for each in _refused(sample, half_done, change)]
    at = Path(shutil.copytree(half_done, sample.new("neutral") / "run"))
    try:
        _go_on(sample, at, NEUTRAL, ("pretrain",))
    except DanluError as error:
        faults.append(f"what changes nothing was refused: {error}")
    faults += _told(sample, half_done)
    count = len(CHANGES)
    wrong = len({fault.split(":")[0] for fault in faults} & CHANGES.keys())
    compared = f"{count} changes of settings, data and tokenizer, each named; let through: two that change "
    compared += "nothing, and where it is told to go on or to begin anew"
    return Outcome(compared, f"{count - wrong} of {count}", f"{count} of {count}", faults)


def _told(sample: Sample, half_done: Path) -> list[str]:
    """What is wrong where it is told to go on all the same, or to begin anew."""
    faults: list[str] = []
    for changed in TOLD:
        at = Path(shutil.copytree(half_done, sample.new("told") / "run"))
        saved, former = kills.saved(at), at / "previous" / "pretrain-1" / "checkpoints"
        try:
            said = _go_on(sample, at, ("pretrain.batch=8",), ("pretrain",), changed)
        except DanluError as error:
            faults.append(f"told to {changed}, it is refused: {error}")
            continue
        if (f"going on after step {saved}\n" in said) != (changed == "go-on"):
            faults.append(f"told to {changed}, it does not")
        if former.is_dir() != (changed == "restart"):
            faults.append(f"told to {changed}, the former checkpoints are {'' if former.is_dir() else 'not '}set aside")
    return faults


def _refused(sample: Sample, half_done: Path, change: Change) -> list[str]:
    """What is wrong with the refusal."""
    folder, text = sample.new("changed"), sample.recipe.parent / "text"
    at = Path(shutil.copytree(half_done, folder / "run"))
    kept = Path(shutil.copytree(text, folder / "text"))  # the path of the text is a setting too: it must stay
    before = _content(at / "pretrain")
    try:
        if change.change is not None:
            change.change(text, at)
        _go_on(sample, at, change.overrides, change.stages)
    except change.error as error:
        wrong = [] if change.named in str(error) and "\n" not in str(error) else [f"the refusal says: {error}"]
    except DanluError as error:
        return [f"refused as {type(error).__name__}: {error}"]
    else:
        return ["it went on"]
    finally:
        shutil.rmtree(text)
        shutil.copytree(kept, text)
    return wrong if _content(at / "pretrain") == before else [*wrong, "the half-done training was touched"]


def _go_on(
    sample: Sample, at: Path, overrides: tuple[str, ...], stages: tuple[str, ...], changed: Changed = "refuse"
) -> str:
    """What it says."""
    with quiet() as said:
        run_stages(sample.load(at, *kills.KNOWN, *overrides), stages, changed=changed)
    return said.getvalue()


def _content(folder: Path) -> dict[Path, bytes]:
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
