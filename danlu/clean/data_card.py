"""``data_card.md``: for people, what a folder of clean text is, where it comes from, what was left out of it.

In the manner of Datasheets for Datasets (Gebru et al. 2021, arXiv:1803.09010) and Data Cards (Pushkarna et al. 2022,
arXiv:2204.01075), as far as the stage itself knows the answers: it says so where it does not.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import yaml

from danlu.clean.counts import Counts
from danlu.pages.rendering import environment, markdown_cell

FILE = "data_card.md"


def data_card(lineage: Mapping[str, Any], counts: Counts) -> str:
    """Markdown, of what ``lineage.json`` holds and the counts of the whole."""
    templates = environment("danlu.clean", html=False)
    templates.filters["cell"] = markdown_cell
    templates.filters["number"] = lambda value: f"{value:,}"
    settings = {name: value for name, value in lineage["settings"].items() if name != "sources"}
    return templates.get_template(f"{FILE}.j2").render(
        **{**lineage, "settings": yaml.safe_dump(settings, allow_unicode=True, sort_keys=False, width=110)},
        counts=counts,
        languages=sorted(counts.language_documents.items(), key=lambda each: (-each[1], each[0])),
        removals=list(_removals(counts)),
        stated=sum(source["language"] is not None for source in lineage["settings"]["sources"]),
        limits=list(_limits(lineage)),
    )


def _removals(counts: Counts) -> Iterator[tuple[str, str, int]]:
    """What became of what is not here, the most frequent reason first."""
    for kind, counter in (("dropped", counts.dropped), ("quarantined", counts.quarantined)):
        for reason, count in sorted(counter.items(), key=lambda each: (-each[1], each[0])):
            yield kind, reason, count


def _limits(lineage: Mapping[str, Any]) -> Iterator[str]:
    """What a reader of the card has to know, of what was and was not done."""
    used = {choice["use"] for key in ("rules", "duplicates") for choice in lineage["settings"][key]}
    if any(source["license"] is None for source in lineage["sources"]):
        yield "The licence of at least one source is not stated: whether its text may be used is not known here."
    if lineage["left_out"]:
        files = ", ".join(f"{count:,} {why}" for why, count in lineage["left_out"].items())
        yield f"Of the sources some was not read ({files}); `left_out.jsonl` names it."
    yield "Who the text speaks about, who wrote it and whether they agreed is not known here."
    if "private" in used:
        yield "Private data was looked for by patterns, which miss some and take some other text for it."
    else:
        yield "Private data was not looked for: addresses, numbers and names stand in the text as in the sources."
    if not used & {"bad_words", "classifier"}:
        yield "Neither word lists nor a classifier looked for text that offends."
    if "decontaminate" not in used:
        yield "Text of evaluation sets was not looked for: what a model of it scores there may be memory."
    if not used & {"minhash", "substrings"}:
        yield "Near duplicates were not looked for."
