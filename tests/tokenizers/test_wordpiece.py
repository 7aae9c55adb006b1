"""Training WordPiece, against the tokenizers library and BERT's own tokenizer in ``transformers``."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import transformers
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer as Inner
from tokenizers import models, normalizers, pre_tokenizers, trainers

from danlu.tokenizers.vocabulary import Vocabulary
from danlu.tokenizers.wordpiece import WordPiece

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


def test_the_pieces_are_those_of_the_library() -> None:
    """On a text where no two pairs are equally frequent: which of those comes first is chance there."""
    text = ["abcde " * 7 + "abcd " * 5 + "abc " * 3 + "ab " * 2]
    theirs = Inner(models.WordPiece(unk_token="[UNK]"))
    theirs.normalizer, theirs.pre_tokenizer = normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer()
    special = ["<|endoftext|>", "[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    trainer = trainers.WordPieceTrainer(vocab_size=17, special_tokens=special, show_progress=False)
    theirs.train_from_iterator(text, trainer)
    ours = WordPiece(vocab_size=17, alphabet=5).train(text)
    assert ours.tokens().keys() == theirs.get_vocab().keys()
    assert [token for token, id in sorted(ours.tokens().items(), key=lambda item: item[1]) if id > 14] == [
        "ab", "abc",
    ]  # fmt: skip


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
