"""Names and places by a tagging model inside the rule ``private``: recall, precision, and how much stays visible.

``python benchmarks/private_names.py DATA``: each case fine-tunes ``recipes/tasks/tag_*.yaml`` on published data, or
takes a model that is there (``--model uner=FOLDER``, as ``finetune.py --parts own_bert`` leaves it), and reads the test
part as ``clean`` would. There is no peer. Runs stay in the folder of --out: what is done is not done again.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Any

from forward_cpu import model_folder
from report import NotMeasuredError, say, say_machine, table

from danlu.clean.private import find_private
from danlu.clean.private_page import Found

RECIPES = Path(__file__).parent.parent / "recipes/tasks"
CONFIDENCES = (0.0, 0.5, 0.9)


@dataclass(frozen=True)
class Case:
    """A recipe, the data in the place of its own, and what its entities are called as private data."""

    recipe: str
    data: Mapping[str, Any]
    """The section ``data``; paths are below the data's folder."""
    kinds: Mapping[str, str]
    more: tuple[str, ...] = ()
    """Other overrides of the recipe."""
    between: str = " "
    """What stands between tokens in the text that is masked."""
    paths: tuple[str, ...] = field(default=("train", "dev", "test"))


CASES = {
    "wnut17": Case(
        "tag_en", {part: f"ner/en/wnut17/{part}.conll" for part in ("train", "dev", "test")},
        {"person": "name", "location": "place"},
    ),
    "wikigold": Case(
        "tag_en", {"train": "ner/en/wikigold.conll", "test_share": 0.25}, {"PER": "name", "LOC": "place"}
    ),
    "uner": Case(
        "tag_zh", {part: f"ner/zh/uner_gsdsimp/{part}.iob2" for part in ("train", "dev", "test")},
        {"PER": "name", "LOC": "place"}, between="",
        more=("finetune.task.characters=true", "finetune.optimizer.lr=5e-4", "finetune.budget.epochs=10"),
    ),
}  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="the folder with the data")
    parser.add_argument(
        "--out", type=Path, default=Path("runs/private_names"), help="of the runs (default %(default)s)"
    )
    parser.add_argument("--zh", type=Path, help="the folder of a Chinese encoder to fine-tune")
    parser.add_argument("--model", action="append", default=[], metavar="CASE=FOLDER",
                        help="a tagging model to measure as it is; may be given several times")  # fmt: skip
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES), metavar="CASE",
                        help=f"of {', '.join(CASES)}")  # fmt: skip
    options = parser.parse_args()
    given: dict[str, list[Path]] = {}
    for said in options.model:
        name, equals, folder = said.partition("=")
        if not equals or name not in CASES:
            parser.error(f"--model must be CASE=FOLDER, the case of {', '.join(CASES)}; got {said!r}")
        given.setdefault(name, []).append(Path(folder))
    try:
        measure(options, given)
    except NotMeasuredError as error:
        print(f"not measured: {error}", file=sys.stderr)
        return 1
    return 0


def measure(options: argparse.Namespace, given: Mapping[str, list[Path]]) -> None:
    """Each case in turn."""
    say_machine()
    rows = [
        ["case", "kind", "confidence", "recall", "precision", "characters hidden", "entities", "sentences", "seconds"]
    ]
    for name in options.cases:
        case = CASES[name]
        data = placed(case, options.data)
        encoder = options.zh if case.recipe == "tag_zh" else None
        if name not in given and case.recipe == "tag_zh" and encoder is None:
            say(f"{name}: left out, for neither --zh nor --model {name}=FOLDER is given")
            continue
        for folder in given.get(name) or [finetuned(name, case, data, options.out, encoder)]:
            rows += [[name if len(given.get(name, "1")) == 1 else f"{name}, {folder}", *row]
                     for row in scored(case, data, folder)]  # fmt: skip
    if len(rows) == 1:
        raise NotMeasuredError("every case was left out")
    say(f"\n{table(rows)}\n")


def placed(case: Case, data: Path) -> dict[str, Any]:
    """The section ``data`` with the paths of the files.

    Raises:
        NotMeasuredError: one is missing.
    """
    found = dict(case.data)
    for name in set(case.paths) & set(found):
        found[name] = str(data / found[name])
        if not Path(found[name]).is_file():
            raise NotMeasuredError(f"{found[name]} is missing")
    return found


def finetuned(name: str, case: Case, data: Mapping[str, Any], out: Path, encoder: Path | None) -> Path:
    """The model that the recipe makes of the encoder; MiniLM where none is given."""
    from danlu.recipe import load_recipe
    from danlu.runs import run_stages

    model = encoder or model_folder()
    run = out / name
    overrides = [f"finetune.data={json.dumps(data)}", f"finetune.model={model}", f"run_dir={run}", *case.more]
    run_stages(load_recipe(RECIPES / f"{case.recipe}.yaml", overrides), ["finetune"], say)
    return run / "finetune" / "model"


def scored(case: Case, data: Mapping[str, Any], folder: Path) -> Iterable[list[str]]:
    """A row for each kind and confidence: what the rule finds in the test part against what its annotators marked."""
    from danlu.data.dataset import Data, load
    from danlu.data.tagged import TAG
    from danlu.tasks.entity_finder import EntityFinder

    dataset = load(Data(**data), TAG)
    examples = dataset.splits["test"]
    texts, truths = [], []
    for example in examples:
        texts.append(case.between.join(example.tokens))
        truths.append(marked(case, example.tokens, example.gold or (), dataset.scheme))
    finds: dict[float, list[set[Found]]] = {}
    began = perf_counter()
    for confidence in CONFIDENCES:
        find = EntityFinder(model=folder, kinds=dict(case.kinds), confidence=confidence).make()
        finds[confidence] = [set(find_private(text, (), others=[find])) for text in texts]
    seconds = (perf_counter() - began) / len(CONFIDENCES)
    for kind in sorted(set(case.kinds.values())):
        for confidence in CONFIDENCES:
            recall, precision, hidden, wanted = against(truths, finds[confidence], kind)
            yield [kind, str(confidence), recall, precision, hidden, str(wanted), f"{len(texts):,}", f"{seconds:.0f}"]


def marked(case: Case, tokens: tuple[str, ...], tags: tuple[str, ...], scheme: Any) -> set[Found]:
    """Entities of the kinds that are looked for, by characters of the joined text."""
    from danlu.data.tags import read_tag
    from danlu.metrics.entities import conlleval_entities

    starts, place = [], 0
    for token in tokens:
        starts.append(place)
        place += len(token) + len(case.between)
    read = [read_tag(tag, scheme) or ("O", "") for tag in tags]
    return {
        Found(starts[first], starts[behind - 1] + len(tokens[behind - 1]), case.kinds[kind])
        for kind, first, behind in conlleval_entities(read)
        if kind in case.kinds
    }


def against(truths: list[set[Found]], finds: list[set[Found]], kind: str) -> tuple[str, str, str, int]:
    """Recall and precision by exact places, the share of the true characters that are hidden, whatever as, and how
    many entities there are."""
    right = wanted = found = hidden = characters = 0
    for truth, those in zip(truths, finds, strict=True):
        true = {each for each in truth if each.kind == kind}
        right += len(true & those)
        wanted += len(true)
        found += sum(each.kind == kind for each in those)
        covered = {place for each in those for place in range(each.start, each.end)}
        places = {place for each in true for place in range(each.start, each.end)}
        hidden += len(places & covered)
        characters += len(places)
    if not wanted:
        raise NotMeasuredError(f"the test part has no {kind}")
    precision = f"{right / found:.3f}" if found else "nothing found"
    return f"{right / wanted:.3f}", precision, f"{hidden / characters:.3f}", wanted


if __name__ == "__main__":
    sys.exit(main())
