"""Masked language modelling on a processor: Danlu beside Hugging Face's Trainer, in tokens a second and in memory.

BERT of 4 layers, width 256, 4 heads, vocabulary 8192, no dropout, on the paragraphs of corpora/: documents of all
lengths, up to 512 tokens. Every side masks as BERT does and learns with the same AdamW; each runs in a fresh process,
they take turns, and the first steps, in which torch.compile works, are left out of the timing. Tokens are those of
documents: padding is not counted. Danlu packs documents into rows, which never see each other; the Trainer pads them
to the longest of a step, tuned to the longest of a group of like length. The tuned peer has the number type that is
the faster one on this machine.
"""

from __future__ import annotations

import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from bilingual import pack_paragraphs
from mlm_sides import danlu, trainer
from pretrain_sides import matrix_rates
from process import in_fresh_process
from report import Comparison, run_benchmark, say_machine
from turns import Steps, compare_sides, in_turn, rounds_from_command, run_side, say_results

OURS, DEFAULTS, TUNED = "Danlu", "Trainer, defaults", "Trainer, tuned"
TARGETS = {DEFAULTS: 6.0, TUNED: 2.0}
"""Tokens a second, at least so many times the peer's."""


STEPS = {OURS: Steps(8, 24), DEFAULTS: Steps(2, 6), TUNED: Steps(50, 50)}
"""The tuned Trainer goes through groups of all lengths, first to compile for them, then to be timed."""


def main() -> int:
    rounds = rounds_from_command(__doc__)
    return run_benchmark(lambda: measure(rounds))


def measure(rounds: int) -> list[Comparison]:
    """Run every side in turn, and say what came out."""
    say_machine()
    with TemporaryDirectory(prefix="mlm_cpu-") as temporary:
        run, _ = in_fresh_process(pack_paragraphs, Path(temporary), vocab_size=8192, special="bert")
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
    return compare_sides("masked LM", results, OURS, TARGETS)


if __name__ == "__main__":
    sys.exit(main())
