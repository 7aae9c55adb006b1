"""``danlu serve``. Imports stand inside: ``danlu --help`` answers at once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter


def serve(
    folder: Annotated[Path, Parameter(name="FOLDER", help="The model, a folder with config.json.")],
    /,
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    name: Annotated[list[str] | None, Parameter(negative=())] = None,
    dtype: Literal["float32", "bfloat16"] | None = None,
) -> None:
    """Answer rows over HTTP with a model that danlu finetune has made, or a classifier of others.

    Answers are those of danlu predict. There is a page to try it on; programs POST a row, or a list of rows, as JSON to
    /predict.

    Parameters
    ----------
    host
        The address to listen at; 0.0.0.0 lets everybody on the network in.
    port
        The port; 0 takes a free one.
    name
        What other machines call this one, where that is not its address, such as a proxy's name; may be given several
        times. Requests for other names are refused.
    dtype
        What the model calculates in; by default bfloat16 where the processor has it in hardware.
    """
    from danlu.address import Address
    from danlu.serve.running import run

    run(folder, Address(host, port, tuple(name or ())), dtype=dtype)
