"""Ray Train's trainer, with workers that meet as those of torchrun do. To import this needs Ray."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ray.train import RunConfig, ScalingConfig
from ray.train.backend import Backend
from ray.train.torch import TorchConfig, TorchTrainer


class OwnMeeting(Backend):
    """Starts no ``torch.distributed``: ``danlu.parallel.joining`` does, and takes it down."""

    share_cuda_visible_devices = True
    """So that a worker finds its GPU by its place on its machine, as under torchrun."""


class OwnMeetingConfig(TorchConfig):
    """TorchConfig's, but for the start."""

    @property
    def backend_cls(self) -> type[Backend]:
        return OwnMeeting


def trainer(
    work: Callable[[dict[str, Any]], None], config: dict[str, Any], *, workers: int, each: dict[str, int], folder: str
) -> TorchTrainer:
    """A trainer whose ``fit()`` calls ``work(config)`` on every worker.

    Args:
        each: what a worker has for itself, by Ray's names: ``{"CPU": 4, "GPU": 1}``.
        folder: for what Ray itself writes of the trainer; of no use afterwards.
    """
    scaling = ScalingConfig(num_workers=workers, use_gpu=each.get("GPU", 0) > 0, resources_per_worker=dict(each))
    return TorchTrainer(
        work, train_loop_config=config, torch_config=OwnMeetingConfig(), scaling_config=scaling,
        run_config=RunConfig(name="danlu", storage_path=folder),
    )  # fmt: skip
