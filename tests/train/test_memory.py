"""Too little memory is one line, wherever it is short; any other error stays what it is."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch.optim import AdamW

from danlu.errors import DanluError, OutOfMemoryError
from danlu.optim.ema import WeightAverage
from danlu.stage import Job
from danlu.train.checkpoint import checkpoints, find_damage
from danlu.train.memory import told_where_too_little

LINE = r"^too little memory for this model; [\d.]+[kMGT]?B of memory are free: lower pretrain.model.dim, [^\n]*$"


@pytest.mark.parametrize("size", [10**14, 2**62])
def test_what_torch_cannot_allocate_is_one_line(size: int) -> None:
    with pytest.raises(DanluError, match=LINE) as caught, told_where_too_little():
        torch.empty(size)
    assert caught.value.exit_code == 2


def test_so_is_what_python_says() -> None:
    with pytest.raises(DanluError, match=LINE), told_where_too_little():
        raise MemoryError


@pytest.mark.parametrize(
    "words",
    [
        "CUDA driver error: out of memory", "Triton Error [CUDA]: out of memory",
        "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`", "std::bad_alloc",
    ],
)  # fmt: skip
def test_so_is_what_the_libraries_of_a_gpu_say(words: str) -> None:
    line = LINE if words == "std::bad_alloc" else r"^too little memory of the GPU for this model: lower [^\n]*$"
    with pytest.raises(DanluError, match=line), told_where_too_little():
        raise RuntimeError(words)


def test_of_a_model_that_is_given_it_names_what_can_be_changed() -> None:
    with (
        pytest.raises(
            DanluError, match=r": set finetune\.hardware\.recompute to true, lower finetune\.hardware\.micro_b"
        ),
        told_where_too_little("finetune"),
    ):
        raise MemoryError


def test_bugs_keep_their_traceback() -> None:
    with pytest.raises(RuntimeError, match="shapes"), told_where_too_little():
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")


NO_ROOM = [
    (MemoryError(), ""),
    (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes."), ""),
    (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."), "of the GPU "),
]
STEP = (
    r"optimizer that keeps less for each weight, as adafactor, lion or sgd, or give it more memory, with which the same"
)
PLACES = {
    "step": (AdamW, "step", r"for a step of the optimizer", ""),
    "average": (WeightAverage, "update", "for the average of the weights", r"leave out pretrain\.average, "),
}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize(("error", "of_gpu"), NO_ROOM, ids=["python", "processor", "gpu"])
def test_where_a_step_has_none_the_last_checkpoint_is_whole(
    error: Exception, of_gpu: str, place: str, train: Callable[..., Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is one line, and with room again the training ends as one that always had it."""
    settings = ("pretrain.optimizer=adamw", "pretrain.average={decay: 0.9}", "pretrain.budget.steps=7",
                "pretrain.save={steps: 2}", "pretrain.evaluations=0")  # fmt: skip
    whole = train(*settings, out="whole").out
    owner, name, what, remedy = PLACES[place]
    real, calls = getattr(owner, name), itertools.count(1)

    def refuse(*arguments: Any, **named: Any) -> Any:
        if next(calls) == 6:
            if place == "step":  # half of it is done
                next(iter(arguments[0].param_groups[0]["params"])).data.fill_(7.0)
            raise error
        return real(*arguments, **named)

    monkeypatch.setattr(owner, name, refuse)
    free = "" if of_gpu else r"; [\d.]+[kMGT]?B of memory are free"
    offload = r"set pretrain\.hardware\.offload to true, " if of_gpu else ""
    line = rf"^too little memory {of_gpu}{what}{free}: {offload}{remedy}choose a pretrain\.{STEP} [^\n]*$"
    with pytest.raises(OutOfMemoryError, match=line) as told:
        train(*settings)
    assert told.value.exit_code == 2
    cut = whole.parent / "pretrain"
    assert [path.name for path in checkpoints(cut / "checkpoints")] == ["step-00000002", "step-00000004"]
    assert [find_damage(path) for path in checkpoints(cut / "checkpoints")] == [None, None]
    monkeypatch.undo()
    train(*settings)
    ours, wanted = (load_file(folder / "model" / "model.safetensors") for folder in (cut, whole))
    assert all(torch.equal(ours[name], weight) for name, weight in wanted.items())
