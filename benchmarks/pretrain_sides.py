"""The sides of ``pretrain_cpu.py``: Danlu, and Hugging Face's Trainer, on the same rows in the same order."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from danlu.train.pretrain import Pretrain
    from danlu.train.setup import Training

LAYERS, DIM, HEADS = 6, 384, 6
LEARNING_RATE, BETAS, EPSILON, WEIGHT_DECAY, CLIP = 1e-3, (0.9, 0.95), 1e-8, 0.1, 1.0
"""AdamW on every side but Danlu's with Muon; the learning rate falls linearly to 0 over all steps."""
SEED = 1

How = Literal["adamw", "adamw int8", "muon"]


@dataclass(frozen=True)
class Work:
    """What every side has to do."""

    store: Path
    """The token store."""
    steps: int
    """Steps in all, those that warm up included."""
    sequence: int
    batch: int


@dataclass(frozen=True)
class Outcome:
    """What a side did."""

    losses: list[float]
    """Mean loss in nats of every step."""
    seconds: list[float]
    """Of every step but the first, which is never a measurement: from the end of the step before to its own end."""
    parameters: int
    matrix_parameters: int
    """Those that a token is multiplied by: all but the embedding, with the head."""
    how: str


def danlu_training(work: Work, how: How) -> tuple[Pretrain, Training]:
    """The settings that a recipe would give Danlu, and what they make."""
    from danlu.corpus.store import TokenStore
    from danlu.nn.families import GPT
    from danlu.optim.adamw import AdamW
    from danlu.optim.clipping import ClipNorm
    from danlu.optim.muon import Muon
    from danlu.optim.schedules import WarmupStableDecay
    from danlu.train.budget import Budget
    from danlu.train.pretrain import Pretrain
    from danlu.train.setup import set_up

    adamw = AdamW(lr=LEARNING_RATE, betas=BETAS, eps=EPSILON, weight_decay=WEIGHT_DECAY)
    settings = Pretrain(
        model=GPT(layers=LAYERS, dim=DIM, heads=HEADS),
        optimizer=Muon() if how == "muon" else adamw,
        schedule=WarmupStableDecay(warmup=0.0, decay=1.0),
        budget=Budget(steps=work.steps),
        sequence=work.sequence,
        batch=work.batch,
        clip=ClipNorm(limit=CLIP),
        precision="int8" if how == "adamw int8" else "auto",
        compile="on",
    )
    return settings, set_up(settings, TokenStore.open(work.store), seed=SEED)


def danlu(work: Work, how: How) -> Outcome:
    """Danlu's own loop."""
    from danlu.train.loop import StepInfo, fit

    settings, training = danlu_training(work, how)
    losses: list[float] = []
    marks: list[float] = []

    def note(info: StepInfo) -> None:
        losses.append(info.loss)
        marks.append(time.perf_counter())

    def factor(step: int) -> float:
        return settings.schedule.factor(step, steps=work.steps)

    fit(
        training.model, training.batches, settings.objective, training.optimizer, factor,
        steps=work.steps, clip=settings.clip, hooks=(note,),
    )  # fmt: skip
    parameters = sum(weight.numel() for weight in training.model.parameters())
    matrices = parameters - training.model.embedding.weight.numel()
    return Outcome(losses, _between(marks), parameters, matrices, f"{training.precision}; {training.compilation}")


def trainer(work: Work, how: Literal["defaults", "tuned", "tuned bf16"]) -> Outcome:
    """Hugging Face's Trainer on GPT-2 of the same shape, without dropout.

    Defaults: what ``TrainingArguments`` has, which is a fused AdamW. Tuned: ``torch_compile`` too, no
    progress bar, no logging, no pinned memory; with bf16, autocast to bfloat16.
    """
    import torch
    from transformers import GPT2Config, GPT2LMHeadModel, Trainer, TrainerCallback, TrainingArguments
    from transformers.training_args import OptimizerNames

    torch.manual_seed(SEED)
    examples = _examples(work)
    config = GPT2Config(
        vocab_size=_vocab_size(work), n_positions=work.sequence, n_embd=DIM, n_layer=LAYERS, n_head=HEADS,
        resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0, bos_token_id=0, eos_token_id=0,
    )  # fmt: skip
    model = GPT2LMHeadModel(config)
    losses: list[float] = []
    marks: list[float] = []

    class Watched(Trainer):  # type: ignore[misc]
        def training_step(self, *args: Any, **kwargs: Any) -> Any:
            loss = super().training_step(*args, **kwargs)
            losses.append(float(loss))
            return loss

    class Clock(TrainerCallback):  # type: ignore[misc]
        def on_step_end(self, *args: Any, **kwargs: Any) -> None:
            marks.append(time.perf_counter())

    tuned: dict[str, Any] = {
        "torch_compile": True,
        "bf16": how == "tuned bf16",
        "optim": "adamw_torch_fused",
        "dataloader_pin_memory": False,
        "disable_tqdm": True,
        "logging_strategy": "no",
    }
    with TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            output_dir=folder, max_steps=work.steps, per_device_train_batch_size=work.batch,
            learning_rate=LEARNING_RATE, adam_beta1=BETAS[0], adam_beta2=BETAS[1], adam_epsilon=EPSILON,
            weight_decay=WEIGHT_DECAY, max_grad_norm=CLIP, lr_scheduler_type="linear",
            train_sampling_strategy="sequential", save_strategy="no", use_cpu=True, seed=SEED,
            **({} if how == "defaults" else tuned),
        )  # fmt: skip
        Watched(model=model, args=arguments, train_dataset=examples, callbacks=[Clock()]).train()
    parameters = sum(weight.numel() for weight in model.parameters())
    matrices = parameters - model.transformer.wpe.weight.numel()  # the head is the embedding
    precision = "bf16 by autocast" if arguments.bf16 else "fp32"
    compiled = "compiled by torch.compile" if arguments.torch_compile else "not compiled"
    return Outcome(
        losses,
        _between(marks),
        parameters,
        matrices,
        f"{precision}; {compiled}; {OptimizerNames(arguments.optim).value}",
    )


def matrix_rates(size: int = 2048) -> dict[str, float]:
    """GFLOP/s of a product of two square matrices, by number type: what this machine can do at best."""
    import torch

    rates = {}
    for name, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
        left, right = (torch.randn(size, size).to(dtype) for _ in range(2))
        seconds = []
        for _ in range(8):
            started = time.perf_counter()
            left @ right
            seconds.append(time.perf_counter() - started)
        rates[name] = 2 * size**3 / min(seconds) / 1e9
    return rates


def int8_rate(size: int = 2048) -> float:
    """The same of 8-bit integers, in 10^9 multiplications and additions a second."""
    import torch

    left, right = (torch.randint(-127, 128, (size, size)).to(torch.int8) for _ in range(2))
    seconds = []
    for _ in range(8):
        started = time.perf_counter()
        torch._int_mm(left, right)
        seconds.append(time.perf_counter() - started)
    return 2 * size**3 / min(seconds) / 1e9


def flops_per_token(outcome: Outcome, work: Work) -> float:
    """Forward and backward: 6 a matrix parameter, and attention to the half of the row that has been seen."""
    return 6 * outcome.matrix_parameters + 6 * LAYERS * DIM * work.sequence


def _examples(work: Work) -> list[dict[str, Any]]:
    """The very rows of Danlu's side; the model shifts labels itself, and a row's last token is not its input."""
    import numpy as np
    import torch

    from danlu.corpus.store import TokenStore
    from danlu.corpus.stream import StreamRows

    rows = StreamRows(TokenStore.open(work.store), work.sequence, SEED)
    examples = []
    for number in range(work.steps * work.batch):
        tokens = torch.from_numpy(np.concatenate([piece.tokens[:-1] for piece in rows[number]]))
        padding = (0, work.sequence - len(tokens))
        examples.append(
            {
                "input_ids": torch.nn.functional.pad(tokens, padding),
                "labels": torch.nn.functional.pad(tokens, padding, value=-100),
            }
        )
    return examples


def _vocab_size(work: Work) -> int:
    from danlu.corpus.store import TokenStore

    return TokenStore.open(work.store).vocab_size


def _between(marks: Sequence[float]) -> list[float]:
    return [after - before for before, after in pairwise(marks)]
