"""``danlu tokenizer sizes``: curves on held-out text, the cost, a picture and one size that is recommended."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import pytest

from danlu import cli
from danlu.corpus.split import HashSplit
from danlu.evaluate import tokenizer_sizes
from danlu.evaluate.tokenizer_sizes import Part, Sampled
from danlu.text.document import Document, read_documents
from danlu.tokenizers.bpe import BPE
from danlu.tokenizers.stage import sample

RECIPE = """
clean: {sources: [a.txt, {path: b.txt}], rules: []}
tokenizer: {use: bpe, vocab_size: 300, min_frequency: 1}
pack: {split: {use: hash, fraction: 0.3}}
pretrain: {model: {use: gpt, layers: 2, dim: 32, heads: 2}, objective: clm, budget: {steps: 1}}
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    draw = random.Random(1)
    words = ["".join(draw.choices("etaoinshrdlu", k=draw.randint(2, 9))) for _ in range(300)]
    Path("a.txt").write_text("\n".join(" ".join(draw.choices(words, k=30)) for _ in range(60)))
    Path("b.txt").write_text("话说天下大势，分久必合，合久必分。\n" * 2)
    documents = "{use: lines}"
    Path("r.yaml").write_text(RECIPE.replace("a.txt", f"{{path: a.txt, language: en, documents: {documents}}}"))


def test_the_curve_is_of_text_that_is_held_out(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["clean", "r.yaml"]) == 0
    capsys.readouterr()
    assert cli.main(["tokenizer", "sizes", "r.yaml", "--sizes", "300,400,500", "--least", "0.01"]) == 0
    out = capsys.readouterr().out
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in out.splitlines() if line.startswith("│")]
    parts: dict[str, list[str]] = {"train": [], "heldout": []}
    for document in read_documents(Path("runs/r/clean")):
        for part, piece in HashSplit(fraction=0.3).parts(document):
            parts[part].append(piece.text)
    for row, size in zip(rows, (300, 400, 500), strict=True):
        tokenizer = BPE(vocab_size=size, min_frequency=1).train(parts["train"])
        assert row[0].removesuffix(" *") == str(size)
        tokens = sum(map(len, tokenizer.encode_batch(parts["heldout"])))
        assert f"{tokens:,}" in row
    counts = [int(row[-4].replace(",", "")) for row in rows]
    body = 2 * 12 * 32 * 32  # of two layers: attention and MLP; the head for words is the embedding's, or like it
    for row, size, count in zip(rows, (300, 400, 500), counts, strict=True):
        expected = count * (body + 32 * size) / (counts[0] * (body + 32 * 300))
        assert float(row[-1].removesuffix("x")) == pytest.approx(expected, rel=0.02)
    assert "training this model on the same text costs least with " in out
    (best,) = (row[0] for row in rows if row[0].endswith("*"))
    assert f"recommended: {best.removesuffix(' *')} (" in out
    svg = ElementTree.fromstring(Path("tokenizer_sizes.svg").read_text())
    assert re.search("500", "".join(svg.itertext())) and len(list(svg.iter("{http://www.w3.org/2000/svg}circle"))) >= 3


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["r.yaml"], "r.yaml has no clean documents yet; 'danlu clean RECIPE' makes them"),
        (["r.yaml", "--sizes", "8k,4k"], "--sizes must be rising numbers with commas between, such as 4k,8k,16k;"),
        (["r.yaml", "--sizes", "many"], "--sizes must be rising numbers"),
        (["r.yaml", "--least", "2"], "--least must be between 0 and 1; got 2.0"),
        (["r.yaml", "--out", "a.png"], "--out must be an .svg in a folder that is there; got a.png"),
    ],
)
def test_mistakes_are_one_line(arguments: list[str], line: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["tokenizer", "sizes", *arguments]) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith(f"danlu: error: {line}") and captured.err.count("\n") == 1
    assert not Path("tokenizer_sizes.svg").exists()


def test_a_kind_without_a_size_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    Path("c.yaml").write_text("clean: {sources: [a.txt]}\ntokenizer: {use: char}\n")
    assert cli.main(["tokenizer", "sizes", "c.yaml"]) == 2
    assert capsys.readouterr().err == "danlu: error: tokenizer: this kind has no vocab_size to choose; bpe has\n"


def test_a_sample_is_of_so_many_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not characters, which are three bytes each in Chinese."""
    Path("a.txt").write_text("".join(f"第{number}回话说天下大势分久必合\n" for number in range(200)))
    Path("r.yaml").write_text(
        Path("r.yaml").read_text().replace("vocab_size: 300", "vocab_size: 300, sample_bytes: 2000")
    )
    assert cli.main(["clean", "r.yaml"]) == 0
    shares: list[float] = []
    monkeypatch.setattr(tokenizer_sizes, "Sampled", lambda part, share: shares.append(share) or Sampled(part, share))
    assert cli.main(["tokenizer", "sizes", "r.yaml", "--sizes", "300"]) == 0
    size = sum(len(each.text.encode()) for each in Part(Path("runs/r/clean"), HashSplit(fraction=0.3), "train"))
    assert shares == [2000 / size] and size > 4000


def test_documents_are_read_anew_each_time_and_never_held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    documents = [Document(str(number), f"text {number} " * 9, {"language": "en"}) for number in range(300)]
    alive: list[int] = []

    def read(folder: Path) -> Iterator[Document]:
        assert folder == tmp_path
        for place, document in enumerate(documents):
            alive.append(place)
            yield document

    monkeypatch.setattr(tokenizer_sizes, "read_documents", read)
    parts = [Part(tmp_path, HashSplit(fraction=0.3), name) for name in ("train", "heldout")]
    first, again = ([[each.id for each in part] for part in parts] for _ in range(2))
    assert first == again and all(first)
    assert sorted(first[0] + first[1], key=int) == [each.id for each in documents]
    alive.clear()
    texts = Sampled(parts[0], 0.5)
    next(iter(texts))
    assert len(alive) < 20, "no more is read than is asked for"
    assert list(texts) == list(texts) == list(sample(parts[0], 0.5))
