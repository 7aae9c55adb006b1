"""The sides of ``t5_cpu.py``: Danlu, and Hugging Face's Trainer with the collator of T5's documentation.

``transformers`` has no collator for span corruption; its examples do (``run_t5_mlm_flax.py``, after T5's own code).
What they describe is written here for torch: texts are joined and cut into pieces of such a length that what is left
of a piece fills a row of the encoder, so that nothing is padded.
"""

from __future__ import annotations

import time
from tempfile import TemporaryDirectory
from typing import Any, Literal

import numpy as np
from turns import Outcome, Work, between, train

LAYERS, DIM, HEADS, HIDDEN = 4, 256, 4, 1024
SEQUENCE, ROWS = 512, 8
RATE, MEAN = 0.15, 3.0
LEARNING_RATE, BETAS, EPSILON, WEIGHT_DECAY, CLIP = 1e-3, (0.9, 0.98), 1e-8, 0.01, 1.0
SEED = 1

How = Literal["defaults", "tuned", "tuned bf16"]


def danlu(work: Work) -> Outcome:
    """Danlu's own loop: spans are cut out of each document by itself, documents are packed and never see each other."""
    from danlu.nn.families import T5
    from danlu.objectives.span_corruption import SpanCorruption
    from danlu.optim.adamw import AdamW
    from danlu.optim.clipping import ClipNorm
    from danlu.optim.schedules import WarmupStableDecay
    from danlu.train.budget import Budget
    from danlu.train.pretrain import Pretrain

    settings = Pretrain(
        model=T5(layers=LAYERS, dim=DIM, heads=HEADS, hidden=HIDDEN, mlp="relu"),
        objective=SpanCorruption(rate=RATE, mean=MEAN),
        optimizer=AdamW(lr=LEARNING_RATE, betas=BETAS, eps=EPSILON, weight_decay=WEIGHT_DECAY),
        schedule=WarmupStableDecay(warmup=0.0, decay=1.0), budget=Budget(steps=work.steps), sequence=SEQUENCE,
        batch=ROWS, clip=ClipNorm(limit=CLIP), compile="on",
    )  # fmt: skip
    return train(settings, work, seed=SEED)


def trainer(work: Work, how: How) -> Outcome:
    """Hugging Face's Trainer on T5 of the same shape, without dropout.

    Defaults: what ``TrainingArguments`` has. Tuned: ``torch_compile``, no progress bar, no logging; with bf16,
    autocast to bfloat16.
    """
    import torch
    from transformers import (
        AutoTokenizer,
        T5Config,
        T5ForConditionalGeneration,
        Trainer,
        TrainerCallback,
        TrainingArguments,
    )

    torch.manual_seed(SEED)
    tokenizer = AutoTokenizer.from_pretrained(work.run / "tokenizer")
    config = T5Config(
        vocab_size=len(tokenizer), d_model=DIM, d_kv=DIM // HEADS, d_ff=HIDDEN, num_layers=LAYERS, num_heads=HEADS,
        dropout_rate=0.0, feed_forward_proj="relu", pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id, decoder_start_token_id=tokenizer.pad_token_id,
    )  # fmt: skip
    model = T5ForConditionalGeneration(config)
    losses: list[float] = []
    tokens: list[int] = []
    marks: list[float] = []

    class Watched(Trainer):  # type: ignore[misc]
        def training_step(self, model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
            tokens.append(inputs["input_ids"].numel() + inputs["labels"].numel())
            loss = super().training_step(model, inputs, *args, **kwargs)
            losses.append(float(loss))
            return loss

    class Clock(TrainerCallback):  # type: ignore[misc]
        def on_step_end(self, *args: Any, **kwargs: Any) -> None:
            marks.append(time.perf_counter())

    tuned: dict[str, Any] = {
        "torch_compile": True, "bf16": how == "tuned bf16", "optim": "adamw_torch_fused",
        "dataloader_pin_memory": False, "disable_tqdm": True, "logging_strategy": "no",
    }  # fmt: skip
    with TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            output_dir=folder, max_steps=work.steps, per_device_train_batch_size=ROWS, learning_rate=LEARNING_RATE,
            adam_beta1=BETAS[0], adam_beta2=BETAS[1], adam_epsilon=EPSILON, weight_decay=WEIGHT_DECAY,
            max_grad_norm=CLIP, lr_scheduler_type="linear", save_strategy="no", use_cpu=True, seed=SEED,
            remove_unused_columns=False, **({} if how == "defaults" else tuned),
        )  # fmt: skip
        Watched(
            model=model, args=arguments, train_dataset=_examples(work), data_collator=Collator(tokenizer),
            callbacks=[Clock()],
        ).train()  # fmt: skip
    precision = "bf16 by autocast" if arguments.bf16 else "fp32"
    compiled = "compiled by torch.compile" if arguments.torch_compile else "not compiled"
    parameters = sum(weight.numel() for weight in model.parameters())
    return Outcome(losses, between(marks), tokens[1:], parameters, f"{precision}; {compiled}")


class Collator:
    """Cuts random spans out of pieces of one length, each left by its sentinel."""

    def __init__(self, tokenizer: Any) -> None:
        self.eos = tokenizer.eos_token_id
        self.sentinels = np.array(tokenizer.convert_tokens_to_ids([f"<extra_id_{n}>" for n in range(100)]))
        self.noise = np.random.default_rng(SEED)

    def __call__(self, examples: list[dict[str, Any]]) -> dict[str, Any]:
        import torch

        rows = [np.array(example["input_ids"]) for example in examples]
        masks = [self._mask(len(row)) for row in rows]
        inputs = [self._left(row, mask) for row, mask in zip(rows, masks, strict=True)]
        labels = [self._left(row, ~mask) for row, mask in zip(rows, masks, strict=True)]
        return {"input_ids": torch.from_numpy(np.stack(inputs)), "labels": torch.from_numpy(np.stack(labels))}

    def _mask(self, length: int) -> np.ndarray[Any, Any]:
        """Which tokens are cut out: as many as the rate says, in as many spans as the mean says, of random lengths."""
        noisy = min(max(round(length * RATE), 1), length - 1)
        spans = max(round(noisy / MEAN), 1)
        cut, kept = self._segments(noisy, spans), self._segments(length - noisy, spans)
        starts = np.cumsum(np.stack([kept, cut], 1).reshape(-1))[:-1]
        begins = np.zeros(length, dtype=np.int64)
        begins[starts] = 1
        mask: np.ndarray[Any, Any] = np.cumsum(begins) % 2 == 1
        return mask

    def _segments(self, items: int, parts: int) -> np.ndarray[Any, Any]:
        firsts = np.arange(items - 1) < parts - 1
        self.noise.shuffle(firsts)
        lengths: np.ndarray[Any, Any] = np.bincount(np.cumsum(np.pad(firsts, (1, 0))), minlength=parts)
        return lengths

    def _left(self, row: np.ndarray[Any, Any], cut: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """What is not cut out, a sentinel for each span that is, end-of-text behind."""
        begins = cut & ~np.pad(cut, (1, 0))[:-1]
        marked = np.where(begins, self.sentinels[np.cumsum(begins) - 1], row)
        return np.append(marked[~cut | begins], self.eos)


def _examples(work: Work) -> list[dict[str, Any]]:
    """The text as one stream in pieces of which 512 tokens are left when the spans are cut out."""
    from danlu.corpus.store import TokenStore

    store = TokenStore.open(work.run / "pack" / "train")
    tokens = np.asarray(store.tokens)
    tokens = tokens[tokens != store.eot]
    length = next(n for n in range(2 * SEQUENCE, 0, -1) if _input_length(n) <= SEQUENCE)
    count = len(tokens) // length
    order = np.random.default_rng(SEED).permutation(count)
    return [{"input_ids": tokens[number * length : (number + 1) * length].tolist()} for number in order]


def _input_length(length: int) -> int:
    noisy = round(length * RATE)
    return length - noisy + round(noisy / MEAN) + 1
