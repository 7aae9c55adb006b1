"""The sides of ``gpu.py``: Danlu, Hugging Face's Trainer, and a plain loop around a compiled transformers model."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import Any, Literal

from flops import Read, training_flops
from turns import TUNED, Peer, Work, adamw, between, hugging_face

SEED = 1
Kind = Literal["gpt2", "llama", "bert", "t5"]


@dataclass(frozen=True)
class Case:
    """A model, what it learns, and how many tokens a row has."""

    name: str
    kind: Kind
    layers: int
    dim: int
    heads: int
    kv_heads: int
    hidden: int
    sequence: int
    vocab_size: int = 8192
    """Of decoders; the others have the tokenizer's."""
    target: float | None = None
    """Share of the GPU's peak that Danlu is meant to reach in bf16."""


@dataclass(frozen=True)
class Job:
    """What a side has to do."""

    case: Case
    folder: Path
    """A run folder with ``tokenizer`` and ``pack``; for decoders a token store."""
    steps: int
    rows: int
    """Of a micro-batch; of sides that pad, documents or pieces."""
    micro_batches: int
    """A step."""
    device: str
    compiled: bool
    precision: Literal["bf16", "fp8"] = "bf16"


@dataclass(frozen=True)
class Outcome:
    """What a side did, but for its first step, which is never a measurement."""

    seconds: list[float]
    tokens: list[int]
    """Padding not counted."""
    flops: list[float]
    """That the model needed, whatever the side did."""
    peak_bytes: int
    """Of the GPU's memory; 0 on processors."""
    how: str


def model_of(case: Case) -> Any:
    """Danlu's settings of the model."""
    from danlu.nn.families import GPT2, T5, Bert, Llama

    sizes = {"layers": case.layers, "dim": case.dim, "heads": case.heads, "hidden": case.hidden}
    if case.kind == "llama":
        return Llama(**sizes, kv_heads=case.kv_heads, tied=True)
    if case.kind == "t5":
        return T5(**sizes, head_dim=case.dim // case.heads, mlp="relu")
    return (GPT2 if case.kind == "gpt2" else Bert)(**sizes)


def objective_of(case: Case) -> Any:
    from danlu.objectives.clm import CausalLM
    from danlu.objectives.mlm import MaskedLM
    from danlu.objectives.span_corruption import SpanCorruption

    return {"gpt2": CausalLM, "llama": CausalLM, "bert": MaskedLM, "t5": SpanCorruption}[case.kind]()


def danlu(job: Job) -> Outcome:
    """What ``danlu pretrain`` does."""
    from danlu.corpus.store import TokenStore
    from danlu.optim.schedules import WarmupStableDecay
    from danlu.tokenizers.tokenizer import Tokenizer
    from danlu.tokenizers.vocabulary import Vocabulary
    from danlu.train.budget import Budget
    from danlu.train.loop import StepInfo, fit
    from danlu.train.pretrain import Pretrain
    from danlu.train.setup import set_up

    plain = job.case.kind in ("gpt2", "llama")
    settings = Pretrain.model_validate({
        "model": model_of(job.case), "objective": objective_of(job.case), "optimizer": adamw(),
        "schedule": WarmupStableDecay(warmup=0.0, decay=1.0), "budget": Budget(steps=job.steps),
        "sequence": job.case.sequence, "batch": job.rows * job.micro_batches,
        "hardware": {"device": job.device, "micro_batch": job.rows}, "precision": job.precision,
        "compile": "on" if job.compiled else "off",
    })  # fmt: skip
    store = TokenStore.open(job.folder if plain else job.folder / "pack" / "train")
    vocabulary = None if plain else Vocabulary.of(Tokenizer.load(job.folder / "tokenizer"))
    training = set_up(settings, store, vocabulary=vocabulary, seed=SEED)
    marks: list[float] = []
    tokens: list[int] = []

    def note(info: StepInfo) -> None:
        marks.append(time.perf_counter())
        tokens.append(info.tokens)

    fit(
        training.model, training.made_ahead, settings.objective, training.optimizer,
        lambda step: settings.schedule.factor(step, steps=job.steps),
        steps=job.steps, clip=settings.clip, masters=training.masters, hooks=(note,),
    )  # fmt: skip
    peak = peak_bytes(job.device)  # before what follows, which is no part of it
    reads = [read_of(training.batches(step)) for step in range(1, job.steps)]
    flops = [training_flops(training.model.config, read) for read in reads]
    return Outcome(between(marks), tokens[1:], flops, peak, f"{training.precision}; {training.compilation}")


def read_of(batches: Sequence[Any]) -> Read:
    """Of Danlu's batches of a step."""
    own: list[int] = []
    source: list[int] = []
    for batch in batches:
        own += _lengths(batch.inputs)
        source += _lengths(batch.source)
    return Read(own, sum(sum(batch.counts.values()) for batch in batches), source)


def _lengths(part: Mapping[str, Any]) -> list[int]:
    """Tokens of each document, those of a row in order; rows of a single text have no borders."""
    import torch

    if not part:
        return []
    if "segments" not in part:
        return [part["tokens"].shape[1]] * len(part["tokens"])
    lengths: list[int] = []
    for row_T in part["segments"]:
        numbers, counts = torch.unique_consecutive(row_T, return_counts=True)
        lengths += counts[numbers >= 0].tolist()
    return lengths


def trainer(job: Job) -> Outcome:
    """Hugging Face's Trainer, tuned: bf16 by autocast, compiled, fused AdamW, memory pinned, data made beside."""
    model, examples, collator = peer_of(job)
    reads: list[Read] = []

    def count(batch: Mapping[str, Any]) -> int:
        reads.append(read_of_peer(batch))
        return tokens_of(reads[-1])

    on_gpu = job.device == "cuda"
    settings = {
        **TUNED, "torch_compile": job.compiled, "bf16": True, "use_cpu": not on_gpu, "dataloader_pin_memory": on_gpu,
        "dataloader_num_workers": 2 if on_gpu else 0, "gradient_accumulation_steps": job.micro_batches,
    }  # fmt: skip
    if job.case.kind == "bert":
        settings["train_sampling_strategy"] = "group_by_length"
    needed = job.rows * job.micro_batches * job.steps  # where an epoch ended, a step would have fewer micro-batches
    repeated = [example for example, _ in zip(cycle(examples), range(needed), strict=False)]
    peer = Peer(model, repeated, collator, count, job.rows, settings)
    done = hugging_face(peer, Work(job.folder, job.steps), seed=SEED)
    config = danlu_config(job)
    steps = of_steps(reads, job.micro_batches)[1:]
    flops = [training_flops(config, read) for read in steps]
    return Outcome(done.seconds, [tokens_of(read) for read in steps], flops, peak_bytes(job.device), done.how)


def compiled_model(job: Job) -> Outcome:
    """The transformers model in bf16, weights and all, compiled as a whole, in a loop that does nothing else."""
    import torch

    model, examples, collator = peer_of(job)
    model = model.to(job.device, torch.bfloat16).train()
    called = torch.compile(model) if job.compiled else model
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, betas=(0.9, 0.98), weight_decay=0.01, fused=True)
    marks: list[float] = []
    reads: list[Read] = []
    for number, batch in enumerate(_batches(examples, collator, job), 1):
        reads.append(read_of_peer(batch))
        loss = called(**{name: value.to(job.device) for name, value in batch.items()}).loss / job.micro_batches
        loss.backward()
        if number % job.micro_batches:
            continue
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0, foreach=True)
        optimizer.step()
        optimizer.zero_grad()
        float(loss.detach())  # the same wait as on the other sides
        marks.append(time.perf_counter())
    config = danlu_config(job)
    steps = of_steps(reads, job.micro_batches)[1:]
    flops = [training_flops(config, read) for read in steps]
    tokens = [tokens_of(read) for read in steps]
    how = f"bf16 weights; {'compiled by torch.compile' if job.compiled else 'not compiled'}"
    return Outcome(between(marks), tokens, flops, peak_bytes(job.device), how)


def _batches(examples: Sequence[Any], collator: Any, job: Job) -> Iterator[Mapping[str, Any]]:
    """Micro-batches; of documents, those of like length together, as the Trainer's; in random order."""
    randoms = random.Random(SEED)
    count = job.steps * job.micro_batches
    chosen = randoms.choices(examples, k=job.rows * count)
    if job.case.kind == "bert":
        chosen.sort(key=lambda example: len(example["input_ids"]))
    for number in randoms.sample(range(count), count):
        yield collator(chosen[number * job.rows : (number + 1) * job.rows])


def read_of_peer(batch: Mapping[str, Any]) -> Read:
    """Of a batch of transformers: a row is a document, its labels are scored."""
    scored = int((batch["labels"] != -100).sum())
    if "attention_mask" in batch:
        return Read(batch["attention_mask"].sum(1).tolist(), scored)
    lengths = [batch["input_ids"].shape[1]] * len(batch["input_ids"])
    if batch["labels"].shape == batch["input_ids"].shape:
        return Read(lengths, scored)
    return Read([batch["labels"].shape[1]] * len(lengths), scored, lengths)


def tokens_of(read: Read) -> int:
    """Padding not counted."""
    return sum(read.own) + sum(read.source)


def of_steps(reads: Sequence[Read], micro_batches: int) -> list[Read]:
    """What went through the model in each step, of so many micro-batches."""
    steps = [reads[start : start + micro_batches] for start in range(0, len(reads), micro_batches)]
    return [
        Read(
            [length for read in step for length in read.own], sum(read.scored for read in step),
            [length for read in step for length in read.source],
        )
        for step in steps
    ]  # fmt: skip


def danlu_config(job: Job) -> Any:
    """The shape that operations are counted by; the same for all sides."""
    from danlu.corpus.store import TokenStore

    plain = job.case.kind in ("gpt2", "llama")
    store = TokenStore.open(job.folder if plain else job.folder / "pack" / "train")
    config = model_of(job.case).config(vocab_size=store.vocab_size, max_length=job.case.sequence)
    return objective_of(job.case).config(config)


def peer_of(job: Job) -> tuple[Any, Sequence[Any], Any]:
    """The model of transformers of the same shape, without dropout; its examples, and what makes batches of them."""
    import torch

    torch.manual_seed(SEED)
    torch._dynamo.config.recompile_limit = 64
    make = {"gpt2": _decoder, "llama": _decoder, "bert": _bert, "t5": _t5}[job.case.kind]
    return make(job)


def _decoder(job: Job) -> tuple[Any, Sequence[Any], Any]:
    import torch
    from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM, default_data_collator

    case = job.case
    ids = {"bos_token_id": 0, "eos_token_id": 0}
    if case.kind == "gpt2":
        config = GPT2Config(
            vocab_size=case.vocab_size, n_positions=case.sequence, n_embd=case.dim, n_layer=case.layers,
            n_head=case.heads, resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0, use_cache=False, **ids,
        )  # fmt: skip
    else:
        config = LlamaConfig(
            vocab_size=case.vocab_size, hidden_size=case.dim, num_hidden_layers=case.layers, use_cache=False,
            num_attention_heads=case.heads, num_key_value_heads=case.kv_heads, intermediate_size=case.hidden,
            max_position_embeddings=case.sequence, tie_word_embeddings=True, **ids,
        )  # fmt: skip
    rows = torch.randint(1, case.vocab_size, (job.rows * job.micro_batches * job.steps, case.sequence))
    model = _drawn(GPT2LMHeadModel if case.kind == "gpt2" else LlamaForCausalLM, config, job)
    return model, [{"input_ids": row, "labels": row} for row in rows], default_data_collator


def _bert(job: Job) -> tuple[Any, Sequence[Any], Any]:
    import mlm_sides
    from transformers import AutoTokenizer, BertConfig, BertForMaskedLM, DataCollatorForLanguageModeling

    case = job.case
    tokenizer = AutoTokenizer.from_pretrained(job.folder / "tokenizer")
    config = BertConfig(
        vocab_size=len(tokenizer), hidden_size=case.dim, num_hidden_layers=case.layers, num_attention_heads=case.heads,
        intermediate_size=case.hidden, max_position_embeddings=case.sequence, hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0, pad_token_id=tokenizer.pad_token_id,
    )  # fmt: skip
    collator = DataCollatorForLanguageModeling(tokenizer, mlm_probability=0.15, pad_to_multiple_of=64)
    model = _drawn(BertForMaskedLM, config, job)
    return model, mlm_sides.documents_of(Work(job.folder, job.steps), tokenizer), collator


def _t5(job: Job) -> tuple[Any, Sequence[Any], Any]:
    import t5_sides
    from transformers import AutoTokenizer, T5Config, T5ForConditionalGeneration

    case = job.case
    tokenizer = AutoTokenizer.from_pretrained(job.folder / "tokenizer")
    config = T5Config(
        vocab_size=len(tokenizer), d_model=case.dim, d_kv=case.dim // case.heads, d_ff=case.hidden,
        num_layers=case.layers, num_heads=case.heads, dropout_rate=0.0, feed_forward_proj="relu",
        pad_token_id=tokenizer.pad_token_id, eos_token_id=tokenizer.eos_token_id,
        decoder_start_token_id=tokenizer.pad_token_id,
    )  # fmt: skip
    model = _drawn(T5ForConditionalGeneration, config, job)
    return model, t5_sides.pieces_of(Work(job.folder, job.steps)), t5_sides.Collator(tokenizer)


def _drawn(kind: Any, config: Any, job: Job) -> Any:
    """A model with random weights, which are drawn on the GPU: a billion of them take a processor long."""
    import torch

    with torch.device(job.device):
        return kind(config)


def peak_bytes(device: str) -> int:
    """The most that was taken of the GPU's memory."""
    import torch

    return torch.cuda.max_memory_allocated() if device == "cuda" else 0


def write_tokens(folder: Path, *, vocab_size: int, tokens: int) -> Path:
    """A store of one random text: no side has borders of documents in its rows, and all do the same work."""
    import numpy as np

    from danlu.corpus.store_writer import StoreWriter
    from danlu.text.document import Document

    randoms = np.random.default_rng(SEED)
    writer = StoreWriter(folder, vocab_size=vocab_size, eot=0)
    writer.add(Document("0", "random", {}), randoms.integers(1, vocab_size, tokens).tolist())
    writer.close()
    return folder
