"""Windows of texts and of words against transformers' tokenizer, with and without words that share tokens."""

from __future__ import annotations

from pathlib import Path

import pytest
import transformers
from hypothesis import given, settings
from hypothesis import strategies as st

from danlu.data.writing import pieces
from danlu.errors import RecipeError
from danlu.tasks.text_reader import TextReader
from danlu.tasks.word_windows import best_places

CONTEXT = (
    "Once upon a time there was a sentence. To be, or not to be: that is the question. 话说天下大势，从前有座山。" * 2
)
WORDS = ["best", "yes", "话", "说天", "worstworstworst", "\u0081", "é"]
QUESTION = "What is the question?"


@pytest.mark.parametrize("shared", [0, 1, 4])
def test_windows_of_pairs_equal_transformers(encoder: Path, shared: int) -> None:
    theirs = transformers.AutoTokenizer.from_pretrained(encoder)(
        QUESTION[:9], CONTEXT, max_length=24, stride=shared, truncation="only_second", return_overflowing_tokens=True,
        return_offsets_mapping=True,
    )  # fmt: skip
    (ours,) = TextReader.load(encoder, max_tokens=24).windows([(QUESTION[:9], CONTEXT)], shared=shared)
    assert len(ours) > 4
    assert [each.tokens.tolist() for each in ours] == theirs["input_ids"]
    assert [[tuple(pair) for pair in each.offsets.tolist()] for each in ours] == theirs["offset_mapping"]


def test_a_question_has_half_a_window_at_most(encoder: Path) -> None:
    reader = TextReader.load(encoder, max_tokens=24)
    short, long = reader.windows([(QUESTION, CONTEXT), (CONTEXT, CONTEXT)], shared=reader.shared(9))
    for windows in (short, long):
        assert max(len(each.tokens) for each in windows) == 24
        covered = {place for each in windows for place in each.offsets[each.sides == 1][:, 0].tolist()}
        assert covered >= {0, CONTEXT.rindex("山")}
    assert sum(long[0].sides == 0) == 10  # (24 - 3) // 2
    with pytest.raises(RecipeError, match="must be below 10, half of what a window of 24 tokens"):
        reader.shared(10)


@pytest.mark.parametrize("kind", ["WordPiece", "Unigram", "byte fallback", "byte level"])
def test_words_are_read_as_in_running_text(kinds: dict[str, Path], kind: str) -> None:
    """But no token is of two words, as SentencePiece's here would be, whose trainer has taken a space for a letter."""
    words = ["It", "was", "the", "best", "of", "times", ",", "it", "was", "the", "worst"]
    reader = TextReader.load(kinds[kind], max_tokens=200)
    ((window,),) = reader.word_windows([pieces(words)], shared=10)
    text = [reader.tokenizer.decode(window.tokens[window.words == number].tolist()) for number in range(len(words))]
    assert [each.strip().lower() for each in text] == [each.lower() for each in words]
    if kind != "byte fallback":
        assert window.tokens.tolist() == reader.tokenizer.encode(" ".join(words)).ids
        return
    alone = [reader.tokenizer.encode(word, add_special_tokens=False).ids for word in words]
    assert [window.tokens[window.words == number].tolist() for number in range(len(words))] == alone


@pytest.mark.parametrize("kind", ["WordPiece", "Unigram", "byte fallback", "byte level"])
@settings(max_examples=25)
@given(
    words=st.lists(st.sampled_from(WORDS), min_size=1, max_size=30), size=st.integers(8, 30), shared=st.integers(0, 3)
)
def test_each_word_is_read_once_where_it_begins(
    kinds: dict[str, Path], kind: str, words: list[str], size: int, shared: int
) -> None:
    reader = TextReader.load(kinds[kind], max_tokens=size)
    (windows,) = reader.word_windows([pieces(words)], shared=shared)
    ((whole,),) = TextReader.load(kinds[kind], max_tokens=1000).word_windows([pieces(words)], shared=shared)
    found = best_places(windows)
    read = sorted(word for each in found for word in each.words.tolist())
    assert read == sorted({word for word in whole.words.tolist() if word >= 0})
    first = {word: whole.tokens[whole.words.tolist().index(word)] for word in read}
    for window, scored in zip(windows, found, strict=True):
        assert len(window.tokens) <= size
        assert window.words[scored.places].tolist() == scored.words.tolist()
        assert window.tokens[scored.places].tolist() == [first[word] for word in scored.words.tolist()]
    text = whole.words[whole.words >= 0].tolist()
    chosen = {word: number for number, scored in enumerate(found) for word in scored.words.tolist()}
    for word in read:
        around, start = [], 0
        for window in windows:
            count = int((window.words >= 0).sum())
            around.append(min(text.index(word) - start, start + count - 1 - text.index(word)))
            start += count - shared
        assert chosen[word] == around.index(max(around))
