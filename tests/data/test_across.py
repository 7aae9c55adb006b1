"""Leaks between the tasks of a joint training, planted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from danlu.data.across import across, split_alike
from danlu.data.dataset import Data, Dataset
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


def dataset(kind: type[Labelled | Scored], dev: set[int], size: int = 8) -> Dataset[Any]:
    made = [labelled("a.csv", *map(str, range(size))), scored("a.csv", *map(str, range(size)))][kind is Scored]
    parts = {"train": tuple(each for each in made if each.place.number not in dev),
             "dev": tuple(each for each in made if each.place.number in dev)}  # fmt: skip
    return Dataset(
        parts, (), "none", {}, ("a.csv: 8 rows", "a.csv: 8 examples split by label and the hash of their text: 6")
    )


def test_a_row_is_in_one_split_for_all_tasks_of_a_file() -> None:
    mood, stars = dataset(Labelled, {2, 5}), dataset(Scored, {3, 8})
    same = Data(train=Path("a.csv"))
    found = split_alike({"mood": mood, "stars": stars}, {"mood": same, "stars": same})
    assert found["mood"] is mood
    assert [each.place.number for each in found["stars"].splits["dev"]] == [2, 5]
    assert [each.place.number for each in found["stars"].splits["train"]] == [1, 3, 4, 6, 7, 8]
    assert found["stars"].said == (
        "a.csv: 8 rows",
        "split as for the task mood, which reads the same file: 6 train, 2 dev",
    )
    others: list[dict[str, Any]] = [
        {"train": Path("b.csv")}, {"seed": 1}, {"dev_share": 0.2}, {"dev": Path("c.csv")}, {"split_column": "x"},
    ]  # fmt: skip
    for other in (same.model_copy(update=each) for each in others):
        assert split_alike({"mood": mood, "stars": stars}, {"mood": same, "stars": other})["stars"] is stars
    few = dataset(Scored, {1}, size=1)  # of the other rows it has none
    assert split_alike({"mood": mood, "stars": few}, {"mood": same, "stars": same})["stars"] is few
