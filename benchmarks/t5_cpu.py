"""Span corruption on a processor: Danlu beside Hugging Face's Trainer, in tokens a second and in memory.

T5 of 4 layers on each side, width 256, 4 heads, MLPs of 1,024 with ReLU, vocabulary 8192, no dropout, 15 % of the
text in spans of 3 on average, on the text of corpora/. Every side learns with the same AdamW; each runs in a fresh
process, they take turns, and the first steps, in which torch.compile works, are left out of the timing. Tokens are
what encoder and decoder read, padding not counted. Danlu corrupts every document by itself and packs them, without
one seeing another; the Trainer has rows of one stream that need no padding, which is less work. The tuned peer has
the number type that is the faster one on this machine.
"""

from __future__ import annotations

import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from bilingual import pack_paragraphs
from pretrain_sides import matrix_rates
from process import in_fresh_process
from report import Comparison, run_benchmark, say_machine
from t5_sides import danlu, trainer
from turns import Steps, compare_sides, in_turn, rounds_from_command, run_side, say_results

OURS, DEFAULTS, TUNED = "Danlu", "Trainer, defaults", "Trainer, tuned"
TARGETS = {DEFAULTS: 4.0, TUNED: 1.5}
"""Tokens a second, at least so many times the peer's."""


STEPS = {OURS: Steps(6, 16), DEFAULTS: Steps(2, 6), TUNED: Steps(4, 8)}


def main() -> int:
    rounds = rounds_from_command(__doc__)
    return run_benchmark(lambda: measure(rounds))


def measure(rounds: int) -> list[Comparison]:
    """Run every side in turn, and say what came out."""
    say_machine()
    with TemporaryDirectory(prefix="t5_cpu-") as temporary:
        run, _ = in_fresh_process(pack_paragraphs, Path(temporary), vocab_size=8192, special="t5")
        rates, _ = in_fresh_process(matrix_rates)
        tuned = "tuned bf16" if rates["bf16"] > rates["fp32"] else "tuned"
        results = in_turn(
            {
                OURS: lambda: run_side(run, STEPS[OURS], danlu),
                DEFAULTS: lambda: run_side(run, STEPS[DEFAULTS], trainer, "defaults"),
                TUNED: lambda: run_side(run, STEPS[TUNED], trainer, tuned),
            },
            rounds,
        )
    say_results(results)
    return compare_sides("span corruption", results, OURS, TARGETS)


if __name__ == "__main__":
    sys.exit(main())
