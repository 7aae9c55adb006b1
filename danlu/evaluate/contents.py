"""What a report says: sections of tables, pictures, samples, taken from the plain files of a run folder.

Every part stands on its own: a stage that has not run leaves its section out. Nothing here imports torch.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from danlu.evaluate.browser import Browser
from danlu.files import read_json, read_jsonl
from danlu.log import duration
from danlu.run_folder import RunFolder
from danlu.stage import Figures

HARDEST_DOCUMENTS = 3
"""Documents of each language that are shown as the hardest to foresee."""

LABELS = {
    "parameters": "parameters",
    "steps": "steps",
    "tokens": "tokens seen",
    "epochs": "passes over the training part",
    "unused_tokens": "tokens of it that the objective can make nothing of, in too short pieces",
    "seconds": "training time",
    "tokens_per_second": "tokens per second",
    "loss": "training loss of the last step",
    "best_step": "step of the lowest held-out loss, whose weights are the model",
    "stopped_early": "whether it ended early, for it gained no more",
    "setbacks": "times it went back to a checkpoint, for it had diverged",
    "precision": "precision",
    "compilation": "compilation",
    "hidden_size": "width",
    "num_hidden_layers": "layers",
    "num_attention_heads": "query heads",
    "num_key_value_heads": "key and value heads",
    "head_dim": "width of a head",
    "intermediate_size": "width inside the MLP",
    "vocab_size": "vocabulary",
    "max_position_embeddings": "longest row, tokens",
    "tie_word_embeddings": "head tied to embedding",
    "model_type": "family",
}
"""Figures and settings in words; a figure without a line here is shown by its own name."""


PARTS = {
    "norms": ("norm", "LayerNorm", "ln_"),
    "embedding": ("embed", "wte", "wpe", "shared."),
    "head": ("lm_head", "classifier", "pooler", "score.", "qa_outputs", "cls.", "head."),
    "attention": ("attn", "ttention"),
    "MLP": ("mlp", "intermediate", "output.dense", "fc1", "fc2", "DenseReluDense"),
}
"""What the names of a part's tensors have in them; the first that fits counts."""
SHOWN_PARTS = ("embedding", "attention", "MLP", "norms", "head")


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of text; the first ``texts`` columns read left to right, the others are numbers."""

    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    texts: int = 1
    title: str = ""
    wide: bool = False
    """Whether facts (a table without a head) have a line each."""


@dataclass(frozen=True, slots=True)
class Sample:
    """A text that the model wrote behind ``prompt``."""

    prompt: str
    text: str
    language: str


@dataclass(frozen=True, slots=True)
class Section:
    """A heading and what stands below it; ``pictures`` are names of charts."""

    title: str
    note: str = ""
    pictures: Sequence[str] = ()
    tables: Sequence[Table] = ()
    samples: Sequence[Sample] = ()
    browser: Browser | None = None


def heldout_section(run: RunFolder, *, apart: Collection[str] = ()) -> Section | None:
    """Held-out figures by language, and the documents that were hardest to foresee.

    Args:
        apart: groups of figures that have a section of their own.
    """
    figures, summary = run.figures("evaluate"), read_json(run.stage("evaluate") / "perplexity.json")
    if not figures:
        return None
    if summary is None:
        known = (run.stage("evaluate") / "objective.json").exists()  # which has a section of its own
        others = {name: value for name, value in figures.items() if name.partition(".")[0] not in apart}
        return None if known or not others else Section("Held-out documents", tables=[facts(others)])
    head = (
        "language", "documents", "tokens", "nats per token", "bits per byte", "95 % interval", "perplexity", "accuracy",
    )  # fmt: skip
    baseline = summary.get("baseline")
    rows = []
    for language, group in _groups(summary).items():
        counts = (f"{group['documents']:,}", f"{group['tokens']:,}")
        rows.append((language, *counts, *_losses(group)))
        if baseline is not None:
            rows.append((f"{baseline['order']}-gram", "", "", *_losses(_groups(baseline)[language])))
    note = (
        f"Every token of the held-out documents, in float32, in rows of {summary['row_tokens']:,} "
        f"{_overlap(summary)}; "
        "documents do not see each other. Bits per byte include what it costs to foresee each document's end. "
        f"The interval is a bootstrap over documents ({summary['resamples']:,} draws). "
        "Accuracy: how often the most likely token was the right one."
    )
    note += _about_unknown(summary)
    if baseline is not None:
        note += f" {_about_baseline(baseline)}"
    hardest = _hardest(run.stage("evaluate") / "perplexity_documents.jsonl")
    return Section("Held-out documents", note=note, tables=[Table(head, rows), *hardest])


def _overlap(summary: Mapping[str, Any]) -> str:
    if (stride := summary.get("stride")) in (None, summary["row_tokens"]):
        return "that do not overlap"
    return f"that begin {many(stride, 'token')} behind each other, each token scored once"


def _about_unknown(summary: dict[str, Any]) -> str:
    share = summary["all"].get("unknown_share")
    told = f" {share or 0:.2%} of the tokens stand for text that the tokenizer does not know, and which costs nothing."
    return told if share else ""


def objective_section(run: RunFolder) -> Section | None:
    """What the model's own objective costs on held-out documents, by language."""
    summary = read_json(run.stage("evaluate") / "objective.json")
    if not run.figures("evaluate") or summary is None:
        return None
    rows = []
    for language, group in _groups(summary).items():
        for name in (key.removesuffix(".targets") for key in group if key.endswith(".targets")):
            nats, accuracy = group.get(f"{name}.nats"), group.get(f"{name}.accuracy")
            cells = ("—" if nats is None else f"{nats:.3f}", "—" if accuracy is None else f"{accuracy:.1%}")
            rows.append((language, name, f"{group[f'{name}.targets']:,}", *cells))
    head = ("language", "what is foreseen", "targets", "nats each", "accuracy")
    note = (
        f"The objective {summary['objective']['use']} on all {summary['rows']:,} held-out rows of up to "
        f"{summary['row_tokens']:,} tokens, each read once with noise that is always the same, in float32. "
        f"Accuracy: how often the most likely one was the right one.{_about_unknown(summary)}"
    )
    return Section("Held-out objective", note=note, tables=[Table(head, rows, texts=2)])


def forgetting_section(run: RunFolder) -> Section | None:
    """What each text cost before pretraining went on from a folder, and what it costs now."""
    summary = read_json(run.stage("evaluate") / "forgetting.json")
    if not run.figures("evaluate") or summary is None:
        return None
    rows = []
    for name, text in summary["texts"].items():
        bounds = text["change_95"]
        change = "—" if bounds is None else f"{bounds[0]:+.3f} to {bounds[1]:+.3f}"
        losses = (f"{text['before']:.3f}", f"{text['after']:.3f}", f"{text['change']:+.3f}")
        rows.append((name, f"{text['targets']:,}", *losses, change))
    note = (
        "What a target costs in nats, by the model that this training began with and by the one that came out, on the "
        "same held-out text with the same noise. What has become dearer was forgotten; more replay keeps more of it. "
        f"The interval is a bootstrap over documents ({summary['resamples']:,} draws)."
    )
    return Section("Learned and forgotten", note, tables=[
        Table(("text", "targets", "before", "after", "change", "95 % interval"), rows)
    ])  # fmt: skip


def _groups(summary: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The figures of each language and of all, which one language alone makes needless."""
    languages: dict[str, dict[str, Any]] = summary["languages"]
    return languages if len(languages) == 1 else {**languages, "all": summary["all"]}


def _losses(group: Mapping[str, Any]) -> tuple[str, ...]:
    return (
        f"{group['nats_per_token']:.3f}",
        f"{group['bits_per_byte']:.3f}",
        interval(group["bits_per_byte_95"]),
        number(group["perplexity"]),
        f"{group['accuracy']:.1%}",
    )


def _about_baseline(baseline: Mapping[str, Any]) -> str:
    order, seen, there = (baseline[name] for name in ("order", "tokens", "train_tokens"))
    counted = f"the {there:,} training tokens" if seen == there else f"{seen:,} of the {there:,} training tokens"
    return (
        f"The {order}-gram lines say what counting alone foresees: interpolated modified Kneser-Ney smoothing "
        f"(Chen and Goodman 1999) on {counted}, with the same tokens to foresee."
    )


def training_section(run: RunFolder, *, pictures: Sequence[str], last: Mapping[str, Any] | None) -> Section | None:
    """The curves and the facts of the training; ``last`` is the last line of its metrics."""
    figures = run.figures("pretrain")
    if figures:
        return Section("Training", pictures=pictures, tables=[facts(figures)])
    if last is None:
        return None
    note = f"Not finished: {last['step']:,} steps so far. Run the same command again to go on."
    return Section("Training", note=note, pictures=pictures)


def samples_section(run: RunFolder) -> Section | None:
    """What the model wrote."""
    path = run.stage("generate") / "samples.jsonl"
    if not run.figures("generate") or not path.exists():
        return None
    samples = [Sample(line["prompt"], line["text"], line["language"]) for line in read_jsonl(path)]
    return Section("Samples", samples=samples)


def data_section(run: RunFolder) -> Section | None:
    """Documents and bytes by language, tokens of both parts, what became of every record."""
    clean, pack = run.figures("clean"), run.figures("pack")
    if not clean:
        return None
    languages = _second_parts(clean, "language.", ".documents")
    head = ["language", "documents", "bytes", *(["training tokens", "held-out tokens"] if pack else [])]
    rows: list[list[str]] = []
    for language in languages:
        cells = [clean.get(f"language.{language}.{name}", 0) for name in ("documents", "bytes")]
        if pack:
            cells += [pack.get(f"{part}.{language}.tokens", 0) for part in ("train", "heldout")]
        rows.append([language, *(f"{cell:,}" for cell in cells)])
    tables = [Table(head, rows)]
    lost = [
        (reason, title, f"{clean[f'{title}.{reason}']:,}")
        for title in ("dropped", "quarantined")
        for reason in _second_parts(clean, f"{title}.", "")
    ]
    if lost:
        tables.append(Table(("reason", "fate", "records"), lost, texts=2, title="Left out"))
    files, records, ignored = (clean.get(name, 0) for name in ("files", "documents_in", "files_ignored"))
    note = f"{many(files, 'file')} with {many(records, 'record')}, {clean.get('documents_kept', 0):,} kept."
    if ignored:
        note += f" {many(ignored, 'file')} of other kinds not read."
    return Section("Data", note=note, tables=tables)


def tokenizer_section(run: RunFolder) -> Section | None:
    """What a token is worth in each language."""
    figures = run.figures("tokenizer")
    if not figures:
        return None
    names = list(dict.fromkeys(key.partition(".")[0] for key in figures if "." in key))
    languages = list(dict.fromkeys(key.partition(".")[2] for key in figures if "." in key))
    rows = []
    for language in languages:
        cells = (figures.get(f"{name}.{language}") for name in names)
        rows.append([language, *("—" if cell is None else number(cell) for cell in cells)])
    vocabulary = figures.get("vocab_size")
    note = f"{vocabulary:,} tokens in the vocabulary." if vocabulary else ""
    return Section("Tokenizer", note=note, tables=[Table(["language", *map(_words, names)], rows)])


def model_section(run: RunFolder) -> Section | None:
    """The shape of the model and where its parameters are."""
    folder = run.stage("pretrain" if run.figures("pretrain") else "finetune") / "model"
    config, parts = read_json(folder / "config.json"), parameters_by_part(folder / "model.safetensors")
    if config is None or not parts:
        return None
    total = sum(parts.values())
    rows = [(part, f"{count:,}", f"{count / total:.1%}") for part, count in parts.items()]
    shape = {name: config[name] for name in LABELS if name in config and not isinstance(config[name], dict | list)}
    tables = [Table(("part", "parameters", "share"), [*rows, ("all", f"{total:,}", "100.0%")]), facts(shape)]
    return Section("Model", tables=tables)


def machine_section(run: RunFolder, stages: Sequence[str]) -> Section | None:
    """Where the time went, and what the model was trained on; before it is, what the last command ran on."""
    env = (run.done("pretrain") or run.done("finetune") or {}).get("environment") or read_json(run.path / "env.json")
    done = {stage: run.done(stage) for stage in stages}
    times = [(stage, duration(about["seconds"])) for stage, about in done.items() if about is not None]
    tables = [Table(("stage", "time"), times)] if times else []
    if env is not None:
        memory = env.get("memory_bytes")
        packages = " · ".join(f"{name} {version}" for name, version in env.get("packages", {}).items() if version)
        about = {
            "danlu": f"{env.get('danlu')} {_commit(env.get('commit'))}".strip(),
            "python": env.get("python"),
            "packages": packages,
            "processor": f"{env.get('processor')}, {env.get('cores')} cores",
            "memory": f"{memory / 2**30:.1f} GiB" if memory else None,
            "platform": env.get("platform"),
            "command": " ".join(env.get("command", [])),
        }
        tables.append(facts({name: value for name, value in about.items() if value}, wide=True))
    return Section("Time, machine, versions", tables=tables) if tables else None


def parameters_by_part(path: Path) -> dict[str, int]:
    """Parameters of each part of a model, from the head of its safetensors file; empty where there is none."""
    parts = dict.fromkeys((*SHOWN_PARTS, "others"), 0)
    try:
        with safe_open(path, framework="numpy") as file:
            for name in file.keys():  # noqa: SIM118 (it is no mapping)
                count = 1
                for size in file.get_slice(name).get_shape():
                    count *= size
                parts[_part(name)] += count
    except (OSError, SafetensorError):
        return {}
    return {part: count for part, count in parts.items() if count}


def number(value: float) -> str:
    """At most four significant digits, thousands parted."""
    if isinstance(value, int) or abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.4g}"


def figure(value: float) -> str:
    """A figure of a task, so that those below each other have as many places: ``0.800``, ``31.25``."""
    return f"{value:.3f}" if abs(value) < 10 else number(value)


def _commit(commit: str | None) -> str:
    return f"({commit[:10]}{', with changes' if commit.endswith('+') else ''})" if commit else ""


def _part(tensor: str) -> str:
    """The part that a tensor of any family belongs to, by its name in Hugging Face files."""
    return next((part for part, marks in PARTS.items() if any(mark in tensor for mark in marks)), "others")


def facts(figures: Figures, *, wide: bool = False) -> Table:
    """Figures in words, a line each."""
    rows = [(LABELS.get(name, _words(name)), _value(name, value)) for name, value in figures.items()]
    return Table((), rows, texts=2, wide=wide)


def many(count: int, noun: str) -> str:
    """A count with its noun."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def _value(name: str, value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if name == "seconds":
        return duration(value)
    return number(value) if isinstance(value, int | float) else str(value)


def _words(name: str) -> str:
    return name.replace("_", " ")


def _second_parts(figures: Figures, before: str, behind: str) -> list[str]:
    """What stands between ``before`` and ``behind`` in the names of figures, in their order."""
    found = (name for name in figures if name.startswith(before) and name.endswith(behind))
    return [name[len(before) : len(name) - len(behind)] for name in found]


def interval(bounds: Sequence[float] | None) -> str:
    """``0.812–0.847``; a dash for none."""
    return "—" if bounds is None else f"{figure(bounds[0])}–{figure(bounds[1])}"


def _beginning(text: str, most: int = 60) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= most else f"{flat[:most].rstrip()}…"


def _hardest(path: Path) -> list[Table]:
    """The documents that cost most bits a byte, by language, with their first words."""
    if not path.exists():
        return []
    by_language: dict[str, list[dict[str, Any]]] = {}
    for document in read_jsonl(path):
        by_language.setdefault(document["language"], []).append(document)
    rows = []
    for documents in by_language.values():
        documents.sort(key=lambda document: -document["bits_per_byte"])
        rows += [
            (document["id"], _beginning(document["begins"]), f"{document['bits_per_byte']:.3f}")
            for document in documents[:HARDEST_DOCUMENTS]
            if len(documents) > HARDEST_DOCUMENTS
        ]
    return [Table(("document", "begins", "bits per byte"), rows, texts=2, title="Hardest to foresee")] if rows else []
