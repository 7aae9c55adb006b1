"""Training WordPiece, against the tokenizers library and BERT's own tokenizer in ``transformers``."""

from __future__ import annotations

import gzip
import itertools
import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
import transformers
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer as Inner
from tokenizers import models, normalizers, pre_tokenizers, trainers

from danlu.tokenizers import pair_index, word_counts, wordpiece
from danlu.tokenizers.vocabulary import Vocabulary
from danlu.tokenizers.wordpiece import WordPiece

CORPORA = Path(__file__).parents[2] / "corpora"
CORPUS = [
    "It was the best of times, it was the worst of times; the times they are a-changing.\r\n" * 3,
    "话说天下大势，分久必合，合久必分。Naïve café, café!\n" * 2,
    "unbelievable believable believer 1594 1595",
]
TOKENIZER = WordPiece(vocab_size=160).train(CORPUS)

texts = st.one_of(st.text(st.sampled_from("".join(CORPUS))), st.text(st.characters(exclude_categories=["Cs"])))


def bert(folder: Path, *, lowercase: bool) -> transformers.PreTrainedTokenizerBase:
    """BERT's own tokenizer with our vocabulary."""
    tokenizer = WordPiece(vocab_size=160, lowercase=lowercase).train(CORPUS)
    tokens = tokenizer.tokens()
    (folder / "vocab.txt").write_text("".join(f"{token}\n" for token in sorted(tokens, key=lambda each: tokens[each])))
    return transformers.BertTokenizer.from_pretrained(folder, do_lower_case=lowercase)


@pytest.mark.parametrize("lowercase", [True, False])
def test_it_cuts_and_joins_as_berts_tokenizer(lowercase: bool, tmp_path: Path) -> None:
    ours, stock = WordPiece(vocab_size=160, lowercase=lowercase).train(CORPUS), bert(tmp_path, lowercase=lowercase)

    @given(texts)
    def alike(text: str) -> None:
        ids = ours.encode(text)
        # Its end of text, which BERT has not, is text to BERT's tokenizer.
        assert stock(text, add_special_tokens=False, split_special_tokens=True).input_ids == ids
        assert stock.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False) == ours.decode(ids)

    alike()
    assert ours.template() == ([stock.cls_token_id], [stock.sep_token_id])


def test_chinese_characters_stand_apart_and_unknown_words_are_one_token() -> None:
    def pieces(text: str) -> list[str]:
        by_id = {id: token for token, id in TOKENIZER.tokens().items()}
        return [by_id[id] for id in TOKENIZER.encode(text)]

    assert pieces("天下the") == ["天", "下", "the"]
    assert pieces("THE Café") == pieces("the cafe")
    assert pieces("qqq the") == ["[UNK]", "the"]
    assert TOKENIZER.unknown == Vocabulary.of(TOKENIZER).roles["unk"]
    assert WordPiece(vocab_size=160, lowercase=False).train(CORPUS).encode("THE") != TOKENIZER.encode("the")


def library(texts: list[str], trainer: WordPiece) -> dict[str, int]:
    """What the library learns, told first in which order our special tokens and letters come.

    By itself it numbers the letters within words by chance, and the order of pairs that are as frequent depends on it.
    """

    def learn(vocab_size: int, min_frequency: int, first: list[str]) -> dict[str, int]:
        inner = Inner(models.WordPiece(unk_token="[UNK]"))
        inner.normalizer = normalizers.BertNormalizer(lowercase=trainer.lowercase)
        inner.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        learner = trainers.WordPieceTrainer(
            vocab_size=vocab_size, min_frequency=min_frequency, special_tokens=first, initial_alphabet=letters,
            limit_alphabet=len(letters), show_progress=False,
        )  # fmt: skip
        inner.train_from_iterator(texts, learner)
        vocabulary: dict[str, int] = inner.get_vocab(with_added_tokens=False)
        return vocabulary

    normaliser = normalizers.BertNormalizer(lowercase=trainer.lowercase)
    counts = Counter(letter for text in texts for letter in normaliser.normalize_str(text) if not letter.isspace())
    known = trainer.alphabet or trainer.vocab_size // 3
    letters = sorted(counts, key=lambda letter: (-counts[letter], letter))[:known]
    special = ["<|endoftext|>", "[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    pieces = learn(0, 1, special).keys() - special
    return learn(
        trainer.vocab_size, trainer.min_frequency,
        [*special, *sorted(pieces, key=lambda piece: (piece.startswith("##"), piece))],
    )  # fmt: skip


def same_as_the_library(texts: list[str], trainer: WordPiece) -> int:
    """How many tokens both have learned."""
    ours = trainer.train(texts).tokens()
    assert ours == library(texts, trainer)
    return len(ours)


@pytest.mark.parametrize("small", [False, True])
def test_the_vocabulary_is_the_librarys(small: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if small:  # nothing fits, all is cut up, written out and cleared
        monkeypatch.setattr(pair_index, "BLOCK", 2000)
        monkeypatch.setattr(word_counts, "PART", 50)
        monkeypatch.setattr(wordpiece, "WordCounts", lambda: word_counts.WordCounts(most_words=100))
    size = 40_000 if small else 200_000
    english = (CORPORA / "en/tinyshakespeare.txt").read_text(encoding="utf-8")[:size]
    with gzip.open(CORPORA / "zh/classics_zh.jsonl.gz", "rt", encoding="utf-8") as lines:
        chinese = [json.loads(line)["text"][: size // 10] for line in itertools.islice(lines, 3)]
    assert same_as_the_library([english, *chinese], WordPiece(vocab_size=1500)) == 1500
    assert same_as_the_library([english], WordPiece(vocab_size=1000, lowercase=False, alphabet=40)) == 1000
    # Chinese characters are words of their own; those of Tangut, which stand for them here, are cut by nothing.
    unspaced = ["".join(chr(0x17000 + ord(letter) % 6000) if letter > "一" else letter for letter in "".join(chinese))]
    assert same_as_the_library(unspaced, WordPiece(vocab_size=2000, alphabet=700)) > 1000


@given(
    st.lists(
        st.one_of(st.text("abc天, Ç", max_size=30), st.text(st.characters(exclude_categories=["Cs"]), max_size=9))
    ),
    st.integers(1, 3),
    st.integers(3, 9),
)
def test_any_texts_give_the_librarys_vocabulary(texts: list[str], least: int, alphabet: int) -> None:
    """Also where characters are left out, whose neighbours are then neighbours."""
    same_as_the_library(texts, WordPiece(vocab_size=40, min_frequency=least, alphabet=alphabet))


def test_texts_are_read_once_and_their_order_is_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wordpiece, "WordCounts", lambda: word_counts.WordCounts(most_words=3))
    forth, back = (WordPiece(vocab_size=160).train(iter(texts)) for texts in (CORPUS, CORPUS[::-1]))
    assert forth.to_json() == back.to_json() == TOKENIZER.to_json()


def test_ids_follow_kind_code_point_and_frequency() -> None:
    tokenizer = WordPiece(vocab_size=20).train(["ba ba ba ab ab 天"])
    tokens = tokenizer.tokens()
    assert sorted(tokens, key=lambda token: tokens[token])[:6] == [
        "<|endoftext|>", "[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]",
    ]  # fmt: skip
    assert sorted(tokens, key=lambda token: tokens[token])[6:] == ["a", "b", "天", "##a", "##b", "ba", "ab"]


def test_training_does_not_depend_on_threads_or_chance(tmp_path: Path) -> None:
    program = (
        "import random, sys; from pathlib import Path; from danlu.tokenizers.wordpiece import WordPiece\n"
        "chance = random.Random(0)\n"
        "texts = [''.join(chance.choice('abcdefgh天下 ') for _ in range(200)) for _ in range(100)]\n"
        "WordPiece(vocab_size=300, min_frequency=1, alphabet=9).train(texts).save(Path(sys.argv[1]))\n"
    )
    written = []
    for threads in ("1", "4"):
        folder = tmp_path / f"run{len(written)}"
        folder.mkdir()
        environment = {**os.environ, "RAYON_NUM_THREADS": threads}
        subprocess.run([sys.executable, "-c", program, folder], env=environment, check=True)
        written.append((folder / "tokenizer.json").read_bytes())
    assert written[0] == written[1]


def test_rare_characters_are_left_out_and_told(capsys: pytest.CaptureFixture[str]) -> None:
    tokenizer = WordPiece(vocab_size=16, alphabet=3).train(["aaa bb c d d é"])
    letters = {token.removeprefix("##") for token in tokenizer.tokens() if len(token.removeprefix("##")) == 1}
    assert letters == {"a", "b", "d"}
    said = capsys.readouterr().out
    assert "knows the 3 most frequent of 5 characters; the others stand 2 times in the text" in said


def test_the_vocabulary_is_no_larger_than_asked_for() -> None:
    letters = "".join(map(chr, range(0x400, 0x450)))
    words = " ".join(left + right for left in letters for right in letters[::7])
    assert WordPiece(vocab_size=100, min_frequency=1).train([words]).vocab_size == 100
