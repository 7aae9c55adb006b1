"""Saved tokenizers: stock ``transformers`` reads the same ids; streams never break a character."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import tokenizers
import transformers
from hypothesis import given
from hypothesis import strategies as st

from danlu.errors import InputError
from danlu.tokenizers.bpe import BPE
from danlu.tokenizers.char import Char
from danlu.tokenizers.tokenizer import Tokenizer

CORPUS = [
    "It was the best of times, it was the worst of times.\r\n\tIt's 1594 – “yes”, they said!  \n\n" * 2,
    "话说天下大势，分久必合，合久必分。话说天下大势，分久必合，合久必分。\n",
    "a cafe\u0301 and a café 👩\u200d👩\u200d👧\u00a0\u3000 ﷺ do n't , why ?",
]
TRAINED = {"bpe": BPE(vocab_size=400).train(CORPUS), "char": Char().train(CORPUS)}

texts = st.one_of(st.text(st.sampled_from("".join(CORPUS))), st.text(st.characters(exclude_categories=["Cs"])))
kinds = st.sampled_from(sorted(TRAINED))


@pytest.fixture(scope="module")
def stock(tmp_path_factory: pytest.TempPathFactory) -> dict[str, transformers.PreTrainedTokenizerBase]:
    """The saved tokenizers as ``AutoTokenizer`` reads them."""
    folders = {kind: tmp_path_factory.mktemp(kind) for kind in TRAINED}
    for kind, folder in folders.items():
        TRAINED[kind].save(folder)
    return {kind: transformers.AutoTokenizer.from_pretrained(folder) for kind, folder in folders.items()}


@given(kinds, texts)
def test_transformers_gives_the_same_ids(
    stock: dict[str, transformers.PreTrainedTokenizerBase], kind: str, text: str
) -> None:
    ids = TRAINED[kind].encode(text)
    assert stock[kind](text)["input_ids"] == ids
    if TRAINED[kind].unknown not in ids:
        assert stock[kind].decode(ids) == TRAINED[kind].decode(ids) == text


@pytest.mark.parametrize("kind", sorted(TRAINED))
def test_transformers_knows_the_special_token(
    stock: dict[str, transformers.PreTrainedTokenizerBase], kind: str
) -> None:
    assert stock[kind].eos_token_id == stock[kind].bos_token_id == TRAINED[kind].eot == 0
    assert stock[kind].pad_token is None
    assert len(stock[kind]) == TRAINED[kind].vocab_size
    spelled = "It was<|endoftext|>"
    assert stock[kind](spelled)["input_ids"] == [*TRAINED[kind].encode("It was"), 0]
    assert stock[kind](spelled, split_special_tokens=True)["input_ids"] == TRAINED[kind].encode(spelled)


@pytest.mark.parametrize("kind", sorted(TRAINED))
@pytest.mark.parametrize("family", ["llama", "qwen3", "nanochat", "gpt2"])
def test_it_stays_the_same_beside_a_model(tmp_path: Path, kind: str, family: str) -> None:
    TRAINED[kind].save(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"model_type": family}))
    beside = transformers.AutoTokenizer.from_pretrained(tmp_path)
    for text in CORPUS:
        assert beside(text)["input_ids"] == TRAINED[kind].encode(text)


@pytest.mark.parametrize("kind", sorted(TRAINED))
def test_saved_loaded_saved_is_the_same(tmp_path: Path, kind: str) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    TRAINED[kind].save(tmp_path / "one")
    loaded = Tokenizer.load(tmp_path / "one")
    loaded.save(tmp_path / "two")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    assert (loaded.vocab_size, loaded.eot, loaded.unknown) == (
        TRAINED[kind].vocab_size,
        TRAINED[kind].eot,
        TRAINED[kind].unknown,
    )
    for text in (*CORPUS, "<|endoftext|><|unknown|>"):
        assert loaded.encode(text) == TRAINED[kind].encode(text)


@given(kinds, st.lists(st.integers(0, 10_000), max_size=60))
def test_any_ids_decode_as_the_library_decodes_them(kind: str, numbers: list[int]) -> None:
    tokenizer = TRAINED[kind]
    ids = [number % tokenizer.vocab_size for number in numbers]
    ids = [id for id in ids if id != tokenizer.unknown]
    library = tokenizers.Tokenizer.from_str(tokenizer.to_json())
    assert tokenizer.decode(ids) == library.decode(ids, skip_special_tokens=True)


@given(kinds, st.lists(st.integers(0, 10_000), max_size=60))
def test_a_stream_gives_the_whole_text(kind: str, numbers: list[int]) -> None:
    tokenizer = TRAINED[kind]
    ids = [number % tokenizer.vocab_size for number in numbers]
    stream = tokenizer.stream()
    assert "".join([*(stream.push(id) for id in ids), stream.flush()]) == tokenizer.decode(ids)


@given(texts)
def test_a_stream_never_shows_half_a_character(text: str) -> None:
    tokenizer = BPE(vocab_size=257).train([])  # every token a byte
    stream = tokenizer.stream()
    shown = ""
    for id in tokenizer.encode(text):
        shown += stream.push(id)
        assert text.startswith(shown)
    assert shown == text
    assert stream.flush() == ""


def test_an_unfinished_character_is_marked_at_the_end() -> None:
    tokenizer = BPE(vocab_size=257).train([])
    first, second, _ = tokenizer.encode("中")
    stream = tokenizer.stream()
    assert [stream.push(first), stream.push(second), stream.flush()] == ["", "", "\ufffd"]
    assert stream.push(tokenizer.eot) == ""


def test_end_of_text_is_no_text() -> None:
    for tokenizer in TRAINED.values():
        assert tokenizer.decode([0, *tokenizer.encode("It was"), 0]) == "It was"


def break_json(folder: Path) -> None:
    path = folder / "tokenizer.json"
    path.write_bytes(path.read_bytes()[:100])


def break_config(folder: Path) -> None:
    (folder / "tokenizer_config.json").write_text("{")


def name_no_token(folder: Path) -> None:
    (folder / "tokenizer_config.json").write_text('{"eos_token": "</s>"}')


def change_decoder(folder: Path) -> None:
    path = folder / "tokenizer.json"
    ctc = {"type": "CTC", "pad_token": "_", "word_delimiter_token": "|", "cleanup": True}
    path.write_text(json.dumps({**json.loads(path.read_text()), "decoder": ctc}))


@pytest.mark.parametrize(
    ("damage", "line"),
    [
        (lambda folder: (folder / "tokenizer.json").unlink(), r"no tokenizer in .*: .*tokenizer\.json is missing"),
        (
            lambda folder: (folder / "tokenizer_config.json").unlink(),
            r"no tokenizer in .*tokenizer_config\.json is missing",
        ),
        (break_json, r"the tokenizer in .* is damaged: "),
        (break_config, r"the tokenizer in .* is damaged: "),
        (name_no_token, r"tokenizer_config\.json names no token of tokenizer\.json as eos_token: '</s>'"),
        (change_decoder, r"tokenizer\.json has the decoder CTC; Danlu reads ByteFallback, ByteLevel, Fuse, "),
    ],
)
def test_a_damaged_folder_is_told_in_one_line(tmp_path: Path, damage: object, line: str) -> None:
    TRAINED["bpe"].save(tmp_path)
    damage(tmp_path)  # type: ignore[operator]
    with pytest.raises(InputError, match=line) as error:
        Tokenizer.load(tmp_path)
    assert "\n" not in str(error.value)
