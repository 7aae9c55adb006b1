"""Too little memory is one line; any other error stays what it is."""

from __future__ import annotations

import pytest
import torch

from danlu.errors import DanluError
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
    with pytest.raises(DanluError, match=LINE), told_where_too_little():
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
