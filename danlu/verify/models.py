"""``danlu verify models``: every family against ``transformers`` on this machine, one line each.

Models with random weights go both ways. From ``transformers`` to us: its folder is read here, and logits and
losses are those of ``transformers``, whether rows stand by themselves, in a batch padded left or right, packed
into one row, or are read piece by piece with a cache; so are greedy tokens and, of encoder-decoders, what beam
search finds, both written as ``danlu generate`` writes. From us to ``transformers``: the folder that we write
loads there, nothing missing and nothing left over, and gives the same again.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from danlu.errors import InputError, VerificationError, suggestion
from danlu.nn.hf.folder import load_model, save_model
from danlu.nn.transformer import Transformer
from danlu.verify import ours, theirs
from danlu.verify.case import RESERVED, Case, make_rows
from danlu.verify.decoders import DECODERS
from danlu.verify.encoders import ENCODER_DECODERS, ENCODERS
from danlu.verify.losses import make_targets, our_loss

CASES = [*DECODERS, *ENCODERS, *ENCODER_DECODERS]
FAMILIES = list(dict.fromkeys(case.family for case in CASES))
LOGITS, LOSS = 1e-5, 1e-6
"""The largest relative differences that are allowed, in float32."""
PROMPTS, DRAWN = 50, 64
"""How many texts are gone on with, and by how many tokens each."""
SEARCHED, BEAMS, FOUND = 20, 4, 24
"""How many texts are answered by beam search, with how many beams, by how many tokens each at most."""
SHORTEST, LONGEST = 3, 20
"""Tokens of a prompt."""


@dataclass(slots=True)
class Measured:
    """What came out of one case."""

    logits: dict[str, float] = field(default_factory=dict)
    """By the form of the rows, the largest difference over the largest number."""
    loss: dict[str, float] = field(default_factory=dict)
    """By the direction, the relative difference; empty for bare models."""
    greedy: tuple[int, int] = (0, 0)
    """Prompts that are gone on with alike, of how many."""
    beam: tuple[int, int] = (0, 0)
    """Texts to which beam search finds the same answer, of how many."""
    ties: int = 0
    """Prompts gone on with otherwise where two tokens are equally likely, as far as float32 can tell."""
    beam_ties: int = 0
    """Other answers that are as good, as far as float32 can tell."""
    answers: int = 0
    """Different ones that beam search finds."""
    varied: float = math.nan
    """Different tokens in what was written to a prompt, on average."""
    wrong: list[str] = field(default_factory=list)
    """What else does not hold."""

    @property
    def faults(self) -> list[str]:
        """What does not hold, in words."""
        found = [f"{form}: logits {worst:.1e}" for form, worst in self.logits.items() if not worst <= LOGITS]
        found += [f"{way}: loss {worst:.1e}" for way, worst in self.loss.items() if not worst <= LOSS]
        written = {"greedy": (*self.greedy, self.ties), "beam": (*self.beam, self.beam_ties)}
        found += [f"{what} {same} of {all_}" for what, (same, all_, ties) in written.items() if same + ties < all_]
        return found + self.wrong


def measure(case: Case) -> Measured:
    """Compare one model, both ways.

    Raises:
        InputError: ``transformers`` is not installed.
        CheckpointError: one of the folders cannot be read here.
    """
    measured = Measured()
    stock = theirs.make_model(case)
    rows = make_rows(case, stock.config)
    targets = make_targets(case, stock.config, rows)
    with tempfile.TemporaryDirectory() as name:
        given, written = Path(name, "given"), Path(name, "written")
        theirs.save(case, stock, given)
        model = load_model(given)
        save_model(model, written)
        back, measured.wrong = theirs.load(case, written)
        measured.wrong += _changes(model, load_model(written))
    truth = theirs.outputs(stock, rows)
    for form, read in _forms(case, model).items():
        found = read(model, rows)
        if form == "packed" and not found:  # scores of rows, which packed rows have none of
            continue
        measured.logits[form] = difference(truth, found, whole=form != "packed")
    measured.logits["back"] = difference(ours.alone(model, rows), theirs.outputs(back, rows))
    if targets:
        loss = our_loss(model, rows, targets)
        for way, other in (("there", stock), ("back", back)):
            expected = theirs.loss(other, rows, targets)
            measured.loss[way] = abs(loss - expected) / abs(expected)
    if case.greedy:
        _write(case, stock, model, measured)
    return measured


def difference(expected: theirs.Outputs, found: theirs.Outputs, *, whole: bool = True) -> float:
    """The largest difference over the largest number, the worst of all outputs; endless where one is not there.

    No number where one of the outputs holds what is none.
    """
    names = expected.keys() if whole else expected.keys() & found.keys()
    if (
        not names
        or (whole and found.keys() != names)
        or any(found[name].shape != expected[name].shape for name in names)
    ):
        return math.inf
    each = [float((found[name] - expected[name]).abs().max() / expected[name].abs().max()) for name in names]
    return _worst(each)


def _worst(differences: Sequence[float]) -> float:
    """The largest; no number where one is none, which ``max`` would pass over."""
    return math.nan if any(map(math.isnan, differences)) else max(differences)


def lines(family: str | None = None) -> Iterator[str]:
    """A head and, as each is done, a line for each family, or for one.

    Raises:
        InputError: there is no such family, or ``transformers`` is not installed.
        VerificationError: after the last line, where something does not hold.
    """
    if family is not None and family not in FAMILIES:
        raise InputError(f"--family: unknown family {family!r}{suggestion(family, FAMILIES)}")
    version = theirs.transformers().__version__
    yield f"float32, against transformers {version}: logits within {LOGITS:.0e}, loss within {LOSS:.0e}"
    yield _columns("family", "logits", "loss", "greedy", "beam", "verdict", "compared")
    failed = []
    for each in [family] if family is not None else FAMILIES:
        cases = [case for case in CASES if case.family == each]
        measured = [measure(case) for case in cases]
        if any(one.faults for one in measured):
            failed.append(each)
        yield _line(each, cases, measured)
    if failed:
        raise VerificationError(f"not the same as transformers: {', '.join(failed)}")


def _forms(case: Case, model: Transformer) -> dict[str, ours.Form]:
    """The ways in which the rows are read."""
    forms: dict[str, ours.Form] = {"alone": ours.alone}
    if not case.by_length:
        forms |= {"padded left": ours.padded_left, "padded right": ours.padded_right, "packed": ours.packed}
        if model.decoder is not None:
            forms["cached"] = ours.cached
    return forms


def _changes(model: Transformer, again: Transformer) -> list[str]:
    """What is lost between writing a folder and reading it here."""
    if again.config != model.config:
        return ["read again the configuration differs"]
    there, here = again.state_dict(), model.state_dict()
    return [f"read again {name} differs" for name in here if not torch.equal(there[name], here[name])]


def _write(case: Case, stock: Any, model: Transformer, measured: Measured) -> None:
    generator = torch.Generator().manual_seed(case.seed + 2)
    shortest = LONGEST if case.by_length else SHORTEST
    lengths = torch.randint(shortest, LONGEST + 1, (PROMPTS,), generator=generator).tolist()
    prompts = [torch.randint(RESERVED, model.config.vocab_size, (n,), generator=generator) for n in lengths]
    expected: Tensor = theirs.greedy(stock, *ours.pad(prompts, left=model.encoder is None), count=DRAWN)
    found = ours.greedy(model, prompts, count=DRAWN)
    same = (expected == found).all(1).tolist()
    measured.greedy = (sum(same), PROMPTS)
    measured.ties = sum(
        not alike and _is_tie(stock, prompt, *rows)
        for alike, prompt, *rows in zip(same, prompts, expected, found, strict=True)
    )
    measured.varied = sum(len(set(row)) for row in expected.tolist()) / PROMPTS
    if model.encoder is not None:
        _search(stock, model, prompts[:SEARCHED], _end(expected.tolist()), measured)


def _end(written: list[list[int]]) -> int:
    """The token that first comes at the most different places: answers that end with it have as many lengths."""
    places: dict[int, set[int]] = {}
    for row in written:
        for token in set(row[:FOUND]):
            places.setdefault(token, set()).add(row.index(token))
    return max(sorted(places), key=lambda token: len(places[token]))


def _search(stock: Any, model: Transformer, prompts: list[Tensor], end: int, measured: Measured) -> None:
    how = {"beams": BEAMS, "count": FOUND, "end": end}
    tokens, mask = ours.pad(prompts, left=False)
    expected = theirs.beam(stock, tokens, mask, **how)
    found = ours.beam(model, prompts, **how)
    differing = [rows for rows in zip(prompts, expected, found, strict=True) if rows[1] != rows[2]]
    measured.beam = (len(prompts) - len(differing), len(prompts))
    measured.beam_ties = sum(_are_equally_good(stock, *rows) for rows in differing)
    measured.answers = len(set(map(tuple, expected)))


def _are_equally_good(stock: Any, prompt: Tensor, expected: list[int], found: list[int]) -> bool:
    """Whether two answers are as likely, as far as logits may differ."""
    first, second = (theirs.score(stock, prompt, row) for row in (expected, found))
    return abs(first - second) <= LOGITS * abs(first)


def _is_tie(stock: Any, prompt: Tensor, expected: Tensor, found: Tensor) -> bool:
    """Whether the logits of the first two tokens that differ are as near to each other as logits may differ."""
    place = int((expected != found).int().argmax())
    logits_V = theirs.next_logits(stock, prompt, expected[:place])
    gap = logits_V[expected[place]] - logits_V[found[place]]
    return bool(gap.abs() <= LOGITS * logits_V.abs().max())


def _line(family: str, cases: Sequence[Case], measured: Sequence[Measured]) -> str:
    logits = _worst([worst for one in measured for worst in one.logits.values()])
    losses = [worst for one in measured for worst in one.loss.values()]
    ties = sum(one.ties + one.beam_ties for one in measured)
    faults = [
        f"{case.model}, {case.name}: {one.faults[0]}" for case, one in zip(cases, measured, strict=True) if one.faults
    ]
    forms = list(dict.fromkeys(form for one in measured for form in one.logits if form != "back"))
    compared = f"{len(cases)} models, both ways; rows {', '.join(forms)}{f'; ties {ties}' if ties else ''}"
    return _columns(
        family, f"{logits:.1e}", f"{_worst(losses):.1e}" if losses else "-", _of(one.greedy for one in measured),
        _of(one.beam for one in measured), f"{len(faults)} differ ({faults[0]})" if faults else "holds", compared,
    )  # fmt: skip


def _of(counts: Iterable[tuple[int, int]]) -> str:
    """How many are alike, of how many, in all cases of a family."""
    same, count = (sum(numbers) for numbers in zip(*counts, strict=True))
    return f"{same}/{count}" if count else "-"


def _columns(*texts: str) -> str:
    family, logits, loss, greedy, beam, verdict, compared = texts
    return f"{family:<13}{logits:>8}{loss:>9}{greedy:>9}{beam:>7}  {verdict:<8}{compared}"
