"""Every model that a recipe can name, small, written and read by stock ``transformers``: the same logits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from danlu import catalog
from danlu.errors import RecipeError
from danlu.nn.config import Head, Pretraining, TransformerConfig
from danlu.nn.families import T5, Bert, Roberta, with_pair_head
from danlu.nn.hf.folder import load_config, save_model
from danlu.nn.transformer import Transformer
from danlu.recipe import build_choice

VOCAB, LENGTH = 97, 24
SIZES: dict[str, Any] = {"layers": 3, "dim": 48, "heads": 4, "hidden": 56}
MORE: list[tuple[str, dict[str, Any]]] = [
    ("gpt", {}),
    ("llama", {}),
    ("qwen3", {}),
    ("gpt2", {}),
    ("mistral", {"window": 4, "kv_heads": 2}),
    ("qwen3_moe", {"kv_heads": 2, "experts": 3, "per_token": 2}),
    ("bert", {}),
    ("roberta", {}),
    ("modernbert", {"window": 4, "global_every": 2, "theta": 500}),
    ("t5", {}),
    ("t5", {"mlp": "relu", "head_dim": 8, "decoder_layers": 2}),
    ("bart", {"decoder_layers": 2}),
]


def shape(name: str, **settings: Any) -> TransformerConfig:
    choice = build_choice("model", {"use": name, **settings}, key="pretrain.model")
    config: TransformerConfig = choice.config(vocab_size=VOCAB, max_length=LENGTH)
    return config


def model_of(config: TransformerConfig) -> Transformer:
    """Initialised, and then moved: zeros would hide what stands behind them."""
    model = Transformer(config)
    model.initialise(0)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(torch.randn(weight.shape, generator=generator) * 0.2)
    return model.eval()


def stock(folder: Path, kind: str) -> Any:
    model, info = getattr(transformers, f"AutoModelFor{kind}").from_pretrained(folder, output_loading_info=True)
    assert not any(info.values()), info  # no tensor missing, left over or of another shape
    return model.eval()


def tokens(seed: int, length: int = LENGTH) -> torch.Tensor:
    return torch.randint(5, VOCAB, (2, length), generator=torch.Generator().manual_seed(seed))


def test_every_model_is_here() -> None:
    assert {name for name, _ in MORE} == set(catalog.names("model")) - {"folder"}


@torch.no_grad()
@pytest.mark.parametrize(("name", "settings"), MORE, ids=str)
def test_stock_transformers_gives_the_same_logits(name: str, settings: dict[str, Any], tmp_path: Path) -> None:
    config = shape(name, **SIZES, **settings)
    model = model_of(config)
    save_model(model, tmp_path)
    assert load_config(tmp_path) == config
    if config.encoder is None:
        found = stock(tmp_path, "CausalLM")(input_ids=tokens(1)).logits
        ours = model.head(model(tokens(1)))
    elif config.decoder is None:
        found = stock(tmp_path, "MaskedLM")(input_ids=tokens(1)).logits
        ours = model.head(model(tokens(1)))
    else:
        found = stock(tmp_path, "Seq2SeqLM")(input_ids=tokens(1), decoder_input_ids=tokens(2, 11)).logits
        ours = model.head(model(tokens(2, 11), memory=model.encode(tokens(1))))
    torch.testing.assert_close(ours, found, rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_bert_with_both_heads_is_bert_for_pretraining(tmp_path: Path) -> None:
    config = with_pair_head(shape("bert", **SIZES))
    assert isinstance(config.head, Pretraining)
    model = model_of(config)
    save_model(model, tmp_path)
    assert load_config(tmp_path) == config
    read, info = transformers.BertForPreTraining.from_pretrained(tmp_path, output_loading_info=True)
    assert read.config.architectures == ["BertForPreTraining"]
    assert not any(info.values())
    types = (torch.arange(LENGTH) > 9).long().expand(2, -1)
    out = read.eval()(input_ids=tokens(1), token_type_ids=types)
    hidden = model(tokens(1), types=types)
    torch.testing.assert_close(model.head.words(hidden), out.prediction_logits, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(model.head.pair(hidden), out.seq_relationship_logits, rtol=1e-4, atol=1e-4)


def test_only_bert_has_a_head_of_pairs() -> None:
    with pytest.raises(RecipeError, match=r"^pairs of sentences need the model bert; got roberta$"):
        with_pair_head(Roberta().config(vocab_size=9, max_length=8))


def test_published_shapes(tmp_path: Path) -> None:
    """Sizes, positions and dropout of ``transformers``' own defaults, where our defaults are other ones."""
    bert = Bert(layers=12, dim=768, heads=12, dropout=0.1, attention_dropout=0.1)
    mine = bert.config(vocab_size=30522, max_length=512)
    transformers.BertConfig(architectures=["BertForMaskedLM"]).save_pretrained(tmp_path / "bert")
    assert load_config(tmp_path / "bert") == mine
    roberta = Roberta(layers=12, dim=768, heads=12, dropout=0.1, attention_dropout=0.1)
    known = transformers.RobertaConfig(
        architectures=["RobertaForMaskedLM"], max_position_embeddings=514, type_vocab_size=1, layer_norm_eps=1e-5
    )
    known.save_pretrained(tmp_path / "roberta")
    assert load_config(tmp_path / "roberta") == roberta.config(vocab_size=known.vocab_size, max_length=512)
    modern = shape("modernbert", layers=22, dim=768, heads=12, theta=160_000)
    there = transformers.ModernBertConfig(architectures=["ModernBertForMaskedLM"])
    there.save_pretrained(tmp_path / "modern")
    theirs = load_config(tmp_path / "modern")
    assert theirs.encoder == modern.encoder and theirs.head == modern.head
    t5 = T5(layers=6, dim=512, heads=8, mlp="relu", dropout=0.1)
    transformers.T5Config(architectures=["T5ForConditionalGeneration"]).save_pretrained(tmp_path / "t5")
    assert load_config(tmp_path / "t5") == t5.config(vocab_size=32128, max_length=1)
    bart = shape("bart", layers=12, dim=1024, heads=16, dropout=0.1)
    transformers.BartConfig(architectures=["BartForConditionalGeneration"]).save_pretrained(tmp_path / "bart")
    theirs = load_config(tmp_path / "bart")
    assert (theirs.encoder, theirs.decoder) == (bart.encoder, bart.decoder)
    gpt2 = shape("gpt2", layers=12, dim=768, heads=12, dropout=0.1, attention_dropout=0.1)
    transformers.GPT2Config(architectures=["GPT2LMHeadModel"]).save_pretrained(tmp_path / "gpt2")
    assert load_config(tmp_path / "gpt2").decoder == gpt2.decoder
    assert load_config(tmp_path / "gpt2").head == gpt2.head == Head(tied=True)


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        ({"use": "bert", "dim": 64, "heads": 5}, "heads must divide dim (64); got 5"),
        ({"use": "modernbert", "dim": 257}, "heads must divide dim (257); got 2 (the default)"),
        ({"use": "bart", "dim": 64, "heads": 5}, "heads must divide dim (64); got 5"),
        ({"use": "t5", "dim": 64, "heads": 5}, "heads must divide dim (64); got 5"),
        ({"use": "modernbert", "dim": 36, "heads": 4}, "head_dim must be even for rotary positions; got 9"),
        (
            {"use": "qwen3_moe", "dim": 64, "per_token": 9},
            "per_token must be between 1 and the number of experts (8); got 9",
        ),
    ],
)
def test_sizes_that_do_not_fit_are_told_with_the_recipe(settings: dict[str, Any], line: str) -> None:
    with pytest.raises(RecipeError) as caught:
        build_choice("model", settings, key="pretrain.model")
    assert str(caught.value) == f"pretrain.model: {line}"


def test_heads_of_t5_may_have_a_width_of_their_own() -> None:
    attention = shape("t5", dim=60, heads=7, head_dim=16).stack.layers[0].attention
    assert (attention.heads, attention.head_dim) == (7, 16)
