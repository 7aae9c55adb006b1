"""A recipe as text: YAML 1.2, in which ``no`` is a language and ``1e-3`` a number, and overrides.

PyYAML reads YAML 1.1: it takes ``no`` for false, ``12:30`` for 750, ``1e-3`` for text, and of a
key that is there twice it silently keeps the last.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml

from danlu.errors import RecipeError, suggestion

_PLAIN_SCALARS = {  # tag, pattern, the characters that such a scalar can begin with
    "bool": (r"true|True|TRUE|false|False|FALSE", "tTfF"),
    "int": (r"[-+]?(0|[1-9][0-9_]*)|0o[0-7]+|0x[0-9a-fA-F]+", "-+0123456789"),
    "float": (
        r"[-+]?(\.[0-9]+|[0-9][0-9_]*\.[0-9]*)([eE][-+]?[0-9]+)?|[-+]?[0-9][0-9_]*[eE][-+]?[0-9]+"
        r"|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
        "-+.0123456789",
    ),
    "null": (r"~|null|Null|NULL|", "~nN\0"),
    "merge": (r"<<", "<"),
}


class _Loader(yaml.SafeLoader):
    """YAML 1.2's plain scalars; a key that is there twice is an error."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.tag != "tag:yaml.org,2002:merge":
                if key.value in seen:
                    raise yaml.constructor.ConstructorError(
                        None, None, f"the key {key.value!r} is there twice", key.start_mark
                    )
                seen.add(key.value)
        return super().construct_mapping(node, deep)


class _Dumper(yaml.SafeDumper):
    """Writes what ``_Loader`` reads: text that looks like a number to it is quoted."""


for _kind in (_Loader, _Dumper):
    _kind.yaml_implicit_resolvers = {}  # without those of YAML 1.1
    for _tag, (_pattern, _first) in _PLAIN_SCALARS.items():
        _begins = ["" if character == "\0" else character for character in _first]
        _kind.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(f"^(?:{_pattern})$"), _begins)


def read_recipe(path: Path) -> dict[str, Any]:
    """The mapping in a recipe file.

    Raises:
        RecipeError: there is no such file, or it cannot be read, or it is no mapping.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        near = sorted(str(p) for p in path.parent.glob("*.yaml")) if path.parent.is_dir() else []
        raise RecipeError(f"no recipe at {path}{suggestion(str(path), near)}") from None
    except IsADirectoryError:
        near = sorted(str(p) for p in path.glob("*.yaml"))
        raise RecipeError(f"{path} is a folder, not a recipe{suggestion('', near)}") from None
    except UnicodeDecodeError as error:
        raise RecipeError(f"{path} is no recipe: it is not UTF-8 text (byte {error.start})") from None
    except OSError as error:
        raise RecipeError(f"cannot read the recipe {path}: {error.strerror}") from None
    raw = _parse(text, f"{path} is not YAML")
    if raw is None:
        raise RecipeError(f"{path} is empty; a recipe needs at least one section")
    if not isinstance(raw, dict):
        raise RecipeError(f"{path} must be a mapping of sections; got {shortened(raw)}")
    return raw


def write_yaml(value: dict[str, Any]) -> str:
    """A mapping as YAML, in its own order."""
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True)


def quoted(text: str) -> str:
    """Text as a double-quoted scalar on one line, whatever is in it."""
    return yaml.dump(text, Dumper=_Dumper, default_style='"', allow_unicode=True, width=sys.maxsize).rstrip("\n")


class Opened(dict[str, Any]):
    """What an override makes of a bare value to put a key into it; the settings know which key the value stood for."""

    def __init__(self, bare: Any) -> None:
        super().__init__()
        self.bare = bare

    def written_out(self, key: str) -> dict[str, Any]:
        """The mapping, the bare value under ``key`` unless an override has set that too."""
        return {key: self.bare, **self}


class Listed(list[Any]):
    """What an override makes of a single value to find place 0 in it; no list, no such place."""


def apply_override(raw: dict[str, Any], override: str) -> None:
    """Put the value of ``key.path=value`` (YAML) in its place in ``raw``; a number is a place in a list.

    A single value counts as a list of one, as it does where a list is meant.

    Raises:
        RecipeError: it is no such pair, or a list has no such place.
    """
    key, equals, text = override.partition("=")
    if not equals or not all(key.split(".")):
        raise RecipeError(f"an override is key.path=value; got {override!r}")
    value = _parse(text, f"{key}: {text!r} is not YAML")
    *parents, last = key.split(".")
    place: Any = raw
    for depth, parent in enumerate(parents):
        at = _index(place, parent, ".".join(parents[:depth]))
        child = place.get(at) if isinstance(place, dict) else place[at]
        following = (*parents, last)[depth + 1]
        if child is None:
            child = {}
        elif following.isdecimal() and not isinstance(child, list) and following not in _keys(child):
            child = Listed([child])
        elif not isinstance(child, dict | list):
            child = Opened(child)
        place[at] = child
        place = child
    place[_index(place, last, ".".join(parents))] = value


def _keys(value: Any) -> set[str]:
    return {str(key) for key in value} if isinstance(value, dict) else set()


def _index(place: Any, name: str, key: str) -> Any:
    if isinstance(place, dict):
        return name
    if not name.isdecimal() or int(name) >= len(place):
        raise RecipeError(f"{key} is a list of {len(place)}; {name!r} is no place in it")
    return int(name)


def _parse(text: str, problem: str) -> Any:
    try:
        return yaml.load(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f" (line {mark.line + 1}, column {mark.column + 1})" if mark else ""
        raise RecipeError(f"{problem}: {error.problem}{where}") from None
    except (yaml.YAMLError, ValueError) as error:  # ValueError: an int of more digits than Python takes
        raise RecipeError(f"{problem}: {' '.join(str(error).split())}") from None


def shortened(value: Any) -> str:
    """A value as Python writes it, cut where it would fill the screen."""
    text = repr(value)
    return text if len(text) <= 100 else f"{text[:97]}..."
