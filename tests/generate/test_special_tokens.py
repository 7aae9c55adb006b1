"""What texts begin and end with, as folders of transformers say it; encoder-decoders against ``transformers``."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random
from typing import Any

import pytest
import tokenizers
import torch
import transformers
from tokenizers.processors import TemplateProcessing

from danlu.errors import CheckpointError
from danlu.generate.beam import Beam
from danlu.generate.engine import generate, load, stream_batch
from danlu.generate.sampling import Sampling
from danlu.generate.searching import find_answers
from danlu.generate.special_tokens import SpecialTokens
from danlu.nn.families import GPT
from danlu.tokenizers.tokenizer import Tokenizer

SIZES = {"vocab_size": 270, "d_model": 32}
"""The tokenizer has as many: transformers would also draw rows that are no tokens."""
T5 = transformers.T5Config(**SIZES, d_kv=8, d_ff=48, num_layers=2, num_heads=4, eos_token_id=1, pad_token_id=3,
                           decoder_start_token_id=3, relative_attention_num_buckets=8)  # fmt: skip
MT5 = transformers.MT5Config(**SIZES, d_kv=8, d_ff=48, num_layers=2, num_heads=4, eos_token_id=1, pad_token_id=3,
                             decoder_start_token_id=3)  # fmt: skip
BART = transformers.BartConfig(
    **SIZES, encoder_layers=2, decoder_layers=2, encoder_attention_heads=4, decoder_attention_heads=4,
    encoder_ffn_dim=48, decoder_ffn_dim=48, max_position_embeddings=90, bos_token_id=5, pad_token_id=6, eos_token_id=7,
    decoder_start_token_id=8, forced_eos_token_id=10,
)  # fmt: skip
CASES: list[tuple[Any, Any]] = [
    (T5, transformers.T5ForConditionalGeneration),
    (MT5, transformers.MT5ForConditionalGeneration),
    (BART, transformers.BartForConditionalGeneration),
]


def stock_model(config: Any, cls: Any, folder: Path, tokenizer: Tokenizer) -> Any:
    """A random model of transformers, saved beside the tokenizer."""
    torch.manual_seed(1)
    model = cls(config).eval()
    bart = cls is transformers.BartForConditionalGeneration
    for name, weight in model.named_parameters():
        if "norm" not in name:  # BART's attention has to outshout its tied head, which repeats what it reads
            torch.nn.init.normal_(weight, 0.0, 1.0 if bart and "embed" not in name and "shared" not in name else 0.35)
    if bart:  # as facebook/bart-large-cnn has it
        model.generation_config.forced_bos_token_id = 9
    model.save_pretrained(folder)
    tokenizer.save(folder)
    return model


@pytest.mark.parametrize(("config", "cls"), CASES, ids=["t5", "mt5", "bart"])
def test_fifty_answers_of_an_encoder_decoder_equal_those_of_transformers(
    config: Any, cls: Any, tokenizer: Tokenizer, tmp_path: Path
) -> None:
    stock = stock_model(config, cls, tmp_path, tokenizer)
    model, same, special = load(tmp_path)
    random = Random(3)
    texts = [same.decode(random.choices(range(1, same.vocab_size), k=1 + place)) for place in range(25)] * 2
    texts = [text[: random.randrange(1, 30)] for text in texts]
    settings = Sampling(temperature=0, max_tokens=16)
    answers = generate(model, same, texts, settings=settings, seed=0, special=special)
    for text, answer in zip(texts, answers, strict=True):
        source = torch.tensor([[*same.encode(text), same.eot]])
        found = stock.generate(
            source, attention_mask=torch.ones_like(source), max_new_tokens=16, do_sample=False, num_beams=1
        )[0, 1:].tolist()  # fmt: skip
        assert list(answer.ids) == found
        assert answer.end == ("end_of_text" if found[-1] == config.eos_token_id else "max_tokens")
    assert len({answer.ids for answer in answers}) > 25
    shown = [""] * len(texts)
    for place, piece in stream_batch(model, same, texts, settings=settings, seed=0, special=special):
        shown[place] += piece
    assert shown == [answer.text for answer in answers]


@pytest.mark.parametrize(("config", "cls"), CASES[1:], ids=["mt5", "bart"])
def test_a_folder_without_generation_config(config: Any, cls: Any, tokenizer: Tokenizer, tmp_path: Path) -> None:
    stock_model(config, cls, tmp_path, tokenizer)
    with_it = load(tmp_path).special
    (tmp_path / "generation_config.json").unlink()
    special = load(tmp_path).special
    assert special.start == with_it.start == config.decoder_start_token_id
    assert special.ends == with_it.ends == {config.eos_token_id}


def test_the_start_is_looked_for_in_config_json_before_another_token_stands_in(
    tokenizer: Tokenizer, tmp_path: Path
) -> None:
    stock_model(T5, transformers.T5ForConditionalGeneration, tmp_path, tokenizer)
    path = tmp_path / "generation_config.json"
    path.write_text('{"bos_token_id": 5, "eos_token_id": 1}')
    assert load(tmp_path).special.start == T5.decoder_start_token_id
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "decoder_start_token_id": None}))
    assert load(tmp_path).special.start == 5


def test_a_template_of_the_tokenizer_goes_around_the_text(tokenizer: Tokenizer) -> None:
    inner = tokenizers.Tokenizer.from_str(tokenizer.to_json())
    inner.post_processor = TemplateProcessing(single="X $A Y", special_tokens=[("X", 17), ("Y", 18)])
    framed = Tokenizer(inner, {"eos_token": "<|endoftext|>", "bos_token": "<|endoftext|>"})
    assert framed.template() == ([17], [18])
    config = GPT(layers=1, dim=8, heads=1).config(vocab_size=280, max_length=8)
    special = SpecialTokens.of(framed, config)
    assert special.begin(framed, "be") == ([17, *framed.encode("be")], None)


def test_what_begins_a_document_also_begins_a_prompt(tokenizer: Tokenizer) -> None:
    """Where that is the end-of-text token too; a model with a token of its own that no template adds gets none."""
    config = GPT(layers=1, dim=8, heads=1).config(vocab_size=280, max_length=8)
    assert SpecialTokens.of(tokenizer, config).begin(tokenizer, "be")[0] == [tokenizer.eot, *tokenizer.encode("be")]
    inner = tokenizers.Tokenizer.from_str(tokenizer.to_json())
    chat = Tokenizer(inner, {"eos_token": "<|endoftext|>"})
    special = SpecialTokens.of(chat, config)
    assert special.begin(chat, "be")[0] == chat.encode("be")
    assert special.begin(chat, "")[0] == [chat.eot]  # a model must read something


def test_every_end_token_ends_an_answer(run_dir: Path, tmp_path: Path) -> None:
    for path in (run_dir / "pretrain/model").iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    model, tokenizer, _ = load(tmp_path)
    settings = Sampling(temperature=0, max_tokens=12)
    (answer,) = generate(model, tokenizer, ["To be"], settings=settings, seed=0)
    assert answer.tokens == 12
    ends = [tokenizer.eot, answer.ids[5]]
    (tmp_path / "generation_config.json").write_text(json.dumps({"eos_token_id": ends}))
    special = load(tmp_path).special
    assert special.ends == set(ends)
    (shorter,) = generate(model, tokenizer, ["To be"], settings=settings, seed=0, special=special)
    assert shorter.ids == answer.ids[: answer.ids.index(answer.ids[5]) + 1]
    assert shorter.end == "end_of_text"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            '{"eos_token_id": 99999}',
            r"generation_config\.json: eos_token_id must be a token from 0 to 2\d\d; got 99999",
        ),
        ('{"eos_token_id": [0, true]}', "eos_token_id must be a token from 0 to 2.*; got true"),
        ("[]", r"generation_config\.json must hold a JSON object; got list"),
        ("{", r"generation_config\.json is damaged"),
    ],
)
def test_a_damaged_folder_is_refused(text: str, message: str, run_dir: Path, tmp_path: Path) -> None:
    for path in (run_dir / "pretrain/model").iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "generation_config.json").write_text(text)
    with pytest.raises(CheckpointError, match=message):
        load(tmp_path)


@pytest.fixture
def spare(tokenizer: Tokenizer, tmp_path: Path) -> Path:
    """A T5 with rows that are no tokens of the tokenizer, as all T5 have some."""
    config = transformers.T5Config(**{**T5.to_dict(), "vocab_size": 300})
    stock_model(config, transformers.T5ForConditionalGeneration, tmp_path, tokenizer)
    return tmp_path


@pytest.mark.parametrize("key", ["forced_bos_token_id", "forced_eos_token_id"])
def test_what_every_answer_must_hold_has_to_be_written(key: str, spare: Path) -> None:
    size = Tokenizer.load(spare).vocab_size
    path = spare / "generation_config.json"
    path.write_text(json.dumps({"decoder_start_token_id": 3, key: size - 1}))
    load(spare)
    path.write_text(json.dumps({"decoder_start_token_id": 3, key: size}))
    with pytest.raises(CheckpointError, match=rf"{key} must be a token from 0 to {size - 1}; got {size}"):
        load(spare)


def test_a_start_that_is_no_token_of_the_tokenizer_counts_for_nothing(spare: Path) -> None:
    (spare / "generation_config.json").write_text('{"decoder_start_token_id": 295, "eos_token_id": 1}')
    loaded = load(spare)
    assert loaded.special.start == 295 >= loaded.tokenizer.vocab_size
    drawn = Sampling(temperature=0, max_tokens=6, repetition_penalty=1.2, no_repeat_ngram=1, presence_penalty=0.1)
    model, tokenizer, special = loaded
    (answer,) = generate(model, tokenizer, ["To be"], settings=drawn, seed=0, special=special)
    assert len(set(answer.ids)) == len(answer.ids) > 0
    search = Beam(beams=2, no_repeat_ngram=1)
    (found,) = find_answers(loaded, search, ["To be"], settings=Sampling(max_tokens=6))
    assert len(set(found.ids)) == len(found.ids) > 0


def test_a_model_that_writes_no_text_is_refused(tokenizer: Tokenizer, tmp_path: Path) -> None:
    config = transformers.BertConfig(
        vocab_size=280, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16
    )
    transformers.BertForMaskedLM(config).save_pretrained(tmp_path)
    tokenizer.save(tmp_path)
    with pytest.raises(CheckpointError, match=r"\(bert\) writes no text: it needs a decoder"):
        load(tmp_path)
