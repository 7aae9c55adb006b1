"""A model as a training begins with it, drawn or read; on many processes each of torch's calls is told as progress."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch.overrides import TorchFunctionMode

from danlu.nn.transformer import Transformer
from danlu.parallel.joining import Ranks

DRAWS = "draws the first weights"
"""What it is called, each time: how long it took before tells how long it may take."""


def drawn(draw: Callable[[], Transformer], ranks: Ranks) -> Transformer:
    """The model that ``draw`` makes."""
    if ranks.size == 1:
        return draw()
    with _Told(ranks):
        return draw()


class _Told(TorchFunctionMode):
    """Tells the watch of each call, as of one that fills a weight; what it computes stays the same."""

    def __init__(self, ranks: Ranks) -> None:
        super().__init__()
        self._ranks = ranks

    def __torch_function__(
        self,
        function: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        result = function(*args, **(kwargs or {}))
        self._ranks.tick()
        return result
