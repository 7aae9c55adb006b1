"""Data sets as the package ``datasets`` saves them and as the Hub's cache holds them."""

from __future__ import annotations

import json
from pathlib import Path

import datasets
import pyarrow
import pyarrow.parquet
import pytest

from danlu.errors import InputError
from danlu.readers.record import Raw
from danlu.readers.sources import Source, find_files

ROWS = [{"text": f"row {number} 第{number}行", "label": number} for number in range(10)]


def rows(*paths: Path) -> list[tuple[str, str | None]]:
    """Text and split of every record."""
    found = find_files([Source(path=path) for path in paths], key="clean.sources")
    records = [record for file in found.files for record in file.records()]
    assert all(isinstance(record, Raw) for record in records), records
    return [(record.text, record.fields.get("split")) for record in records if isinstance(record, Raw)]


def test_what_save_to_disk_writes(tmp_path: Path) -> None:
    data = datasets.Dataset.from_list(ROWS)
    data.save_to_disk(tmp_path / "one", num_shards=2)
    assert rows(tmp_path / "one") == [(row["text"], None) for row in ROWS]
    data.filter(lambda row: row["label"] % 2).shuffle(seed=1).save_to_disk(tmp_path / "chosen")
    assert len(rows(tmp_path / "chosen")) == 5


def test_a_dict_of_splits_below_another_folder(tmp_path: Path) -> None:
    data = datasets.DatasetDict(
        {"train": datasets.Dataset.from_list(ROWS[:7]), "test": datasets.Dataset.from_list(ROWS[7:])}
    )
    data.save_to_disk(tmp_path / "more" / "saved")
    (tmp_path / "more" / "saved" / "train" / "cache-123.arrow").write_bytes(b"left over")
    found = [(row["text"], "train") for row in ROWS[:7]] + [(row["text"], "test") for row in ROWS[7:]]
    assert rows(tmp_path) == found


def test_the_cache_of_the_hub(tmp_path: Path) -> None:
    root = tmp_path / "datasets--org--name"
    for revision, texts in (("old", ["old"]), ("new", ["one", "two"])):
        folder = root / "snapshots" / revision
        (folder / "data").mkdir(parents=True)
        (root / "blobs").mkdir(exist_ok=True)
        pyarrow.parquet.write_table(pyarrow.table({"text": texts}), root / "blobs" / revision)
        (folder / "data" / "validation-00000-of-00001.parquet").symlink_to(root / "blobs" / revision)
        (folder / "README.md").write_text("# A card, not data")
        (folder / "devset.jsonl").write_text('{"text": "three"}\n')
        (folder / "a").mkdir()
        (folder / "a" / "dev.jsonl").write_text('{"text": "four"}\n')
    with pytest.raises(InputError, match="has 2 revisions and none is main"):
        rows(root)
    (root / "refs").mkdir()
    (root / "refs" / "main").write_text("new")
    splits = [("four", "validation"), ("one", "validation"), ("two", "validation"), ("three", None)]
    assert rows(tmp_path) == splits


def test_rows_chosen_by_an_index_are_refused(tmp_path: Path) -> None:
    datasets.Dataset.from_list(ROWS).save_to_disk(tmp_path)
    state = json.loads((tmp_path / "state.json").read_text())
    state["_indices_data_files"] = [{"filename": "indices.arrow"}]
    (tmp_path / "state.json").write_text(json.dumps(state))
    with pytest.raises(InputError, match="flatten_indices"):
        rows(tmp_path)


@pytest.mark.parametrize("split", ["", ".", "..", "test", "a/b"])
def test_a_split_that_is_not_there_or_leads_elsewhere_is_told(tmp_path: Path, split: str) -> None:
    (tmp_path / "dataset_dict.json").write_text(json.dumps({"splits": [split]}))
    with pytest.raises(InputError, match=rf"^clean\.sources\.0: the data set in .* lacks its split '{split}'$"):
        find_files([Source(path=tmp_path)], key="clean.sources")


def test_a_file_that_is_missing_is_told(tmp_path: Path) -> None:
    datasets.Dataset.from_list(ROWS).save_to_disk(tmp_path, num_shards=2)
    (tmp_path / "data-00001-of-00002.arrow").unlink()
    with pytest.raises(InputError, match=r"lacks data-00001-of-00002\.arrow"):
        rows(tmp_path)
