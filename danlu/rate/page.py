"""The pages that raters see, as HTML: all that comes from files or people is escaped, and no Markdown is read."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from jinja2 import Environment

from danlu.log import harmless
from danlu.pages import colours
from danlu.pages.rendering import environment
from danlu.rate.store import Given, Marks, Progress, Rater, Store
from danlu.rate.study import PREFERENCE

LONGEST_NAME = 60
STATIC = {"/rate.css": "text/css; charset=utf-8", "/rate.js": "text/javascript; charset=utf-8"}
"""Files beside the pages, and what they are."""
BUTTONS = ("left", "right", "both_good", "both_bad")


@dataclass(frozen=True, slots=True)
class View:
    """Who looks, and in which language."""

    store: Store
    words: dict[str, str]
    rater: Rater | None = None
    progress: Progress | None = None

    def join(self, problem: str = "") -> bytes:
        """Where a rater says who they are."""
        return self._render("join.html.j2", problem=problem, most=LONGEST_NAME)

    def item(self, given: Given, *, changing: bool = False, marks: Marks | None = None, problem: str = "") -> bytes:
        """A prompt with its answers and the buttons; ``marks`` are those that are chosen already."""
        material, item = self.store.study.material, given.item
        answers = [material.answers[item.prompt][item.first]]
        if item.second is not None:
            answers.append(material.answers[item.prompt][item.second])
        if given.swapped:
            answers.reverse()
        marks = given.marks if marks is None else marks
        return self._render(
            "item.html.j2",
            ticket=self._ticket(given),
            prompt=material.prompts[item.prompt],
            answers=answers,
            choices=[(button, self.words[button]) for button in BUTTONS],
            chosen=button_of(str(marks.get(PREFERENCE, "")), swapped=given.swapped),
            marks=marks,
            changing=changing,
            problem=problem,
        )

    def message(self, title: str, text: str, go_on: str) -> bytes:
        """A page with something to read and a way on."""
        return self._render("message.html.j2", title=title, text=text, go_on=go_on)

    def _ticket(self, given: Given) -> str:
        assert self.rater is not None, "an item is shown to a rater"
        return self.store.ticket(self.rater, given.number)

    def _render(self, template: str, **values: object) -> bytes:
        rubric = self.store.study.rubric
        page = (
            _environment()
            .get_template(template)
            .render(
                words=self.words,
                rater=self.rater,
                progress=self.progress,
                rubric=rubric,
                kind="pairs" if rubric is None else "scores",
                secret=self.store.form_secret,
                **values,
            )
        )
        return page.encode()


def static(path: str) -> bytes:
    """The content of one of the files in ``STATIC``; colours stand before a sheet."""
    content = files("danlu.rate").joinpath("templates", path.removeprefix("/")).read_bytes()
    return colours.variables().encode() + content if path.endswith(".css") else content


def choice_of(button: str, *, swapped: bool) -> str:
    """What a button says about the first and the second model."""
    if button in ("left", "right"):
        return "first" if (button == "left") != swapped else "second"
    return button.replace("_", " ")


def button_of(choice: str, *, swapped: bool) -> str:
    """The button that says ``choice``."""
    if choice in ("first", "second"):
        return "left" if (choice == "first") != swapped else "right"
    return choice.replace(" ", "_")


@cache
def _environment() -> Environment:
    templates = environment("danlu.rate")
    templates.filters["safe_text"] = harmless  # control characters; what HTML means by a character is escaped
    return templates
