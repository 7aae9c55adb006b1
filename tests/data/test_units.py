"""Numbers with a unit are read where all have the same, and a unit tells numbers from names with a number in them."""

from __future__ import annotations

from pathlib import Path

import pytest

from danlu.data.dataset import Data, load
from danlu.data.labelled import REGRESS
from danlu.data.units import counts_something, numbers_of, unit_of
from danlu.errors import InputError


@pytest.mark.parametrize(("values", "unit", "numbers"), [
    (["4.5分", "3 分", ""], ("", "分"), ["4.5", "3", ""]),
    (["£850 pcm", "£703 pcm"], ("£", "pcm"), ["850", "703"]),
    (["1 star", "5 Stars"], ("", "star"), ["1", "5"]),
    (["-5 ℃", "37,2℃"], ("", "℃"), ["-5", "37,2"]),
])  # fmt: skip
def test_a_unit_of_all(values: list[object], unit: tuple[str, str], numbers: list[object]) -> None:
    assert unit_of(values) == unit
    assert numbers_of(values) == numbers
    assert counts_something(unit)


@pytest.mark.parametrize("values", [
    ["50%", "0.5"],  # of which one may be a hundred times the other
    ["50%", 0.5],
    ["5分", "5%"],
    ["5分", "很高"],
    ["1-2元", "2-3元"],
    ["(1.20)", "(3.20)"],  # bookkeepers' -1.20
    ["1/5", "2/5"],
    ["1.2.3", "1.2.4"],
    ["1.", "2."],
    ["1,234,567元", "1,234,568元"],
    ["1", "2"],
    ["", None],
    [],
])  # fmt: skip
def test_none(values: list[object]) -> None:
    assert unit_of(values) is None
    assert numbers_of(values) == values


@pytest.mark.parametrize("values", [["class 3", "class 4"], ["v1.5", "v1.6"], ["3班", "4班"], ["2003年", "2004年"]])
def test_names_with_a_number(values: list[object]) -> None:
    unit = unit_of(values)
    assert unit is not None and not counts_something(unit)


def test_a_table_of_ratings(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("点评,评分\n" + "".join(f"第{n}家店,{n % 9 / 2 + 1:g}分\n" for n in range(40)))
    data = load(Data(train=tmp_path / "a.csv", dev=tmp_path / "a.csv"), REGRESS)
    assert [each.number for each in data.splits["train"]] == [n % 9 / 2 + 1 for n in range(40)]
    assert data.said[0].endswith("number from column '评分'; 评分 without its unit '分'")


def test_what_differs_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("点评,评分\n" + "".join(f"第{n}家店,{n}{'%' * (n % 2)}\n" for n in range(20)))
    with pytest.raises(InputError, match=r"a\.csv, line 3: the number .* must be a finite number; got '1%'"):
        load(Data(train=tmp_path / "a.csv"), REGRESS)
