"""Our Unigram in SentencePiece's own file: the same ids by whatever reads that."""

from __future__ import annotations

import gzip
import json
import shutil
from pathlib import Path

import pytest
import sentencepiece
import transformers
from hypothesis import given
from hypothesis import strategies as st

from danlu.tokenizers.bpe import BPE
from danlu.tokenizers.extend import Extend
from danlu.tokenizers.folder import read_tokenizer_file
from danlu.tokenizers.sentencepiece import BYTE, CONTROL, NORMAL, UNKNOWN, SentencePieceFile
from danlu.tokenizers.spiece import SPIECE
from danlu.tokenizers.tokenizer import END_OF_TEXT, Tokenizer
from danlu.tokenizers.unigram import ALWAYS, BYTES, Unigram

CORPORA = Path(__file__).parents[2] / "corpora"
with gzip.open(CORPORA / "zh/classics_zh.jsonl.gz", "rt", encoding="utf-8") as lines:
    CORPUS = [json.loads(next(lines))["text"][:20_000] for _ in range(2)]
CORPUS.append((CORPORA / "en/tinyshakespeare.txt").read_text(encoding="utf-8")[:20_000])
SIZE = 6 + len(BYTES) + len(ALWAYS) + 1500
TOKENIZER = Unigram(vocab_size=SIZE, special=["bert"]).train(CORPUS)
TEXTS = [
    *CORPUS, "", " ", "  two   spaces  ", "\n\n a \t\r\n b\n", "话说天下大势，分久必合。", "👩‍👩‍👧 龘 ﷺ Ⅳ ﬁ",
    "naïve cafe\u0301",
    "\0\x01\x1b\x7f\x85\u2028\ufeff", "aaaaaaaaaaaaaaaaaaaa", "<|endoftext|>[MASK]<unk><0x41>", "\u2585 \u3000 \xa0",
]  # fmt: skip
STRETCHES = [text[place : place + 12] for text in CORPUS for place in range(0, len(text), 11)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("unigram")
    TOKENIZER.save(folder)
    return folder


@pytest.fixture(scope="module")
def alone(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with nothing but the SentencePiece file."""
    alone = tmp_path_factory.mktemp("alone")
    shutil.copy(folder / SPIECE, alone)
    return alone


def test_sentencepiece_gives_the_same_ids_and_texts(folder: Path) -> None:
    processor = sentencepiece.SentencePieceProcessor(model_file=str(folder / SPIECE))
    texts = st.lists(
        st.one_of(st.sampled_from(STRETCHES), st.text(st.characters(exclude_categories=["Cs"], exclude_characters="▁")))
    ).map("".join)

    def alike(text: str) -> None:
        ids = TOKENIZER.encode(text)
        assert processor.encode(text) == ids
        assert processor.decode(ids) == TOKENIZER.decode(ids) == text

    for text in TEXTS:
        alike(text)
    given(texts)(alike)()


def test_what_the_file_has_no_room_for_is_its_own_mark_for_a_space(folder: Path) -> None:
    processor = sentencepiece.SentencePieceProcessor(model_file=str(folder / SPIECE))
    assert processor.encode("a▁b") == TOKENIZER.encode("a b") != TOKENIZER.encode("a▁b")
    assert TOKENIZER.decode(TOKENIZER.encode("a▁b")) == "a▁b"


def test_its_pieces_are_of_their_types(folder: Path) -> None:
    processor = sentencepiece.SentencePieceProcessor(model_file=str(folder / SPIECE))
    assert len(processor) == TOKENIZER.vocab_size
    roles = (processor.bos_id(), processor.eos_id(), processor.pad_id(), processor.unk_id())
    assert roles == (TOKENIZER.eot, TOKENIZER.eot, TOKENIZER.special("pad_token"), TOKENIZER.unknown)
    file = SentencePieceFile.parse((folder / SPIECE).read_bytes())
    by_type = {type: [piece.text for piece in file.pieces if piece.type == type] for type in (UNKNOWN, CONTROL, BYTE)}
    assert by_type == {UNKNOWN: ["<unk>"], CONTROL: [END_OF_TEXT, "[PAD]", "[CLS]", "[SEP]", "[MASK]"], BYTE: BYTES}
    pieces = {piece.text for piece in file.pieces if piece.type == NORMAL}
    assert "▁the" in pieces and not any(" " in piece for piece in pieces)


def test_transformers_reads_folder_and_file_alike(folder: Path) -> None:
    fast = transformers.AutoTokenizer.from_pretrained(folder)
    # One of the classes that have SentencePiece itself behind them, and do to a text no more than the file says.
    slow = transformers.BertGenerationTokenizer(
        vocab_file=str(folder / SPIECE), bos_token=END_OF_TEXT, eos_token=END_OF_TEXT, pad_token="[PAD]",
        sep_token="[SEP]", unk_token="<unk>",
    )  # fmt: skip
    for text in TEXTS:
        for stock in (fast, slow):
            ids = stock(text, add_special_tokens=False, split_special_tokens=True).input_ids
            assert ids == TOKENIZER.encode(text)
    assert len(fast) == len(slow) == TOKENIZER.vocab_size


@pytest.mark.parametrize("kind", ["T5Tokenizer", "AlbertTokenizer"])
def test_classes_that_change_spaces_whatever_the_file_says(kind: str, alone: Path) -> None:
    """Both put a space before a text and make one of several, and know no bytes; the ids are ours of such a text."""
    special = dict.fromkeys(("bos_token", "eos_token", "pad_token"), END_OF_TEXT)
    own = {"extra_ids": 0} if kind == "T5Tokenizer" else {"do_lower_case": False, "keep_accents": True}
    stock = getattr(transformers, kind).from_pretrained(alone, unk_token="<unk>", **special, **own)
    for stretch in ("It was the best", "  话说天下大势， \n 分久必合。", *STRETCHES[:300:7]):
        text = "".join(letter for letter in stretch if letter in TOKENIZER.tokens())
        ids = stock(text, add_special_tokens=False, split_special_tokens=True).input_ids
        assert ids == TOKENIZER.encode("".join(f" {word}" for word in text.split()))


def test_our_own_reader_gives_the_same_ids(folder: Path) -> None:
    inner = read_tokenizer_file(folder / SPIECE)
    inner.encode_special_tokens = True
    for text in TEXTS:
        assert inner.encode(text, add_special_tokens=False).ids == TOKENIZER.encode(text)


def test_scores_add_up_exactly_in_32_bits(folder: Path) -> None:
    """Of two ways to cut a text that are as likely, SentencePiece takes the same one as the tokenizers library."""
    scores = [piece.score for piece in SentencePieceFile.parse((folder / SPIECE).read_bytes()).pieces]
    assert all((1024 * score).is_integer() for score in scores)
    assert len(set(scores)) > 200
    processor = sentencepiece.SentencePieceProcessor(model_file=str(folder / SPIECE))
    for number in range(1, 400):
        assert processor.encode("e" * number + " the") == TOKENIZER.encode("e" * number + " the")


def test_what_such_a_file_cannot_say_has_none(folder: Path, tmp_path: Path) -> None:
    Extend(path=folder, add=20).train(["zebra zebras " * 50]).save(tmp_path)  # which scores finer than 32 bits hold
    BPE(vocab_size=300).train(["a b"]).save(tmp_path)
    assert not (tmp_path / SPIECE).exists()
    state = json.loads(TOKENIZER.to_json())
    for changed in (
        {"normalizer": {"type": "NFC"}},
        {"pre_tokenizer": {"type": "WhitespaceSplit"}},
        {"decoder": None},
        {"added_tokens": [*state["added_tokens"], {**state["added_tokens"][0], "id": SIZE + 9, "content": "<new>"}]},
        {"added_tokens": [{**each, "special": False} for each in state["added_tokens"]]},
        {"model": {**state["model"], "byte_fallback": False}},
    ):
        TOKENIZER.rebuilt(json.dumps({**state, **changed})).save(tmp_path)
        assert not (tmp_path / SPIECE).exists(), changed
    Tokenizer.load(folder).save(tmp_path)
    assert (tmp_path / SPIECE).read_bytes() == (folder / SPIECE).read_bytes()
