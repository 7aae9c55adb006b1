"""``danlu evaluate FOLDER --suite FILE``: files of questions to any model; a table, figures, and a line a question."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import Field
from rich.table import Table

from danlu import catalog, log
from danlu.data.content import PACKED
from danlu.errors import InputError, OutputError, suggestion
from danlu.files import make_folder, write_json, writing
from danlu.generate.special_tokens import SpecialTokens
from danlu.nn.hf.folder import load_model
from danlu.nn.hf.given import check_given
from danlu.nn.speed import DeviceSetting, PrecisionSetting, choose_device, choose_dtype
from danlu.recipe import Settings, build, build_choice
from danlu.recipe_file import apply_override
from danlu.suites.figures import SHARES
from danlu.suites.likelihood import BATCH_TOKENS
from danlu.suites.question import Question, Suite
from danlu.suites.request import Scorer
from danlu.suites.run import Result, ask, check_fits, read_questions, write_result
from danlu.suites.scorer import scorer_of
from danlu.tokenizers.tokenizer import Tokenizer

FIGURES = "figures.json"
"""The figures of all suites, by name."""


class Asked(Settings):
    """What can be set beside the settings of the suites."""

    seed: int = Field(default=1, ge=0, lt=2**32)
    """What the draws of the intervals follow from."""
    precision: PrecisionSetting = "fp32"
    """The model's number type; figures compare in fp32."""
    device: DeviceSetting = "cpu"
    """Where the model computes: auto is on a GPU where there is one."""
    batch_tokens: int = Field(default=BATCH_TOKENS, ge=1)
    """Tokens that go through the model at once: more takes more memory and changes no figure."""


class QuestionFile(NamedTuple):
    """A file, and how its questions are asked."""

    name: str
    """Of its figures and files: that of the file without its ending."""
    suite: Suite
    path: Path
    questions: list[Question]


def ask_files(
    folder: Path, files: Sequence[str], overrides: Sequence[str] = (), *, out: Path, limit: int | None = None
) -> dict[str, dict[str, Any]]:
    """Ask the model in ``folder`` the questions of all files; the figures by name.

    All files are read before the model is. Each suite is written as soon as it is done: ``NAME.json`` with its figures,
    ``NAME_items.jsonl`` with a line a question; at last ``figures.json``.

    Args:
        files: ``SUITE=FILE``, or the file alone where its name begins with the suite's.
        overrides: settings of :class:`Asked`, and of suites, such as ``cmmlu.shots=5``.
        out: a folder that is not there yet, or empty.
        limit: only the first so many questions, of each paradigm or subject where there are several.

    Raises:
        InputError, CheckpointError: a file is none of its suite's; there is no model, it is damaged or writes nothing.
        RecipeError: a setting is wrong, or names no suite.
        OutputError: ``out`` cannot be written, or holds something.
    """
    if limit is not None and limit < 1:
        raise InputError(f"--limit must be at least 1; got {limit}")
    check_given(folder)
    asked, suites = read_settings(overrides)
    read = [_read(each, suites, limit) for each in files]
    if twice := next((each.name for each in read if sum(other.name == each.name for other in read) > 1), None):
        raise InputError(f"--suite: two files are called {twice}; figures go by that name")
    if unused := [name for name in suites if not any(_suite_name(text) == name for text in files)]:
        raise InputError(f"{unused[0]}: no --suite is a {unused[0]}")
    _check_empty(out)
    scorer = _load(folder, asked)
    for each in read:
        check_fits(scorer, each.suite)
    found: dict[str, dict[str, Any]] = {}
    with writing(out):
        make_folder(out)
        for each in read:
            log.say(f"{each.name}: {len(each.questions):,} questions")
            result = ask(scorer, each.suite, each.questions, seed=asked.seed)
            about = {"model": str(folder), "suite": each.suite.to_recipe(), "file": str(each.path), "limit": limit}
            write_result(result, out, each.name, about=about)
            found[each.name] = result.figures
            log.say_table(table_of(each, result))
        write_json(out / FIGURES, found)
    log.say(f"{out}: written")
    return found


def read_settings(overrides: Sequence[str]) -> tuple[Asked, dict[str, Mapping[str, Any]]]:
    """``KEY=VALUE``s as settings of the whole, and those of each suite by its name.

    Raises:
        RecipeError: a key is unknown, or a value wrong.
    """
    values: dict[str, Any] = {}
    for override in overrides:
        apply_override(values, override)
    suites = {name: values.pop(name) for name in catalog.names("suite") if name in values}
    return build(Asked, values, key=""), suites


def table_of(asked: QuestionFile, result: Result) -> Table:
    """The figures of a suite, and of its groups where it shows some: shares in percent, with their standard errors."""
    rows = {"all": result.figures, **result.groups.get(asked.suite.shown, {})}
    table = Table(title=asked.name, title_justify="left")
    table.add_column(asked.suite.shown or "questions")
    columns = [
        name for name in ("items", *SHARES, "perplexity", "chance", "majority", "ties", "cut") if name in rows["all"]
    ]
    for column in columns:
        table.add_column(column, justify="right")
    for name, figures in rows.items():
        table.add_row(name, *(_shown(column, figures) for column in columns))
    return table


def _shown(column: str, figures: Mapping[str, Any]) -> str:
    value = figures.get(column)
    if value is None:
        return ""
    if column in SHARES:
        error = figures.get(f"{column}_stderr")
        return f"{100 * value:.1f}" if error is None else f"{100 * value:.1f} ± {100 * error:.1f}"
    if column in ("chance", "majority"):
        return f"{100 * value:.1f}"
    return f"{value:,.2f}" if isinstance(value, float) else f"{value:,}"


def _read(text: str, settings: Mapping[str, Any], limit: int | None) -> QuestionFile:
    name = _suite_name(text)
    path = Path(text.partition("=")[2] if "=" in text else text)
    given = settings.get(name, {})
    if not isinstance(given, Mapping):
        raise InputError(f"{name} must be settings, as in cmmlu.shots=5; got {given!r:.100}")
    suite: Suite = build_choice("suite", {"use": name, **given}, key=name)
    return QuestionFile(_stem(path), suite, path, read_questions(suite, path, limit=limit))


def _suite_name(text: str) -> str:
    """The suite that is named, or that the file's name begins with."""
    named, equals, _ = text.partition("=")
    if equals:
        return named
    stem = _stem(Path(text)).lower()
    known = [name for name in catalog.names("suite") if stem.startswith(name)]
    if not known:
        choices = suggestion(stem, catalog.names("suite"))
        raise InputError(f"cannot tell the suite of {text}; say --suite NAME={text}{choices}")
    return max(known, key=len)


def _stem(path: Path) -> str:
    """The name without its ending, and without that of what packs it."""
    inner = path.with_suffix("") if path.suffix.lower() in PACKED else path
    return inner.stem


def _check_empty(out: Path) -> None:
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise OutputError(f"{out} exists already and is no empty folder; name another one")


def _load(folder: Path, asked: Asked) -> Scorer:
    device = choose_device(asked.device, key="device")
    dtype, _ = choose_dtype(asked.precision, device)
    model, tokenizer = load_model(folder, dtype=dtype).to(device), Tokenizer.load(folder)
    special = None if model.config.encoder is None else SpecialTokens.read(folder, tokenizer, model.config)
    return scorer_of(model, tokenizer, special=special, batch_tokens=asked.batch_tokens)
