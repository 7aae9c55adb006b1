"""Adapters against their definition in float64, merging, training, optimizers and compilation."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from danlu.errors import CheckpointError, RecipeError
from danlu.nn.hf.folder import save_model
from danlu.nn.lora import AdaptedLinear, LoRA, LowRank, adapted_layers, add_adapters, is_adapter, merge, remove
from danlu.nn.quantized import Format, QuantizedLinear, quantize
from danlu.nn.transformer import Transformer
from danlu.optim.muon import Muon
from danlu.train.compiling import compile_blocks

MakeModel = Callable[..., Transformer]
TRACED = (  # torch's own, of functions with a backward and of what a block is given
    "ignore:.*Function.*should not be instantiated:DeprecationWarning",
    "ignore:The .grad attribute of a Tensor that is not a leaf:UserWarning",
)
KINDS: dict[str, dict[str, Any]] = {
    "lora": {},
    "rslora": {"rank_stabilised": True},
    "dora": {"dora": True},
    "dora and rslora": {"dora": True, "rank_stabilised": True},
}


@pytest.fixture(scope="module")
def tokens() -> Tensor:
    return torch.randint(0, 97, (2, 20), generator=torch.Generator().manual_seed(5))


@pytest.fixture
def _forgotten() -> Iterator[None]:
    """Nothing that was compiled is left."""
    yield
    torch._dynamo.reset()


@torch.no_grad()
def shake(model: nn.Module) -> None:
    """Adapters that have learnt something."""
    generator = torch.Generator().manual_seed(3)
    for weight in model.parameters():
        if weight.requires_grad:
            weight.add_(torch.randn(weight.shape, generator=generator), alpha=0.1)


def logits(model: Transformer, tokens: Tensor) -> Tensor:
    found: Tensor = model.head(model(tokens))
    return found


def assert_near(ours: Tensor, wanted: Tensor) -> None:
    assert (ours - wanted).abs().max() <= 1e-5 * wanted.abs().max()


def definition(layer: AdaptedLinear, x: Tensor) -> Tensor:
    """``m (W + s B A) / |W + s B A|``, row by row in float64; without lengths ``W + s B A``."""
    rows = [share.double() for share in layer.base.weight.detach().chunk(layer.parts)]
    for part, adapter in layer.adapters.items():
        scale = adapter.alpha / (adapter.rank**0.5 if adapter.rank_stabilised else adapter.rank)
        whole = rows[part] + scale * adapter.b.double() @ adapter.a.double()
        if adapter.magnitude is not None:
            whole = whole / whole.square().sum(1, keepdim=True).sqrt() * adapter.magnitude.double()[:, None]
        rows[part] = whole
    out = x.double() @ torch.cat(rows).T
    return out if layer.base.bias is None else out + layer.base.bias.double()


@pytest.mark.parametrize("parts", [1, 2])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("form", [None, "int8", "nf4"])
@pytest.mark.parametrize("kind", KINDS)
def test_an_adapted_layer_is_its_definition(kind: str, form: Format | None, bias: bool, parts: int) -> None:
    linear = nn.Linear(20, 12, bias=bias)
    layer = AdaptedLinear(linear if form is None else QuantizedLinear(linear, form), parts=parts)
    for part in range(parts):
        settings = KINDS[kind]
        layer.adapt(
            part,
            LowRank(
                nn.Parameter(torch.randn(3 + part, 20)), nn.Parameter(torch.randn(12 // parts, 3 + part)),
                alpha=5.0 + part, rank_stabilised=settings.get("rank_stabilised", False),
                magnitude_O=nn.Parameter(torch.rand(12 // parts)) if settings.get("dora") else None,
            ),
        )  # fmt: skip
    x = torch.randn(2, 7, 20)
    wanted = definition(layer, x).float()
    torch.testing.assert_close(layer(x), wanted, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(layer.merged()(x), wanted, rtol=1e-5, atol=1e-5)


def test_a_share_without_an_adapter_is_the_layer_alone() -> None:
    linear = nn.Linear(20, 12)
    layer = AdaptedLinear(linear, parts=3)
    layer.adapt(1, LowRank(nn.Parameter(torch.randn(2, 20)), nn.Parameter(torch.randn(4, 2)), alpha=1.0))
    x = torch.randn(5, 20)
    changed = (layer(x) != linear(x)).any(0)
    assert changed.tolist() == [False] * 4 + [True] * 4 + [False] * 4


def test_the_gradient_of_dora_takes_the_length_for_a_constant() -> None:
    """Section 4.3 of the paper: the gradient for B A is that of W' scaled by m / |W'|, and no more."""
    layer = AdaptedLinear(nn.Linear(20, 12, bias=False))
    a, b, magnitude = torch.randn(3, 20), torch.randn(12, 3), torch.rand(12)
    layer.adapt(0, LowRank(nn.Parameter(a), nn.Parameter(b), alpha=3.0, magnitude_O=nn.Parameter(magnitude)))
    x, grad = torch.randn(7, 20), torch.randn(7, 12)
    layer(x).backward(grad)
    whole = layer.base.weight.detach() + b @ a
    length = whole.norm(dim=1)
    adapter = layer.adapters[0]
    torch.testing.assert_close(adapter.b.grad, (grad * magnitude / length).T @ x @ a.T, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(adapter.magnitude.grad, (grad * (x @ whole.T) / length).sum(0), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("form", [None, "nf4"])
def test_rows_of_zeros_have_no_direction_until_they_learn_one(form: Format | None) -> None:
    """The definition is 0 / 0 there; the sum is 0 in any case, and its rows with a length are as ever."""
    linear = nn.Linear(64, 12)
    with torch.no_grad():
        linear.weight[3:7] = 0
    layer = AdaptedLinear(linear if form is None else QuantizedLinear(linear, form))
    weight = layer.base.weight.detach().clone()
    magnitude = nn.Parameter(weight.norm(dim=1))
    layer.adapt(0, LowRank(nn.Parameter(torch.randn(2, 64)), nn.Parameter(torch.zeros(12, 2)), alpha=2.0,
                           magnitude_O=magnitude))  # fmt: skip
    x = torch.randn(5, 64)
    assert_near(layer(x), F.linear(x, weight, linear.bias))
    optimizer, adapter = torch.optim.SGD(layer.adapter.parameters(), lr=0.05), layer.adapters[0]
    losses = []
    for _ in range(200):
        loss = (layer(x) - 1.0).square().mean()
        loss.backward()
        assert adapter.b.grad is not None and adapter.b.grad.isfinite().all()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0] and (magnitude[3:7] != 0).all()
    wanted = layer(x)
    assert_near(layer.merged()(x), wanted)


def test_a_model_that_has_learned_nothing_takes_dora(tokens: Tensor, make_model: MakeModel) -> None:
    """What writes to the stream begins as zeros."""
    model = make_model("llama")
    model.initialise(0)
    before = logits(model, tokens)
    add_adapters(model, LoRA(dora=True))
    assert torch.equal(logits(model, tokens), before)
    model.head.loss(model(tokens)[:, :-1], tokens[:, 1:]).backward()
    assert all(weight.grad.isfinite().all() for weight in model.parameters() if weight.grad is not None)


@pytest.mark.parametrize("kind", KINDS)
def test_fresh_adapters_change_nothing(kind: str, tokens: Tensor, make_model: MakeModel) -> None:
    model = make_model("llama")
    before = logits(model, tokens)
    add_adapters(model, LoRA(**KINDS[kind]))
    assert_near(logits(model, tokens), before)
    assert all(layer.adapters[0].a.abs().max() > 0 for layer in adapted_layers(model).values())


@pytest.mark.parametrize("form", [None, "int8", "int4", "nf4"])
@pytest.mark.parametrize("kind", KINDS)
def test_merged_is_unmerged(kind: str, form: Format | None, tokens: Tensor, make_model: MakeModel) -> None:
    model = make_model("llama")
    if form is not None:
        quantize(model, form)
    before = logits(model, tokens)
    names = {name for name, _ in model.named_parameters()}
    add_adapters(model, LoRA(rank=3, alpha=5, **KINDS[kind]))
    shake(model)
    adapted = logits(model, tokens)
    assert (adapted - before).abs().max() > 1e-2 * before.abs().max()
    merge(model)
    assert_near(logits(model, tokens), adapted)
    assert not adapted_layers(model)
    assert all(weight.requires_grad for weight in model.parameters())
    assert form is not None or {name for name, _ in model.named_parameters()} == names


def test_removed_is_as_before_bit_by_bit(tokens: Tensor, make_model: MakeModel) -> None:
    model = make_model("llama")
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    add_adapters(model, LoRA())
    shake(model)
    remove(model)
    after = model.state_dict()
    assert after.keys() == before.keys()
    assert all(torch.equal(after[name], weight) for name, weight in before.items())
    assert all(weight.requires_grad for weight in model.parameters())


@pytest.mark.parametrize("copied", [False, True])
@pytest.mark.parametrize("undo", [merge, remove])
def test_what_was_frozen_before_stays_frozen(undo: Callable[[nn.Module], None], copied: bool) -> None:
    """Also the biases of quantised layers; one that an adapter is merged into is a plain layer again, and learns."""
    model = nn.Sequential(*(nn.Linear(64, 64) for _ in range(4)))
    model[0].requires_grad_(False)
    quantize(model, "int8", targets=("2", "3"))
    frozen = {"0.weight", "0.bias", "2.bias", "3.bias"}
    add_adapters(model, LoRA(targets=("0", "1", "2")))
    assert {name for name, weight in model.named_parameters() if weight.requires_grad} == {
        f"{number}.adapter.0.{matrix}" for number in range(3) for matrix in "ab"
    }
    model = copy.deepcopy(model) if copied else model
    undo(model)
    if undo is merge:
        frozen -= {"2.bias"}
    assert {name for name, weight in model.named_parameters() if not weight.requires_grad} == frozen
    add_adapters(model, LoRA(targets=("1",)))
    remove(model)
    assert {name for name, weight in model.named_parameters() if not weight.requires_grad} == frozen


@pytest.mark.parametrize("form", [None, "nf4"])
@pytest.mark.parametrize("kind", ["lora", "dora"])
def test_training_lowers_the_loss_and_leaves_what_is_frozen(
    kind: str, form: Format | None, tokens: Tensor, make_model: MakeModel
) -> None:
    model = make_model("llama")
    if form is not None:
        quantize(model, form)
    add_adapters(model, LoRA(rank=4, dropout=0.1, **KINDS[kind]))
    model.train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    trained = [(name, weight) for name, weight in model.named_parameters() if weight.requires_grad]
    assert sum(weight.numel() for _, weight in trained) < 0.5 * sum(weight.numel() for weight in model.parameters())
    optimizer = torch.optim.AdamW([weight for _, weight in trained], lr=0.02)
    losses = []
    for _ in range(25):
        loss = model.head.loss(model(tokens)[:, :-1], tokens[:, 1:]) / tokens[:, 1:].numel()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.5 * losses[0]
    after = model.state_dict()
    assert all(torch.equal(after[name], before[name]) != is_adapter(name) for name in before)


@torch.no_grad()
def test_dropout_is_of_what_goes_into_the_adapter() -> None:
    layer = AdaptedLinear(nn.Linear(20, 12), dropout=0.5)
    adapter = LowRank(nn.Parameter(torch.randn(2, 20)), nn.Parameter(torch.randn(12, 2)), alpha=2.0)
    layer.adapt(0, adapter)
    x = torch.ones(4000, 20)
    added = layer(x) - layer.base(x)
    kept = layer.eval()(x) - layer.base(x)
    assert len(added.unique(dim=0)) > 100 and len(kept.unique(dim=0)) == 1
    torch.testing.assert_close(added.mean(0), kept[0], rtol=0, atol=0.15 * float(kept.abs().max()))


@pytest.mark.parametrize(
    ("targets", "ends"),
    [
        (("query", "value"), {"attention.query", "attention.value"}),
        (("mlp.*",), {"mlp.up", "mlp.down"}),
        ((r"blocks\.[02]\.attention\.out",), {"attention.out"}),
    ],
)
def test_layers_are_chosen_by_name(targets: tuple[str, ...], ends: set[str], make_model: MakeModel) -> None:
    model = make_model("llama")
    add_adapters(model, LoRA(targets=targets))
    names = set(adapted_layers(model))
    layers = (0, 2) if "02" in targets[0] else (0, 1, 2)
    assert names == {f"decoder.blocks.{layer}.{end}" for layer in layers for end in ends}


@pytest.mark.parametrize(
    ("targets", "said"),
    [
        (("q_proj",), "targets: 'q_proj' names no linear layer; their names end in down, key, out, query, up, value"),
        (("query", "embedding"), "targets: 'embedding' names no linear layer"),
        (("(",), r"targets must be regular expressions; got '\('"),
    ],
)
def test_a_target_that_names_nothing_is_told(targets: tuple[str, ...], said: str, make_model: MakeModel) -> None:
    model = make_model("llama")
    with pytest.raises(RecipeError, match=said):
        add_adapters(model, LoRA(targets=targets))
    assert all(weight.requires_grad for weight in model.parameters())


def test_a_second_adapter_is_refused(make_model: MakeModel) -> None:
    model = make_model("llama")
    add_adapters(model, LoRA(targets=("query",)))
    with pytest.raises(RecipeError, match="the model has adapters already; merge or remove them first"):
        add_adapters(model, LoRA(targets=("value",)))


def test_a_seed_gives_the_same_adapters(make_model: MakeModel) -> None:
    first, again, other = (make_model("llama") for _ in range(3))
    for model, seed in ((first, 1), (again, 1), (other, 2)):
        add_adapters(model, LoRA(), seed=seed)
    pairs = list(zip(first.parameters(), again.parameters(), other.parameters(), strict=True))
    assert all(torch.equal(a, b) for a, b, _ in pairs)
    assert not all(torch.equal(a, c) for a, _, c in pairs)


def test_adapters_are_trained_by_adamw_beside_muon(tokens: Tensor, make_model: MakeModel) -> None:
    model = make_model("llama")
    add_adapters(model, LoRA(dora=True))
    named = [(name, weight) for name, weight in model.named_parameters() if weight.requires_grad]
    optimizer = Muon().build(named)
    [group] = optimizer.param_groups
    assert group["rule"] == "adamw"
    assert len(group["params"]) == len(named) == 3 * len(adapted_layers(model))
    whole = {group["rule"]: group["params"] for group in Muon().build(model.named_parameters()).param_groups}
    adapters = {id(weight) for name, weight in named}
    assert not adapters & {id(weight) for weight in whole["muon"]}
    before = [weight.clone() for _, weight in named if weight.ndim == 2]
    group["lr"] = group["lr_scale"]
    for _ in range(2):  # ``a`` has no gradient before ``b`` has moved
        model.head.loss(model(tokens)[:, :-1], tokens[:, 1:]).backward()
        optimizer.step()
        optimizer.zero_grad()
    after = [weight for _, weight in named if weight.ndim == 2]
    assert not any(torch.equal(old, new) for old, new in zip(before, after, strict=True))


def gradients(model: Transformer, tokens: Tensor) -> list[Tensor]:
    model.zero_grad()
    loss = model.head.loss(model(tokens)[:, :-1], tokens[:, 1:])
    loss.backward()
    return [loss.detach(), *(weight.grad for weight in model.parameters() if weight.grad is not None)]


def assert_compiled_is_the_same(model: Transformer, compiled: Transformer, tokens: Tensor) -> None:
    plain = gradients(model, tokens)
    assert len(plain) > 1
    for ours, wanted in zip(gradients(compiled, tokens), plain, strict=True):
        torch.testing.assert_close(ours, wanted, rtol=1e-4, atol=1e-4 * float(wanted.abs().max()))


def adapted(
    form: Format | None, make_model: MakeModel, *, layers: int = 3, **settings: Any
) -> tuple[Transformer, Transformer]:
    model = make_model("llama", layers=layers)
    if form is not None:
        quantize(model, form)
    add_adapters(model, LoRA(rank=2, **settings))
    shake(model)
    return model, copy.deepcopy(model)


@pytest.mark.filterwarnings(*TRACED)
@pytest.mark.usefixtures("_forgotten")
@pytest.mark.parametrize(("kind", "form"), [("lora", None), ("dora", "nf4")])
def test_a_block_with_adapters_is_one_graph(
    kind: str, form: Format | None, tokens: Tensor, make_model: MakeModel
) -> None:
    model, compiled = adapted(form, make_model, layers=1, **KINDS[kind])
    for block in compiled.blocks:
        block.compile(dynamic=False, fullgraph=True, backend="aot_eager")
    assert_compiled_is_the_same(model, compiled, tokens)


@pytest.mark.slow
@pytest.mark.filterwarnings(*TRACED)
@pytest.mark.usefixtures("_forgotten")
@pytest.mark.parametrize(("kind", "form"), [("lora", None), ("dora", "int8"), ("dora", "nf4")])
def test_compiled_blocks_with_adapters_learn_the_same(
    kind: str, form: Format | None, tokens: Tensor, make_model: MakeModel
) -> None:
    model, compiled = adapted(form, make_model, **KINDS[kind])
    assert compile_blocks(compiled, "on", steps=None).on
    assert_compiled_is_the_same(model, compiled, tokens)


def test_a_folder_does_not_lose_adapters_or_hold_codes(make_model: MakeModel, tmp_path: Path) -> None:
    for change in (lambda model: add_adapters(model, LoRA()), lambda model: quantize(model, "int8")):
        model = make_model("llama")
        change(model)
        with pytest.raises(CheckpointError, match="the model has adapters or quantised weights"):
            save_model(model, tmp_path / "out")
        assert not (tmp_path / "out").exists()
