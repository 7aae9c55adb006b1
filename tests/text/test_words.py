"""Where words begin: BERT's own rule outside Chinese, jieba's dictionary within."""

from __future__ import annotations

from itertools import pairwise

import pytest
import rjieba
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import normalizers, pre_tokenizers

from danlu.text.words import Characters, Jieba, is_chinese, pieces, word_starts

BY_CHARACTER = Characters().make()
JIEBA, WITHOUT_NEW = Jieba().make(), Jieba(new_words=False).make()
CHINESE = "中华人民共和国成立于一九四九年长春市长春节讲话研究生命起源结婚的和尚未结婚的他来到了网易杭研大厦〇々䃅"


def words(text: str, segment: object = BY_CHARACTER) -> list[str]:
    starts = word_starts(text, segment)  # type: ignore[arg-type]
    return [text[start:end].rstrip() for start, end in pairwise([*starts, len(text)])]


@given(
    st.lists(st.sampled_from([*"aZ9éяअ \n\t.,'\"-_$+<>`~!?()“”，。「」中国㐀\U00020000", "नी", "e\u0301"])).map("".join)
)
def test_words_are_those_of_bert(text: str) -> None:
    """Its basic tokenizer, as ``tokenizers`` has it: white space, punctuation, and a space around each Chinese
    character."""
    spaced = normalizers.BertNormalizer(
        clean_text=False, handle_chinese_chars=True, strip_accents=False, lowercase=False
    )
    theirs = pre_tokenizers.BertPreTokenizer().pre_tokenize_str(spaced.normalize_str(text))
    assert words(text) == [word for word, _ in theirs]


@given(st.text(st.sampled_from(CHINESE), min_size=1), st.booleans())
def test_runs_of_chinese_are_cut_as_jieba_cuts_them(run: str, new_words: bool) -> None:
    starts = word_starts(run, JIEBA if new_words else WITHOUT_NEW)
    assert starts == [start for _, start, _ in rjieba.tokenize(run, hmm=new_words)]


def test_jieba_cuts_what_it_is_known_for() -> None:
    """The example of its README, with names that only the hidden Markov model finds."""
    cut = ["我", "来到", "北京", "清华大学", "，", "他", "来到", "了", "网易", "杭研", "大厦"]
    assert words("我来到北京清华大学，他来到了网易杭研大厦", JIEBA) == cut
    assert words("他来到了网易杭研大厦", WITHOUT_NEW) == ["他", "来到", "了", "网易", "杭", "研", "大厦"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("don't stop", "don ' t stop"),
        ("state-of-the-art", "state - of - the - art"),
        ("3月B2C，iPhone15很贵", "3 月 B2C ， iPhone15 很 贵"),
        ("cafe\u0301 naïve Ünïcödé", "cafe\u0301 naïve Ünïcödé"),
        ("हिन्दी में", "हिन्दी में"),
        ("می\u200cخواهم", "می\u200cخواهم"),
        ("क्\u200dष है", "क्\u200dष है"),
        ("hi👩🏽\u200d👩\u200d👧❤️🇨🇳🇺🇸!", "hi 👩🏽\u200d👩\u200d👧 ❤️ 🇨🇳 🇺🇸 !"),
        ("コンピューターを使う", "コンピューター を 使 う"),
        ("ภาษาไทย", "ภ า ษ า ไ ท ย"),
        ("กี่", "กี่"),
        ("한국어 단어", "한국어 단어"),
        (" \u3000\n", ""),
    ],
)
def test_words_of_many_scripts(text: str, expected: str) -> None:
    assert words(text, JIEBA) == expected.split(" ") if expected else words(text) == []


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_only_spaces_are_between_pieces_and_words_begin_where_pieces_do(text: str) -> None:
    behind, found = 0, list(pieces(text))
    for start, end in [*found, (len(text), len(text))]:
        assert not text[behind:start].strip()
        assert not any(letter.isspace() for letter in text[start:end])
        behind = end
    starts = word_starts(text, JIEBA)
    assert starts == sorted(set(starts))
    chinese = {place for start, end in found if is_chinese(text, start) for place in range(start, end)}
    firsts = {start for start, _ in found}
    assert firsts <= set(starts) <= firsts | chinese
