"""Places in a mesh, and micro-batches: together the ranks read what one process reads, in its order."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from danlu.errors import RecipeError
from danlu.parallel.mesh import Mesh
from danlu.recipe import build

sizes = st.integers(1, 4)


@given(data=sizes, shard=sizes, tensor=sizes, micro_batches=st.integers(1, 9))
def test_ranks_read_every_micro_batch_once_in_order(data: int, shard: int, tensor: int, micro_batches: int) -> None:
    size = data * shard * tensor
    places = [Mesh(shard=shard, tensor=tensor).place(rank=rank, size=size) for rank in range(size)]
    assert [place.at(data=place.data, shard=place.shard, tensor=place.tensor) for place in places] == list(range(size))
    assert {(place.data, place.shard, place.tensor) for place in places} == {
        (d, s, t) for d in range(data) for s in range(shard) for t in range(tensor)
    }
    read = [place.own(range(micro_batches)) for place in places]
    counted = [
        number
        for place, own in zip(places, read, strict=True)
        for number, counts in own
        if counts and place.once({"": 1})
    ]
    assert counted == list(range(micro_batches))
    for place, own in zip(places, read, strict=True):
        assert own == read[place.at(data=place.data, shard=place.shard, tensor=0)]
    if shard > 1:  # who shares weights goes through the model with the others
        assert len({len(own) for own in read}) == 1
    assert max(len(own) for own in read) == -(-micro_batches // (data * shard))


@pytest.mark.parametrize(
    ("mesh", "problem"),
    [
        ({"shard": 3}, "shard 3 x tensor 1 does not divide the number of processes, 4"),
        ({"data": 3}, "data 3 x shard 1 x tensor 1 = 3 is not the number of processes, 4"),
        ({"data": 2, "shard": 2, "tensor": 2}, "data 2 x shard 2 x tensor 2 = 8 is not the number of processes, 4"),
        ({"tensor": 8}, "shard 1 x tensor 8 does not divide the number of processes, 4"),
    ],
)
def test_a_mesh_that_does_not_fit_is_refused(mesh: dict[str, int], problem: str) -> None:
    with pytest.raises(RecipeError, match=rf"^pretrain\.hardware\.mesh: {problem}$"):
        build(Mesh, mesh, key="pretrain.hardware.mesh").place(rank=0, size=4)


def test_the_section_is_that_of_the_training() -> None:
    with pytest.raises(RecipeError, match=r"^finetune\.hardware\.mesh: "):
        Mesh(shard=3).place(rank=0, size=4, section="finetune")
    assert Mesh(shard=2).place(rank=0, size=4, section="finetune").section == "finetune"


def test_sizes_count_from_one() -> None:
    with pytest.raises(RecipeError, match=r"pretrain\.hardware\.mesh\.shard"):
        build(Mesh, {"shard": 0}, key="pretrain.hardware.mesh")
