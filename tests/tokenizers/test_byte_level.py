"""``vocab.json`` with ``merges.txt``: tokens against ``transformers``, for each class that is published so."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import tokenizers
import transformers
from tokenizers import models, pre_tokenizers, trainers

from danlu.errors import InputError
from danlu.tokenizers.folder import read_tokenizer
from danlu.tokenizers.tokenizer import Tokenizer

TEXTS = [
    "It was the best of times, it'S 12345.67!", "  two  spaces \n\n and\ttabs\r\n", "", "cafe\u0301 naïve 😀",
    "话说天下大势 ２０２４ 2024年", "a</s>b<|endoftext|>",
]  # fmt: skip
SPECIAL = ["<s>", "<pad>", "</s>", "<unk>", "<mask>", "<|endoftext|>"]


def publish(folder: Path) -> None:
    inner = tokenizers.Tokenizer(models.BPE())
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=360, special_tokens=SPECIAL, show_progress=False, initial_alphabet=inner.pre_tokenizer.alphabet()
    )
    inner.train_from_iterator(TEXTS * 3, trainer)
    inner.model.save(str(folder))
    assert {path.name for path in folder.iterdir()} == {"vocab.json", "merges.txt"}


@pytest.mark.parametrize("spaced", [None, True])
@pytest.mark.parametrize(
    ("model_type", "tokenizer_class"),
    [("gpt2", None), ("roberta", None), ("bart", None), ("qwen2", None), ("qwen3", None),
     ("llama", "GPT2Tokenizer"), ("bert", "RobertaTokenizer"), ("t5", "BartTokenizerFast"), ("t5", "Qwen2Tokenizer")],
)  # fmt: skip
def test_tokens_are_those_of_transformers(
    tmp_path: Path, model_type: str, tokenizer_class: str | None, spaced: bool | None
) -> None:
    publish(tmp_path)
    said = {"tokenizer_class": tokenizer_class, "add_prefix_space": spaced}
    (tmp_path / "config.json").write_text(json.dumps({"model_type": model_type}))
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({key: said[key] for key in said if said[key]}))
    stock, ours = transformers.AutoTokenizer.from_pretrained(tmp_path), Tokenizer.load(tmp_path)
    inner, _ = read_tokenizer(tmp_path)
    for text in TEXTS:
        ids = stock(text, add_special_tokens=False, split_special_tokens=True).input_ids
        assert ours.encode(text) == ids
        assert ours.decode(ids) == stock.decode(ids, skip_special_tokens=True)
        inner.encode_special_tokens = True
        assert inner.encode(text).ids == stock(text, split_special_tokens=True).input_ids
        assert inner.encode(text, "a").ids == stock(text, "a", split_special_tokens=True).input_ids
    assert (ours.vocab_size, ours.eot, ours.bos) == (len(stock), stock.eos_token_id, stock.bos_token_id)


def test_what_is_missing_is_told(tmp_path: Path) -> None:
    publish(tmp_path)
    with pytest.raises(InputError, match=r"vocab\.json needs a tokenizer_class or a model_type that says how text"):
        read_tokenizer(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "gpt2"}')
    (tmp_path / "merges.txt").unlink()
    with pytest.raises(InputError, match=r"vocab\.json needs merges\.txt beside it, which is missing"):
        read_tokenizer(tmp_path)
    (tmp_path / "merges.txt").write_text("#version: 0.2\na\n")
    with pytest.raises(InputError, match=r"the tokenizer in .* is damaged: ") as error:
        read_tokenizer(tmp_path)
    assert "\n" not in str(error.value)
