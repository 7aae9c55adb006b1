"""One small corpus for all that is verified."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from danlu.verify.sample import Sample


@pytest.fixture(scope="session")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Sample:
    return Sample(tmp_path_factory.mktemp("sample"))


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Several threads on tiny tensors only wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
