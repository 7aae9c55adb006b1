"""``danlu doctor``: what this machine has, and what Danlu will use of it."""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Iterator
from pathlib import Path

from danlu import __version__
from danlu.machine import (
    FAST_BFLOAT16,
    commit,
    cores,
    cpp_compiler,
    free_memory_bytes,
    memory_bytes,
    processor,
    processor_flags,
    version,
)

OPTIONAL = {
    "gcsfs": "reads gs:// addresses, in sources of clean and as pack.stores",
    "gguf": "reads the files of llama.cpp: danlu import model.gguf",
    "huggingface_hub": "fetches models by name: danlu import org/model",
    "llguidance": "answers of a given form: generate.sampling.regex, json_schema",
    "pytorch_optimizer": "has more optimizers: pretrain.optimizer lion, soap",
    "s3fs": "reads s3:// addresses, in sources of clean and as pack.stores",
    "tensorboard": "shows a run's curves in a browser: tensorboard --logdir runs",
    "transformers": "loads what danlu export writes; danlu verify models compares with it",
}
"""Packages that Danlu does without, and what they are good for."""


def findings() -> Iterator[str]:
    """One line each: what there is, then what will be used."""
    source = commit()
    yield _line("danlu", f"{__version__}{f', commit {source[:12]}' if source else ''}")
    yield _line("python", f"{platform.python_version()} on {platform.platform()}")
    yield _line("processor", f"{processor()}, {cores()} of {os.cpu_count()} cores to use, {_bfloat16()}")
    yield _line("memory", f"{_gigabytes(free_memory_bytes())} free of {_gigabytes(memory_bytes())}")
    yield _line("disk", f"{_gigabytes(shutil.disk_usage(Path.cwd()).free)} free in {Path.cwd()}")
    yield from _torch()
    for name, purpose in OPTIONAL.items():
        installed = version(name)
        yield _line(name, installed or f"not installed; it {purpose} (pip install {name})")


def _torch() -> Iterator[str]:
    import torch

    from danlu.nn.speed import choose_dtype, why_not_compiled

    yield _line("torch", f"{torch.__version__}, {torch.get_num_threads()} threads")
    gpus = [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())]
    yield _line("gpu", ", ".join(gpus) or "none that torch can use")
    yield _line("precision", choose_dtype("auto")[1])
    reason = why_not_compiled("auto", None, worth=0)
    yield _line(
        "compilation", f"none: {reason}" if reason else f"torch.compile, with {cpp_compiler() or 'no C++ compiler'}"
    )


def _bfloat16() -> str:
    return (
        " and ".join(flag for flag in FAST_BFLOAT16 if flag in processor_flags()) or f"no {' or '.join(FAST_BFLOAT16)}"
    )


def _line(name: str, text: str) -> str:
    return f"{name:<16}{text}"


def _gigabytes(amount: int | None) -> str:
    return "unknown" if amount is None else f"{amount / 1e9:.1f} GB"
