"""A rule that learns, and tells in a file how often."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from danlu.clean.arrays import Arrays
from danlu.clean.rules import Rule
from danlu.recipe import Choice


class Learning(Choice):
    """Drops documents that are longer than the text it learned from."""

    good: Path
    told: Path

    def external_files(self) -> list[Path]:
        return [self.good]

    def learn(self) -> tuple[Arrays, str]:
        with self.told.open("a") as file:
            file.write("learned\n")
        longest = len(self.good.read_text())
        return {"longest": np.array([longest])}, f"learned: {longest}"

    def rule(self, learned: Arrays) -> Rule:
        longest = int(learned["longest"][0])
        return lambda document: "too long" if len(document.text) > longest else None

    def make(self) -> Rule:
        return self.rule(self.learn()[0])
