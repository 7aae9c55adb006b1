"""What is masked, counted in English and Chinese, beside the figures of the papers.

The words are those of ``pack``; where one begins is read from its marks here once more, by hand.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from danlu.corpus.batches import IGNORE, Example
from danlu.corpus.marks import WORD, Marks
from danlu.corpus.rows import Piece
from danlu.corpus.store import TokenStore
from danlu.objectives.masking import Masking, NGrams, Spans, Tokens, Words
from danlu.objectives.mlm import MaskedLM
from danlu.objectives.span_corruption import SpanCorruption
from danlu.verify.outcome import Outcome
from danlu.verify.sample import Sample

RATE, MASKED, RANDOM = 0.15, 0.8, 0.1
"""BERT's (Devlin et al. 2019, arXiv:1810.04805, appendix A.1)."""
SPANBERT_P, SPANBERT_LONGEST, SPANBERT_MEAN = 0.2, 10, 3.8
"""Lengths of spans (Joshi et al. 2020, arXiv:1907.10529, section 3.1)."""
T5_RATE, T5_MEAN, T5_LENGTHS = 0.15, 3.0, {512: (568, 114)}
"""Share, mean length, and what a row of 512 holds and has written (Raffel et al. 2020, arXiv:1910.10683; its code)."""
DEVIATIONS = 5.0
"""Standard deviations that a count may be off: what chance does once in two million times."""
ROWS = 600
CHOICES: list[Masking] = [Tokens(), Words(), NGrams()]


def shares(sample: Sample) -> Outcome:
    """How much is masked, and what stands there then."""
    faults: list[str] = []
    counted, largest, roles = 0, 0.0, sample.vocabulary.roles
    for language, pieces in _rows(sample, ROWS).items():
        for units in CHOICES:
            objective, name = MaskedLM(units=units), f"{language}, {type(units).__name__.lower()}"
            scored = hidden = swapped = places = 0
            for piece, example in zip(pieces, _examples(sample, objective, pieces), strict=True):
                before = np.concatenate([[roles["cls"]], piece.body, [roles["sep"]]])
                now, targets = example.inputs["tokens"], example.targets["words"]
                chosen = targets != IGNORE
                if (now[~chosen] != before[~chosen]).any() or (targets[chosen] != before[chosen]).any():
                    faults.append(f"{name}: another token than the chosen ones has changed, or a target is wrong")
                places, scored = places + len(before), scored + int(chosen.sum())
                hidden += int((now[chosen] == roles["mask"]).sum())
                swapped += int(((now != before) & (now != roles["mask"]))[chosen].sum())
            counted += scored
            # One swap in as many as there are words is for the word itself.
            seen = RANDOM * (1 - 1 / len(sample.vocabulary.ordinary))
            far = {
                "masked": _deviations(hidden, scored, MASKED), "swapped": _deviations(swapped, scored, seen),
            }  # fmt: skip
            faults += [f"{name}: {what} {each:.1f} deviations off" for what, each in far.items() if each > DEVIATIONS]
            if abs(scored / places - RATE) > 0.005:
                faults.append(f"{name}: {scored / places:.1%} are chosen, not {RATE:.0%}")
            largest = max(largest, *far.values())
    compared = f"{counted:,} chosen tokens, en and zh; 15 % of all, of those 80 % hidden, 10 % swapped, 10 % kept"
    return Outcome(compared, f"{largest:.1f} sigma", f"{DEVIATIONS:.0f} sigma", faults)


def whole_words(sample: Sample) -> Outcome:
    """That no word is masked in part."""
    faults: list[str] = []
    words = 0
    for language, pieces in _rows(sample, ROWS).items():
        for units in (Words(), Spans(), NGrams()):
            several = 0
            for piece, example in zip(pieces, _examples(sample, MaskedLM(units=units), pieces), strict=True):
                assert piece.marks is not None
                chosen = (example.targets["words"] != IGNORE)[1 : 1 + len(piece.body)]
                for begin, end in _words(piece.marks):
                    inside = int(chosen[begin:end].sum())
                    several += end - begin > 1 and inside > 0
                    if 0 < inside < end - begin:
                        faults.append(f"{language}, {type(units).__name__.lower()}: a word is masked in part")
            words += several
            if not several:
                faults.append(f"{language}, {type(units).__name__.lower()}: no word of several tokens was masked")
    compared = f"{words:,} masked words of several tokens, en and zh; words, spans, n-grams"
    return Outcome(compared, f"{len(faults)} cut", "0 cut", faults)


def spans(sample: Sample) -> Outcome:
    """How long spans are."""
    lengths, far = _spanbert(sample)
    faults = [f"SpanBERT's lengths: {far:.1f} deviations off"] if far > DEVIATIONS else []
    mean = float(np.mean(lengths))
    if abs(mean - SPANBERT_MEAN) > 0.15:
        faults.append(f"SpanBERT's spans have {mean:.2f} words on average, not {SPANBERT_MEAN}")
    share, length, wrong = _t5(sample)
    faults += wrong
    compared = (
        f"{len(lengths):,} spans of {mean:.2f} words (SpanBERT: {SPANBERT_MEAN}); T5: {share:.1%} in spans of "
        f"{length:.2f} (15 %, 3), rows of 512 hold 568 and write 114"
    )
    return Outcome(compared, f"{far:.1f} sigma", f"{DEVIATIONS:.0f} sigma", faults)


def _spanbert(sample: Sample) -> tuple[list[int], float]:
    """Words of every span in long texts, and by how many deviations their squared differences are off."""
    lengths: list[int] = []
    for seed, pieces in enumerate(_rows(sample, 1, tokens=60_000).values()):
        marks = pieces[0].marks
        assert marks is not None
        chosen = Spans().choose(np.arange(len(marks)), marks, len(marks) * 15 // 100, np.random.default_rng(seed))
        begins = (marks[chosen.places] & WORD) != 0
        lengths += np.bincount(chosen.groups, weights=begins).astype(int).tolist()[:-3]  # the last fill what is left
    weights = SPANBERT_P * (1 - SPANBERT_P) ** np.arange(SPANBERT_LONGEST)
    expected = weights / weights.sum() * len(lengths)
    counts = np.bincount(lengths, minlength=SPANBERT_LONGEST + 1)[1:]
    freedom = SPANBERT_LONGEST - 1
    return lengths, float((((counts - expected) ** 2 / expected).sum() - freedom) / (2 * freedom) ** 0.5)


def _t5(sample: Sample) -> tuple[float, float, list[str]]:
    """The share of noise, the mean length of its spans, and what is wrong."""
    objective = SpanCorruption()
    vocabulary = replace(sample.vocabulary, roles={**sample.vocabulary.roles, "start": sample.vocabulary.eot})
    known = set(vocabulary.sentinels)
    noise = spans_ = tokens = 0
    for seed, piece in enumerate(_rows(sample, 20, tokens=540)["en"]):
        made = objective.example(piece, vocabulary=vocabulary, noise=np.random.default_rng(seed))
        cut = [token for token in made.targets["words"].tolist() if token in known]
        noise += len(made.targets["words"]) - len(cut) - 1
        spans_, tokens = spans_ + len(cut), tokens + len(piece.body)
    faults = []
    if abs(noise / tokens - T5_RATE) > 0.002 or abs(noise / spans_ - T5_MEAN) > 0.05:
        faults.append(f"T5: {noise / tokens:.1%} are cut out, in spans of {noise / spans_:.2f}")
    for sequence, (longest, written) in T5_LENGTHS.items():
        widths = objective.widths(np.array([longest, longest + 1]))
        fitting = (int(widths.source[0]), int(widths.inputs[0])) == (sequence, written)
        if not fitting or int(widths.source[1]) <= sequence or objective.room(sequence) != (written, sequence):
            faults.append(f"T5: a row of {sequence} does not hold {longest} tokens and {written} of what is written")
    return noise / tokens, noise / spans_, faults


def _examples(sample: Sample, objective: MaskedLM, pieces: list[Piece]) -> list[Example]:
    return [
        objective.example(piece, vocabulary=sample.vocabulary, noise=np.random.default_rng(seed))
        for seed, piece in enumerate(pieces)
    ]


def _rows(sample: Sample, count: int, *, tokens: int = 0) -> dict[str, list[Piece]]:
    """Of each language, stretches of a long text of 60 to 250 tokens, or of so many."""
    found = {}
    for language in ("en", "zh"):
        store = _long(sample.store, language)
        draw = np.random.default_rng(5)
        found[language] = [_piece(store, draw, tokens or int(draw.integers(60, 250))) for _ in range(count)]
    return found


def _piece(store: TokenStore, draw: np.random.Generator, length: int) -> Piece:
    start = int(draw.integers(0, len(store.tokens) - length - 2))
    return Piece(store, start, np.asarray(store.tokens[start : start + length + 1], dtype=np.int64))


def _long(store: TokenStore, language: str) -> TokenStore:
    """All documents of a language behind each other, again and again, as one document."""
    assert store.marks is not None
    own = [number for number, each in enumerate(store.documents) if each["language"] == language]
    places = np.concatenate([np.arange(int(store.starts[number]) + 1, int(store.starts[number + 1])) for number in own])
    places = np.tile(places, -(-65_000 // len(places)))
    ends = np.array([0])
    tokens = np.concatenate([[store.eot], store.tokens[places], [store.eot]]).astype(np.int64)
    marks = np.concatenate([store.marks[ends], store.marks[places], store.marks[ends]])
    return TokenStore(tokens, np.array([0, len(tokens) - 1]), [{}], store.vocab_size, store.eot, marks, store.marked)


def _words(marks: Marks) -> list[tuple[int, int]]:
    """Where each word begins and ends."""
    begins = [place for place in range(len(marks)) if marks[place] & WORD or place == 0]
    return list(zip(begins, [*begins[1:], len(marks)], strict=True))


def _deviations(found: int, of: int, share: float) -> float:
    """How many standard deviations of a binomial count it is off."""
    return float(abs(found - of * share) / math.sqrt(of * share * (1 - share)))
