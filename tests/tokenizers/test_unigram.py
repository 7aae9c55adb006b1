"""Unigram pieces: SentencePiece's own, and what is around them."""

from __future__ import annotations

import gzip
import io
import json
from pathlib import Path

import pytest
import sentencepiece
import transformers
from hypothesis import given
from hypothesis import strategies as st

from danlu.errors import InputError, RecipeError
from danlu.recipe import build
from danlu.tokenizers.sentencepiece import SPACE
from danlu.tokenizers.spiece import GRID
from danlu.tokenizers.stage import TrainTokenizer
from danlu.tokenizers.unigram import ALWAYS, BYTES, THREADS, Unigram

CORPORA = Path(__file__).parents[2] / "corpora"
with gzip.open(CORPORA / "zh/classics_zh.jsonl.gz", "rt", encoding="utf-8") as lines:
    CORPUS = [json.loads(next(lines))["text"] for _ in range(2)]
CORPUS = [text[:30_000] for text in [*CORPUS, (CORPORA / "en/tinyshakespeare.txt").read_text(encoding="utf-8")]]
SIZE = 2 + len(BYTES) + len(ALWAYS) + 2000
TOO_MANY = (
    r"^tokenizer\.character_coverage 1\.0 keeps 256 characters besides ASCII; "
    r"tokenizer\.vocab_size 400 has room for 45 of them$"
)
TOKENIZER = Unigram(vocab_size=SIZE).train(CORPUS)


def processor() -> sentencepiece.SentencePieceProcessor:
    """SentencePiece by itself, with the same settings."""
    model, sentences = io.BytesIO(), filter(None, "\n".join(CORPUS).split("\n"))
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(sentences), model_writer=model, vocab_size=SIZE - 2 - 256 - 2,
        hard_vocab_limit=False, required_chars="".join(ALWAYS[:-4]), normalization_rule_name="identity",
        add_dummy_prefix=False, remove_extra_whitespaces=False, unk_id=0, bos_id=-1, eos_id=-1, pad_id=-1,
        num_threads=THREADS, minloglevel=2, byte_fallback=False,
    )  # fmt: skip
    return sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())


PROCESSOR = processor()


KNOWN = sorted((set("".join(CORPUS)) | set("xyz!?[]")) & TOKENIZER.tokens().keys() - {"\n"})
STRETCHES = [
    line[place : place + 15] for text in CORPUS for line in text.split("\n") for place in range(0, len(line), 7)
]


@given(st.lists(st.one_of(st.sampled_from(KNOWN), st.sampled_from(STRETCHES))).map("".join))
def test_texts_are_cut_as_sentencepiece_cuts_them(text: str) -> None:
    text = "".join(each for each in text if each in KNOWN)
    by_id = {id: token for token, id in TOKENIZER.tokens().items()}
    ours = [by_id[id] for id in TOKENIZER.encode(text)]
    theirs = [piece.replace(SPACE, " ") for piece in PROCESSOR.encode(text, out_type=str)]
    assert "".join(ours) == "".join(theirs) == text
    score = {
        piece: PROCESSOR.get_score(id) for id, piece in enumerate(map(PROCESSOR.id_to_piece, range(len(PROCESSOR))))
    }
    worth = [sum(score[piece.replace(" ", SPACE)] for piece in pieces) for pieces in (ours, theirs)]
    assert worth[0] == pytest.approx(worth[1], abs=(len(ours) + len(theirs)) * GRID / 2 + 1e-5 * (len(text) + 1))


def test_the_vocabulary_is_special_tokens_bytes_and_pieces() -> None:
    tokens = TOKENIZER.tokens()
    in_order = sorted(tokens, key=lambda token: tokens[token])
    assert in_order[: 2 + 256] == ["<|endoftext|>", "<unk>", *BYTES]
    assert len(tokens) == TOKENIZER.vocab_size <= SIZE
    assert set(ALWAYS) <= tokens.keys()
    assert {"▁", "▁was"} & tokens.keys() == set()
    assert any(len(token) > 2 and token.startswith(" ") for token in tokens)
    assert any(len(token) > 1 and token[0] in "曹刘天" for token in tokens)
    assert all(" " not in token[1:] for token in tokens)


def test_a_character_without_a_piece_is_its_bytes() -> None:
    ids = TOKENIZER.encode("龘")
    assert [BYTES[id - 2] for id in ids] == ["<0xE9>", "<0xBE>", "<0x98>"]
    assert TOKENIZER.decode(ids) == "龘"
    assert TOKENIZER.decode(TOKENIZER.encode("<0xE4><0xB8><0xB9> ▁ \u2585")) == "<0xE4><0xB8><0xB9> ▁ \u2585"


@pytest.mark.parametrize("sets", [["t5"], ["bert"]])
def test_it_is_framed_as_t5s_and_berts(sets: list[str], tmp_path: Path) -> None:
    tokenizer = Unigram(vocab_size=SIZE + 110, special=sets).train(CORPUS)  # type: ignore[arg-type]
    tokenizer.save(tmp_path)
    stock = transformers.AutoTokenizer.from_pretrained(tmp_path)
    tokens = stock.convert_ids_to_tokens(stock("it was").input_ids)
    frame = ([], ["<|endoftext|>"]) if sets == ["t5"] else (["[CLS]"], ["[SEP]"])
    inner = stock.convert_ids_to_tokens(tokenizer.encode("it was"))
    assert tokens == [*frame[0], *inner, *frame[1]]


def test_a_line_of_any_length_is_learned_from() -> None:
    """SentencePiece leaves out lines that are longer than it is told."""
    text = "话说天下大势" * 5000
    assert any("天下" in token for token in Unigram(vocab_size=SIZE).train([text]).tokens())


def test_a_vocabulary_that_is_too_small_is_told_in_one_line() -> None:
    with pytest.raises(RecipeError) as refused:
        build(TrainTokenizer, {"use": "unigram", "vocab_size": 300}, key="tokenizer")
    assert str(refused.value) == (
        "tokenizer: vocab_size must be at least 356 (256 bytes, 98 characters and 2 special tokens); got 300"
    )
    many = "".join(map(chr, range(0x4E00, 0x4F00)))
    with pytest.raises(InputError, match=TOO_MANY):
        Unigram(vocab_size=400, character_coverage=1.0).train([many])
