"""All forms by name."""

from __future__ import annotations

from typing import Any

from danlu.data.chats import CHAT
from danlu.data.chosen import CHOICE
from danlu.data.extracted import EXTRACT
from danlu.data.form import Form
from danlu.data.generated import GENERATE, KEYWORDS
from danlu.data.labelled import CLASSIFY, MULTI_LABEL, PAIR, REGRESS, SIMILARITY
from danlu.data.preferred import FEEDBACK, PREFER
from danlu.data.related import RELATE
from danlu.data.retrieved import RETRIEVE
from danlu.data.tagged import SEGMENT, TAG
from danlu.errors import RecipeError, suggestion

FORMS: dict[str, Form[Any]] = {
    form.name: form
    for form in (
        CLASSIFY, MULTI_LABEL, REGRESS, PAIR, SIMILARITY, TAG, SEGMENT, EXTRACT, CHOICE, RELATE, GENERATE, KEYWORDS,
        RETRIEVE, CHAT, PREFER, FEEDBACK,
    )
}  # fmt: skip


def form_named(name: str, *, key: str) -> Form[Any]:
    """The form of that name.

    Raises:
        RecipeError: there is none; ``key`` is the recipe key that named it.
    """
    if name not in FORMS:
        raise RecipeError(f"{key}: unknown form {name!r}{suggestion(name, FORMS)}")
    return FORMS[name]
