"""The settings that every kind of training shares: how weights move, for how long, on what."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Self

from pydantic import Field, SkipValidation, model_validator

from danlu.nn.speed import CompileSetting, DeviceSetting, TrainingPrecision
from danlu.optim.clipping import ClipNorm, ClippingChoice
from danlu.optim.ema import Averaging
from danlu.optim.muon import Muon
from danlu.optim.protocol import OptimizerChoice, ScheduleChoice
from danlu.optim.schedules import Plateau, WarmupStableDecay
from danlu.parallel.mesh import Mesh
from danlu.recipe import OneOf, Settings
from danlu.train.budget import Budget
from danlu.train.dropout import DropoutScheduleChoice
from danlu.train.guard import Anomalies
from danlu.train.stopping import EarlyStopping


class Saves(Settings):
    """When and how checkpoints are saved, of steps and minutes the first to come. It changes nothing in the result of a
    training that never has to go back to one."""

    steps: int | None = Field(default=None, ge=1)
    """Optimizer steps."""
    minutes: float | None = Field(default=5.0, gt=0)
    """Minutes of the clock."""
    background: bool = False
    """Whether training goes on while a checkpoint is written: from a copy, which takes the memory of the weights and
    the optimizer's state once more. Where all cores are busy with the training anyway there is little to win."""


class Hardware(Settings):
    """What a machine, or its memory, asks for; the result is the same but for the last bits, and for what dropout
    draws."""

    device: DeviceSetting = "auto"
    """Where the model computes: on a GPU where there is one, or as it says here."""
    offload: bool = False
    """Whether masters and the optimizer's state stay in main memory: a GPU then holds two bytes a weight. Of many
    processes each has its part there."""
    mesh: Mesh = Mesh()
    """How the processes that a launcher has started share the training."""
    micro_batch: int | None = Field(default=None, ge=1)
    """Rows of a step that go through the model at once, by default as many as hold 2,048 tokens, on a GPU 32,768; the
    gradients of all of them are accumulated."""
    recompute: bool = False
    """Whether the backward pass does the blocks' forward pass again in place of keeping what it needs of it: less
    memory, a third more work (Chen et al. 2016, arXiv:1604.06174)."""
    vocab_multiple: int = Field(default=1, ge=1)
    """The rows of the embedding and the head are rounded up to a multiple of it, such as 64 for the tensor cores of
    GPUs. The spare ones stand for no token: none is ever a target, which makes them improbable (label smoothing gives
    them their even share), nor written by ``generate``."""


class TrainSettings(Settings):
    """What a recipe says of any training."""

    section: ClassVar[str]
    """Of the recipe, for errors."""

    optimizer: Annotated[SkipValidation[OptimizerChoice], OneOf("optimizer")] = Muon()
    """How the weights move."""
    schedule: Annotated[SkipValidation[ScheduleChoice], OneOf("schedule")] = WarmupStableDecay()
    """How the learning rate moves."""
    budget: Budget = Budget(minutes=10)
    """When to stop."""
    batch: int = Field(default=8, ge=1)
    """Rows of an optimizer step; where not all go through the model at once, gradients are accumulated."""
    layer_decay: float = Field(default=1.0, gt=0, le=1)
    """What the learning rate of a layer is multiplied by for each layer above it; below 1 the lowest change least."""
    clip: Annotated[SkipValidation[ClippingChoice], OneOf("clipping")] = ClipNorm()
    """What is done to large gradients."""
    dropout_schedule: Annotated[SkipValidation[DropoutScheduleChoice] | None, OneOf("dropout_schedule")] = None
    """How the model's dropout changes on the way; by default it stays."""
    average: Averaging | None = None
    """A running average of the weights, which is then what is measured and what the model is in the end."""
    anomalies: Anomalies = Anomalies()
    """What is done about steps that would spoil the weights."""
    early_stopping: EarlyStopping | None = None
    """Whether the training ends when it gains no more; its best weights are then the model."""
    precision: TrainingPrecision = "auto"
    """What the model computes in: bf16 where it is multiplied in hardware, else fp32 (fp16 on a GPU), or as it says
    here. Masters and the optimizer's state are float32 in all cases; fp16's loss is scaled; fp8, on GPUs
    that have it, is for the products of blocks, int8, on processors, for those of blocks and of the head, where
    all else is bf16."""
    hardware: Hardware = Hardware()
    """Where it computes, how much at once, and what it keeps in which memory."""
    compile: CompileSetting = "auto"
    """Whether ``torch.compile`` makes the blocks faster; auto leaves it out where it would not pay."""
    save: Saves = Saves()
    """When a checkpoint is saved; a killed run goes on from the last."""
    evaluations: int = Field(default=10, ge=0)
    """How many times the held-out loss is measured on the way."""

    def with_hardware(self, **changed: Any) -> Self:
        """The same with other settings of ``hardware``."""
        return self.model_copy(update={"hardware": self.hardware.model_copy(update=changed)})

    @model_validator(mode="after")
    def _measures_on_the_way(self) -> Self:
        """Refuse what cannot be when the recipe is loaded."""
        if self.early_stopping is not None and not self.evaluations:
            raise ValueError("early_stopping needs held-out losses on the way: evaluations must be at least 1; got 0")
        if isinstance(self.schedule, Plateau) and not self.evaluations:
            raise ValueError("schedule plateau needs held-out losses on the way: evaluations must be at least 1; got 0")
        return self
