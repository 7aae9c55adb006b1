"""The sides of ``t5_cpu.py``: Danlu, and Hugging Face's Trainer with the collator of T5's documentation.

``transformers`` has no collator for span corruption; its examples do (``run_t5_mlm_flax.py``, after T5's own code).
What they describe is written here for torch: texts are joined and cut into pieces of such a length that what is left
of a piece fills a row of the encoder, so that nothing is padded.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from turns import TUNED, Outcome, Peer, Work, adamw, hugging_face, train

if TYPE_CHECKING:
    from danlu.nn.speed import TrainingPrecision

LAYERS, DIM, HEADS, HIDDEN = 4, 256, 4, 1024
SEQUENCE, ROWS = 512, 8
RATE, MEAN = 0.15, 3.0
SEED = 1

How = Literal["defaults", "tuned", "tuned bf16"]


def danlu(work: Work, precision: TrainingPrecision) -> Outcome:
    """Danlu's own loop: spans are cut out of each document by itself, documents are packed and never see each other."""
    from danlu.corpus.quarters import Quarters
    from danlu.nn.families import T5
    from danlu.objectives.span_corruption import SpanCorruption
    from danlu.optim.schedules import WarmupStableDecay
    from danlu.train.budget import Budget
    from danlu.train.pretrain import Pretrain

    settings = Pretrain(
        model=T5(layers=LAYERS, dim=DIM, heads=HEADS, hidden=HIDDEN, mlp="relu"),
        objective=SpanCorruption(rate=RATE, mean=MEAN), optimizer=adamw(),
        schedule=WarmupStableDecay(warmup=0.0, decay=1.0), budget=Budget(steps=work.steps), sequence=SEQUENCE,
        batch=ROWS, precision=precision, compile="on", rows=Quarters(),
    )  # fmt: skip
    return train(settings, work, seed=SEED)


def trainer(work: Work, how: How) -> Outcome:
    """Hugging Face's Trainer on T5 of the same shape, without dropout.

    Defaults: what ``TrainingArguments`` has. Tuned: ``torch_compile``, no progress bar, no logging; with bf16,
    autocast to bfloat16.
    """
    import torch
    from transformers import AutoTokenizer, T5Config, T5ForConditionalGeneration

    torch.manual_seed(SEED)
    tokenizer = AutoTokenizer.from_pretrained(work.run / "tokenizer")
    config = T5Config(
        vocab_size=len(tokenizer), d_model=DIM, d_kv=DIM // HEADS, d_ff=HIDDEN, num_layers=LAYERS, num_heads=HEADS,
        dropout_rate=0.0, feed_forward_proj="relu", pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id, decoder_start_token_id=tokenizer.pad_token_id,
    )  # fmt: skip
    tuned = {**TUNED, "bf16": how == "tuned bf16"}
    peer = Peer(
        T5ForConditionalGeneration(config), pieces_of(work), Collator(tokenizer),
        lambda batch: batch["input_ids"].numel() + batch["labels"].numel(), ROWS,
        {} if how == "defaults" else tuned,
    )  # fmt: skip
    return hugging_face(peer, work, seed=SEED)


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


def pieces_of(work: Work) -> list[dict[str, Any]]:
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
