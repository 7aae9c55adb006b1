"""Every name in the catalog leads somewhere, and everything it leads to can stand in a recipe."""

from __future__ import annotations

from typing import Any, get_args

import pytest

from danlu import catalog
from danlu.errors import RecipeError
from danlu.recipe import Choice, Settings
from danlu.stage import Stage

NO_SETTINGS = {"reader", "packing", "family"}
"""Kinds that no recipe names: they are looked up by a file's ending or by a folder's model_type."""
ENTRIES = [(kind, name) for kind in catalog.CATALOG for name in catalog.names(kind)]


@pytest.mark.parametrize(("kind", "name"), ENTRIES)
def test_every_entry_loads_and_is_documented(kind: str, name: str) -> None:
    found = catalog.load(kind, name, key=kind)
    assert (found.__doc__ or "").strip(), f"{found} has no docstring"
    if kind == "stage":
        assert issubclass(found, Stage)
    elif kind not in NO_SETTINGS:
        assert issubclass(found, Choice)


def all_settings() -> list[type[Settings]]:
    """Everything that can stand in a recipe: stages, choices, and the settings inside them."""
    found: dict[type[Settings], None] = {}

    def visit(annotation: Any) -> None:
        for part in get_args(annotation):
            visit(part)
        if isinstance(annotation, type) and issubclass(annotation, Settings) and annotation not in found:
            found[annotation] = None
            for field in annotation.model_fields.values():
                visit(field.annotation)

    for kind, name in ENTRIES:
        if kind not in NO_SETTINGS:
            visit(catalog.load(kind, name, key=kind))
    return list(found)


def test_every_setting_says_what_it_is() -> None:
    silent = [
        f"{cls.__name__}.{name}"
        for cls in all_settings()
        for name, field in cls.model_fields.items()
        if not field.description
    ]
    assert silent == [], "each field has a line of documentation below it, which editors show"


def test_no_settings_have_more_than_twenty_fields() -> None:
    assert [cls.__name__ for cls in all_settings() if len(cls.model_fields) > 20] == []


def test_stages_need_only_those_before_them() -> None:
    order = catalog.names("stage")
    for place, name in enumerate(order):
        assert set(catalog.load("stage", name, key=name).needs) <= set(order[:place]), name


def test_a_typo_is_told_the_choices() -> None:
    with pytest.raises(RecipeError, match=r"x.use: unknown optimizer 'moun'; did you mean 'muon'\? \(choices: .*muon"):
        catalog.load("optimizer", "moun", key="x.use")


@pytest.mark.parametrize("name", ["no_module_of_this_name:Thing", "pathlib:NoThing"])
def test_a_plug_in_that_is_not_there(name: str) -> None:
    with pytest.raises(RecipeError, match=f"x.use: cannot import '{name}'"):
        catalog.load("optimizer", name, key="x.use")


@pytest.mark.parametrize("name", [":Thing", ".a:b", "a..b:c", "a.:b", "pathlib:", ":"])
def test_a_plug_in_that_names_no_module_or_no_thing(name: str) -> None:
    with pytest.raises(
        RecipeError, match=rf"^x.use must be a name or module:Thing; got '{name}' \(choices: adafactor, .*muon"
    ):
        catalog.load("optimizer", name, key="x.use")


def test_a_plug_in_needs_no_line() -> None:
    assert catalog.load("optimizer", "collections:Counter", key="x").__name__ == "Counter"
