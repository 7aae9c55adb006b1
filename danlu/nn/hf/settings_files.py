"""Files of a folder that anybody may have made: JSON that is whole or one line, and nothing outside of the folder."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from danlu.errors import CheckpointError, InputError, shown


def read_settings(path: Path) -> Any:
    """What a JSON file holds.

    Raises:
        FileNotFoundError, NotADirectoryError: there is none; the caller knows whether there must be.
        InputError: it cannot be read.
        CheckpointError: it is damaged.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        raise
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from None
    except RecursionError:
        raise CheckpointError(f"{path} is damaged: it is nested too deeply") from None
    except ValueError as error:
        raise CheckpointError(f"{path} is damaged: {shown(str(error))}") from None


def read_object(path: Path) -> dict[str, Any]:
    """What a JSON file holds, which is an object.

    Raises:
        FileNotFoundError, NotADirectoryError, InputError, CheckpointError: as :func:`read_settings`.
    """
    values = read_settings(path)
    if not isinstance(values, dict):
        raise CheckpointError(f"{path} must hold a JSON object; got {type(values).__name__}")
    return values


def stays(folder: Path, path: Path) -> bool:
    """Whether following symbolic links leads nowhere else; a hub's cache links to its ``blobs``."""
    home, place = (Path(os.path.realpath(each)) for each in (folder, path))  # resolve() gives up where links go round
    in_cache = home.parent.name == "snapshots" and place.parent == home.parent.parent / "blobs"
    return in_cache or place.is_relative_to(home)


def check_stays(folder: Path, path: Path) -> Path:
    """``path``, which is a file of the folder and no link to a file elsewhere.

    Raises:
        CheckpointError: it is such a link.
    """
    if not stays(folder, path):
        raise CheckpointError(f"{path} is a link that leads out of the folder; put the file itself there")
    return path
