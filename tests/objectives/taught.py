"""Pairs of a student and a teacher, as transformers has them and as we do, and batches for them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor
from transformers import (
    BertConfig,
    BertForMaskedLM,
    LlamaConfig,
    LlamaForCausalLM,
    T5Config,
    T5ForConditionalGeneration,
)

from danlu.corpus.batches import Batch, Example, collate
from danlu.corpus.rows import Ints, Piece, Widths
from danlu.corpus.store import TokenStore
from danlu.nn.hf.folder import load_model
from danlu.nn.transformer import Transformer
from danlu.objectives.clm import CausalLM
from danlu.objectives.distil import Distil
from danlu.objectives.matching import Matching
from danlu.objectives.mlm import MaskedLM
from danlu.objectives.protocol import Objective, Sides
from danlu.objectives.words import hidden_states, word_loss
from danlu.tokenizers.vocabulary import Vocabulary

EOT, PAD, UNK, CLS, SEP, MASK = range(6)
SIZE = 60


class Continue(Objective):
    """The first half of a text is read, the other written."""

    sides: ClassVar[Sides] = "both"

    def widths(self, body: Ints) -> Widths:
        return Widths(body - body // 2, body // 2)

    def example(self, piece: Piece, *, vocabulary: Vocabulary, noise: np.random.Generator) -> Example:
        half = len(piece.body) // 2
        text = piece.body[half:]
        tokens = np.concatenate(([EOT], text[:-1]))
        return Example({"tokens": tokens}, {"words": text}, {"tokens": piece.body[:half]})

    def losses(self, model: Transformer, batch: Batch) -> dict[str, Tensor]:
        return {"words": word_loss(self, model, hidden_states(model, batch), batch.targets["words"])}


def llama(dim: int, layers: int, **rest: Any) -> Any:
    known = {"vocab_size": SIZE, "hidden_size": dim, "num_hidden_layers": layers, "num_attention_heads": dim // 8,
             "num_key_value_heads": dim // 16, "intermediate_size": 40, "max_position_embeddings": 64,
             "initializer_range": 0.3}  # fmt: skip
    return LlamaForCausalLM(LlamaConfig(**{**known, **rest}))


def bert(dim: int, layers: int, **rest: Any) -> Any:
    known = {"vocab_size": SIZE, "hidden_size": dim, "num_hidden_layers": layers, "num_attention_heads": dim // 8,
             "intermediate_size": 40, "max_position_embeddings": 64, "initializer_range": 0.3,
             "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}  # fmt: skip
    return BertForMaskedLM(BertConfig(**{**known, **rest}))


def t5(dim: int, layers: int, **rest: Any) -> Any:
    known = {"vocab_size": SIZE, "d_model": dim, "num_layers": layers, "num_heads": dim // 8, "d_kv": 8, "d_ff": 40,
             "dropout_rate": 0.0, "feed_forward_proj": "gated-gelu", "tie_word_embeddings": False}  # fmt: skip
    model = T5ForConditionalGeneration(T5Config(**{**known, **rest}))
    for weight in model.parameters():
        torch.nn.init.normal_(weight, 1.0 if weight.ndim == 1 else 0.0, 0.3)
    return model


KINDS: dict[str, tuple[Callable[..., Any], Objective]] = {
    "clm": (llama, CausalLM()), "mlm": (bert, MaskedLM(rate=0.4)), "both": (t5, Continue()),
}  # fmt: skip


class Pair:
    """A student and a teacher, each as transformers has it and as we do, in float64."""

    def __init__(self, folder: Path, kind: str, *, student: tuple[int, int], teacher: tuple[int, int]) -> None:
        make, self.objective = KINDS[kind]
        self.folders, self.stock, self.ours = {}, {}, {}
        for seed, (name, (dim, layers)) in enumerate({"student": student, "teacher": teacher}.items()):
            torch.manual_seed(seed)
            model = make(dim, layers)
            self.folders[name] = folder / name
            model.save_pretrained(self.folders[name])
            self.stock[name] = model.double().eval()
            self.ours[name] = load_model(self.folders[name], dtype=torch.float64)

    def lesson(self, **settings: Any) -> tuple[Distil, Matching]:
        distil = Distil(teacher=self.folders["teacher"], of=self.objective, **settings)
        made = distil.prepare(self.ours["student"].config, dtype=torch.float64, seed=3)
        assert isinstance(made, Matching)
        if made.modules is not None:
            made.modules.double()
        return distil, made


def vocabulary() -> Vocabulary:
    roles = {"eot": EOT, "pad": PAD, "unk": UNK, "cls": CLS, "sep": SEP, "mask": MASK}
    return Vocabulary(SIZE, EOT, roles, (), np.arange(6, SIZE), np.arange(6))


def example(distil: Distil, count: int, *, seed: int = 0) -> Example:
    tokens = np.array([EOT, *np.random.default_rng(seed).integers(6, SIZE, count), EOT])
    store = TokenStore(tokens, np.array([0, len(tokens) - 1]), [{}], vocab_size=SIZE, eot=EOT)
    return distil.example(Piece(store, 0, tokens), vocabulary=vocabulary(), noise=np.random.default_rng(seed))


def batch(distil: Distil, *counts: int, packed: bool = False) -> Batch:
    made = [example(distil, count, seed=count) for count in counts]
    source = 40 if made[0].source else 0
    return collate([made] if packed else [[one] for one in made], widths=Widths(60, source))
