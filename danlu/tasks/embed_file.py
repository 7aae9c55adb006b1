"""``danlu embed`` and ``danlu similar``: vectors for a file of texts, and the texts nearest to one of your own."""

from __future__ import annotations

import io
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from danlu import log
from danlu.errors import CheckpointError, InputError
from danlu.files import atomic_write, writing
from danlu.nn.config import Embedding, Head
from danlu.nn.hf.folder import load_embedding_config
from danlu.nn.hf.given import check_given
from danlu.tasks.embed import Embedder
from danlu.text.lists import Line, check_new_file, read_list

TEXTS_AT_ONCE = 1024
"""Texts between two signs of progress; those of about equal length go through the model together."""
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


class Near(NamedTuple):
    """A text, and the cosine of the angle between its vector and another."""

    cosine: float
    line: Line


def embed_file(
    folder: Path,
    texts: Path,
    out: Path,
    *,
    field: str | None = None,
    prompt: str | None = None,
    dtype: str | None = None,
) -> None:
    """Write a vector for every text, in their order: rows of an array (.npy), or beside the texts (.jsonl, .parquet).

    Args:
        field: the field or column of ``texts`` that holds them.
        prompt: the name of what the folder puts before texts of a kind; by default its own, mostly nothing.
        out: a file that is not there yet; it appears when all is done, or not at all.
        dtype: what the model calculates in; by default bfloat16 where the processor multiplies it in hardware.

    Raises:
        InputError, CheckpointError: there is no model, or it embeds no texts, or it has no such prompt; a text cannot
            be read.
        OutputError: ``out`` is there already, or cannot be written.
    """
    lines = read_list(texts, field=field)
    check_new_file(out, *WRITERS)
    embedder = load_embedder(folder, dtype=dtype)
    vectors_ND = _embed(embedder, [line.text for line in lines], prompt, folder=folder)
    with writing(out.parent):
        atomic_write(out, WRITERS[out.suffix.lower()]([line.text for line in lines], vectors_ND.numpy()))
    log.say(f"{out}: written, {len(lines):,} vectors of {vectors_ND.shape[1]:,} numbers")


def nearest(
    folder: Path, text: str, texts: Path, *, top: int, field: str | None = None, dtype: str | None = None
) -> list[Near]:
    """The ``top`` texts of a file that are nearest to ``text``, the nearest first; of equals, the earlier one.

    Where the folder has prompts for it, ``text`` is embedded as a query and the file's texts as documents.

    Raises:
        InputError, CheckpointError: as :func:`embed_file`; or ``text`` is empty, or ``top`` below 1.
    """
    if top < 1:
        raise InputError(f"--top must be at least 1; got {top}")
    if not text.strip():
        raise InputError("TEXT is empty; it must say what to look for")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise InputError(f"TEXT must be UTF-8; got {text!r}") from None
    lines = read_list(texts, field=field)
    embedder = load_embedder(folder, dtype=dtype)
    query, documents = embedder.search_prompts()
    vectors_ND = _embed(embedder, [line.text for line in lines], documents, folder=folder)
    sought_D = embedder.embed([text], query)[0]
    cosines_N = torch.nn.functional.normalize(vectors_ND, dim=-1) @ torch.nn.functional.normalize(sought_D, dim=-1)
    places = cosines_N.argsort(descending=True, stable=True)[:top].tolist()
    return [Near(float(cosines_N[place]), lines[place]) for place in places]


def load_embedder(folder: Path, *, dtype: str | None = None) -> Embedder:
    """The embedder in a folder that somebody has named.

    Raises:
        InputError, CheckpointError: there is none; the error says what to do instead.
    """
    check_given(folder)
    config = load_embedding_config(folder)
    if not isinstance(config.head, Embedding):
        writes = config.decoder is not None and isinstance(config.head, Head)
        instead = f"'danlu generate {folder} --prompt TEXT' writes with it" if writes else "it needs a bare model"
        kind = type(config.head).__name__
        raise InputError(f"the model in {folder} ({config.family} with {kind}) embeds no texts; {instead}")
    return Embedder.load(folder, dtype=None if dtype is None else DTYPES[dtype])


def _embed(embedder: Embedder, texts: Sequence[str], prompt: str | None, *, folder: Path) -> Tensor:
    """Vectors ``[N, D]``, with progress; a last line where texts were longer than what the model sees."""
    parts: list[Tensor] = []
    before, began = embedder.cut, time.perf_counter()
    with log.progress("embed", len(texts), "texts") as progress:
        for start in range(0, len(texts), TEXTS_AT_ONCE):
            part = texts[start : start + TEXTS_AT_ONCE]
            parts.append(embedder.embed(part, prompt))
            done = start + len(part)
            progress.update(done, texts_per_second=done / (time.perf_counter() - began))
    vectors_ND = torch.cat(parts)
    if not bool(torch.isfinite(vectors_ND).all()):
        raise CheckpointError(f"the model in {folder} makes vectors with infinity or what is no number")
    if cut := embedder.cut - before:
        most = f"{embedder.max_tokens:,} tokens"
        log.say(f"{cut:,} of {len(texts):,} texts are longer than {most}; of those only the beginning counts")
    return vectors_ND


def _npy(texts: Sequence[str], vectors_ND: Any) -> bytes:
    file = io.BytesIO()
    np.save(file, vectors_ND)
    return file.getvalue()


def _jsonl(texts: Sequence[str], vectors_ND: Any) -> bytes:
    """Nine digits say every float32 exactly."""
    rows = (
        json.dumps({"text": text, "vector": [float(f"{number:.9g}") for number in vector]}, ensure_ascii=False)
        for text, vector in zip(texts, vectors_ND.tolist(), strict=True)
    )
    return "".join(f"{row}\n" for row in rows).encode()


def _parquet(texts: Sequence[str], vectors_ND: Any) -> bytes:
    import pyarrow
    import pyarrow.parquet

    vectors = pyarrow.FixedSizeListArray.from_arrays(pyarrow.array(vectors_ND.reshape(-1)), vectors_ND.shape[1])
    file = io.BytesIO()
    pyarrow.parquet.write_table(
        pyarrow.table({"text": pyarrow.array(texts, pyarrow.string()), "vector": vectors}), file
    )
    return file.getvalue()


WRITERS = {".npy": _npy, ".jsonl": _jsonl, ".parquet": _parquet}
"""By the ending of the file: what it holds."""
