"""Folders of ``transformers`` with tokenizers of other kinds, end to end: the text is what it writes itself."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest
import tokenizers
import torch
import transformers

from danlu.generate.beam import Beam
from danlu.generate.constrained import constraint_of
from danlu.generate.engine import Loaded, generate, load, stream
from danlu.generate.sampling import Sampling
from danlu.generate.searching import find_answers
from danlu.nn.hf.folder import load_model, save_model
from danlu.nn.hf.import_model import import_model
from danlu.tasks.embed import Embedder
from danlu.tokenizers.tokenizer import Tokenizer

PROMPTS = ["It was the", "话说天下", "they said!  \n\n", "a café 👩", "It's 1594 why", "the best of  times,"]
GREEDY = Sampling(temperature=0, max_tokens=24)
SIZES = {"hidden_size": 32, "num_attention_heads": 4, "intermediate_size": 48, "num_hidden_layers": 2}


def write_folder(kind: Path, folder: Path, model_class: Any, config: Callable[[int], Any]) -> Any:
    """A random model of transformers beside a tokenizer; the model."""
    shutil.copytree(kind, folder)
    torch.manual_seed(1)
    stock = model_class(config(len(transformers.AutoTokenizer.from_pretrained(folder)))).eval()
    for name, weight in stock.named_parameters():
        if "norm" not in name:
            torch.nn.init.normal_(weight, 0.0, 0.35)
    stock.save_pretrained(folder)
    return stock


@pytest.fixture(scope="module")
def mistral(kinds: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    def config(size: int) -> Any:
        return transformers.MistralConfig(
            **SIZES, vocab_size=size, num_key_value_heads=2, max_position_embeddings=128, sliding_window=None
        )

    folder = tmp_path_factory.mktemp("imported") / "mistral"
    return folder, write_folder(kinds["byte fallback"], folder, transformers.MistralForCausalLM, config)


@pytest.fixture(scope="module")
def t5(kinds: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    def config(size: int) -> Any:
        return transformers.T5Config(
            vocab_size=size, d_model=32, d_kv=8, d_ff=48, num_layers=2, num_heads=4, decoder_start_token_id=0
        )

    folder = tmp_path_factory.mktemp("imported") / "t5"
    return folder, write_folder(kinds["Unigram"], folder, transformers.T5ForConditionalGeneration, config)


def stock_text(folder: Path, stock: Any, prompt: str, **settings: Any) -> str:
    """What transformers writes behind the prompt, or as an answer to it."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    inputs = tokenizer(prompt, return_tensors="pt")
    (ids,) = stock.generate(
        inputs.input_ids, attention_mask=inputs.attention_mask, max_new_tokens=24, do_sample=False, pad_token_id=0,
        **settings,
    )  # fmt: skip
    whole: str = tokenizer.decode(ids, skip_special_tokens=True)
    return whole if stock.config.is_encoder_decoder else whole.removeprefix(prompt)


@pytest.mark.parametrize("family", ["mistral", "t5"])
def test_greedy_text_is_that_of_transformers(family: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    folder, stock = request.getfixturevalue(family)
    rows = import_model(str(folder), tmp_path / "imported")
    assert rows["tokenizer"] == {"mistral": "BPE, 380 tokens", "t5": "Unigram, 70 tokens"}[family]
    for place in (folder, tmp_path / "imported"):
        model, tokenizer, special = load(place)
        answers = generate(model, tokenizer, PROMPTS, settings=GREEDY, seed=0, special=special)
        assert [answer.text for answer in answers] == [stock_text(folder, stock, prompt) for prompt in PROMPTS]
        assert len({answer.text for answer in answers}) > 3
    for prompt, answer in zip(PROMPTS, answers, strict=True):
        pieces = list(stream(model, tokenizer, prompt, settings=GREEDY, seed=0, special=special))
        assert len(pieces) == answer.tokens
        assert "".join(pieces) == answer.text


@pytest.mark.parametrize("family", ["mistral", "t5"])
def test_beams_write_what_those_of_transformers_write(family: str, request: pytest.FixtureRequest) -> None:
    folder, stock = request.getfixturevalue(family)
    random = Random(0)
    prompts = ["".join(random.choices("Itwashebof天下,.é", k=4)) for _ in range(80)]  # some go on with a space
    answers = find_answers(load(folder), Beam(beams=3), prompts, settings=GREEDY)
    assert [answer.text for answer in answers] == [
        stock_text(folder, stock, prompt, num_beams=3, early_stopping=False) for prompt in prompts
    ]
    assert any(answer.text.startswith(" ") for answer in answers) == (family == "mistral")


@pytest.mark.parametrize("family", ["mistral", "t5"])
@pytest.mark.parametrize(
    "regex", [r"(the|best|话说){2,4}", r"( was| times|,){2,3}", r"t(he)? best (天下){1,2}", r"[te]{3}"]
)
def test_constrained_text_matches_whatever_begins_it(family: str, regex: str, request: pytest.FixtureRequest) -> None:
    """Where a text begins, SentencePiece's tokens lose the space before them; behind a prompt they keep it."""
    loaded: Loaded = load(request.getfixturevalue(family)[0])
    settings = Sampling(temperature=2.0, max_tokens=40, regex=regex)
    answers = generate(
        loaded.model, loaded.tokenizer, ["", "It was the"] * 8, settings=settings, seed=0, special=loaded.special
    )
    for answer in answers:
        assert answer.end == "end_of_text"
        assert re.fullmatch(regex, answer.text), answer
    assert len({answer.text for answer in answers}) > 1 or regex.startswith("t(")


@pytest.mark.parametrize("kind", ["byte fallback", "Unigram"])
def test_the_first_word_may_be_a_token_with_its_space(kinds: dict[str, Path], kind: str) -> None:
    tokenizer, stock = Tokenizer.load(kinds[kind]), transformers.AutoTokenizer.from_pretrained(kinds[kind])
    for begun in (False, True):
        constraint = constraint_of(tokenizer, ends=[tokenizer.eot], regex="to|the|it", json_schema=None, begun=begun)
        assert constraint is not None
        ids: list[int] = []
        while not constraint.complete:
            allowed = stock.convert_ids_to_tokens(constraint.allowed_V.nonzero().flatten().tolist())
            spaced = [token for token in allowed if token.startswith("▁")]
            assert bool(spaced) == (not begun and not ids)
            ids.append(stock.convert_tokens_to_ids((spaced or allowed)[0]))
            constraint.take(ids[-1])
        assert tokenizer.decode(ids, after=tokenizer.encode("a") if begun else []) in ("to", "the", "it")


@pytest.mark.parametrize("files", [["tokenizer.json", "tokenizer_config.json"], ["vocab.txt"]], ids=" ".join)
def test_bert_embeds_as_in_transformers(kinds: dict[str, Path], tmp_path: Path, files: list[str]) -> None:
    """With Chinese, whatever of its tokenizer is in the folder."""

    def config(size: int) -> Any:
        return transformers.BertConfig(**SIZES, vocab_size=size, max_position_embeddings=40)

    folder = tmp_path / "bert"
    stock = write_folder(kinds["WordPiece"], folder, transformers.BertModel, config)
    vocabulary = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json")).get_vocab()
    (folder / "vocab.txt").write_text("".join(f"{token}\n" for token in sorted(vocabulary, key=vocabulary.__getitem__)))
    for path in (*folder.glob("tokenizer*"), folder / "vocab.txt", folder / "special_tokens_map.json"):
        if path.name not in files:
            path.unlink(missing_ok=True)
    assert import_model(str(folder), tmp_path / "imported")["tokenizer"] == "WordPiece, 100 tokens"
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    texts = [*PROMPTS, "times it", "the best of times, " * 20]
    vectors_ND = Embedder.load(tmp_path / "imported", dtype=torch.float32).embed(texts)
    for text, vector_D in zip(texts, vectors_ND, strict=True):
        inputs = tokenizer(text, truncation=True, max_length=40, return_tensors="pt")
        with torch.no_grad():
            hidden_1TD = stock(**inputs).last_hidden_state
        model = load_model(folder)
        expected_1D = model.head(hidden_1TD, None)
        torch.testing.assert_close(vector_D[None], expected_1D, rtol=1e-4, atol=1e-5)


def test_a_model_is_saved_with_a_tokenizer_of_another_kind(t5: tuple[Path, Any], tmp_path: Path) -> None:
    folder, stock = t5
    save_model(load_model(folder), tmp_path, tokenizer=folder)
    assert Tokenizer.load(tmp_path).encode(PROMPTS[0]) == Tokenizer.load(folder).encode(PROMPTS[0])
    assert json.loads((tmp_path / "generation_config.json").read_text())["eos_token_id"] == 1
    again = transformers.AutoModelForSeq2SeqLM.from_pretrained(tmp_path)
    assert stock_text(tmp_path, again, PROMPTS[1], decoder_start_token_id=0) == stock_text(folder, stock, PROMPTS[1])
