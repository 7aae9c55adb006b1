"""Raw text to clean documents: ``danlu clean`` beside ``datatrove`` with the same rules in as many processes.

Claims, for English and for Chinese text: at least 3 times the megabytes a second; memory that is flat while the text
grows fourfold; of planted copies at least 0.98 fall, and of what falls as a copy at least 0.99 is one.

The text is that of ``pretrain/en`` and ``pretrain/zh`` of a folder, put together anew (``clean_corpus.py``). Both read
the same files and write JSON lines; both are timed from the start of a process to its end: normalising, language,
Gopher's rules, C4's rules, private data, MinHash. What differs:

- Danlu looks for all kinds of private data, datatrove for addresses of e-mail and of the Internet;
- Danlu's near duplicates share half of their pieces, datatrove's about 0.72 of their five-word pieces (its defaults);
  by either way copies are found of which one word of 12 differs or less, but datatrove finds few of the worst;
- what datatrove lacks without a network, and for Chinese, it is given (``clean_peer.py``), all of it in its favour.

    pip install 'datatrove==0.10.1' loguru humanize multiprocess xxhash orjson regex
    python benchmarks/clean.py DATA [--megabytes 500] [--repeats 2] [--work FOLDER]

where DATA has the folder ``pretrain``. A short run: ``--megabytes 40 --repeats 1``.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from clean_corpus import LANGUAGES, make_corpus
from clean_scores import Scores, danlu_scores, peer_scores
from process import in_fresh_process
from process_tree import Ran, run_command
from report import Comparison, NotMeasuredError, compare, run_benchmark, say, say_machine, table

PEER = Path(__file__).with_name("clean_peer.py")
DECIDING = 100_000_000
"""Bytes that deciding which documents are copies may take; by default 1 GB, which this much text does not fill."""
SPEED, FLAT, RECALL, PRECISION = 3.0, 1.1, 0.98, 0.99
"""What is wanted."""


@dataclass(frozen=True)
class Plan:
    """What is measured."""

    source: Path
    work: Path
    megabytes: float
    """Of both languages."""
    repeats: int
    """Of Danlu; the peer, which takes most of the time, runs once."""
    processes: int

    def corpus(self, language: str) -> Path:
        """Where the text of a language is."""
        return self.work / f"{language}-{self.megabytes:g}"


@dataclass(frozen=True)
class Measured:
    """Of one language."""

    megabytes: float
    ours: list[Ran]
    quarter: Ran
    peer: Ran
    our_scores: Scores
    peer_scores: Scores


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="a folder with pretrain/en and pretrain/zh")
    parser.add_argument(
        "--megabytes", type=float, default=500, help="of text, half of it Chinese (default %(default)s)"
    )
    parser.add_argument("--repeats", type=int, default=2, help="how often Danlu runs (default %(default)s)")
    parser.add_argument("--processes", type=int, default=2, help="of both (default %(default)s)")
    parser.add_argument("--work", type=Path, help="keep the made text here, and use it the next time")
    options = parser.parse_args()
    with _folder(options.work) as work:
        plan = Plan(options.data / "pretrain", work, options.megabytes, options.repeats, options.processes)
        return run_benchmark(lambda: measure(plan))


@contextmanager
def _folder(kept: Path | None) -> Iterator[Path]:
    if kept is not None:
        kept.mkdir(parents=True, exist_ok=True)
        yield kept
        return
    with TemporaryDirectory(prefix="danlu-benchmark-") as folder:
        yield Path(folder)


def measure(plan: Plan) -> list[Comparison]:
    """Make the text, let both clean it in turn, and count."""
    if importlib.util.find_spec("datatrove") is None:
        raise NotMeasuredError("datatrove is not installed; see --help")
    say_machine()
    for language in LANGUAGES:
        corpus = plan.corpus(language)
        if not (corpus / "key.jsonl").exists():
            shutil.rmtree(corpus, ignore_errors=True)
            corpus.mkdir()
            in_fresh_process(make_corpus, plan.source / language, corpus, language, plan.megabytes / 2)
    measured = {language: measure_language(plan, language) for language in LANGUAGES}
    say_results(measured)
    return comparisons(measured)


def measure_language(plan: Plan, language: str) -> Measured:
    """Danlu, the peer, and Danlu again; then Danlu on a quarter of the files."""
    corpus = plan.corpus(language)
    texts, out = corpus / "texts", plan.work / "out"
    key = [json.loads(line) for line in (corpus / "key.jsonl").open(encoding="utf-8")]
    size = sum(path.stat().st_size for path in texts.rglob("*.jsonl")) / 1e6
    ours = [run_danlu(texts, out, language, plan.processes)]
    our_scores = danlu_scores(out / "clean", key)
    _said(f"{language}: Danlu", size, ours[-1])
    peer = run_peer(texts, out, language, plan.processes)
    theirs = peer_scores(out, key)
    _said(f"{language}: datatrove", size, peer)
    for _ in range(1, plan.repeats):
        ours.append(run_danlu(texts, out, language, plan.processes))
        _said(f"{language}: Danlu", size, ours[-1])
    quarter = run_danlu(texts / "first", out, language, plan.processes)
    _said(f"{language}: Danlu, a quarter", size / 4, quarter)
    shutil.rmtree(out)
    return Measured(size, ours, quarter, peer, our_scores, theirs)


def run_danlu(texts: Path, out: Path, language: str, processes: int) -> Ran:
    """``danlu clean`` to ``out/clean``."""
    shutil.rmtree(out, ignore_errors=True)
    rules = [{"use": "language", "keep": [language]}, "gopher_repetition", "gopher_quality", "c4", "private"]
    copies = {"use": "minhash", "memory": DECIDING}
    clean = {"sources": [str(texts)], "workers": processes, "rules": rules, "duplicates": [copies]}
    recipe = out.with_name("recipe.yaml")
    recipe.write_text(json.dumps({"run_dir": str(out), "clean": clean}))
    return run_command([sys.executable, "-m", "danlu", "clean", str(recipe)])


def run_peer(texts: Path, out: Path, language: str, processes: int) -> Ran:
    """``datatrove`` to ``out/ruled`` and ``out/kept``."""
    shutil.rmtree(out, ignore_errors=True)
    return run_command([sys.executable, str(PEER), language, str(texts), str(out), str(processes)])


def _said(who: str, megabytes: float, ran: Ran) -> None:
    say(f"{who}: {ran.seconds:.1f} s, {megabytes / ran.seconds:.2f} MB/s, {ran.peak_bytes / 1e6:,.0f} MB of memory")


def say_results(measured: Mapping[str, Measured]) -> None:
    """Print what became of the documents, and of the planted copies."""
    rows: list[Sequence[str]] = [("", "documents", "by rules", "as copies", "kept", "recall", "to 3 %", "precision")]
    for language, each in measured.items():
        for who, scores in (("Danlu", each.our_scores), ("datatrove", each.peer_scores)):
            counts = (scores.documents, scores.documents - scores.ruled, scores.fallen, scores.ruled - scores.fallen)
            shares = (scores.recall, scores.light_recall, scores.precision)
            rows.append((f"{language}: {who}", *map(str, counts), *(f"{share:.4f}" for share in shares)))
    say(f"\n{table(rows)}\n")


def comparisons(measured: Mapping[str, Measured]) -> list[Comparison]:
    """The claims, each with whether it was met."""
    found: list[Comparison] = []

    def claim(comparison: Comparison, value: float, wanted: float, *, most: bool = False) -> None:
        met = value <= wanted if most else value >= wanted
        bound = "most" if most else "least"
        say(f"{comparison.benchmark}: {value:.4g}; wanted at {bound} {wanted:g}: {'met' if met else 'MISSED'}")
        found.append(comparison)

    for language, each in measured.items():
        ours = [each.megabytes / ran.seconds for ran in each.ours]
        speed = compare(
            f"clean {language} speed: Danlu / datatrove",
            ours,
            [each.megabytes / each.peer.seconds] * len(ours),
            unit="MB/s",
        )
        claim(speed, speed.ratio, SPEED)
        peaks, before = [ran.peak_bytes / 1e6 for ran in each.ours], each.quarter.peak_bytes / 1e6
        flat = compare(f"clean {language} memory: Danlu / on a quarter", peaks, [before] * len(peaks), unit="MB")
        claim(flat, flat.ratio, FLAT, most=True)
        peer = [each.peer.peak_bytes / 1e6] * len(peaks)
        found.append(compare(f"clean {language} memory: Danlu / datatrove", peaks, peer, unit="MB"))
        for name, wanted in (("recall", RECALL), ("precision", PRECISION)):
            mine, theirs = (getattr(scores, name) for scores in (each.our_scores, each.peer_scores))
            share = compare(f"clean {language} {name}: Danlu / datatrove", [mine], [theirs], unit="share")
            claim(share, mine, wanted)
    return found


if __name__ == "__main__":
    sys.exit(main())
