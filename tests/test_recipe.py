"""Recipes: what is read, what is refused, and in which words."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal, Protocol

import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SkipValidation

from danlu import catalog
from danlu.errors import InputError, RecipeError
from danlu.recipe import Choice, OneOf, Settings, build, load_recipe, recipe_schema
from danlu.recipe_file import apply_override, read_recipe, write_yaml
from danlu.stage import Stage


class Shape(Protocol):
    """What a fruit looks like."""


class Round(Choice):
    """A ball."""

    radius: float = pydantic.Field(default=1.0, gt=0)


class Long(Choice):
    """A stick."""

    length: int = pydantic.Field(default=3, ge=2, le=9)
    ripe: bool = False


class Place(Settings):
    """Where it grows; a bare word is its name."""

    short = "name"
    name: str
    trees: int = 1


class Fruit(Stage):
    """A section with everything that a section can have."""

    count: int = pydantic.Field(default=5, ge=1)
    weight: float | None = None
    colour: Literal["green", "yellow"] = "green"
    folder: Path = Path("fruit")
    names: list[str] | None = None
    corner: tuple[int, int] = (0, 0)
    limit: int | Literal["all"] = "all"
    shape: Annotated[SkipValidation[Shape], OneOf("shape")] = Round()
    parts: Annotated[tuple[SkipValidation[Shape], ...], OneOf("shape")] = ()
    places: tuple[str | Place, ...] = ()
    orchard: Place | None = None


class Juice(Stage):
    """A section that is itself a choice."""

    whole = "kind"
    kind: Annotated[SkipValidation[Shape], OneOf("shape")]


REAL = catalog.CATALOG
RECIPES = sorted((Path(__file__).parents[1] / "recipes").rglob("*.yaml"))


@pytest.fixture(autouse=True)
def fruit_catalog(monkeypatch: pytest.MonkeyPatch) -> None:
    stages = {"fruit": f"{__name__}:Fruit", "juice": f"{__name__}:Juice"}
    shapes = {"round": f"{__name__}:Round", "long": f"{__name__}:Long"}
    monkeypatch.setattr(catalog, "CATALOG", {"stage": stages, "shape": shapes})


def written(folder: Path, text: str) -> Path:
    path = folder / "salad.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_defaults_and_names(tmp_path: Path) -> None:
    recipe = load_recipe(written(tmp_path, "juice: long\nfruit:\n"))
    assert list(recipe.sections) == ["fruit", "juice"], "stages stand in catalog order, whatever the file's"
    assert recipe.name == "salad" and recipe.run_dir == Path("runs/salad") and recipe.seed == 1
    fruit = recipe.section("fruit")
    assert isinstance(fruit, Fruit) and fruit.count == 5 and fruit.shape == Round()


@pytest.mark.parametrize(
    ("text", "overrides", "line"),
    [
        ("fruit: {count: 0}", [], "fruit.count must be at least 1; got 0"),
        ("fruit: {count: -3}", [], "fruit.count must be at least 1; got -3"),
        ("fruit: {count: many}", [], "fruit.count must be a whole number; got 'many'"),
        ("fruit: {count: 1.5}", [], "fruit.count must be a whole number; got 1.5"),
        ("fruit: {count: true}", [], "fruit.count must be a whole number; got true"),
        ("fruit: {weight: heavy}", [], "fruit.weight must be a number; got 'heavy'"),
        ("fruit: {weight: .nan}", [], "fruit.weight must be a finite number; got nan"),
        ("fruit: {weight: [1]}", [], "fruit.weight must be a number; got [1]"),
        ("fruit: {colour: yelow}", [], "fruit.colour must be 'green' or 'yellow'; got 'yelow'; did you mean 'yellow'?"),
        ("fruit: {limit: most}", [], "fruit.limit must be a whole number or 'all'; got 'most'"),
        ("fruit: {folder: 3}", [], "fruit.folder must be a path; got 3"),
        ("fruit: {cuont: 3}", [], "fruit.cuont: unknown key; did you mean 'count'?"),
        ("fruit: {radius: 3}", [], "fruit.radius: unknown key; did you mean 'shape.radius'? (choices: count, weight, "),
        ("fruit: {}\nrun_dir: s3://bucket/run", [], "run_dir: must be a folder of this machine"),
        ("fruit: {}\nrun_dir: gs://b", [], "nothing is written to an address; got gs:/b"),
        ("fruits: {}", [], "unknown key 'fruits'; did you mean 'fruit'? (choices: fruit, juice, run_dir, seed)"),
        ("fruit: 7", [], "fruit must be a mapping of settings; got 7"),
        ("fruit: {shape: rond}", [], "fruit.shape.use: unknown shape 'rond'; did you mean 'round'?"),
        ("fruit: {shape: {length: 2}}", [], "fruit.shape.length: unknown key (choices: radius)"),
        ("fruit: {shape: {use: round, radius: 0}}", [], "fruit.shape.radius must be greater than 0; got 0"),
        ("fruit: {shape: {use: long, radius: 2}}", [], "fruit.shape.radius: unknown key (choices: length, ripe)"),
        ("fruit: {shape: {use: long, ripe: perhaps}}", [], "fruit.shape.ripe must be true or false; got 'perhaps'"),
        ("fruit: {shape: 'no_such:Thing'}", [], "fruit.shape.use: cannot import 'no_such:Thing'"),
        ("fruit: {shape: 'pathlib:Path'}", [], "fruit.shape.use: 'pathlib:Path' is no danlu.recipe.Choice"),
        ("fruit: {parts: [long, {use: long, length: 10}]}", [], "fruit.parts.1.length must be at most 9; got 10"),
        ("fruit: {places: [a, {name: b, tres: 2}]}", [], "fruit.places.1.tres: unknown key; did you mean 'trees'?"),
        ("fruit: {places: [a, {trees: 2}]}", [], "fruit.places.1.name is required"),
        ("fruit: {places: [3]}", [], "fruit.places.0 must be text"),
        ("fruit: {places: [null]}", [], "fruit.places.0 must be text or a mapping of settings; got None"),
        ("fruit: {orchard: {name: x, trees: y}}", [], "fruit.orchard.trees must be a whole number; got 'y'"),
        ("fruit: {corner: 3}", [], "fruit.corner"),
        ("fruit: {parts: }", [], "fruit.parts must be a list; got None"),
        ("fruit: {shape: }", [], "fruit.shape needs 'use: NAME' (choices: round, long); got None"),
        ("juice:", [], "juice needs 'use: NAME' (choices: round, long); got None"),
        ("juice: {use: long, lenght: 4}", [], "juice.lenght: unknown key; did you mean 'length'?"),
        ("fruit:\nseed: -1", [], "seed must be at least 0; got -1"),
        ("fruit:\nseed: x", [], "seed must be a whole number; got 'x'"),
        ("seed: 1", [], "a recipe needs at least one section (choices: fruit, juice)"),
        ("", [], "salad.yaml is empty"),
        ("# only words", [], "salad.yaml is empty"),
        ("just text", [], "salad.yaml must be a mapping of sections; got 'just text'"),
        (
            "fruit: {count: [}",
            [],
            "salad.yaml is not YAML: expected the node content, but found '}' (line 1, column 17)",
        ),
        ("fruit: {count: 1}\nfruit: {count: 2}", [], "the key 'fruit' is there twice (line 2, column 1)"),
        ("fruit:", ["count"], "an override is key.path=value; got 'count'"),
        ("fruit:", ["=3"], "an override is key.path=value; got '=3'"),
        ("fruit:", ["fruit..count=3"], "an override is key.path=value; got 'fruit..count=3'"),
        ("fruit:", ["fruit.count=[1"], "fruit.count: '[1' is not YAML"),
        ("fruit:", ["fruit.cuont=3"], "fruit.cuont: unknown key; did you mean 'count'?"),
        ("fruit:", ["friut.count=3"], "unknown key 'friut'; did you mean 'fruit'?"),
        ("fruit: {places: [a]}", ["fruit.places.0.tres=2"], "fruit.places.0.tres: unknown key; did you mean 'trees'?"),
        (
            "fruit: {shape: rond}",
            ["fruit.shape.radius=2"],
            "fruit.shape.use: unknown shape 'rond'; did you mean 'round'?",
        ),
        (
            "fruit: {shape: 7}",
            ["fruit.shape.radius=2"],
            "fruit.shape needs 'use: NAME' (choices: round, long); got {'use': 7",
        ),
        ("fruit: {orchard: 7}", ["fruit.orchard.trees=2"], "fruit.orchard.name must be text; got 7"),
        ("fruit: green", ["fruit.count=2"], "fruit must be a mapping of settings; got 'green'"),
        ("fruit: {colour: green}", ["fruit.colour.deep=1"], "fruit.colour must be 'green' or 'yellow'"),
        ("fruit: {places: [a]}", ["fruit.places.1=b"], "fruit.places is a list of 1; '1' is no place in it"),
        ("fruit: {places: [a]}", ["fruit.places.first=b"], "fruit.places is a list of 1; 'first' is no place in it"),
    ],
)
def test_refusals_are_one_line_that_names_the_key(tmp_path: Path, text: str, overrides: list[str], line: str) -> None:
    with pytest.raises(RecipeError) as caught:
        load_recipe(written(tmp_path, text), overrides)
    message = str(caught.value)
    assert line in message
    assert "\n" not in message


def test_a_long_value_is_cut_in_the_error() -> None:
    with pytest.raises(RecipeError) as caught:
        build(Fruit, {"count": "9" * 1000 + "x"}, key="fruit")
    assert len(str(caught.value)) < 200


def test_recipes_that_cannot_be_read(tmp_path: Path) -> None:
    written(tmp_path, "fruit:")
    with pytest.raises(RecipeError, match=r"no recipe at .*salda.yaml; did you mean '.*salad.yaml'"):
        load_recipe(tmp_path / "salda.yaml")
    with pytest.raises(RecipeError, match=r"is a folder, not a recipe \(choices: .*salad.yaml\)"):
        load_recipe(tmp_path)
    (tmp_path / "binary.yaml").write_bytes(b"fruit: \xff")
    with pytest.raises(RecipeError, match=r"not UTF-8 text \(byte 7\)"):
        load_recipe(tmp_path / "binary.yaml")


def test_overrides_reach_every_place(tmp_path: Path) -> None:
    path = written(tmp_path, "fruit: {shape: long, parts: [round, long], places: [a, {name: b}]}\n")
    recipe = load_recipe(
        path,
        ["fruit.shape.length=4", "fruit.parts.0.radius=2.5", "fruit.places.1.trees=7", "juice.use=round", "seed=9",
         "fruit.weight=1e-3", "run_dir=elsewhere", "fruit.orchard=x"],
    )  # fmt: skip
    fruit = recipe.section("fruit")
    assert isinstance(fruit, Fruit)
    assert fruit.shape == Long(length=4) and fruit.parts == (Round(radius=2.5), Long())
    assert fruit.places == ("a", Place(name="b", trees=7)) and fruit.orchard == Place(name="x")
    assert fruit.weight == 0.001 and recipe.seed == 9 and recipe.run_dir == Path("elsewhere")
    assert recipe.section("juice") == Juice(kind=Round())


def test_an_override_of_a_short_form_keeps_what_it_stands_for(tmp_path: Path) -> None:
    path = written(tmp_path, "fruit: {shape: long, parts: long, places: [a, b], orchard: x}\njuice: round\n")
    recipe = load_recipe(
        path,
        ["fruit.shape.length=4", "fruit.shape.ripe=true", "fruit.parts.length=5", "fruit.places.0.trees=2",
         "fruit.places.1.name=c", "fruit.orchard.trees=3", "juice.use=long", "juice.length=6"],
    )  # fmt: skip
    fruit = recipe.section("fruit")
    assert isinstance(fruit, Fruit)
    assert fruit.shape == Long(length=4, ripe=True) and fruit.parts == (Long(length=5),)
    assert fruit.places == (Place(name="a", trees=2), Place(name="c"))
    assert fruit.orchard == Place(name="x", trees=3)
    assert recipe.section("juice") == Juice(kind=Long(length=6))


@pytest.mark.parametrize("places", ["a", "{name: a}"])
def test_an_override_finds_the_first_place_of_a_list_written_without_one(tmp_path: Path, places: str) -> None:
    path = written(tmp_path, f"fruit: {{parts: long, places: {places}}}\n")
    recipe = load_recipe(path, ["fruit.parts.0.length=5", "fruit.places.0.trees=2"])
    fruit = recipe.section("fruit")
    assert isinstance(fruit, Fruit)
    assert fruit.parts == (Long(length=5),) and fruit.places == (Place(name="a", trees=2),)
    with pytest.raises(RecipeError, match=r"fruit\.parts is a list of 1; '1' is no place in it"):
        load_recipe(path, ["fruit.parts.1.length=5"])
    for text, override in (("fruit: {count: 3}", "fruit.count.0.trees=5"), ("fruit: {shape: long}", "fruit.shape.0=5")):
        with pytest.raises(RecipeError, match=r"^fruit\.(count|shape) is no list; '0' is no place in it$"):
            load_recipe(written(tmp_path, text), [override])


def test_a_written_recipe_reads_back_the_same(tmp_path: Path) -> None:
    text = (
        "fruit: {shape: {use: long, ripe: true}, parts: [round], places: ['no', x], weight: 1e-9}\njuice: long\nseed: 3"
    )
    first = load_recipe(written(tmp_path, text))
    second = load_recipe(written(tmp_path, first.to_yaml()))
    assert second == first
    assert "count: 5" in first.to_yaml(), "defaults are written out"


def test_a_plug_in_outside_the_catalog_writes_its_own_path(tmp_path: Path) -> None:
    del catalog.CATALOG["shape"]["long"]
    recipe = load_recipe(written(tmp_path, f"fruit: {{shape: {{use: '{__name__}:Long', length: 7}}}}"))
    fruit = recipe.section("fruit")
    assert isinstance(fruit, Fruit) and isinstance(fruit.shape, Long) and fruit.shape.length == 7
    assert load_recipe(written(tmp_path, recipe.to_yaml())) == recipe


def test_a_section_that_is_not_there(tmp_path: Path) -> None:
    recipe = load_recipe(written(tmp_path, "fruit:"))
    with pytest.raises(RecipeError, match=r"no section 'juice' \(it has: fruit\)"):
        recipe.section("juice")


def test_yaml_means_what_people_mean(tmp_path: Path) -> None:
    path = written(
        tmp_path, "a: no\nb: 1e-3\nc: 12:30\nd: true\ne: 1_000\nf: 2024-01-31\ng: 010\nh: ~\ni: 0x10\nj: .5\nk:"
    )
    assert read_recipe(path) == {
        "a": "no", "b": 0.001, "c": "12:30", "d": True, "e": 1000, "f": "2024-01-31", "g": "010", "h": None, "i": 16,
        "j": 0.5, "k": None,
    }  # fmt: skip


# PyYAML writes NEL and Unicode's line separators as they are, and reads them as ends of lines.
words = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Zl", "Zp"), include_characters="\n\t"))
looks_like_something_else = ("no", "1e3", "12:30", "0o7", "0x1f", "~", "true", "010", "1_000", ".5", "<<", "", "null")
plain_values = st.recursive(
    st.sampled_from(looks_like_something_else)
    | st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(words, plain_values, min_size=1))
def test_what_is_written_is_read(tmp_path_factory: pytest.TempPathFactory, value: dict[str, Any]) -> None:
    path = tmp_path_factory.mktemp("yaml") / "x.yaml"
    path.write_bytes(write_yaml(value).encode())
    assert read_recipe(path) == value


def test_an_override_makes_the_mappings_it_needs() -> None:
    raw: dict[str, Any] = {"a": None}
    apply_override(raw, "a.b.c=[1, x]")
    apply_override(raw, "d=")
    assert raw == {"a": {"b": {"c": [1, "x"]}}, "d": None}


def test_the_schema_says_what_there_is() -> None:
    schema = recipe_schema()
    assert set(schema["properties"]) == {"run_dir", "seed", "fruit", "juice"}
    assert schema["additionalProperties"] is False
    fruit = schema["properties"]["fruit"]["properties"]
    assert {"round", "long"} <= set(fruit["shape"]["anyOf"][0]["enum"])
    assert [kind.get("type") for kind in fruit["parts"]["anyOf"]] == [None, "array"]
    assert "$ref" not in str(schema)


KINDS: dict[str, Any] = {
    "object": dict, "array": list, "string": str, "integer": int, "number": (int, float), "null": type(None),
    "boolean": bool,
}  # fmt: skip


def accepts(schema: dict[str, Any], value: Any) -> bool:
    """As a validator of JSON schemas would say, of the keywords that the schema of a recipe has."""
    types = schema.get("type", list(KINDS))
    if not any(isinstance(value, KINDS[kind]) for kind in ([types] if isinstance(types, str) else types)):
        return False
    if value not in schema.get("enum", [value]) or value != schema.get("const", value):
        return False
    if "anyOf" in schema and not any(accepts(arm, value) for arm in schema["anyOf"]):
        return False
    if isinstance(value, str):
        return re.search(schema.get("pattern", ""), value) is not None
    if isinstance(value, list):
        return all(accepts(schema.get("items", {}), item) for item in value)
    if isinstance(value, dict):
        known = schema.get("properties", {})
        closed = schema.get("additionalProperties") is False
        whole = set(schema.get("required", [])) <= value.keys() and not (closed and value.keys() - known.keys())
        return whole and all(accepts(known.get(name, {}), item) for name, item in value.items())
    return True


@pytest.mark.parametrize(
    ("text", "good"),
    [
        ("fruit: {parts: [long, {use: round, radius: 2}], places: [a, {name: b}], names: [x]}", True),
        ("fruit: {parts: long, places: a, names: x}", True),
        ("fruit: {parts: {use: long, length: 3}, places: {name: b}, names: ~}", True),
        ("fruit: {shape: {radius: 2}}", True),
        ("fruit: {shape: {length: 2}}", False),
        ("fruit: {parts: {radius: 2}}", False),
        ("fruit:\njuice: long", True),
        ("fruit: {corner: [1, 2]}", True),
        ("fruit: {corner: 1}", False),
        ("fruit: {parts: lang}", False),
        ("fruit: {places: {nam: b}}", False),
        ("fruit: {names: 3}", False),
        ("juice:", False),
    ],
)
def test_the_schema_takes_what_the_loader_takes(tmp_path: Path, text: str, good: bool) -> None:
    path = written(tmp_path, text)
    if good:
        load_recipe(path)
    else:
        with pytest.raises(RecipeError):
            load_recipe(path)
    assert accepts(recipe_schema(), read_recipe(path)) is good


def test_the_schema_takes_every_recipe_that_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalog, "CATALOG", REAL)
    schema = recipe_schema()
    assert len(RECIPES) > 40
    for path in RECIPES:
        try:
            load_recipe(path)
        except InputError as error:  # pretraining goes on from a folder, which a user has and the repository has not
            assert re.fullmatch(r"no model in models/[\w-]+: config.json is missing", str(error)), path
        assert accepts(schema, read_recipe(path)), path
