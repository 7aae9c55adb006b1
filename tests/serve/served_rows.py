"""What the models of these tests were trained on, by task, and how their recipes name the columns."""

from __future__ import annotations

from typing import Any

ROWS: dict[str, list[dict[str, Any]]] = {
    "classify": [{"review": f"to be {number} or not", "stars": "ab"[number % 2]} for number in range(24)],
    "pair": [
        {"premise": f"to be {number}", "claim": "or not to be" * (number % 3), "label": "ab"[number % 2]}
        for number in range(1, 25) if number % 3
    ],
    "multi_label": [
        {"text": f"to be {number} or not", "labels": ["a", "b"][: number % 3]} for number in range(24)
    ],
    "regress": [{"text": f"to be {number} or not", "number": number / 2} for number in range(24)],
    "tag": [
        {"tokens": ["Once", "upon", str(number)], "tags": ["B-LOC", "O", ["O", "B-PER"][number % 2]]}
        for number in range(24)
    ],
    "extract": [
        {"id": f"q{number}", "question": f"what {number}", "context": f"there was {number} once",
         "answers": [{"text": "there", "start": 0}]} for number in range(24)
    ],
    "choice": [
        {"question": f"to be {number}", "choices": ["or not", "that is"], "answer": number % 2,
         "context": f"upon {number}"}
        for number in range(24)
    ],
}  # fmt: skip
COLUMNS: dict[str, dict[str, str]] = {
    "classify": {"text": "review", "label": "stars"},
    "pair": {"first": "premise", "second": "claim", "label": "label"},
    "extract": {"id": "id", "question": "question", "context": "context", "answers": "answers"},
    "choice": {"question": "question", "choices": "choices", "answer": "answer", "context": "context"},
}
"""As ``danlu init`` writes them: all that there are, those that need not be there too."""
GOLD = {"stars", "label", "labels", "number", "tags", "answer", "answers"}


def asked(task: str) -> list[dict[str, Any]]:
    """Rows without what is right."""
    return [{name: value for name, value in row.items() if name not in GOLD} for row in ROWS[task][:5]]
