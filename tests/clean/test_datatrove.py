"""The rules for scripts with spaces decide what datatrove's filters decide, given the same words and sentences.

Where Danlu means otherwise the texts or datatrove's settings leave it out: blank lines are no lines, an n-gram that
occurs once is no repetition, a bullet is no word, a stop word may have capital letters, and what closes a quotation or
a bracket may follow the mark that ends a line.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from danlu.clean.c4 import C4
from danlu.clean.fineweb import FineWeb
from danlu.clean.gopher_quality import GopherQuality
from danlu.clean.gopher_repetition import GopherRepetition
from danlu.text.document import Document
from danlu.text.sentences import sentence_starts

pytest.importorskip("datatrove", reason="needs datatrove, loguru and humanize: pip install datatrove")

from datatrove.data import Document as Theirs
from datatrove.pipeline.filters import gopher_repetition_filter
from datatrove.pipeline.filters.c4_filters import C4QualityFilter
from datatrove.pipeline.filters.fineweb_quality_filter import FineWebQualityFilter
from datatrove.pipeline.filters.gopher_quality_filter import GopherQualityFilter
from datatrove.pipeline.filters.gopher_repetition_filter import GopherRepetitionFilter
from datatrove.utils.text import TERMINAL_PUNCTUATION
from datatrove.utils.word_tokenizers import WordTokenizer

PAGES = sorted((Path(__file__).parents[2] / "docs").glob("*.md"))
REASONS = {
    "gopher_short_doc": "gopher_quality: too few words",
    "gopher_long_doc": "gopher_quality: too many words",
    "gopher_below_avg_threshold": "gopher_quality: mean word length",
    "gopher_above_avg_threshold": "gopher_quality: mean word length",
    "gopher_too_many_hashes": "gopher_quality: hash signs to words",
    "gopher_too_many_ellipsis": "gopher_quality: ellipses to words",
    "gopher_too_many_bullets": "gopher_quality: bullet lines",
    "gopher_too_many_end_ellipsis": "gopher_quality: lines ending in an ellipsis",
    "gopher_below_alpha_threshold": "gopher_quality: words with a letter",
    "gopher_enough_stop_words": "gopher_quality: stop words",
    "dup_para_frac": "gopher_repetition: duplicate paragraphs",
    "dup_para_char_frac": "gopher_repetition: characters in duplicate paragraphs",
    "dup_line_frac": "gopher_repetition: duplicate lines",
    "dup_line_char_frac": "gopher_repetition: characters in duplicate lines",
    **{f"top_{n}_gram": f"gopher_repetition: top {n}-gram" for n in (2, 3, 4)},
    **{f"duplicated_{n}_n_grams": f"gopher_repetition: duplicate {n}-grams" for n in range(5, 11)},
    "lorem_ipsum": "c4: lorem ipsum",
    "curly_bracket": "c4: curly bracket",
    "too_few_sentences": "c4: sentences",
    "line_punct_ratio": "fineweb: lines with an end mark",
    "short_line_ratio": "fineweb: short lines",
    "char_dup_ratio": "fineweb: characters in duplicate lines",
    "list_ratio": "fineweb: line ends to words",
}


class OurWords(WordTokenizer):
    """What spaces part, and our sentences."""

    def word_tokenize(self, text: str) -> list[str]:
        return text.split()

    def sent_tokenize(self, text: str) -> list[str]:
        return [text[start:] for start in sentence_starts(text)]

    def span_tokenize(self, text: str) -> list[tuple[int, int]]:
        starts = sentence_starts(text)
        return list(zip(starts, [*starts[1:], len(text)], strict=True))


CLOSERS = ("", '"', "'", ")", "]", "}")
ENDS = tuple(mark + one + other for mark in TERMINAL_PUNCTUATION for one in CLOSERS for other in (*CLOSERS, '""'))
FILTERS: dict[str, tuple[Callable[[], Any], Any]] = {
    "gopher_quality": (lambda: GopherQualityFilter(language=OurWords()), GopherQuality()),
    "gopher_repetition": (lambda: GopherRepetitionFilter(language=OurWords()), GopherRepetition()),
    "c4": (lambda: C4QualityFilter(language=OurWords()), C4()),
    "fineweb": (lambda: FineWebQualityFilter(language=OurWords(), stop_chars=ENDS), FineWeb()),
}

WORD = st.sampled_from(["the", "of", "and", "cat", "tree", "house", "walked", "understanding", "1999", "#tag", "x..."])
ODD = st.sampled_from(["--", "#", "...", "…", "12", "a", "javascript", "Privacy", "policy", "[3]", "{", "lorem ipsum"])
END = st.sampled_from([".", "!", "?", '."', "", "", "...", ",", ".", "."])
LINE = st.builds(
    lambda start, words, end: start + " ".join(words) + end,
    st.sampled_from(["", "", "", "- ", "•"]),
    st.lists(st.one_of(WORD, WORD, WORD, WORD, WORD, ODD), min_size=1, max_size=15),
    END,
)


@st.composite
def texts(draw: st.DrawFn) -> str:
    """Lines of words, some of them again, some between blank lines."""
    lines = draw(st.lists(LINE, min_size=1, max_size=6))
    picked = draw(st.lists(st.sampled_from(lines), min_size=1, max_size=25))
    plain = [f"the {number} of it and that was near the wall number {number} here." for number in range(8)]
    lines = [*picked, *plain[: draw(st.integers(0, 8))]]
    parted = draw(st.sampled_from(["\n", "\n", "\n\n", " "]))
    return parted.join(lines)


def top_that_repeats(n_grams: list[str]) -> int:
    """datatrove counts an n-gram that occurs once as well."""
    return 0 if len(set(n_grams)) == len(n_grams) else found_top(n_grams)


found_top = gopher_repetition_filter.find_top_duplicate


def both(name: str, text: str) -> tuple[tuple[str | None, str], tuple[str | None, str]]:
    """What datatrove and we say, and the text that is left."""
    make, choice = FILTERS[name]
    theirs = Theirs(text=text, id="a")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gopher_repetition_filter, "find_top_duplicate", top_that_repeats)
        verdict = make().filter(theirs)
    reason = None if verdict is True else REASONS[verdict[1]]
    ours = Document("a", text, {"language": "en"})
    return (reason, theirs.text), (choice.make()(ours), ours.text)


@pytest.mark.parametrize("name", FILTERS)
@settings(max_examples=100, deadline=None)
@given(text=texts())
def test_random_texts(name: str, text: str) -> None:
    if name == "gopher_quality":
        text = re.sub(r"•(?=[-#.…])", "", text.replace("\n\n", "\n"))
    theirs, ours = both(name, text)
    assert ours == theirs


@pytest.mark.parametrize("name", FILTERS)
def test_prose_lists_and_cut_pieces_of_it(name: str) -> None:
    seen = set()
    for path in PAGES:
        page = path.read_text(encoding="utf-8")[:30_000]
        page = page.lower() if name == "gopher_quality" else page
        whole = re.sub(r"(?m)^[*·].*", "", re.sub(r"\n\s*\n+", "\n", re.sub(r"(?<!\n)\n(?=\w)", " ", page))).strip()
        whole = re.sub(r" *\n\s*", "\n", whole)
        lines = whole.split("\n")
        for text in (
            whole[:8000].strip(),
            "\n".join(lines[:40]),
            "\n".join(line[:25].strip() for line in lines[:60] if line[:25].strip()),
            "\n".join("- " + line for line in lines[:20]),
            "\n".join(lines[:10] * 3),
            " ".join(whole[:200].split() * 5),
            " ".join(character for character in whole[:1000] if not character.isspace()),
        ):
            theirs, ours = both(name, text)
            assert ours == theirs, text[:200]
            seen.add(ours[0])
    assert None in seen
    assert len(seen) > 1
