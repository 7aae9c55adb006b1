"""From a text to another one: translation, summaries, titles, keywords; by an encoder and a decoder, or one decoder.

Axes: T tokens of the decoder, S tokens of a source.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, ClassVar, Self

import numpy as np
from pydantic import Field, SkipValidation, model_validator

from danlu.corpus.batches import IGNORE
from danlu.data.dataset import Dataset
from danlu.data.form import Form
from danlu.data.generated import GENERATE, KEYWORDS
from danlu.errors import RecipeError
from danlu.generate.special_tokens import Begun
from danlu.log import say
from danlu.metrics.bleu import BLEU, ChrF
from danlu.metrics.keywords import Keywords as KeywordsMetric
from danlu.metrics.several import ChosenMetric, OfFiles, Several
from danlu.metrics.tally import Metric
from danlu.nn.config import TransformerConfig
from danlu.nn.transformer import Transformer
from danlu.recipe import OneOf
from danlu.tasks.feature import Feature
from danlu.tasks.of_folder import special_of, tokenizer_of
from danlu.tasks.task import Answer, Known
from danlu.tasks.text_reader import MIDDLE_HEAD, TextReader
from danlu.tasks.writing import Writing, need_decoder, room_before
from danlu.tokenizers.tokenizer import Tokenizer

BETWEEN_KEYWORDS = "; "


class Seq2Seq(Writing):
    """A text for each text. With an encoder it reads the source; without, the answer follows the source in one text.

    Only the answer is scored, with the token that ends it.
    """

    form: ClassVar[Form[Any]] = GENERATE
    judged: ClassVar[bool] = True

    prefix: str = ""
    """What goes before every source, such as ``translate English to German: `` for T5."""
    separator: str = "\n"
    """What stands between source and answer where there is no encoder."""
    metrics: Annotated[tuple[SkipValidation[ChosenMetric], ...], OneOf("metric")] = (BLEU(), ChrF())
    """What answers are measured by; the best checkpoint has the most of the first. For summaries ``rouge``; ``{use:
    bertscore, model: FOLDER}`` compares meanings. Chinese is known by its letters, or said: ``{use: bleu, language:
    zh}``."""

    sample: int = Field(default=200, ge=1)
    """Examples of dev that are answered for each measurement on the way; all are in the end."""

    @model_validator(mode="after")
    def _has_metrics(self) -> Self:
        if not self.metrics:
            raise ValueError("metrics must name one at least, by which the best checkpoint is known")
        return self

    def files(self) -> list[Path]:
        """Those of its metrics."""
        return [
            path
            for place, metric in enumerate(self.metrics)
            if isinstance(metric, OfFiles)
            for path in metric.files(f"finetune.task.metrics.{place}")
        ]

    def know(self, dataset: Dataset[Any], base: TransformerConfig) -> Known:
        """Nothing.

        Raises:
            RecipeError: the model cannot learn it, or a metric lacks what it needs.
            InputError: the same, of a model that a metric needs.
        """
        need_decoder(base)
        self.most_tokens(base)
        if base.encoder is not None and self.answer_tokens > base.max_length:
            raise RecipeError(f"finetune.task.answer_tokens must be at most {base.max_length}, which the model sees; "
                              f"got {self.answer_tokens}")  # fmt: skip
        example = dataset.splits["train"][0]  # a metric that lacks a package or a model says so before training
        self.metric(Known()).tally([example.gold], [self.value(self.target(example))])
        return Known()

    def most_tokens(self, base: TransformerConfig) -> int:
        """Of a decoder alone, whose answer stands behind what it reads, there is room for both."""
        return super().most_tokens(base) if base.encoder is not None else room_before(self, self.answer_tokens, base)

    def texts(self, examples: Sequence[Any]) -> Iterator[str]:
        for each in examples:
            yield f"{self.prefix}{each.source}"
            yield self.target(each)

    def target(self, example: Any) -> str:
        """What is learned."""
        return str(example.target)

    def features(self, examples: Sequence[Any], known: Known, reader: TextReader) -> list[Feature]:
        tokenizer, special = tokenizer_of(reader), special_of(reader)
        begun = self._begun(examples, reader)
        lead = special.before if special.start is not None else ()
        features, cut = [], 0
        for number, (example, ((context, source), short)) in enumerate(zip(examples, begun, strict=True)):
            said = [*lead, *tokenizer.encode(self.target(example))] if example.gold is not None else []
            cut += len(said) >= self.answer_tokens
            said = [*said[: self.answer_tokens - 1], tokenizer.eot]
            tokens = np.array([*context, *said[:-1]], dtype=np.int64)
            targets = np.array([*[IGNORE] * (len(context) - 1), *said], dtype=np.int64)
            read = None if source is None else np.array(source, dtype=np.int64)
            features.append(Feature(number, tokens, {self.loss: targets}, source=read, cut=short))
        if cut:
            say(f"{cut:,} of {len(examples):,} answers are longer than answer_tokens, {self.answer_tokens:,}, "
                "and are learned to there")  # fmt: skip
        return features

    def prompts(self, examples: Sequence[Any], reader: TextReader) -> list[Begun]:
        return [begun for begun, _ in self._begun(examples, reader)]

    def write(
        self, model: Transformer, examples: Sequence[Any], reader: TextReader,
        *, told: Callable[[int], None] = lambda done: None,
    ) -> list[Answer]:  # fmt: skip
        begun = self._begun(examples, reader)
        answers = self.go_on(model, [each for each, _ in begun], reader, told=told)
        return [replace(answer, cut=short) for answer, (_, short) in zip(answers, begun, strict=True)]

    def ends(self, reader: TextReader) -> frozenset[int]:
        return frozenset([tokenizer_of(reader).eot])

    def metric(self, known: Known) -> Metric[Any, Any]:
        return Several(self.metrics)

    @property
    def criterion(self) -> str:
        return self.metrics[0].main

    @property
    def on_the_way(self) -> int:
        return self.sample

    def _begun(self, examples: Sequence[Any], reader: TextReader) -> list[tuple[Begun, bool]]:
        """What is read of each example, and whether its source is cut."""
        tokenizer, special = tokenizer_of(reader), special_of(reader)
        behind = "" if special.start is not None else self.separator
        texts = [f"{self.prefix}{each.source}{behind}" for each in examples]
        begun = [special.around(ids, tokenizer.eot) for ids in tokenizer.encode_batch(texts)]
        short = [_length(each) > reader.max_tokens for each in begun]
        for number in (number for number, cut in enumerate(short) if cut):
            source = examples[number].source
            kept = len(tokenizer.encode(source)) - (_length(begun[number]) - reader.max_tokens)
            while _length(begun[number]) > reader.max_tokens:
                if kept < 1:
                    most = f"finetune.task.max_tokens {reader.max_tokens}"
                    raise RecipeError(f"{most} has no room for a source behind the prefix")
                text = f"{self.prefix}{shortened(source, kept, reader, tokenizer)}{behind}"
                begun[number] = special.around(tokenizer.encode(text), tokenizer.eot)
                kept -= 1
        return list(zip(begun, short, strict=True))


class Keywords(Seq2Seq):
    """Keywords for each text, written behind each other in the file's order (Meng et al. 2017, arXiv:1704.06879)."""

    form: ClassVar[Form[Any]] = KEYWORDS

    answer_tokens: int = Field(default=64, ge=1)
    """Tokens that all keywords of a text have at most."""
    metrics: Annotated[tuple[SkipValidation[ChosenMetric], ...], OneOf("metric")] = (KeywordsMetric(),)
    """What answers are measured by; the best checkpoint has the most of the first."""

    def target(self, example: Any) -> str:
        return BETWEEN_KEYWORDS.join(example.keywords)

    def value(self, text: str) -> list[str]:
        """The keywords in their order, each once."""
        words = (word.strip() for word in text.split(BETWEEN_KEYWORDS.strip()))
        return list(dict.fromkeys(word for word in words if word))


def shortened(text: str, tokens: int, reader: TextReader, tokenizer: Tokenizer) -> str:
    """What the reader's ``cut`` leaves of a text that has more tokens."""
    ends = tokenizer.encode_with_ends([text])[0][1]
    if reader.cut == "head":
        return text[: ends[tokens - 1]]
    first = 0 if reader.cut == "tail" else int(tokens * MIDDLE_HEAD)
    rest = len(ends) - (tokens - first)
    return text[: ends[first - 1] if first else 0] + text[ends[rest - 1] if rest else 0 :]


def _length(begun: Begun) -> int:
    return len(begun.context if begun.source is None else begun.source)
