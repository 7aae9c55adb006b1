"""``danlu embed``, ``danlu similar``, ``danlu predict``: what a model folder does with a file of texts or examples."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from danlu.log import harmless, say

ModelFolder = Annotated[Path, Parameter(name="FOLDER", help="The model, a folder with config.json.")]
TextFile = Annotated[Path, Parameter(name="TEXTS", help="The texts: .txt (one a line), .jsonl, .csv or .tsv.")]
Key = Annotated[
    str | None,
    Parameter(
        name=["--key", "--column"], help='The field (.jsonl) or column (.csv, .tsv) with the text; by default "text".'
    ),
]
EmbedDtype = Literal["float32", "bfloat16"]


def embed(
    folder: ModelFolder,
    texts: TextFile,
    /,
    *,
    out: Path,
    key: Key = None,
    prompt: str | None = None,
    dtype: EmbedDtype | None = None,
) -> None:
    """Make a vector of every text in a file, with an encoder such as a sentence-transformers folder.

    Parameters
    ----------
    out
        A new file: .npy (float32, a row a text), .jsonl or .parquet (text and vector).
    prompt
        The name of one of the folder's prompts, such as query, which goes before every text; by default its own.
    dtype
        What the model calculates in; by default bfloat16 where the processor has it in hardware.
    """
    from danlu.tasks.embed_file import embed_file

    embed_file(folder, texts, out, field=key, prompt=prompt, dtype=dtype)


def similar(
    folder: ModelFolder,
    text: Annotated[str, Parameter(name="TEXT", help="What to look for.")],
    texts: TextFile,
    /,
    *,
    top: int = 10,
    key: Key = None,
    dtype: EmbedDtype | None = None,
) -> None:
    """List the texts of a file that mean most nearly the same as yours, by the cosine of their vectors.

    Where the folder has prompts for it, yours is embedded with "query" and the file's with "document" or "passage".

    Parameters
    ----------
    top
        How many.
    dtype
        What the model calculates in; by default bfloat16 where the processor has it in hardware.
    """
    from danlu.tasks.embed_file import nearest

    found = nearest(folder, text, texts, top=top, field=key, dtype=dtype)
    say(f"{'cosine':>7}  {'line':>6}  text")
    for cosine, line in found:
        say(f"{cosine:7.4f}  {line.number:6}  {' '.join(harmless(line.text).split())}")


def predict(
    folder: ModelFolder,
    file: Annotated[Path, Parameter(name="FILE", help="The examples: .csv, .tsv, .jsonl, .parquet, .conll …")],
    /,
    *columns: Annotated[str, Parameter(name="FIELD=COLUMN", help="Which column holds what, such as text=review.")],
    out: Path,
    dtype: EmbedDtype | None = None,
) -> None:
    """Answer every example of a file with a model that danlu finetune has made, or with a classifier of others.

    Where the file says what is right, the figures are told too.

    Parameters
    ----------
    out
        A new file, .jsonl, .csv or .tsv: its predictions, beside the columns of the file.
    dtype
        What the model calculates in; by default bfloat16 where the processor has it in hardware.
    """
    from danlu.tasks.predict import columns_of, predict_file

    predict_file(folder, file, out, columns=columns_of(columns), dtype=dtype)
