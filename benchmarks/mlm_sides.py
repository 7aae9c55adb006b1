"""The sides of ``mlm_cpu.py``: Danlu, and Hugging Face's Trainer with its masking collator, on the same documents."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from turns import TUNED, Outcome, Peer, Work, adamw, hugging_face, train

if TYPE_CHECKING:
    from danlu.nn.speed import TrainingPrecision

LAYERS, DIM, HEADS = 4, 256, 4
SEQUENCE = 512
ROWS = 8
"""Of Danlu's step."""
DOCUMENTS = 44
"""Of the Trainer's step: about as many tokens as Danlu's rows hold."""
SEED = 1

How = Literal["defaults", "tuned", "tuned bf16"]


def danlu(work: Work, precision: TrainingPrecision) -> Outcome:
    """Danlu's own loop on packed rows."""
    from danlu.corpus.quarters import Quarters
    from danlu.nn.families import Bert
    from danlu.objectives.mlm import MaskedLM
    from danlu.optim.schedules import WarmupStableDecay
    from danlu.train.budget import Budget
    from danlu.train.pretrain import Pretrain

    settings = Pretrain(
        model=Bert(layers=LAYERS, dim=DIM, heads=HEADS), objective=MaskedLM(), optimizer=adamw(),
        schedule=WarmupStableDecay(warmup=0.0, decay=1.0), budget=Budget(steps=work.steps), sequence=SEQUENCE,
        batch=ROWS, precision=precision, compile="on", rows=Quarters(),
    )  # fmt: skip
    return train(settings, work, seed=SEED)


def trainer(work: Work, how: How) -> Outcome:
    """Hugging Face's Trainer and ``DataCollatorForLanguageModeling`` on BERT of the same shape, without dropout.

    Defaults: what ``TrainingArguments`` has, and padding to the longest document of a step. Tuned: documents of like
    length together, padding to multiples of 64 (few shapes), ``torch_compile``, no progress bar, no logging; with
    bf16, autocast to bfloat16.
    """
    import torch
    from transformers import AutoTokenizer, BertConfig, BertForMaskedLM, DataCollatorForLanguageModeling

    torch.manual_seed(SEED)
    torch._dynamo.config.recompile_limit = 64
    tokenizer = AutoTokenizer.from_pretrained(work.run / "tokenizer")
    config = BertConfig(
        vocab_size=len(tokenizer), hidden_size=DIM, num_hidden_layers=LAYERS, num_attention_heads=HEADS,
        intermediate_size=4 * DIM, max_position_embeddings=SEQUENCE, hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0, pad_token_id=tokenizer.pad_token_id,
    )  # fmt: skip
    tuned = {**TUNED, "train_sampling_strategy": "group_by_length", "bf16": how == "tuned bf16"}
    multiple = None if how == "defaults" else 64
    peer = Peer(
        BertForMaskedLM(config), documents_of(work, tokenizer),
        DataCollatorForLanguageModeling(tokenizer, mlm_probability=0.15, pad_to_multiple_of=multiple),
        lambda batch: int(batch["attention_mask"].sum()), DOCUMENTS, {} if how == "defaults" else tuned,
    )  # fmt: skip
    return hugging_face(peer, work, seed=SEED)


def documents_of(work: Work, tokenizer: Any) -> list[dict[str, Any]]:
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
