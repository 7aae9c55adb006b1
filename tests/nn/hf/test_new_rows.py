"""A pretrained model with an extended tokenizer: old logits stay, new rows are the means of their pieces."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers

from danlu.errors import RecipeError
from danlu.nn.families.given import Folder, first_model
from danlu.nn.hf.folder import save_model
from danlu.nn.transformer import Transformer
from danlu.tokenizers.extend import Extend
from danlu.tokenizers.tokenizer import Tokenizer

NEW = ["滕王高阁临江渚，佩玉鸣鸾罢歌舞。\n" * 4, "zebra times and zebras, the worst zebra of the zebras\n" * 5,
       "timest worsti bestes saidst ofst itwas timest worsti bestes saidst ofst itwas " * 3]  # fmt: skip
TEXT = "it was the best of times"
SIZES: dict[str, dict[str, Any]] = {
    "gpt2": {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64},
    "llama": {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48},
    "t5": {"d_model": 32, "d_kv": 8, "d_ff": 48, "num_layers": 1, "num_heads": 4, "decoder_start_token_id": 0},
    "bert": {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48},
}
MODELS = {
    "gpt2": ("byte level", transformers.GPT2Config, transformers.GPT2LMHeadModel),
    "llama": ("byte fallback", transformers.LlamaConfig, transformers.LlamaForCausalLM),
    "t5": ("Unigram", transformers.T5Config, transformers.T5ForConditionalGeneration),
    "bert": ("WordPiece", transformers.BertConfig, transformers.BertForMaskedLM),
}
CASES = [
    ("gpt2", True, 0),
    ("gpt2", False, 3),
    ("llama", False, 0),
    ("t5", True, 40),
    ("t5", False, 100),
    ("bert", True, 0),
]


class Case:
    """A model of ``transformers`` in a folder, its tokenizer, and that with more tokens."""

    def __init__(self, name: str, tied: bool, spare: int, kinds: dict[str, Path], folder: Path) -> None:
        kind, config_of, model_of = MODELS[name]
        shutil.copytree(kinds[kind], folder / "old")
        self.folder, self.old = folder / "old", Tokenizer.load(kinds[kind])
        self.new = Extend(path=self.folder, add=50).train(NEW)
        (folder / "new").mkdir()
        self.new.save(folder / "new")
        torch.manual_seed(1)
        config = config_of(vocab_size=self.old.vocab_size + spare, tie_word_embeddings=tied, **SIZES[name])
        self.stock = model_of(config)
        for weight in self.stock.parameters():
            torch.nn.init.normal_(weight, 0.0, 0.3)
        self.stock.tie_weights()
        self.stock.eval().save_pretrained(self.folder)
        self.out = folder / "out"

    def model(self, tokenizer: Tokenizer, **settings: Any) -> Transformer:
        family = Folder(path=self.folder, **settings)
        config = family.config(vocab_size=tokenizer.vocab_size, max_length=32)
        return first_model(family, config, seed=1, tokens=tokenizer.tokens()).eval()

    def stock_logits(self, model: Any, ids: list[int]) -> torch.Tensor:
        inputs = torch.tensor([ids])
        more = {"decoder_input_ids": inputs} if "T5" in type(model).__name__ else {}
        return torch.as_tensor(model(input_ids=inputs, **more).logits)


@pytest.fixture(params=CASES, ids=str)
def case(request: pytest.FixtureRequest, kinds: dict[str, Path], tmp_path: Path) -> Case:
    name, tied, spare = request.param
    return Case(name, tied, spare, kinds, tmp_path)


def logits(model: Transformer, ids: list[int]) -> torch.Tensor:
    tokens = torch.tensor([ids])
    memory = model.encode(tokens) if model.config.encoder is not None and model.config.decoder is not None else None
    hidden = model(tokens) if memory is None else model(tokens, memory=memory)
    return torch.as_tensor(model.head(hidden))


@torch.no_grad()
def test_old_logits_are_the_same_to_the_bit(case: Case) -> None:
    ids, rows = case.old.encode(TEXT), case.old.vocab_size
    model = case.model(case.new)
    assert torch.equal(logits(model, ids)[..., :rows], logits(case.model(case.old), ids)[..., :rows])
    expected = case.stock_logits(case.stock, ids)[..., :rows]
    torch.testing.assert_close(logits(model, ids)[..., :rows], expected, rtol=1e-5, atol=1e-5)


@torch.no_grad()
def test_new_rows_are_means_of_what_stock_cuts_the_token_into(case: Case) -> None:
    model = case.model(case.new)
    stock = transformers.AutoTokenizer.from_pretrained(case.folder)
    rows, ours = case.stock.get_input_embeddings().weight.numpy(), model.state_dict()["embedding.weight"].numpy()
    head = case.stock.get_output_embeddings().weight.numpy()
    np.testing.assert_array_equal(ours[: case.old.vocab_size], rows[: case.old.vocab_size])
    checked = 0
    for id in range(case.old.vocab_size, case.new.vocab_size):
        text = case.new.token_bytes(id, first=True).decode(errors="replace")
        name = {place: token for token, place in case.new.tokens().items()}[id]
        begins = name.startswith("▁") if "▁t" in str(stock.get_vocab()) else not name.startswith("##")
        ids = stock(text, add_special_tokens=False).input_ids
        if "\ufffd" in text or not begins or stock.unk_token_id in ids:
            continue
        checked += 1
        np.testing.assert_allclose(ours[id], rows[ids].astype(np.float64).mean(0), atol=1e-6)
        words = model.state_dict()[model.config.words_weight].numpy()
        np.testing.assert_allclose(words[id], head[ids].astype(np.float64).mean(0), atol=1e-6)
    assert checked > 3


@torch.no_grad()
def test_stock_transformers_reads_the_grown_model(case: Case) -> None:
    model = case.model(case.new)
    case.out.mkdir()
    save_model(model, case.out, tokenizer=case.folder.parent / "new")
    again, told = type(case.stock).from_pretrained(case.out, output_loading_info=True)
    assert not any(told.values()), told
    stock = transformers.AutoTokenizer.from_pretrained(case.out)
    assert again.config.vocab_size == model.config.vocab_size >= case.new.vocab_size == len(stock)
    ids = stock("滕王高阁 zebra", add_special_tokens=False).input_ids
    assert max(ids) >= case.old.vocab_size
    torch.testing.assert_close(case.stock_logits(again.eval(), ids), logits(model, ids), rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_tokens_of_nothing_that_was_known_are_drawn_apart(kinds: dict[str, Path], tmp_path: Path) -> None:
    case = Case("t5", True, 10, kinds, tmp_path)
    rows = case.model(case.new).state_dict()["embedding.weight"]
    strangers = [case.new.tokens()[letter] for letter in "滕王佩"]
    assert len(torch.unique(rows[strangers], dim=0)) == 3
    stock = case.stock.get_input_embeddings().weight  # has rows to spare, which nobody has trained
    assert min(strangers) < len(stock) and not torch.equal(rows[min(strangers)], stock[min(strangers)])
    other = case.model(case.new, new_rows="mean").state_dict()["embedding.weight"]
    new = other[case.old.vocab_size : case.new.vocab_size]
    assert len(torch.unique(new, dim=0)) == len(new)
    assert not torch.equal(new, rows[case.old.vocab_size : case.new.vocab_size])
    assert abs(float(new.std()) / float(rows[: case.old.vocab_size].std()) - 1) < 0.1
    assert torch.equal(other, case.model(case.new, new_rows="mean").state_dict()["embedding.weight"])


def test_another_tokenizer_is_refused(kinds: dict[str, Path], tmp_path: Path) -> None:
    case = Case("gpt2", True, 0, kinds, tmp_path)
    other = Extend(path=kinds["byte fallback"], add=50).train(NEW)
    line = r"model: .*old has 321 tokens, the tokenizer \d+; set tokenizer to \{use: folder, path: .*extend, path"
    with pytest.raises(RecipeError, match=line):
        case.model(other)
    for file in case.folder.glob("tokenizer*"):
        file.unlink()
    with pytest.raises(RecipeError, match=line):
        case.model(case.new)
