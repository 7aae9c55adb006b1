"""A prefix of the merges is the smaller tokenizer; the rule that recommends one."""

from __future__ import annotations

import pytest

from danlu.errors import RecipeError
from danlu.tokenizers.bpe import BPE
from danlu.tokenizers.sizes import cut, recommended, saving, tokenizers_of
from danlu.tokenizers.wordpiece import WordPiece

TEXTS = [
    "It was the best of times, it was the worst of times, it was the age of wisdom.\n" * 3,
    "话说天下大势，分久必合，合久必分。话说天下大势，分久必合，合久必分。\n" * 2,
    "aaaa aaaaaaa aaa aaaaaaaaaaaaa aaaaa abababa bababab aabbaabb\n" * 4,
]


def test_a_cut_tokenizer_is_the_one_that_is_trained_at_that_size() -> None:
    for special in ([], ["bert"]):
        largest = BPE(vocab_size=400, special=special, min_frequency=1).train(TEXTS)
        sizes = range(262, largest.vocab_size + 1)
        assert len(sizes) > 70
        for size in sizes:
            trained = BPE(vocab_size=size, special=special, min_frequency=1).train(TEXTS)
            assert cut(largest, size).to_json() == trained.to_json(), size


def test_one_a_size_by_any_kind() -> None:
    for trainer in (BPE(min_frequency=1), WordPiece()):
        found = dict(tokenizers_of(trainer, TEXTS, [270, 280, 5000]))
        assert list(found)[:2] == [270, 280] or isinstance(trainer, WordPiece)
        assert max(found) < 5000, "there are not so many pairs"
        assert all(size == tokenizer.vocab_size for size, tokenizer in found.items())


def test_a_size_that_cannot_be_is_refused() -> None:
    with pytest.raises(RecipeError, match=r"^--sizes: 100 is no size for this tokenizer: "):
        list(tokenizers_of(BPE(), TEXTS, [100, 300]))


def test_the_smallest_whose_doubling_saves_little() -> None:
    costs = {1000: 1000, 2000: 900, 4000: 855, 16000: 855 * 81 // 100}
    assert saving(costs, 1000, 2000) == pytest.approx(0.1)
    assert saving(costs, 4000, 16000) == pytest.approx(0.1, abs=1e-3), "two doublings"
    assert recommended(costs, least=0.06) == 2000
    assert recommended(costs, least=0.2) == 1000
    assert recommended(costs, least=0.04) == 16000
