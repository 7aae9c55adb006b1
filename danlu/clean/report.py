"""``report.html``: what went in and what became of it, as one page that needs no other file.

It says nothing of when or by how many processes it was made, so that the same text gives the same bytes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, groupby
from typing import Any

from danlu.clean.counts import Counts
from danlu.clean.lengths import bin_end
from danlu.clean.pairing import Beside, beside
from danlu.clean.samples import Example
from danlu.clean.source_parts import SourcePart
from danlu.clean.tally import Tally
from danlu.pages import chart, colours, histogram
from danlu.pages.histogram import Bin
from danlu.pages.rendering import environment
from danlu.recipe_file import write_yaml

SHOWN = 5
"""Pairs of examples of a reason, of which one is seen at once."""
FOLDED = 420
"""Characters of a text that are seen at once; Chinese ones say more, and count twice."""
MOST_LANGUAGES = 6
"""Languages whose lengths are drawn by themselves, where a hundredth of all documents or of all characters is in them;
the table has all."""
MOST_PARTS = 30
"""Files and folders of sources that are seen at once."""
WIDE, NARROW = 880, 344
HALF = 428
"""Pixels of a picture beside another."""
_TURNING = {code: f"[U+{code:04X}]" for code in (*range(0x202A, 0x202F), *range(0x2066, 0x206A))}
"""Characters that turn the order of those behind them around, by their names."""
_UNSEEN = {code: "\ufffd" for code in (*range(0x20), *range(0x7F, 0xA0), *range(0xD800, 0xE000)) if code not in (9, 10)}
"""Control characters, and halves of surrogate pairs, which no file of text can hold."""


Counted = tuple[SourcePart, Counts]


@dataclass(frozen=True, slots=True)
class Reason:
    """Why documents were dropped, or records quarantined: how many, and how many characters they had."""

    name: str
    anchor: str
    """Of its examples on the page; empty where it has none."""
    count: int
    characters: int | None


@dataclass(frozen=True, slots=True)
class Text:
    """A text to read: what is seen at once, and what is folded away."""

    seen: str
    folded: str
    left_out: int
    """Characters that neither has."""


def report_page(tally: Tally, *, title: str, settings: Mapping[str, Any]) -> bytes:
    """The page.

    Args:
        settings: of the stage, those that change the result.
    """
    total = tally.total()
    examples = list(tally.dropped)
    reasons = _reasons(total, {example.reason for example in examples})
    sources = _sources(tally.sources())
    parts = sum(len(inner) for *_, inner in sources)
    templates = environment("danlu.clean")
    templates.filters.update(safe_text=safe_text, count=_count, share=share, text_of=text_of, amount=amount)
    page = templates.get_template("report.html.j2").render(
        title=title,
        total=total,
        dropped=[each for each in reasons if each.characters is not None],
        quarantined=[each for each in reasons if each.characters is None],
        sources=sources,
        folded=parts if parts > MOST_PARTS else 0,
        reason_names=[each.name for each in reasons],
        pictures=_pictures(total),
        languages=_languages(total),
        groups=tally.groups.counts(),
        pairs=_pairs(reasons, examples, list(tally.kept)),
        recipe=write_yaml({"clean": dict(settings)}),
        page_style=colours.variables() + chart.STYLE + histogram.STYLE,
    )
    return page.encode(errors="replace")


def safe_text(text: str) -> str:
    """The text with U+FFFD for control characters but line end and tab, and names for those that turn its order."""
    return text.translate(_UNSEEN).translate(_TURNING)


def text_of(text: str, characters: int) -> Text:
    """``text``, the beginning of one that has so many characters, cut where reading begins to be work."""
    room = accumulate(2 if ord(sign) >= 0x2E80 else 60 if sign == "\n" else 1 for sign in text)
    place = next((place for place, taken in enumerate(room, start=1) if taken >= FOLDED), len(text))
    if len(text) - place < FOLDED // 4:  # too little to fold
        place = len(text)
    return Text(text[:place], text[place:], max(0, characters - len(text)))


def share(part: int, whole: int) -> str:
    """A share in per cent that is 0 or 100 only where it is so."""
    if not whole or not part:
        return "0%"
    per_cent = 100 * part / whole
    if part == whole:
        return "100%"
    if per_cent >= 99.95:
        return ">99.9%"
    return f"{per_cent:.1f}%" if per_cent >= 0.05 else "<0.1%"


def amount(characters: int) -> str:
    """A number of characters in three digits: 12.3 M."""
    for size, letter in ((10**12, "T"), (10**9, "G"), (10**6, "M"), (10**3, "k")):
        if abs(characters) >= size * 0.9995:
            scaled = characters / size
            return f"{scaled:.{0 if abs(scaled) >= 99.95 else 1}f} {letter}"
    return str(characters)


def _count(number: int) -> str:
    return f"{number:,}".replace("-", "\N{MINUS SIGN}")


def _reasons(total: Counts, with_examples: set[str]) -> list[Reason]:
    """Those to drop before those to quarantine, the most frequent ones first."""
    found = []
    for counter, dropped in ((total.dropped, True), (total.quarantined, False)):
        for name, count in sorted(counter.items(), key=lambda item: (-item[1], item[0])):
            digest = hashlib.blake2b(name.encode(errors="surrogatepass"), digest_size=5).hexdigest()
            anchor = f"r-{digest}" if dropped and name in with_examples else ""
            found.append(Reason(name, anchor, count, total.dropped_characters[name] if dropped else None))
    return found


def _sources(parts: Sequence[Counted]) -> list[tuple[str, int, Counts, list[Counted]]]:
    """Each source with its files, what became of it, and its parts where it has several."""
    found = []
    for source, group in groupby(parts, key=lambda pair: pair[0].source):
        inner = list(group)
        counts = sum((counts for _, counts in inner), Counts())
        found.append((source, sum(part.files for part, _ in inner), counts, inner if len(inner) > 1 else []))
    return found


def _languages(total: Counts) -> list[str]:
    """The most frequent first."""
    return sorted(total.language_documents_in, key=lambda code: (-total.language_documents_in[code], code))


def _pictures(total: Counts) -> list[tuple[str, list[tuple[str, str]]]]:
    """Histograms of lengths, of all documents and by language: a title, and drawings with the class that shows each."""
    languages = _languages(total)
    everything, span = list(_bins(total, None)), _powers(total)
    title = f"All documents: {total.kept + total.dropped.total():,}"
    pictures = [(title, _drawn(everything, title, span, wide=(WIDE, 300), narrow=(NARROW, 230)))]
    many = [
        code
        for code in languages
        if any(
            100 * came[code] >= came.total() > 0 for came in (total.language_documents_in, total.language_characters_in)
        )
    ]
    for code in many[:MOST_LANGUAGES] if len(many) > 1 else []:
        title = f"{code}: {total.language_documents_in[code]:,}"
        drawn = _drawn(list(_bins(total, code)), title, span, wide=(HALF, 190), narrow=(NARROW, 190))
        pictures.append((title, drawn))
    return pictures


def _drawn(bins: Sequence[Bin], title: str, span: tuple[int, int], **sizes: tuple[int, int]) -> list[tuple[str, str]]:
    names = ("kept", "dropped")
    return [
        (kind, histogram.histogram(bins, title=title, names=names, unit="characters", span=span, size=size))
        for kind, size in sizes.items()
    ]


def _powers(total: Counts) -> tuple[int, int]:
    """The powers of ten that all lengths lie between."""
    places = [each for each in _bins(total, None) if each.start]
    if not places:
        return 0, 1
    low, high = len(str(places[0].start)) - 1, len(str(places[-1].end - 1))
    return low, max(high, low + 1)


def _bins(total: Counts, language: str | None) -> Iterator[Bin]:
    kept, dropped = total.lengths(language)
    for start in sorted({*kept, *dropped}):
        yield Bin(start, bin_end(start), kept[start], dropped[start])


def _pairs(
    reasons: Sequence[Reason], examples: Sequence[Example], kept: Sequence[Example]
) -> list[tuple[Reason, list[Beside]]]:
    """For each reason its examples, each beside a document that is kept."""
    by_reason = {reason: list(group) for reason, group in groupby(examples, key=lambda example: example.reason)}
    return [(reason, beside(by_reason[reason.name][:SHOWN], kept)) for reason in reasons if reason.anchor]
