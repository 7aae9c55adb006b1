"""UL2: which denoisers are drawn how often, what each leaves, and the room for any of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from danlu.corpus.rows import Piece, longest_body
from danlu.errors import RecipeError
from danlu.objectives.protocol import Shape
from danlu.objectives.ul2 import UL2, Denoiser
from danlu.tokenizers.vocabulary import Vocabulary

LENGTH = 200
# mode, rate and mean span of table 1 of the paper, and by them the tokens and spans of noise of 200 tokens
TABLE = [
    ("R", 0.15, 3, 30, 10), ("R", 0.15, 8, 30, 4), ("S", 0.25, None, 50, 1), ("X", 0.5, 3, 100, 33),
    ("X", 0.5, 8, 100, 12), ("X", 0.15, 64, 30, 1), ("X", 0.5, 64, 100, 2),
]  # fmt: skip


def draw(
    objective: UL2, make_piece: Callable[..., Piece], vocabulary: Vocabulary, count: int
) -> Counter[tuple[int, int, int]]:
    """How often the mode token, the tokens and the spans of noise were these."""
    noise, piece = np.random.default_rng(0), make_piece(LENGTH)
    found: Counter[tuple[int, int, int]] = Counter()
    for _ in range(count):
        made = objective.example(piece, vocabulary=vocabulary, noise=noise)
        written = made.targets["words"]
        tokens = int((written >= vocabulary.ordinary[0]).sum())
        found[int(made.source["tokens"][0]), tokens, len(written) - tokens - 1] += 1
    return found


def test_all_seven_of_the_paper_are_drawn_alike(make_piece: Callable[..., Piece], vocabulary: Vocabulary) -> None:
    found = draw(UL2(), make_piece, vocabulary, 1400)
    modes = dict(zip("RSX", vocabulary.sentinels[-3:], strict=True))
    assert found.keys() == {(modes[mode], tokens, spans) for mode, _, _, tokens, spans in TABLE}
    assert sum((count - 200) ** 2 / 200 for count in found.values()) < 6 + 5 * np.sqrt(2 * 6)


def test_weights_say_how_often(make_piece: Callable[..., Piece], vocabulary: Vocabulary) -> None:
    pair = (Denoiser(mode="R", rate=0.15, mean=3, weight=1), Denoiser(mode="S", rate=0.25, weight=4))
    found = draw(UL2(denoisers=pair), make_piece, vocabulary, 1000)
    assert found[vocabulary.sentinels[-2], 50, 1] == pytest.approx(800, abs=4 * np.sqrt(160))


def test_the_sequential_one_leaves_a_prefix(make_piece: Callable[..., Piece], vocabulary: Vocabulary) -> None:
    objective = UL2(denoisers=(Denoiser(mode="S", rate=0.25),), modes=False)
    made = objective.example(make_piece([130, 131, 132, 133, 134, 135]), vocabulary=vocabulary,
                             noise=np.random.default_rng(0))  # fmt: skip
    sentinel = vocabulary.sentinels[0]
    assert made.source["tokens"].tolist() == [130, 131, 132, 133, sentinel, 0]
    assert made.targets["words"].tolist() == [sentinel, 134, 135, 0]


@given(length=st.integers(0, 700), seed=st.integers(0, 30), modes=st.booleans())
def test_widths_are_the_most_that_any_takes(
    make_piece: Callable[..., Piece], vocabulary: Vocabulary, length: int, seed: int, modes: bool
) -> None:
    objective = UL2(modes=modes)
    widths = objective.widths(np.array([length]))
    if int(widths.inputs[0]) == 0:
        assert int(widths.source[0]) == 0
        assert length < 2 or round(round(length * 0.5) / 3) > 97
        return
    ones = [UL2(denoisers=(each,), modes=modes).widths(np.array([length])) for each in objective.denoisers]
    assert widths.inputs[0] == max(one.inputs[0] for one in ones)
    assert widths.source[0] == max(one.source[0] for one in ones)
    noise = np.random.default_rng(seed)
    made = objective.example(make_piece(length), vocabulary=vocabulary, noise=noise)
    took = (len(made.inputs["tokens"]), len(made.source["tokens"]))
    assert took in [(int(one.inputs[0]), int(one.source[0])) for one in ones]


@pytest.mark.parametrize("sequence", [64, 512, 2048])
def test_a_row_has_room_for_its_longest_document(sequence: int) -> None:
    form = Shape(UL2(), sequence)
    longest = longest_body(form)
    widths = form.widths(np.arange(longest + 2))
    assert widths.inputs[longest] == form.room.inputs and widths.source[longest] <= sequence
    assert widths.source[longest + 1] > sequence or round(round((longest + 1) * 0.5) / 3) > 97


def test_modes_need_sentinels_of_their_own(
    make_vocabulary: Callable[..., Vocabulary], make_piece: Callable[..., Piece]
) -> None:
    store, vocabulary = make_piece(5).store, make_vocabulary(sentinels=97)
    UL2(modes=False).check(vocabulary, store)
    with pytest.raises(
        RecipeError, match=r"pretrain.objective.sentinels must be at most 94, .* has 97, 3 of them .* got 97"
    ):
        UL2().check(vocabulary, store)
