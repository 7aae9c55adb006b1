"""Panics of the tokenizers library."""

from __future__ import annotations

import pytest
from tokenizers import normalizers

from danlu.tokenizers.panic import no_panics


def test_a_panic_is_an_error_with_its_words() -> None:
    broken = normalizers.Precompiled(bytes.fromhex("04000000ffffffff6100"))
    with pytest.raises(ValueError, match="the tokenizers library gave up on it: index out of bounds"), no_panics():
        broken.normalize_str("a")


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, KeyError])
def test_everything_else_goes_on(error: type[BaseException]) -> None:
    with pytest.raises(error), no_panics():
        raise error
