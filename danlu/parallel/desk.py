"""Where the caller of a training that runs elsewhere and its workers leave each other word: lines, ends, when to stop.

A desk waits for nobody; those who expect something ask again.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class End:
    """How a worker came to its end."""

    code: int = 0
    """The exit code that it would have left with."""
    message: str = ""
    """The error's line, of a worker whose error has not been shown yet."""


@dataclass(frozen=True, slots=True)
class Line:
    """Something to show, without its line end."""

    text: str
    error: bool
    """Whether it belongs on standard error."""


@dataclass(frozen=True, slots=True)
class News:
    """What the caller has not seen yet, and what there is to know of workers, by rank."""

    lines: list[Line]
    names: dict[int, str]
    ends: dict[int, End]


@dataclass
class Desk:
    """What has been left for the others."""

    _names: dict[int, str] = field(default_factory=dict)
    _ends: dict[int, End] = field(default_factory=dict)
    _lines: list[Line] = field(default_factory=list)
    _meeting: tuple[str, int] | None = None
    _signal: int = 0

    def begin(self, rank: int, name: str) -> None:
        """A worker is there."""
        self._names[rank] = name

    def invite(self, address: str, port: int) -> None:
        """Where all ranks shall meet, said by rank 0."""
        self._meeting = (address, port)

    def meeting(self) -> tuple[str, int] | None:
        """Where to meet; None while nobody has said so."""
        return self._meeting

    def tell(self, line: Line) -> None:
        """Have the caller show a line."""
        self._lines.append(line)

    def end(self, rank: int, end: End) -> None:
        """A worker has come to its end."""
        self._ends[rank] = end

    def asked(self) -> int:
        """The signal that asks the workers to stop; 0 while none did."""
        return self._signal

    def news(self, signal: int) -> News:
        """For the caller, who says at the same time which signal it has received."""
        self._signal = signal
        lines, self._lines = self._lines, []
        return News(lines, dict(self._names), dict(self._ends))
