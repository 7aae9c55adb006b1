"""Knowledge distillation: any objective, learned also from what a trained model makes of the same batch."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, Literal, Self

import numpy as np
import torch
from pydantic import Field, SkipValidation, model_validator

from danlu.corpus.batches import IGNORE, Example
from danlu.corpus.reading import Reading
from danlu.corpus.rows import Form, Ints, Piece, Widths
from danlu.corpus.store import TokenStore
from danlu.errors import InputError, RecipeError
from danlu.nn.config import Pretraining, TransformerConfig
from danlu.nn.hf.folder import load_config, load_model
from danlu.objectives.clm import CausalLM
from danlu.objectives.matching import PAIR_LOGITS, Followed, Matching, make_projection
from danlu.objectives.pairs import Pairs
from danlu.objectives.protocol import AnyObjective, Lesson, Objective
from danlu.recipe import OneOf
from danlu.tokenizers.tokenizer import Tokenizer
from danlu.tokenizers.vocabulary import Vocabulary

KINDS = ("logits", "hidden", "attention")
"""Names of the losses beside the objective's own."""
READ = ("config.json", "*.safetensors", "*.safetensors.index.json", "tokenizer*", "vocab*", "*.model")
"""Files of a model folder that decide what a teacher says."""


class Distil(AnyObjective):
    """Knowledge distillation (Hinton et al. 2015, arXiv:1503.02531) beside, or instead of, an objective's own losses.

    The teacher reads the student's very inputs, so both need one vocabulary. Hidden states and attention are those of
    the stack that the head reads and, half of them, of the encoder beside a decoder; ``layers`` and ``attention_layer``
    hold for both.
    """

    teacher: Path
    """The folder of a trained model with its tokenizer: a run's ``pretrain/model``, or what ``danlu import`` writes."""
    of: Annotated[SkipValidation[AnyObjective], OneOf("objective")] = CausalLM()
    """What is learned from the text itself, and how the text becomes examples."""
    own: float = Field(default=0.5, ge=0)
    """Weight of the losses of that objective."""
    logits: float = Field(default=0.5, ge=0)
    """Weight of the divergence of the student's predictions from the teacher's, at the tokens that the objective
    scores; 0 leaves it out."""
    pair_logits: float = Field(default=1.0, ge=0)
    """Of ``nsp`` and ``sop``: what ``logits``, times their ``pair_weight``, is multiplied by for what both make of each
    pair, with a label or without. 0 leaves it out, as for a teacher that tells no pairs apart, or others than the
    student: next sentences, not their order."""
    temperature: float = Field(default=2.0, gt=0)
    """What logits of both are divided by first; the divergence is multiplied by its square, as Hinton et al. do."""
    hidden: float = Field(default=0.0, ge=0)
    """Weight of the distance of hidden states, of every token; 0 leaves it out."""
    distance: Literal["mse", "cosine"] = "mse"
    """Of hidden states: the mean squared difference (TinyBERT, Jiao et al. 2020, arXiv:1909.10351) or 1 less the cosine
    (DistilBERT, Sanh et al. 2019, arXiv:1910.01108). A student of another width learns a projection too."""
    layers: tuple[tuple[int, int], ...] = ()
    """Pairs of a student's layer and the teacher's; 0 is what goes into the first block, the last what the head reads.
    By default all of the student's, spread evenly over the teacher's, as TinyBERT's."""
    attention: float = Field(default=0.0, ge=0)
    """Weight of the divergence of relations among queries, among keys and among values in one layer (MiniLMv2, Wang et
    al. 2021, arXiv:2012.15828); 0 leaves it out. Its memory grows with the square of a row."""
    relation_heads: int | None = Field(default=None, ge=1)
    """Heads that those are cut into, whatever the attention heads of either; by default as many as the student has,
    or the next number below that divides all widths."""
    attention_layer: int | None = Field(default=None, ge=1)
    """Whose block of the teacher the student's last block follows, counted from 1; by default its last. Of large
    teachers one above the middle is better."""

    @model_validator(mode="after")
    def _teaches(self) -> Self:
        if not any(getattr(self, kind) for kind in KINDS):
            raise ValueError("one of logits, hidden and attention must be above 0, or there is no teacher")
        if not isinstance(self.of, Objective):
            raise ValueError("of must be one objective that learns from text; distil each task of a multitask instead")
        return self

    def weight(self, name: str) -> float:
        if name == PAIR_LOGITS:
            return self.logits * self.pair_logits * self.of.weight("pairs")
        return float(getattr(self, name)) if name in KINDS else self.own * self.of.weight(name)

    @property
    def teaches_pairs(self) -> bool:
        """Whether the teacher's head of pairs is learned from."""
        return isinstance(self.of, Pairs) and self.weight(PAIR_LOGITS) > 0

    def read_by(self, rows: Reading | None) -> Reading:
        return self.of.read_by(rows)

    def room(self, sequence: int) -> Widths:
        return self.of.room(sequence)

    def longest(self, form: Form) -> int:
        return self.of.longest(form)

    @property
    def by_length(self) -> bool:
        return self.of.by_length

    def widths(self, body: Ints) -> Widths:
        return self.of.widths(body)

    def measure(self, store: TokenStore, starts: Ints, bodies: Ints) -> Widths:
        return self.of.measure(store, starts, bodies)

    def example(self, piece: Piece, *, vocabulary: Vocabulary, noise: np.random.Generator) -> Example:
        """That of the objective; ``logits`` is scored where its words are, hidden states and attention everywhere.

        Those of pairs are where the label stands, also where there is none: what a teacher says of a text does not
        depend on how often such texts are shown in order, as labels do.
        """
        example = self.of.example(piece, vocabulary=vocabulary, noise=noise)
        if self.logits:
            example.targets["logits"] = np.where(example.targets["words"] == IGNORE, IGNORE, 0)
        if self.teaches_pairs:
            example.targets[PAIR_LOGITS] = np.full_like(example.targets["pairs"], IGNORE)
            example.targets[PAIR_LOGITS][0] = 0
        for kind in ("hidden", "attention"):
            if getattr(self, kind):
                example.targets[kind] = np.zeros(len(example.inputs["tokens"]), dtype=np.int64)
        return example

    def config(self, config: TransformerConfig) -> TransformerConfig:
        return self.of.config(config)

    def check(self, vocabulary: Vocabulary, store: TokenStore) -> None:
        self.of.check(vocabulary, store)
        if not vocabulary.tokens:
            return  # nobody knows what its ids stand for
        teachers = Vocabulary.of(Tokenizer.load(self.teacher))
        if teachers.tokens != vocabulary.tokens:
            raise RecipeError(
                f"objective.teacher must have the vocabulary of this run: {self.teacher} has {teachers.size:,} tokens, "
                f"the tokenizer {vocabulary.size:,}{', of other texts' if teachers.size == vocabulary.size else ''}"
            )

    def external_files(self) -> list[Path]:
        if not (self.teacher / "config.json").is_file():
            raise InputError(
                f"pretrain.objective.teacher: there is no model in {self.teacher}; "
                "that of a run is in its folder pretrain/model"
            )
        return sorted({path for pattern in READ for path in self.teacher.glob(pattern)})

    def prepare(self, config: TransformerConfig, *, dtype: torch.dtype, seed: int) -> Lesson:
        """With the teacher in the student's precision; it is never trained and in no checkpoint.

        Raises:
            RecipeError: the teacher cannot teach this student.
        """
        theirs = load_config(self.teacher)
        self._check_teacher(config, theirs)
        projection = None
        if self.hidden and config.dim != theirs.dim:
            projection = make_projection(config.dim, theirs.dim, seed=seed)
        return Matching(
            settings=self,
            of=self.of.prepare(config, dtype=dtype, seed=seed),
            teacher=load_model(self.teacher, dtype=dtype).requires_grad_(False),
            modules=projection,
            followed=tuple(
                self._followed(len(mine.layers), len(other.layers))
                for mine, other in zip(config.stacks[::-1], theirs.stacks[::-1], strict=True)
            ),
            heads=self._heads(config, theirs) if self.attention else 0,
        )

    def _check_teacher(self, config: TransformerConfig, theirs: TransformerConfig) -> None:
        try:
            self.of.config(theirs)
        except RecipeError as error:
            raise RecipeError(f"objective.teacher cannot do what the student learns: {error}") from None
        if theirs.vocab_size != config.vocab_size:
            raise RecipeError(
                f"objective.teacher must have the vocabulary of this run, {config.vocab_size:,} tokens; "
                f"{self.teacher} has {theirs.vocab_size:,}; spare rows, of pretrain.hardware.vocab_multiple, "
                "must be as many too"
            )
        if theirs.virtual is not None and (self.hidden or self.attention):
            raise RecipeError(f"objective.teacher has virtual tokens, whose states no student has: {self.teacher}; "
                              "let it teach by logits alone")  # fmt: skip
        if self.logits and (theirs.words is None or config.words is None):
            raise RecipeError(f"objective.logits needs a teacher that predicts tokens; {self.teacher} has no such head")
        if self.teaches_pairs and not isinstance(theirs.head, Pretraining):
            raise RecipeError(
                f"objective.pair_logits needs a teacher that tells pairs apart; {self.teacher} has no such head: "
                "set it to 0 to learn its tokens alone"
            )
        if theirs.max_length < config.max_length:
            raise RecipeError(
                f"objective.teacher sees at most {theirs.max_length} tokens, the student {config.max_length}: "
                f"set pretrain.sequence to {theirs.max_length} at most"
            )
        fewest = min(len(stack.layers) for stack in theirs.stacks)
        if self.attention_layer is not None and self.attention_layer > fewest:
            raise RecipeError(
                f"objective.attention_layer must be at most {fewest}, the teacher's blocks; got {self.attention_layer}"
            )

    def _followed(self, blocks: int, theirs: int) -> Followed:
        return Followed(self._pairs(blocks, theirs) if self.hidden else (), (self.attention_layer or theirs) - 1)

    def _pairs(self, blocks: int, theirs: int) -> tuple[tuple[int, int], ...]:
        for mine, other in self.layers:
            if not (0 <= mine <= blocks and 0 <= other <= theirs):
                raise RecipeError(
                    f"objective.layers must be pairs of 0 to {blocks} and 0 to {theirs}; got [{mine}, {other}]"
                )
        return self.layers or tuple((layer, layer * theirs // blocks) for layer in range(blocks + 1))

    def _heads(self, config: TransformerConfig, theirs: TransformerConfig) -> int:
        """How many relation heads there are: a divisor of the widths of queries and of keys, of both models."""
        taught = [stack.layers[-1].attention for stack in config.stacks[::-1]]
        attentions = [*taught, *(stack.layers[(self.attention_layer or 0) - 1].attention for stack in theirs.stacks)]
        widths = [n * each.head_dim for each in attentions for n in (each.heads, each.kv_heads)]
        common = math.gcd(*widths)
        if self.relation_heads is None:
            return next(count for count in range(attentions[0].heads, 0, -1) if common % count == 0)
        if common % self.relation_heads:
            raise RecipeError(
                f"objective.relation_heads must divide the widths of queries and keys ({sorted(set(widths))}); "
                f"got {self.relation_heads}"
            )
        return self.relation_heads
