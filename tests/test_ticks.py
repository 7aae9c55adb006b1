"""Ticks reach whoever listens to the thread that makes them, and nobody else."""

from __future__ import annotations

import threading

import pytest

from danlu.ticks import heard, tick, ticking


def test_each_item_is_a_piece_and_comes_out_unchanged() -> None:
    seen: list[str] = []
    with heard(lambda: seen.append("tick")):
        for item in ticking("ab"):
            seen.append(item)
    assert seen == ["a", "tick", "b", "tick"], "it ticks once the work on an item is done"
    tick()
    assert len(seen) == 4, "nobody listens any more"


def test_what_other_threads_do_is_no_sign_of_this_one() -> None:
    seen: list[int] = []
    with heard(lambda: seen.append(threading.get_ident())):
        other = threading.Thread(target=lambda: list(ticking(range(3))))
        other.start()
        other.join()
        assert seen == []
        tick()
    assert seen == [threading.get_ident()]


def test_an_error_ends_the_listening() -> None:
    seen: list[int] = []
    with pytest.raises(KeyError), heard(lambda: seen.append(1)):
        raise KeyError
    tick()
    assert seen == []
