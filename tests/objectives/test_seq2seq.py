"""Pairs of texts from a file to rows, for models of both kinds."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoModelForCausalLM

from danlu.corpus.batches import IGNORE, collate
from danlu.corpus.reading import Packed, Padded, Stream
from danlu.corpus.rows import Piece, Widths, longest_body
from danlu.corpus.store import TokenStore
from danlu.errors import RecipeError
from danlu.nn.families import GPT, T5
from danlu.nn.hf.folder import save_model
from danlu.nn.transformer import Transformer
from danlu.objectives.protocol import Shape
from danlu.objectives.seq2seq import Seq2Seq
from danlu.recipe import load_recipe
from danlu.runs import run_stages
from danlu.tokenizers.tokenizer import Tokenizer
from danlu.tokenizers.vocabulary import Vocabulary

EOT, CLS, SEP = 0, 2, 3
PAIRS = [([130, 131], [140, 141, 142]), ([150], [160]), ([170, 171, 172, 173], [180])]


def make_store(pairs: list[tuple[list[int], list[int]]]) -> TokenStore:
    documents = [[*source, SEP, *target, EOT] for source, target in pairs]
    stream = np.array([EOT, *(token for document in documents for token in document)])
    starts = np.cumsum([0, *(len(document) for document in documents)])
    return TokenStore(stream, starts, [{}] * len(pairs), vocab_size=400, eot=EOT, sep=SEP)


def pieces_of(store: TokenStore, objective: Seq2Seq, sequence: int) -> list[list[Piece]]:
    rows = Packed().rows(store, Shape(objective, sequence), seed=0)
    return [rows[number] for number in range(rows.per_epoch)]


@given(
    sizes=st.lists(st.tuples(st.integers(1, 9), st.integers(1, 9)), min_size=1, max_size=8),
    encoder=st.booleans(),
    ends=st.sampled_from([((), ()), ((CLS,), (SEP,)), ((), (EOT,))]),
)
def test_pairs_come_back_and_are_as_long_as_measured(
    vocabulary: Vocabulary, sizes: list[tuple[int, int]], encoder: bool, ends: tuple[tuple[int, ...], tuple[int, ...]]
) -> None:
    pairs = [(list(range(130, 130 + one)), list(range(150, 150 + two))) for one, two in sizes]
    store, objective = make_store(pairs), Seq2Seq(encoder=encoder)
    known = replace(vocabulary, before=ends[0], after=ends[1])
    pieces = [piece for row in pieces_of(store, objective, 24) for piece in row]
    assert len(pieces) == len(pairs)
    for piece in pieces:
        source, target = pairs[piece.document]
        made = objective.example(piece, vocabulary=known, noise=np.random.default_rng(0))
        widths = objective.measure(store, np.array([piece.start + 1]), np.array([len(piece.body)]))
        most = objective.widths(np.array([len(piece.body)]))
        if encoder:
            assert made.source["tokens"].tolist() == [*ends[0], *source, *(ends[1] or [EOT])]
            assert made.targets["words"].tolist() == [*target, EOT]
            assert widths == (len(made.inputs["tokens"]), len(source) + 2)
            assert len(made.source["tokens"]) <= widths.source[0] <= most.source[0]
        else:
            assert made.inputs["tokens"].tolist() == [EOT, *source, SEP, *target]
            assert made.targets["words"].tolist() == [*[IGNORE] * (len(source) + 1), *target, EOT]
            assert widths.inputs[0] == len(made.inputs["tokens"])
        assert widths.inputs[0] <= most.inputs[0]


def test_each_side_has_its_own_places_and_a_pair_that_does_not_fit_is_left_out(vocabulary: Vocabulary) -> None:
    """Source and target of 14 and 15 tokens fill 16 places each; one more on either side does not fit."""
    pairs = [([130] * 14, [140] * 15), ([150] * 15, [160] * 2), ([170] * 2, [180] * 16), ([190], [200])]
    rows = pieces_of(make_store(pairs), Seq2Seq(), 16)
    found = {piece.document: piece for row in rows for piece in row}
    assert set(found) == {0, 3}
    made = Seq2Seq().example(found[0], vocabulary=vocabulary, noise=np.random.default_rng(0))
    assert made.targets["words"].tolist() == [140] * 15 + [EOT]
    assert (len(made.inputs["tokens"]), len(made.source["tokens"])) == (16, 15)  # room for two tokens around a source


def test_a_long_pair_loses_the_end_of_its_target_in_a_single_row(vocabulary: Vocabulary) -> None:
    pairs = [([130] * 4, [140] * 30), ([150] * 40, [160] * 2), ([170], [180])]
    objective = Seq2Seq(encoder=False)
    found = [piece for row in pieces_of(make_store(pairs), objective, 16) for piece in row]
    longest = longest_body(Shape(objective, 16))
    assert {piece.document: len(piece.body) for piece in found} == {0: longest, 2: 3}
    cut = next(piece for piece in found if piece.document == 0)
    made = objective.example(cut, vocabulary=vocabulary, noise=np.random.default_rng(0))
    scored = made.targets["words"][made.targets["words"] != IGNORE]
    assert scored.tolist() == [140] * (longest - 5)  # and no end-of-text


@pytest.mark.parametrize("prefix", [False, True])
def test_the_loss_of_a_decoder_is_that_of_transformers(prefix: bool, vocabulary: Vocabulary, tmp_path: Path) -> None:
    model = Transformer(GPT(layers=2, dim=32, heads=2).config(vocab_size=400, max_length=32))
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for weight in model.parameters():
            weight.normal_(0.0, 0.3, generator=generator)
    objective = Seq2Seq(encoder=False, prefix=prefix)
    (row,) = pieces_of(make_store(PAIRS), objective, 24)
    examples = [objective.example(piece, vocabulary=vocabulary, noise=np.random.default_rng(0)) for piece in row]
    ours = objective.losses(model, collate([examples], widths=Widths(24)))["words"]
    save_model(model, tmp_path)
    stock = AutoModelForCausalLM.from_pretrained(tmp_path, attn_implementation="eager")
    theirs = torch.zeros(())
    for source, target in PAIRS:
        tokens = torch.tensor([[EOT, *source, SEP, *target]])
        border, length = len(source) + 2, tokens.shape[1]
        seen = torch.ones(length, length).tril()
        if prefix:
            seen[:border, :border] = 1
        mask = torch.zeros(1, 1, length, length).masked_fill(seen == 0, float("-inf"))
        logits = stock(input_ids=tokens, attention_mask=mask).logits[0, border - 1 :]
        theirs = theirs + F.cross_entropy(logits, torch.tensor([*target, EOT]), reduction="sum")
    torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=0)


def test_what_is_asked_of_model_store_and_settings(vocabulary: Vocabulary, make_piece: Callable[..., Piece]) -> None:
    both, alone = (kind(layers=1, dim=16).config(vocab_size=9, max_length=9) for kind in (T5, GPT))
    assert Seq2Seq().config(both) == both and Seq2Seq(encoder=False).config(alone) == alone
    with pytest.raises(RecipeError, match="needs a model with an encoder and a decoder; got a decoder"):
        Seq2Seq().config(alone)
    with pytest.raises(RecipeError, match="needs a model with a decoder; got an encoder and a decoder"):
        Seq2Seq(encoder=False).config(both)
    with pytest.raises(ValueError, match="prefix has no effect with an encoder"):
        Seq2Seq(prefix=True)
    Seq2Seq().check(vocabulary, make_store(PAIRS))
    with pytest.raises(RecipeError, match=r"the store has none: name .* clean.sources.N.target_field"):
        Seq2Seq().check(vocabulary, make_piece(5).store)
    with pytest.raises(RecipeError, match="at most 2 tokens around a text; the tokenizer puts 3"):
        Seq2Seq().check(replace(vocabulary, before=(2, 2), after=(3,)), make_store(PAIRS))
    assert Seq2Seq().read_by(Padded()) == Padded()
    with pytest.raises(RecipeError, match=r"^rows: stream would tear pairs of texts apart; .*choices: packed"):
        Seq2Seq(encoder=False).read_by(Stream())


RECIPE = """
clean:
  sources: [{{path: pairs.jsonl, text_field: en, target_field: zh, language: en}}]
tokenizer: {{use: bpe, vocab_size: 480, special: [{special}]}}
pack: {{split: {{use: {split}, fraction: 0.2}}}}
pretrain:
  model: {{{model}, layers: 1, dim: 16}}
  objective: {{use: seq2seq, {objective}}}
  optimizer: adamw
  sequence: 48
  budget: {{steps: 2}}
  evaluations: 1
  compile: "off"
"""


@pytest.fixture
def in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    lines = [{"en": f"The number is {n}.", "zh": f"这个数是{n}。", "target_start": "3"} for n in range(60)]
    lines += [{"en": "No target."}, {"en": "  ", "zh": "空"}, {"en": "Two", "zh": 2}]  # type: ignore[dict-item]
    text = "\n".join(json.dumps(line, ensure_ascii=False) for line in lines)
    (tmp_path / "pairs.jsonl").write_text(text, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(folder: Path, **settings: str) -> Path:
    (folder / "r.yaml").write_text(RECIPE.format(**settings), encoding="utf-8")
    recipe = load_recipe(folder / "r.yaml")
    return run_stages(recipe, list(recipe.sections), lambda _: None, begin=lambda _: None).path


@pytest.mark.parametrize(
    ("model", "objective"), [("use: t5", "encoder: true"), ("use: gpt", "encoder: false, prefix: true")]
)
def test_a_file_of_pairs_is_trained_on(model: str, objective: str, in_folder: Path) -> None:
    folder = run(in_folder, model=model, objective=objective, special="t5, bert", split="hash")
    dropped = json.loads((folder / "clean" / "drops.json").read_text(encoding="utf-8"))
    assert dropped["kept"] == 60
    assert dropped["quarantined"] == {"a side of the pair is empty": 1, "no text in a field 'zh'": 2}
    tokenizer, store = Tokenizer.load(folder / "tokenizer"), TokenStore.open(folder / "pack" / "train")
    assert store.sep == tokenizer.special("sep_token")
    assert int((store.tokens == store.sep).sum()) == len(store.documents)
    first = store.tokens[1 : store.starts[1]].tolist()
    border = first.index(store.sep)
    source, target = tokenizer.decode(first[:border]), tokenizer.decode(first[border + 1 :])
    assert source.startswith("The number is ") and target == f"这个数是{source[14:-1]}。"
    assert (folder / "pretrain" / "model" / "model.safetensors").exists()


@pytest.mark.parametrize(
    ("special", "split", "told"),
    [("t5", "hash", "pairs of texts need a token between them"), ("bert", "tail", "tail would tear pairs")],
)
def test_pairs_need_a_separator_and_stay_whole(special: str, split: str, told: str, in_folder: Path) -> None:
    from danlu.errors import InputError

    with pytest.raises(InputError, match=told):
        run(in_folder, model="use: t5", objective="encoder: true", special=special, split=split)
