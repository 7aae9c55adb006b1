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

from report import run_benchmark
from t5_sides import danlu, trainer
from turns import BEST, DEFAULTS, OURS, Steps, measure, rounds_from_command

TARGETS = {DEFAULTS: 4.0, BEST: 1.5}
"""Tokens a second, at least so many times the peer's."""
STEPS = {OURS: Steps(6, 16), DEFAULTS: Steps(2, 6), BEST: Steps(4, 8)}


def main() -> int:
    rounds = rounds_from_command(__doc__)
    return run_benchmark(
        lambda: measure("span corruption", danlu, trainer, special="t5", steps=STEPS, targets=TARGETS, rounds=rounds)
    )


if __name__ == "__main__":
    sys.exit(main())
