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
from turns import Turns, Work, compare_sides, in_turn, run_side, say_results

OURS, DEFAULTS, TUNED = "Danlu", "Trainer, defaults", "Trainer, tuned"
TARGETS = {DEFAULTS: 6.0, TUNED: 2.0}
"""Tokens a second, at least so many times the peer's."""


def main() -> int:
    turns = Turns.from_command(__doc__)
    return run_benchmark(lambda: measure(turns))


def measure(turns: Turns) -> list[Comparison]:
    """Run every side in turn, and say what came out."""
    say_machine()
    with TemporaryDirectory(prefix="mlm_cpu-") as temporary:
        run, _ = in_fresh_process(pack_paragraphs, Path(temporary), vocab_size=8192, special="bert")
        work = Work(run, turns.warmup + turns.steps)
        rates, _ = in_fresh_process(matrix_rates)
        tuned = "tuned bf16" if rates["bf16"] > rates["fp32"] else "tuned"
        results = in_turn(
            {
                OURS: lambda: run_side(work, turns.warmup, danlu),
                DEFAULTS: lambda: run_side(work, turns.warmup, trainer, "defaults"),
                TUNED: lambda: run_side(work, turns.warmup, trainer, tuned),
            },
            turns.rounds,
        )
    say_results(results)
    return compare_sides("masked LM", results, OURS, TARGETS)


if __name__ == "__main__":
    sys.exit(main())
