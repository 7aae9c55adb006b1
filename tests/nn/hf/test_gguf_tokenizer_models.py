"""WordPiece, Unigram and SentencePiece's BPE from GGUF files, against those that they were made from.

The metadata are what ``convert_hf_to_gguf.py`` makes of a tokenizer; where transformers reads the same file, its
encodings are compared too.
"""

from __future__ import annotations

import io
import json
import random
from pathlib import Path
from typing import Any

import pytest
import sentencepiece
import tokenizers
import transformers
from tokenizers import decoders, models, normalizers, pre_tokenizers, trainers

from danlu.errors import CheckpointError
from danlu.nn.hf.gguf_file import GGUFFile
from danlu.nn.hf.gguf_tokenizer import write_tokenizer

gguf = pytest.importorskip("gguf")
theirs = pytest.importorskip("transformers.integrations.gguf.gguf_tokenizer_mapping")

SHARED = Path(__file__).parents[4] / "shared" / "data" / "tokenizers"
NO_DATA = "the shared data are not beside the repository"
NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = 1, 2, 3, 4, 5, 6
TEXTS = [
    "All the world's a stage, and I'LL be there at 12345.67!", "  two  spaces \n\n and\ttabs\r\n", "a", "",
    "天地玄黄，宇宙洪荒。日月盈昃 2024年10月", "naïve Café — “quotes” … 😀👍🏽", "cafe\u0301 [   7,  8]",
    "ﬁne ＡＢＣ ①",
    "def camelCase(x):\n    return HTTPServer[1:]  # 1234 a\n/b", "the stage of the world ▁ ##ing",
]  # fmt: skip
CORPUS = [*TEXTS, "the stage of the world, the world of the stage", "天地 玄黄 天地", "playing played plays"] * 3


def write(path: Path, model: str, tokens: list[str], kinds: list[int], **metadata: Any) -> GGUFFile:
    """A file with a tokenizer and nothing else."""
    writer = gguf.GGUFWriter(path, "t5" if model == "t5" else "bert" if model == "bert" else "llama")
    writer.add_context_length(77)
    writer.add_tokenizer_model(model)
    writer.add_tokenizer_pre("default")
    writer.add_token_list(tokens)
    writer.add_token_types(kinds)
    for key, value in metadata.items():
        getattr(writer, f"add_{key}")(value)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return GGUFFile.open(path)


def imported(file: GGUFFile) -> tokenizers.Tokenizer:
    write_tokenizer(file, file.path.parent)
    return tokenizers.Tokenizer.from_file(str(file.path.parent / "tokenizer.json"))


def read_by_transformers(file: GGUFFile) -> tokenizers.Tokenizer:
    """The ``tokenizers`` tokenizer that ``from_pretrained(…, gguf_file=…)`` builds."""
    architecture, described, _ = theirs.get_gguf_tokenizer(str(file.path))
    found: tokenizers.Tokenizer = theirs.convert_gguf_tokenizer(architecture, described)[0]
    return found


def phantom(token: str, kind: int) -> str:
    """``BertModel.set_vocab`` of the converter."""
    return token if kind == CONTROL else token[2:] if token.startswith("##") else "▁" + token


def bert_file(path: Path, tokens: list[str], **metadata: Any) -> GGUFFile:
    kinds = [CONTROL if token.startswith("[") and token[1:-1].isupper() else NORMAL for token in tokens]
    spelled = [phantom(token, kind) for token, kind in zip(tokens, kinds, strict=True)]
    named = {
        key: tokens.index(f"[{name}]")
        for key, name in (("bos_token_id", "CLS"), ("sep_token_id", "SEP"), ("pad_token_id", "PAD"),
                          ("unk_token_id", "UNK"), ("mask_token_id", "MASK"))
    }  # fmt: skip
    return write(path, "bert", spelled, kinds, token_type_count=2, **{**named, **metadata})


def trained_word_pieces(*, lowercase: bool) -> list[str]:
    inner = tokenizers.Tokenizer(models.WordPiece(unk_token="[UNK]"))
    inner.normalizer = normalizers.BertNormalizer(lowercase=lowercase)
    inner.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    inner.train_from_iterator(
        CORPUS, trainers.WordPieceTrainer(vocab_size=220, special_tokens=special, show_progress=False)
    )
    vocabulary = inner.get_vocab()
    return sorted(vocabulary, key=vocabulary.__getitem__)


def assert_bert(ours: tokenizers.Tokenizer, tokens: list[str], folder: Path, *, lowercase: bool = True) -> None:
    numbers = {token: number for number, token in enumerate(tokens)}
    stock = transformers.BertTokenizer(vocab=numbers, do_lower_case=lowercase)
    again = transformers.AutoTokenizer.from_pretrained(folder)
    for text in [*TEXTS, "a [MASK] b"]:
        expected = stock(text, TEXTS[0])
        assert ours.encode(text).ids == stock(text).input_ids == again(text).input_ids
        assert ours.encode(text, TEXTS[0]).ids == expected.input_ids
        assert ours.encode(text, TEXTS[0]).type_ids == expected.token_type_ids == again(text, TEXTS[0]).token_type_ids
        assert again.decode(expected.input_ids) == stock.decode(expected.input_ids)
    assert (again.cls_token, again.sep_token, again.mask_token, again.pad_token, again.unk_token) == (
        "[CLS]", "[SEP]", "[MASK]", "[PAD]", "[UNK]",
    )  # fmt: skip


@pytest.mark.parametrize("lowercase", [True, False])
def test_word_pieces_are_those_of_the_tokenizer_that_was_converted(lowercase: bool, tmp_path: Path) -> None:
    tokens = trained_word_pieces(lowercase=lowercase)
    assert_bert(imported(bert_file(tmp_path / "x.gguf", tokens)), tokens, tmp_path, lowercase=lowercase)


@pytest.mark.skipif(not SHARED.is_dir(), reason=NO_DATA)
@pytest.mark.parametrize("name", ["bert_en_uncased", "bert_zh"])
def test_berts_own_tokens(name: str, tmp_path: Path) -> None:
    tokens = (SHARED / name / "vocab.txt").read_text(encoding="utf-8").strip("\n").split("\n")
    assert_bert(imported(bert_file(tmp_path / "x.gguf", tokens)), tokens, tmp_path)


def test_a_bert_that_names_no_token_has_berts_own(tmp_path: Path) -> None:
    tokens = [
        "[PAD]",
        *(f"[unused{n}]" for n in range(99)),
        "[UNK]",
        "[CLS]",
        "[SEP]",
        "[MASK]",
        "▁",
        "##▁",
        "a",
        "##b",
    ]
    kinds = [CONTROL if token.startswith("[") and token[1:-1].isupper() else NORMAL for token in tokens]
    spelled = [phantom(token, kind) for token, kind in zip(tokens, kinds, strict=True)]
    ours = imported(write(tmp_path / "x.gguf", "bert", spelled, kinds))
    assert ours.encode("ab b").ids == [101, 106, 107, 100, 102]
    assert [ours.id_to_token(number) for number in range(len(tokens))] == tokens


def trained_unigram(**options: Any) -> tuple[list[str], list[float], list[int]]:
    inner = tokenizers.Tokenizer(models.Unigram())
    inner.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()])
    special = ["<pad>", "</s>", "<unk>"]
    inner.train_from_iterator(
        CORPUS, trainers.UnigramTrainer(vocab_size=180, special_tokens=special, unk_token="<unk>", show_progress=False)
    )
    pieces = json.loads(inner.to_str())["model"]["vocab"]
    kinds = [CONTROL, CONTROL, UNKNOWN, *[NORMAL] * (len(pieces) - 3)]
    return [piece for piece, _ in pieces], [score for _, score in pieces], kinds


NAMED_T5 = {"pad_token_id": 0, "eos_token_id": 1, "unk_token_id": 2}
SPACES = {"add_space_prefix": True, "remove_extra_whitespaces": True}


@pytest.mark.parametrize("named", [NAMED_T5, {}])
def test_unigram_is_the_tokenizer_that_was_converted(named: dict[str, int], tmp_path: Path) -> None:
    tokens, scores, kinds = trained_unigram()
    fillers = [f"[PAD{len(tokens) + number}]" for number in range(128)]
    file = write(
        tmp_path / "x.gguf", "t5", [*tokens, *fillers], [*kinds, *[UNUSED] * 128],
        token_scores=[*scores, *[-10000.0] * 128], **named, **SPACES,
    )  # fmt: skip
    ours = imported(file)
    sentinels = [(f"<extra_id_{99 - number}>", -10000.0) for number in range(100)]
    stock = transformers.T5Tokenizer(vocab=[*zip(tokens, scores, strict=True), *sentinels])
    by_gguf, again = read_by_transformers(file), transformers.AutoTokenizer.from_pretrained(tmp_path)
    for text in [*TEXTS, "the <extra_id_0> of <extra_id_99>"]:
        expected = stock(text).input_ids
        assert ours.encode(text).ids == expected == by_gguf.encode(text).ids == again(text).input_ids
        assert ours.encode(text, "a").ids == stock(text, "a").input_ids
        assert ours.decode(expected) == stock.decode(expected, skip_special_tokens=True)
    assert ours.get_vocab_size() == len(tokens) + 100
    assert (again.pad_token, again.eos_token, again.unk_token) == ("<pad>", "</s>", "<unk>")


def test_spaces_are_kept_where_the_file_says_so(tmp_path: Path) -> None:
    tokens, kinds = ["<pad>", "</s>", "<unk>", "▁", "▁▁▁", "a", "▁a"], [CONTROL, CONTROL, UNKNOWN, *[NORMAL] * 4]
    scores = [0.0, 0.0, 0.0, -3.0, -4.0, -2.0, -2.5]
    kept = write(tmp_path / "x.gguf", "t5", tokens, kinds, token_scores=scores, add_space_prefix=True,
                 remove_extra_whitespaces=False)  # fmt: skip
    assert imported(kept).encode("a   a").tokens == ["▁a", "▁▁▁", "a", "</s>"]
    bare = write(tmp_path / "y.gguf", "t5", tokens, kinds, token_scores=scores, add_space_prefix=False,
                 remove_extra_whitespaces=False)  # fmt: skip
    assert imported(bare).encode("a a").tokens == ["a", "▁a", "</s>"]
    assert imported(bare).decode([5, 6]) == "a a"


def test_words_stay_apart_where_no_space_is_put_before_the_text(tmp_path: Path) -> None:
    """SentencePiece writes the file and says which tokens are right."""
    content = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(CORPUS), model_writer=content, minloglevel=2, vocab_size=300, hard_vocab_limit=False,
        character_coverage=1.0, add_dummy_prefix=False, normalization_rule_name="identity",
        pad_id=0, eos_id=1, unk_id=2, bos_id=-1,
    )  # fmt: skip
    origin = sentencepiece.SentencePieceProcessor(model_proto=content.getvalue())
    pieces = range(origin.get_piece_size())
    kinds = [CONTROL, CONTROL, UNKNOWN, *[NORMAL] * (len(pieces) - 3)]
    file = write(
        tmp_path / "x.gguf", "t5", [origin.id_to_piece(id) for id in pieces],
        kinds, token_scores=[origin.get_score(id) for id in pieces],
        add_space_prefix=False, remove_extra_whitespaces=True, add_eos_token=False, **NAMED_T5,
    )  # fmt: skip
    ours = imported(file)
    assert ours.decode(ours.encode("the stage  of ").ids) == "the stage of"
    for text in TEXTS:
        assert ours.encode(text).ids == origin.encode(text)


def test_unigram_spells_what_it_lacks_in_bytes_where_it_has_them(tmp_path: Path) -> None:
    tokens = ["<pad>", "</s>", "<unk>", *(f"<0x{byte:02X}>" for byte in range(256)), "▁a"]
    kinds = [CONTROL, CONTROL, UNKNOWN, *[BYTE] * 256, NORMAL]
    ours = imported(write(tmp_path / "x.gguf", "t5", tokens, kinds, token_scores=[0.0] * 259 + [-1.0], **SPACES))
    assert ours.encode("a炉").ids == [259, *(3 + byte for byte in "炉".encode()), 1]
    assert ours.decode(ours.encode("a炉").ids) == "a炉"


@pytest.mark.skipif(not SHARED.is_dir(), reason=NO_DATA)
def test_a_sentencepiece_model_with_its_own_rules_for_characters(tmp_path: Path) -> None:
    pytest.importorskip("google.protobuf")
    # The one that transformers takes too: a process can have only one of that name.
    from sentencepiece import sentencepiece_model_pb2

    proto = sentencepiece_model_pb2.ModelProto()
    proto.ParseFromString((SHARED / "spm_zh/cluecorpussmall_spm.model").read_bytes())
    pieces = [(piece.piece, piece.score) for piece in proto.pieces]
    rules = proto.normalizer_spec.precompiled_charsmap
    file = write(
        tmp_path / "x.gguf", "t5", [piece for piece, _ in pieces], [piece.type for piece in proto.pieces],
        token_scores=[score for _, score in pieces], precompiled_charsmap=rules, unk_token_id=1, add_eos_token=False,
        **SPACES,
    )  # fmt: skip
    inner = tokenizers.Tokenizer(models.Unigram(pieces, unk_id=1))  # as the library's own from_spm builds it
    inner.normalizer = normalizers.Sequence(
        [normalizers.Precompiled(rules), normalizers.Strip(), normalizers.Replace(tokenizers.Regex(" {2,}"), " ")]
    )
    inner.pre_tokenizer = pre_tokenizers.Metaspace()
    inner.decoder = decoders.Metaspace()
    ours = imported(file)
    for text in TEXTS:
        assert ours.encode(text).ids == inner.encode(text).ids, text
        ids = inner.encode(text).ids
        assert ours.decode(ids, skip_special_tokens=False) == inner.decode(ids)


def test_sentencepieces_bpe_is_what_transformers_reads(tmp_path: Path) -> None:
    """But for a space at the beginning of a text, which its ``LlamaTokenizer`` takes for the one that it puts there."""
    inner = tokenizers.Tokenizer(models.BPE(byte_fallback=True))
    inner.pre_tokenizer = pre_tokenizers.Metaspace()
    inner.train_from_iterator(CORPUS, trainers.BpeTrainer(vocab_size=260, show_progress=False))
    letters = [token for token in inner.get_vocab() if len(token) == 1]
    words = sorted((token for token in inner.get_vocab() if len(token) > 1), key=inner.token_to_id)
    tokens = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), *words, *letters]
    kinds = [UNKNOWN, CONTROL, CONTROL, *[BYTE] * 256, *[NORMAL] * (len(words) + len(letters))]
    scores = [0.0] * 259 + [-float(number) for number in range(len(words) + len(letters))]
    file = write(
        tmp_path / "x.gguf", "llama", tokens, kinds, token_scores=scores, bos_token_id=1, eos_token_id=2, unk_token_id=0
    )
    ours, stock = imported(file), read_by_transformers(file)
    jumble = "".join(random.Random(0).choices("theworldsag ", k=500)).strip()  # where the order of merges matters
    for text in [*(text for text in TEXTS if not text.startswith(" ")), "new 的 wörds", jumble]:
        ids = stock.encode(text, add_special_tokens=False).ids
        assert ours.encode(text).ids == [1, *ids]
        assert ours.decode(ids) == stock.decode(ids)


REFUSED: dict[str, tuple[str, dict[str, Any], str]] = {
    "unknown": ("bert", {}, "tokenizer.ggml.unknown_token_id is missing"),
    "mask": ("bert", {"mask_token_id": 99, "unk_token_id": 0},
             "tokenizer.ggml.mask_token_id must be the number of one of 3 tokens; got 99"),
    "scores": ("t5", {}, r"tokenizer.ggml.scores must have as many entries as tokenizer.ggml.tokens \(3\)"),
    "trie": ("t5", {"token_scores": [0.0, 0.0, 0.0], "precompiled_charsmap": bytes.fromhex("04000000ffffffff6100")},
             "its tokenizer is damaged: the trie of its precompiled_charsmap is damaged"),
    "long": ("llama", {"token_scores": [0.0, 0.0, 0.0], "unk_token_id": 0},
             "its tokenizer is damaged: it has a piece of 1,500,000 characters; Danlu takes 1,024"),
    "rules": ("t5", {"token_scores": [0.0, 0.0, 0.0], "precompiled_charsmap": b"odd"}, "its tokenizer is damaged"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_refuses_a_tokenizer_that_is_damaged(case: str, tmp_path: Path) -> None:
    model, metadata, message = REFUSED[case]
    file = write(
        tmp_path / "x.gguf", model, ["a", "b", "c" * (1_500_000 if case == "long" else 1)], [NORMAL] * 3, **metadata
    )
    with pytest.raises(CheckpointError, match=message) as error:
        write_tokenizer(file, tmp_path)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "tokenizer.json").exists()
