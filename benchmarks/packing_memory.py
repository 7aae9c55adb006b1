"""What memory and time a store of many made documents takes, whatever its documents become rows by.

Every way is looked at in a process of its own: it opens the store, makes its rows, reads a step in the middle of the
eighth epoch, and then others here and there.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from process import in_fresh_process
from report import Comparison, compare, say, table

ROW = 2048
BATCH = 16
SEED = 1
EPOCH = 7
STEPS = 20
LISTED = 1_000_000
"""Documents of which lists are made, to reckon what those of all would take."""
SEP = 1


class Taken(NamedTuple):
    """What one way of reading takes."""

    first: float
    """Seconds to the first step, the store opened before."""
    step: float
    """Seconds of a step, on average."""
    own: int
    """Bytes of the process's own in the end."""


def memory(run: Path, documents: int) -> list[Comparison]:
    """Beside what a list of the documents and the int64 arrays of their pieces would take."""
    for name, pairs in (("text", False), ("pairs", True)):
        began = time.perf_counter()
        in_fresh_process(make_store, run / name, documents, pairs)
        say(f"a store of {documents:,} documents, {name}: written in {time.perf_counter() - began:.0f} s")
    opened, _ = in_fresh_process(opening, run / "text")
    say(f"opened in {opened * 1000:.0f} ms")
    rows, most = [["", "seconds to a step of epoch 8", "seconds a step", "MB of its own"]], 0
    for name in WAYS:
        taken, _ = in_fresh_process(look, run, name)
        rows.append([name, f"{taken.first:.3f}", f"{taken.step:.4f}", f"{taken.own / 1e6:.1f}"])
        most = max(most, taken.own)
    say(f"\n{table(rows)}\n")
    listed, _ = in_fresh_process(look_listed, run / "text", min(documents, LISTED))
    lists = listed * documents / min(documents, LISTED)
    say(f"lists of the documents and of their pieces: {lists / 1e6:,.0f} MB")
    return [compare("packing memory: the way that takes most / lists", [most / 1e6], [lists / 1e6], unit="MB")]


def make_store(folder: Path, documents: int, pairs: bool) -> None:
    """Documents of lengths as texts have them, a language in five and a source in ten thousand."""
    import numpy as np

    from danlu.corpus.store_writer import StoreWriter
    from danlu.text.document import Document, pair

    chance = np.random.default_rng(0)
    text, told = pair("", "") if pairs else ("", {})
    with StoreWriter(folder, vocab_size=50_000, eot=0, marks=["sentences"], sep=SEP) as writer:
        for first in range(0, documents, 100_000):
            count = min(100_000, documents - first)
            lengths = np.clip(chance.lognormal(2.5, 1.0, count).astype(np.int64), 3, 5000)
            tokens = chance.integers(2, 50_000, int(lengths.sum())).astype("<u2")
            marks = (chance.random(len(tokens)) < 1 / 16).astype(np.uint8) * 4
            ends = np.cumsum(lengths)
            begins, languages = ends - lengths, chance.integers(0, 5, count).tolist()
            if pairs:
                tokens[begins + chance.integers(1, lengths - 1)] = SEP
            for number, (begin, end) in enumerate(zip(begins.tolist(), ends.tolist(), strict=True)):
                source = f"files/{(first + number) // 10_000}.txt"
                meta = {"language": f"l{languages[number]}", "source": source, **told}
                writer.add(Document(f"{source}#{number}", text, meta), tokens[begin:end], marks[begin:end])


def opening(folder: Path) -> float:
    """Seconds to open a store whose files have been read."""
    from danlu.corpus.store import TokenStore

    began = time.perf_counter()
    TokenStore.open(folder)
    return time.perf_counter() - began


def look(run: Path, way: str) -> Taken:
    """Read some steps."""
    import numpy as np

    from danlu.corpus.store import TokenStore

    name, ready = WAYS[way]
    ready(None)  # imports what it needs, whose memory is not counted
    store = TokenStore.open(run / name)
    chance = np.random.default_rng(1)
    before = own_memory()
    began = time.perf_counter()
    steps, read = ready(store)
    read(round((EPOCH + 0.5) * steps))
    first = time.perf_counter() - began
    began = time.perf_counter()
    for step in chance.integers(0, round((EPOCH + 1) * steps), STEPS).tolist():
        read(step)
    return Taken(first, (time.perf_counter() - began) / STEPS, own_memory() - before)


Ready = Callable[[Any], tuple[float, Callable[[int], Any]]]
"""From a store, or None, to the steps of an epoch and what reads a step."""


def _reading(choice: Callable[[], Any], form: Callable[[], Any]) -> Ready:
    def ready(store: Any) -> tuple[float, Callable[[int], Any]]:
        from danlu.corpus.reading import Size

        reading, shape = choice(), form()
        if store is None:
            return 0.0, lambda step: None
        reader = reading.read(store, shape, None, size=Size(BATCH, BATCH), seed=SEED)

        def read(step: int) -> None:
            for group in reader.batches.groups(step):
                for number in group.numbers:
                    reader.rows[number]

        return reader.steps_per_epoch, read

    return ready


def _next_sentence(store: Any) -> tuple[float, Callable[[int], Any]]:
    """Packed, and for every document another of its language."""
    import numpy as np

    from danlu.objectives.pairs import NextSentence, text_of
    from danlu.objectives.protocol import Shape

    objective = NextSentence()
    if store is None:
        return 0.0, lambda step: None
    from danlu.corpus.reading import Packed, Size

    reader = Packed().read(store, Shape(objective, ROW), None, size=Size(BATCH, BATCH), seed=SEED)  # type: ignore[arg-type]

    def read(step: int) -> None:
        noise = np.random.default_rng(step)
        for group in reader.batches.groups(step):
            for piece in (piece for number in group.numbers for piece in reader.rows[number]):
                objective.both(text_of(piece, short=False, noise=noise), piece, noise)

    return reader.steps_per_epoch, read


def _stream() -> Any:
    from danlu.corpus.reading import Stream

    return Stream()


def _packed() -> Any:
    from danlu.corpus.reading import Packed

    return Packed()


def _bucketed() -> Any:
    from danlu.corpus.reading import Bucketed

    return Bucketed()


def _together() -> Any:
    from danlu.corpus.together import Together

    return Together()


def _by_language() -> Any:
    from danlu.corpus.blend import Blended
    from danlu.corpus.proportions import Temperature

    return Blended(Temperature(), _packed(), batch=BATCH, steps=lambda per_epoch: 10**6)


def _causal() -> Any:
    from danlu.objectives.clm import CausalLM
    from danlu.objectives.protocol import Shape

    return Shape(CausalLM(), ROW)


def _pairs() -> Any:
    from danlu.objectives.protocol import Shape
    from danlu.objectives.seq2seq import Seq2Seq

    return Shape(Seq2Seq(), ROW)


WAYS: dict[str, tuple[str, Ready]] = {
    "stream": ("text", _reading(_stream, _causal)),
    "packed": ("text", _reading(_packed, _causal)),
    "bucketed": ("text", _reading(_bucketed, _causal)),
    "whole documents together": ("text", _reading(_together, _causal)),
    "next sentence prediction, packed": ("text", _next_sentence),
    "pairs, packed": ("pairs", _reading(_packed, _pairs)),
    "pairs, bucketed": ("pairs", _reading(_bucketed, _pairs)),
    "five languages mixed, packed": ("text", _reading(_by_language, _causal)),
}


def look_listed(folder: Path, documents: int) -> int:
    """Memory of so many documents in a list and of the arrays of their pieces."""
    import numpy as np

    from danlu.corpus.documents import chunks
    from danlu.corpus.store import TokenStore

    store, before = TokenStore.open(folder), own_memory()
    listed = list(store.documents[:documents])
    starts = np.array(store.starts[: documents + 1])
    cuts = chunks(TokenStore(store.tokens, starts, listed, store.vocab_size, store.eot), longest=ROW)
    assert len(cuts) >= len(listed)
    return own_memory() - before


def own_memory() -> int:
    """Bytes of main memory that are the process's own, mapped files not among them."""
    known = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines() if ":" in line)
    return int(known["RssAnon"].split()[0]) * 1024
