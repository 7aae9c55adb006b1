"""What ``danlu plan`` says beside what then happened, for three recipes of different size.

Each recipe is planned first and run afterwards, as a person does it, with an empty compilation cache
at the start. Time is that of the stage pretrain, compilation and saving included; memory is the peak
of the process that ran it. The plan holds when time is within 30 % and memory within 20 %.
"""

from __future__ import annotations

import argparse
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from bilingual import CORPORA
from process import in_fresh_process
from report import Comparison, compare, run_benchmark, say, say_machine, table

TIME_TOLERANCE, MEMORY_TOLERANCE = 0.3, 0.2

TEXT = f"""\
clean:
  sources:
    - {{path: {CORPORA}/en, language: en, documents: {{use: blocks, characters: 4000}}}}
    - {{path: {CORPORA}/zh, language: zh}}
pack: {{split: {{use: hash, fraction: 0.05}}}}
"""
RECIPES = {
    "small": f"""\
clean: {{sources: [{CORPORA}/en]}}
tokenizer: char
pack: {{split: {{use: tail, fraction: 0.1}}}}
pretrain:
  model: {{use: gpt, layers: 4, dim: 128}}
  sequence: 256
  batch: 8
  budget: {{steps: 300}}
""",
    "middle": f"""\
{TEXT}
tokenizer: {{use: bpe, vocab_size: 4096}}
pretrain:
  model: {{use: gpt, layers: 6, dim: 256}}
  sequence: 256
  batch: 16
  budget: {{minutes: 1}}
""",
    "large": f"""\
{TEXT}
tokenizer: {{use: bpe, vocab_size: 8192}}
pretrain:
  model: {{use: gpt, layers: 8, dim: 512}}
  optimizer: adamw
  sequence: 512
  batch: 8
  budget: {{tokens: 160000}}
""",
}


@dataclass(frozen=True)
class Cost:
    """What a recipe costs, as told or as it was."""

    tokens: int
    parameters: int
    steps: int
    seconds: float
    peak_bytes: int


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    choices = ", ".join(RECIPES)
    parser.add_argument("recipes", nargs="*", default=list(RECIPES), metavar="RECIPE", help=f"{choices} (default all)")
    options = parser.parse_args()
    if unknown := set(options.recipes) - set(RECIPES):
        parser.error(f"no recipe {', '.join(sorted(unknown))} (choices: {choices})")
    return run_benchmark(lambda: measure(options.recipes))


def measure(names: list[str]) -> list[Comparison]:
    """Plan and run each recipe."""
    say_machine()
    rows = [["recipe", "", "planned", "happened", "ratio", ""]]
    comparisons = []
    with TemporaryDirectory(prefix="plan-") as temporary:
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(Path(temporary) / "compiled")
        for name in names:
            recipe = Path(temporary) / f"{name}.yaml"
            recipe.write_text(f"run_dir: {temporary}/{name}\n{RECIPES[name]}", encoding="utf-8")
            planned, _ = in_fresh_process(planned_cost, recipe)
            in_fresh_process(run, recipe, ["clean", "tokenizer", "pack"])
            _, peak_bytes = in_fresh_process(run, recipe, ["pretrain"])
            happened = happened_cost(Path(temporary) / name, peak_bytes)
            for what, before, after, unit in pairs(planned, happened):
                comparison = compare(f"plan: {what} of {name}, planned / happened", [before], [after], unit=unit)
                verdict = judge(what, comparison.ratio)
                if verdict:
                    comparisons.append(comparison)
                values = (f"{value:,.0f} {unit}".rstrip() for value in (before, after))
                rows.append([name, what, *values, f"{comparison.ratio:.3f}", verdict])
    say()
    say(table(rows))
    return comparisons


def pairs(planned: Cost, happened: Cost) -> list[tuple[str, float, float, str]]:
    """Name, planned value, what happened, unit."""
    return [
        ("tokens", planned.tokens, happened.tokens, ""),
        ("parameters", planned.parameters, happened.parameters, ""),
        ("steps", planned.steps, happened.steps, ""),
        ("time", planned.seconds, happened.seconds, "s"),
        ("peak memory", planned.peak_bytes / 1e6, happened.peak_bytes / 1e6, "MB"),
    ]


def judge(what: str, ratio: float) -> str:
    """Whether a ratio is within what is promised of it; nothing where nothing is promised."""
    tolerance = {"time": TIME_TOLERANCE, "peak memory": MEMORY_TOLERANCE}.get(what)
    if tolerance is None:
        return ""
    return f"within {tolerance:.0%}" if abs(ratio - 1) <= tolerance else f"MISSED {tolerance:.0%}"


def planned_cost(recipe: Path) -> Cost:
    """What ``danlu plan`` says."""
    from danlu.recipe import load_recipe
    from danlu.train.plan import estimate

    known = estimate(load_recipe(recipe))
    return Cost(known.tokens, sum(known.parameters.values()), known.steps, known.seconds, known.peak_bytes)


def run(recipe: Path, stages: list[str]) -> None:
    """Run stages in this process, as ``danlu STAGE RECIPE`` does."""
    from danlu.recipe import load_recipe
    from danlu.runs import run_stages

    run_stages(load_recipe(recipe), stages)


def happened_cost(folder: Path, peak_bytes: int) -> Cost:
    """What the run folder and the process's memory say afterwards."""
    from danlu.run_folder import RunFolder

    run_folder = RunFolder(folder)
    pretrain = run_folder.done("pretrain") or {}
    figures = pretrain["figures"]
    tokens = run_folder.figures("pack")["train.tokens"]
    return Cost(tokens, figures["parameters"], figures["steps"], pretrain["seconds"], peak_bytes)


if __name__ == "__main__":
    sys.exit(main())
