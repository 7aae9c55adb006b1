"""Texts to vectors: what a folder says of length, prompts and case, against ``transformers`` on the same tokens.

What is done to a text is that of sentence-transformers 6.2, with which all of this was compared.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tokenizers
import torch
import transformers
from tokenizers import models, pre_tokenizers, processors
from torch import Tensor

from danlu import cli
from danlu.errors import CheckpointError, InputError
from danlu.nn.hf.folder import load_model
from danlu.tasks import embed
from danlu.tasks.embed import Embedder

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *"abcdefgh", "query:", "to", "be"]
CLS, SEP = 2, 3
POOL: dict[str, Callable[[Tensor], Tensor]] = {
    "mean": lambda hidden_TD: hidden_TD.mean(0), "cls": lambda hidden_TD: hidden_TD[0],
    "lasttoken": lambda hidden_TD: hidden_TD[-1],
}  # fmt: skip
SENTENCES, PROMPTS = "sentence_bert_config.json", "config_sentence_transformers.json"


class Folder:
    """A small BERT as sentence-transformers writes it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        torch.manual_seed(0)
        config = transformers.BertConfig(
            vocab_size=40, hidden_size=24, num_hidden_layers=2, num_attention_heads=4, intermediate_size=32,
            max_position_embeddings=20,
        )  # fmt: skip
        self.stock = transformers.BertModel(config).eval()
        self.stock.save_pretrained(path)
        self.tokenize(special=True)
        self.pool("mean")

    def tokenize(self, *, special: bool, longest: int = 12) -> None:
        made = tokenizers.Tokenizer(models.WordLevel({word: n for n, word in enumerate(WORDS)}, unk_token="[UNK]"))
        made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
        if special:
            made.post_processor = processors.TemplateProcessing(
                single="[CLS] $A [SEP]", special_tokens=[("[CLS]", CLS), ("[SEP]", SEP)]
            )
        made.save(str(self.path / "tokenizer.json"))
        self.write("tokenizer_config.json", model_max_length=longest)

    def pool(self, mode: str, **others: Any) -> None:
        kinds = {"Transformer": "", "Pooling": "1_Pooling"}
        self.write("modules.json", [{"path": path, "type": f"x.{kind}"} for kind, path in kinds.items()])
        (self.path / "1_Pooling").mkdir(exist_ok=True)
        self.write("1_Pooling/config.json", pooling_mode=mode, **others)

    def write(self, name: str, values: Any = None, **named: Any) -> None:
        (self.path / name).write_text(json.dumps(named if values is None else values))

    def embed(self, texts: Sequence[str], prompt: str | None = None) -> Tensor:
        return Embedder.load(self.path, dtype=torch.float32).embed(texts, prompt)

    @torch.no_grad()
    def expect(self, words: str, mode: str = "mean", *, skip: int = 0) -> Tensor:
        """The vector of these tokens, special ones included, of which the first ``skip`` are not pooled."""
        tokens = torch.tensor([[WORDS.index(word) for word in words.split()]])
        vector: Tensor = POOL[mode](self.stock(tokens).last_hidden_state[0, skip:])
        return vector


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


def same(found: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("mode", POOL)
def test_vectors_are_in_the_order_of_their_texts(mode: str, folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embed, "BATCH_TOKENS", 12)
    monkeypatch.setattr(embed, "TEXTS_AT_ONCE", 3)
    folder.pool(mode)
    texts = ["a b c", "d", "e f g h", "b a", ""]
    same(folder.embed(texts), torch.stack([folder.expect(f"[CLS] {text} [SEP]", mode) for text in texts]))


def test_a_text_is_cut_where_the_first_that_says_so_says(folder: Folder) -> None:
    text = "a b c d e f g h " * 3
    words = text.split()

    def cut(length: int) -> Tensor:
        return folder.expect(" ".join(["[CLS]", *words[: length - 2], "[SEP]"]))

    same(folder.embed([text])[0], cut(12))  # the tokenizer
    folder.write(SENTENCES, max_seq_length=7)
    same(folder.embed([text])[0], cut(7))
    folder.write(SENTENCES, max_seq_length=None)
    same(folder.embed([text])[0], cut(12))
    folder.tokenize(special=True, longest=10**30)
    same(folder.embed([text])[0], cut(20))  # what the model sees
    (folder.path / SENTENCES).unlink()
    folder.write("sentence_roberta_config.json", max_seq_length=5)
    same(folder.embed([text])[0], cut(5))


@pytest.mark.parametrize("length", [1, 2])
def test_a_length_that_leaves_no_room_for_the_text_is_one_line(folder: Folder, length: int) -> None:
    """The library would not cut at all."""
    folder.write(SENTENCES, max_seq_length=length)
    line = rf"^the model reads {length} tokens of a text \(max_seq_length, .* puts 2 around it; it must read more$"
    with pytest.raises(CheckpointError, match=line):
        folder.embed(["a b c d"])
    folder.write(SENTENCES, max_seq_length=3)
    same(folder.embed(["a b c d"])[0], folder.expect("[CLS] a [SEP]"))


def test_texts_that_are_cut_are_counted_with_their_prompts(folder: Folder) -> None:
    folder.write(SENTENCES, max_seq_length=5)
    folder.write(PROMPTS, prompts={"query": "query: "}, default_prompt_name="query")
    embedder = Embedder.load(folder.path, dtype=torch.float32)
    embedder.embed(["a", "a b", "a b c", "a b c d"])
    assert embedder.cut == 2
    embedder.embed(["a b c", "a b c d"], "document")
    assert embedder.cut == 3


def test_case_is_dropped_where_the_folder_says_so(folder: Folder) -> None:
    same(folder.embed(["A b"])[0], folder.expect("[CLS] [UNK] b [SEP]"))
    folder.write(SENTENCES, do_lower_case=True)
    same(folder.embed(["A b"])[0], folder.expect("[CLS] a b [SEP]"))


def test_a_prompt_goes_before_every_text(folder: Folder) -> None:
    folder.write(PROMPTS, prompts={"query": "query: ", "other": "to be "}, default_prompt_name=None)
    same(folder.embed(["a b"])[0], folder.expect("[CLS] a b [SEP]"))
    same(folder.embed(["a b", "c"], "query")[1], folder.expect("[CLS] query: c [SEP]"))
    same(folder.embed(["a b"], "document")[0], folder.expect("[CLS] a b [SEP]"))  # known everywhere, and empty
    folder.write(PROMPTS, prompts={"query": "query: ", "other": "to be "}, default_prompt_name="other")
    same(folder.embed(["a b"])[0], folder.expect("[CLS] to be a b [SEP]"))
    same(folder.embed(["a b"], "query")[0], folder.expect("[CLS] query: a b [SEP]"))
    same(folder.embed(["a b"], "document")[0], folder.expect("[CLS] a b [SEP]"))


@pytest.mark.parametrize(
    ("prompts", "expected"),
    [({}, (None, None)), ({"other": "to be "}, (None, None)), ({"query": "query: "}, ("query", "document")),
     ({"query": "query: ", "passage": "to "}, ("query", "passage")), ({"passage": "to "}, ("query", "passage")),
     ({"query": "query: ", "document": "be ", "passage": "to "}, ("query", "document"))],
)  # fmt: skip
def test_a_search_has_a_prompt_for_each_side(
    prompts: dict[str, str], expected: tuple[str | None, str | None], folder: Folder
) -> None:
    folder.write(PROMPTS, prompts=prompts)
    assert Embedder.load(folder.path, dtype=torch.float32).search_prompts() == expected


@pytest.mark.parametrize("mode", POOL)
@pytest.mark.parametrize("special", [True, False])
def test_a_prompt_is_not_pooled_where_the_folder_says_so(mode: str, special: bool, folder: Folder) -> None:
    folder.tokenize(special=special)
    folder.pool(mode, include_prompt=False)
    folder.write(PROMPTS, prompts={"other": "to be "})
    begin, end = ("[CLS] ", " [SEP]") if special else ("", "")
    skip = 2 + special
    texts = ["a b c", "d"]
    expected = torch.stack([folder.expect(f"{begin}to be {text}{end}", mode, skip=skip) for text in texts])
    same(folder.embed(texts, "other"), expected)
    same(folder.embed(texts), torch.stack([folder.expect(f"{begin}{text}{end}", mode) for text in texts]))


@pytest.mark.parametrize("mode", POOL)
@pytest.mark.parametrize("texts", [[""], ["", ""], ["a b", "", "c"], []], ids=str)
def test_a_text_without_tokens_is_a_vector_of_zeros(mode: str, texts: list[str], folder: Folder) -> None:
    folder.tokenize(special=False)
    folder.pool(mode)
    found = folder.embed(texts)
    assert found.shape == (len(texts), 24)
    for text, vector in zip(texts, found, strict=True):
        same(vector, folder.expect(text, mode) if text else torch.zeros(24))


@pytest.mark.parametrize("mode", POOL)
def test_a_text_with_nothing_but_a_prompt_that_is_not_pooled_is_so_too(mode: str, folder: Folder) -> None:
    folder.tokenize(special=False)
    folder.pool(mode, include_prompt=False)
    folder.write(PROMPTS, prompts={"query": "query: "})
    found = folder.embed(["", "a"], "query")
    same(found, torch.stack([torch.zeros(24), folder.expect("query: a", mode, skip=1)]))


DECODER = {
    "vocab_size": 40, "hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
    "head_dim": 8, "intermediate_size": 32, "max_position_embeddings": 20, "bos_token_id": 0, "eos_token_id": 0,
}  # fmt: skip
BERT = {
    "vocab_size": 40, "hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 32,
    "max_position_embeddings": 20,
}  # fmt: skip
WITH_HEADS = {
    "tied decoder": lambda: transformers.Qwen3ForCausalLM(
        transformers.Qwen3Config(**DECODER, tie_word_embeddings=True)
    ),
    "decoder": lambda: transformers.Qwen3ForCausalLM(transformers.Qwen3Config(**DECODER, tie_word_embeddings=False)),
    "gpt2": lambda: transformers.GPT2LMHeadModel(
        transformers.GPT2Config(vocab_size=40, n_embd=24, n_layer=2, n_head=4, n_positions=20)
    ),
    "masked": lambda: transformers.BertForMaskedLM(transformers.BertConfig(**BERT)),
    "labels": lambda: transformers.BertForSequenceClassification(transformers.BertConfig(**BERT)),
    "masked roberta": lambda: transformers.RobertaForMaskedLM(
        transformers.RobertaConfig(**{**BERT, "max_position_embeddings": 22, "pad_token_id": 1})
    ),
    "masked modernbert": lambda: transformers.ModernBertForMaskedLM(
        transformers.ModernBertConfig(**BERT, pad_token_id=0)
    ),
}
"""What sentence-transformers reads with ``AutoModel``, whatever class wrote it."""


@pytest.mark.parametrize("bare", [False, True], ids=["with its head", "names of the bare model"])
@pytest.mark.parametrize("kind", WITH_HEADS)
@torch.no_grad()
def test_modules_make_an_embedder_of_a_model_with_a_head(kind: str, bare: bool, folder: Folder) -> None:
    torch.manual_seed(0)
    stock: Any = WITH_HEADS[kind]().eval()
    if bare:  # as sentence-transformers writes what it has read: the class as it was named, tensors without a head
        stock.base_model.save_pretrained(folder.path)
        config = json.loads((folder.path / "config.json").read_text())
        folder.write("config.json", {**config, "architectures": [type(stock).__name__]})
    else:
        stock.save_pretrained(folder.path)
    folder.pool("lasttoken")
    folder.stock = transformers.AutoModel.from_pretrained(folder.path, dtype=torch.float32).eval()
    texts = ["a b c", "d"]
    same(folder.embed(texts), torch.stack([folder.expect(f"[CLS] {text} [SEP]", "lasttoken") for text in texts]))
    assert cli.main(["import", str(folder.path), str(folder.path / "out")]) == 0
    same(Embedder.load(folder.path / "out", dtype=torch.float32).embed(texts), folder.embed(texts))
    (folder.path / "texts.txt").write_text("a b c\n")
    vectors = folder.path / "v.npy"
    line = ["embed", str(folder.path), str(folder.path / "texts.txt"), "--out", str(vectors), "--dtype=float32"]
    assert cli.main(line) == 0
    same(torch.from_numpy(np.load(vectors))[0], folder.embed(texts)[0])


@torch.no_grad()
@pytest.mark.parametrize("kind", ["tied decoder", "decoder", "gpt2", "masked"])
def test_such_a_model_is_one_of_words_besides(kind: str, folder: Folder) -> None:
    torch.manual_seed(0)
    stock: Any = WITH_HEADS[kind]().eval()
    stock.save_pretrained(folder.path)
    folder.pool("lasttoken")
    tokens_BT = torch.arange(18)[None]
    for path in (folder.path, folder.path / "out"):
        model = load_model(path)
        torch.testing.assert_close(model.head(model(tokens_BT)), stock(tokens_BT).logits, rtol=1e-5, atol=1e-5)
        if path == folder.path:
            assert cli.main(["import", str(path), str(path / "out")]) == 0


def test_without_modules_a_model_with_a_head_embeds_nothing(folder: Folder) -> None:
    WITH_HEADS["masked"]().save_pretrained(folder.path)
    (folder.path / "modules.json").unlink()
    with pytest.raises(CheckpointError, match="a model of Head embeds no texts"):
        folder.embed(["a"])


def test_an_unknown_prompt_is_one_line(folder: Folder) -> None:
    folder.write(PROMPTS, prompts={"passage": "p: "})
    with pytest.raises(
        InputError,
        match=r"^unknown prompt 'pasage'; did you mean 'passage'\? \(choices: query, document, passage\)$",
    ):
        folder.embed(["a"], "pasage")


@pytest.mark.parametrize(
    ("name", "values", "line"),
    [
        (SENTENCES, {"max_seq_length": 0}, "max_seq_length must be a whole number above 0; got 0"),
        (SENTENCES, {"do_lower_case": 3}, "do_lower_case must be true or false; got 3"),
        (PROMPTS, {"prompts": [1]}, "prompts must be a mapping"),
        (PROMPTS, {"prompts": {"a": 3}}, "prompts.a must be a text; got 3"),
        (PROMPTS, {"default_prompt_name": "x"}, 'default_prompt_name must be "query" or "document"; got "x"'),
        (
            "1_Pooling/config.json",
            {"pooling_mode": "mean", "include_prompt": 1},
            "include_prompt must be true or false",
        ),
        (PROMPTS, [1], "must hold a JSON object"),
    ],
)
def test_a_damaged_file_is_one_line(name: str, values: Any, line: str, folder: Folder) -> None:
    folder.write(name, values)
    with pytest.raises(CheckpointError, match=line) as error:
        folder.embed(["a"])
    assert str(folder.path / name) in str(error.value) and "\n" not in str(error.value)
