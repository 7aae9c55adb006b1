"""All that a fine-tuning works with: model, tokenizer, examples as features; and the model that comes out of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from danlu.data.conventions import NOTHING_KNOWN
from danlu.data.dataset import Dataset
from danlu.errors import InputError, RecipeError
from danlu.files import write_json
from danlu.log import say
from danlu.nn.hf.folder import load_config, save_model
from danlu.nn.hf.start import Start
from danlu.nn.speed import choose_device
from danlu.nn.trained_rows import put_back, train_rows
from danlu.nn.transformer import Transformer
from danlu.parallel.joining import here
from danlu.stage import Figures
from danlu.tasks.answering import answer, numbers_of, tuned_answers
from danlu.tasks.feature import Feature
from danlu.tasks.measure import TaskMeasure
from danlu.tasks.methods import load_trained
from danlu.tasks.model_folder import Trained
from danlu.tasks.scores import in_words, of_itself, score, write_predictions
from danlu.tasks.task import Known
from danlu.tasks.task_training import OneTask
from danlu.tasks.text_reader import TextReader
from danlu.tasks.writing import Written
from danlu.tokenizers.added import with_tokens
from danlu.tokenizers.folder import read_tokenizer
from danlu.tokenizers.tokenizer import Tokenizer
from danlu.train.checkpoint import as_model
from danlu.train.monitor import Measure
from danlu.train.setup import Training

UNKNOWN_SHARE = 0.02
"""Share of unknown tokens from which a line says that the model does not know such text."""
SAMPLES = 8
"""Answers that are written in the end where figures do not need them, to be looked at."""


@dataclass(frozen=True)
class Material:
    """All that a fine-tuning works with."""

    settings: OneTask
    base: Path
    tokenizer: Path
    """The folder of the one that goes with the model: ``base``, or where it has new tokens one of its own."""
    dataset: Dataset[Any]
    start: Start
    known: Known
    reader: TextReader
    features: Mapping[str, Sequence[Feature]]
    """By split."""
    out: Path
    """The folder of the stage."""

    @classmethod
    def of(
        cls, settings: OneTask, base: Path, dataset: Dataset[Any], *, out: Path, seed: int,
        tokenizer: Path | None = None,
    ) -> Material:  # fmt: skip
        """Read the model's files, and all examples as it reads them.

        Args:
            tokenizer: the folder of one that has all tokens that the task needs; by default that of ``base`` with them.

        Raises:
            InputError, CheckpointError, RecipeError: the model cannot be read, or cannot learn the task.
        """
        task, shape = settings.task, settings.method.shape(load_config(base))
        known = task.know(dataset, shape)
        if tokenizer is not None:
            known = replace(known, strangers=_strangers(base, tokenizer, task.new_tokens(dataset)))
        tokenizer = tokenizer or with_tokens(base, task.new_tokens(dataset), out / "tokenizer")
        start = task.start(base, known, seed=seed).with_rows(Tokenizer.load(tokenizer).vocab_size)
        most = task.most_tokens(shape)
        if most > shape.max_length:
            raise RecipeError(
                f"finetune.task.max_tokens must be at most {shape.max_length}, which the model sees; got {most}"
            )
        reader = TextReader.load(tokenizer, max_tokens=most, cut=task.cut)
        if start.keeps_head:
            known = task.know_head(start.draw(), dataset.splits["train"], known, reader)
        features = {name: task.features(each, known, reader) for name, each in dataset.splits.items()}
        for name in ("train", "dev"):
            if not features[name]:
                examples = dataset.splits[name]
                raise InputError(
                    f"{examples[0].place.file}: of the {len(examples):,} examples of {name} none is left that can be "
                    f"read"
                )
        made = cls(settings, base, tokenizer, dataset, start, known, reader, features, out)
        return replace(made, features=made.referred()) if task.refers else made

    def draw(self, seed: int) -> Transformer:
        """The model that begins, the same in each call."""
        model = self.begun()
        self.settings.method.begin(model, tokenizer=self.tokenizer, seed=seed)
        train_rows(model, self.new_tokens)
        return model

    @property
    def new_tokens(self) -> tuple[int, ...]:
        """Ids of the tokens that the task adds, of which the model knows nothing, so that they learn by any method."""
        if self.tokenizer == self.base:
            return ()
        old, new = read_tokenizer(self.base)[0], read_tokenizer(self.tokenizer)[0]
        tokens = self.settings.task.new_tokens(self.dataset)
        ids = (new.token_to_id(token) for token in tokens if old.token_to_id(token) is None)
        return tuple(id for id in ids if id is not None)

    def begun(self) -> Transformer:
        """The same before anything of it is frozen or added to it."""
        model = self.start.draw()
        if self.start.keeps_head:
            self.settings.task.take_over(model, self.known)
        return model

    def referred(self) -> Mapping[str, Sequence[Feature]]:
        """Features that know what the model that begins makes of them, in float32; it is not kept."""
        task = self.settings.task
        say("the model that begins reads all examples once: it is what the trained one is compared with")
        model = self.draw(self.start.seed).to(self.device)
        return {
            name: task.refer(each, numbers_of(task, model, each, self.known)) for name, each in self.features.items()
        }

    @property
    def device(self) -> torch.device:
        """Where the model computes."""
        settings = self.settings
        return choose_device(settings.hardware.device, key=f"{settings.section}.hardware.device")

    def described(self) -> str:
        """How many texts there are to learn from, how long they are, and what of them is not read."""
        train = self.features["train"]
        texts = len({each.example for each in train})  # others were left out
        if self.settings.task.reads_all:
            sizes = [size for each in train for size in each.parts or (each.size,)]
            windows = f" in {len(sizes):,} windows" if len(sizes) > texts else ""
            return f"{texts:,} texts{windows} of {np.mean(sizes):.0f} tokens, the longest {max(sizes):,}"
        sizes = [each.size for each in train]
        return f"{texts:,} texts of {np.mean(sizes):.0f} tokens, the longest {max(sizes):,}{self._cut()}"

    def told_unknown(self) -> str | None:
        """How much of what there is to learn from is one token to the model, whatever it says; None where little is."""
        unknown = Tokenizer.load(self.tokenizer).unknown
        if unknown is None:
            return None
        read = [ids for each in self.features["train"] for ids in (each.tokens, each.source) if ids is not None]
        share = sum(int((ids == unknown).sum()) for ids in read) / sum(map(len, read))
        if share < UNKNOWN_SHARE:
            return None
        return (
            f"{share:.0%} of the tokens of train are the one for what the tokenizer of {self.base} does not know: the "
            f"model cannot tell such characters and words apart; one that was pretrained on their language can"
        )

    def _cut(self) -> str:
        """Of how many texts of each split a part is not read; nothing where all are read whole."""
        counts = {
            name: len({each.example for each in features if each.cut}) for name, features in self.features.items()
        }
        told = [f"{count:,} of {name}" for name, count in counts.items() if count]
        if not told:
            return ""
        return f"; read in part, as they have more than {self.reader.max_tokens:,} (max_tokens): {', '.join(told)}"

    def measure_of(self, loss: Measure | None) -> TaskMeasure:
        """The figures of dev beside a loss; None where they are what is trained for."""
        examples = self.dataset.splits["dev"]  # in the order of their file, which may be by label
        drawn = np.random.default_rng(0).permutation(len(examples))[: self.settings.task.on_the_way]
        place_of = {number: place for place, number in enumerate(sorted(drawn.tolist()))}
        features = [
            replace(each, example=place_of[each.example]) for each in self.features["dev"] if each.example in place_of
        ]
        chosen = [examples[number] for number in place_of]
        return TaskMeasure(self.settings.task, self.known, self.reader, loss, chosen, features)

    def result(self, training: Training, weights: dict[str, Tensor], out: Path) -> Transformer:
        """The trained model, all of it in float32 whatever it has computed in."""
        if not training.frozen:
            return as_model(weights, training.model.config)
        for weight in training.model.parameters():  # whose memory the whole one needs
            weight.data = weight.data.new_empty(0)
        device = next(training.model.parameters()).device
        model = training.subject.draw()
        load_trained(model, weights)
        self.settings.method.finish(model, out, base=self.base)
        put_back(model)
        return model.to(device)

    def conclude(self, model: Transformer, out: Path, *, seed: int) -> Figures:
        """Save the model with all that using it needs; its answers to dev, test and the like, and their figures."""
        settings, task, known = self.settings, self.settings.task, self.known
        figures: Figures = {}
        for split, examples in self.dataset.splits.items():
            if split == "train":
                continue
            features = self.features[split]
            if split == "dev":  # which comes first: what it settles holds for the others
                known, answers = tuned_answers(task, model, features, examples, known, self.reader)
            else:
                answers = answer(task, model, features, examples, known, self.reader)
            scored = score(task, examples, answers, known, seed=seed)
            write_json(out / f"{split}.json", scored)
            say(in_words(split, scored))
            alone = of_itself(task, examples, answers, known)
            write_predictions(out / f"{split}.predictions.jsonl", examples, answers, alone)
            figures |= flat(split, scored, task.criterion)
        if isinstance(task, Written) and not task.judged:
            shown = self.dataset.splits["dev"][:SAMPLES]
            write_predictions(out / "dev.samples.jsonl", shown, task.write(model, shown, self.reader))
        known = task.finish(model, known)
        labels = known.labels if len(known.labels) == task.outputs(known) else ()
        size = sum(each.numel() * each.element_size() for each in model.parameters())
        with here().alone("saves the model", moves=size):
            save_model(model, out / "model", tokenizer=self.tokenizer, labels=labels, problem=task.problem)
        settings.method.equip(out / "model", base=self.base)
        task.equip(model, out / "model", self.reader)
        settings.method.complete(model, out, tokenizer=None if self.tokenizer == self.base else self.tokenizer)
        used = task.as_used()
        alike = used.form is task.form
        data = settings.data if alike else settings.data.model_copy(update={"columns": {}})
        columns = self.dataset.columns if alike else {}
        conventions = self.dataset.conventions if alike else NOTHING_KNOWN
        Trained(used, known, self.reader.max_tokens, data, columns, conventions).save(out / "model")
        say(f"the model: {out / 'model'}; all figures and answers are beside it")
        return figures


def _strangers(base: Path, tokenizer: Path, own: Sequence[str]) -> tuple[str, ...]:
    """Tokens that ``tokenizer`` has, but neither the one in ``base`` nor the task."""
    before, after = (read_tokenizer(folder)[0].get_vocab().keys() for folder in (base, tokenizer))
    return tuple(sorted(after - before - set(own)))


def flat(split: str, scored: Mapping[str, Any], criterion: str) -> Figures:
    """What stands in the table of a run: not each label's own figures, and one interval."""
    figures = {f"{split}.{name}": round(value, 6) for name, value in scored["figures"].items()
               if not name.startswith("label.")}  # fmt: skip
    if criterion in scored["intervals"]:
        low, high = scored["intervals"][criterion]
        figures[f"{split}.{criterion}.interval"] = f"{low:.4f} to {high:.4f}"
    return {f"{split}.examples": scored["examples"], **figures}
