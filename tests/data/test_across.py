"""Leaks between the tasks of a joint training, planted."""

from __future__ import annotations

from pathlib import Path

from danlu.data.across import across
from danlu.data.example import Place
from danlu.data.generated import Generated
from danlu.data.labelled import Labelled, Scored


def labelled(file: str, *texts: str) -> list[Labelled]:
    return [Labelled(Place(Path(file), number), (text,), "x") for number, text in enumerate(texts, 1)]


def scored(file: str, *texts: str) -> list[Scored]:
    return [Scored(Place(Path(file), number), (text,), 1.0) for number, text in enumerate(texts, 1)]


def test_what_one_task_is_measured_on_another_learns() -> None:
    mood = {"train": labelled("a.csv", "a fine day", "a bad day"), "dev": labelled("b.csv", "so it goes")}
    stars = {"train": scored("c.csv", "so it goes on"), "test": scored("d.csv", "A fine day!", "nothing", "a  bad day")}
    [(name, finding)] = across({"mood": mood, "stars": stars})
    assert (name, finding.kind, finding.splits) == ("stars", "duplicate", ("mood.train", "stars.test"))
    assert str(finding) == (
        "stars.test: 2 of 3 examples (66.7%) are in train of the task mood: 'A fine day!' (d.csv, line 1) is a.csv, "
        "line 1; 'a bad day' (d.csv, line 3) is a.csv, line 2"
    )


def test_one_file_that_two_tasks_split_otherwise() -> None:
    mood = {"train": labelled("a.csv", "one", "two"), "dev": labelled("a.csv", "three")}
    stars = {"train": scored("a.csv", "one", "three"), "dev": scored("a.csv", "two")}
    found = dict(across({"mood": mood, "stars": stars}))
    assert set(found) == {"mood", "stars"}
    assert "whose split of the same file is another one; a split_column" in str(found["mood"])


def test_a_translation_the_other_way_round() -> None:
    there, back = "Ein Hund rennt über die Wiese.", "A dog runs across the meadow."
    one = {"train": [Generated(Place(Path("a"), 1), back, (there,))], "dev": []}
    other = {"train": [], "dev": [Generated(Place(Path("b"), 1), there, (back,))]}
    [(name, _)] = across({"en_de": one, "de_en": other})
    assert name == "de_en"
    short = {"train": [Generated(Place(Path("a"), 1), back, ("ja",))], "dev": []}
    assert not list(across({"en_de": short, "mood": {"train": [], "dev": labelled("b", "ja")}}))


def test_tasks_with_texts_of_their_own() -> None:
    mood = {"train": labelled("a", "one"), "dev": labelled("a", "two")}
    assert not list(across({"mood": mood, "stars": {"train": scored("b", "three"), "dev": scored("b", "four")}}))
