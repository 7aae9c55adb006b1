"""A rule that kills the process it is in, as the system does where memory is short."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from danlu.clean.rules import Rule
from danlu.recipe import Choice
from danlu.text.document import Document


class Dying(Choice):
    """At documents that hold ``word``, while ``armed`` is there."""

    word: str
    armed: Path

    def make(self) -> Rule:
        def rule(document: Document) -> str | None:
            if self.word in document.text and self.armed.exists():
                os.kill(os.getpid(), signal.SIGKILL)
            return None

        return rule
