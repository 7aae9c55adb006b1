"""Schemes of tags against seqeval's reading of them, and every place where a tag cannot stand."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from danlu.data.dataset import Data, load
from danlu.data.example import Place
from danlu.data.tagged import TAG, Segmented, Tagged
from danlu.data.tags import PLACES, Scheme, begun, find_scheme, impossible, tag_set
from danlu.errors import InputError

entity = st.tuples(st.sampled_from(["PER", "LOC", "O"]), st.integers(1, 4))


def tagged(entities: list[tuple[str, int]], scheme: Scheme) -> list[str]:
    """Tags of a scheme by its definition."""
    name = {letter: place for place, letter in PLACES[scheme].items()}
    tags: list[str] = []
    for kind, length in entities:
        if kind == "O":
            tags += ["O"] * length
        elif scheme == "BIO":
            tags += [f"B-{kind}"] + [f"I-{kind}"] * (length - 1)
        elif length == 1:
            tags.append(f"{name['S']}-{kind}")
        else:
            tags += [f"{name['B']}-{kind}", *[f"{name['I']}-{kind}"] * (length - 2), f"{name['E']}-{kind}"]
    return tags


@given(st.lists(entity, min_size=1, max_size=5), st.sampled_from(["BIO", "BIOES", "BILOU", "BMES"]))
def test_nothing_is_wrong_with_tags_by_definition(entities: list[tuple[str, int]], scheme: Scheme) -> None:
    assert list(impossible(tagged(entities, scheme), scheme)) == []


@given(st.lists(st.sampled_from(["O", "B-A", "I-A", "E-A", "S-A", "B-B", "I-B", "E-B", "S-B"]), min_size=1, max_size=7))
def test_iobes_is_possible_where_seqeval_finds_all_of_it(tags: list[str]) -> None:
    scheme = pytest.importorskip("seqeval.scheme")
    names = ["O" if tag == "O" else tag for tag in tags]
    found = scheme.Entities([names], scheme.IOBES).entities[0]
    covered = sum(each.end - each.start for each in found)
    whole = covered == sum(tag != "O" for tag in tags)
    assert (not list(impossible(tags, "BIOES"))) == whole


@given(st.lists(st.sampled_from(["O", "B-A", "I-A", "B-B", "I-B"]), min_size=1, max_size=7))
def test_bio_is_possible_where_seqeval_finds_all_of_it(tags: list[str]) -> None:
    scheme = pytest.importorskip("seqeval.scheme")
    found = scheme.Entities([tags], scheme.IOB2).entities[0]
    covered = sum(each.end - each.start for each in found)
    assert (not list(impossible(tags, "BIO"))) == (covered == sum(tag != "O" for tag in tags))


@given(st.lists(st.sampled_from(["O", "B-A", "I-A", "B-B", "I-B"]), min_size=1, max_size=7))
def test_mended_tags_have_the_same_entities_in_seqeval(tags: list[str]) -> None:
    labelling = pytest.importorskip("seqeval.metrics.sequence_labeling")
    assert list(impossible(begun(tags), "BIO")) == []
    assert labelling.get_entities(list(begun(tags))) == labelling.get_entities(tags)


@pytest.mark.parametrize(
    ("tags", "scheme"),
    [
        (["O", "I-A", "I-B"], "IO"),
        (["O", "B-A", "I-A"], "BIO"),
        (["I-A", "O", "I-B", "B-B"], "IOB1"),
        (["B-A", "E-A", "S-A"], "BIOES"),
        (["B-A", "L-A", "U-A"], "BILOU"),
        (["B-A", "M-A", "E-A"], "BMES"),
        (["B", "M", "E", "S"], "BMES"),
        (["NOUN", "VERB"], "none"),
        (["O"], "none"),
    ],
)
def test_the_scheme_is_found(tags: list[str], scheme: str) -> None:
    assert find_scheme([tags]) == scheme


def test_tags_that_a_model_may_give() -> None:
    assert tag_set([["O", "B-B"], ["B-A"]], "BIO") == ("O", "B-A", "I-A", "B-B", "I-B")
    assert tag_set([["S", "B", "E"]], "BMES") == ("B", "M", "E", "S")
    assert tag_set([["VERB", "NOUN"]], "none") == ("NOUN", "VERB")


def test_words_are_cut_by_tags() -> None:
    example = Segmented(Place(Path("a"), 1), tuple("我们爱北京城"), ("我们", "爱", "北京城"))
    assert "".join(example.tags or ()) == "BESBME"
    assert find_scheme([example.tags or ()]) == "BMES"


GOOD = "Kim\tB-PER\nran\tO\n\nRome\tB-LOC\nYork\tB-LOC\nCity\tI-LOC\n\n"


def write(folder: Path, text: str) -> Data:
    (folder / "a.conll").write_text(GOOD * 3 + text, encoding="utf-8")
    (folder / "b.conll").write_text(GOOD, encoding="utf-8")
    return Data(train=folder / "a.conll", dev=folder / "b.conll")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "a\tO\nb\tI-PER\n",
            r"a\.conll, line 23: the tag 'I-PER' follows 'O', but needs B or I of its type before it \(BIO",
        ),
        ("a\tI-PER\n", r"line 22: the tag 'I-PER' follows the beginning of the sentence"),
        ("a\tB-LOC\nb\tI-PER\n", r"line 23: the tag 'I-PER' follows 'B-LOC'"),
        ("a\tBPER\n", r"line 22: the tag 'BPER' is none of BIO, which has O, B-TYPE, I-TYPE; did you mean 'B-PER'\?"),
        ("a\tB-\n", r"line 22: the tag 'B-' is none of BIO"),
        ("a\t\nb\tO\n", r"line 22: it has 1 column"),
    ],
)
def test_a_tag_that_cannot_stand_there_is_one_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        load(write(tmp_path, text), TAG)
    assert "\n" not in str(caught.value)


def test_ends_that_are_missing(tmp_path: Path) -> None:
    path = tmp_path / "a.bioes"
    path.write_text("a\tB-A\nb\tE-A\nc\tS-A\n\na\tB-A\nb\tO\n", encoding="utf-8")
    with pytest.raises(
        InputError, match=r"line 5: the tag 'B-A' is followed by 'O', but needs E of its type at its end"
    ):
        load(Data(train=path), TAG)


def test_tags_are_mended_where_the_recipe_says_so(tmp_path: Path) -> None:
    settings = write(tmp_path, "a\tO\nb\tI-PER\nc\tI-PER\n\nd\tBPER\n").model_copy(update={"mend": True})
    data = load(settings, TAG)
    train = data.splits["train"]
    assert [each.tags for each in train][-1] == ("O", "B-PER", "I-PER")
    assert len(train) == 7
    assert any("1 × tag I of an entity that has no beginning, made B" in line for line in data.said)
    assert any("1 × tags that BIO does not allow, left out" in line for line in data.said)
    assert data.labels == ("O", "B-LOC", "I-LOC", "B-PER", "I-PER")
    assert data.scheme == "BIO"


def test_a_tag_of_an_unknown_type_in_a_test_file(tmp_path: Path) -> None:
    settings = write(tmp_path, "")
    (tmp_path / "b.conll").write_text("x\tO\ny\tB-LOX\n", encoding="utf-8")
    with pytest.raises(
        InputError, match=r"b\.conll, line 2: the tag 'B-LOX' does not occur in .*a\.conll.*did you mean 'B-LOC'"
    ):
        load(settings, TAG)
    (tmp_path / "b.conll").write_text("x\tB-PER\ny\tI-PER\n", encoding="utf-8")
    assert len(load(settings, TAG).splits["dev"]) == 1  # I-PER is a tag of the scheme, though train has none
    assert isinstance(load(settings, TAG).splits["dev"][0], Tagged)


def test_one_tag_alone_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "a.conll"
    path.write_text("".join(f"Anna O\nsees O\n{number} O\n\n" for number in range(4)))
    with pytest.raises(InputError, match=r"a\.conll: all 12 tags are 'O'; there must be at least 2"):
        load(Data(train=path, dev=path), TAG)
