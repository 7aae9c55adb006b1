"""The typed recipe: a YAML file with one section a stage, overrides, and errors of one line.

A section is a frozen :class:`Settings`; inside it, a field annotated with :class:`OneOf` holds a
:class:`Choice` that ``use: name`` picks from the catalog. Where the section is itself a choice
(``tokenizer: {use: bpe}``), its class names that one field in ``whole``. Unknown keys never pass.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, TypeVar, get_args, get_origin

import pydantic
import yaml
from pydantic import BaseModel, ConfigDict

from danlu import catalog
from danlu.errors import RecipeError, suggestion

S = TypeVar("S", bound="Settings")


class Settings(BaseModel):
    """Frozen, validated settings; a key that is not a field is an error."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        arbitrary_types_allowed=True,
        use_attribute_docstrings=True,
        protected_namespaces=(),
    )
    whole: ClassVar[str | None] = None
    """The only field, where the settings are written as that field's value: ``tokenizer: {use: bpe}``."""
    short: ClassVar[str | None] = None
    """The field that a bare value stands for: ``corpora/`` is ``{path: corpora/}``."""

    @classmethod
    def __get_pydantic_json_schema__(cls, core_schema: Any, handler: Any) -> dict[str, Any]:
        schema: dict[str, Any] = handler.resolve_ref_schema(handler(core_schema))
        if cls.whole is not None:
            only: dict[str, Any] = schema["properties"][cls.whole]
            return only
        if cls.short is not None:
            return {"anyOf": [schema["properties"][cls.short], schema]}
        return schema


class Choice(Settings):
    """Settings picked by ``use: name``; a subclass adds its fields and what it does."""

    def to_recipe(self) -> dict[str, Any]:
        """The mapping that builds this choice again, its name in the catalog first."""
        here = f"{type(self).__module__}:{type(self).__qualname__}"
        name = next((n for kind in catalog.CATALOG.values() for n, t in kind.items() if t == here), here)
        return {"use": name, **plain(self)}

    @pydantic.model_serializer
    def _serialize(self) -> dict[str, Any]:
        return self.to_recipe()  # so that a default in the JSON schema says which choice it is


@dataclass(frozen=True, slots=True)
class OneOf:
    """Marks a field that holds a choice (or a list of choices) of one catalog ``kind``."""

    kind: str

    def __get_pydantic_json_schema__(self, core_schema: Any, handler: Any) -> dict[str, Any]:
        options: list[dict[str, Any]] = []
        for name in catalog.names(self.kind):
            schema = settings_schema(catalog.load(self.kind, name, key=self.kind))
            properties = {"use": {"const": name}, **schema.get("properties", {})}
            options.append({**schema, "properties": properties, "required": ["use", *schema.get("required", [])]})
        plug_in = {"type": "string", "pattern": "^[^:]+:[^:]+$"}
        outside = {"type": "object", "properties": {"use": plug_in}, "required": ["use"]}
        single = {"anyOf": [{"enum": catalog.names(self.kind)}, *options, plug_in, outside]}
        nullable = core_schema["type"] == "nullable"
        inner = core_schema["schema"] if nullable else core_schema
        value = {"type": "array", "items": single} if inner["type"] in ("list", "tuple") else single
        return {"anyOf": [value, {"type": "null"}]} if nullable else value


def plain(settings: Settings) -> dict[str, Any]:
    """Settings as nested dicts, lists, strings and numbers, fit for YAML and for fingerprints."""
    if settings.whole is not None:
        inner: dict[str, Any] = _plain_value(getattr(settings, settings.whole))
        return inner
    return {name: _plain_value(getattr(settings, name)) for name in type(settings).model_fields}


def _plain_value(value: Any) -> Any:
    if isinstance(value, Choice):
        return value.to_recipe()
    if isinstance(value, Settings):
        return plain(value)
    if isinstance(value, Mapping):
        return {str(key): _plain_value(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain_value(item) for item in value]
    return str(value) if isinstance(value, Path) else value


def build(cls: type[S], raw: Any, *, key: str) -> S:
    """Validate ``raw`` as ``cls``; every error names the key that it is about, starting at ``key``."""
    if isinstance(raw, cls):
        return raw
    values: dict[str, Any] = {}
    if cls.whole is not None:
        values[cls.whole] = _build_item(cls.model_fields[cls.whole], raw, key=key)
        return cls(**values)
    if cls.short is not None and raw is not None and not isinstance(raw, Mapping):
        raw = {cls.short: raw}
    if raw is None:
        raw = {}
    if not isinstance(raw, Mapping):
        raise RecipeError(f"{key} must be a mapping of settings; got {raw!r}{suggestion('', cls.model_fields)}")
    for name, value in raw.items():
        where = f"{key}.{name}"
        if name not in cls.model_fields:
            raise RecipeError(f"{where}: unknown key{suggestion(str(name), cls.model_fields)}")
        values[str(name)] = _build_field(cls.model_fields[name], value, key=where)
    try:
        return cls(**values)
    except pydantic.ValidationError as error:
        raise RecipeError(_first_line(error, key)) from None


def _build_field(field: pydantic.fields.FieldInfo, value: Any, *, key: str) -> Any:
    """Build the choices and settings inside ``value``; where a list is meant, one item will do."""
    if value is None:
        return value
    if get_origin(field.annotation) in (list, tuple):
        if not isinstance(value, list | tuple):
            return [_build_item(field, value, key=key)]
        return [_build_item(field, item, key=f"{key}.{place}") for place, item in enumerate(value)]
    return _build_item(field, value, key=key)


def _build_item(field: pydantic.fields.FieldInfo, value: Any, *, key: str) -> Any:
    one_of = next((mark for mark in field.metadata if isinstance(mark, OneOf)), None)
    if one_of is not None:
        return build_choice(one_of.kind, value, key=key)
    for kind in (field.annotation, *get_args(field.annotation)):
        if isinstance(kind, type) and issubclass(kind, Settings):
            return build(kind, value, key=key)
    return value


def build_choice(kind: str, raw: Any, *, key: str) -> Any:
    """A choice from ``{use: name, …}`` or from the bare name."""
    if isinstance(raw, Choice):
        return raw
    if isinstance(raw, str):
        raw = {"use": raw}
    if not isinstance(raw, Mapping) or not isinstance(raw.get("use"), str):
        raise RecipeError(f"{key} needs 'use: NAME' (choices: {', '.join(catalog.names(kind))}); got {raw!r}")
    settings = {name: value for name, value in raw.items() if name != "use"}
    cls = catalog.load(kind, raw["use"], key=f"{key}.use")
    if not (isinstance(cls, type) and issubclass(cls, Choice)):
        raise RecipeError(f"{key}.use: {raw['use']!r} is no danlu.recipe.Choice")
    return build(cls, settings, key=key)


_WANTED = {  # what pydantic says in its own words or in Python's
    "greater_than_equal": "at least {ge}",
    "less_than_equal": "at most {le}",
    "list_type": "a list",
    "tuple_type": "a list",
    "path_type": "a path",
    "string_type": "text",
    "too_short": "a list of at least {min_length}",
    "string_too_short": "at least {min_length} characters long",
}


def _first_line(error: pydantic.ValidationError, key: str) -> str:
    first = error.errors(include_url=False)[0]
    where = ".".join([key, *(str(part) for part in first["loc"])])
    if first["type"] == "missing":
        return f"{where} is required"
    message = first["msg"].removeprefix("Value error, ")
    if first["type"] == "value_error":
        return f"{where}: {message}"
    wanted = message.removeprefix("Input should be ")
    if first["type"] in _WANTED:
        wanted = _WANTED[first["type"]].format(**first.get("ctx", {}))
    return f"{where} must be {wanted}; got {first['input']!r}"


@dataclass(frozen=True)
class Recipe:
    """A validated recipe: ``sections`` maps stage names, in running order, to their settings."""

    name: str
    run_dir: Path
    seed: int
    sections: dict[str, Settings]

    def section(self, stage: str) -> Settings:
        """The settings of ``stage``; a recipe without that section is an error that says what it has."""
        if stage not in self.sections:
            raise RecipeError(f"the recipe has no section {stage!r} (it has: {', '.join(self.sections)})")
        return self.sections[stage]

    def to_yaml(self) -> str:
        """The whole recipe with every default written out; loading it gives this recipe again."""
        top = {"run_dir": str(self.run_dir), "seed": self.seed}
        sections = {name: plain(settings) for name, settings in self.sections.items()}
        return yaml.safe_dump({**top, **sections}, sort_keys=False, allow_unicode=True)


class _Top(Settings):
    run_dir: Path | None = None
    """The folder that everything is written to; ``runs/<recipe name>`` by default."""
    seed: int = pydantic.Field(default=1, ge=0, lt=2**32)
    """Every random choice follows from it."""


def load_recipe(path: Path, overrides: Sequence[str] = ()) -> Recipe:
    """Read ``path``, apply ``key.path=value`` overrides (values are YAML), validate everything.

    Raises:
        RecipeError: the file is missing or not YAML; a key is unknown; a value is wrong.
    """
    raw = _read_yaml(path)
    for override in overrides:
        _apply(raw, override)
    stages = catalog.names("stage")
    for name in raw:
        if name not in stages and name not in _Top.model_fields:
            raise RecipeError(f"{path}: unknown key {name!r}{suggestion(str(name), [*stages, *_Top.model_fields])}")
    top = build(_Top, {name: raw[name] for name in _Top.model_fields if name in raw}, key=str(path))
    sections: dict[str, Settings] = {}
    for stage in stages:
        if stage in raw:
            sections[stage] = build(catalog.load("stage", stage, key=stage), raw[stage], key=stage)
    if not sections:
        raise RecipeError(f"{path}: a recipe needs at least one section (choices: {', '.join(stages)})")
    return Recipe(path.stem, top.run_dir or Path("runs") / path.stem, top.seed, sections)


def recipe_schema() -> dict[str, Any]:
    """The JSON schema of a recipe, for editors."""
    schema = _Top.model_json_schema()
    for stage in catalog.names("stage"):
        schema["properties"][stage] = settings_schema(catalog.load("stage", stage, key=stage))
    schema.update({"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "Danlu recipe"})
    return schema


def settings_schema(cls: type[Settings]) -> dict[str, Any]:
    """The JSON schema of ``cls`` with its definitions in place, so that it can stand inside another."""
    schema = cls.model_json_schema()
    definitions = schema.pop("$defs", {})

    def inlined(part: Any) -> Any:
        if isinstance(part, list):
            return [inlined(item) for item in part]
        if not isinstance(part, dict):
            return part
        if "$ref" in part:
            rest = {name: item for name, item in part.items() if name != "$ref"}
            return inlined({**definitions[part["$ref"].removeprefix("#/$defs/")], **rest})
        return {name: inlined(item) for name, item in part.items()}

    whole: dict[str, Any] = inlined(schema)
    return whole


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        near = sorted(str(p) for p in path.parent.glob("*.yaml")) if path.parent.is_dir() else []
        raise RecipeError(f"no recipe at {path}{suggestion(str(path), near)}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise RecipeError(f"cannot read the recipe {path}: {error}") from None
    except yaml.YAMLError as error:
        raise RecipeError(f"{path} is not YAML: {' '.join(str(error).split())}") from None
    if not isinstance(raw, dict):
        raise RecipeError(f"{path} must be a mapping of sections; got {type(raw).__name__}")
    return raw


def _apply(raw: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    if not equals or not key:
        raise RecipeError(f"an override is key.path=value; got {override!r}")
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise RecipeError(f"{key}: {text!r} is not YAML: {' '.join(str(error).split())}") from None
    *parents, last = key.split(".")
    place = raw
    for parent in parents:
        child = place.get(parent)
        if isinstance(child, str):
            child = {"use": child}
        if not isinstance(child, dict):
            child = {}
        place[parent] = child
        place = child
    place[last] = value
