"""The n-gram model against the equations of Chen & Goodman in dictionaries, and against what must be so."""

from __future__ import annotations

import tempfile
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from danlu.corpus.store import TokenStore
from danlu.corpus.store_writer import StoreWriter
from danlu.errors import InputError
from danlu.evaluate import ngram
from danlu.evaluate.ngram import NGram, score
from danlu.text.document import Document
from danlu.text.ngram import FALLBACK, KneserNey

EOT = 0
Documents = list[list[int]]


def store_of(documents: Documents, vocab_size: int) -> TokenStore:
    with tempfile.TemporaryDirectory() as folder:
        with StoreWriter(Path(folder), vocab_size=vocab_size, eot=EOT) as writer:
            for number, ids in enumerate(documents):
                writer.add(Document(str(number), "x" * len(ids), {"language": "en"}), ids)
        store = TokenStore.open(Path(folder))
        return TokenStore(np.array(store.tokens), store.starts, store.documents, vocab_size, EOT)


class Slow:
    """Modified Kneser-Ney from the paper: dictionaries of tuples, one probability at a time, in float64."""

    def __init__(self, documents: Documents, order: int, vocab_size: int) -> None:
        self.order, self.vocab_size = order, vocab_size
        raw: Counter[tuple[object, ...]] = Counter()
        before: dict[tuple[object, ...], set[object]] = defaultdict(set)
        for ids in documents:
            line = ["<s>", *ids, EOT]
            for end in range(1, len(line)):
                for begin in range(max(0, end - order + 1), end + 1):
                    gram = tuple(line[begin : end + 1])
                    raw[gram] += 1
                    if begin:
                        before[gram].add(line[begin - 1])
        self.counts: dict[int, dict[tuple[object, ...], dict[object, int]]] = defaultdict(lambda: defaultdict(dict))
        for gram, count in raw.items():
            plain = len(gram) == order or gram[0] == "<s>"
            self.counts[len(gram)][gram[:-1]][gram[-1]] = count if plain else len(before[gram])
        self.discounts = {length: self._estimate(length) for length in self.counts}

    def _estimate(self, length: int) -> tuple[float, ...]:
        values = [count for tokens in self.counts[length].values() for count in tokens.values()]
        n1, n2, n3, n4 = (values.count(times) for times in (1, 2, 3, 4))
        if 0 in (n1, n2, n3):
            return FALLBACK
        y = n1 / (n1 + 2 * n2)
        found = (1 - 2 * y * n2 / n1, 2 - 3 * y * n3 / n2, 3 - 4 * y * n4 / n3)
        return found if min(found) > 0 else FALLBACK

    def probability(self, context: Sequence[object], token: int) -> float:
        """``context`` is everything before the token in its document, with "<s>" at its head."""
        context = tuple(context)[max(0, len(context) - self.order + 1) :]
        lower = self.probability(context[1:], token) if context else 1 / self.vocab_size
        seen = self.counts[len(context) + 1].get(context)
        if not seen:
            return lower
        one, two, three = self.discounts[len(context) + 1]
        kept = sum({1: one, 2: two}.get(count, three) for count in seen.values()) / sum(seen.values())
        count = seen.get(token, 0)
        discount = {0: 0.0, 1: one, 2: two}.get(count, three)
        return (count - discount) / sum(seen.values()) + kept * lower


def nats(model: KneserNey, documents: Documents) -> list[np.ndarray]:
    """The cost of each target, by document."""
    lengths = [len(ids) + 1 for ids in documents]
    depth = np.concatenate([np.arange(length) for length in lengths])
    tokens = np.array([token for ids in documents for token in [*ids, EOT]])
    return np.split(model.nats(tokens, depth)[0], np.cumsum(lengths)[:-1])


@st.composite
def corpora(draw: st.DrawFn) -> tuple[Documents, Documents, int, int]:
    """(training documents, held-out documents, order, vocabulary); skewed, so that counts of counts are there."""
    vocab_size = draw(st.sampled_from([2, 3, 7, 40, 70_000]))
    token = st.integers(1, vocab_size - 1) | st.integers(1, min(3, vocab_size - 1))
    documents = st.lists(st.lists(token, max_size=12), min_size=1, max_size=12)
    return draw(documents), draw(documents), draw(st.integers(1, 6)), vocab_size


@settings(max_examples=80, deadline=None)
@given(corpora())
def test_equals_the_equations_one_probability_at_a_time(case: tuple[Documents, Documents, int, int]) -> None:
    train, heldout, order, vocab_size = case
    model = NGram(order=order).train(store_of(train, vocab_size), seed=1)
    slow = Slow(train, order, vocab_size)
    for level, found in enumerate(model.levels, start=1):
        assert found.discounts == pytest.approx(slow.discounts[level])
    for documents in (train, heldout):
        for ids, costs in zip(documents, nats(model, documents), strict=True):
            line: list[object] = ["<s>", *ids, EOT]
            expected = [slow.probability(line[:place], line[place]) for place in range(1, len(line))]
            np.testing.assert_allclose(np.exp(-costs), expected, rtol=1e-12)


def skewed(count: int, vocab_size: int, seed: int) -> Documents:
    """Documents of a random walk in which some successors are much more common than others."""
    rng = np.random.default_rng(seed)
    documents = []
    for length in rng.integers(0, 30, size=count):
        steps = rng.geometric(0.4, size=length)
        documents.append((1 + np.cumsum(steps) % (vocab_size - 1)).tolist())
    return documents


def test_estimated_discounts_are_met_and_equal_the_equations() -> None:
    """On a corpus with all counts of counts, which hypothesis rarely draws."""
    train, heldout = skewed(60, 20, seed=1), skewed(10, 20, seed=2)
    model, slow = NGram(order=4).train(store_of(train, 20), seed=1), Slow(train, 4, 20)
    assert [level.discounts == FALLBACK for level in model.levels] == [True, False, False, False]
    for ids, costs in zip(heldout, nats(model, heldout), strict=True):
        line: list[object] = ["<s>", *ids, EOT]
        expected = [slow.probability(line[:place], line[place]) for place in range(1, len(line))]
        np.testing.assert_allclose(np.exp(-costs), expected, rtol=1e-12)


@settings(max_examples=40, deadline=None)
@given(corpora().filter(lambda case: case[3] <= 40), st.lists(st.integers(1, 39), max_size=6))
def test_probabilities_sum_to_one_behind_any_context(
    case: tuple[Documents, Documents, int, int], context: list[int]
) -> None:
    train, _, order, vocab_size = case
    model = NGram(order=order).train(store_of(train, vocab_size), seed=1)
    context = [token % vocab_size or 1 for token in context]
    costs = [costs[len(context)] for costs in nats(model, [context, *([*context, w] for w in range(1, vocab_size))])]
    assert np.isfinite(costs).all()
    assert np.exp(-np.array(costs)).sum() == pytest.approx(1, rel=1e-12)


@pytest.mark.parametrize("order", [1, 2, 4])
def test_right_is_the_most_likely_token_of_the_whole_vocabulary(order: int) -> None:
    vocab_size, heldout = 12, skewed(8, 12, seed=4)
    train = skewed(30, vocab_size, seed=3)
    model, slow = NGram(order=order).train(store_of(train, vocab_size), seed=1), Slow(train, order, vocab_size)
    right = []
    for ids in heldout:
        line: list[object] = ["<s>", *ids, EOT]
        for place in range(1, len(line)):
            probabilities = [slow.probability(line[:place], token) for token in range(vocab_size)]
            right.append(probabilities[line[place]] == max(probabilities))
    depth = np.concatenate([np.arange(len(ids) + 1) for ids in heldout])
    found = model.nats(np.array([token for ids in heldout for token in [*ids, EOT]]), depth)[1]
    assert found.tolist() == right
    assert 0 < sum(right) < len(right)


@pytest.mark.parametrize("at_once", [1, 7, 2**20])
def test_score_adds_up_the_targets_of_each_document(monkeypatch: pytest.MonkeyPatch, at_once: int) -> None:
    monkeypatch.setattr(ngram, "SCORED_AT_ONCE", at_once)
    heldout = skewed(9, 20, seed=6)
    model = NGram(order=4).train(store_of(skewed(40, 20, seed=5), 20), seed=1)
    costs, right = score(model, store_of(heldout, 20))
    np.testing.assert_allclose(costs, [each.sum() for each in nats(model, heldout)], rtol=1e-12)
    assert (right <= [len(ids) + 1 for ids in heldout]).all()


def test_a_document_knows_nothing_of_the_one_before() -> None:
    """Neither when it is counted nor when it is scored."""
    first, second = [1, 2, 3], [3, 2, 1, 1]
    there = NGram(order=4).train(store_of([first, second], 5), seed=1)
    back = NGram(order=4).train(store_of([second, first], 5), seed=1)
    costs = score(there, store_of([first, second], 5))[0]
    assert costs.tolist() == score(back, store_of([first, second], 5))[0].tolist()
    assert costs[::-1].tolist() == score(there, store_of([second, first], 5))[0].tolist()
    assert score(there, store_of([second], 5))[0][0] == costs[1]


def test_a_limit_counts_whole_documents_drawn_by_the_seed() -> None:
    documents = [[number] * (number + 1) for number in range(1, 30)]
    store = store_of(documents, 40)

    def seen(limit: int, seed: int) -> list[int]:
        """How many targets of each document were counted."""
        tokens, depth = ngram._drawn(store, limit, seed)
        parts = np.split(tokens, np.flatnonzero(depth == 0)[1:])
        for part in parts:
            ids = documents[int(part[0]) - 1]
            assert part.tolist() == [*ids, EOT][: len(part)]
        lengths = {int(part[0]): len(part) for part in parts}
        return [lengths.get(number, 0) for number in range(1, 30)]

    whole = [len(ids) + 1 for ids in documents]
    assert seen(10_000, 1) == whole
    some = seen(200, 1)
    assert sum(some) == 200
    assert sum(0 < taken < length for taken, length in zip(some, whole, strict=True)) <= 1, "at most one is cut"
    assert seen(200, 1) == some != seen(200, 2)
    model = NGram(max_tokens=200).train(store, seed=1)
    assert model.tokens == 200


def test_documents_shorter_than_the_order() -> None:
    model = NGram(order=5).train(store_of([[], [1], [2]], 3), seed=1)
    assert model.order == 3, "the beginning, one token and the end"
    slow = Slow([[], [1], [2]], 5, 3)
    assert np.exp(-score(model, store_of([[1]], 3))[0][0]) == pytest.approx(
        slow.probability(["<s>"], 1) * slow.probability(["<s>", 1], EOT)
    )


def test_no_document_is_one_clear_line() -> None:
    with pytest.raises(InputError, match="needs training documents, and there are none"):
        NGram().train(store_of([], 5), seed=1)
