"""Packages that Danlu can do without: imported where they are needed, or one line that names the command."""

from __future__ import annotations

import importlib
from typing import Any

from danlu.errors import InputError


def optional(module: str, *, purpose: str, install: str | None = None) -> Any:
    """The module; its package is called like its first part.

    Args:
        purpose: what needs it, the subject of the error.
        install: what to ask pip for, where that is more than the package: ``ray[train]``.

    Raises:
        InputError: it is not installed.
    """
    package = module.partition(".")[0]
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != package:
            raise  # it is there, but something that it needs is not
        raise InputError(f"{purpose} needs the package {package}: pip install {install or package}") from None
