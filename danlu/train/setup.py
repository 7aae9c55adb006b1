"""Everything that a training step needs, built from the settings: the same for training, probing and planning."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from danlu.corpus.batches import Batch, MakeExample
from danlu.corpus.reading import Reading, Size
from danlu.corpus.store import TokenStore
from danlu.errors import RecipeError
from danlu.nn.config import TransformerConfig
from danlu.nn.families.given import first_model
from danlu.nn.heap import give_back_freed_memory, keep_few_kernels, keep_freed_memory
from danlu.nn.hf.folder import find_family
from danlu.nn.hf.token_ids import decoder_start
from danlu.nn.speed import choose_device, choose_training_dtype
from danlu.nn.transformer import Transformer
from danlu.objectives.protocol import AnyObjective, Lesson, Shape
from danlu.optim.depth import build_optimizer
from danlu.optim.ema import AverageState, WeightAverage
from danlu.parallel.joining import Ranks, here
from danlu.parallel.layout import check_same
from danlu.parallel.mesh import Place
from danlu.tokenizers.vocabulary import Vocabulary
from danlu.train.ahead import Ahead
from danlu.train.alike import check_rows, check_text
from danlu.train.checkpoint import TrainingState
from danlu.train.compiling import Compilation, compile_blocks
from danlu.train.drawing import DRAWS, drawn
from danlu.train.dropout import Dropout, dropout_of
from danlu.train.eight_bits import in_eight_bits
from danlu.train.gradients import Cuts, OwnBatches
from danlu.train.guard import Guard, check_finite
from danlu.train.history import History
from danlu.train.kernels import use_native_attention
from danlu.train.loop import StepInfo
from danlu.train.memory import told_where_a_step_is_too_large
from danlu.train.owners import OwnedMasters
from danlu.train.precision import OBJECTIVE, FloatMasters, LossScale, Masters
from danlu.train.pretrain_settings import PretrainSettings
from danlu.train.settings import TrainSettings
from danlu.train.shards import check_shards

TOKENS_AT_ONCE = 2048
"""Tokens that go through the model together: on processors more are no faster and need more memory."""
INT8_TOKENS_AT_ONCE = 4096
"""The same with products in int8, before each of which weights are rounded anew."""
TOKENS_ON_GPU = 32768
"""The same on GPUs, which fewer leave idle; where memory does not hold them, micro-batches are cut."""


@dataclass(frozen=True)
class Subject:
    """What is trained, on what: all in which pretraining and fine-tuning differ."""

    draw: Callable[[], Transformer]
    """The model with its first weights, the same ones in each call."""
    objective: AnyObjective
    reading: Reading
    """How the documents of ``store`` become rows."""
    sequence: int
    """Tokens of a row, or of the longest of several documents in one."""
    row_tokens: float
    """Tokens by which a row counts in a budget, ``sequence`` where rows are full."""
    store: TokenStore
    vocabulary: Vocabulary
    share: float = 1.0
    """The part of the text that the store holds: less than 1 where a sample stands for the whole."""
    several: bool = False
    """Whether the model has several heads, as no model of a folder has."""


@dataclass(frozen=True)
class Training:
    """A model at its first step, with its batches and its optimizer."""

    model: Transformer
    masters: Masters
    optimizer: torch.optim.Optimizer
    subject: Subject
    batches: OwnBatches
    """The micro-batches of a step that are this process's."""
    made_ahead: Callable[[int], list[Batch]]
    """``batches``; for a GPU those of the next step are made, by one thread at a time, while it works at this one."""
    example: MakeExample
    """The objective's, told the vocabulary."""
    lesson: Lesson
    """The objective with what it needs beside its settings."""
    own_weights: dict[str, Tensor]
    """What the lesson's own modules begin with; where only a part of the model trains, that part too."""
    micro_batch: int
    """Rows at once."""
    tokens_per_step: int
    steps_per_epoch: float
    precision: str
    """Which number type, and the rule that chose it."""
    compiling: Compilation
    history: History
    average: WeightAverage | None
    dropout: Dropout
    cuts: Cuts = field(default_factory=Cuts)
    data: dict[str, Any] = field(default_factory=dict)
    """The fingerprint of the text, which checkpoints carry."""

    def accept(self, step: int, loss: float, norm: float) -> bool:
        """Whether a step is taken: its gradient did not overflow float16, and the guard has nothing against it.

        Raises:
            DivergedError: the guard had too much against the last ones.
        """
        scale = self.masters.scale
        if scale is not None and math.isfinite(loss) and scale.overflows(step, norm):
            return False
        return self.history.guard(step, loss, norm, self._where(loss, norm))

    def _where(self, loss: float, norm: float) -> str:
        """The ranks that alone have made a step's loss or gradient no number, in words."""
        if math.isfinite(loss) and math.isfinite(norm):  # all ranks have the same of both
            return ""
        return self.masters.ranks.alone_of(self.masters.spoilt())

    def after_step(self, info: StepInfo) -> None:
        """A hook: the average follows the weights."""
        if self.average is not None and not info.skipped:
            with told_where_a_step_is_too_large(self.cuts.section, averages=True):
                self.average.update()

    def check(self, step: int) -> None:
        """See that what ``step`` has left are numbers.

        Raises:
            DivergedError: a weight, its average or a number of the optimizer's is infinite or none.
        """
        moments = [value for values in self.optimizer.state.values() for value in values.values()]
        tensors = [*self.masters.own.values(), *(value for value in moments if isinstance(value, Tensor))]
        tensors += [] if self.average is None else self.average.state().weights.values()
        check_finite(tensors, self.masters.ranks, step=step)

    def state(self, step: int) -> TrainingState:
        """All that the next step depends on; the tensors themselves, not copies. Others than rank 0 have no tensors.

        Raises:
            DivergedError: as :meth:`check`.
        """
        self.check(step)
        masters, optimizer = self.masters, self.optimizer
        history, average = self.history.state(), {}
        if self.average is not None:
            averaged = self.average.state()
            history["updates"], average = averaged.updates, masters.gathered(averaged.weights)
        if self.masters.scale is not None:
            history["scale"] = asdict(self.masters.scale)
        tokens, weights = self.history.tokens, masters.state()
        return TrainingState(step, tokens, weights, masters.optimizer_state(optimizer), history, average, self.data)

    def restore(self, state: TrainingState) -> None:
        """Go on from :meth:`state`: with the settings of now, should they have changed.

        What they ask for and the state has not begins now: an average with these weights, a scale with its first value.
        """
        self.masters.load(state.weights)
        settings = [dict(group) for group in self.optimizer.param_groups]
        self.masters.load_optimizer(self.optimizer, state.optimizer)
        for group, known in zip(self.optimizer.param_groups, settings, strict=True):
            # The learning rate and the like are the recipe's; how far it is, the checkpoint's.
            group.update({name: value for name, value in known.items() if name not in ("params", "lr", "step")})
        self.history.load(state.history, tokens=state.tokens)
        if self.masters.scale is not None:
            self.masters.scale.load(state.history.get("scale", asdict(LossScale())))
        if self.average is not None:
            updates = state.history.get("updates")
            averaged = self.masters.owned(state.weights if updates is None else state.average)
            self.average.load(AverageState(updates or 0, averaged))

    def averaged(self) -> dict[str, Tensor]:
        """The weights as they are measured, in float32, on rank 0."""
        return self.masters.state() if self.average is None else self.masters.gathered(self.average.state().weights)

    @property
    def state_bytes(self) -> int:
        """Of the largest states: weights, two moments and an average, in float32."""
        return 16 * sum(weight.numel() for weight in self.masters.named.values())

    @property
    def frozen(self) -> int:
        """Weights of the model that do not train."""
        return sum(weight.numel() for weight in self.model.parameters() if not weight.requires_grad)

    @property
    def saved_as(self) -> TransformerConfig | None:
        """The model that the weights are; None where they are a part of one, or several."""
        return None if self.frozen or self.subject.several else self.model.config

    @property
    def compilation(self) -> str:
        """Whether blocks are compiled, and why, in words."""
        return self.compiling.told

    @property
    def compiled(self) -> bool:
        return self.compiling.on


def set_up(
    settings: PretrainSettings,
    store: TokenStore,
    *,
    vocabulary: Vocabulary | None = None,
    seed: int,
    share: float = 1.0,
) -> Training:
    """A pretraining, built from ``seed``; two calls give the same weights, batches and state.

    Args:
        vocabulary: of the tokenizer; where None, all ids of the store are text.
        share: the part of the text that the store holds: less than 1 where a sample stands for the whole.

    Raises:
        RecipeError: the tokenizer or the store lacks what the objective needs.
    """
    vocabulary = vocabulary or Vocabulary.bare(store.vocab_size, store.eot)
    settings.objective.check(vocabulary, store)
    config = settings.shape(store.vocab_size)

    def draw() -> Transformer:
        return first_model(settings.model, config, seed=seed, tokens=vocabulary.spelled)

    subject = Subject(draw, settings.objective, settings.reading_of(share), settings.sequence,
                      settings.sequence, store, vocabulary, share)  # fmt: skip
    return prepare(settings, subject, seed=seed)


def prepare(settings: TrainSettings, subject: Subject, *, seed: int) -> Training:
    """The training of any subject at its first step.

    Raises:
        RecipeError: the machine, or several processes, cannot train as the settings say.
    """
    keep_freed_memory()
    keep_few_kernels()
    with here().alike("builds the model"):
        return _prepared(settings, subject, here(), seed=seed)


def _prepared(settings: TrainSettings, subject: Subject, ranks: Ranks, *, seed: int) -> Training:
    place = settings.hardware.mesh.place(rank=ranks.rank, size=ranks.size, section=settings.section)
    with ranks.alike(DRAWS):
        model, store = drawn(subject.draw, ranks), subject.store
    for stack in model.stacks:
        stack.recompute = settings.hardware.recompute
    device = choose_device(settings.hardware.device, key=f"{settings.section}.hardware.device")
    dtype, precision = choose_training_dtype(settings.precision, device, key=f"{settings.section}.precision")
    found = {"device": device.type, "number type": str(dtype).removeprefix("torch."), "text": _text(store)}
    check_same(ranks, found, section=settings.section)
    check_text(ranks, subject.vocabulary, store)
    precision += in_eight_bits(model, settings.precision, section=settings.section)
    lesson = subject.objective.prepare(model.config, dtype=dtype, seed=seed)
    own_weights: dict[str, Tensor] = {}
    if lesson.modules is not None:
        lesson.modules.to(device)
        own_weights = {f"{OBJECTIVE}{name}": each.detach().clone() for name, each in lesson.modules.named_parameters()}
    own_weights |= _part(settings, model, ranks)
    check_shards(subject.objective, model, lesson.modules, place, several=subject.several)
    masters = _masters(settings, model.to(device), dtype, lesson.modules, ranks=ranks, place=place)
    give_back_freed_memory()  # of the weights before they were narrow
    optimizer = build_optimizer(settings.optimizer, masters.named.items(), layer_decay=settings.layer_decay)
    masters.attach(optimizer)
    example = example_of(subject.objective, subject.vocabulary, model.config)
    micro_batch = micro_batch_of(settings, subject.sequence, device, readers=place.readers)
    size = Size(settings.batch, micro_batch, place.readers)
    reader = subject.reading.read(store, Shape(subject.objective, subject.sequence), example, size=size, seed=seed)
    check_rows(ranks, reader.batches)
    tokens_per_step = round((reader.batch or settings.batch) * subject.row_tokens)
    steps_per_epoch = reader.steps_per_epoch / subject.share
    steps = settings.budget.steps_at_most(tokens_per_step=tokens_per_step, steps_per_epoch=steps_per_epoch)
    compiling = compile_blocks(model, settings.compile, steps=steps)
    wanted = not compiling.on and not subject.objective.compares_readings
    compiling.native = use_native_attention(model, dtype, ranks, groups=reader.batches.groups(0), wanted=wanted)
    if compiling.on:
        ranks.look_at_the_compiler()
    average = WeightAverage(masters.own, settings.average) if settings.average is not None else None
    batches = OwnBatches(reader.batches, place)
    return Training(
        model, masters, optimizer, subject, batches, Ahead(batches) if device.type == "cuda" else batches, example,
        lesson, own_weights, micro_batch, tokens_per_step, steps_per_epoch, precision, compiling,
        History(Guard(settings.anomalies)), average,
        dropout_of(model, settings.dropout_schedule, section=settings.section), Cuts(section=settings.section),
    )  # fmt: skip


def _part(settings: TrainSettings, model: Transformer, ranks: Ranks) -> dict[str, Tensor]:
    """What a part of a model begins with that alone trains; nothing where all of it does.

    Raises:
        RecipeError: it cannot be trained as the settings say.
    """
    named = dict(model.named_parameters())
    part = {name: weight.detach().clone() for name, weight in named.items() if weight.requires_grad}
    if len(part) == len(named):
        return {}
    if ranks.size > 1:
        raise RecipeError(f"{settings.section}.method full is the only one for several processes; got {ranks.size}")
    if settings.precision in ("fp8", "int8"):
        raise RecipeError(
            f"{settings.section}.precision {settings.precision} is for trainings of all weights "
            f"(choices for others: auto, bf16, fp16, fp32)"
        )
    return part


def example_of(objective: AnyObjective, vocabulary: Vocabulary, config: TransformerConfig) -> MakeExample:
    """The objective's ``example``, told the vocabulary and what a decoder starts from."""
    start = decoder_start(find_family(config.family), vocabulary.roles)
    return partial(objective.example, vocabulary=replace(vocabulary, roles={**vocabulary.roles, "start": start}))


def _text(store: TokenStore) -> str:
    return f"{len(store.tokens):,} tokens of {len(store.documents):,} documents"


def _masters(
    settings: TrainSettings,
    model: Transformer,
    dtype: torch.dtype,
    modules: nn.Module | None,
    *,
    ranks: Ranks,
    place: Place,
) -> Masters:
    """The float32 weights: of one process, or spread over several.

    Raises:
        RecipeError: several processes cannot train as the settings say.
    """
    if ranks.size == 1:
        return FloatMasters(model, dtype, modules=modules, offload=settings.hardware.offload)
    if settings.precision in ("fp8", "int8") and place.tensor_size > 1:
        raise RecipeError(
            f"{settings.section}.precision {settings.precision} needs {settings.section}.hardware.mesh.tensor 1; "
            f"got {place.tensor_size}"
        )
    return OwnedMasters(model, dtype, ranks, place, modules, offload=settings.hardware.offload)


def micro_batch_of(settings: TrainSettings, sequence: int, device: torch.device, *, readers: int = 1) -> int:
    """Rows that go through the model at once: as the settings say, or as many as ``device`` does well."""
    on_processor = INT8_TOKENS_AT_ONCE if settings.precision == "int8" else TOKENS_AT_ONCE
    at_once = TOKENS_ON_GPU if device.type == "cuda" else on_processor
    rows = settings.hardware.micro_batch or rows_at_once(settings.batch, sequence, tokens=at_once, readers=readers)
    return min(rows, settings.batch)


def rows_at_once(batch: int, sequence: int, *, tokens: int = TOKENS_AT_ONCE, readers: int = 1) -> int:
    """The largest equal part of a batch that has at most so many ``tokens``; one row where even that is longer.

    Args:
        readers: among whom the parts are divided, so that they have equally many where that can be.
    """
    equal = [rows for rows in range(1, batch + 1) if batch % rows == 0 and batch // rows % readers == 0] or [1]
    return max([rows for rows in equal if rows * sequence <= tokens], default=min(equal))


def restart(training: Training, settings: TrainSettings) -> Training:
    """The same compiled model at its first step again, with an optimizer that has seen nothing."""
    optimizer = build_optimizer(settings.optimizer, training.masters.named.items(), layer_decay=settings.layer_decay)
    training.masters.attach(optimizer)
    again = replace(training, optimizer=optimizer)
    first_weights(again, settings)
    return again


def first_weights(training: Training, settings: TrainSettings) -> None:
    """Have ``training`` be as if no step had been done, whatever was."""
    weights: dict[str, Tensor] = {}
    if training.masters.ranks.first:
        with training.masters.ranks.alone(DRAWS, again=True):
            weights = training.own_weights if training.frozen else _drawn(training) | training.own_weights
    # Groups of a new one, for some optimizers count their steps there.
    anew = build_optimizer(settings.optimizer, training.masters.named.items(), layer_decay=settings.layer_decay)
    training.optimizer.load_state_dict({"state": {}, "param_groups": anew.state_dict()["param_groups"]})
    if training.masters.scale is not None:
        training.masters.scale.load(asdict(LossScale()))
    training.masters.load(weights)
    training.history.load({}, tokens=0)
    if training.average is not None:
        training.average.load(AverageState(0, training.masters.owned(weights)))


def _drawn(training: Training) -> dict[str, Tensor]:
    model = drawn(training.subject.draw, training.masters.ranks)
    return {name: weight.detach() for name, weight in model.named_parameters()}
