"""Private data: recall and precision of each kind and language, what is found in good prose, and how fast.

``python benchmarks/private.py [FILE ...]``: the samples are those of the tests, drawn with another seed; files are
JSON lines with a ``text``, plain or gzip-compressed.
"""

from __future__ import annotations

import argparse
import gzip
import importlib
import json
import random
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

from danlu.clean.private import find_private

SAMPLES = Path(__file__).parents[1] / "tests/clean"


def load(name: str) -> Any:
    """A module of the tests: their generators."""
    sys.path.insert(0, str(SAMPLES))
    return importlib.import_module(name)


def measure(language: str, *, positives: int, misses: int, seed: int) -> tuple[list[list[str]], list[str]]:
    """Rows of a table, each kind with its recall and its precision by exact places, and what went wrong.

    The near misses of all sorts count for each kind.
    """
    samples, forms = load("private_samples"), load("private_odd_forms").FORMS
    chance = random.Random(f"{seed} {language}")
    drawn = [
        (f"{kind}, {form}", samples.form_sample(chance, draw, kind, language))
        for kind in forms
        for form, draw in forms[kind].items()
        for _ in range(positives)
    ]
    drawn += [(name, samples.near_miss(chance, name, language)) for name in samples.NEAR for _ in range(misses)]
    right, wanted, found, wrong = Counter[str](), Counter[str](), Counter[str](), Counter[str]()
    for name, each in drawn:
        finds = set(find_private(each.text))
        wanted.update(kind for _, _, kind in each.truth)
        found.update(find.kind for find in finds)
        right.update(find.kind for find in finds if find in each.truth)
        wrong[name] += finds != each.truth
    rows = [
        [kind, language, str(len(forms[kind])), f"{wanted[kind]:,}", f"{right[kind] / wanted[kind]:.4f}",
         f"{right[kind] / max(1, found[kind]):.4f}"]
        for kind in forms
    ]  # fmt: skip
    return rows, [f"{language}: {name}: {count} wrong" for name, count in wrong.most_common() if count]


def read(path: Path) -> list[str]:
    """The texts of a file."""
    content = path.read_bytes()
    lines = (gzip.decompress(content) if path.suffix == ".gz" else content).decode().split("\n")
    return [json.loads(line)["text"] for line in lines if line]


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="*", type=Path)
    parser.add_argument("--positives", type=int, default=50, help="of each form (default %(default)s)")
    parser.add_argument("--misses", type=int, default=100, help="of each sort (default %(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    print("| kind | language | forms | samples | recall | precision |\n| --- | --- | ---: | ---: | ---: | ---: |")
    mistakes = []
    for language in ("en", "zh"):
        rows, wrong = measure(language, positives=arguments.positives, misses=arguments.misses, seed=arguments.seed)
        mistakes += wrong
        for row in rows:
            print(f"| {' | '.join(row)} |")
    print("\n".join(mistakes))
    for path in arguments.files:
        texts = read(path)
        began = time.process_time()
        finds = [find_private(text) for text in texts]
        seconds = time.process_time() - began
        megabytes = sum(len(text.encode()) for text in texts) / 1e6
        counts = Counter(find.kind for each in finds for find in each)
        print(f"{path}: {megabytes:.1f} MB, {megabytes / seconds:.1f} MB/s of processor time, {dict(counts)}")


if __name__ == "__main__":
    main()
