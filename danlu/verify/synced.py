"""Whether a save relies on what may still be in memory alone: all that it has changed must be synced first."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from danlu.verify.traced import ON_FILES, Call

SYNCS = ("fsync", "fdatasync")
PARTIAL = ".partial"
"""How the name ends that a checkpoint has before it is whole."""


@dataclass
class Synced:
    """Hears the calls of a save, in order; after the last one ``faults`` says what was relied on too early."""

    folder: Path
    """Of the checkpoints."""
    faults: list[str] = field(default_factory=list)
    _calls: int = 0
    _changed: dict[int, int] = field(default_factory=dict)
    """Of files and folders by inode, the last call that changed one."""
    _synced: dict[int, int] = field(default_factory=dict)
    """The same of those that had it written to the disk."""
    _named: int | None = None
    """The call that gave the new checkpoint its name."""

    def hear(self, call: Call) -> None:
        """Take note of a call that is about to be made."""
        self._calls += 1
        if call.name in ON_FILES:
            inode = Path(f"/proc/{call.pid}/fd/{call.arguments[0]}").stat().st_ino
            known = self._synced if call.name in SYNCS else self._changed
            known[inode] = self._calls
            return
        if call.name.startswith("rename") and call.place.parent == self.folder:
            self._hear_of_a_name(call.place)
        if call.place.parent.exists():  # else the system is about to refuse
            self._changed[call.place.parent.stat().st_ino] = self._calls

    def _hear_of_a_name(self, place: Path) -> None:
        if place.name.endswith(PARTIAL):
            late = [
                path.relative_to(place).as_posix() for path in [place, *place.rglob("*")] if not self._is_synced(path)
            ]
            self.faults += [f"{name} is not synced before the checkpoint has its name" for name in late]
            self._named = self._calls
        elif self._named is None:
            self.faults.append(f"{place.name} goes before there is a new one")
        elif self._synced.get(self.folder.stat().st_ino, 0) < self._named:
            self.faults.append(f"{place.name} goes before the name of the new one is synced")

    def _is_synced(self, path: Path) -> bool:
        inode = path.stat().st_ino
        return self._synced.get(inode, 0) > self._changed.get(inode, 0)
