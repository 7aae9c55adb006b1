"""Muon for the matrices of the blocks, AdamW for embedding, head and gains.

Muon (Jordan et al. 2024, https://kellerjordan.github.io/posts/muon/) replaces a matrix's momentum
by the nearest orthogonal matrix. The polynomial is Polar Express (Amsel et al. 2025,
arXiv:2505.16932); matrices of one shape go through it in one batch. The weights of experts are
stacks ``[X, R, C]`` of matrices, each of which is orthogonalised by itself.

Axes: N matrices of one shape, X experts, R rows, C columns.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor

from danlu.machine import fast_bfloat16
from danlu.nn.speed import AMPERE
from danlu.optim.protocol import Decay, NamedParameters, is_matrix
from danlu.recipe import Choice

POLAR_EXPRESS = (
    (8.156554524902461, -22.48329292557795, 15.878769915207462),
    (4.042929935166739, -2.808917465908714, 0.5000178451051316),
    (3.8916678022926607, -2.772484153217685, 0.5060648178503393),
    (3.285753657755655, -2.3681294933425376, 0.46449024233003106),
    (2.3465413258596377, -1.7097828382687081, 0.42323551169305323),
)
"""Coefficients of the odd quintic ``aX + bXXᵀX + c(XXᵀ)²X``, one triple an iteration (table 1 of the paper)."""


class Muon(Choice):
    """Settings; learning rates at the schedule's peak."""

    lr: float = Field(default=0.02, gt=0)
    """For the matrices; an update has root-mean-square ``lr / sqrt(fan-in)`` or thereabouts."""
    momentum: float = Field(default=0.95, ge=0, lt=1)
    """How slowly the running mean of a matrix's gradient changes."""
    momentum_start: float = Field(default=0.85, ge=0, lt=1)
    """The momentum of the first step; early gradients are soon out of date."""
    momentum_steps: int = Field(default=200, ge=1)
    """Steps over which the momentum rises from ``momentum_start`` to ``momentum``."""
    weight_decay: float = Field(default=0.0, ge=0)
    """How fast matrices shrink, in shares of the learning rate."""
    iterations: int = Field(default=5, ge=1, le=len(POLAR_EXPRESS))
    """Polar Express iterations."""
    precision: Literal["auto", "bf16", "fp32"] = "auto"
    """What the iterations compute in: bf16 where the processor or GPU multiplies it in hardware, else fp32."""
    adamw_lr: float = Field(default=3e-3, gt=0)
    """For everything that is not a matrix of a block."""
    adamw_betas: tuple[Decay, Decay] = (0.8, 0.95)
    """As ``betas`` of AdamW, for everything that is not a matrix of a block."""
    adamw_eps: float = Field(default=1e-10, gt=0)
    """As ``eps`` of AdamW, likewise."""

    def build(self, parameters: NamedParameters) -> torch.optim.Optimizer:
        return MuonOptimizer(self.groups(parameters), self)

    def groups(self, parameters: NamedParameters) -> list[dict[str, Any]]:
        """The matrices of the blocks, which are Muon's, and everything else, which is AdamW's."""
        named = list(parameters)
        matrices = [p for name, p in named if is_matrix(name, p)]
        rest = [p for name, p in named if not is_matrix(name, p)]
        groups: list[dict[str, Any]] = []
        if matrices:
            groups.append({"params": matrices, "rule": "muon", "lr_scale": self.lr})
        if rest:
            groups.append({"params": rest, "rule": "adamw", "lr_scale": self.adamw_lr})
        return groups


class MuonOptimizer(torch.optim.Optimizer):
    """Two rules in one optimizer, so that there is one state to save and one ``step`` to call."""

    def __init__(self, groups: list[dict[str, Any]], settings: Muon) -> None:
        super().__init__(groups, {"lr": settings.lr, "step": 0})
        self.settings = settings
        fast = settings.precision == "auto" and multiplies_bfloat16(self.param_groups[0]["params"][0].device)
        self.bfloat16 = settings.precision == "bf16" or fast

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        assert closure is None, "Muon takes no closure"
        for group in self.param_groups:
            group["step"] += 1
            (self._muon if group["rule"] == "muon" else self._adamw)(group)

    def _muon(self, group: dict[str, Any]) -> None:
        known = self.settings
        ramp = min(1.0, group["step"] / known.momentum_steps)
        momentum = known.momentum_start + ramp * (known.momentum - known.momentum_start)
        alike: dict[torch.Size, list[Tensor]] = defaultdict(list)
        for weight in group["params"]:
            if weight.grad is not None:
                alike[weight.shape].append(weight)
        for shape, weights in alike.items():
            rows, columns = shape[-2:]
            grads = [weight.grad for weight in weights if weight.grad is not None]
            buffers = [self._buffer(weight, "momentum") for weight in weights]
            torch._foreach_lerp_(buffers, grads, 1 - momentum)
            nesterov_NRC = torch.stack(torch._foreach_lerp(grads, buffers, momentum)).view(-1, rows, columns)
            updates_NRC = orthogonalise(nesterov_NRC, iterations=known.iterations, bfloat16=self.bfloat16)
            updates = self._shaped(updates_NRC, weights).reshape(len(weights), *shape).to(weights[0].dtype)
            if known.weight_decay:
                torch._foreach_mul_(weights, 1 - group["lr"] * known.weight_decay)
            scale = max(1.0, rows / columns) ** 0.5
            torch._foreach_add_(weights, list(updates.unbind()), alpha=-group["lr"] * scale)

    def _shaped(self, updates_NRC: Tensor, weights: list[Tensor]) -> Tensor:
        """What else is done to the orthogonal updates of weights of one shape, N matrices in all: nothing."""
        return updates_NRC

    def _adamw(self, group: dict[str, Any]) -> None:
        known = self.settings
        weights = [weight for weight in group["params"] if weight.grad is not None]
        if not weights:
            return
        # Of each weight by itself: one that gets its first gradient late has means that are at their start.
        steps = [self._buffer(weight, "steps", like=weight.new_zeros(())) for weight in weights]
        torch._foreach_add_(steps, 1)
        torch._fused_adamw_(
            weights,
            [weight.grad for weight in weights],
            [self._buffer(weight, "mean") for weight in weights],
            [self._buffer(weight, "square") for weight in weights],
            [],
            # Where the weights are: a GPU's kernel would read the processor's memory without asking.
            [each.float() for each in steps],
            lr=group["lr"], beta1=known.adamw_betas[0], beta2=known.adamw_betas[1], weight_decay=0.0,
            eps=known.adamw_eps, amsgrad=False, maximize=False,
        )  # fmt: skip

    def _buffer(self, weight: Tensor, name: str, like: Tensor | None = None) -> Tensor:
        """A running mean of the weight's own shape, or that of ``like``; 0 before the first step."""
        state = self.state[weight]
        if name not in state:
            state[name] = torch.zeros_like(weight if like is None else like)
        buffer: Tensor = state[name]
        return buffer


def multiplies_bfloat16(device: torch.device) -> bool:
    """Whether the device has instructions for it."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device)[0] >= AMPERE
    return fast_bfloat16() is not None


def orthogonalise(matrices_NRC: Tensor, *, iterations: int = 5, bfloat16: bool = False) -> Tensor:
    """The polar factors ``U Vᵀ`` of a batch of matrices, roughly: singular values end near 1.

    Every iteration is ``X <- P(XXᵀ) X``, so for wide matrices all of them run on the small Gram
    matrix and meet X once, at the end; a square one is cheaper the direct way. In bfloat16 squaring
    the matrix first would lose too much.
    """
    tall = matrices_NRC.shape[1] > matrices_NRC.shape[2]
    x = matrices_NRC.mT if tall else matrices_NRC
    x = x / (x.norm(dim=(1, 2), keepdim=True) * 1.02 + 1e-7)
    coefficients = POLAR_EXPRESS[:iterations]
    if bfloat16:
        x = _directly(x.bfloat16(), coefficients).float()
    elif x.shape[2] >= 2 * x.shape[1]:
        x = _by_gram_matrix(x, coefficients)
    else:
        x = _directly(x, coefficients)
    return x.mT if tall else x


def _directly(x: Tensor, coefficients: Sequence[tuple[float, float, float]]) -> Tensor:
    for a, b, c in coefficients:
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x


def _by_gram_matrix(x: Tensor, coefficients: Sequence[tuple[float, float, float]]) -> Tensor:
    """The same, with the product of all polynomials gathered first: ``(P₅ … P₁) X``; they commute with the Gram."""
    gram = x @ x.mT
    product = last = _polynomial(gram, coefficients[0])
    for triple in coefficients[1:]:
        gram = last @ gram @ last  # of the X that the last polynomial was applied to
        last = _polynomial(gram, triple)
        product = last @ product
    return product @ x


def _polynomial(gram: Tensor, coefficients: tuple[float, float, float]) -> Tensor:
    """``aI + bG + cG²``."""
    a, b, c = coefficients
    result = torch.baddbmm(gram, gram, gram, beta=b, alpha=c)
    result.diagonal(dim1=1, dim2=2).add_(a)
    return result
