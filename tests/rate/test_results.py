"""Results of studies whose outcome is known, as tables, as lines, as a page."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score

from danlu.errors import InputError
from danlu.rate.answers import Material
from danlu.rate.report import lines, write_page
from danlu.rate.results import Results, results
from danlu.rate.rubric import Rubric
from danlu.rate.store import Given, Store, create
from danlu.rate.study import PREFERENCE, plan
from danlu.rate.table import Table

Makes = Callable[..., Store]
Says = Callable[[Given], dict[str, str | int]]


def fill(store: Store, raters: dict[str, Says], *, most: int = 10**9) -> None:
    for name, says in raters.items():
        rater = store.join(name)
        done = 0
        while done < most and (given := store.give(rater)) is not None:
            store.rate(rater, given.number, says(given))
            done += 1


def prefers(choice: str) -> Says:
    return lambda given: {PREFERENCE: choice}


def table(found: Results, title: str) -> Table:
    return next(each for each in found.tables if each.title == title)


def cells(found: Results, title: str) -> list[dict[str, str]]:
    each = table(found, title)
    return [dict(zip(each.head, row, strict=True)) for row in each.rows]


def test_ties_are_half_a_win(make: Makes) -> None:
    """Ada prefers the first of all ten, Bob calls all ten good, Cleo calls all ten bad: 20 points of 30."""
    store = make(prompts=10)
    fill(store, {"Ada": prefers("first"), "Bob": prefers("both good"), "Cleo": prefers("both bad")})
    first, second = cells(results(store), "Win rates")
    assert [first[name] for name in ("model", "ratings", "better", "both good", "both bad", "worse", "win rate")] == [
        "model0", "30", "10", "10", "10", "0", "66.7%",
    ]  # fmt: skip
    assert (second["win rate"], second["worse"]) == ("33.3%", "10")


def test_the_better_model_wins_whatever_side_it_stands_on(make: Makes) -> None:
    store = make(prompts=16, models=3, raters=1)
    generator = np.random.default_rng(4)

    def says(given: Given) -> dict[str, str | int]:
        """The model of the lower number wins four times in five."""
        return {PREFERENCE: "first" if generator.random() < 0.8 else "second"}

    fill(store, {"Ada": says})
    found = results(store)
    assert [row["model"] for row in cells(found, "Strengths")] == ["model0", "model1", "model2"]
    elos = [int(row["Elo"]) for row in cells(found, "Strengths")]
    assert elos[0] > 1000 > elos[2]
    assert [(row["model"], row["against"]) for row in cells(found, "Pair by pair")] == [
        ("model0", "model1"), ("model0", "model2"), ("model1", "model2"),
    ]  # fmt: skip
    for span in table(found, "Pair by pair").spans:
        assert span is not None and span.low < 0.8 < span.high
    assert not [caution for caution in found.cautions if "side A" in caution]


def test_raters_who_favour_a_side_are_told_of(make: Makes) -> None:
    store = make(prompts=10, raters=2)

    def left(given: Given) -> dict[str, str | int]:
        return {PREFERENCE: "second" if given.swapped else "first"}

    fill(store, {"Ada": left, "Bob": left})
    found = results(store)
    assert [row["win rate"] for row in cells(found, "Win rates")] == ["50.0%", "50.0%"]
    assert any("100% of what was preferred stood on side A" in caution for caution in found.cautions)


def test_models_that_nothing_links_are_not_put_in_one_order(make: Makes) -> None:
    """Four models, of which only the first and the last two were compared with each other; a fifth not at all."""
    store = make(prompts=12, models=5, raters=1)
    rater = store.join("Ada")
    while (given := store.give(rater)) is not None:
        store.rate(rater, given.number, {PREFERENCE: "first"})
    wanted = {number for number, item in enumerate(store.items) if (item.first, item.second) in ((0, 1), (2, 3))}
    with sqlite3.connect(store.path) as database:
        others = ", ".join(str(number) for number in range(len(store.items)) if number not in wanted)
        database.execute(f"DELETE FROM marks WHERE rating IN (SELECT id FROM ratings WHERE item IN ({others}))")
        database.execute(f"DELETE FROM ratings WHERE item IN ({others})")
    database.close()
    found = results(store)
    assert (
        "No ratings link these with each other, so that their strengths and Elo do not compare: "
        "model0, model1 | model2, model3 | model4." in found.cautions
    )
    assert [row["model"] for row in cells(found, "Strengths")][-1] == "model4"
    assert cells(found, "Strengths")[-1]["Elo"] == "" and cells(found, "Win rates")[4]["win rate"] == ""


def test_agreement_is_that_of_what_was_said(make: Makes) -> None:
    store = make(prompts=16, raters=2)
    generator = np.random.default_rng(3)
    choices = ["first", "second", "both good", "both bad"]
    said: dict[str, list[str]] = {"Ada": [""] * 16, "Bob": [""] * 16}

    def of(name: str) -> Says:
        def says(given: Given) -> dict[str, str | int]:
            same = name == "Bob" and generator.random() < 0.6
            choice = said["Ada"][given.number] if same else str(generator.choice(choices))
            said[name][given.number] = choice
            return {PREFERENCE: choice}

        return says

    fill(store, {"Ada": of("Ada"), "Bob": of("Bob")})
    (row,) = cells(results(store), "Rater by rater")
    assert row["Cohen's kappa"] == f"{cohen_kappa_score(said['Ada'], said['Bob']):.3f}"
    assert row["items"] == "16"
    (alpha,) = cells(results(store), "Agreement")
    assert abs(float(alpha["alpha"]) - cohen_kappa_score(said["Ada"], said["Bob"])) < 0.05
    low, high = (float(part) for part in alpha["interval"].split(" to "))
    assert low < float(alpha["alpha"]) < high


def test_too_little_is_said_to_be_too_little(make: Makes) -> None:
    store = make(prompts=30)
    with pytest.raises(InputError, match="holds no rating yet"):
        results(store)
    fill(store, {"Ada": prefers("first")}, most=1)
    found = results(store)
    assert found.summary == "1 rating by 1 rater of 2 models on 30 prompts, in pairs"
    assert "One rater: how far raters agree is not defined." in found.cautions
    assert any("One prompt" in caution for caution in found.cautions)
    assert not [each for each in found.tables if each.title == "Agreement"]
    assert all(row["interval"] == "" for row in cells(found, "Strengths"))
    fill(store, {"Bob": prefers("second")}, most=1)
    assert "No item has been rated by two people yet: how far they agree is not defined." in results(store).cautions
    text = "\n".join(lines(results(store)))
    assert "nan" not in text and "inf" not in text


def test_all_the_same_has_no_agreement_beyond_chance(make: Makes) -> None:
    store = make(prompts=12, raters=2)
    fill(store, {"Ada": prefers("first"), "Bob": prefers("first")})
    found = results(store)
    assert [row["alpha"] for row in cells(found, "Agreement")] == ["not defined: all the same"]
    assert [row["Cohen's kappa"] for row in cells(found, "Rater by rater")] == ["not defined: all the same"]
    first, _ = cells(found, "Win rates")
    assert first["win rate"] == "100.0%" and first["interval"] == "75.8% to 100.0%"  # Wilson's of 12 in 12


def test_scores(make: Makes, rubric: Rubric) -> None:
    """Means by hand; the difference is that of the means, and its interval knows that the prompts are the same."""
    store = make(prompts=8, models=2, raters=2, rubric=rubric)
    generator = np.random.default_rng(5)
    base = generator.integers(1, 5, size=8)

    def says(given: Given) -> dict[str, str | int]:
        return {"fluency": int(base[given.item.prompt]) + (given.item.first == 0), "relevance": 3}

    fill(store, {"Ada": says, "Bob": says})
    found = results(store)
    first, second = cells(found, "Scores: fluency")
    assert first["mean"] == f"{base.mean() + 1:.2f}" and second["mean"] == f"{base.mean():.2f}"
    low, high = (float(part) for part in first["interval"].split(" to "))
    assert low < float(first["mean"]) < high
    apart = cells(found, "Differences")[0]
    assert (apart["apart"], apart["interval"]) == ("+1.00", "+1.00 to +1.00")
    agreed = {row["Krippendorff's alpha"]: row["alpha"] for row in cells(found, "Agreement")}
    assert agreed["fluency, ordinal"] == agreed["fluency, interval"] == "1.000"
    assert agreed["relevance, interval"] == "not defined: all the same"


def test_the_most_disputed_come_first(make: Makes) -> None:
    store = make(prompts=6, raters=2)
    fill(
        store,
        {
            "Ada": prefers("first"),
            "Bob": lambda given: {PREFERENCE: "second" if given.item.prompt in (2, 4) else "first"},
        },
    )
    disputed = results(store).disputed
    assert [item.prompt for item in disputed] == ["prompt 2", "prompt 4"]
    assert disputed[0].said == ["Ada: model0", "Bob: model1"]
    assert disputed[0].answers == [("model0", "answer 2 of model0"), ("model1", "answer 2 of model1")]


class Text(HTMLParser):
    """The text of a page, and the names of its elements."""

    def __init__(self) -> None:
        super().__init__()
        self.text, self.tags = "", set[str]()

    def handle_data(self, data: str) -> None:
        self.text += data

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.tags.add(tag)


def test_the_page_escapes_what_it_shows(tmp_path: Path) -> None:
    nasty = "<script>alert(1)</script>\n&amp; 一"
    material = Material(("<i>m</i>", "n"), (nasty,), ((nasty, nasty),))
    store = create(tmp_path / "r.db", *plan(material, None, raters=2, seed=1))
    fill(store, {"<u>Ada</u>": prefers("first"), "Bob": prefers("second")})
    found = results(store)
    write_page(found, tmp_path / "r.html", title="<em>r</em>")
    page = Text()
    page.feed((tmp_path / "r.html").read_text(encoding="utf-8"))
    assert not page.tags & {"script", "i", "u", "em"}
    assert page.text.count(nasty) == 3
    for words in ("<i>m</i>", "<u>Ada</u>", "<em>r</em>", "Win rates", "Where raters disagree most"):
        assert words in page.text


def test_columns_stand_below_each_other(make: Makes) -> None:
    """Also where a name is Chinese: its characters are two cells wide."""
    store = make(prompts=3, raters=2)
    fill(store, {"丽莎": prefers("first"), "Bob": prefers("second")})
    shown = lines(results(store))
    start = shown.index("Raters")
    head, *rows = shown[start + 1 : start + 4]
    end = head.index("ratings") + len("ratings")
    assert [row[: end - 2 * ("丽莎" in row)].split()[-1] for row in rows] == ["3", "3"]


def test_the_database_reads_itself(make: Makes) -> None:
    store = make(prompts=1, raters=1)
    fill(store, {"Ada": prefers("second")})
    with sqlite3.connect(store.path) as database:
        row = database.execute("SELECT rater, prompt, first, second, criterion, value FROM readable").fetchone()
    database.close()
    assert row == ("Ada", "prompt 0", "model0", "model1", "preference", "second")
