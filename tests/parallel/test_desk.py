"""A desk keeps what is left there until it is fetched."""

from __future__ import annotations

from danlu.parallel.desk import Desk, End, Line


def test_lines_are_fetched_once_and_ends_stay() -> None:
    desk = Desk()
    desk.begin(0, "rank 0")
    desk.begin(1, "rank 1")
    desk.tell(Line("begins", False))
    desk.tell(Line("danlu: error: x", True))
    desk.end(1, End(2, "x"))
    news = desk.news(0)
    assert news.lines == [Line("begins", False), Line("danlu: error: x", True)]
    assert (news.names, news.ends) == ({0: "rank 0", 1: "rank 1"}, {1: End(2, "x")})
    assert desk.news(0).lines == []
    assert desk.news(0).ends == {1: End(2, "x")}


def test_workers_hear_of_the_signal_and_of_the_place_to_meet() -> None:
    desk = Desk()
    assert (desk.asked(), desk.meeting()) == (0, None)
    desk.news(15)
    desk.invite("10.0.0.1", 29500)
    assert (desk.asked(), desk.meeting()) == (15, ("10.0.0.1", 29500))
