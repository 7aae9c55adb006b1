"""Stop strings in a stream: an answer ends exactly before the first, and nothing of it is ever shown."""

from __future__ import annotations

from collections.abc import Sequence


class StopFilter:
    """Passes text on, and holds back what may be the beginning of a stop string.

    The stop string that is complete first counts; of several that end at the same place, the longest.
    So the cut does not depend on how the text is cut into pieces.
    """

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = tuple(stops)
        self._held = ""
        self.stopped = False

    def push(self, text: str) -> str:
        """The text that is certain to stay after this piece; may be empty."""
        if self.stopped:
            return ""
        self._held += text
        found = [(place + len(stop), place) for stop in self._stops if (place := self._held.find(stop)) >= 0]
        if found:
            self.stopped = True
            certain = min(found)[1]
        else:
            certain = len(self._held) - self._open()
        passed, self._held = self._held[:certain], "" if self.stopped else self._held[certain:]
        return passed

    def flush(self) -> str:
        """What was held back and has become no stop string."""
        passed, self._held = self._held, ""
        return passed

    def _open(self) -> int:
        """Characters at the end of the text that begin a stop string."""
        longest = min(max(map(len, self._stops), default=1) - 1, len(self._held))
        sizes = range(longest, 0, -1)
        return next((size for size in sizes if any(stop.startswith(self._held[-size:]) for stop in self._stops)), 0)
