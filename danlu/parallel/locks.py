"""Who has a lock on the files of a folder, as the compiler's cache has them: others wait for it and do nothing."""

from __future__ import annotations

import contextlib
from pathlib import Path

LOCKS = Path("/proc/locks")


def holders(folder: Path) -> set[int]:
    """The numbers of the processes that have locked a file in ``folder``.

    Empty where the system does not tell, as other systems than Linux, or of locks that another machine has.
    """
    files = set[int]()
    try:
        lines = [line.split() for line in LOCKS.read_text().splitlines()]
        for path in folder.iterdir():
            with contextlib.suppress(FileNotFoundError):  # it has gone meanwhile
                files.add(path.stat().st_ino)
    except OSError:  # no such folder yet
        return set()
    # 1: FLOCK  ADVISORY  WRITE 24035 fe:00:3064247 0 EOF; who waits has an arrow before the kind
    return {int(line[4]) for line in lines if line[1] != "->" and int(line[5].rpartition(":")[2]) in files}
