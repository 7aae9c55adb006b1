"""The rules for number type and compiler, and which errors are the compiler's."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from danlu import machine
from danlu.nn.speed import choose_dtype, first_line, from_compiler, why_not_compiled


@pytest.mark.parametrize(("flags", "dtype"), [({"amx_bf16"}, torch.bfloat16), (set(), torch.float32)])
def test_what_is_asked_for_comes_before_what_the_processor_can(
    flags: set[str], dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "processor_flags", lambda: frozenset(flags))
    assert choose_dtype("auto")[0] == dtype
    assert choose_dtype("bf16") == (torch.bfloat16, "bf16: as asked")
    assert choose_dtype("fp32") == (torch.float32, "fp32: as asked")


@pytest.mark.parametrize("named", [None, "icpx"])
@pytest.mark.parametrize("found", ["g++", "icpx", None])
@pytest.mark.parametrize(
    ("setting", "count", "reason"),
    [
        ("off", 10**9, "as asked"),
        ("on", 1, None),
        ("auto", 1_999, "1,999 rows are too few to earn it back"),
        ("auto", 2_000, None),
        ("auto", None, None),
    ],
)
def test_what_is_compiled(
    setting: Any,
    count: int | None,
    reason: str | None,
    found: str | None,
    named: str | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Torch takes g++, or what CXX names, and no other."""
    monkeypatch.setattr(machine.sys, "platform", "linux")
    monkeypatch.delenv("CXX", raising=False)
    if named is not None:
        monkeypatch.setenv("CXX", named)
    monkeypatch.setattr(machine.shutil, "which", lambda name: name if name == found else None)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    if found != (named or "g++") and setting != "off":
        reason = "no C++ compiler (g++, or what CXX names) is installed"
    assert why_not_compiled(setting, count, worth=2_000, unit="rows") == reason


def test_errors_of_the_compiler_are_told_from_those_of_the_model() -> None:
    def refused(x: torch.Tensor) -> torch.Tensor:
        torch._dynamo.graph_break()
        return x

    with pytest.raises(torch._dynamo.exc.Unsupported) as caught:
        torch.compile(refused, fullgraph=True, backend="eager")(torch.zeros(1))
    torch._dynamo.reset()
    assert from_compiler(caught.value)
    assert not from_compiler(ValueError("torch._dynamo"))


@pytest.mark.parametrize(
    ("error", "line"), [(ValueError("\n\n  no such header \nmore"), "no such header"), (KeyError(), "KeyError")]
)
def test_an_error_is_told_in_a_line(error: Exception, line: str) -> None:
    assert first_line(error) == line
