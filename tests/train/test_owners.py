"""One training on 2, 3 and 4 processes, by copies, shards, parts of products and all of them: what one process does."""

from __future__ import annotations

import functools
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pytest
import ranks
import torch
from torch import Tensor

from danlu.corpus.batches import IGNORE, Batch
from danlu.errors import DanluError, RecipeError
from danlu.nn.config import Alibi, Experts, RelativeBias, TransformerConfig
from danlu.nn.families import GPT, Llama, Qwen3
from danlu.nn.transformer import Transformer
from danlu.objectives.clm import CausalLM
from danlu.optim.adamw import AdamW
from danlu.optim.muon import Muon
from danlu.optim.normuon import NorMuon
from danlu.parallel.joining import joined
from danlu.parallel.layout import check_alike, owners
from danlu.parallel.mesh import Mesh, Place
from danlu.parallel.patience import Watch
from danlu.parallel.tensor_parallel import Split
from danlu.parallel.world import read_world
from danlu.train import owners as owners_module
from danlu.train.gathered import load_optimizer_state, optimizer_state
from danlu.train.owners import OwnedMasters
from danlu.train.precision import FloatMasters

FAMILIES = {
    "gpt": GPT(layers=2, dim=32, heads=2),
    "llama": Llama(layers=2, dim=32, heads=4, kv_heads=2, tied=True),
    "qwen3": Qwen3(layers=2, dim=32, heads=2),
}
OPTIMIZERS = {"adamw": AdamW(), "muon": Muon(precision="fp32"), "normuon": NorMuon(precision="fp32")}


def batch(number: int) -> Batch:
    """Two packed rows with 32 targets, some of them not scored."""
    generator = torch.Generator().manual_seed(number)
    tokens = torch.randint(0, 64, (2, 17), generator=generator) % 16
    segments = torch.zeros(2, 16, dtype=torch.long)
    segments[:, 8:] = 1
    targets = tokens[:, 1:].clone()
    targets[0, : number % 5] = IGNORE
    return Batch(
        {"tokens": tokens[:, :-1], "segments": segments},
        {"words": targets},
        {"words": int((targets != IGNORE).sum())},
        tokens.numel(),
    )


def draw(config: TransformerConfig, dtype: torch.dtype) -> Transformer:
    """No weight 0, so that every gradient is something."""
    model, generator = Transformer(config), torch.Generator().manual_seed(5)
    with torch.no_grad():
        for weight in model.parameters():
            weight.normal_(0.0, 0.2, generator=generator)
    return model.to(dtype)


@dataclass(frozen=True)
class Run:
    """A short training; ``taken_up`` are the step, weights and optimizer state of another."""

    family: str = "llama"
    optimizer: str = "adamw"
    dtype: torch.dtype = torch.float64
    steps: int = 6
    narrow: bool = False
    rate: float = 0.1
    taken_up: Any = None


def train(run: Run, mesh: dict[str, int]) -> Any:
    """Losses, norms, and from rank 0 all weights and the optimizer's state; ``taken_up`` are those of another run."""
    objective, micro_batches = CausalLM(), 4
    with joined(read_world(os.environ), Watch()) as team:
        place = Mesh(**mesh).place(rank=team.rank, size=team.size)
        model = draw(FAMILIES[run.family].config(vocab_size=64, max_length=16), run.dtype)
        compute = torch.bfloat16 if run.narrow else torch.float32
        masters = OwnedMasters(model, compute, team, place) if team.size > 1 else FloatMasters(model, compute)
        chosen = OPTIMIZERS[run.optimizer].build(masters.named.items())
        masters.attach(chosen)
        begun, seen = 0, []
        if run.taken_up is not None:
            begun, weights, state = run.taken_up
            masters.load(weights if team.first else {})
            if isinstance(masters, OwnedMasters):
                load_optimizer_state(chosen, masters, state if team.first else {})
            else:
                chosen.load_state_dict(state)
        for step in range(begun, run.steps):
            own = place.own([batch(micro_batches * step + number) for number in range(micro_batches)])
            count = team.sum(place.once({"all": sum(part.counts["words"] for part, counts in own if counts)}))["all"]
            loss = 0.0
            for part, counts in own:
                share = objective.losses(model, part)["words"] / count * counts
                share.backward()  # type: ignore[no-untyped-call]
                loss += float(share.detach())
            if isinstance(masters, OwnedMasters):
                masters.collect({})
            held = [master.grad for master in masters.named.values() if master.grad is not None]
            squares = sum(float(gradient.double().square().sum()) for gradient in held)
            total = team.sum({**place.once({"loss": loss}), "squares": squares})
            seen.append((total["loss"], math.sqrt(total["squares"])))
            for group in chosen.param_groups:
                group["lr"] = run.rate * group["lr_scale"]
            chosen.step()
            chosen.zero_grad()
        state = optimizer_state(chosen, masters) if isinstance(masters, OwnedMasters) else chosen.state_dict()
        kept = {name: weight.clone() for name, weight in masters.state().items()}
        here = sum(weight.numel() for weight in model.parameters())
        local = sum(getattr(weight, "_local_tensor", weight).numel() for weight in model.parameters())
        return seen, kept, state, (here, local)


@functools.cache
def alone(run: Run) -> Any:
    """The same training by one process."""
    [one] = ranks.run(train, 1, run, {})
    return one


MESHES = [
    (2, {}), (3, {}), (4, {}), (2, {"shard": 2}), (3, {"shard": 3}), (2, {"tensor": 2}), (4, {"shard": 2}),
    (4, {"tensor": 2}), (4, {"shard": 2, "tensor": 2}),
]  # fmt: skip


def same(one: Any, many: Any, *, loss: float, weights: float) -> None:
    for (mine, norm), (other, its) in zip(one[0], many[0], strict=True):
        assert mine == pytest.approx(other, abs=loss)
        assert norm == pytest.approx(its, rel=100 * loss)
    assert one[1].keys() == many[1].keys()
    for name, weight in one[1].items():
        torch.testing.assert_close(many[1][name], weight, rtol=0, atol=weights, msg=name)
    assert one[2]["state"].keys() == many[2]["state"].keys()
    assert [group["params"] for group in one[2]["param_groups"]] == [g["params"] for g in many[2]["param_groups"]]


@pytest.mark.parametrize(("size", "mesh"), MESHES)
def test_float64_is_the_same_to_its_last_digits(size: int, mesh: dict[str, int]) -> None:
    one = alone(Run())
    first, *others = ranks.run(train, size, Run(), mesh)
    same(one, first, loss=1e-10, weights=1e-12)
    for other in others:
        assert other[0] == first[0]
        assert other[1:3] == ({}, {})
    of_one, _ = one[3]
    if "tensor" in mesh:
        assert first[3][0] < 0.6 * of_one
    if "shard" in mesh:
        assert max(rank[3][1] for rank in (first, *others)) < 0.6 * first[3][0]


@pytest.mark.parametrize("mesh", [{}, {"shard": 2}, {"tensor": 2}])
@pytest.mark.parametrize(("family", "optimizer"), [("gpt", "muon"), ("qwen3", "normuon")])
def test_muon_has_its_whole_matrices(family: str, optimizer: str, mesh: dict[str, int]) -> None:
    """Losses and norms are float32 in every model, which Muon magnifies; a part of a matrix would be far off."""
    run = Run(family, optimizer, steps=4)
    one = alone(run)
    same(one, ranks.run(train, 2, run, mesh)[0], loss=1e-6, weights=1e-5)


@pytest.mark.parametrize(("size", "mesh"), [(2, {}), (4, {}), (2, {"shard": 2}), (2, {"tensor": 2})])
def test_fifty_steps_in_float32(size: int, mesh: dict[str, int]) -> None:
    """One process with 4 micro-batches, 2 with 2 each, 4 with 1 each."""
    run = Run("gpt", dtype=torch.float32, steps=50)
    one = alone(run)
    [many, *_] = ranks.run(train, size, run, mesh)
    assert len(many[0]) == 50
    assert max(abs(mine - its) for (mine, _), (its, _) in zip(one[0], many[0], strict=True)) < 1e-6
    assert many[0][-1][0] < many[0][0][0] - 0.1


@pytest.mark.parametrize("mesh", [{}, {"shard": 2}, {"tensor": 2}])
def test_bfloat16(mesh: dict[str, int]) -> None:
    """The same products in bfloat16; only sums over ranks are rounded otherwise."""
    run = Run("gpt", dtype=torch.float32, narrow=True, steps=3)
    one = alone(run)
    [many, *_] = ranks.run(train, 2, run, mesh)
    for (mine, norm), (its, other) in zip(one[0], many[0], strict=True):
        assert its == pytest.approx(mine, rel=2e-3)
        assert other == pytest.approx(norm, rel=2e-2)
    assert {weight.dtype for weight in many[1].values()} == {torch.float32}


@pytest.mark.parametrize("optimizer", ["adamw", "normuon"])
def test_what_one_number_of_ranks_has_kept_another_takes_up(optimizer: str) -> None:
    whole = Run(optimizer=optimizer, steps=4, rate=0.05)
    straight = alone(whole)
    for size, mesh, then_size, then_mesh in ((1, {}, 2, {"shard": 2}), (3, {}, 1, {}), (2, {"tensor": 2}, 3, {})):
        [half, *_] = ranks.run(train, size, replace(whole, steps=2), mesh)
        rest = replace(whole, taken_up=(2, half[1], half[2]))
        [again, *_] = ranks.run(train, then_size, rest, then_mesh)
        same((straight[0][2:], *straight[1:]), again, loss=1e-6, weights=1e-5)


def test_the_largest_weights_go_to_those_who_have_least() -> None:
    sizes = {"a": 6, "b": 5, "c": 4, "d": 3, "e": 1}
    named = [(name, torch.nn.Parameter(torch.empty(size))) for name, size in sizes.items()]
    assert owners(named, 2) == {"a": 0, "b": 1, "c": 1, "d": 0, "e": 0}
    assert owners(named, 1) == dict.fromkeys(sizes, 0)


def begin_differently() -> str:
    with joined(read_world(os.environ), Watch()) as team:
        try:
            check_alike(team, [("same", torch.ones(2)), ("other", torch.full((2,), float(team.rank == 2)))])
        except DanluError as error:
            return str(error)
    return ""


def test_copies_that_begin_differently_are_refused() -> None:
    problems = ranks.run(begin_differently, 3)
    assert problems[0].startswith("rank 2 begins with another other than rank 0: all ranks need the same version")


@pytest.mark.parametrize(("axis", "parts"), [(0, 1), (0, 2), (1, 1), (1, 2)])
def test_pieces_make_the_whole_again(axis: int, parts: int) -> None:
    whole, split = torch.arange(96.0).view(8, 12), Split(axis, parts)
    pieces = [split.part(whole, rank, 2) for rank in range(2)]
    assert torch.equal(split.join(pieces), whole)
    halves = whole.tensor_split(2 * parts, axis)  # numpy's name for it
    assert torch.equal(pieces[0], torch.cat(halves[::2], axis))


def loss_with_bias(kind: str, mesh: dict[str, int]) -> tuple[float, dict[str, Tensor]]:
    """Every head has a bias of its own, which must be that of the rank's heads."""
    config = FAMILIES["llama"].config(vocab_size=64, max_length=16)
    assert config.decoder is not None
    bias = Alibi() if kind == "alibi" else RelativeBias(buckets=8, max_distance=16)
    config = replace(config, decoder=replace(config.decoder, bias=bias))
    with joined(read_world(os.environ), Watch()) as team:
        model = draw(config, torch.float64)
        place = Mesh(**mesh).place(rank=team.rank, size=team.size)
        masters: Any = FloatMasters(model, torch.float32)
        if team.size > 1:
            masters = OwnedMasters(model, torch.float32, team, place)
        loss = CausalLM().losses(model, batch(1))["words"]
        loss.backward()  # type: ignore[no-untyped-call]
        if team.size > 1:
            masters.collect({})
        gradients = {name: each.grad for name, each in masters.named.items() if each.grad is not None}
        return float(loss), {name: gradient for told in team.all(gradients) for name, gradient in told.items()}


@pytest.mark.parametrize("kind", ["alibi", "relative"])
def test_each_rank_has_the_bias_of_its_own_heads(kind: str) -> None:
    [(loss, gradients)] = ranks.run(loss_with_bias, 1, kind, {})
    for other, its in ranks.run(loss_with_bias, 2, kind, {"tensor": 2}):
        assert other == pytest.approx(loss, rel=1e-6)
        for name, gradient in gradients.items():
            torch.testing.assert_close(its[name], gradient, rtol=1e-5, atol=1e-6, msg=name)


def too_few_heads() -> str:
    with joined(read_world(os.environ), Watch()) as team:
        try:
            model = draw(FAMILIES["llama"].config(vocab_size=64, max_length=16), torch.float32)
            OwnedMasters(model, torch.float32, team, Place(team.rank, tensor_size=3, section="finetune"))
        except RecipeError as error:
            return str(error)
    return ""


def test_heads_that_cannot_be_divided_are_refused() -> None:
    assert ranks.run(too_few_heads, 3) == ["finetune.hardware.mesh.tensor must divide the model's heads, 4; got 3"] * 3


def experts_in_parts() -> str:
    config = FAMILIES["llama"].config(vocab_size=64, max_length=16)
    assert config.decoder is not None
    layer = replace(config.decoder.layers[0], mlp=Experts(count=2, per_token=1, hidden=32))
    with joined(read_world(os.environ), Watch()) as team:
        try:
            model = draw(replace(config, decoder=replace(config.decoder, layers=(layer,))), torch.float32)
            OwnedMasters(model, torch.float32, team, Place(team.rank, tensor_size=2, section="joint"))
        except RecipeError as error:
            return str(error)
    return ""


def test_experts_are_not_divided() -> None:
    assert ranks.run(experts_in_parts, 2) == ["joint.hardware.mesh.tensor must be 1 for a model with experts"] * 2


def with_little_messages() -> list[list[int]]:
    """Each message holds one weight at most; as on a GPU, what is made without being told where is elsewhere."""
    real, seen = OwnedMasters._exchange, list[list[int]]()

    def exchange(self: OwnedMasters, parts: Sequence[Mapping[str, Tensor]]) -> None:
        seen.append([len(part) for part in parts])
        with torch.device("meta"):
            real(self, parts)

    OwnedMasters._exchange = exchange  # type: ignore[method-assign]
    owners_module.AT_ONCE = 1
    with joined(read_world(os.environ), Watch()) as team:
        model = draw(FAMILIES["qwen3"].config(vocab_size=64, max_length=16), torch.float64)
        masters = OwnedMasters(model, torch.float32, team, Place(team.rank, team.size))
        CausalLM().losses(model, batch(1))["words"].backward()  # type: ignore[no-untyped-call]
        masters.collect({})
        assert all(master.grad is not None for master in masters.own.values())
    return seen


def test_a_rank_with_nothing_in_a_message_takes_part_from_where_its_weights_are() -> None:
    """NCCL refuses a tensor in main memory, and an empty one stood there."""
    seen, _ = ranks.run(with_little_messages, 2)
    assert any(0 in counts for counts in seen)
