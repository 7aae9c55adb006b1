"""What is compiled computes what runs as it is written: attention in blocks, and the loss of a chunk."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from danlu.nn import config
from danlu.nn.attention import Attention, Context
from danlu.nn.head import chunk_loss
from danlu.nn.patterns import BigBird, Full, Window
from danlu.nn.sight import PADDING, Sight
from danlu.nn.transformer import Transformer

MakeStack = Callable[..., Transformer]
MakeModel = Callable[..., Transformer]
pytestmark = [  # torch's own, while it traces
    pytest.mark.filterwarnings("ignore:.*Function.*should not be instantiated:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf:UserWarning"),
]


@pytest.fixture(autouse=True)
def _forget_what_was_compiled() -> Iterator[None]:
    yield
    torch._dynamo.reset()


def with_gradients(layer: Attention, x: Tensor, sight: Sight, grad: Tensor, *, backend: str | None) -> list[Tensor]:
    function = layer.forward if backend is None else torch.compile(layer.forward, dynamic=False, backend=backend)
    leaf = x.clone().requires_grad_()
    out = function(leaf, Context(sight))
    return [out.detach(), *torch.autograd.grad(out, [leaf, *layer.parameters()], grad)]


@pytest.mark.parametrize(("causal", "backend"), [(True, "inductor"), (False, "aot_eager")])  # the first takes seconds
def test_attention_in_blocks_is_attention(causal: bool, backend: str) -> None:
    layer = Attention(config.Attention(4, 2, 8), 24)  # two query heads a key head; three blocks, one short
    segments = torch.randint(3, (2, 150), dtype=torch.int32).sort(dim=1).values
    sight = Sight(queries=150, keys=150, causal=causal, own=True, device=segments.device, segments=(segments, segments))
    x, grad = torch.randn(2, 150, 24), torch.randn(2, 150, 24)
    plain = with_gradients(layer, x, sight, grad, backend=None)
    for ours, wanted in zip(with_gradients(layer, x, sight, grad, backend=backend), plain, strict=True):
        torch.testing.assert_close(ours, wanted, rtol=1e-4, atol=1e-4)


class Graphs:
    """A compiler that runs what it is given as it stands, and remembers it."""

    def __init__(self) -> None:
        self.found: list[set[str]] = []

    def __call__(self, graph: torch.fx.GraphModule, inputs: Any) -> Callable[..., Any]:
        modules = [module for module in graph.modules() if isinstance(module, torch.fx.GraphModule)]
        self.found.append({str(node.target) for module in modules for node in module.graph.nodes})
        return graph.forward

    def calls(self, name: str) -> bool:
        return any(name in target for targets in self.found for target in targets)


def compile_blocks(model: Transformer) -> Graphs:
    graphs = Graphs()
    for block in model.blocks:
        block.compile(dynamic=False, backend=graphs, fullgraph=True)
    return graphs


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("drop_path", [0.0, 0.5])
def test_a_plain_layer_goes_by_blocks_and_all_layers_share_one_graph(
    make_stack: MakeStack, packed: bool, causal: bool, drop_path: float
) -> None:
    model = make_stack(causal=causal, layers=4, attention={"rotary": config.Rotary()}, drop_path=drop_path).train()
    graphs = compile_blocks(model)
    for step in range(3):
        tokens = torch.randint(0, 400, (2, 70))
        segments = torch.randint(3, (2, 70)).sort(dim=1).values + step if packed else None
        model(tokens, segments=segments).sum().backward()
    assert graphs.calls("autograd_function_apply")
    assert not graphs.calls("scaled_dot_product_attention")
    assert len(graphs.found) == (2 if drop_path else 1)  # the first layer drops no rows


@pytest.mark.parametrize("family", ["nanochat", "llama", "qwen3"])
def test_the_graph_of_a_family_holds_nothing_that_is_the_same_for_all_layers(
    make_model: MakeModel, family: str
) -> None:
    """No mask, no table and no position is made in a block."""
    model = make_model(family)
    graphs = compile_blocks(model)
    tokens, segments = torch.randint(0, 97, (2, 30)), torch.arange(30).expand(2, -1) // 11
    model(tokens, segments=segments).sum().backward()
    outside = graphs.found[0]
    assert len(graphs.found) == 1
    assert not any("cos" in target or "cumsum" in target or "embedding" in target for target in outside)


KINDS: list[tuple[str, dict[str, Any]]] = [
    ("window", {"attention": {"pattern": Window(9)}}),
    ("long window", {"attention": {"pattern": Window(40)}}),
    ("blocks", {"attention": {"pattern": BigBird(block=16)}}),
    ("bias", {"bias": config.RelativeBias()}),
    ("alibi", {"bias": config.Alibi()}),
    ("learned", {"entry": config.Entry(positions=config.Positions("learned"))}),
]


@pytest.mark.parametrize(("name", "fields"), KINDS, ids=[name for name, _ in KINDS])
@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("length", [30, 300])
def test_other_kinds_compile_to_the_same(
    make_stack: MakeStack, name: str, fields: dict[str, Any], causal: bool, length: int
) -> None:
    model = make_stack(causal=causal, **fields)
    tokens = torch.randint(0, 400, (2, length))
    segments = (torch.arange(length) // 140).expand(2, -1).clone()
    segments[0, -7:] = PADDING
    plain = model(tokens, segments=segments)
    graphs = compile_blocks(model)
    compiled = model(tokens, segments=segments)
    assert len(graphs.found) == 1
    real = segments != PADDING
    torch.testing.assert_close(compiled[real], plain[real], rtol=1e-5, atol=1e-6)


def test_experts_compile_around_what_depends_on_the_tokens(make_stack: MakeStack) -> None:
    model = make_stack(causal=True, mlp=config.Experts(count=4, per_token=2, hidden=6, activation="gelu_tanh")).train()
    tokens = torch.randint(0, 400, (3, 20))

    def gradients() -> list[Tensor]:
        out, balance = model(tokens), model.balance_loss()
        assert balance is not None
        return [
            out,
            balance,
            *torch.autograd.grad(out.square().sum() + 100 * balance, list(model.decoder.parameters())),
        ]  # type: ignore[union-attr]

    plain = gradients()
    graphs = Graphs()
    for block in model.blocks:
        block.compile(dynamic=False, backend=graphs)
    torch.testing.assert_close(gradients(), plain, rtol=1e-4, atol=1e-5)
    assert graphs.calls("softmax") and not graphs.calls("gelu")  # the router is compiled, the experts are not
    made = len(graphs.found)
    for _ in range(4):  # other tokens take other experts; nothing is compiled again
        model(torch.randint(0, 400, (3, 20))).sum().backward()
    assert len(graphs.found) == made


@pytest.mark.parametrize("cap", [15.0, None])
def test_the_loss_of_a_chunk(cap: float | None) -> None:
    logits, targets = torch.randn(6, 40), torch.tensor([3, 0, -100, 39, 7, 7])
    compiled, plain = logits.clone(), logits.clone()
    loss = torch.compile(chunk_loss, dynamic=False)(compiled, targets, cap)
    torch.testing.assert_close(loss, chunk_loss(plain, targets, cap))
    torch.testing.assert_close(compiled, plain, rtol=1e-5, atol=1e-6)
    assert not plain.equal(logits)


@pytest.mark.parametrize("length", [30, 300])
def test_layers_of_several_patterns_each_compile_to_their_own(length: int) -> None:
    """One after the other, as in ModernBERT: what is a constant in one layer's graph is none in the next."""
    patterns = (Window(9), Window(30), Full(), Window(9), BigBird(random=1), BigBird(random=1, seed=3))
    mlp, norm = config.MLP(12, "gelu"), config.Norm()
    layers = tuple(config.Layer(config.Attention(2, 2, 6, pattern=pattern), mlp) for pattern in patterns)
    stack = config.Stack(layers=layers, norm=norm, causal=True)
    model = Transformer(
        config.TransformerConfig(family="test", vocab_size=50, dim=12, max_length=300, decoder=stack)
    ).double()
    for weight in model.parameters():
        torch.nn.init.normal_(weight, std=0.5)
    tokens = torch.randint(0, 50, (1, length))
    plain = model(tokens)
    graphs = compile_blocks(model)
    for _ in range(2):
        torch.testing.assert_close(model(tokens), plain, rtol=1e-5, atol=1e-6)
    assert len(graphs.found) == len(set(patterns))
