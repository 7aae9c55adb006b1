"""SentencePiece files: tokens against SentencePiece itself and ``transformers``."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
import sentencepiece
import transformers

from danlu.errors import InputError
from danlu.tokenizers.sentencepiece import SentencePieceFile
from danlu.tokenizers.tokenizer import Tokenizer

CORPUS = [
    "It was the best of times, it was the worst of times. It's 1594 – “yes”, they said!",
    "话说天下大势，分久必合，合久必分。",
    "a café and why ? naïve 👩 the quick brown fox jumps over the lazy dog",
] * 3
TEXTS = [
    *CORPUS[:3], "a\nb\tc  d  ", "the\n\ntimes", "😀 漢字 rare ﷺ Ⅳ ﬁ", "", "naïve cafe\u0301", "brown<0x41>", "▁a▁",
    "  two",
]  # fmt: skip
T5 = {"model_type": "unigram", "pad_id": 0, "eos_id": 1, "unk_id": 2, "bos_id": -1}
LLAMA = {
    "model_type": "bpe", "byte_fallback": True, "normalization_rule_name": "identity",
    "remove_extra_whitespaces": False, "character_coverage": 0.98,
}  # fmt: skip


def train(path: Path, **settings: Any) -> sentencepiece.SentencePieceProcessor:
    """Write a file, and read it as SentencePiece does."""
    file = io.BytesIO()
    settings = {"vocab_size": 400, "hard_vocab_limit": False, "character_coverage": 1.0, **settings}
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(CORPUS), model_writer=file, minloglevel=2, **settings
    )
    path.write_bytes(file.getvalue())
    return sentencepiece.SentencePieceProcessor(model_proto=file.getvalue())


def t5(folder: Path, **settings: Any) -> sentencepiece.SentencePieceProcessor:
    (folder / "config.json").write_text('{"model_type": "t5"}')
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    return train(folder / "spiece.model", **T5)


def llama(folder: Path, **settings: Any) -> sentencepiece.SentencePieceProcessor:
    (folder / "config.json").write_text('{"model_type": "llama"}')
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "LlamaTokenizer", **settings}))
    return train(folder / "tokenizer.model", **LLAMA)


@pytest.mark.parametrize(
    ("write", "settings"),
    [(t5, {}), (t5, {"extra_ids": 0}), (t5, {"extra_ids": 7}),
     (llama, {}), (llama, {"add_bos_token": True}), (llama, {"add_bos_token": True, "add_eos_token": True})],
    ids=lambda value: getattr(value, "__name__", str(value)),
)  # fmt: skip
def test_a_file_is_read_as_sentencepiece_and_transformers_read_it(
    tmp_path: Path, write: Any, settings: dict[str, Any]
) -> None:
    origin = write(tmp_path, **settings)
    ours, stock = Tokenizer.load(tmp_path), transformers.AutoTokenizer.from_pretrained(tmp_path)
    for text in TEXTS:
        ids = ours.encode(text)
        # SentencePiece puts a space before one that is there, T5's takes both away, transformers' Llama keeps one.
        assert ids == origin.encode(text) or (write is llama and text.startswith((" ", "▁")))
        assert ids == stock(text, add_special_tokens=False, split_special_tokens=True).input_ids
        assert ours.decode(ids) == stock.decode(ids, skip_special_tokens=True)
        if origin.unk_id() not in ids:
            assert ours.decode(ids) == origin.decode(ids)
    before, after = ours.template()
    assert stock("the").input_ids == [*before, *ours.encode("the"), *after]
    assert (ours.vocab_size, ours.eot, ours.bos) == (len(stock), stock.eos_token_id, stock.bos_token_id)
    special = [id for id in range(ours.vocab_size) if not ours.begun([id])]
    assert special == [id for id in range(len(stock)) if stock.decode([id], skip_special_tokens=True) == ""
                       and stock.convert_ids_to_tokens(id) not in ("▁", "<0x20>")]  # fmt: skip


@pytest.mark.parametrize("rules", ["nmt_nfkc", "identity"])
@pytest.mark.parametrize("write", [t5, llama])
def test_texts_that_get_no_space_before_them_keep_one_between_words(tmp_path: Path, write: Any, rules: str) -> None:
    """With ``remove_extra_whitespaces``, which SentencePiece has by default."""
    write(tmp_path)
    path, model_type = (tmp_path / "spiece.model", "unigram") if write is t5 else (tmp_path / "tokenizer.model", "bpe")
    origin = train(path, model_type=model_type, add_dummy_prefix=False, normalization_rule_name=rules)
    ours = Tokenizer.load(tmp_path)
    assert ours.decode(ours.encode("the best times")) == "the best times"
    for text in [*TEXTS, "the best times", "  a   b  ", "\n a \n b\n", "a ▁ b", "▁▁a", "a▁ "]:
        assert ours.encode(text) == origin.encode(text)
        if origin.unk_id() not in ours.encode(text) and not text.startswith("▁"):
            assert ours.decode(ours.encode(text)) == origin.decode(ours.encode(text))


def test_symbols_of_the_users_stay_whole(tmp_path: Path) -> None:
    settings: dict[str, Any] = {**LLAMA, "user_defined_symbols": ["<sep>"], "control_symbols": ["<mode>"]}
    llama(tmp_path)
    origin = train(tmp_path / "tokenizer.model", **settings)
    ours = Tokenizer.load(tmp_path)
    for text in ("a<sep>b", "the <sep> times", "b<sep>", "a<mode>b"):
        assert ours.encode(text) == origin.encode(text)
        assert ours.decode(ours.encode(text)) == text
    assert ours.decode([origin.piece_to_id("<mode>")]) == ""


def test_a_file_says_what_it_holds(tmp_path: Path) -> None:
    origin = train(tmp_path / "a.model", **LLAMA, add_dummy_prefix=False)
    file = SentencePieceFile.parse((tmp_path / "a.model").read_bytes())
    assert [(piece.text, piece.score) for piece in file.pieces] == [
        (origin.id_to_piece(id), origin.get_score(id)) for id in range(origin.get_piece_size())
    ]
    assert (file.model_type, file.byte_fallback, file.charsmap) == (2, True, b"")
    assert (file.dummy_prefix, file.remove_extra_spaces, file.unknown) == (False, False, origin.unk_id())


@pytest.mark.parametrize("charsmap", ["04000000ffffffff6100", "000000006100", "0400000000000000", "ffffffff"])
def test_rules_for_characters_that_lead_nowhere_are_told(
    tmp_path: Path, charsmap: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """The library would panic at the first text, with a traceback of its own."""
    t5(tmp_path)
    content = bytes.fromhex(charsmap)
    normaliser = b"\x12" + bytes([len(content)]) + content
    with (tmp_path / "spiece.model").open("ab") as file:  # of two, the last counts
        file.write(b"\x1a" + bytes([len(normaliser)]) + normaliser)
    with pytest.raises(InputError, match=r"the tokenizer in .* is damaged: .*precompiled_charsmap") as error:
        Tokenizer.load(tmp_path)
    assert "\n" not in str(error.value)
    assert capfd.readouterr().err == ""


def field(number: int, content: bytes) -> bytes:
    """A field of a protocol buffer, of less than 2**21 bytes."""
    sizes = [len(content) & 0x7F | 0x80, len(content) >> 7 & 0x7F | 0x80, len(content) >> 14]
    return bytes([number << 3 | 2, *sizes]) + content


@pytest.mark.parametrize("extra", [1_000_000_000, -1, "100", 1.5, None])
def test_sentinels_without_number_are_told(tmp_path: Path, extra: Any) -> None:
    t5(tmp_path, extra_ids=extra)
    with pytest.raises(InputError, match=r"extra_ids beside .*spiece\.model must be a number from 0 to 100,000; got "):
        Tokenizer.load(tmp_path)


def test_a_piece_without_measure_is_told(tmp_path: Path) -> None:
    """To cut it in every place would take hours."""
    llama(tmp_path)
    with (tmp_path / "tokenizer.model").open("ab") as file:
        file.write(field(1, field(1, b"a" * 1_500_000)))
    with pytest.raises(InputError, match="is damaged: it has a piece of 1,500,000 characters; Danlu takes 1,024"):
        Tokenizer.load(tmp_path)


def test_a_file_without_an_unknown_piece_is_told(tmp_path: Path) -> None:
    t5(tmp_path)
    (tmp_path / "spiece.model").write_bytes(field(1, field(1, b"a")) + field(1, field(1, b"</s>")))
    with pytest.raises(InputError, match="is damaged: it has no unknown piece"):
        Tokenizer.load(tmp_path)


def test_other_kinds_and_damage_are_told(tmp_path: Path) -> None:
    llama(tmp_path)
    path = tmp_path / "tokenizer.model"
    whole = path.read_bytes()
    train(path, model_type="char")
    with pytest.raises(InputError, match=r"model type 4; Danlu reads 1 \(Unigram\) and 2 \(BPE\)"):
        Tokenizer.load(tmp_path)
    for damaged in (whole[:-3], whole[:1000], b"", b"<html>", b"version https://git-lfs.github.com/spec/v1\n"):
        path.write_bytes(damaged)
        with pytest.raises(InputError, match=r"the tokenizer in .* is damaged: ") as error:
            Tokenizer.load(tmp_path)
        assert "\n" not in str(error.value)
