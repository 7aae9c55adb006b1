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

from mlm_sides import danlu, trainer
from report import run_benchmark
from turns import BEST, DEFAULTS, OURS, Steps, measure, rounds_from_command

TARGETS = {DEFAULTS: 6.0, BEST: 2.0}
"""Tokens a second, at least so many times the peer's."""
STEPS = {OURS: Steps(8, 24), DEFAULTS: Steps(2, 6), BEST: Steps(50, 50)}
"""The tuned Trainer goes through groups of all lengths, first to compile for them, then to be timed."""


def main() -> int:
    rounds = rounds_from_command(__doc__)
    return run_benchmark(
        lambda: measure("masked LM", danlu, trainer, special="bert", steps=STEPS, targets=TARGETS, rounds=rounds)
    )


if __name__ == "__main__":
    sys.exit(main())
