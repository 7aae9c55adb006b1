"""Private data: recall and precision of each kind and language, what is found in good prose, and how fast.

``python benchmarks/private.py [FILE ...]``: the samples are those of the tests, drawn with another seed; files are
JSON lines with a ``text``, plain or gzip-compressed.
"""

from __future__ import annotations

import argparse
import gzip
import importlib.util
import json
import random
import sys
import time
from collections import Counter
from pathlib import Path
from types import ModuleType
from typing import Any

from danlu.clean.private import find_private

SAMPLES = Path(__file__).parents[1] / "tests/clean/private_samples.py"


def load_samples() -> ModuleType:
    """The generators of the tests."""
    spec = importlib.util.spec_from_file_location("private_samples", SAMPLES)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def measure(samples: Any, language: str, *, positives: int, misses: int, seed: int) -> list[tuple[str, float, float]]:
    """Each kind, its recall and its precision, exact places counted; the near misses of all kinds count for each."""
    chance = random.Random(f"{seed} {language}")
    drawn = [samples.sample(chance, kind, language) for kind in samples.KINDS for _ in range(positives)]
    drawn += [samples.near_miss(chance, name, language) for name in samples.NEAR for _ in range(misses)]
    right, wanted, found = Counter[str](), Counter[str](), Counter[str]()
    for each in drawn:
        finds = set(find_private(each.text))
        wanted.update(kind for _, _, kind in each.truth)
        found.update(find.kind for find in finds)
        right.update(find.kind for find in finds if find in each.truth)
    return [(kind, right[kind] / wanted[kind], right[kind] / max(1, found[kind])) for kind in samples.KINDS]


def read(path: Path) -> list[str]:
    """The texts of a file."""
    content = path.read_bytes()
    lines = (gzip.decompress(content) if path.suffix == ".gz" else content).decode().split("\n")
    return [json.loads(line)["text"] for line in lines if line]


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="*", type=Path)
    parser.add_argument("--positives", type=int, default=1000)
    parser.add_argument("--misses", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    samples = load_samples()
    print("| kind | language | recall | precision |\n| --- | --- | ---: | ---: |")
    for language in ("en", "zh"):
        rows = measure(samples, language, positives=arguments.positives, misses=arguments.misses, seed=arguments.seed)
        for kind, recall, precision in rows:
            print(f"| {kind} | {language} | {recall:.4f} | {precision:.4f} |")
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
