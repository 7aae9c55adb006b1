"""``danlu tokenizer sizes``: what each size of a vocabulary saves and costs, as a table and as a picture."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.table import Table

from danlu.corpus.pack import Pack
from danlu.corpus.split import HashSplit, Split
from danlu.errors import InputError, OutputError, RecipeError
from danlu.files import atomic_write, writing
from danlu.log import say, say_table, short
from danlu.pages.chart import COLOURS, Series, line_chart, standalone
from danlu.recipe import Recipe, load_recipe
from danlu.text.document import Document, read_documents
from danlu.tokenizers.measure import Cost, measure
from danlu.tokenizers.sizes import recommended, saving, tokenizers_of, total
from danlu.tokenizers.stage import TrainTokenizer, sample
from danlu.tokenizers.texts import clean_folder
from danlu.train.plan import parameters_by_part
from danlu.train.pretrain import Pretrain

WIDTH, HEIGHT = 900, 420
LEAST_WIDTH = 110
SIZE = re.compile(r"([0-9]+)(k?)")

TRAIN, HELDOUT = "train", "heldout"
Curve = dict[int, dict[str, Cost]]
"""By size, what the held-out text of each language costs."""


def measure_sizes(path: Path, sizes: str, *, least: float, out: Path) -> None:
    """Train, measure, show and draw.

    Raises:
        RecipeError, InputError: the recipe has no such tokenizer, its text is not clean, or nothing is held out.
        OutputError: the picture cannot be written.
    """
    wanted = parse_sizes(sizes)
    if not 0 < least < 1:
        raise InputError(f"--least must be between 0 and 1; got {least}")
    if out.suffix.lower() != ".svg" or not out.parent.is_dir():
        raise OutputError(f"--out must be an .svg in a folder that is there; got {out}")
    recipe = load_recipe(path)
    section = recipe.section("tokenizer")
    assert isinstance(section, TrainTokenizer)
    if not hasattr(section.trainer, "vocab_size"):
        raise RecipeError("tokenizer: this kind has no vocab_size to choose; bpe has")
    training, heldout = _split(recipe, path)
    size = sum(len(each.text.encode()) for each in training)
    limit = section.trainer.sample_bytes
    texts = Sampled(training, 1.0 if limit is None else min(1.0, limit / max(1, size)))
    curve: Curve = {}
    for vocab_size, tokenizer in tokenizers_of(section.trainer, texts, wanted):  # type: ignore[arg-type]
        curve[vocab_size] = measure(tokenizer, heldout)
    if max(curve) < max(wanted):
        say(f"the text has pairs for {max(curve):,} tokens only, of {max(wanted):,}")
    tokens = {vocab_size: total(costs.values()) for vocab_size, costs in curve.items()}
    best = recommended(tokens, least=least)
    costs = relative_costs(tokens, parameters := _parameters(recipe, sorted(curve)))
    _show(curve, tokens, parameters, best)
    small = f"a doubling of it saves less than {least:.1%} of the held-out tokens"
    large = f"its last doubling saves {least:.1%} of the held-out tokens or more: a larger one may do so too"
    say(f"recommended: {best:,} ({large if best == max(tokens) else small}); tokenizer.vocab_size={best}")
    if costs:
        cheapest = min(costs, key=lambda each: costs[each])
        say(f"training this model on the same text costs least with {cheapest:,}")
    with writing(out.parent):
        atomic_write(out, picture(curve, best).encode())
    say(f"picture: {out}")


def parse_sizes(sizes: str) -> list[int]:
    """``4k,8192`` as numbers, rising.

    Raises:
        InputError: it is no such list.
    """
    found = [SIZE.fullmatch(each.strip().lower()) for each in sizes.split(",")]
    numbers = [int(match[1]) * (1024 if match[2] else 1) for match in found if match is not None]
    if len(numbers) != len(found) or numbers != sorted(set(numbers)) or numbers[0] < 1:
        raise InputError(f"--sizes must be rising numbers with commas between, such as 4k,8k,16k; got {sizes!r}")
    return numbers


def picture(curve: Curve, best: int) -> str:
    """Bytes per token over the size, a line a language, an SVG that any browser shows; dots where it is measured."""
    languages = sorted({language for costs in curve.values() for language in costs}, key=lambda each: (
        -max(costs[each].bytes for costs in curve.values() if each in costs), each
    ))[: len(COLOURS)]  # fmt: skip
    lines = {
        language: [(math.log2(size), _bytes_per_token(costs[language])) for size, costs in sorted(curve.items())]
        for language in languages
    }
    values = [y for points in lines.values() for _, y in points]
    space = max(max(values) - min(values), 0.1) * 0.1
    series = [
        each
        for (language, points), colour in zip(lines.items(), COLOURS, strict=False)
        for each in (Series(points, "line", colour, language), Series(points, "dots", colour))
    ]
    chart = line_chart(
        series, title=f"Bytes per token of held-out text by size of the vocabulary; {best:,} is recommended",
        x_name="tokens", y_range=(min(values) - space, max(values) + space), width=WIDTH, height=HEIGHT,
        x_labels={math.log2(size): f"{size:,}" for size in sorted(curve)[1:]},
    )  # fmt: skip
    return standalone(chart)


@dataclass(frozen=True)
class Part:
    """The documents of a folder, or pieces of them, that are learned from, or that are held out.

    They are read anew each time that they are gone through, so that none is held in memory.
    """

    folder: Path
    split: Split
    name: str

    def __iter__(self) -> Iterator[Document]:
        for document in read_documents(self.folder):
            for part, piece in self.split.parts(document):
                if (part == HELDOUT) == (self.name == HELDOUT):
                    yield piece


@dataclass(frozen=True)
class Sampled:
    """Texts from all over a part that make up about ``share`` of it, the same ones each time."""

    part: Part
    share: float

    def __iter__(self) -> Iterator[str]:
        return sample(self.part, self.share)


def _split(recipe: Recipe, path: Path) -> tuple[Part, Part]:
    """The clean documents that are learned from, and those that are held out."""
    folder = clean_folder(path)
    assert folder is not None, "it is a recipe"
    pack = recipe.sections.get("pack")
    split: Split = pack.split if isinstance(pack, Pack) else HashSplit()
    training, heldout = Part(folder, split, TRAIN), Part(folder, split, HELDOUT)
    if not any(True for _ in training) or not any(True for _ in heldout):
        raise InputError(f"{path}: no document is held out, or all are; set pack.split.fraction, or split: tail")
    return training, heldout


def _parameters(recipe: Recipe, sizes: Sequence[int]) -> dict[int, tuple[int, int]]:
    """Of the recipe's model at each size: all parameters, and those that a token is multiplied with."""
    settings = recipe.sections.get("pretrain")
    if not isinstance(settings, Pretrain):
        return {}
    found = {}
    for size in sizes:
        config = settings.shape(size)
        parts = parameters_by_part(config)
        body = sum(count for part, count in parts.items() if part not in ("embedding", "head"))
        found[size] = (sum(parts.values()), body + size * config.dim)
    return found


def relative_costs(tokens: Mapping[int, int], parameters: Mapping[int, tuple[int, int]]) -> dict[int, float]:
    """What training on the same text costs beside the smallest size: tokens times parameters that each is multiplied
    with (Kaplan et al. 2020, arXiv:2001.08361, whose 6 falls out); empty without a model."""
    if not parameters:
        return {}
    first = min(tokens)
    least = parameters[first][1] * max(1, tokens[first])
    return {size: parameters[size][1] * tokens[size] / least for size in sorted(tokens)}


def _show(curve: Curve, tokens: Mapping[int, int], parameters: Mapping[int, tuple[int, int]], best: int) -> None:
    languages = sorted({language for costs in curve.values() for language in costs})
    table = Table()
    for name in ("vocab_size", *(f"bytes/token {language}" for language in languages), "tokens", "a doubling saves"):
        table.add_column(name, justify="right")
    if parameters:
        table.add_column("parameters", justify="right")
        table.add_column("training cost", justify="right")
    sizes = sorted(curve)
    for place, size in enumerate(sizes):
        saved = saving(tokens, sizes[place - 1], size) if place else None
        row = [f"{size:,}{' *' if size == best else ''}"]
        row += [f"{_bytes_per_token(curve[size][each]):.3f}" for each in languages]
        row += [f"{tokens[size]:,}", "" if saved is None else f"{saved:.1%}"]
        if parameters:
            row += [short(parameters[size][0]), f"{relative_costs(tokens, parameters)[size]:.2f}x"]
        table.add_row(*row)
    say_table(table, least=LEAST_WIDTH)


def _bytes_per_token(cost: Cost) -> float:
    return cost.bytes / max(1, cost.tokens)
