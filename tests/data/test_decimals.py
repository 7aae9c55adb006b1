"""Decimal commas are read where it is certain that they are such."""

from __future__ import annotations

from pathlib import Path

import pytest

from danlu.data.dataset import Data, load
from danlu.data.decimals import are_decimal_commas
from danlu.data.labelled import REGRESS
from danlu.errors import InputError


@pytest.mark.parametrize(("values", "decimal"), [
    (["1,5", "2", "-0,25", ",5"], True),
    (["1,500", "2,250"], False),  # thousands
    (["1,500", "2,25"], True),
    (["1,5", "2.5"], False),
    (["1,5,2", "a"], False),
    (["1", "2"], False),
    ([1.5, None], False),
])  # fmt: skip
def test_what_commas_are(values: list[object], decimal: bool) -> None:
    assert are_decimal_commas(values) is decimal


def test_a_table_of_a_spreadsheet(tmp_path: Path) -> None:
    lines = "".join(f"Text Nummer {n}, lang;{n // 4},{n % 4 * 25:02d}\n" for n in range(40))
    (tmp_path / "a.csv").write_text(f"Text;Note\n{lines}")
    data = load(Data(train=tmp_path / "a.csv", dev=tmp_path / "a.csv"), REGRESS)
    assert [each.number for each in data.splits["train"]] == [n / 4 for n in range(40)]
    assert data.said[0].endswith("; cells parted by semicolons; decimal commas in Note")


def test_thousands_are_refused_with_their_line(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("text;score\n" + "".join(f"text {n};{n},500\n" for n in range(20)))
    with pytest.raises(InputError, match=r"a\.csv, line 2: the number .* must be a finite number; got '0,500'"):
        load(Data(train=tmp_path / "a.csv"), REGRESS)
