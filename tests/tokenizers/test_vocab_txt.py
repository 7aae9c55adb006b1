"""BERT folders with nothing but ``vocab.txt``, against ``transformers``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import transformers

from danlu.errors import InputError
from danlu.tokenizers.tokenizer import Tokenizer

TEXTS = [
    "It was the Best of TIMES, naïve café!\r\n\tA word:  unbelievable",
    "话说天下大势，分久必合。漢字 and café 👩‍👩‍👧",
    "[SEP] a [MASK] b \ufffd\u0000 ﷺ",
    "",
]


@pytest.fixture
def folder(kinds: dict[str, Path], tmp_path: Path) -> Path:
    """A vocabulary, one token a line, and a model's config."""
    vocabulary = json.loads((kinds["WordPiece"] / "tokenizer.json").read_text())["model"]["vocab"]
    (tmp_path / "vocab.txt").write_text("".join(f"{token}\n" for token in sorted(vocabulary, key=vocabulary.get)))
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    return tmp_path


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"do_lower_case": False},
        {"do_lower_case": False, "strip_accents": True},
        {"tokenize_chinese_chars": False},
        {"tokenizer_class": "BertTokenizerFast", "unk_token": "[PAD]"},
    ],
    ids=str,
)
def test_a_vocabulary_and_settings_are_read_as_transformers_reads_them(folder: Path, settings: dict[str, Any]) -> None:
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    ours, stock = Tokenizer.load(folder), transformers.AutoTokenizer.from_pretrained(folder)
    for text in TEXTS:
        ids = stock(text, add_special_tokens=False, split_special_tokens=True).input_ids
        assert ours.encode(text) == ids
        assert ours.decode(ids) == stock.decode(ids, skip_special_tokens=True)
    assert ours.template() == ([stock.cls_token_id], [stock.sep_token_id])
    assert (ours.vocab_size, ours.eot, ours.unknown) == (len(stock), stock.sep_token_id, stock.unk_token_id)


def test_a_vocabulary_without_the_named_tokens_is_told(folder: Path) -> None:
    (folder / "vocab.txt").write_text("a\nb\n")
    with pytest.raises(InputError, match=r"the tokenizer in .* is damaged: '\[SEP\]'"):
        Tokenizer.load(folder)
