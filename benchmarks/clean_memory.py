"""Memory of ``clean``, ``tokenizer`` and ``pack`` while the text grows sixteenfold: all rules, all kinds of duplicates.

All processes of the command together, what they share counted once (``process_tree.py``). Text is put together anew
from that of ``pretrain/en`` and ``pretrain/zh`` (``clean_corpus.py``) and cleaned in portions of 1 MB, which stand for
the 32 MB of a real run, so that a little text has many of them. Kinds of duplicates decide in as little memory as they
take. Wanted: at most 1.1 times the memory of a sixteenth of the text.

    python benchmarks/clean_memory.py DATA [--megabytes 4] [--cases minhash "one packed file" ...]

where DATA has the folder ``pretrain``.
"""

from __future__ import annotations

import argparse
import gzip
import json
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from clean_corpus import LANGUAGES, make_corpus, mixed, read_blocks
from process import in_fresh_process
from process_tree import run_command
from report import Comparison, compare, run_benchmark, say, say_machine, table

TIMES = (1, 4, 16)
FLAT = 1.1
DECIDING = 20_000_000
"""``memory`` of the kinds of duplicates; a tenth for the rows of evaluation sets."""
PORTION_BYTES = 1_000_000
PIECE = 300
"""Characters of a document of one packed file: many documents tell more of what is kept of each."""
COMMAND = f"""
import sys
import danlu.clean.ngram_index
import danlu.clean.stage
import danlu.corpus.portions
from danlu.cli import main
danlu.clean.stage.PORTION_BYTES = {PORTION_BYTES}
danlu.clean.ngram_index.MEMORY = {DECIDING // 10}
danlu.corpus.portions.FEWEST_BYTES = danlu.corpus.portions.MOST_BYTES = {PORTION_BYTES}
sys.exit(main(sys.argv[1:]))
"""

Section = dict[str, Any]


@dataclass(frozen=True)
class Case:
    """A command on growing text."""

    clean: Callable[[Path, int], Section]
    """From the folder with what rules learn from, and how many times the least the text has, to the section."""
    texts: str = "texts"
    verb: str = "clean"
    more: Mapping[str, Section] = field(default_factory=dict)
    """Other sections; stages before the one that is measured run before it."""


def rules(*which: Any) -> Callable[[Path, int], Section]:
    """A section with these rules, each as it is or made from the folder."""

    def section(folder: Path, times: int) -> Section:
        made = [rule(folder, times) if callable(rule) else rule for rule in which]
        return {"rules": made, "duplicates": []}

    return section


def duplicates(**settings: Any) -> Callable[[Path, int], Section]:
    """A section with this kind of duplicates, and no rule that drops much before it."""
    return lambda folder, times: {"rules": ["empty"], "duplicates": [{**settings, "memory": DECIDING}]}


def lists(folder: Path, _: int) -> Section:
    return {"use": "bad_words", "lists": {"en": str(folder / "words.txt"), "zh": str(folder / "words.txt")}}


def unlikely(folder: Path, _: int) -> Section:
    return {"use": "perplexity", "good": str(folder / "good.txt"), "max_characters": 500_000}


def classified(folder: Path, _: int) -> Section:
    return {"use": "classifier", "good": str(folder / "good.txt"), "bad": str(folder / "bad.txt")}


def decontaminated(folder: Path, times: int) -> Section:
    """Evaluation sets that grow with the text."""
    return {"use": "decontaminate", "files": [str(folder / f"evaluation-{times}.jsonl")]}


def all_duplicates(folder: Path, _: int) -> Section:
    kinds = ["exact", "minhash", "lines", {"use": "substrings", "then": "cut"}]
    each = [kind if isinstance(kind, dict) else {"use": kind} for kind in kinds]
    return {"rules": ["empty"], "duplicates": [{**kind, "memory": DECIDING} for kind in each]}


BPE: Section = {"use": "bpe", "vocab_size": 4096, "sample_bytes": 2_000_000}
CASES: dict[str, Case] = {
    "language": Case(rules({"use": "language", "keep": ["en", "zh"]})),
    "gopher_repetition, gopher_quality": Case(rules("gopher_repetition", "gopher_quality")),
    "c4, fineweb": Case(rules("c4", "fineweb")),
    "bad_words": Case(rules(lists)),
    "private": Case(rules("private")),
    "perplexity": Case(rules(unlikely)),
    "classifier": Case(rules(classified)),
    "decontaminate, sets that grow too": Case(rules(decontaminated)),
    "exact": Case(duplicates(use="exact")),
    "lines": Case(duplicates(use="lines")),
    "minhash": Case(duplicates(use="minhash")),
    "substrings, cut": Case(duplicates(use="substrings", then="cut")),
    "substrings, drop": Case(duplicates(use="substrings", then="drop")),
    "one packed file, all kinds of duplicates": Case(all_duplicates, texts="packed"),
    "tokenizer": Case(rules("empty"), verb="tokenizer", more={"tokenizer": BPE}),
    "pack": Case(rules("empty"), verb="pack", more={"tokenizer": BPE, "pack": {"workers": 2}}),
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="a folder with pretrain/en and pretrain/zh")
    parser.add_argument("--megabytes", type=float, default=4, help="of the least text (default %(default)s)")
    parser.add_argument("--cases", nargs="+", choices=[*CASES], default=[*CASES], help="all by default")
    options = parser.parse_args()
    return run_benchmark(lambda: measure(options.data / "pretrain", options.megabytes, options.cases))


def measure(data: Path, megabytes: float, cases: list[str]) -> list[Comparison]:
    """Make the text, run every command on it, and say what it took."""
    say_machine()
    found: list[Comparison] = []
    rows = [["", *(f"{megabytes * times:g} MB" for times in TIMES), "last / first"]]
    with TemporaryDirectory(prefix="danlu-benchmark-") as temporary:
        work = Path(temporary)
        for times in TIMES:
            in_fresh_process(make_texts, data, work / str(times), megabytes * times)
        in_fresh_process(make_lessons, data, work)
        for name in cases:
            peaks = [peak(CASES[name], work, times) / 1e6 for times in TIMES]
            comparison = compare(f"memory of {name}: the most text / the least", peaks[-1:], peaks[:1], unit="MB")
            rows.append([name, *(f"{each:,.0f}" for each in peaks), f"{comparison.ratio:.2f}"])
            met = "met" if comparison.ratio <= FLAT else "MISSED"
            say(f"{name}: {', '.join(rows[-1][1:-1])} MB, {comparison.ratio:.2f} times: {met}")
            found.append(comparison)
    say(f"\n{table(rows)}\n")
    return found


def peak(case: Case, work: Path, times: int) -> int:
    """Bytes that all processes of the command hold at once at most."""
    run = work / "run"
    shutil.rmtree(run, ignore_errors=True)
    clean = {"sources": [str(work / str(times) / case.texts)], "workers": 2, **case.clean(work, times)}
    recipe = work / "recipe.yaml"
    recipe.write_text(json.dumps({"run_dir": str(run), "clean": clean, **case.more}), encoding="utf-8")
    danlu = [sys.executable, "-c", COMMAND]
    verbs = ["clean", "tokenizer", "pack"]
    for verb in verbs[: verbs.index(case.verb)]:
        run_command([*danlu, verb, str(recipe)])
    return run_command([*danlu, case.verb, str(recipe)]).peak_bytes


def make_texts(data: Path, out: Path, megabytes: float) -> None:
    """``texts``: files of both languages; ``packed``: one packed file of as many short documents as a fourth has."""
    for language in LANGUAGES:
        (out / language).mkdir(parents=True)
        make_corpus(data / language, out / language, language, megabytes / 2)
        (out / "texts").mkdir(exist_ok=True)
        (out / language / "texts").rename(out / "texts" / language)
    (out / "packed").mkdir()
    with gzip.open(out / "packed" / "all.jsonl.gz", "wt", encoding="utf-8", compresslevel=1) as file:
        for text in pieces(out / "texts", megabytes * 1e6 / 4):
            file.write(json.dumps({"text": text}, ensure_ascii=False) + "\n")


def pieces(texts: Path, most: float) -> Iterator[str]:
    """The texts cut into short ones, up to so many bytes."""
    size = 0
    for path in sorted(texts.rglob("*.jsonl")):
        for line in path.open(encoding="utf-8"):
            text = json.loads(line)["text"]
            for start in range(0, len(text), PIECE):
                piece = text[start : start + PIECE]
                size += len(piece.encode())
                if size > most:
                    return
                yield piece


def make_lessons(data: Path, out: Path) -> None:
    """What rules learn from: a list of words, good and bad texts, evaluation sets of 0.25, 1 and 4 MB."""
    import random

    (out / "words.txt").write_text("no such word\n从无此词\n", encoding="utf-8")
    good = list(pieces(out / "1" / "texts", 500_000))
    (out / "good.txt").write_text("".join(f"{' '.join(text.split())}\n" for text in good), encoding="utf-8")
    (out / "bad.txt").write_text("".join(f"{number} buy now {number * 7} !!! $$$\n" for number in range(500)))
    chance = random.Random(0)
    blocks = [block for path in sorted((data / "en").iterdir()) for block in read_blocks(path, "en")]
    made = mixed([blocks], "en", chance)
    for times in TIMES:
        size = 0
        with (out / f"evaluation-{times}.jsonl").open("w", encoding="utf-8") as file:
            while size < 250_000 * times:
                words = next(made).text.split()
                chance.shuffle(words)  # so that nothing of the text is in it
                size += file.write(json.dumps({"question": " ".join(words)}) + "\n")


if __name__ == "__main__":
    sys.exit(main())
