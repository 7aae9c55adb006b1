"""The memory that one long document takes to encode: ``Tokenizer.encode_arrays``, which does it in parts, beside the
``tokenizers`` library on the whole; and that the tokens are the same.

``python benchmarks/long_document.py [FILE ...] [--megabytes 40]``: files are JSON lines with a ``text``, plain or
gzip-compressed, whose texts become one; without one, those of ``corpora/``.
"""

from __future__ import annotations

import argparse
import sys
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory

from packing import texts
from process import in_fresh_process
from report import Comparison, NotMeasuredError, compare, run_benchmark, say, say_machine


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="*", type=Path)
    parser.add_argument("--megabytes", type=int, default=40, help="of the document (default %(default)s)")
    parser.add_argument("--vocab-size", type=int, default=4096)
    options = parser.parse_args()
    if options.megabytes < 1:
        parser.error("--megabytes must be at least 1")
    return run_benchmark(lambda: measure(options))


def measure(options: argparse.Namespace) -> list[Comparison]:
    say_machine()
    with TemporaryDirectory(prefix="danlu-benchmark-") as temporary:
        run = Path(temporary)
        in_fresh_process(prepare, run, options.files, options.megabytes, options.vocab_size)
        sides = {"reading it": read, "Danlu": ours, "tokenizers": whole}
        found = {name: in_fresh_process(side, run) for name, side in sides.items()}
    base = found["reading it"][1]
    for name, (_, peak) in found.items():
        say(f"{name}: {peak / 1e6:,.0f} MB of memory, {(peak - base) / 1e6:,.0f} of them more than reading it")
    if found["Danlu"][0] != found["tokenizers"][0]:
        raise NotMeasuredError("the tokens of the parts are not those of the whole")
    say(f"{found['Danlu'][0][0]:,} tokens, the same by both")
    more = {name: [(peak - base) / 1e6] for name, (_, peak) in found.items()}
    return [compare("memory of one long document: Danlu / tokenizers", more["Danlu"], more["tokenizers"], unit="MB")]


def prepare(run: Path, files: list[Path], megabytes: int, vocab_size: int) -> None:
    """Write the document, and a tokenizer that has learned from its beginning."""
    from danlu.tokenizers.bpe import BPE

    text = "\n".join(text for text, _ in texts(files))
    size = megabytes * 1_000_000
    text *= -(-size // len(text.encode()))
    document = text.encode()[:size].decode(errors="ignore")
    (run / "document").write_text(document, encoding="utf-8")
    BPE(vocab_size=vocab_size).train([document[:1_000_000]]).save(run)


def read(run: Path) -> tuple[int, str]:
    """What both need: the text, the tokenizer, and what is imported."""
    import numpy as np
    from tokenizers import Tokenizer as Library

    from danlu.tokenizers.tokenizer import Tokenizer

    short, text = "To be, or not to be.", _text(run)
    Library.from_file(str(run / "tokenizer.json")).encode_batch_fast([short], add_special_tokens=False)
    return len(Tokenizer.load(run).encode_arrays([short], np.dtype(np.uint16))[0]), text[:9]


def ours(run: Path) -> tuple[int, str]:
    """How many tokens there are, and a hash of them."""
    import numpy as np

    from danlu.tokenizers.tokenizer import Tokenizer

    ids = Tokenizer.load(run).encode_arrays([_text(run)], np.dtype(np.uint16))[0]
    return len(ids), sha256(ids.tobytes()).hexdigest()


def whole(run: Path) -> tuple[int, str]:
    """The same by the library."""
    import numpy as np
    from tokenizers import Tokenizer as Library

    library = Library.from_file(str(run / "tokenizer.json"))
    encoded = library.encode_batch_fast([_text(run)], add_special_tokens=False)[0]
    ids = np.fromiter(encoded.ids, dtype=np.uint16, count=len(encoded))
    return len(ids), sha256(ids.tobytes()).hexdigest()


def _text(run: Path) -> str:
    return (run / "document").read_text(encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
