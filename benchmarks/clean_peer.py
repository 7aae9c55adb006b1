"""``datatrove`` over one folder, as ``clean.py`` runs it: ``python clean_peer.py LANGUAGE INPUT OUT PROCESSES``.

Normalise (ftfy), language, Gopher's rules, C4's rules, e-mail addresses and IP addresses, MinHash in its four stages,
with its defaults but for what its defaults fetch or lack:

- its language filter wants a model of fastText: here Danlu's function names the language, so that both do the same;
- its words are spaCy's: here English is parted at spaces, which costs least, and Chinese by ``rjieba`` in Rust, which
  is many times as fast as the ``jieba`` that spaCy asks;
- its C4 knows no Chinese marks and its Gopher no Chinese stop words: they are given.

Text is read once for the rules and the signatures, where its own example reads it twice.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import xxhash
from datatrove.data import Document
from datatrove.executor.local import LocalPipelineExecutor
from datatrove.pipeline.dedup import (
    MinhashDedupBuckets,
    MinhashDedupCluster,
    MinhashDedupFilter,
    MinhashDedupSignature,
)
from datatrove.pipeline.dedup.minhash import MinhashConfig
from datatrove.pipeline.filters import C4QualityFilter, GopherQualityFilter, GopherRepetitionFilter, LambdaFilter
from datatrove.pipeline.filters import c4_filters as c4
from datatrove.pipeline.formatters import FTFYFormatter, PIIFormatter
from datatrove.pipeline.readers import JsonlReader
from datatrove.pipeline.writers import JsonlWriter
from datatrove.utils.word_tokenizers import WordTokenizer

from danlu.clean.scripts import SCRIPTS
from danlu.text.language import detect_language
from danlu.text.sentences import sentence_starts

CHINESE_ENDS = ("。", "？", "！", "；", "”", "’", "」", "』", "）", ".", "?", "!", '"', "'")
CHINESE: dict[str, Any] = {
    "min_avg_word_length": 1,
    "max_non_alpha_words_ratio": 0.65,
    "stop_words": list(SCRIPTS["chinese"].stop_words),
}
"""Of Gopher's rules: a Chinese word has one character or two, and marks are words of their own."""


class Words(WordTokenizer):  # type: ignore[misc]
    """Words and sentences that cost little."""

    def word_tokenize(self, text: str) -> list[str]:
        if self.language == "en":
            return text.split()
        import rjieba

        return [word for word in rjieba.cut(text) if not word.isspace()]

    def sent_tokenize(self, text: str) -> list[str]:
        return [text[start:end] for start, end in self.span_tokenize(text)]

    def span_tokenize(self, text: str) -> list[tuple[int, int]]:
        starts = sentence_starts(text)
        return list(zip(starts, [*starts[1:], len(text)], strict=True))


class ChineseC4(C4QualityFilter):  # type: ignore[misc]
    """With the marks that end a sentence in Chinese, in the process that looks."""

    def filter(self, doc: Document) -> Any:
        c4.END_PUNCTUATION = CHINESE_ENDS
        self.min_words_per_line = 0  # words between spaces, which a Chinese line does not have
        return super().filter(doc)


class Signature(MinhashDedupSignature):  # type: ignore[misc]
    """As it is, with a hash that xxhash 4 takes, too: datatrove 0.10 hands it strings."""

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self._hash_func = hash_of


def hash_of(words: str) -> int:
    """64 bits."""
    return int(xxhash.xxh64_intdigest(words.encode()))


def is_in(language: str, document: Document) -> bool:
    """Whether the document is in that language, by Danlu's function."""
    document.metadata["language"] = detect_language(document.text)
    return bool(document.metadata["language"] == language)


def run(language: str, source: Path, out: Path, processes: int) -> None:
    """Write what stays to ``out/kept`` and what only the rules left to ``out/ruled``."""
    words, config = Words(language), MinhashConfig()
    tasks = len(list(source.rglob("*.jsonl")))
    quality = CHINESE if language == "zh" else {}
    c4_class = ChineseC4 if language == "zh" else C4QualityFilter

    def execute(stage: str, steps: list[Any], tasks: int) -> None:
        logs = str(out / "logs" / stage)
        LocalPipelineExecutor(steps, tasks=tasks, workers=min(processes, tasks), logging_dir=logs).run()

    def writer(folder: str) -> JsonlWriter:
        return JsonlWriter(str(out / folder), output_filename="${rank}.jsonl", compression=None)

    rules = [
        FTFYFormatter(normalization="NFC"),
        LambdaFilter(lambda document: is_in(language, document)),
        GopherRepetitionFilter(language=words),
        GopherQualityFilter(language=words, **quality),
        c4_class(language=words),
        PIIFormatter(),
    ]
    reader = JsonlReader(str(source), glob_pattern="**/*.jsonl")
    signature = Signature(str(out / "signatures"), config=config, language=words)
    execute("rules", [reader, *rules, writer("ruled"), signature], tasks)
    buckets = MinhashDedupBuckets(str(out / "signatures"), str(out / "buckets"), config=config)
    execute("buckets", [buckets], config.num_buckets)
    execute("cluster", [MinhashDedupCluster(str(out / "buckets"), str(out / "remove"), config=config)], 1)
    ruled = JsonlReader(str(out / "ruled"))
    execute("filter", [ruled, MinhashDedupFilter(str(out / "remove")), writer("kept")], tasks)


if __name__ == "__main__":
    run(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4]))
