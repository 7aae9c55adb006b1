"""PDF, docx and EPUB: whole, encrypted, damaged, and files that attack who reads them."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import docx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reportlab.lib.pdfencrypt import StandardEncryption
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.cidfonts import UnicodeCIDFont
from reportlab.pdfgen.canvas import Canvas

from danlu.readers import pdf
from danlu.readers.reading import read
from danlu.readers.record import LocalFile, Raw, Rejected, Wanted


def records(path: Path, content: bytes, **wanted: object) -> list[Raw | Rejected]:
    path.write_bytes(content)
    return list(read(LocalFile(path), Wanted(**wanted)))  # type: ignore[arg-type]


def one(path: Path, content: bytes, **wanted: object) -> Raw:
    [record] = records(path, content, **wanted)
    assert isinstance(record, Raw), record
    return record


def reasons(found: list[Raw | Rejected]) -> list[str]:
    return [record.reason for record in found if isinstance(record, Rejected)]


def make_pdf(pages: list[str], **settings: object) -> bytes:
    out = io.BytesIO()
    canvas = Canvas(out, invariant=1, **settings)  # type: ignore[arg-type]
    canvas.setTitle("A title 题目")
    pdfmetrics.registerFont(UnicodeCIDFont("STSong-Light"))
    for page in pages:
        canvas.setFont("STSong-Light", 12)
        for number, line in enumerate(page.split("\n")):
            canvas.drawString(72, 720 - 20 * number, line)
        canvas.showPage()
    canvas.save()
    return out.getvalue()


def test_pdf_in_english_and_chinese(tmp_path: Path) -> None:
    record = one(
        tmp_path / "a.pdf", make_pdf(["Once upon a time\nthere was a hill.", "从前有一座山，\n山里有一座庙。"])
    )
    assert record.text == "Once upon a time\nthere was a hill.\n\n从前有一座山，\n山里有一座庙。\n"
    assert record.fields == {"title": "A title 题目", "author": "anonymous", "pages": "2"}


def test_pdf_without_text_or_with_a_password(tmp_path: Path) -> None:
    assert reasons(records(tmp_path / "a.pdf", make_pdf(["", ""]))) == ["no text layer"]
    locked = make_pdf(["secret"], encrypt=StandardEncryption("password", "owner"))
    assert reasons(records(tmp_path / "b.pdf", locked)) == ["encrypted"]
    opens = make_pdf(["open"], encrypt=StandardEncryption("", "owner"))
    assert one(tmp_path / "c.pdf", opens).text == "open\n"


@pytest.mark.parametrize("content", [b"", b"%PDF-1.7\n", b"plain text", bytes(1000)])
def test_what_is_no_pdf(tmp_path: Path, content: bytes) -> None:
    assert reasons(records(tmp_path / "a.pdf", content)) == ["damaged PDF"]


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.99])
def test_a_pdf_cut_short(tmp_path: Path, share: float) -> None:
    whole = make_pdf([f"page {number} " + "x" * 500 for number in range(5)])
    [record] = records(tmp_path / "a.pdf", whole[: int(share * len(whole))])
    assert isinstance(record, Raw) or record.reason in ("damaged PDF", "no text layer")


CODE = "from danlu.readers import pdf_pages; pdf_pages.{}; pdf_pages._say(pages=1); pdf_pages.sys.stdout.flush(); {}"


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (CODE.format("PAGE_SECONDS = 1; pdf_pages._limit_seconds()", "\nwhile True: pass"), "PDF takes too long"),
        (CODE.format("_say", "import os; os.kill(os.getpid(), 11)"), "PDF breaks its library"),
        (CODE.format("_say", "raise MemoryError"), "PDF breaks its library"),
        (CODE.format("_say", ""), "PDF breaks its library"),
    ],
)
def test_a_pdf_that_breaks_the_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str, reason: str) -> None:
    run = pdf.subprocess.Popen
    monkeypatch.setattr(pdf.subprocess, "Popen", lambda command, **rest: run([command[0], "-c", code], **rest))
    assert reasons(records(tmp_path / "a.pdf", make_pdf(["text"]))) == [reason]


def make_docx() -> bytes:
    document = docx.Document()
    document.core_properties.title = "题目"
    document.core_properties.author = "An author"
    document.add_heading("Chapter one", 1)
    document.add_paragraph("First ").add_run("paragraph.").bold = True
    table = document.add_table(2, 2)
    for number, cell in enumerate(cell for row in table.rows for cell in row.cells):
        cell.text = f"cell {number}"
    document.add_paragraph("中文段落。\tEnd")
    document.add_paragraph("")
    out = io.BytesIO()
    document.save(out)
    return out.getvalue()


def with_part(content: bytes, name: str, part: str, *, method: int = zipfile.ZIP_DEFLATED) -> bytes:
    """The same archive with one member replaced or added."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(out, "w", method) as new:
        for info in old.infolist():
            if info.filename != name:
                new.writestr(info.filename, old.read(info))
        new.writestr(name, part)
    return out.getvalue()


W = 'xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"'
MC = 'xmlns:mc="http://schemas.openxmlformats.org/markup-compatibility/2006"'


def body(inner: str) -> str:
    return f'<?xml version="1.0" encoding="UTF-8"?><w:document {W} {MC}><w:body>{inner}</w:body></w:document>'


def test_docx_with_headings_and_tables(tmp_path: Path) -> None:
    record = one(tmp_path / "a.docx", make_docx())
    text = "Chapter one\n\nFirst paragraph.\n\ncell 0\tcell 1\ncell 2\tcell 3\n\n中文段落。\tEnd\n"
    assert record.text == text
    assert record.fields == {"title": "题目", "author": "An author"}


def test_docx_without_what_is_deleted_or_written_twice(tmp_path: Path) -> None:
    inner = """<w:p><w:r><w:t>kept</w:t></w:r><w:del><w:r><w:delText>deleted</w:delText></w:r></w:del>
      <w:moveFrom><w:r><w:t>moved</w:t></w:r></w:moveFrom>
      <w:ins><w:r><w:t xml:space="preserve"> inserted</w:t></w:r></w:ins>
      <w:r><w:instrText>PAGE</w:instrText></w:r><w:r><w:br/><w:t>next line</w:t></w:r></w:p>
      <w:p><mc:AlternateContent><mc:Choice><w:r><w:t>box</w:t></w:r></mc:Choice>
      <mc:Fallback><w:r><w:t>box</w:t></w:r></mc:Fallback></mc:AlternateContent></w:p>"""
    content = with_part(make_docx(), "word/document.xml", body(inner))
    assert one(tmp_path / "a.docx", content).text == "kept inserted\nnext line\n\nbox\n"


def test_notes_of_docx_by_choice(tmp_path: Path) -> None:
    notes = f"""<w:footnotes {W}><w:footnote w:type="separator"><w:p><w:r><w:t>--</w:t></w:r></w:p></w:footnote>
      <w:footnote><w:p><w:r><w:t>A note.</w:t></w:r></w:p></w:footnote></w:footnotes>"""
    content = with_part(make_docx(), "word/footnotes.xml", notes)
    assert "note" not in one(tmp_path / "a.docx", content).text
    assert one(tmp_path / "a.docx", content, notes=True).text.endswith("End\n\nA note.\n")


LAUGHS = "<!DOCTYPE x [<!ENTITY a 'ha'>" + "".join(
    f"<!ENTITY {chr(98 + level)} '{('&' + chr(97 + level) + ';') * 10}'>" for level in range(9)
)


@pytest.mark.parametrize(
    ("part", "reason"),
    [
        (LAUGHS + "]><x>&j;</x>", "XML with a document type"),
        ("<!DOCTYPE x [<!ENTITY a SYSTEM 'file:///etc/passwd'>]><x>&a;</x>", "XML with a document type"),
        (body("<w:p>" * 2000 + "</w:p>" * 2000), "damaged XML"),
        (body("<w:p><w:r><w:t>half"), "damaged XML"),
        (body(f"<w:p><w:r><w:t>{'long' * 100_000}</w:t></w:r></w:p>"), "too long"),
        ("", "damaged XML"),
    ],
)
def test_docx_that_attacks(tmp_path: Path, part: str, reason: str) -> None:
    content = with_part(make_docx(), "word/document.xml", part)
    assert reasons(records(tmp_path / "a.docx", content, record_bytes=300_000)) == [reason]


def test_what_is_no_docx(tmp_path: Path) -> None:
    assert reasons(records(tmp_path / "a.docx", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(500))) == ["encrypted"]
    assert reasons(records(tmp_path / "b.docx", b"")) == ["truncated zip"]
    assert reasons(records(tmp_path / "c.docx", b"text")) == ["not zip"]
    out = io.BytesIO()
    zipfile.ZipFile(out, "w").close()
    assert reasons(records(tmp_path / "d.docx", out.getvalue())) == ["not docx"]


CONTAINER = """<container xmlns="urn:oasis:names:tc:opendocument:xmlns:container"><rootfiles>
<rootfile full-path="OEBPS/book.opf" media-type="application/oebps-package+xml"/></rootfiles></container>"""
PACKAGE = """<package xmlns="http://www.idpf.org/2007/opf"><metadata xmlns:dc="http://purl.org/dc/elements/1.1/">
<dc:title>山的故事</dc:title><dc:creator>One</dc:creator><dc:creator>Two</dc:creator></metadata>
<manifest><item id="b" href="text/b%20b.xhtml" media-type="application/xhtml+xml"/>
<item id="a" href="a.xhtml" media-type="application/xhtml+xml"/><item id="i" href="i.png" media-type="image/png"/>
</manifest><spine><itemref idref="b"/><itemref idref="i"/><itemref idref="a"/><itemref idref="b"/></spine></package>"""
XHTML = """<?xml version="1.0" encoding="utf-8"?><!DOCTYPE html><html xmlns="http://www.w3.org/1999/xhtml">
<head><title>t</title></head><body><h1>{}</h1><p>{}</p></body></html>"""


def make_epub(**changed: str) -> bytes:
    members = {
        "mimetype": "application/epub+zip",
        "META-INF/container.xml": CONTAINER,
        "OEBPS/book.opf": PACKAGE,
        "OEBPS/a.xhtml": XHTML.format("第二章", "山里有一座庙。"),
        "OEBPS/text/b b.xhtml": XHTML.format("第一章", "从前有一座山。"),
        **changed,
    }
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return out.getvalue()


def test_epub_in_the_order_of_its_spine(tmp_path: Path) -> None:
    record = one(tmp_path / "a.epub", make_epub())
    assert [line for line in record.text.split("\n") if line] == [
        "第一章",
        "从前有一座山。",
        "第二章",
        "山里有一座庙。",
    ]
    assert record.fields == {"title": "山的故事", "author": "One, Two"}


def test_epub_packed_with_its_folder(tmp_path: Path) -> None:
    whole = zipfile.ZipFile(io.BytesIO(make_epub()))
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as packed:
        for name in whole.namelist():
            packed.writestr(f"my book/{name}", whole.read(name))
    assert one(tmp_path / "a.epub", out.getvalue()) == one(tmp_path / "b.epub", make_epub())


def test_epub_that_is_locked(tmp_path: Path) -> None:
    lock = """<encryption xmlns="urn:oasis:names:tc:opendocument:xmlns:container"
      xmlns:e="http://www.w3.org/2001/04/xmlenc#">
      <e:EncryptedData><e:EncryptionMethod Algorithm="{}"/><e:CipherData><e:CipherReference URI="OEBPS/a.xhtml"/>
      </e:CipherData></e:EncryptedData></encryption>"""
    locked = make_epub(**{"META-INF/encryption.xml": lock.format("http://www.w3.org/2001/04/xmlenc#aes128-cbc")})
    assert reasons(records(tmp_path / "a.epub", locked)) == ["encrypted"]
    fonts = make_epub(**{"META-INF/encryption.xml": lock.format("http://www.idpf.org/2008/embedding")})
    assert reasons(records(tmp_path / "b.epub", fonts)) == []


def test_a_page_missing_in_an_epub_is_told_beside_the_rest(tmp_path: Path) -> None:
    found = records(
        tmp_path / "a.epub", make_epub(**{"OEBPS/book.opf": PACKAGE.replace("a.xhtml", "../../gone.xhtml")})
    )
    assert isinstance(found[0], Raw)
    assert "从前有一座山" in found[0].text
    assert reasons(found) == ["damaged EPUB"]
    assert reasons(records(tmp_path / "b.epub", make_epub(**{"META-INF/container.xml": LAUGHS}))) != []


@pytest.mark.parametrize("share", [0.0, 0.3, 0.6, 0.95])
@pytest.mark.parametrize("ending", [".docx", ".epub"])
def test_documents_cut_short(tmp_path: Path, share: float, ending: str) -> None:
    whole = make_docx() if ending == ".docx" else make_epub()
    found = records(tmp_path / f"a{ending}", whole[: int(share * len(whole))])
    assert reasons(found)


@given(st.data())
@settings(max_examples=80, deadline=None)
def test_flipped_bytes_come_out_as_rejected(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    ending = data.draw(st.sampled_from([".docx", ".epub"]))
    content = bytearray(make_docx() if ending == ".docx" else make_epub())
    places = st.integers(0, len(content) - 1)
    for place, value in data.draw(st.lists(st.tuples(places, st.integers(0, 255)), min_size=1, max_size=6)):
        content[place] = value
    assert len(records(tmp_path_factory.mktemp("a") / f"a{ending}", bytes(content))) <= 4


@given(st.data())
@settings(max_examples=8, deadline=None)
def test_flipped_bytes_of_a_pdf(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    content = bytearray(make_pdf(["page one", "第二页"]))
    for place, value in data.draw(
        st.lists(st.tuples(st.integers(0, len(content) - 1), st.integers(0, 255)), min_size=1, max_size=20)
    ):
        content[place] = value
    assert len(records(tmp_path_factory.mktemp("a") / "a.pdf", bytes(content))) <= 3


def test_a_bad_byte_in_an_epub_costs_its_paragraph(tmp_path: Path) -> None:
    text = "".join(f"<p>Paragraph {number} of the book.</p>\n" for number in range(40))
    whole = zipfile.ZipFile(io.BytesIO(make_epub(**{"OEBPS/a.xhtml": f"<html><body>{text}</body></html>"})))
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as book:
        for name in whole.namelist():
            book.writestr(name, whole.read(name).replace(b"h 30 of", b"h 30 \xff of"))
    kept, lost = records(tmp_path / "a.epub", out.getvalue())
    assert isinstance(kept, Raw) and isinstance(lost, Rejected) and kept.fields["lost_parts"] == "1"
    assert [number for number in range(40) if f"Paragraph {number} of the book." not in kept.text] == [30]
    assert lost.reason == "unknown encoding" and lost.detail.startswith("OEBPS/a.xhtml: at byte ")
