"""A ``config.json`` that is read key by key, every complaint naming file, key, value and choices.

Whoever wrote the file may have meant harm: no value makes this machine run out of memory or time.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from danlu.errors import CheckpointError, InputError, shown
from danlu.nn.config import ActivationName, Rotary, Scaling
from danlu.nn.hf.settings_files import read_object

ACTIVATIONS: dict[str, ActivationName] = {
    "relu": "relu", "relu2": "relu2", "gelu": "gelu", "gelu_new": "gelu_tanh", "gelu_pytorch_tanh": "gelu_tanh",
    "gelu_fast": "gelu_tanh", "silu": "silu", "swish": "silu", "tanh": "tanh",
}  # fmt: skip
"""What ``transformers`` calls an activation -> what we call it."""
ROPE_KINDS = {"linear": "linear", "dynamic": "ntk", "yarn": "yarn", "llama3": "llama3"}
"""What ``transformers`` calls a scaling of rotary positions -> what we call it."""
MOST, LARGEST = 2**31 - 1, 1e30
"""No whole number and no other number of a model is above these."""
MOST_PARTS = 4096
"""Layers of a model and experts of a layer; each costs time before a single weight is looked at."""

_REQUIRED = object()


class ConfigFile:
    """The keys and values of one ``config.json``."""

    def __init__(self, path: Path, values: dict[str, Any], tensors: Iterable[str] = ()) -> None:
        self.path = path
        self.values = values
        self.tensors = frozenset(tensors)

    @classmethod
    def load(cls, folder: Path, tensors: Iterable[str] = ()) -> ConfigFile:
        """Read ``folder/config.json``; ``tensors`` are the names of those that lie beside it.

        Raises:
            InputError: there is no such folder or file.
            CheckpointError: it is damaged, or no JSON object.
        """
        path = folder / "config.json"
        try:
            return cls(path, read_object(path), tensors)
        except (FileNotFoundError, NotADirectoryError):
            raise InputError(f"no model in {folder}: config.json is missing") from None

    def holds(self, *names: str) -> bool:
        """Whether one of these tensors lies beside the file."""
        return not self.tensors.isdisjoint(names)

    def get(self, key: str, default: Any = None) -> Any:
        """The value of ``key`` as it stands; ``default`` where it is missing or null."""
        value = self.values.get(key)
        return default if value is None else value

    def integer(self, key: str, default: Any = _REQUIRED, *, most: int = MOST) -> int:
        """A whole number above 0; a missing or null one is ``default``."""
        value = self._value(key, default)
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise self.wrong(key, value, "a whole number above 0")
        if value > most:
            raise self.wrong(key, value, f"at most {most}")
        return value

    def parts(self, key: str, default: Any = _REQUIRED) -> int:
        """How many layers or experts."""
        return self.integer(key, default, most=MOST_PARTS)

    def whole(self, key: str, default: int) -> int:
        """A whole number from 0; a missing or null one is ``default``."""
        value = self.get(key, default)
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < MOST:
            raise self.wrong(key, value, "a whole number from 0")
        return value

    def number(self, key: str, default: Any = _REQUIRED) -> float:
        """A number above 0; a missing or null one is ``default``."""
        value = self._value(key, default)
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= LARGEST:
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

    def share(self, key: str, default: float) -> float:
        """A number from 0 to below 1; a missing or null one is ``default``."""
        value = self.get(key, default)
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1:
            raise self.wrong(key, value, "a number from 0 to below 1")
        return float(value)

    def word(self, key: str, default: str, choices: Iterable[str]) -> str:
        """One of ``choices``; a missing or null one is ``default``."""
        value, known = self.get(key, default), list(choices)
        if not isinstance(value, str) or value not in known:
            raise self.wrong(key, value, " or ".join(json.dumps(choice) for choice in known))
        return value

    def words(self, key: str, choices: tuple[str, ...], *, count: int) -> list[str] | None:
        """``count`` of ``choices``, such as one a layer; None where the key is missing or null."""
        value = self.get(key)
        if value is None:
            return None
        known = isinstance(value, list) and all(isinstance(each, str) and each in choices for each in value)
        if not known or len(value) != count:
            raise self.wrong(key, value, f"{count} times {' or '.join(choices)}")
        found: list[str] = value
        return found

    def mapping(self, key: str) -> dict[str, Any]:
        """A JSON object; empty where it is missing or null."""
        value = self.get(key) or {}
        if not isinstance(value, dict):
            raise self.wrong(key, value, "a mapping")
        return value

    def activation(self, key: str, default: str) -> ActivationName:
        """The activation that ``transformers`` calls so."""
        return ACTIVATIONS[self.word(key, default, ACTIVATIONS)]

    def architecture(self) -> str:
        """The class that wrote the folder; the empty string where it is not named."""
        named = self.get("architectures") or [""]
        if not isinstance(named, list) or not isinstance(named[0], str):
            raise self.wrong("architectures", named, "a list of names")
        return named[0]

    def labels(self) -> int:
        """How many labels a classifier has."""
        return len(self.mapping("id2label")) or self.integer("num_labels", 2)

    def rope(self, given: dict[str, Any] | None = None, *, theta: float = 10000.0) -> Rotary:
        """Rotary positions, from ``given``, ``rope_scaling`` or ``rope_parameters``, and the older ``rope_theta``.

        Of the two ``transformers`` reads ``rope_scaling``, which people add by hand, and leaves the other out.
        """
        rope = given if given is not None else self.mapping("rope_scaling") or self.mapping("rope_parameters")
        if not isinstance(rope, dict):
            raise self.wrong("rope_parameters", rope, "a mapping")
        known = ConfigFile(self.path, {"rope_theta": self.get("rope_theta", theta), **rope})
        for name in (known, self):
            name.only("partial_rotary_factor", 1.0)
        kind = known.word("type" if "rope_type" not in rope else "rope_type", "default", ("default", *ROPE_KINDS))
        base = known.number("rope_theta")
        if kind == "default":
            return Rotary(base)
        longest = self.integer("max_position_embeddings")
        if kind in ("yarn", "llama3") and self.get("original_max_position_embeddings") is not None:
            known.values["original_max_position_embeddings"] = self.get("original_max_position_embeddings")
        if kind == "yarn" and base <= 1:
            raise self.wrong("rope_theta", base, "above 1")
        return Rotary(base, scaling=known.scaling(ROPE_KINDS[kind], longest))

    def scaling(self, kind: Any, longest: int) -> Scaling:
        """The stretching that ``rope_parameters`` (which this is) describe, of a model that sees ``longest`` tokens."""
        original = self.integer("original_max_position_embeddings", longest)
        factor = self.number("factor", longest / original)
        if kind in ("linear", "ntk"):
            return Scaling(kind, factor, longest if kind == "ntk" else original)
        if kind == "llama3":
            fast, slow = self.number("high_freq_factor"), self.number("low_freq_factor")
            if fast <= slow:
                raise self.wrong("high_freq_factor", fast, f"above low_freq_factor ({slow})")
            return Scaling(kind, factor, original, fast=fast, slow=slow)
        return Scaling(
            kind, factor, original, attention_factor=self._attention_factor(factor),
            fast=self.number("beta_fast", 32.0), slow=self.number("beta_slow", 1.0), whole=self.flag("truncate", True),
        )  # fmt: skip

    def _attention_factor(self, factor: float) -> float:
        """YaRN's; given, or by its formula (arXiv:2309.00071, eq. 22), with DeepSeek's two scales where they are."""
        if self.get("attention_factor") is not None:
            return self.number("attention_factor")

        def by_length(scale: float) -> float:
            return 0.1 * scale * math.log(factor) + 1.0 if factor > 1 else 1.0

        if self.get("mscale") and self.get("mscale_all_dim"):
            return by_length(self.number("mscale")) / by_length(self.number("mscale_all_dim"))
        return by_length(1.0)

    def wrong(self, key: str, value: Any, wanted: str) -> CheckpointError:
        """The error for a value that is not ``wanted``."""
        try:
            said = json.dumps(value)
        except RecursionError:
            said = "something nested too deeply"
        return CheckpointError(f"{self.path}: {key} must be {wanted}; got {shown(said)}")

    def _value(self, key: str, default: Any) -> Any:
        value = self.get(key, default)
        if value is _REQUIRED:
            raise CheckpointError(f"{self.path}: {key} is missing")
        return value


def their_activation(ours: ActivationName) -> str:
    """What ``transformers`` calls an activation."""
    return next(theirs for theirs, name in ACTIVATIONS.items() if name == ours)
