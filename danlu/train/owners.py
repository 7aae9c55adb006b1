"""Float32 masters over many ranks: each weight has one owner, which alone has its master and its optimizer state.

What ZeRO (Rajbhandari et al. 2020, arXiv:1910.02054) does with slices is done with whole weights here, so that any
optimizer works unchanged, Muon on its whole matrices too, and the state in a checkpoint knows nothing of ranks.
After the last micro-batch gradients are summed into their owners; after the optimizer's step owners send out weights.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import zip_longest
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from danlu.nn.transformer import Transformer
from danlu.optim.clipping import gradient_norm
from danlu.parallel.joining import Number, Ranks, added
from danlu.parallel.layout import lay_out, owners
from danlu.parallel.mesh import Place
from danlu.train import gathered
from danlu.train.precision import OBJECTIVE, LossScale, hand_over

AT_ONCE = 2**25
"""Numbers that are sent together, by all ranks; a weight of more is sent whole all the same."""


class OwnedMasters:
    """:class:`FloatMasters` as one of many ranks has them.

    ``named`` has all weights by their whole shapes, so that an optimizer's groups are the same everywhere. Those of
    other owners have no memory and never a gradient, so that optimizers leave them out.

    Args:
        model: float32, whole, and the same on all ranks; it is cut to this rank's part of it.
        dtype: what it computes in from then on.
        modules: the objective's own, as in :class:`FloatMasters`; whole on every rank.
        offload: the masters of this rank are in main memory, whatever device the model is on.
    """

    def __init__(
        self,
        model: Transformer,
        dtype: torch.dtype,
        ranks: Ranks,
        place: Place,
        modules: nn.Module | None = None,
        *,
        offload: bool = False,
    ) -> None:
        self.ranks, self.place, self.dtype = ranks, place, dtype
        self.scale = LossScale() if dtype == torch.float16 else None
        beside = {} if modules is None else {f"{OBJECTIVE}{name}": each for name, each in modules.named_parameters()}
        whole = {**dict(model.named_parameters()), **beside}
        self.owners = owners(whole.items(), ranks.size)
        divided = place.shard_size * place.tensor_size > 1
        narrow = dtype != torch.float32 and place.shard_size == 1
        self._home = torch.device("cpu") if offload else next(iter(whole.values())).device
        self.named: dict[str, nn.Parameter] = {}
        for name, weight in whole.items():
            if not self._mine(name):
                self.named[name] = _weightless(weight, self._home)
            elif divided or narrow or weight.device != self._home:
                self.named[name] = nn.Parameter(weight.detach().to(self._home, copy=True), weight.requires_grad)
            else:
                self.named[name] = weight
        self.layout = lay_out(model, dtype, ranks, place)
        self._lost = set[int]()
        """Ranks whose own losses of the step are no numbers."""
        self._sums: list[Tensor] = []
        """Of this rank's own parts of the step's gradient; they are looked at where all parts together are none."""
        self.weights = {**dict(model.named_parameters()), **beside}
        self.sums = self.weights
        """What each rank's own gradients gather in."""
        if narrow:
            self.sums = {name: _weightless(weight, weight.device) for name, weight in self.weights.items()}
            for name, weight in self.weights.items():
                weight.data = weight.data.to(dtype)
                if weight.requires_grad:
                    hook = partial(hand_over, self.sums[name], scale=self.scale)
                    weight.register_post_accumulate_grad_hook(hook)  # type: ignore[no-untyped-call]

    @property
    def own(self) -> dict[str, nn.Parameter]:
        """The masters of this rank."""
        return {name: master for name, master in self.named.items() if self._mine(name)}

    def sum(self, values: Mapping[str, Number]) -> dict[str, Number]:
        return self.ranks.sum(self.place.once(values))

    def norm(self, weights: Iterable[Tensor]) -> Tensor:
        own = gradient_norm(weights)
        squares = self.ranks.sum({"squares": float(own) ** 2})["squares"]
        return torch.tensor(math.sqrt(squares) if squares >= 0 else squares, dtype=own.dtype, device=own.device)

    def backward(self, loss: Tensor) -> None:
        """Add the gradient of ``loss`` to what this rank's own gradients gather in; with the scale where in shards."""
        (loss if self.scale is None else loss * self.scale.value).backward()  # type: ignore[no-untyped-call]

    def forget(self) -> None:
        for weight in (*self.sums.values(), *self.named.values()):
            weight.grad = None

    def attach(self, optimizer: torch.optim.Optimizer) -> None:
        """Have all ranks' weights follow after every step of ``optimizer``."""
        optimizer.register_step_post_hook(lambda *_: self.publish())

    @torch.no_grad()
    def collect(self, sums: Mapping[str, float] | None) -> dict[str, float] | None:
        """Sum all ranks' gradients into their owners' masters, where then all have the whole step's gradient.

        A weight that no rank has a gradient of gets none.
        """
        without = {name for name, weight in self.sums.items() if weight.requires_grad and weight.grad is None}
        told = self.ranks.all((None if sums is None else self.place.once(sums), without))
        if any(sums is None for sums, _ in told):
            return None
        self._lost = {rank for rank, (sums, _) in enumerate(told) if not all(map(math.isfinite, (sums or {}).values()))}
        self._sums = []
        absent = set.intersection(*(without for _, without in told))
        present = [name for name, weight in self.sums.items() if weight.requires_grad and name not in absent]
        copies = [[name for name in present if self._copy_of(self.owners[name]) == data]
                  for data in range(self.place.data_size)]  # fmt: skip
        with self.ranks.meeting():
            for messages in zip_longest(
                *(self._messages(names, self.place.data_size) for names in copies), fillvalue=[]
            ):
                self._exchange([self._own_part(names, data) for data, names in enumerate(messages)])
        return added(sums for sums, _ in told if sums is not None)

    def _own_part(self, names: Sequence[str], data: int) -> dict[str, Tensor]:
        """Of gradients that copy ``data`` of the model owns, those of its rank that stands where this one does."""
        owner = self.place.at(data=data, shard=self.place.shard, tensor=self.place.tensor)
        gradients = {name: self._whole(name) for name in names}  # all ranks of a copy take part
        return {name: gradient for name, gradient in gradients.items() if self.owners[name] == owner}

    def _exchange(self, parts: Sequence[Mapping[str, Tensor]]) -> None:
        """Give each copy of the model its part, and add up, in float32, what all of them have of this one's."""
        if not any(parts):
            return
        here = self.place.data
        others = [part for data, part in enumerate(parts) if data != here]
        # Apart: what is sent is not kept through the update.
        sent, own = self._in_one(others), self._in_one([parts[here]])
        self._sums += [sent.sum(), own.sum()]  # no number where one of theirs is none
        if self.place.data_size > 1:
            assert self.layout.mesh is not None
            sizes = [sum(gradient.numel() for gradient in part.values()) for part in parts]
            sizes[here] = 0
            theirs = [0 if data == here else own.numel() for data in range(self.place.data_size)]
            received = own.new_empty(sum(theirs))
            dist.all_to_all_single(received, sent, theirs, sizes, self.layout.mesh.get_group("data"))
            for other in torch.split(received, theirs):
                if other.numel():
                    own += other
        for name, gradient in self._cut(own.to(self._home), list(parts[here])):
            self.named[name].grad = gradient

    def _in_one(self, parts: Iterable[Mapping[str, Tensor]]) -> Tensor:
        """All their numbers behind each other; where there are none, none in the place and type of those of others."""
        numbers = [gradient.flatten() for part in parts for gradient in part.values()]
        if numbers:
            return torch.cat(numbers)
        weight = next(iter(self.weights.values()))
        return torch.empty(0, dtype=torch.promote_types(weight.dtype, torch.float32), device=weight.device)

    def spoilt(self) -> list[int]:
        """By its own losses; where those are numbers, by what its copy of the model has made of the gradient.

        Ranks that share a copy have made that together, and those that share products the losses too. All call it.
        """
        told = self.ranks.all(all(bool(torch.isfinite(each)) for each in self._sums))
        lost = {rank for first in self._lost for rank in range(first, first + self.place.tensor_size)}
        copies = {self._copy_of(rank) for rank, finite in enumerate(told) if not finite}
        by_gradient = copies - {self._copy_of(rank) for rank in lost}
        return sorted(lost | {rank for rank in range(self.ranks.size) if self._copy_of(rank) in by_gradient})

    def _whole(self, name: str) -> Tensor:
        """The gradient that this rank and those that share its copy have made, taken from them."""
        weight = self.sums[name]
        gradient = torch.zeros_like(weight) if weight.grad is None else weight.grad
        weight.grad = None
        if isinstance(gradient, DTensor):
            gradient = gradient.full_tensor()
            if self.scale is not None:  # of others it was taken off as they were made
                gradient = gradient / self.scale.value
        split = self.layout.splits.get(name)
        if split is None:
            return gradient
        assert self.layout.mesh is not None
        pieces = [torch.empty_like(gradient) for _ in range(self.place.tensor_size)]
        dist.all_gather(pieces, gradient.contiguous(), group=self.layout.mesh.get_group("tensor"))
        return split.join(pieces)

    @torch.no_grad()
    def publish(self) -> None:
        """Give every rank its part of what the owners have; weights that are frozen stay as they were loaded."""
        with self.ranks.meeting():
            learning = [name for name, master in self.named.items() if master.requires_grad]
            runs = [[name for name in learning if self.owners[name] == owner] for owner in range(self.ranks.size)]
            for messages in zip_longest(*(self._messages(names, self.ranks.size) for names in runs), fillvalue=[]):
                sent = [self._send_out(names, owner) for owner, names in enumerate(messages) if names]
                for names, flat, work in sent:  # all are on their way before the first is waited for
                    work.wait()
                    for name, whole in self._cut(flat, names):
                        self._take(name, whole)
        self.layout.let_go()

    def _send_out(self, names: Sequence[str], owner: int) -> tuple[Sequence[str], Tensor, dist.Work]:
        """Begin to broadcast the owner's weights."""
        known = self.weights[names[0]]
        if owner == self.ranks.rank:
            flat = torch.cat([self.named[name].detach().to(known.device, known.dtype).flatten() for name in names])
        else:
            numbers = sum(self.named[name].numel() for name in names)
            flat = torch.empty(numbers, dtype=known.dtype, device=known.device)
        work = dist.broadcast(flat, owner, async_op=True)
        assert work is not None
        return names, flat, work

    def _cut(self, flat: Tensor, names: Sequence[str]) -> Iterator[tuple[str, Tensor]]:
        """Whole weights, or gradients, that stand in one message one behind the other."""
        start = 0
        for name in names:
            shape = self.named[name].shape
            yield name, flat[start : start + shape.numel()].view(shape)
            start += shape.numel()

    def _take(self, name: str, whole: Tensor) -> None:
        weight = self.weights[name]
        split = self.layout.splits.get(name)
        part = whole if split is None else split.part(whole, self.place.tensor, self.place.tensor_size)
        if isinstance(weight, DTensor):
            pieces = part.chunk(self.place.shard_size)
            if self.place.shard < len(pieces):  # short weights leave the last ranks nothing
                weight.to_local().copy_(pieces[self.place.shard])
        else:
            weight.copy_(part)

    def state(self) -> dict[str, Tensor]:
        """The float32 weights by name, on rank 0; nothing on others. All ranks call it."""
        return self.gathered({name: master.detach() for name, master in self.own.items()})

    def gathered(self, own: Mapping[str, Tensor]) -> dict[str, Tensor]:
        with self.ranks.meeting():
            found: dict[str, Tensor] = {}
            for name, master in self.named.items():
                tensor = self.pass_on(own.get(name, master.detach()), self.owners[name])
                self.ranks.tick()
                if tensor is not None:
                    found[name] = tensor
        return found

    def owned(self, whole: Mapping[str, Tensor]) -> dict[str, Tensor]:
        with self.ranks.meeting():
            mine: dict[str, Tensor] = {}
            for name, master in self.named.items():
                owner = self.owners[name]
                if self.ranks.first and owner != 0:
                    self.ranks.send(whole[name].to("cpu", master.dtype), owner)
                elif self._mine(name):
                    first = self.ranks.first
                    mine[name] = whole[name] if first else self.ranks.receive(master.shape, master.dtype, 0)
        return mine

    def optimizer_state(self, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
        """The ``state_dict`` of all owners together, on rank 0; nothing on others. All ranks call it."""
        return gathered.optimizer_state(optimizer, self)

    def load_optimizer(self, optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> None:
        """Give every owner its part of the ``state_dict`` that rank 0 has. All ranks call it."""
        gathered.load_optimizer_state(optimizer, self, state)

    @torch.no_grad()
    def load(self, state: Mapping[str, Tensor]) -> None:
        """Take over the weights that rank 0 has. All ranks call it, others with an empty table."""
        with self.ranks.meeting():
            for name, master in self.named.items():
                whole = torch.empty(master.shape, dtype=master.dtype)
                if self.ranks.first:
                    whole.copy_(state[name])
                dist.broadcast(whole, 0)
                if self._mine(name):
                    master.copy_(whole)
                self._take(name, whole.to(self.weights[name].device))
                self.ranks.tick()
        self.layout.let_go()

    def pass_on(self, tensor: Tensor, owner: int) -> Tensor | None:
        """The owner's ``tensor`` on rank 0's processor; None on all others, which only need one of its shape."""
        if owner == self.ranks.rank != 0:
            self.ranks.send(tensor.cpu(), 0)
        if not self.ranks.first:
            return None
        return tensor.cpu() if owner == 0 else self.ranks.receive(tensor.shape, tensor.dtype, owner)

    def _mine(self, name: str) -> bool:
        return self.owners[name] == self.ranks.rank

    def _copy_of(self, rank: int) -> int:
        """Which copy of the model a rank belongs to."""
        return rank // (self.place.shard_size * self.place.tensor_size)

    def _messages(self, names: Iterable[str], parts: int) -> Iterator[list[str]]:
        """Names in runs of up to ``AT_ONCE`` numbers, where ``parts`` of them are sent together."""
        message: list[str] = []
        numbers = 0
        for name in names:
            more = self.named[name].numel()
            if message and numbers + more > AT_ONCE // parts:
                yield message
                message, numbers = [], 0
            message.append(name)
            numbers += more
        if message:
            yield message


def _weightless(weight: Tensor, device: torch.device) -> nn.Parameter:
    """A float32 parameter of the same shape that takes no memory: a place for a gradient."""
    wide = torch.promote_types(weight.dtype, torch.float32)
    nothing = torch.zeros((), dtype=wide, device=device).expand(weight.shape)
    return nn.Parameter(nothing, weight.requires_grad)
