"""``danlu embed`` and ``danlu similar`` beside transformers: vectors in every form, and the nearest texts."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pyarrow.parquet
import pytest
import torch
import transformers

from danlu import cli

TEXTS = [
    "once upon a time",
    "To be, or not to be",
    'a sentence, with a "quote" and a\ttab',
    "the time to be",
    "question",
]


@pytest.fixture(autouse=True)
def texts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    Path("texts.txt").write_text("".join(f"{text}\n" for text in TEXTS), encoding="utf-8")


@torch.no_grad()
def theirs(folder: Path, texts: list[str]) -> np.ndarray:
    """The mean of the last hidden states, of length 1."""
    model = transformers.AutoModel.from_pretrained(folder).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    rows = []
    for text in texts:
        ids = tokenizer(text, truncation=True, max_length=24, return_tensors="pt").input_ids
        rows.append(torch.nn.functional.normalize(model(ids).last_hidden_state[0].mean(0), dim=0))
    return torch.stack(rows).numpy()


def test_vectors_are_those_of_transformers(encoder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["embed", str(encoder), "texts.txt", "--out", "v.npy", "--dtype", "float32"]) == 0
    vectors_ND = np.load("v.npy")
    assert vectors_ND.dtype == np.float32 and vectors_ND.shape == (len(TEXTS), 32)
    np.testing.assert_allclose(vectors_ND, theirs(encoder, TEXTS), atol=2e-6)
    out = capsys.readouterr().out
    assert "embed 5/5 texts" in out and out.endswith("v.npy: written, 5 vectors of 32 numbers\n")


def test_every_form_holds_the_same_vectors(encoder: Path) -> None:
    """Written by the libraries that others write such files with."""
    with Path("t.csv").open("w", newline="", encoding="utf-8-sig") as file:
        csv.writer(file).writerows([["id", "body"], *([place, text] for place, text in enumerate(TEXTS))])
    with Path("t.tsv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, delimiter="\t").writerows([["text"], *([text] for text in TEXTS)])
    Path("t.jsonl").write_text("\r\n".join(json.dumps({"q": text}) for text in TEXTS), encoding="utf-8")
    for source, out in (
        (["texts.txt"], "v.npy"), (["t.csv", "--column", "body"], "csv.npy"), (["t.tsv"], "v.jsonl"),
        (["t.jsonl", "--key", "q"], "v.parquet"),
    ):  # fmt: skip
        assert cli.main(["embed", str(encoder), *source, "--out", out, "--dtype=float32"]) == 0
    vectors_ND = np.load("v.npy")
    np.testing.assert_array_equal(np.load("csv.npy"), vectors_ND)
    rows = [json.loads(line) for line in Path("v.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [row["text"] for row in rows] == TEXTS
    np.testing.assert_array_equal(np.array([row["vector"] for row in rows], dtype=np.float32), vectors_ND)
    table = pyarrow.parquet.read_table("v.parquet").to_pydict()
    assert table["text"] == TEXTS
    np.testing.assert_array_equal(np.array(table["vector"], dtype=np.float32), vectors_ND)


def test_texts_that_are_too_long_are_told(encoder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    long = "to be or not to be " * 20
    Path("long.txt").write_text(f"to be\n{long}\n")
    assert cli.main(["embed", str(encoder), "long.txt", "--out", "v.npy", "--dtype=float32"]) == 0
    assert "1 of 2 texts are longer than 24 tokens; of those only the beginning counts\n" in capsys.readouterr().out
    np.testing.assert_allclose(np.load("v.npy"), theirs(encoder, ["to be", long]), atol=2e-6)


def test_a_prompt_of_the_folder_counts_in_what_is_too_long(encoder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (encoder / "config_sentence_transformers.json").write_text(
        json.dumps({"prompts": {"query": "to be or not to be "}, "default_prompt_name": "query"})
    )
    Path("long.txt").write_text(f"to be\n{'to be or not to be ' * 3}\n")  # 18 words
    assert cli.main(["embed", str(encoder), "long.txt", "--out", "v.npy", "--dtype=float32"]) == 0
    assert "1 of 2 texts are longer than 24 tokens; of those only the beginning counts\n" in capsys.readouterr().out


def write_prompts(folder: Path, **prompts: str) -> None:
    (folder / "config_sentence_transformers.json").write_text(json.dumps({"prompts": prompts}))


def test_a_prompt_that_is_named_goes_before_every_text(encoder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_prompts(encoder, query="question: ")
    arguments = ["embed", str(encoder), "texts.txt", "--dtype=float32"]
    assert cli.main([*arguments, "--out", "q.npy", "--prompt", "query"]) == 0
    assert cli.main([*arguments, "--out", "d.npy", "--prompt", "document"]) == 0
    assert cli.main([*arguments, "--out", "v.npy"]) == 0
    np.testing.assert_allclose(np.load("q.npy"), theirs(encoder, [f"question: {text}" for text in TEXTS]), atol=2e-6)
    np.testing.assert_allclose(np.load("d.npy"), theirs(encoder, TEXTS), atol=2e-6)
    np.testing.assert_array_equal(np.load("v.npy"), np.load("d.npy"))
    capsys.readouterr()
    assert cli.main([*arguments, "--out", "x.npy", "--prompt", "qery"]) == 2
    line = "danlu: error: unknown prompt 'qery'; did you mean 'query'? (choices: query, document)\n"
    assert capsys.readouterr().err == line and not Path("x.npy").exists()


@pytest.mark.parametrize("place", ["document", "passage", None])
def test_similar_has_a_prompt_for_each_side(
    encoder: Path, place: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    write_prompts(encoder, query="question: ", **({} if place is None else {place: "the sentence: "}))
    assert cli.main(["similar", str(encoder), "to be", "texts.txt", "--top=5", "--dtype=float32"]) == 0
    rows = [line.split(maxsplit=2) for line in capsys.readouterr().out.splitlines()[-5:]]
    before = "" if place is None else "the sentence: "
    cosines_N = theirs(encoder, [before + text for text in TEXTS]) @ theirs(encoder, ["question: to be"])[0]
    found = {int(number) - 1: float(cosine) for cosine, number, _ in rows}
    for number, cosine in enumerate(cosines_N):
        assert abs(found[number] - cosine) < 1e-4


def test_the_type_is_that_of_the_arithmetic(encoder: Path) -> None:
    for dtype in ("float32", "bfloat16"):
        assert cli.main(["embed", str(encoder), "texts.txt", "--out", f"{dtype}.npy", "--dtype", dtype]) == 0
    exact_ND, rough_ND = np.load("float32.npy"), np.load("bfloat16.npy")
    assert rough_ND.dtype == np.float32
    assert 1e-4 < np.abs(exact_ND - rough_ND).max() < 0.05


def test_similar_lists_the_nearest_by_cosine(encoder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    query = "Once upon the time"
    assert cli.main(["similar", str(encoder), query, "texts.txt", "--top", "3", "--dtype=float32"]) == 0
    *_, head, first, second, third = capsys.readouterr().out.splitlines()
    assert head.split() == ["cosine", "line", "text"]
    cosines_N = theirs(encoder, TEXTS) @ theirs(encoder, [query])[0]
    for row, place in zip((first, second, third), np.argsort(-cosines_N), strict=False):
        cosine, line, text = row.split(maxsplit=2)
        assert (int(line), text) == (place + 1, " ".join(TEXTS[place].split()))
        assert abs(float(cosine) - cosines_N[place]) < 1e-4


def test_similar_to_itself_is_first(encoder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for text in TEXTS:
        assert cli.main(["similar", str(encoder), text, "texts.txt", "--top=1", "--dtype=float32"]) == 0
        cosine, _, found = capsys.readouterr().out.splitlines()[-1].split(maxsplit=2)
        assert (cosine, found) == ("1.0000", " ".join(text.split()))
