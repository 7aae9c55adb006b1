"""Parts of the text in their proportions, period after period: what is read, when, and how often."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from danlu.corpus.account import in_words
from danlu.corpus.batches import Example
from danlu.corpus.blend import Blend, Blended
from danlu.corpus.reading import Packed, Padded, Reader, Reading, Size, Stream
from danlu.corpus.rows import Ints, Piece, Widths
from danlu.corpus.store import TokenStore
from danlu.errors import InputError, RecipeError
from danlu.parallel.mesh import Mesh
from danlu.recipe import build_choice
from danlu.train.gradients import OwnBatches

BATCH = 6


class Short:
    """Room for ten tokens, and the documents below are of nine at most."""

    room = Widths(10)
    longest = 9
    by_length = True

    def widths(self, body: Ints) -> Widths:
        return Widths(body + 1)

    def measure(self, store: TokenStore, starts: Ints, bodies: Ints) -> Widths:
        return self.widths(bodies)


def make_store(**counts: int) -> TokenStore:
    """So many documents of each source, of one to nine tokens that nobody else has, those of ``zh…`` in Chinese."""
    sources = [source for source, count in counts.items() for _ in range(count)]
    lengths = np.random.default_rng(len(sources)).integers(1, 10, len(sources))
    ids = iter(range(1, 10**6))
    tokens = [0, *(each for length in lengths for each in [*(next(ids) for _ in range(length)), 0])]
    about = [{"language": "zh" if each.startswith("zh") else "en", "source": f"{each}/{n}", "bytes": 1, "id": str(n)}
             for n, each in enumerate(sources)]  # fmt: skip
    return TokenStore(np.array(tokens), np.concatenate(([0], np.cumsum(lengths + 1))), about, 10**6, 0)


STORE = make_store(books=40, web=150, zh=25, zhweb=60)


def weights(**parts: Any) -> dict[str, Any]:
    """Parts by their sources: a number is a weight."""
    each = {name: {"weight": told} if isinstance(told, int | float) else told for name, told in parts.items()}
    return {
        "use": "weights",
        "parts": {name: {"documents": {"source": f"{name}/*"}, **told} for name, told in each.items()},
    }


def blended(mixture: Any, *, steps: int | None = 100, reading: Reading | None = None, **rest: Any) -> Blended:
    made = build_choice("mixture", mixture, key="pretrain.mixture")
    return Blended(made, reading or Padded(), BATCH, lambda _: steps, **rest)


def curriculum(*periods: dict[str, Any], **rest: Any) -> Blended:
    return blended({"use": "curriculum", "periods": periods}, **rest)


def example(piece: Piece, *, noise: np.random.Generator) -> Example:
    tokens = piece.tokens[:-1]
    return Example({"tokens": tokens, "noise": noise.integers(1000, size=len(tokens))}, {"words": piece.tokens[1:]})


def read(made: Blended, micro_batch: int = 3, *, store: TokenStore = STORE, seed: int = 5) -> Reader:
    return made.read(store, Short(), example, size=Size(BATCH, micro_batch), seed=seed)


def sources(rows: Blend, first: int, end: int) -> list[str]:
    """Of the first documents of rows."""
    return [_source(rows[number][0]) for number in range(first, end)]


def _source(piece: Piece) -> str:
    return str(piece.store.documents[piece.document]["source"]).split("/")[0]


TWO = ({"until": 0.6, "mixture": weights(web=3, books=1)}, {"mixture": weights(books=1, zh=1)})


@pytest.mark.parametrize("reading", [Padded(), Packed(), Stream()])
def test_weights_are_shares_of_the_tokens_that_are_read(reading: Reading) -> None:
    """Counted token by token, over many steps, against the weights in float64."""
    rows = blended(weights(web=3, books=2, zh=1), reading=reading, steps=800).rows(STORE, Short(), seed=5)
    read = Counter[str]()
    for number in range(800 * BATCH):
        for piece in rows[number]:
            read[_source(piece)] += len(piece.tokens) - 1
    found = np.array([read[name] for name in ("web", "books", "zh")], dtype=np.float64)
    np.testing.assert_allclose(found / found.sum(), np.array([3, 2, 1]) / 6, atol=0.004)
    portions = rows.ledger.account().periods[0]
    np.testing.assert_allclose([portion.share for portion in portions], [3 / 6, 2 / 6, 1 / 6])
    epochs = rows.epochs(800 * BATCH)
    for portion, part in zip(portions, rows.parts, strict=True):
        assert portion.epochs == pytest.approx(epochs[portion.part], abs=5 / part.rows.per_epoch)
        assert portion.tokens == part.rows.tokens


def test_a_part_is_read_as_often_as_it_is_to_be() -> None:
    """40 documents twice and 150 once and a half, in any order."""
    made = blended(weights(books={"epochs": 2}, web={"epochs": 1.5}, zh=1), steps=70)
    rows = made.rows(STORE, Short(), seed=5)
    documents = Counter(rows[number][0].tokens[1] for number in range(70 * BATCH))
    each = {source: Counter(count for first, count in documents.items() if first in _firsts(source))
            for source in ("books", "web")}  # fmt: skip
    assert abs(sum(n * count for n, count in each["books"].items()) - 80) <= 4
    assert abs(sum(n * count for n, count in each["web"].items()) - 225) <= 4
    assert each["books"][2] >= 36 and set(each["web"]) == {1, 2}


def _firsts(source: str) -> set[int]:
    """The first tokens of the documents of a source."""
    return {int(STORE.tokens[start + 1]) for start, about in zip(STORE.starts, STORE.documents, strict=False)
            if about["source"].startswith(f"{source}/")}  # fmt: skip


def test_each_row_of_a_part_comes_once_before_any_comes_again_over_all_periods() -> None:
    """Books are a part of both periods, the second of which goes on where the first left off."""
    rows = curriculum(*TWO).rows(STORE, Short(), seed=5)
    seen: dict[str, list[int]] = {}
    for number in range(100 * BATCH):
        piece = rows[number][0]
        seen.setdefault(_source(piece), []).append(int(piece.tokens[1]))
    counts = Counter(_source(piece) for piece in (rows[n][0] for n in range(60 * BATCH)))
    assert counts["books"] % 40  # the border of the periods is within an epoch of theirs
    for source, firsts in seen.items():
        size = len(_firsts(source))
        for begin in range(0, len(firsts), size):
            epoch = firsts[begin : begin + size]
            assert len(set(epoch)) == len(epoch) and (len(epoch) < size or set(epoch) == _firsts(source))


def test_periods_that_divide_the_text_otherwise_go_on_too() -> None:
    """By source first, by language then: Chinese pages of the web are a cell of their own."""
    by_source = {"use": "weights", "parts": {"web": {"documents": {"source": ["web/*", "zhweb/*"]}, "weight": 1}}}
    made = curriculum({"until": 50, "mixture": by_source}, {"until": 1, "mixture": {"use": "temperature"}})
    rows = made.rows(STORE, Short(), seed=5)
    assert sorted(rows.ledger.labels) == ["web/en", "web/zh", "~/en", "~/zh"]
    assert set(sources(rows, 0, 50 * BATCH)) == {"web", "zhweb"}
    assert set(sources(rows, 50 * BATCH, 100 * BATCH)) == {"web", "zhweb", "books", "zh"}
    firsts = [int(rows[number][0].tokens[1]) for number in range(100 * BATCH)]
    own = [first for first in firsts if first in _firsts("zhweb")]
    assert len(set(own[:60])) == 60 and len(set(own[60:120])) == len(own[60:120])
    within = Counter(sources(rows, 0, 50 * BATCH))  # all text of a part is read equally often
    assert abs(within["zhweb"] - 50 * BATCH * 60 / 210) <= 3


def test_the_mixture_changes_at_the_step_it_should() -> None:
    rows = curriculum(*TWO).rows(STORE, Short(), seed=5)
    before, after = sources(rows, 0, 60 * BATCH), sources(rows, 60 * BATCH, 100 * BATCH)
    assert set(before) == {"web", "books"} and set(after) == {"books", "zh"}
    assert set(sources(curriculum({"until": 7, "mixture": weights(web=1)}, {"mixture": weights(zh=1)}).rows(
        STORE, Short(), seed=5), 7 * BATCH, 8 * BATCH)) == {"zh"}  # fmt: skip


def joined(made: Reader, step: int) -> list[list[int]]:
    found: list[list[int]] = []
    for batch in made.batches(step):
        found += np.concatenate([batch.inputs["tokens"], batch.inputs["noise"], batch.targets["words"]], 1).tolist()
    return found


@settings(max_examples=15)
@given(steps=st.lists(st.integers(0, 99), min_size=1, max_size=4), micro_batch=st.integers(1, BATCH))
def test_a_step_depends_on_its_number_alone(steps: list[int], micro_batch: int) -> None:
    """Whatever was read before, which is what a resumed training asks, and whatever the micro-batch."""
    used = read(curriculum(*TWO), micro_batch)
    for step in steps:
        assert joined(used, step) == joined(read(curriculum(*TWO)), step)
        assert all(len(batch.inputs["tokens"]) <= micro_batch and not batch.task for batch in used.batches(step))


@pytest.mark.parametrize("ranks", [2, 3])
def test_ranks_have_the_rows_of_one_process_between_them(ranks: int) -> None:
    for step in (0, 59, 60, 99):
        whole = joined(read(curriculum(*TWO), 1), step)
        parts: list[list[int]] = []
        for rank in range(ranks):
            own = OwnBatches(read(curriculum(*TWO), 1).batches, Mesh().place(rank=rank, size=ranks))(step)
            for batch in own:
                each = [batch.inputs["tokens"], batch.inputs["noise"], batch.targets["words"]]
                parts += np.concatenate(each, 1).tolist()
        assert parts == whole


def test_an_epoch_is_all_that_is_read_once() -> None:
    assert read(blended(weights(books=1, zh=5))).steps_per_epoch == 65 / BATCH
    assert read(curriculum(*TWO)).steps_per_epoch == 215 / BATCH
    alone = blended(weights(books={"epochs": 3}, web={"epochs": 0.5}), steps=33)
    assert read(alone).steps_per_epoch == (3 * 40 + 0.5 * 150) / BATCH
    sampled = blended(weights(books={"epochs": 3}, web={"epochs": 0.5}), steps=325, share=0.1)
    assert read(sampled).steps_per_epoch == pytest.approx((3 * 40 + 0.5 * 150) / BATCH)


def test_what_is_measured_is_what_is_held_out() -> None:
    sample = curriculum(*TWO).sample(STORE, Short(), tokens=40, seed=5)
    [(numbers, _)] = sample.groups
    assert [row.document for n in numbers for row in sample.rows[n]] == [
        row.document for n in numbers for row in Padded().rows(STORE, Short(), seed=5)[n]
    ]


def test_the_account_says_what_is_read_and_what_is_read_too_often() -> None:
    account = curriculum(*TWO).rows(STORE, Short(), seed=5).ledger.account()
    web, books = account.periods[0]
    tokens = {name: int(sum(np.diff(STORE.starts)[n] for n, about in enumerate(STORE.documents)
                            if about["source"].startswith(f"{name}/"))) for name in ("web", "books", "zh")}  # fmt: skip
    assert (web.documents, web.tokens, books.tokens) == (150, tokens["web"], tokens["books"])
    per_row = {name: tokens[name] / count for name, count in (("web", 150), ("books", 40))}
    rows = np.array([3 / per_row["web"], 1 / per_row["books"]])
    rows *= 60 * BATCH / rows.sum()
    np.testing.assert_allclose([web.epochs, books.epochs], rows / [150, 40])  # type: ignore[arg-type]
    lines = in_words(account)
    assert lines[0] == "from step 0 to step 60:" and lines[4] == "from step 60 to the end:"
    assert lines[1].split() == ["part", "documents", "tokens", "share", "epochs"]
    assert lines[2].split() == ["web", "150", f"{tokens['web']:,}", "75.00%", f"{web.epochs:.2f}"]
    assert "60 documents" in lines[8] and "are of no part and are not read" in lines[8]
    often = [f"the text of {name} is read {account.epochs[name]:.1f} times" for name in ("books", "~/zh")]
    assert sorted(line.partition(":")[0] for line in lines[9:]) == sorted(often) and account.epochs["web/~"] < 4


def test_a_budget_in_minutes_knows_shares_but_no_epochs() -> None:
    rows = curriculum({"until": 10, "mixture": weights(web=1)}, {"mixture": weights(books=1, zh=1)}, steps=None).rows(
        STORE, Short(), seed=5
    )
    account = rows.ledger.account()
    assert {portion.epochs for portions in account.periods for portion in portions} == {None} and not account.epochs
    assert in_words(account)[2].split()[-1] == "?"
    foretold = rows.ledger.account(30)
    assert foretold.periods[0][0].epochs == pytest.approx(10 * BATCH / 150)
    assert set(sources(rows, 10 * BATCH, 100)) == {"books", "zh"}


@pytest.mark.parametrize(
    ("mixture", "message"),
    [
        (weights(boks=1), r".parts.boks.documents: no such document .*; did you mean 'books/\*'"),
        (
            {"use": "weights", "parts": {"a": {"weight": 1, "documents": {"language": "zhh"}}}},
            r".parts.a.documents: no such document is to train on; did you mean 'zh'\? \(languages: en, zh; sources: ",
        ),
        (
            {"use": "unimax", "parts": {"all": {}, "zh": {"language": "zh"}}},
            ".parts.zh: the parts before it have all of its documents; put it before them",
        ),
        (weights(books={"epochs": 30}, web=1), ": the epochs of its parts are 1,200 rows"),
        ({"use": "unimax", "max_epochs": 0.1}, ": with max_epochs there are 28 rows to read"),
        (
            weights(books={"epochs": 2}),
            ": the epochs of its parts are 14 steps, and pretrain.budget has 100: set it to",
        ),
    ],
)
def test_what_the_text_cannot_give(mixture: dict[str, Any], message: str) -> None:
    with pytest.raises((InputError, RecipeError), match=f"^pretrain.mixture{message}"):
        blended(mixture).rows(STORE, Short(), seed=5)
    with pytest.raises((InputError, RecipeError), match=f"^pretrain.mixture.periods.0.mixture{message}"):
        curriculum({"mixture": mixture}).rows(STORE, Short(), seed=5)


def test_a_sample_may_lack_a_part(capsys: pytest.CaptureFixture[str]) -> None:
    rows = blended(weights(web=1, boks=1), share=0.5).rows(STORE, Short(), seed=5)
    assert set(sources(rows, 0, 40)) == {"web"}
    assert "in the sample: pretrain.mixture.parts.boks.documents" in capsys.readouterr().out


@pytest.mark.parametrize("until", [0.001, 100])
def test_periods_without_a_step(until: float) -> None:
    made = curriculum({"until": until, "mixture": weights(web=1)}, {"mixture": weights(zh=1)})
    got = f"got {until:g}, step {100 if until == 100 else 0}"
    wanted = f"must be a step above 0 and below 100, where the training ends; {got}"
    with pytest.raises(RecipeError, match=f"^pretrain.mixture.periods.0.until {wanted}$"):
        made.rows(STORE, Short(), seed=5)
