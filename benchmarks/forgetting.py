"""What continued pretraining forgets, and how much of it replay keeps: books first, then technical prose.

A small decoder of our own learns English books. From there pretraining goes on for a fixed number of steps on another
domain, with none, a tenth and a quarter of the rows from the books again, each with several seeds. What is told is the
measure ``forgetting`` of ``evaluate``: the loss of held-out text of both domains before and after, of documents that
neither training has read. Steps are the same for all, so that what is replayed is taken from the new domain; each token
counts the same, or with --equal each text, however little of it is read.

The claim: with replay the old domain's loss is lower than without, which is the peer here; what that costs of the new
domain stands beside it. The folder must have pretrain/en/books_en.jsonl.gz and the file of --to.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from tempfile import TemporaryDirectory
from typing import Any

from process import in_fresh_process
from report import Comparison, NotMeasuredError, compare, run_benchmark, say, say_machine, table

BOOKS, DOCS = "pretrain/en/books_en.jsonl.gz", "pretrain/en/docs_en.jsonl.gz"
ROWS = {"sequence": 256, "batch": 16, "evaluations": 3}


@dataclass(frozen=True)
class Setting:
    """What the command line says."""

    data: Path
    to: str
    layers: int
    dim: int
    minutes: float
    first_steps: int | None
    steps: int
    lr: float
    heldout: float
    shares: tuple[float, ...]
    equal: bool
    seeds: int

    @property
    def old(self) -> Path:
        return self.data / BOOKS

    @property
    def new(self) -> Path:
        return self.data / self.to


Texts = dict[str, dict[str, Any]]
"""Of ``forgetting.json``: the figures of old and new."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="the folder with pretrain/")
    parser.add_argument("--to", default=DOCS, help="the file of the other domain, in that folder (default %(default)s)")
    parser.add_argument("--layers", type=int, default=4, help="of the model (default %(default)s)")
    parser.add_argument("--dim", type=int, default=256, help="its width (default %(default)s)")
    parser.add_argument("--minutes", type=float, default=10, help="of the first training (default %(default)s)")
    parser.add_argument("--first-steps", type=int, help="of the first training, in place of minutes")
    parser.add_argument("--steps", type=int, default=400, help="of each further training (default %(default)s)")
    parser.add_argument("--lr", type=float, default=5e-4, help="of AdamW there (default %(default)s)")
    parser.add_argument("--heldout", type=float, default=0.02, help="share of the documents (default %(default)s)")
    parser.add_argument("--shares", type=float, nargs="+", default=[0.0, 0.1, 0.25],
                        help="of the rows that are replayed; 0 is among them (default %(default)s)")  # fmt: skip
    parser.add_argument("--equal", action="store_true",
                        help="the replay counts as much as the other text, not each token the same")  # fmt: skip
    parser.add_argument("--seeds", type=int, default=3, help="of further trainings (default %(default)s)")
    options = parser.parse_args()
    if 0 not in options.shares or len(options.shares) < 2 or not all(0 <= share < 1 for share in options.shares):
        parser.error("--shares must be 0 and others below 1")
    named = {name: value for name, value in vars(options).items() if name not in ("data", "shares")}
    setting = Setting(data=options.data.resolve(), shares=tuple(sorted(set(options.shares))), **named)
    return run_benchmark(lambda: measure(setting))


def measure(setting: Setting) -> list[Comparison]:
    """The first training, and from it all further ones, seed by seed."""
    say_machine()
    for file in (setting.old, setting.new):
        if not file.is_file():
            raise NotMeasuredError(f"{file} is missing")
    found: dict[float, list[Texts]] = {share: [] for share in setting.shares}
    with TemporaryDirectory(prefix="forgetting-") as temporary:
        folder, _ = in_fresh_process(first, setting, Path(temporary) / "first")
        for seed in range(1, setting.seeds + 1):
            for share in setting.shares:
                texts, _ = in_fresh_process(further, setting, folder, Path(temporary) / f"seed-{seed}", share, seed)
                found[share].append(texts)
                changes = ", ".join(f"{name} {text['change']:+.4f}" for name, text in texts.items())
                say(f"seed {seed}, replay {share:.0%}: {changes} nats a token")
    return report(found)


def first(setting: Setting, run: Path) -> Path:
    """Learn the old domain; the model's folder."""
    minutes, steps = setting.minutes, setting.first_steps
    _run(run, {
        **prepared(setting, setting.old),
        "tokenizer": {"use": "bpe", "vocab_size": 4096, "sample_bytes": 20_000_000},
        "pretrain": {
            "model": {"use": "gpt", "layers": setting.layers, "dim": setting.dim},
            "budget": {"minutes": minutes} if steps is None else {"steps": steps}, **ROWS,
        },
    })  # fmt: skip
    return run / "pretrain/model"


def further(setting: Setting, folder: Path, run: Path, share: float, seed: int) -> Texts:
    """Go on with that share of the old domain among the rows; one more share in a run prepares nothing anew."""
    parts = {"new": (1 - share, setting.new), "old": (share, setting.old)}
    tasks = {
        name: {
            "objective": "clm",
            "share": part,
            "weight": 1 if setting.equal or not part else part,
            "documents": {"source": file.name},
        }
        for name, (part, file) in parts.items()
    }
    _run(run, {
        **prepared(setting, setting.old, setting.new), "seed": seed,
        "tokenizer": {"use": "folder", "path": str(folder)},
        "pretrain": {
            "model": {"use": "folder", "path": str(folder)}, "objective": {"use": "multitask", "tasks": tasks},
            "optimizer": {"use": "adamw", "lr": setting.lr}, "budget": {"steps": setting.steps}, **ROWS,
        },
        "evaluate": {"tasks": ["forgetting"]},
    })  # fmt: skip
    texts: Texts = json.loads((run / "evaluate/forgetting.json").read_text(encoding="utf-8"))["texts"]
    return texts


def prepared(setting: Setting, *files: Path) -> dict[str, Any]:
    """Documents, cut and parted in the same way for both trainings: what the first holds out, the second does too."""
    documents = {"use": "blocks", "characters": 4000}
    return {
        "clean": {"sources": [{"path": str(file), "documents": documents} for file in files]},
        "pack": {"split": {"use": "hash", "fraction": setting.heldout}},
    }


def _run(run: Path, sections: dict[str, Any]) -> None:
    from danlu.errors import DanluError
    from danlu.recipe import load_recipe
    from danlu.runs import run_stages

    recipe = run.with_suffix(".yaml")
    recipe.write_text(json.dumps({**sections, "run_dir": str(run)}), encoding="utf-8")  # JSON is YAML
    try:
        loaded = load_recipe(recipe)
        run_stages(loaded, list(loaded.sections), begin=lambda _: None)
    except DanluError as error:
        raise NotMeasuredError(str(error)) from error


def report(found: dict[float, list[Texts]]) -> list[Comparison]:
    """A table of both domains, and each share beside none."""
    rows = [["replay", "text", "tokens", "before", "after", "change", "least to greatest", "95 % of seed 1"]]
    for share, runs in found.items():
        for name in ("old", "new"):
            one, changes = runs[0][name], [texts[name]["change"] for texts in runs]
            bounds = one["change_95"]
            rows.append([
                f"{share:.0%}", name, f"{one['targets']:,}", f"{one['before']:.4f}",
                f"{mean(_after(runs, name)):.4f}", f"{mean(changes):+.4f}",
                f"{min(changes):+.4f} to {max(changes):+.4f}", f"{bounds[0]:+.4f} to {bounds[1]:+.4f}",
            ])  # fmt: skip
    say(f"\n{table(rows)}\n")
    comparisons = []
    for share in (share for share in found if share):
        both = {name: (_after(found[share], name), _after(found[0.0], name)) for name in ("old", "new")}
        beyond = {name: mean(ours) - mean(peer) for name, (ours, peer) in both.items()}
        old, new = (
            compare(f"loss of the {name} domain: replay {share:.0%} / none", ours, peer, unit="nats a token")
            for name, (ours, peer) in both.items()
        )
        met = "met" if old.spread[1] < 1 else "MISSED"
        say(f"replay {share:.0%}: {beyond['old']:+.4f} nats of the old domain and {beyond['new']:+.4f} of the new one, "
            f"beside none; wanted less of the old one with every seed: {met}")  # fmt: skip
        comparisons += [old, new]
    return comparisons


def _after(runs: Sequence[Texts], name: str) -> list[float]:
    return [texts[name]["after"] for texts in runs]


if __name__ == "__main__":
    sys.exit(main())
