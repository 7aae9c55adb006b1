"""Joining the other processes of a training and leaving them; what ranks tell each other outside of gradients."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import torch
import torch.distributed as dist
from torch._C._distributed_c10d import PrefixStore

from danlu.errors import DanluError, InputError, Interrupted
from danlu.parallel import telling
from danlu.parallel.meeting import meet
from danlu.parallel.patience import Watch
from danlu.parallel.verdict import LOST, in_short, say
from danlu.parallel.watch import BEAT, Watchman
from danlu.parallel.world import World
from danlu.ticks import heard

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

T = TypeVar("T")
Number = TypeVar("Number", int, float)
FOREVER = timedelta(days=30)
"""Of a collective call: the watch ends a wait for a rank that will not come, and knows better which."""
NETWORK = ("connection", "socket", "gloo", "nccl", "peer")
"""Of the errors that torch raises where another rank is gone."""


def _locks_of_the_compiler() -> Callable[[], Path]:
    """What tells their folder. It is imported here, and not by the watch, which would wait for it."""
    from torch._inductor.codecache import get_lock_dir  # which costs seconds where nothing is compiled

    return lambda: Path(get_lock_dir())


@dataclass
class Aside:
    """What a rank says along with all else that it tells, and what all have said last."""

    say: Callable[[], Any] = lambda: None
    told: list[Any] = field(default_factory=list)


@dataclass(frozen=True)
class Ranks:
    """The processes of a training, seen from one of them; with ``ALONE`` nothing is sent anywhere."""

    rank: int = 0
    size: int = 1
    watch: Watchman | None = None
    _aside: Aside = field(default_factory=Aside)

    @property
    def first(self) -> bool:
        """Whether this is the rank that writes: run folder, checkpoints, metrics, lines for people."""
        return self.rank == 0

    def sum(self, values: Mapping[str, Number]) -> dict[str, Number]:
        """Name by name over all ranks, in the order of ranks; a rank may lack a name. Whole numbers stay whole."""
        return added(self.all(dict(values)))

    def all(self, value: T) -> list[T]:
        """What every rank has, by rank."""
        if self.size == 1:
            return [value]
        with self.meeting():
            told = telling.gather((value, self._aside.say()), self.size)
        self._aside.told = [said for _, said in told]
        return [each for each, _ in told]

    def mention(self, say: Callable[[], T]) -> Callable[[], list[T]]:
        """Have ``say()`` go along with whatever :meth:`all` and :meth:`sum` tell, which costs no call of its own.

        Returns:
            what each rank has said so last, by rank: the same on all ranks, and in time for the next step.
        """
        if self.size == 1:
            return lambda: [say()]
        self._aside.say = say
        self.all(None)
        return lambda: self._aside.told

    def from_first(self, value: T) -> T:
        """What rank 0 has: for whatever depends on a clock, a disk or a signal, and must be the same everywhere."""
        return self.told(value)

    def told(self, value: T) -> T:
        """What rank 0 says next, however long it works before."""
        if self.size == 1:
            return value
        with self.meeting():
            result: T = telling.broadcast(value, speaks=self.first)
        return result

    def alone_of(self, some: Sequence[int]) -> str:
        """The names of ``some`` ranks; empty where it is none or all of them, which says nothing of any."""
        if self.watch is None or not 0 < len(some) < self.size:
            return ""
        return " and ".join(self.watch.names[rank] for rank in some)

    def meeting(self) -> AbstractContextManager[None]:
        """Where all ranks meet: around collective calls, so that the watch knows who waits there for whom."""
        return self.watch.work.meeting() if self.watch is not None else nullcontext()

    def send(self, tensor: torch.Tensor, rank: int) -> None:
        """Give a rank a tensor that it waits for."""
        with self._exchange(rank):
            dist.send(tensor.contiguous(), rank)

    def receive(self, shape: Sequence[int], dtype: torch.dtype, rank: int) -> torch.Tensor:
        """The tensor that a rank sends, which has this shape and type."""
        received = torch.empty(tuple(shape), dtype=dtype)
        with self._exchange(rank):
            dist.recv(received, rank)
        return received

    def _exchange(self, rank: int) -> AbstractContextManager[None]:
        return self.watch.work.exchange(rank) if self.watch is not None else nullcontext()

    def tick(self) -> None:
        """Tell the watch that a micro-batch is done."""
        if self.watch is not None:
            self.watch.work.tick()

    def step(self) -> None:
        """Tell the watch that a step is done."""
        if self.watch is not None:
            self.watch.work.step()

    def training(self) -> AbstractContextManager[None]:
        """While step follows step."""
        return self.watch.work.training() if self.watch is not None else nullcontext()

    def look_at_the_compiler(self) -> None:
        """Have the watch know when ``torch.compile`` works."""
        if self.watch is not None:
            from torch._dynamo.callback import callback_handler  # which costs seconds where nothing is compiled

            self.watch.work.locks = _locks_of_the_compiler()
            compiles = self.watch.work.compiles
            callback_handler.register_start_callback(lambda _: compiles(is_so=True))
            callback_handler.register_end_callback(lambda _: compiles(is_so=False))

    @contextmanager
    def compiling(self) -> Iterator[None]:
        """While a compiler may work of which torch does not tell."""
        if self.watch is None:
            yield
            return
        self.watch.work.compiles(is_so=True)
        try:
            self.watch.work.locks = _locks_of_the_compiler()
            yield
        finally:
            self.watch.work.compiles(is_so=False)

    def elsewhere(self, *, is_so: bool) -> None:
        """Tell the watch whether this rank does what is no part of training."""
        if self.watch is not None:
            self.watch.work.elsewhere(is_so=is_so)

    def alone(
        self, what: str, *, moves: int | None = None, again: bool = False, call: float = 0.0
    ) -> AbstractContextManager[None]:
        """While one rank does something that the others wait for.

        Args:
            what: in words, should it hang there: "it" ``what``.
            moves: bytes that it writes or reads, where it does nothing else, as in a save.
            again: whether it has done the same before, by the same name, and so takes about as long.
            call: seconds that a call outside Python may take in it.
        """
        if self.watch is None:
            return nullcontext()
        return self.watch.work.alone(what, moves=moves, again=again, call=call)

    def alike(self, what: str) -> AbstractContextManager[None]:
        """While each rank does the same for itself, such as measuring, and so takes about as long as the others."""
        return self.watch.work.alike(what) if self.watch is not None else nullcontext()


def added(tables: Iterable[Mapping[str, Number]]) -> dict[str, Number]:
    """Tables of numbers, added up name by name."""
    total: dict[str, Number] = {}
    for table in tables:
        for name, value in table.items():
            total[name] = total.get(name, 0) + value
    return total


ALONE = Ranks()
_together: list[Ranks] = [ALONE]


def here() -> Ranks:
    """The ranks that this process is one of."""
    return _together[-1]


@contextmanager
def joined(world: World | None, watch: Watch) -> Iterator[Ranks]:
    """The ranks of ``world`` while they are together; ``ALONE``, and no ``torch.distributed``, where there is none.

    An error that a user can mend, raised on one rank or on all, is shown once, and ends every rank with its exit code.

    Raises:
        InputError: the others did not come.
    """
    if world is None:
        yield ALONE
        return
    watchman, store = meet(world, watch)
    watchman.begin()  # before the first collective call, which would wait for ever for a rank that has died meanwhile
    _together.append(Ranks(world.rank, world.size, watchman))
    try:
        _connect_all(world, store, watchman)
        with heard(watchman.work.tick):
            yield here()
    except Interrupted as stop:
        watchman.end()
        if world.rank == 0:  # all ranks stop after the same step, and one of them says so
            raise
        raise SystemExit(stop.exit_code) from None
    except DanluError as error:
        time.sleep(BEAT * (world.rank != 0))  # what all have alike rank 0 says
        first = watchman.blame(str(error), error.exit_code)
        watchman.end()
        if first and world.rank == 0:
            raise
        if first:
            print(f"danlu: error: on {watchman.name}: {error}", file=sys.stderr, flush=True)
        raise SystemExit(error.exit_code) from None
    except KeyboardInterrupt:
        time.sleep(BEAT * (world.rank != 0))  # where it came to all, rank 0 says so
        problem = f"{watchman.name} was stopped by Ctrl-C"
        if watchman.blame(problem, LOST) and world.rank != 0:
            say(problem)
        raise
    except BaseException as error:
        if isinstance(error, RuntimeError) and any(word in str(error).lower() for word in NETWORK):
            watchman.wait_for_verdict()  # where none comes, no other rank is lost, and it is this one that has failed
        problem = f"{watchman.name} failed ({in_short(error)})"
        if watchman.blame(problem, LOST) and isinstance(error, Exception):
            say(problem)
        raise
    else:
        try:
            watchman.wait_for_all()
        except RuntimeError:
            watchman.wait_for_verdict()
            raise
        watchman.end()
    finally:
        _together.pop()
        if dist.is_initialized():
            with watchman.leaving():
                dist.destroy_process_group()


def _connect_all(world: World, store: PrefixStore, watchman: Watchman) -> None:
    """Have ``torch.distributed`` connect each rank with all others, which have met.

    Raises:
        InputError: it cannot, though none of them is lost.
    """
    try:
        with watchman.work.meeting():
            dist.init_process_group(
                "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo",
                store=PrefixStore("connect", store), rank=world.rank, world_size=world.size, timeout=FOREVER,
            )  # fmt: skip
    except (dist.DistError, RuntimeError) as error:
        watchman.wait_for_verdict()
        first = str(error).splitlines()[0]
        raise InputError(f"rank {world.rank} of {world.size} cannot connect with the others: {first}") from error
    if torch.cuda.is_available():
        with watchman.work.alike("connects with its GPU"):
            torch.cuda.set_device(world.local_rank)
