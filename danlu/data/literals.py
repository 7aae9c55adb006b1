"""Lists and objects that a cell of a table of text holds, as JSON, Python or numpy spells them.

``datasets`` and pandas write a column of lists like this: ``["a", "b"]``, ``['a', 'b']``, or without commas, as numpy
prints arrays, ``['a' 'b']``, which to Python would be the one text ``ab``.
"""

from __future__ import annotations

import ast
import json
import re
import warnings
from typing import Any

_ATOM = r"""(?:'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|[-+]?[\w.]+)"""
_OF_NUMPY = re.compile(rf"\[\s*{_ATOM}(?:\s+{_ATOM})*\s*\]", re.DOTALL)
_ATOMS = re.compile(_ATOM, re.DOTALL)
_ARRAY = re.compile(r"array\((\[[^\[\]]*\])(?:, dtype=\w+)?\)")
_BEGINS_A_LIST = re.compile(r"""\[\s*['"]""")


def literal(cell: str) -> Any:
    """The list or object that a cell spells; None where it spells none."""
    text = cell.strip()
    if text[:1] + text[-1:] not in ("[]", "{}"):
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        pass
    if _OF_NUMPY.fullmatch(text):
        text = f"[{', '.join(_ATOMS.findall(text[1:-1]))}]"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of backslashes that mean nothing to Python
            found = ast.literal_eval(_ARRAY.sub(r"\1", text))
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return None
    return _plain(found) if isinstance(found, list | dict) else None


def is_broken(cell: str) -> bool:
    """Whether a cell begins as a list of texts, and is none."""
    return _BEGINS_A_LIST.match(cell.lstrip()) is not None and literal(cell) is None


def _plain(value: Any) -> Any:
    """Tuples as lists, as JSON would have them."""
    if isinstance(value, dict):
        return {name: _plain(each) for name, each in value.items()}
    return [_plain(each) for each in value] if isinstance(value, list | tuple) else value
