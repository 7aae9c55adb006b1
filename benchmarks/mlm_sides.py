"""The sides of ``mlm_cpu.py``: Danlu, and Hugging Face's Trainer with its masking collator, on the same documents."""

from __future__ import annotations

import time
from tempfile import TemporaryDirectory
from typing import Any, Literal

from turns import Outcome, Work, between, train

LAYERS, DIM, HEADS = 4, 256, 4
SEQUENCE = 512
ROWS = 8
"""Of Danlu's step."""
DOCUMENTS = 44
"""Of the Trainer's step: about as many tokens as Danlu's rows hold."""
LEARNING_RATE, BETAS, EPSILON, WEIGHT_DECAY, CLIP = 5e-4, (0.9, 0.98), 1e-8, 0.01, 1.0
SEED = 1

How = Literal["defaults", "tuned", "tuned bf16"]


def danlu(work: Work) -> Outcome:
    """Danlu's own loop on packed rows."""
    from danlu.nn.families import Bert
    from danlu.objectives.mlm import MaskedLM
    from danlu.optim.adamw import AdamW
    from danlu.optim.clipping import ClipNorm
    from danlu.optim.schedules import WarmupStableDecay
    from danlu.train.budget import Budget
    from danlu.train.pretrain import Pretrain

    settings = Pretrain(
        model=Bert(layers=LAYERS, dim=DIM, heads=HEADS), objective=MaskedLM(),
        optimizer=AdamW(lr=LEARNING_RATE, betas=BETAS, eps=EPSILON, weight_decay=WEIGHT_DECAY),
        schedule=WarmupStableDecay(warmup=0.0, decay=1.0), budget=Budget(steps=work.steps), sequence=SEQUENCE,
        batch=ROWS, clip=ClipNorm(limit=CLIP), compile="on",
    )  # fmt: skip
    return train(settings, work, seed=SEED)


def trainer(work: Work, how: How) -> Outcome:
    """Hugging Face's Trainer and ``DataCollatorForLanguageModeling`` on BERT of the same shape, without dropout.

    Defaults: what ``TrainingArguments`` has, and padding to the longest document of a step. Tuned: documents of like
    length together, padding to multiples of 64 (few shapes), ``torch_compile``, no progress bar, no logging; with
    bf16, autocast to bfloat16.
    """
    import torch
    from transformers import (
        AutoTokenizer,
        BertConfig,
        BertForMaskedLM,
        DataCollatorForLanguageModeling,
        Trainer,
        TrainerCallback,
        TrainingArguments,
    )

    torch.manual_seed(SEED)
    torch._dynamo.config.recompile_limit = 64
    tokenizer = AutoTokenizer.from_pretrained(work.run / "tokenizer")
    config = BertConfig(
        vocab_size=len(tokenizer), hidden_size=DIM, num_hidden_layers=LAYERS, num_attention_heads=HEADS,
        intermediate_size=4 * DIM, max_position_embeddings=SEQUENCE, hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0, pad_token_id=tokenizer.pad_token_id,
    )  # fmt: skip
    model = BertForMaskedLM(config)
    losses: list[float] = []
    tokens: list[int] = []
    marks: list[float] = []

    class Watched(Trainer):  # type: ignore[misc]
        def training_step(self, model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
            tokens.append(int(inputs["attention_mask"].sum()))
            loss = super().training_step(model, inputs, *args, **kwargs)
            losses.append(float(loss))
            return loss

    class Clock(TrainerCallback):  # type: ignore[misc]
        def on_step_end(self, *args: Any, **kwargs: Any) -> None:
            marks.append(time.perf_counter())

    tuned: dict[str, Any] = {
        "torch_compile": True, "bf16": how == "tuned bf16", "optim": "adamw_torch_fused",
        "train_sampling_strategy": "group_by_length", "dataloader_pin_memory": False, "disable_tqdm": True,
        "logging_strategy": "no",
    }  # fmt: skip
    collator = DataCollatorForLanguageModeling(
        tokenizer, mlm_probability=0.15, pad_to_multiple_of=None if how == "defaults" else 64
    )
    with TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            output_dir=folder, max_steps=work.steps, per_device_train_batch_size=DOCUMENTS,
            learning_rate=LEARNING_RATE, adam_beta1=BETAS[0], adam_beta2=BETAS[1], adam_epsilon=EPSILON,
            weight_decay=WEIGHT_DECAY, max_grad_norm=CLIP, lr_scheduler_type="linear", save_strategy="no",
            use_cpu=True, seed=SEED, **({} if how == "defaults" else tuned),
        )  # fmt: skip
        Watched(
            model=model, args=arguments, train_dataset=_examples(work, tokenizer), data_collator=collator,
            callbacks=[Clock()],
        ).train()  # fmt: skip
    precision = "bf16 by autocast" if arguments.bf16 else "fp32"
    compiled = "compiled by torch.compile" if arguments.torch_compile else "not compiled"
    parameters = sum(weight.numel() for weight in model.parameters())
    return Outcome(losses, between(marks), tokens[1:], parameters, f"{precision}; {compiled}")


def _examples(work: Work, tokenizer: Any) -> list[dict[str, Any]]:
    """The documents, and chunks of the long ones, that Danlu's rows are packed from."""
    import numpy as np

    from danlu.corpus.documents import chunks
    from danlu.corpus.store import TokenStore

    store = TokenStore.open(work.run / "pack" / "train")
    cuts = chunks(store, longest=SEQUENCE - 2)
    ends = cuts.starts + cuts.bodies
    bodies = (np.asarray(store.tokens[start:end]).tolist() for start, end in zip(cuts.starts, ends, strict=True))
    framed = ([tokenizer.cls_token_id, *body, tokenizer.sep_token_id] for body in bodies if body)
    return [{"input_ids": ids, "attention_mask": [1] * len(ids)} for ids in framed]
