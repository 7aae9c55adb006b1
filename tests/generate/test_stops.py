"""Stop strings against a slow definition, however the text is cut."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from danlu.generate.stops import StopFilter

letters = st.text(alphabet="ab", max_size=30)
stop_lists = st.lists(st.text(alphabet="ab", min_size=1, max_size=4), max_size=3)


def by_definition(text: str, stops: list[str]) -> tuple[str, bool]:
    """Letter by letter: the text before the longest stop string that the text so far ends with."""
    for end in range(len(text) + 1):
        ending = [stop for stop in stops if text[:end].endswith(stop)]
        if ending:
            return text[: end - max(map(len, ending))], True
    return text, False


@given(letters, stop_lists, st.data())
def test_the_cut_is_exact_and_does_not_depend_on_the_pieces(text: str, stops: list[str], data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.sets(st.integers(0, len(text)))))
    pieces = [text[start:end] for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    expected, stopped = by_definition(text, stops)
    filter_ = StopFilter(stops)
    shown = ""
    for place, piece in enumerate(pieces):
        shown += filter_.push(piece)
        assert expected.startswith(shown)  # nothing that is cut later is ever shown
        read = "".join(pieces[: place + 1])
        if not filter_.stopped:  # and no more is held back than what may become a stop string
            held = read[len(shown) :]
            assert held == "" or any(stop.startswith(held) for stop in stops)
    assert filter_.stopped == stopped
    assert shown + filter_.flush() == expected
    assert filter_.push("a") == "" if stopped else True


def test_the_first_to_be_complete_counts_even_if_another_begins_earlier() -> None:
    for pieces in (["abbx"], ["a", "b", "b", "x"]):
        filter_ = StopFilter(["abb", "b"])
        assert "".join(map(filter_.push, pieces)) == "a"
    longest = StopFilter(["b", "ab"])
    assert longest.push("cab") == "c"


def test_held_text_comes_when_it_becomes_no_stop_string() -> None:
    filter_ = StopFilter(["\n\nUser:"])
    assert [filter_.push(piece) for piece in ("Yes.\n", "\nUs", "eful", "\n\nUser", ": no", "more")] == [
        "Yes.", "", "\n\nUseful", "", "", "",
    ]  # fmt: skip
    assert filter_.stopped
    assert filter_.flush() == ""
