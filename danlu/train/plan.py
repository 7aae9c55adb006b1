"""What a recipe will cost, before anything is run: text, tokens, parameters, steps, time, memory.

Tokens are measured on a sample of the text with a tokenizer trained on that sample; time and memory
on a few real training steps, in a process of their own so that the peak is theirs alone.
"""

from __future__ import annotations

import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch

from danlu.clean.stage import Clean
from danlu.corpus import account
from danlu.corpus.account import Account, Ledger
from danlu.corpus.blend import Blend
from danlu.corpus.encoding import batches, encode_ahead
from danlu.corpus.pack import Pack
from danlu.corpus.store import TokenStore
from danlu.corpus.store_writer import StoreWriter
from danlu.errors import InputError
from danlu.files import writing
from danlu.log import duration, say, short
from danlu.machine import peak_memory_bytes
from danlu.nn.config import TransformerConfig
from danlu.nn.transformer import Transformer
from danlu.parallel.mesh import Mesh
from danlu.readers.record import Rejected
from danlu.readers.sources import SourceFile
from danlu.recipe import Recipe
from danlu.text.document import Document
from danlu.tokenizers.stage import TrainTokenizer, sample
from danlu.tokenizers.tokenizer import Tokenizer
from danlu.tokenizers.vocabulary import Vocabulary
from danlu.train.own_process import in_own_process
from danlu.train.pretrain import Pretrain, heldout_of
from danlu.train.probe import Probe, probe, warm_up
from danlu.train.rates import rates_in_words
from danlu.train.setup import Training, set_up

SAMPLE_BYTES = 8_000_000
"""Text that is read to measure tokens; smaller corpora are read whole."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """What ``danlu plan`` says, in numbers."""

    files: int
    documents: int
    bytes: int
    sampled_bytes: int
    tokens: int
    """Of the training part."""
    bytes_per_token: dict[str, float]
    """By language."""
    parameters: dict[str, int]
    """By part."""
    steps: int
    epochs: float
    tokens_per_step: int
    seconds_per_step: float
    seconds: float
    """Of ``pretrain``: the first steps, compiled before, all the others, and the held-out loss on the way."""
    peak_bytes: int
    """Main memory at the peak of ``pretrain``."""
    precision: str
    compilation: str
    rates: str
    """Learning rates, in words."""
    mixture: Account | None = None
    """What is read of each part, where the recipe has a mixture."""


@dataclass(frozen=True, slots=True)
class Sample:
    """The part of the text that was read, tokenised and packed."""

    folder: Path
    """Its tokenizer, and its token store as ``train``."""
    files: int
    documents: int
    bytes: int
    share: float
    """Of all the text."""
    bytes_per_token: dict[str, float]


@dataclass(frozen=True, slots=True)
class _Measured:
    timed: Probe
    heldout_seconds: float
    """One measurement of the held-out loss on the way."""
    peak_bytes: int
    tokens_per_step: int
    steps_per_epoch: float
    precision: str
    compilation: str
    mixture: Ledger | None


def in_words(known: Estimate) -> str:
    """The estimate as lines of text."""
    per_token = ", ".join(f"{language} {value:.2f}" for language, value in sorted(known.bytes_per_token.items()))
    read = "all read" if known.sampled_bytes >= known.bytes else f"from a sample of {short(known.sampled_bytes)}B"
    parts = ", ".join(f"{part} {short(count)}" for part, count in known.parameters.items())
    return "\n".join(
        [
            f"text        {known.documents:,} documents in {known.files:,} files, {short(known.bytes)}B ({read})",
            f"tokens      {known.tokens:,} to train on; bytes per token: {per_token}",
            f"parameters  {sum(known.parameters.values()):,}: {parts}",
            f"steps       {known.steps:,} of {known.tokens_per_step:,} tokens, {known.epochs:.2f} epochs",
            f"rates       {known.rates}",
            f"time        {duration(known.seconds)} for pretrain on this machine "
            f"({known.seconds_per_step * 1e3:.0f} ms a step, measured)",
            f"memory      {known.peak_bytes / 2**30:.2f} GiB at the peak of pretrain (measured)",
            f"precision   {known.precision}; {known.compilation}",
            *([] if known.mixture is None else _indented("mixture", account.in_words(known.mixture))),
        ]
    )


def _indented(name: str, lines: Sequence[str]) -> list[str]:
    return [f"{'' if number else name:12}{line}" for number, line in enumerate(lines)]


def estimate(recipe: Recipe) -> Estimate:
    """Measure what ``recipe`` will cost; nothing is written to its run folder.

    Raises:
        RecipeError: it lacks one of the sections ``clean``, ``tokenizer``, ``pack``, ``pretrain``.
        InputError: the sources hold no text.
    """
    with sampled(recipe) as sample:
        return measure(recipe, sample)


@contextmanager
def sampled(recipe: Recipe) -> Iterator[Sample]:
    """A sample of the recipe's text, packed into a folder that is there as long as the ``with`` lasts.

    Raises:
        RecipeError: it lacks one of the sections ``clean``, ``tokenizer``, ``pack``, ``pretrain``.
        InputError: the sources hold no text.
    """
    recipe.section("pretrain")
    with tempfile.TemporaryDirectory(prefix="danlu-plan-") as folder, writing(Path(folder)):
        yield _pack_sample(recipe, Path(folder))


def measure(recipe: Recipe, sample: Sample) -> Estimate:
    """What ``recipe`` will cost, by some training steps on its sample."""
    settings = recipe.section("pretrain")
    assert isinstance(settings, Pretrain)
    store = TokenStore.open(sample.folder / "train")
    say("plan: timing a few training steps")
    # Twice, in a process each: the second finds compiled what the first had to compile, as the run will.
    in_own_process(_fill_cache, settings, sample, recipe.seed)
    measured = in_own_process(_measure, settings, sample, recipe.seed)
    measuring = settings.evaluations * measured.heldout_seconds
    config = settings.shape(store.vocab_size)
    tokens = round(store.targets / sample.share)
    timed = measured.timed
    limits = [
        settings.budget.steps_at_most(
            tokens_per_step=measured.tokens_per_step, steps_per_epoch=measured.steps_per_epoch
        ),
        settings.budget.steps_in(timed.seconds_per_step, spent=timed.seconds + measuring),
    ]
    steps = min(limit for limit in limits if limit is not None)
    before = timed.first_step_seconds + (timed.seconds if settings.budget.minutes is not None else 0.0)
    return Estimate(
        files=sample.files,
        documents=round(sample.documents / sample.share),
        bytes=round(sample.bytes / sample.share),
        sampled_bytes=sample.bytes,
        tokens=tokens,
        bytes_per_token=sample.bytes_per_token,
        parameters=parameters_by_part(config),
        steps=steps,
        epochs=steps / measured.steps_per_epoch,
        tokens_per_step=measured.tokens_per_step,
        seconds_per_step=timed.seconds_per_step,
        seconds=before + steps * timed.seconds_per_step + measuring,
        peak_bytes=measured.peak_bytes,
        precision=measured.precision,
        compilation=measured.compilation,
        rates=rates_in_words(settings.optimizer, settings.schedule, steps=steps),
        mixture=measured.mixture.account(steps) if measured.mixture else None,
    )


def parameters_by_part(config: TransformerConfig) -> dict[str, int]:
    """Parameters of embedding, attention, MLP, norms and head; a tied head counts nothing."""
    with torch.device("meta"):
        model = Transformer(config)
    counts: Counter[str] = Counter()
    for name, weight in model.named_parameters():
        words = name.split(".")
        part = next((part for part in ("attention", "mlp", "embedding", "head") if part in words), "norms")
        counts["norms" if weight.ndim == 1 else part] += weight.numel()
    return dict(counts)


def _pack_sample(recipe: Recipe, folder: Path) -> Sample:
    """Tokenise every n-th record, with n such that the sample is of about ``SAMPLE_BYTES``, into a token store."""
    clean, trainer, pack = (recipe.section(name) for name in ("clean", "tokenizer", "pack"))
    assert isinstance(clean, Clean) and isinstance(trainer, TrainTokenizer) and isinstance(pack, Pack)
    files = clean.find().files
    documents, share = _read(clean, files)
    if not documents:
        raise InputError("clean.sources: there is no text to plan for")
    limit = trainer.trainer.sample_bytes  # None where it learns from all of the text
    size = sum(len(document.text.encode()) for document in documents)
    tokenizer = trainer.trainer.train(sample(documents, 1.0 if limit is None else min(1.0, limit / max(1, size))))
    marker = pack.marker()
    writer = StoreWriter(
        folder / "train", vocab_size=tokenizer.vocab_size, eot=tokenizer.eot, marks=pack.marked,
        sep=tokenizer.special("sep_token"), tokenizer=tokenizer.identity,
    )  # fmt: skip
    tokenizer.save(folder)  # which the writer has made
    bytes_in: Counter[str] = Counter()
    tokens_in: Counter[str] = Counter()
    pieces = (piece for document in documents for piece in pack.split.parts(document))
    for batch, encoded in encode_ahead(tokenizer, batches(pieces), marker):
        for (part, piece), (ids, marks) in zip(batch, encoded, strict=True):
            bytes_in[piece.meta["language"]] += len(piece.text.encode())
            tokens_in[piece.meta["language"]] += len(ids)
            if part == "train":
                writer.add(piece, ids, marks)
    writer.close()
    if not TokenStore.open(folder / "train").documents:
        raise InputError("pack.split leaves no document to train on; choose a smaller pack.split.fraction")
    per_token = {language: bytes_in[language] / max(1, tokens_in[language]) for language in bytes_in}
    return Sample(folder, len(files), len(documents), sum(bytes_in.values()), share, per_token)


def _read(clean: Clean, files: Sequence[SourceFile]) -> tuple[list[Document], float]:
    """Documents of every n-th record that pass the rules, and the share of all bytes of text that those have."""
    stride = max(1, sum(file.content.size or 0 for file in files) // SAMPLE_BYTES)
    drops = [choice.make() for choice in clean.rules]
    documents: list[Document] = []
    seen = taken = number = 0
    for file in files:
        for record in file.records():
            if isinstance(record, Rejected):
                continue
            size = len(record.text.encode())
            seen += size
            if number % stride == 0:
                taken += size
                documents += [d for d in clean.documents(file, record) if not any(drop(d) for drop in drops)]
            number += 1
    return documents, taken / max(1, seen)


def training_on(settings: Pretrain, sample: Sample, seed: int) -> Training:
    """What the run will begin with, but for the text, of which this is a sample."""
    vocabulary = Vocabulary.of(Tokenizer.load(sample.folder))
    store = TokenStore.open(sample.folder / "train")
    alone = settings.with_hardware(mesh=Mesh())  # however many will share it
    return set_up(alone, store, vocabulary=vocabulary, seed=seed, share=sample.share)


def _fill_cache(settings: Pretrain, sample: Sample, seed: int) -> None:
    training = training_on(settings, sample, seed)
    if training.compiled:
        warm_up(training, say)


def _measure(settings: Pretrain, sample: Sample, seed: int) -> _Measured:
    training = training_on(settings, sample, seed)
    timed = probe(training, say)
    # To measure on training text takes as long.
    heldout = heldout_of(settings, training, TokenStore.open(sample.folder / "train"), seed=seed)
    started = time.perf_counter()
    heldout.loss(training.model)
    heldout_seconds = time.perf_counter() - started
    rows = training.batches.whole.rows
    return _Measured(
        timed, heldout_seconds, peak_memory_bytes(), training.tokens_per_step, training.steps_per_epoch,
        training.precision, training.compilation, rows.ledger if isinstance(rows, Blend) else None,
    )  # fmt: skip
