"""Private data planted in files of every format: nothing of it is left in anything that ``clean`` writes."""

from __future__ import annotations

import csv
import html
import importlib
import io
import json
import random
import re
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import docx
import pyarrow
import pyarrow.parquet
import pytest
from cleaning import clean
from reportlab.pdfgen.canvas import Canvas

sys.path.insert(0, str(Path(__file__).parent))
forms: Any = importlib.import_module("private_forms")
strewn: Any = importlib.import_module("private_odd_forms").strewn
PROSE = "The committee met on the second floor and read the report of the year before it turned to other things. " * 3


class Planting:
    """Values that are drawn, each once, and remembered."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.values: list[str] = []

    def __call__(self, kind: str) -> str:
        value: str = {
            "email": lambda: f"kim{len(self.values)}.weber{forms.digits(self.chance, 3)}@example.org",
            "phone": lambda: forms.mobile(self.chance),
            "abroad": lambda: f"+49 171 {self.chance.randint(2000000, 8999999)}",
            "id": lambda: forms.chinese_id(self.chance),
            "card": lambda: forms.grouped(forms.card(self.chance), " ", 4, 4, 4, 4),
            "iban": lambda: forms.grouped(forms.german_iban(self.chance), " ", *[4] * 5),
            "ip": lambda: forms.address_four(self.chance),
            "secret": lambda: "ghp_" + forms.drawn(forms.LETTERS, 36)(self.chance)[1:-1],
        }[kind]()
        self.values.append(value)
        return value

    def text(self) -> str:
        kinds = ("email", "phone", "abroad", "id", "card", "iban", "ip", "secret")
        return "\n".join(f"{PROSE}\nWrite to {self(kind)} soon, they said." for kind in kinds)


def write_jsonl(path: Path, plant: Planting) -> None:
    fields = {
        "author": plant("email"),
        "owner": {"mobile": plant("phone"), "list": [plant("id")]},
        "inside": json.dumps({"电话": plant("phone"), "ip": plant("ip")}),
        "unseen": strewn(plant("phone"), plant.chance),
        "url": f"https://example.org/?m={plant('email').replace('@', '%40')}",
        "number": int(plant("phone")),
    }
    lines = [{"text": plant.text(), **fields}, {"text": f"Too short: {plant('phone')}.", "owner": plant("email")}]
    cut = f'{{"text": "{plant("phone")}" {plant("email")}'
    path.write_text("\n".join([*map(json.dumps, lines), cut]))


def write_csv(path: Path, plant: Planting) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["text", "mobile", "身份证"])
        rows.writerow([plant.text(), plant("phone"), plant("id")])


def write_parquet(path: Path, plant: Planting) -> None:
    rows = [{"text": plant.text(), "mail": plant("email"), "nested": {"card": plant("card")}}]
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path)


def write_html(path: Path, plant: Planting) -> None:
    spelt = "".join(f"&#{ord(sign)};" for sign in plant("email"))
    link, number, card = plant("email"), plant("phone"), plant("card").replace(" ", "&nbsp;")
    odd = f'<a href="mailto:{link}" title="{plant("phone")}">{link}</a> {spelt} <b>{number[:4]}</b>{number[4:]} {card}'
    paragraphs = "".join(f"<p>{html.escape(line)}</p>" for line in plant.text().split("\n"))
    head = f'<title>{plant("phone")}</title><meta name="author" content="{plant("email")}">'
    path.write_text(f"<html><head>{head}</head><body><article>{paragraphs}<p>{PROSE}{odd}</p></article></body></html>")


def write_docx(path: Path, plant: Planting) -> None:
    document = docx.Document()
    for line in plant.text().split("\n"):
        document.add_paragraph(line)
    number, soft = plant("phone"), plant("phone")
    parted = document.add_paragraph(f"{PROSE}{soft[:5]}\xad{soft[5:]} ")
    parted.add_run(number[:4]).bold = True
    parted.add_run(number[4:])
    cells = document.add_table(1, 2).rows[0].cells
    cells[0].text, cells[1].text = "Mobile", plant("phone")
    document.save(str(path))


def write_epub(path: Path, plant: Planting) -> None:
    lines = "".join(f"<p>{html.escape(line)}</p>" for line in plant.text().split("\n"))
    parts = {
        "META-INF/container.xml": '<container xmlns="urn:oasis:names:tc:opendocument:xmlns:container"><rootfiles>'
        '<rootfile full-path="c.opf" media-type="application/oebps-package+xml"/></rootfiles></container>',
        "c.opf": '<package xmlns="http://www.idpf.org/2007/opf"><metadata xmlns:dc="http://purl.org/dc/elements/1.1/">'
        f'<dc:creator>{plant("email")}</dc:creator></metadata><manifest><item id="a" href="a.xhtml" '
        'media-type="application/xhtml+xml"/></manifest><spine><itemref idref="a"/></spine></package>',
        "a.xhtml": f'<html xmlns="http://www.w3.org/1999/xhtml"><body>{lines}</body></html>',
    }
    with zipfile.ZipFile(path, "w") as packed:
        packed.writestr("mimetype", "application/epub+zip")
        for name, part in parts.items():
            packed.writestr(name, part)


def write_pdf(path: Path, plant: Planting) -> None:
    """Lines are broken at 60 characters, within numbers and addresses."""
    page = Canvas(str(path))
    page.setAuthor(plant("email"))
    for line in plant.text().split("\n"):
        words = f"{PROSE[: plant.chance.randint(20, 50)]} {line}" if line[:5] == "Write" else line
        for at in range(0, len(words), 60):
            page.drawString(40, 800, words[at : at + 60])
            page.translate(0, -13)
    page.save()


def write_zip(path: Path, plant: Planting) -> None:
    inside = io.BytesIO()
    with zipfile.ZipFile(inside, "w") as packed:
        packed.writestr("b.txt", plant.text())
    with zipfile.ZipFile(path, "w") as packed:
        packed.writestr("a.txt", plant.text())
        packed.writestr("within.zip", inside.getvalue())


FORMATS: dict[str, Callable[[Path, Planting], None]] = {
    "a.jsonl": write_jsonl, "a.csv": write_csv, "a.parquet": write_parquet, "a.html": write_html,
    "a.docx": write_docx, "a.epub": write_epub, "a.pdf": write_pdf, "a.zip": write_zip,
}  # fmt: skip


def bare(text: str) -> str:
    return re.sub(r"\\[nt]|[^0-9A-Za-z]", "", text).lower()


@pytest.mark.parametrize("action", ["mask", "hash", "drop"])
@pytest.mark.parametrize("name", FORMATS)
def test_nothing_planted_is_left_in_what_is_written(tmp_path: Path, name: str, action: str) -> None:
    plant = Planting(list(FORMATS).index(name))
    source = tmp_path / "in"
    source.mkdir()
    FORMATS[name](source / name, plant)
    (source / "plain.txt").write_text(PROSE)
    (tmp_path / "key").write_bytes(b"k" * 32)
    rule = {"use": "private", "action": action, "key_file": str(tmp_path / "key")}
    rules: list[Any] = [{"use": "gopher_quality", "min_words": 20}, rule]
    clean(tmp_path / "out", sources=[{"path": str(source), "language": "en"}], rules=rules, workers=1)
    read = "".join(path.read_text(encoding="utf-8") for path in sorted((tmp_path / "out").glob("documents-*.jsonl")))
    assert action == "drop" or read.count("[EMAIL") >= 1, "what was planted was read"
    for path in (each for each in (tmp_path / "out").rglob("*") if each.is_file()):
        written = bare(path.read_text(encoding="utf-8", errors="replace"))
        left = [value for value in plant.values if bare(value.partition("@")[0]) in written]
        assert left == [], path.name
