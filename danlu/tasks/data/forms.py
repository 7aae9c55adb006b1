"""All forms by name."""

from __future__ import annotations

from typing import Any

from danlu.errors import RecipeError, suggestion
from danlu.tasks.data.chats import CHAT
from danlu.tasks.data.chosen import CHOICE
from danlu.tasks.data.extracted import EXTRACT
from danlu.tasks.data.form import Form
from danlu.tasks.data.generated import GENERATE, KEYWORDS
from danlu.tasks.data.labelled import CLASSIFY, MULTI_LABEL, PAIR, REGRESS, SIMILARITY
from danlu.tasks.data.preferred import FEEDBACK, PREFER
from danlu.tasks.data.related import RELATE
from danlu.tasks.data.retrieved import RETRIEVE
from danlu.tasks.data.tagged import SEGMENT, TAG

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
