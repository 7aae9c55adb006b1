"""The typed recipe: a YAML file with one section a stage, overrides, and errors of one line.

A section is a frozen :class:`Settings`; inside it, a field annotated with :class:`OneOf` holds a
:class:`Choice` that ``use: name`` picks from the catalog. Where the section is itself a choice
(``tokenizer: {use: bpe}``), its class names that one field in ``whole``. Unknown keys never pass.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from types import UnionType
from typing import Any, ClassVar, TypeVar, Union, get_args, get_origin

import pydantic
from pydantic import BaseModel, ConfigDict
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from danlu import catalog
from danlu.errors import RecipeError, did_you_mean, suggestion
from danlu.recipe_file import Listed, Opened, apply_override, read_recipe, shortened, write_yaml

S = TypeVar("S", bound="Settings")


class Settings(BaseModel):
    """Frozen, validated settings; a key that is not a field is an error."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        allow_inf_nan=False,
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
        fields = {
            name: _or_one(field) if _takes_one_item(cls.model_fields[name]) else field
            for name, field in schema.get("properties", {}).items()
        }
        for name, field in fields.items():
            default = cls.model_fields[name].default
            if isinstance(default, Choice):
                fields[name] = _or_unnamed(field, str(default.to_recipe()["use"]))
        schema = {**schema, "properties": fields}
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


_SPELLED_OUT: ContextVar[frozenset[str]] = ContextVar("kinds whose schema is being made", default=frozenset())


@dataclass(frozen=True, slots=True)
class OneOf:
    """Marks a field that holds a choice (or a list of choices) of one catalog ``kind``."""

    kind: str

    def __get_pydantic_json_schema__(self, core_schema: Any, handler: Any) -> dict[str, Any]:
        plug_in = {"type": "string", "pattern": "^[^:]+:[^:]+$"}
        outside = {"type": "object", "properties": {"use": plug_in}, "required": ["use"]}
        single = {"anyOf": [{"enum": catalog.names(self.kind)}, *self._options(), plug_in, outside]}
        nullable = core_schema["type"] == "nullable"
        inner = core_schema["schema"] if nullable else core_schema
        value = {"type": "array", "items": single} if inner["type"] in ("list", "tuple") else single
        return {"anyOf": [value, {"type": "null"}]} if nullable else value

    def _options(self) -> list[dict[str, Any]]:
        """A schema for each name; of a choice inside one of its own kind only the name, for that would never end."""
        if self.kind in _SPELLED_OUT.get():
            names = {"use": {"enum": catalog.names(self.kind)}}
            return [{"type": "object", "properties": names, "required": ["use"]}]
        options: list[dict[str, Any]] = []
        outer = _SPELLED_OUT.set(_SPELLED_OUT.get() | {self.kind})
        for name in catalog.names(self.kind):
            schema = settings_schema(catalog.load(self.kind, name, key=self.kind))
            properties = {"use": {"const": name}, **schema.get("properties", {})}
            options.append({**schema, "properties": properties, "required": ["use", *schema.get("required", [])]})
        _SPELLED_OUT.reset(outer)
        return options


def _takes_one_item(field: FieldInfo) -> bool:
    """Whether ``_build_value`` makes a list of a single value: nothing but a list is meant."""
    arms = _arms(field.annotation)
    return len(arms) == 1 and get_origin(arms[0]) in (list, tuple)


def _or_one(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema of a list that one item is enough for, and of that item; what is said of the field stays outside."""
    if "anyOf" in schema:
        return {**schema, "anyOf": [_or_one(arm) for arm in schema["anyOf"]]}
    if schema.get("type") != "array" or schema.get("minItems", 0) > 1:
        return schema
    about = ("title", "description", "default")
    array = {name: value for name, value in schema.items() if name not in about}
    return {"anyOf": [schema.get("items", {}), array], **{name: schema[name] for name in about if name in schema}}


def _or_unnamed(schema: dict[str, Any], name: str) -> dict[str, Any]:
    """The schema of a choice of which some settings are enough where it is the one of this name, the default."""
    if "anyOf" in schema:
        return {**schema, "anyOf": [_or_unnamed(arm, name) for arm in schema["anyOf"]]}
    use = schema.get("properties", {}).get("use", {})
    if name != use.get("const") and name not in use.get("enum", ()):
        return schema
    return {key: value for key, value in schema.items() if key != "required"}


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
        values[cls.whole] = _build_field(cls.model_fields[cls.whole], raw, key=key)
        return cls(**values)
    if isinstance(raw, Opened):
        raw = raw.written_out(cls.short) if cls.short is not None else raw.bare
    elif cls.short is not None and raw is not None and not isinstance(raw, Mapping):
        raw = {cls.short: raw}
    if raw is None:
        raw = {}
    if not isinstance(raw, Mapping):
        raise RecipeError(
            f"{key} must be a mapping of settings; got {shortened(raw)}{suggestion('', cls.model_fields)}"
        )
    for name, value in raw.items():
        where = f"{key}.{name}" if key else str(name)
        if name not in cls.model_fields:
            raise RecipeError(f"{where}: unknown key{_meant(str(name), cls)}")
        values[str(name)] = _build_field(cls.model_fields[name], value, key=where)
    try:
        return cls(**values)
    except pydantic.ValidationError as error:
        raise RecipeError(_first_line(error, key)) from None


def _meant(key: str, cls: type[Settings]) -> str:
    """What was perhaps meant by a key that ``cls`` lacks: one of this name further in, or one of a like name."""
    for name, field in cls.model_fields.items():
        if isinstance(field.default, Settings) and key in type(field.default).model_fields:
            return f"; did you mean '{name}.{key}'?{suggestion('', cls.model_fields)}"
    return suggestion(key, cls.model_fields)


def _build_field(field: FieldInfo, value: Any, *, key: str) -> Any:
    one_of = next((mark for mark in field.metadata if isinstance(mark, OneOf)), None)
    said = isinstance(value, Mapping) and not isinstance(value, Opened)
    if one_of is not None and isinstance(field.default, Choice) and said and "use" not in value:
        value = {**field.default.to_recipe(), **value}  # some settings of what is chosen by default
    return _build_value(field.annotation, one_of, value, key=key)


def _build_value(annotation: Any, one_of: OneOf | None, value: Any, *, key: str) -> Any:
    """Build the choices and settings inside ``value``; where a list is meant, one item will do."""
    if value is None and (one_of is None or type(None) in get_args(annotation)):
        return None
    arms = _arms(annotation)
    listed = next((arm for arm in arms if get_origin(arm) in (list, tuple)), None)
    if listed is None and isinstance(value, Listed):
        raise RecipeError(f"{key} is no list; '0' is no place in it")
    if listed is not None and isinstance(value, list | tuple):
        item = get_args(listed)[0]
        return [_build_value(item, one_of, each, key=f"{key}.{place}") for place, each in enumerate(value)]
    if listed is not None and len(arms) == 1:
        if value is None:
            raise RecipeError(f"{key} must be a list; got None")
        return [_build_value(get_args(listed)[0], one_of, value, key=key)]
    named = next((arm for arm in arms if get_origin(arm) is dict), None)
    if named is not None and isinstance(value, Mapping):
        return {str(n): _build_value(get_args(named)[1], one_of, each, key=f"{key}.{n}") for n, each in value.items()}
    if one_of is not None:
        return build_choice(one_of.kind, value, key=key)
    settings = next((arm for arm in arms if isinstance(arm, type) and issubclass(arm, Settings)), None)
    if settings is not None and (isinstance(value, Mapping) or len(arms) == 1):
        return build(settings, value, key=key)
    if isinstance(value, bool) and all(arm in _SIMPLE for arm in arms):
        # Python takes true for 1; a person who writes ``layers: true`` meant something else.
        wanted = " or ".join(_SIMPLE[arm] for arm in arms)
        raise RecipeError(f"{key} must be {wanted}; got {str(value).lower()}")
    return value


_SIMPLE: dict[Any, str] = {int: "a whole number", float: "a number", str: "text", Path: "a path"}


def _arms(annotation: Any) -> list[Any]:
    """The types that a value may have: what stands between the bars of a union, but for None."""
    union = get_origin(annotation) in (Union, UnionType)
    return [arm for arm in (get_args(annotation) if union else (annotation,)) if arm is not type(None)]


def build_choice(kind: str, raw: Any, *, key: str) -> Any:
    """A choice from ``{use: name, …}`` or from the bare name."""
    if isinstance(raw, Choice):
        return raw
    if isinstance(raw, str):
        raw = {"use": raw}
    elif isinstance(raw, Opened):
        raw = raw.written_out("use")
    if not isinstance(raw, Mapping) or not isinstance(raw.get("use"), str):
        raise RecipeError(f"{key} needs 'use: NAME' (choices: {', '.join(catalog.names(kind))}); got {shortened(raw)}")
    settings = {name: value for name, value in raw.items() if name != "use"}
    cls = catalog.load(kind, raw["use"], key=f"{key}.use")
    if not (isinstance(cls, type) and issubclass(cls, Choice)):
        raise RecipeError(f"{key}.use: {raw['use']!r} is no danlu.recipe.Choice")
    return build(cls, settings, key=key)


_WANTED = {  # for what pydantic says in its own words or in Python's
    "int_parsing": "a whole number",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_parsing": "a number",
    "float_type": "a number",
    "bool_parsing": "true or false",
    "bool_type": "true or false",
    "dict_type": "a mapping",
    "model_type": "a mapping of settings",
    "greater_than_equal": "at least {ge}",
    "less_than_equal": "at most {le}",
    "list_type": "a list",
    "tuple_type": "a list",
    "path_type": "a path",
    "string_type": "text",
    "too_short": "a list of at least {min_length}",
    "too_long": "a list of at most {max_length}",
    "string_too_short": "at least {min_length} characters long",
}


def _first_line(error: pydantic.ValidationError, key: str) -> str:
    """What is wrong with the first wrong value; where each arm of a union objects, all that would do."""
    problems = error.errors(include_url=False)
    first, where = problems[0], _where(problems[0], key)
    if first["type"] == "missing":
        return f"{where} is required"
    if first["type"] == "value_error":
        return f"{where}: {first['msg'].removeprefix('Value error, ')}"
    wanted = dict.fromkeys(_wanted(each) for each in problems if _where(each, key) == where)
    choices = re.findall("'([^']*)'", first["msg"]) if first["type"] == "literal_error" else []
    meant = did_you_mean(str(first["input"]), choices)
    return f"{where} must be {' or '.join(wanted)}; got {shortened(first['input'])}{meant}"


def _where(problem: ErrorDetails, key: str) -> str:
    """The key; of what follows the field's name only places in lists, for pydantic puts types there too."""
    field, *inner = problem["loc"] or ("",)
    return ".".join(str(part) for part in (key, field, *(p for p in inner if isinstance(p, int))) if part != "")


def _wanted(problem: ErrorDetails) -> str:
    if problem["type"] in _WANTED:
        return _WANTED[problem["type"]].format(**problem.get("ctx", {}))
    return problem["msg"].removeprefix("Input should be ").removeprefix("a valid ")


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
        return write_yaml({**top, **sections})


class _Top(Settings):
    run_dir: Path | None = None
    """The folder that everything is written to; ``runs/<recipe name>`` by default."""
    seed: int = pydantic.Field(default=1, ge=0, lt=2**32)
    """Every random choice follows from it."""

    @pydantic.field_validator("run_dir")
    @classmethod
    def _on_this_machine(cls, value: Path | None) -> Path | None:
        if value is not None and re.match("[a-z][a-z0-9+-]+:/", value.as_posix()):
            raise ValueError(f"must be a folder of this machine: nothing is written to an address; got {value}")
        return value


def load_recipe(path: Path, overrides: Sequence[str] = ()) -> Recipe:
    """Read ``path``, apply ``key.path=value`` overrides (values are YAML), validate everything.

    Raises:
        RecipeError: the file is missing or not YAML; a key is unknown; a value is wrong.
    """
    raw = read_recipe(path)
    for override in overrides:
        apply_override(raw, override)
    stages = catalog.names("stage")
    for name in raw:
        if name not in stages and name not in _Top.model_fields:
            raise RecipeError(f"{path}: unknown key {name!r}{suggestion(str(name), [*stages, *_Top.model_fields])}")
    top = build(_Top, {name: raw[name] for name in _Top.model_fields if name in raw}, key="")
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
        section = settings_schema(catalog.load("stage", stage, key=stage))
        if section.get("type") == "object" and "required" not in section:
            section["type"] = ["object", "null"]  # ``export:`` alone is a section of defaults
        schema["properties"][stage] = section
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
