"""Who is blamed follows from what ranks say of themselves and from the time, and from nothing else."""

from __future__ import annotations

import math
from dataclasses import replace

from danlu.parallel.signs import Sign, awaited, problem

AHEAD = Sign(arrived=2, waits=True, limit=70.0, idle=15.0, moved=80.0, stirred=80.0, seen=100.0)
IDLE = replace(AHEAD, arrived=1, waits=False)
WORKS = replace(IDLE, stirred=99.0)
ALIKE = replace(WORKS, alike=True)


def verdict(*signs: Sign) -> str | None:
    """What is said at second 100 of these ranks, which have all been seen just now."""
    names = [f"rank {rank}" for rank in range(len(signs))]
    return problem(names, [replace(sign) for sign in signs], 100.0, silent=12.0, stuck=15.0, blocked=120.0)


def test_who_gives_no_sign_is_dead_unless_he_has_left() -> None:
    dead = replace(AHEAD, seen=87.0)
    assert verdict(AHEAD, dead) == "rank 1 gives no sign of life since 13 s: it is dead or stopped"
    assert verdict(replace(AHEAD, stirred=99.0), replace(dead, left=True)) is None


def test_who_does_nothing_is_blamed_once_nobody_works_that_he_may_wait_for() -> None:
    assert verdict(AHEAD, IDLE) == "rank 1 hangs: it has done nothing for 20 s, and the others wait for it"
    assert verdict(AHEAD, WORKS) is None
    assert verdict(AHEAD, IDLE, WORKS) is None
    earlier = replace(IDLE, stirred=75.0)
    assert verdict(AHEAD, IDLE, earlier) == "rank 2 hangs: it has done nothing for 25 s, and the others wait for it"
    assert verdict(AHEAD, replace(IDLE, idle=40.0)) is None, "it waits for a disk"
    assert verdict(AHEAD, replace(IDLE, idle=math.inf, limit=math.inf, stirred=0.0, moved=0.0)) is None


def test_who_has_waited_itself_has_time_to_say_that_it_goes_on() -> None:
    """What it was waited for has come just now, and the other one of the two is faster."""
    waited = replace(IDLE, waits=True, alike=True, limit=18.0, idle=18.0)
    assert verdict(replace(AHEAD, came=98.0, took=[(2, 0.1)]), waited) is None
    assert verdict(replace(AHEAD, came=96.0, took=[(2, 0.1)]), waited) is not None


def test_who_waited_within_the_model_has_time_to_say_that_it_goes_on() -> None:
    """Rank 1, for which it waited, is faster to say so; rank 2 has waited for both all the time."""
    took = replace(AHEAD, took=[(2, 1.0)])
    waited = replace(IDLE, alike=True, limit=18.0, idle=18.0, calls={"a": 3}, moved=60.0, stirred=60.0)
    signs = [waited, replace(WORKS, calls={"a": 2}, moved=99.0), took]

    def at(second: float) -> str | None:
        for sign in signs:
            sign.seen = second
        return problem(["rank 0", "rank 1", "rank 2"], signs, second, silent=12.0, stuck=15.0, blocked=120.0)

    assert at(100.0) is None
    signs[1] = replace(AHEAD, came=100.4)
    assert at(100.5) is None and at(102.9) is None
    assert at(104.0) == "rank 0 hangs: it has done nothing for 44 s, and the others wait for it"
    waited.stirred = 118.0
    assert at(118.5) == "rank 0 hangs: the others have waited for it for 18 s", "it turns in a ring"


def test_where_it_hangs_is_told() -> None:
    saves = replace(IDLE, what="saves")
    assert verdict(AHEAD, saves) == "rank 1 hangs as it saves: it has done nothing for 20 s, and the others wait for it"
    assert verdict(AHEAD, replace(IDLE, left=True)) == "rank 1 has left for 20 s, and the others wait for it"


def test_work_without_end_is_ended() -> None:
    assert verdict(AHEAD, replace(WORKS, moved=20.0)) == "rank 1 hangs: the others have waited for it for 80 s"


def test_what_counts_is_how_long_others_have_waited() -> None:
    """All may be slowed, as where their machines swap: who is the last one then has not been waited for yet."""
    slow = replace(WORKS, limit=18.0, idle=120.0, moved=70.0)
    assert verdict(replace(AHEAD, came=95.0), slow) is None
    assert verdict(replace(AHEAD, came=81.0), slow) == "rank 1 hangs: the others have waited for it for 19 s"
    assert verdict(replace(AHEAD, came=95.0), replace(AHEAD, came=81.0), slow) is not None


def test_who_takes_many_times_as_long_as_the_others_for_the_same_is_blamed() -> None:
    took = replace(AHEAD, took=[(2, 1.0)])
    assert verdict(took, ALIKE) == "rank 1 hangs: the others have waited for it for 20 s"
    assert verdict(took, WORKS) is None, "it does something else"
    assert verdict(AHEAD, ALIKE) is None, "who waits had no part of it"
    assert verdict(took, AHEAD, ALIKE) == "rank 2 hangs: the others have waited for it for 20 s", "one had"
    assert verdict(replace(took, took=[(2, 2.0)]), ALIKE) is None
    assert verdict(took, replace(took, took=[(2, 2.0)]), ALIKE) is None, "one needed longer"
    assert verdict(took, replace(ALIKE, idle=120.0)) is None, "it waits for a disk"


def test_who_is_further_by_now_is_asked_for_the_stretch_that_the_other_is_in() -> None:
    """As rank 0, which waits for nobody where it speaks to all."""
    further = replace(AHEAD, arrived=3, took=[(2, 90.0), (3, 0.1)])
    assert verdict(further, replace(ALIKE, limit=1800.0, moved=0.0)) is None
    long_ago = replace(further, arrived=12, took=[(point, 0.1) for point in range(5, 13)])
    assert verdict(long_ago, replace(ALIKE, limit=1800.0, moved=0.0)) is None


def test_ranks_that_all_wait_in_one_call_are_ended() -> None:
    assert (
        verdict(AHEAD, AHEAD)
        == "no rank has done anything for 20 s: they wait for each other; is the network between them up?"
    )
    assert verdict(AHEAD, replace(AHEAD, stirred=90.0)) is None
    assert verdict(AHEAD, replace(AHEAD, idle=120.0)) is None, "one waits for a disk"
    assert verdict(AHEAD, replace(AHEAD, idle=math.inf)) is None
    turns = replace(AHEAD, stirred=100.0, limit=18.0, idle=18.0)  # as where another thread of each is at work
    assert (
        verdict(turns, turns)
        == "no rank has come on for 20 s: they wait for each other; is the network between them up?"
    )
    assert verdict(turns, replace(turns, moved=90.0)) is None
    assert verdict(turns, replace(turns, limit=30.0, idle=30.0)) is None
    assert verdict(turns, replace(turns, idle=120.0)) is None, "one waits for a disk, amid settled steps"


def test_ranks_that_are_all_at_work_are_not_ended_for_being_slow() -> None:
    """As where all their machines swap: three times as slow as ever, and nobody is to blame."""
    works = replace(AHEAD, waits=False, stirred=100.0, limit=18.0, idle=18.0)
    assert verdict(works, works) is None
    assert verdict(works, replace(works, waits=True)) is None
    still = replace(works, stirred=80.0)  # as where each has to wait for the same lock
    assert verdict(still, still) is None
    long_ago = replace(works, moved=-21.0)
    line = "no rank has come on for 121 s: they wait for each other; is the network between them up?"
    assert verdict(long_ago, long_ago) == line
    late, in_it = (replace(works, calls={"0": count}) for count in (6, 7))
    line = "hangs: it has not begun a call in which others wait for it, for 20 s"
    assert verdict(in_it, late) == f"rank 1 {line}", "who is late in a call is known"


def test_of_those_that_wait_for_each_other_who_has_begun_fewer_calls_is_blamed() -> None:
    in_it, before_it = (replace(AHEAD, calls={"0": count}) for count in (7, 6))
    line = "hangs: it has not begun a call in which others wait for it, for 20 s"
    assert verdict(in_it, before_it, in_it) == f"rank 1 {line}"
    assert verdict(before_it, in_it) == f"rank 0 {line}"
    assert (
        verdict(in_it, in_it)
        == "no rank has done anything for 20 s: they wait for each other; is the network between them up?"
    )


def calling(**calls: int) -> Sign:
    return replace(AHEAD, calls=calls)


def test_who_waits_in_another_group_is_not_late() -> None:
    """Rank 1 hangs before a call of its pair; rank 0 waits there for it, and all others wait for both elsewhere."""
    signs = [calling(all=7, a=3), calling(all=7, a=2), calling(all=8, b=3), calling(all=8, b=3)]
    assert list(awaited(signs)) == [1]


def test_who_sends_or_receives_waits_for_the_other_one_whatever_else_was_called() -> None:
    """Backends count what two ranks exchange as calls, which the others do not have."""
    sends, hangs = replace(calling(all=5), peer=0), calling(all=9)
    assert list(awaited([hangs, sends, replace(AHEAD, arrived=3)])) == [0]
    assert list(awaited([hangs, calling(all=5), replace(AHEAD, arrived=3)])) == [1], "of calls of all it is late"
    assert awaited([replace(hangs, peer=1), sends]) == {}, "each for the other"


def test_nobody_is_late_where_none_waits_or_each_for_the_other() -> None:
    assert list(awaited([calling(all=7), calling(all=6), calling(all=6)])) == [1, 2]
    assert awaited([calling(all=7), calling(all=7)]) == {}
    assert awaited([calling(), calling()]) == {}
    assert awaited([calling(a=2, b=1), calling(a=1, b=2)]) == {}


def test_who_waits_within_the_model_for_the_one_that_hangs_is_not_blamed() -> None:
    """Ranks 2 and 3 wait where all meet; rank 0 waits in a call of its pair, at work or not, for rank 1."""
    took = replace(AHEAD, took=[(2, 1.0)])
    waits, hangs = (replace(ALIKE, calls={"a": count}) for count in (3, 2))
    assert verdict(waits, hangs, took, took) == "rank 1 hangs: the others have waited for it for 20 s"
    idle = replace(hangs, stirred=80.0, alike=False)
    line = "rank 1 hangs: it has done nothing for 20 s, and the others wait for it"
    assert verdict(waits, idle, took, took) == line


def test_who_takes_many_times_as_long_before_a_call_as_the_others_is_blamed() -> None:
    """Within a pass of a model that ranks share, where nobody has come to where all meet."""
    in_it, before_it = (replace(ALIKE, calls={"a": count}, called=80.0, pause=1.0) for count in (3, 2))
    line = "rank 1 hangs: it has not begun a call in which others wait for it, for 20 s"
    assert verdict(in_it, before_it) == line
    assert verdict(replace(in_it, pause=2.0), before_it) is None, "the other one has needed as long"
    assert verdict(replace(in_it, called=85.0), before_it) is None, "it waits only since then"
    assert verdict(in_it, replace(before_it, moved=85.0)) is None, "bytes have come"
    assert verdict(in_it, replace(before_it, alike=False)) is None, "it does something else"
    assert verdict(in_it, replace(before_it, compiles=True)) is None
    assert verdict(replace(in_it, called=-21.0), replace(before_it, compiles=True, moved=-21.0)) is not None


def test_who_has_a_lock_of_the_compilers_is_blamed_and_not_who_waits_for_it() -> None:
    idle = replace(IDLE, alike=True, compiles=True)
    has, waits = replace(idle, process="a/7"), replace(idle, process="a/8", lock="a/7", idle=120.0, stirred=79.0)
    line = "rank 0 hangs: it has a lock of the compiler's that others wait for, for 20 s"
    assert verdict(has, waits) == line
    assert verdict(replace(has, stirred=99.0), waits) is None, "it works"
    assert verdict(AHEAD, has, waits) == line.replace("0", "1", 1).replace(
        "it has a lock of the compiler's that others wait for, for 20 s",
        "it has done nothing for 20 s, and the others wait for it",
    )
    assert verdict(AHEAD, replace(waits, lock="b/7")) is None, "somebody else has it"


def test_what_is_told_arrives_and_is_news_only_where_something_has_changed() -> None:
    mine, known = calling(all=3), Sign(seen=1.0, moved=1.0, stirred=1.0)
    mine.beats, mine.work, mine.took = 5, 4, [(1, 0.5)]
    known.take(mine.told())
    assert known.told() == mine.told()
    first = (known.seen, known.moved, known.stirred)
    came = known.came
    assert min(*first, came) > 1.0
    mine.beats += 1
    known.take(mine.told())
    assert known.seen >= first[0] and (known.moved, known.stirred) == first[1:]
    mine.activity += 1
    known.take(mine.told())
    assert known.moved == first[1] and known.stirred >= first[2]
    mine.calls = {"all": 4}  # within a micro-batch, as of the weights of the next layer
    known.take(mine.told())
    assert known.moved > first[1] and known.came == came
    mine.arrived += 1
    known.take(mine.told())
    assert known.came > came


def test_what_a_rank_of_another_version_says_is_no_error() -> None:
    """It is refused a moment later, by its version."""
    known = Sign()
    known.take({"beats": 1, "mood": "good"})
    assert known.beats == 1 and known.seen > 0
