"""How long ``danlu clean``, ``tokenizer`` and ``pack`` take for 1 TB of text, foretold from samples: what breaks first.

``python benchmarks/scale.py FOLDER``: text is drawn from the folder's files, in any form that ``clean`` reads, and
cleaned in one process at a few sizes; deciding about near duplicates is measured on made signatures. The last of the
sizes is foretold from the others, as a check. docs/scale.md says what the model takes for granted.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

from process import in_fresh_process
from report import Comparison, NotMeasuredError, compare, run_benchmark, say, say_machine, table
from scale_measures import Cleaned, Decided, Packed, clean, decide, draw_text, packing
from scale_model import DECIDING_BYTES, Forecast, Rates, deciding, fit_line, foretell, foretell_pack, foretell_tokenizer

LITTLE_BYTES = 20_000_000
"""``memory`` of deciding where its memory is measured: so little that it works by files, as on very much text."""
MUCH_BYTES = 32_000_000_000.0
"""``memory`` that a user might give it on a large machine."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, metavar="FOLDER")
    sizes = [4.0, 8.0, 16.0, 24.0]
    documents = [50_000, 100_000, 200_000, 400_000]
    parser.add_argument("--megabytes", type=float, nargs="+", default=sizes, help="of text (default %(default)s)")
    parser.add_argument("--documents", type=int, nargs="+", default=documents, help="decided on (default %(default)s)")
    parser.add_argument("--terabytes", type=float, default=1.0, help="to be foretold (default %(default)s)")
    parser.add_argument("--cores", type=int, nargs="+", default=[8, 64, 512], help="(default %(default)s)")
    parser.add_argument("--cores-per-node", type=int, default=16, help="(default %(default)s)")
    parser.add_argument("--out", type=Path, help="a picture of hours against cores, such as scale.svg")
    options = parser.parse_args()
    if len(set(options.megabytes)) < 3 or min(options.megabytes) <= 0 or len(set(options.documents)) < 3:
        parser.error("--megabytes and --documents need three sizes or more")
    if min(options.documents) < 1000 or min(options.cores) < 1 or options.cores_per_node < 1 or options.terabytes <= 0:
        parser.error("--documents begin at 1000; --cores, --cores-per-node and --terabytes must be above 0")
    return run_benchmark(lambda: measure(options))


def measure(options: argparse.Namespace) -> list[Comparison]:
    """Measure the parts, foretell the whole, and say it."""
    say_machine()
    megabytes, documents = sorted(options.megabytes), sorted(options.documents)
    with TemporaryDirectory(prefix="scale-") as temporary:
        folder = Path(temporary)
        (unpack, drawn), _ = in_fresh_process(draw_text, options.folder, folder / "text", megabytes[-1])
        if drawn < 0.9e6 * megabytes[-1]:
            raise NotMeasuredError(f"{options.folder} has {drawn / 1e6:.1f} MB of text; --megabytes asks for more")
        runs = [in_fresh_process(clean, folder / "text", folder / f"clean-{size}", size) for size in megabytes]
        if len({run.text for run, _ in runs}) < len(runs):
            raise NotMeasuredError(
                "--megabytes: some sizes come to the same shards, for documents are long: further apart"
            )
        packed, _ = in_fresh_process(packing, folder / "text", folder / "pack")
        decided = [in_fresh_process(decide, folder / f"much-{count}", count, DECIDING_BYTES)[0] for count in documents]
        little = [
            in_fresh_process(decide, folder / f"little-{count}", count, LITTLE_BYTES)[0] for count in documents[:3]
        ]
    _say_measured(runs, decided)
    rates = as_rates(runs, decided, little, unpack=unpack, packed=packed)
    _say_rates(rates)
    text = options.terabytes * 1e12
    _say_forecasts(rates, [foretell(rates, text, cores) for cores in sorted(options.cores)], text, options)
    if options.out is not None:
        draw(rates, text, options.out)
        say(f"written: {options.out}")
    return check(runs, decided)


def as_rates(
    runs: Sequence[tuple[Cleaned, int]],
    decided: Sequence[Decided],
    little: Sequence[Decided],
    *,
    unpack: float,
    packed: Packed,
) -> Rates:
    """What the model needs; the start of a process is not counted into what a byte costs."""
    cleaned = [run for run, _ in runs]
    texts = [float(run.text) for run in cleaned]
    largest = cleaned[-1]
    counts = [float(each.documents) for each in decided]
    return Rates(
        document_bytes=largest.text / largest.documents,
        unpack=unpack,
        draft=fit_line(texts, [run.draft for run in cleaned]).slope,
        write=fit_line(texts, [run.write for run in cleaned]).slope,
        hash=median(run.hash / run.text for run in cleaned),
        cut=median(run.cut / run.text for run in cleaned),
        read=packed.read,
        encode=packed.encode,
        gather=packed.gather,
        columns=packed.columns,
        stored=packed.stored,
        decide=fit_line(counts, [each.seconds for each in decided]),
        look_up=median(each.look_up for each in decided),
        drafts=largest.drafts / largest.text,
        kept=largest.kept / largest.text,
        sketches=largest.sketches / largest.documents,
        temporary=max(each.temporary / each.documents for each in decided),
        decide_memory=fit_line([float(each.documents) for each in little], [float(each.memory) for each in little]),
        worker_memory=float(max(peak for _, peak in runs)),
    )  # fmt: skip


def check(runs: Sequence[tuple[Cleaned, int]], decided: Sequence[Decided]) -> list[Comparison]:
    """The largest size of each kind, as the others foretell it, beside what was measured."""
    *texts, (largest, _) = runs
    *counts, most = decided
    draft = fit_line([float(run.text) for run, _ in texts], [run.draft for run, _ in texts]).at(float(largest.text))
    line = fit_line([float(each.documents) for each in counts], [each.seconds for each in counts])
    return [
        compare("drafts of the largest sample: foretold / measured", [draft], [largest.draft], unit="s"),
        compare(
            "deciding on the most: foretold / measured", [line.at(float(most.documents))], [most.seconds], unit="s"
        ),
    ]


def _say_measured(runs: Sequence[tuple[Cleaned, int]], decided: Sequence[Decided]) -> None:
    rows = [["text MB", "documents", "drafts s", "deciding s", "shards s", "drafts MB", "kept MB", "peak MB"]]
    rows += [
        [f"{run.text / 1e6:.1f}", f"{run.documents:,}", f"{run.draft:.2f}", f"{run.decide:.3f}", f"{run.write:.3f}",
         f"{run.drafts / 1e6:.1f}", f"{run.kept / 1e6:.1f}", f"{peak / 1e6:.0f}"]
        for run, peak in runs
    ]  # fmt: skip
    say(f"{table(rows)}\n")
    rows = [["made documents", "deciding s", "temporary MB", "memory MB"]]
    rows += [
        [f"{each.documents:,}", f"{each.seconds:.2f}", f"{each.temporary / 1e6:.0f}", f"{each.memory / 1e6:.0f}"]
        for each in decided
    ]
    say(f"{table(rows)}\n")


def _say_rates(rates: Rates) -> None:
    rows = [["part", "MB/s of text"]]
    rows += [
        ["reading the files as they are, one core", f"{1e-6 / rates.unpack:,.1f}"],
        ["drafts, one core", f"{1e-6 / rates.draft:,.2f}"],
        ["shards, one core", f"{1e-6 / rates.write:,.1f}" if rates.write else "not measurable"],
        ["hash, one process", f"{1e-6 / rates.hash:,.0f}"],
        ["cutting into portions, one process", f"{1e-6 / rates.cut:,.0f}"],
        ["tokenizer: reading the shards, one process", f"{1e-6 / rates.read:,.0f}"],
        ["pack: encoding, one core", f"{1e-6 / rates.encode:,.1f}"],
        ["pack: shards of tokens, one core", f"{1e-6 / rates.gather:,.0f}"],
    ]
    say(f"{table(rows)}\n")
    say(f"a document has {rates.document_bytes:,.0f} bytes, its sketches {rates.sketches:,.0f}, the files of deciding "
        f"{rates.temporary:,.0f}; to open the sketches of a portion takes {rates.look_up * 1e6:.0f} us; pack writes "
        f"{rates.stored:.2f} bytes a byte, and its columns in {rates.columns * 1e6:.1f} us a document\n")  # fmt: skip


def _say_forecasts(rates: Rates, forecasts: Sequence[Forecast], text: float, options: argparse.Namespace) -> None:
    documents = text / rates.document_bytes
    say(f"{text / 1e12:g} TB of text, {documents / 1e6:,.0f} million documents:\n")
    packs = [foretell_pack(rates, text, each.cores) for each in forecasts]
    tokenizer = [foretell_tokenizer(rates, text, each.cores) for each in forecasts[:1]]
    for name, stage in (("clean", forecasts), ("tokenizer, without learning", tokenizer), ("pack, afterwards", packs)):
        say(f"{name}:\n{table(_rows(stage, options.cores_per_node))}\n")
    say(f"shared disk: drafts {rates.drafts * text / 1e12:.2f} TB (sketches {rates.sketches * documents / 1e12:.2f}), "
        f"shards {rates.kept * text / 1e12:.2f}, temporary files {rates.temporary * documents / 1e12:.2f}")  # fmt: skip
    node = rates.worker_memory * options.cores_per_node
    own = rates.decide_memory.at(documents) + DECIDING_BYTES
    say(f"memory: {node / 1e9:.1f} GB a node of {options.cores_per_node} processes; {own / 1e9:.1f} GB to decide, and "
        f"{rates.sketches * documents / 1e9:.0f} GB more for the sketches to stay in the cache of files")  # fmt: skip
    for memory in (DECIDING_BYTES, MUCH_BYTES):
        say(f"deciding with memory {memory / 1e9:.0f} GB: {deciding(rates, text, memory) / 3600:.1f} h")
    say(f"pack: drafts and stores {2 * rates.stored * rates.kept * text / 1e12:.2f} TB of the disk at once\n")


def _rows(forecasts: Sequence[Forecast], cores_per_node: int) -> list[list[str]]:
    parts = [*forecasts[0].shared, *forecasts[0].alone]
    rows = [["cores", "nodes", "hours", "cores at work", *(f"{part} h" for part in parts), "network GB/s", "longest"]]
    for each in forecasts:
        seconds: dict[str, float] = {**each.shared, **each.alone}
        rows.append([
            f"{each.cores:,}", f"{-(-each.cores // cores_per_node):,}", f"{each.seconds / 3600:.1f}",
            f"{each.efficiency:.0%}", *(f"{seconds[part] / 3600:.2f}" for part in parts), f"{each.network / 1e9:.2f}",
            each.longest,
        ])  # fmt: skip
    return rows


def draw(rates: Rates, text: float, path: Path) -> None:
    """Hours against cores, all and by part."""
    from matplotlib.figure import Figure

    cores = [2**power for power in range(12)]
    forecasts = [foretell(rates, text, count) for count in cores]
    lines: dict[str, list[float]] = {
        "all": [each.seconds / 3600 for each in forecasts],
        "what all cores do": [sum(each.shared.values()) / 3600 for each in forecasts],
        "what one process does": [sum(each.alone.values()) / 3600 for each in forecasts],
    }
    figure: Any = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    for name, hours in lines.items():
        axes.loglog(cores, hours, label=name, base=10)
    axes.set_xlabel("cores")
    axes.set_ylabel(f"hours for {text / 1e12:g} TB")
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    figure.savefig(path)


if __name__ == "__main__":
    sys.exit(main())
