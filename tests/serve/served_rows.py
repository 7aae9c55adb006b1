"""What the models of these tests were trained on, by task."""

from __future__ import annotations

from typing import Any

ROWS: dict[str, list[dict[str, Any]]] = {
    "classify": [{"review": f"to be {number} or not", "stars": "ab"[number % 2]} for number in range(24)],
    "pair": [
        {"first": f"to be {number}", "second": "or not to be" * (number % 3), "label": "ab"[number % 2]}
        for number in range(1, 25) if number % 3
    ],
    "regress": [{"text": f"to be {number} or not", "number": number / 2} for number in range(24)],
    "tag": [
        {"tokens": ["Once", "upon", str(number)], "tags": ["B-LOC", "O", ["O", "B-PER"][number % 2]]}
        for number in range(24)
    ],
    "choice": [
        {"question": f"to be {number}", "choices": ["or not", "that is"], "answer": number % 2} for number in range(24)
    ],
}  # fmt: skip
