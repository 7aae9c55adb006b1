"""The room for keys and values."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from danlu.nn.cache import KVCache
from danlu.nn.transformer import Transformer


def test_a_full_cache_says_so(make_model: Callable[..., Transformer]) -> None:
    model = make_model()
    cache = KVCache(model.config, batch=1, length=5, dtype=torch.float32)
    with torch.no_grad():
        model(torch.zeros(1, 5, dtype=torch.long), cache=cache)
        with pytest.raises(ValueError, match="the cache holds 5 tokens; got 6"):
            model(torch.zeros(1, 1, dtype=torch.long), cache=cache)


@torch.no_grad()
def test_rows_that_are_kept_go_on_as_they_were(make_model: Callable[..., Transformer]) -> None:
    model = make_model()
    tokens = torch.randint(0, 97, (4, 9))
    cache = KVCache(model.config, batch=4, length=9, dtype=torch.float32)
    model(tokens[:, :5], cache=cache)
    cache.keep([3, 1])
    torch.testing.assert_close(
        model(tokens[[3, 1], 5:], cache=cache), model(tokens[[3, 1]])[:, 5:], rtol=1e-4, atol=1e-4
    )
