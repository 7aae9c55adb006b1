"""A row of a file as the example that a form makes of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from danlu.data.columns import choose_columns
from danlu.data.example import TaskExample
from danlu.data.form import Cells
from danlu.data.forms import FORMS
from danlu.data.records import read_jsonl

ASKED, SAID = {"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}


def one(form: str, *records: dict[str, Any], gold: bool = True) -> Any:
    """The first example of records as they stand in a file."""
    table = read_jsonl(Path("a.jsonl"), "".join(json.dumps(record) + "\n" for record in records))
    chosen = choose_columns(table, FORMS[form].fields, {}, gold=gold)
    examples = [FORMS[form].read(Cells(row, chosen, gold)) for row in table.rows]
    example: TaskExample = FORMS[form].check(examples, None)[0]
    return example


def calling(arguments: object) -> dict[str, Any]:
    """A message of OpenAI's that calls a tool."""
    call = {"id": "x", "type": "function", "function": {"name": "f", "arguments": arguments}}
    return {"role": "assistant", "content": None, "tool_calls": [call]}
