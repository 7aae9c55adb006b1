"""A ``config.json`` that is read key by key, every complaint naming file, key, value and choices."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from danlu.errors import CheckpointError, InputError

_REQUIRED = object()


class ConfigFile:
    """The keys and values of one ``config.json``."""

    def __init__(self, path: Path, values: dict[str, Any]) -> None:
        self.path = path
        self.values = values

    @classmethod
    def load(cls, folder: Path) -> ConfigFile:
        """Read ``folder/config.json``.

        Raises:
            InputError: there is no such folder or file.
            CheckpointError: it is not a JSON object.
        """
        path = folder / "config.json"
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
        except (FileNotFoundError, NotADirectoryError):
            raise InputError(f"no model in {folder}: config.json is missing") from None
        except ValueError as error:
            raise CheckpointError(f"{path} is damaged: {error}") from None
        if not isinstance(values, dict):
            raise CheckpointError(f"{path} must hold a JSON object; got {type(values).__name__}")
        return cls(path, values)

    def get(self, key: str, default: Any = None) -> Any:
        """The value of ``key`` as it stands; ``default`` where it is missing or null."""
        value = self.values.get(key)
        return default if value is None else value

    def integer(self, key: str, default: Any = _REQUIRED) -> int:
        """A whole number above 0; a missing or null one is ``default``."""
        value = self._value(key, default)
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise self.wrong(key, value, "a whole number above 0")
        return value

    def number(self, key: str, default: Any = _REQUIRED) -> float:
        """A number above 0; a missing or null one is ``default``."""
        value = self._value(key, default)
        if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
            raise self.wrong(key, value, "a number above 0")
        return float(value)

    def flag(self, key: str, default: bool) -> bool:
        """True or false; a missing or null one is ``default``."""
        value = self.get(key, default)
        if not isinstance(value, bool):
            raise self.wrong(key, value, "true or false")
        return value

    def only(self, key: str, *choices: Any) -> None:
        """Refuse a value that changes the arithmetic in a way that is not built; missing and null are fine."""
        value = self.get(key, choices[0])
        if value not in choices:
            raise self.wrong(key, value, " or ".join(json.dumps(choice) for choice in choices))

    def rope_theta(self) -> float:
        """The base of plain rotary positions, from ``rope_parameters`` or the older ``rope_theta``."""
        rope = self.get("rope_parameters") or self.get("rope_scaling") or {}
        if not isinstance(rope, dict):
            raise self.wrong("rope_parameters", rope, "a mapping")
        theta = rope.get("rope_theta") or self.get("rope_theta", 10000.0)
        known = ConfigFile(self.path, {**rope, "rope_theta": theta})
        for key in ("rope_type", "type"):
            known.only(key, "default")
        known.only("partial_rotary_factor", 1.0)
        self.only("partial_rotary_factor", 1.0)
        return known.number("rope_theta")

    def wrong(self, key: str, value: Any, wanted: str) -> CheckpointError:
        """The error for a value that is not ``wanted``."""
        return CheckpointError(f"{self.path}: {key} must be {wanted}; got {json.dumps(value)}")

    def _value(self, key: str, default: Any) -> Any:
        value = self.get(key, default)
        if value is _REQUIRED:
            raise CheckpointError(f"{self.path}: {key} is missing")
        return value
