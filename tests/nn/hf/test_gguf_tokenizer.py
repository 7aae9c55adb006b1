"""Tokenizers in GGUF files against those that they were made from."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tokenizers
from tokenizers import Regex, decoders, models, normalizers, pre_tokenizers, trainers

from danlu.errors import CheckpointError
from danlu.nn.hf.gguf_file import GGUFFile
from danlu.nn.hf.gguf_tokenizer import write_tokenizer
from danlu.tokenizers.tokenizer import Tokenizer

gguf = pytest.importorskip("gguf")
transformers = pytest.importorskip("transformers")
their_splits = pytest.importorskip("transformers.integrations.gguf.gguf_tokenizer_mapping").GGUF_PRE_TOKENIZER_SPLITS

SHARED = Path(__file__).parents[4] / "shared" / "data"
TEXTS = [
    "All the world's a stage, and I'LL be there at 12345.67!", "  two  spaces \n\n and\ttabs\r\n",
    "It's 2024; that's 10x",
    "天地玄黄，宇宙洪荒。日月盈昃 2024年10月", "naïve café — “quotes” … 😀👍🏽", "cafe\u0301 [   7,  8]",
    "def camelCase(x):\n    return HTTPServer[1:]  # 1234 a\n/b", "",
]  # fmt: skip
CORPUS = [*TEXTS, "the stage of the world, the world of the stage", "天地 玄黄 天地", "100 1000 2024 12 345 678"] * 3


def split(pattern: str) -> Any:
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    return pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(pattern), "isolated"), byte_level])


def digits() -> Any:
    """As SmolLM2's ``tokenizer.json`` has it."""
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    return pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), byte_level])


PRE: dict[str, Callable[[], Any]] = {
    "gpt-2": lambda: pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True),
    "smollm": digits,
    "llama-bpe": lambda: split(their_splits["llama-bpe"]),
    "qwen2": lambda: split(their_splits["qwen2"]),
    "tekken": lambda: split(their_splits["tekken"]),
}


def trained(pre: str) -> tokenizers.Tokenizer:
    inner = tokenizers.Tokenizer(models.BPE())
    inner.pre_tokenizer = PRE[pre]()
    inner.decoder = decoders.ByteLevel()
    if pre == "qwen2":
        inner.normalizer = normalizers.NFC()
    trainer = trainers.BpeTrainer(
        vocab_size=420, special_tokens=["<|end|>", "<|im_start|>"], show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )  # fmt: skip
    inner.train_from_iterator(CORPUS, trainer)
    return inner


def write(path: Path, tokens: list[str], kinds: list[int], **metadata: Any) -> GGUFFile:
    """A file with a tokenizer and nothing else."""
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_context_length(77)
    writer.add_token_list(tokens)
    writer.add_token_types(kinds)
    for key, value in metadata.items():
        add = {str: writer.add_string, bool: writer.add_bool, int: writer.add_uint32, list: writer.add_array}[
            type(value)
        ]
        add(f"tokenizer.{key.replace('__', '.')}", value)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return GGUFFile.open(path)


def byte_level_file(path: Path, inner: tokenizers.Tokenizer, pre: str, **metadata: Any) -> GGUFFile:
    model = json.loads(inner.to_str())["model"]
    tokens = sorted(model["vocab"], key=model["vocab"].__getitem__)
    kinds = [3 if token.startswith("<|") else 1 for token in tokens]
    merges = [" ".join(merge) for merge in model["merges"]]
    return write(
        path, [*tokens, "[PAD1]"], [*kinds, 5],
        **{"ggml__model": "gpt2", "ggml__pre": pre, "ggml__merges": merges, "ggml__eos_token_id": 0, **metadata},
    )  # fmt: skip


@pytest.mark.parametrize("pre", PRE)
def test_byte_level_tokens_are_those_of_the_tokenizer_that_was_converted(pre: str, tmp_path: Path) -> None:
    original = trained(pre)
    write_tokenizer(byte_level_file(tmp_path / "x.gguf", original, pre, ggml__add_bos_token=False), tmp_path)
    ours = Tokenizer.load(tmp_path)
    assert ours.vocab_size == original.get_vocab_size()  # what only fills up the embedding is no token
    stock = transformers.AutoTokenizer.from_pretrained(tmp_path)
    for text in TEXTS:
        ids = original.encode(text).ids
        assert ours.encode(text) == ids
        assert stock(text).input_ids == ids
        assert ours.decode(ids) == (text if pre != "qwen2" else normalizers.NFC().normalize_str(text))
    assert stock("a<|im_start|>b").input_ids[1:-1] == [original.token_to_id("<|im_start|>")]


@pytest.mark.parametrize("pre", ["llama-bpe", "tekken", "gpt-2"])
def test_a_word_that_is_a_token_stays_whole_where_the_original_has_it_so(pre: str, tmp_path: Path) -> None:
    """Llama 3's and Mistral Nemo's ``tokenizer.json`` say ``ignore_merges``; no merge makes this word."""
    whole = pre != "gpt-2"
    vocabulary = {"<|end|>": 0, **{letter: number + 1 for number, letter in enumerate("abc")}, "abc": 4}
    original = tokenizers.Tokenizer(models.BPE(vocab=vocabulary, merges=[], ignore_merges=whole))
    original.pre_tokenizer = PRE[pre]()
    write_tokenizer(byte_level_file(tmp_path / "x.gguf", original, pre), tmp_path)
    assert Tokenizer.load(tmp_path).encode("abc") == original.encode("abc").ids == ([4] if whole else [1, 2, 3])


def test_tokens_of_users_are_matched_whole_and_are_text(tmp_path: Path) -> None:
    tokens, kinds = ["<|end|>", *"abcthink<>", "<think>"], [3, *[1] * 10, 4]
    metadata = {"ggml__model": "gpt2", "ggml__pre": "gpt-2", "ggml__eos_token_id": 0}
    write_tokenizer(write(tmp_path / "x.gguf", tokens, kinds, **metadata), tmp_path)
    stock = transformers.AutoTokenizer.from_pretrained(tmp_path)
    assert stock("a<think>b").input_ids == Tokenizer.load(tmp_path).encode("a<think>b") == [1, 11, 2]
    assert stock.decode([1, 11, 2, 0], skip_special_tokens=True) == "a<think>b"


def test_every_pre_tokenizer_cuts_the_text_differently() -> None:
    """Else the test above would not tell them apart."""
    cuts = [
        tuple(tuple(piece for piece, _ in make().pre_tokenize_str(text)) for text in TEXTS) for make in PRE.values()
    ]
    assert len(set(cuts)) == len(PRE)


def test_the_configuration_names_special_tokens_template_and_length(tmp_path: Path) -> None:
    template = "{% for message in messages %}{{ message.content }}<|end|>{% endfor %}"
    file = byte_level_file(
        tmp_path / "x.gguf", trained("smollm"), "smollm", ggml__bos_token_id=1, ggml__add_bos_token=True,
        ggml__unknown_token_id=0, chat_template=template,
    )  # fmt: skip
    write_tokenizer(file, tmp_path)
    stock = transformers.AutoTokenizer.from_pretrained(tmp_path)
    assert (stock.bos_token, stock.eos_token, stock.unk_token) == ("<|im_start|>", "<|end|>", None)
    assert stock.model_max_length == 77
    assert stock.apply_chat_template([{"role": "user", "content": "Hi"}], tokenize=False) == "Hi<|end|>"
    assert stock("a").input_ids[0] == 1
    assert Tokenizer.load(tmp_path).eot == 0


def test_modernberts_ends_are_those_of_an_encoder(tmp_path: Path) -> None:
    """As its published ``tokenizer.json`` has them: the first text begins, each ends."""
    original = trained("gpt-2")
    original.normalizer = normalizers.NFC()
    named = {"ggml__bos_token_id": 1, "ggml__eos_token_id": 0, "ggml__seperator_token_id": 0}
    said = {f"ggml__add_{name}_token": True for name in ("bos", "eos", "sep")}
    write_tokenizer(byte_level_file(tmp_path / "x.gguf", original, "modern-bert", **named, **said), tmp_path)
    stock = transformers.AutoTokenizer.from_pretrained(tmp_path)
    for text in TEXTS:
        ids = original.encode(text).ids
        assert stock(text).input_ids == [1, *ids, 0]
        assert stock(text, "a").input_ids == [1, *ids, 0, *original.encode("a").ids, 0]
    assert (stock.cls_token, stock.sep_token) == ("<|im_start|>", "<|end|>")


@pytest.mark.skipif(not (SHARED / "tokenizers/gpt2").is_dir(), reason="the shared data are not beside the repository")
def test_gpt2s_own_tokens(tmp_path: Path) -> None:
    folder = SHARED / "tokenizers/gpt2"
    vocabulary = next(path for path in (folder / "vocab.json", folder / "encoder.json") if path.exists())
    merges = next(path for path in (folder / "merges.txt", folder / "vocab.bpe") if path.exists())
    listed = json.loads(vocabulary.read_text(encoding="utf-8"))
    pairs = [
        line for line in merges.read_text(encoding="utf-8").splitlines() if line and not line.startswith("#version")
    ]
    inner = tokenizers.Tokenizer(models.BPE(vocab=listed, merges=[tuple(pair.split(" ")) for pair in pairs]))
    write_tokenizer(byte_level_file(tmp_path / "x.gguf", inner, "gpt-2", ggml__eos_token_id=50256), tmp_path)
    stock = transformers.GPT2Tokenizer(vocab=listed, merges=[tuple(pair.split(" ")) for pair in pairs])
    ours = Tokenizer.load(tmp_path)
    for text in TEXTS:
        assert ours.encode(text) == stock(text).input_ids


@pytest.mark.skipif(
    not (SHARED / "models/stories260K").is_dir(), reason="the shared data are not beside the repository"
)
def test_sentencepiece_tokens_are_those_of_the_tokenizer_that_was_converted(tmp_path: Path) -> None:
    original = tokenizers.Tokenizer.from_file(str(SHARED / "models/stories260K/tokenizer.json"))
    vocabulary = json.loads(original.to_str())["model"]["vocab"]
    tokens = sorted(vocabulary, key=vocabulary.__getitem__)
    kinds = [2, 3, 3, *([6] * 256), *([1] * (len(tokens) - 259))]
    scores = [0.0 if kind != 1 else -float(number) for number, kind in enumerate(kinds)]
    file = write(
        tmp_path / "x.gguf", tokens, kinds, ggml__model="llama", ggml__scores=scores, ggml__bos_token_id=1,
        ggml__eos_token_id=2, ggml__unknown_token_id=0,
    )  # fmt: skip
    write_tokenizer(file, tmp_path)
    ours = tokenizers.Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    for text in [*TEXTS, "Once upon a time, there was a little girl named Lily."]:
        assert ours.encode(text).ids == original.encode(text).ids
        assert ours.decode(ours.encode(text).ids) == original.decode(original.encode(text).ids)


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "pre": ({"ggml__pre": "deepseek-v9"}, 'tokenizer.ggml.pre must be gpt-2 or .*; got "deepseek-v9"'),
    "model": ({"ggml__model": "rwkv"}, 'tokenizer.ggml.model must be gpt2 or llama or bert or t5; got "rwkv"'),
    "eos": (
        {"ggml__eos_token_id": 99999},
        "tokenizer.ggml.eos_token_id must be the number of one of .* tokens; got 99999",
    ),
    "merges": ({"ggml__merges": ["a", "b c"]}, "its tokenizer is damaged"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refuses_a_tokenizer_that_is_not_built_here(case: str, tmp_path: Path) -> None:
    metadata, message = REFUSED[case]
    file = byte_level_file(tmp_path / "x.gguf", trained("smollm"), "smollm", **metadata)
    with pytest.raises(CheckpointError, match=message):
        write_tokenizer(file, tmp_path)
    assert not (tmp_path / "tokenizer.json").exists()


def test_refuses_a_token_that_stands_there_twice_and_a_file_without_any(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"tokenizer.ggml.tokens holds a token twice"):
        write_tokenizer(write(tmp_path / "x.gguf", ["a", "a"], [1, 1], ggml__model="gpt2"), tmp_path)
    writer = gguf.GGUFWriter(tmp_path / "y.gguf", "llama")
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    with pytest.raises(CheckpointError, match=r"holds no tokenizer: tokenizer.ggml.tokens is missing"):
        write_tokenizer(GGUFFile.open(tmp_path / "y.gguf"), tmp_path)
