"""Fill-in-the-middle: both orders, how often each, where it is cut, what is scored; documents in one row as alone."""

from __future__ import annotations

from collections import Counter
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
from danlu.corpus.rows import Piece, Widths
from danlu.errors import RecipeError
from danlu.nn.families import GPT
from danlu.nn.hf.folder import save_model
from danlu.nn.transformer import Transformer
from danlu.objectives import fim
from danlu.objectives.fim import FillInTheMiddle
from danlu.tokenizers.bpe import BPE
from danlu.tokenizers.cutter import Cutter
from danlu.tokenizers.vocabulary import Vocabulary

EOT, PRE, MID, SUF = 0, 5, 6, 7


def read_back(tokens: list[int]) -> tuple[str, list[int]]:
    """The order that a document is in, and its text, by the paper's formulas (its 3.1 and 4)."""
    if PRE not in tokens:
        return "plain", tokens
    middle = tokens.index(MID)
    if tokens[:2] == [PRE, SUF] and len(tokens) > 2:
        return "spm", tokens[middle + 1 :] + tokens[2:middle]  # which is its prefix and middle, and its suffix
    suffix = tokens.index(SUF)
    return "psm", tokens[1:suffix] + tokens[middle + 1 :] + tokens[suffix + 1 : middle]


@given(length=st.integers(1, 40), closes=st.booleans(), seed=st.integers(0, 99), spm=st.sampled_from([0.0, 0.5, 1.0]))
def test_nothing_is_lost_and_all_is_scored(
    make_piece: Callable[..., Piece], vocabulary: Vocabulary, length: int, closes: bool, seed: int, spm: float
) -> None:
    piece = make_piece(length, closes=closes)
    objective = FillInTheMiddle(rate=1.0, spm=spm)
    made = objective.example(piece, vocabulary=vocabulary, noise=np.random.default_rng(seed))
    tokens, targets = made.inputs["tokens"].tolist(), made.targets["words"].tolist()
    assert tokens[0] == EOT and targets == [*tokens[1:], EOT]
    assert sorted(token for token in tokens[1:] if token in (PRE, MID, SUF)) == [PRE, MID, SUF]
    if spm == 1.0:
        middle = tokens.index(MID)
        assert tokens[1:3] == [PRE, SUF] and tokens[middle + 1 :] + tokens[3:middle] == piece.body.tolist()
    if spm == 0.0:
        suffix, middle = tokens.index(SUF), tokens.index(MID)
        assert tokens[1] == PRE
        assert tokens[2:suffix] + tokens[middle + 1 :] + tokens[suffix + 1 : middle] == piece.body.tolist()
    assert len(tokens) == length + 4 <= objective.widths(np.array(length)).inputs


TEXT = "It was the best of times, it was the worst of times; 话说天下大势，分久必合，合久必分。"
TOKENIZER = BPE(vocab_size=300).train([TEXT * 4])


@pytest.fixture
def cutting(vocabulary: Vocabulary) -> Vocabulary:
    """It knows its tokenizer; special tokens are others than those of the text."""
    shift = TOKENIZER.vocab_size
    roles = {
        "eot": EOT,
        **{f"fim_{name}": shift + number for number, name in enumerate(("prefix", "middle", "suffix"))},
    }
    return replace(vocabulary, roles=roles, cutter=Cutter.of(TOKENIZER))


def texts_of(tokens: list[int], vocabulary: Vocabulary) -> tuple[str, str, str]:
    """Prefix, middle and suffix in the order PSM."""
    before, between, behind = (tokens.index(vocabulary.roles[f"fim_{name}"]) for name in ("prefix", "middle", "suffix"))
    assert before == 0 < behind < between
    parts = (tokens[1:behind], tokens[between + 1 :], tokens[behind + 1 : between])
    return tuple(TOKENIZER.decode(part) for part in parts)  # type: ignore[return-value]


def test_it_is_cut_between_any_two_characters(make_piece: Callable[..., Piece], cutting: Vocabulary) -> None:
    """Each of the places around as often, words or not; the parts are those of their texts, and the text is whole."""
    piece, objective, noise = (
        make_piece(TOKENIZER.encode(TEXT)),
        FillInTheMiddle(rate=1, spm=0),
        np.random.default_rng(3),
    )
    counts, room, draws = Counter[int](), int(objective.widths(np.array(len(piece.body))).inputs), 1500
    own = 0
    for _ in range(draws):
        made = objective.example(piece, vocabulary=cutting, noise=noise)
        tokens = made.inputs["tokens"].tolist()[1:]
        assert len(tokens) < room
        parts = texts_of(tokens, cutting)
        assert "".join(parts) == TEXT
        counts.update([len(parts[0]), len(parts[0] + parts[1])])
        shifted = [cutting.roles[f"fim_{name}"] for name in ("prefix", "suffix", "middle")]
        encoded = [TOKENIZER.encode(parts[number]) for number in (0, 2, 1)]
        own += tokens == [token for one, part in zip(shifted, encoded, strict=True) for token in (one, *part)]
    assert own > 0.8 * draws  # what a user's own text gives, but where that takes more places than there are
    assert set(counts) == set(range(len(TEXT) + 1))
    inside = np.array([counts[place] for place in range(len(TEXT) + 1)])
    assert inside.min() > 0.2 * inside.mean() and inside.max() < 2.5 * inside.mean()


def test_a_cut_that_takes_too_many_tokens_is_at_the_token_before(
    make_piece: Callable[..., Piece], cutting: Vocabulary, monkeypatch: pytest.MonkeyPatch
) -> None:
    piece, ends = make_piece(TOKENIZER.encode(TEXT)), set[int]()
    monkeypatch.setattr(fim, "SPARE", -1)
    for seed in range(60):
        made = FillInTheMiddle(rate=1, spm=0).example(piece, vocabulary=cutting, noise=np.random.default_rng(seed))
        parts = texts_of(made.inputs["tokens"].tolist()[1:], cutting)
        assert "".join(parts) == TEXT
        assert len(made.inputs["tokens"]) == len(piece.body) + 4
        ends |= {len(parts[0]), len(parts[0] + parts[1])}
    known = {len(TOKENIZER.decode(piece.body[:place])) for place in range(len(piece.body) + 1)}
    assert len(ends) > 15 and ends <= known


def test_spm_is_cut_between_characters_too(make_piece: Callable[..., Piece], cutting: Vocabulary) -> None:
    piece, within = make_piece(TOKENIZER.encode(TEXT)), 0
    for seed in range(50):
        made = FillInTheMiddle(rate=1, spm=1).example(piece, vocabulary=cutting, noise=np.random.default_rng(seed))
        tokens = made.inputs["tokens"].tolist()
        middle = tokens.index(cutting.roles["fim_middle"])
        assert tokens[1:3] == [cutting.roles["fim_prefix"], cutting.roles["fim_suffix"]]
        assert TOKENIZER.decode(tokens[middle + 1 :]) + TOKENIZER.decode(tokens[3:middle]) == TEXT
        within += tokens[middle + 1 :] + tokens[3:middle] != piece.body.tolist()
    assert within > 25  # most cuts are within a word


def test_what_is_not_the_text_of_its_tokens_is_cut_between_them(
    make_piece: Callable[..., Piece], cutting: Vocabulary
) -> None:
    letters = [TOKENIZER.encode(letter)[0] for letter in "times of times"]
    made = FillInTheMiddle(rate=1, spm=0).example(
        make_piece(letters), vocabulary=cutting, noise=np.random.default_rng(0)
    )
    tokens = [token for token in made.inputs["tokens"].tolist()[1:] if token not in cutting.roles.values()]
    assert sorted(tokens) == sorted(letters)


def test_both_orders_are_as_frequent_as_said(make_piece: Callable[..., Piece], vocabulary: Vocabulary) -> None:
    noise, piece = np.random.default_rng(0), make_piece(30)
    counts: Counter[str] = Counter()
    for _ in range(2000):
        made = FillInTheMiddle(rate=0.6, spm=0.25).example(piece, vocabulary=vocabulary, noise=noise)
        order, text = read_back(made.inputs["tokens"].tolist()[1:])
        assert text == piece.body.tolist()
        counts[order] += 1
    expected = {"plain": 800, "spm": 300, "psm": 900}
    # An empty prefix in the order PSM reads like SPM with an empty one: 2 of 31 ends, drawn twice, so 6 % of them.
    chi_square = (counts["plain"] - 800) ** 2 / 480
    assert chi_square < 16
    assert counts["spm"] == pytest.approx(expected["spm"] + 0.063 * expected["psm"], abs=5 * np.sqrt(300))


def test_cuts_are_drawn_evenly_and_sorted(make_piece: Callable[..., Piece], vocabulary: Vocabulary) -> None:
    """Two places of the 6 around 5 tokens: a pair as often as its two orders, 1 or 2 in 36."""
    noise, piece = np.random.default_rng(1), make_piece(5)
    counts: Counter[tuple[int, int]] = Counter()
    for _ in range(3600):
        made = FillInTheMiddle(rate=1, spm=0).example(piece, vocabulary=vocabulary, noise=noise)
        tokens = made.inputs["tokens"].tolist()
        first = tokens.index(SUF) - 2
        counts[first, first + len(tokens) - tokens.index(MID) - 1] += 1
    expected = {(one, two): 100 * (1 + (one < two)) for one in range(6) for two in range(one, 6)}
    assert counts.keys() == expected.keys()
    assert sum((counts[pair] - count) ** 2 / count for pair, count in expected.items()) < 20 + 5 * np.sqrt(40)


def test_what_is_not_moved_is_causal_language_modelling(
    make_piece: Callable[..., Piece], vocabulary: Vocabulary
) -> None:
    made = FillInTheMiddle(rate=0).example(
        make_piece([130, 131, 132], seen=1), vocabulary=vocabulary, noise=np.random.default_rng(0)
    )
    assert made.inputs["tokens"].tolist() == [EOT, 130, 131, 132]
    assert made.targets["words"].tolist() == [IGNORE, 131, 132, EOT]


def test_packed_documents_cost_what_they_cost_alone(
    make_piece: Callable[..., Piece], vocabulary: Vocabulary, tmp_path: Path
) -> None:
    model = Transformer(GPT(layers=2, dim=32, heads=2).config(vocab_size=400, max_length=64))
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for weight in model.parameters():
            weight.normal_(0.0, 0.3, generator=generator)
    noise = np.random.default_rng(2)
    examples = [
        FillInTheMiddle().example(make_piece(length), vocabulary=vocabulary, noise=noise) for length in (9, 3, 14, 6)
    ]
    assert {len(each.inputs["tokens"]) - length for each, length in zip(examples, (9, 3, 14, 6), strict=True)} == {1, 4}
    made = collate([examples], widths=Widths(60))
    ours = FillInTheMiddle().losses(model, made)["words"]
    save_model(model, tmp_path)
    stock = AutoModelForCausalLM.from_pretrained(tmp_path)
    theirs = torch.zeros(())
    for each in examples:
        logits = stock(input_ids=torch.tensor(each.inputs["tokens"])[None]).logits[0]
        theirs = theirs + F.cross_entropy(logits, torch.tensor(each.targets["words"]), reduction="sum")
    torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=0)


def test_what_a_tokenizer_must_have(make_piece: Callable[..., Piece], vocabulary: Vocabulary) -> None:
    store = make_piece(5).store
    FillInTheMiddle().check(vocabulary, store)
    with pytest.raises(RecipeError, match=r"tokens fim_prefix, fim_middle, fim_suf.* set tokenizer.special to \[fim\]"):
        FillInTheMiddle().check(Vocabulary.bare(50, 0), store)
