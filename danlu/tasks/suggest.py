"""``danlu init FILE``: look at a file of examples and write a recipe that fine-tunes for what it seems to be for."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from danlu import catalog
from danlu.data.alike import IDEOGRAPHS
from danlu.data.columns import by_names, choose_columns, describe, is_of_rows, looks_like_labels, split_column
from danlu.data.delimited import is_number
from danlu.data.flags import ODD, flag_columns, gather_flags
from danlu.data.form import Form
from danlu.data.literals import literal
from danlu.data.names import CLASSES, KEYWORDS, LABELS, RESPONSE, plain_name
from danlu.data.read import read_rows
from danlu.data.rows import Table
from danlu.data.units import are_counted, numbers_of
from danlu.errors import CheckpointError, InputError, RecipeError
from danlu.recipe_file import quoted
from danlu.tasks.fit import ORDER, ROWS, check_sentences, first_examples, form_of, passed_over, reads, why_not
from danlu.tasks.model_for import check_model
from danlu.tasks.transcript import Transcriber
from danlu.text.language import detect_language
from danlu.tokenizers.chat_template import own_source
from danlu.tokenizers.folder import read_tokenizer

NUMBERS = {"pair": "similarity", "classify": "regress"}
"""What a task with labels is where these are numbers of many values."""
MOST_CLASSES = 3
"""Of pairs: so many numbers stand for classes."""
MOST_GRADES = 10
"""So many different numbers may be names of classes."""
FLAGS = 3
"""Columns of 0 and 1 from which they are a label each; one or two may be anything."""
MOST_LETTERS = 3
"""Characters of a Chinese word, on average, in a text that is parted into words."""
TOKEN_LETTERS = 8
"""Characters of a token, on average; Chinese texts have no spaces either, but more of them."""
ENOUGH_ROWS, OWN_LABELS = 20, 0.9
"""Rows from which it is no chance that labels differ, and the share of them that have another one."""
ANSWER = ("answer", "答案", "谜底")
"""With which the name of a column ends that answers another."""
WRITER = ("user", "author", "speaker", "用户", "作者", "昵称", "发言人")
"""What a column is called that says who wrote a text, which does not answer it."""
SEGMENTED = ("words", "segmented", "分词")
"""What only such a text is called."""
HAN = re.compile(f"[{IDEOGRAPHS}]")
COMMAS = re.compile("[,，、]")
TEMPLATE = """\
# Written by `danlu init` from a look at {file}:
# {read}
#
#   danlu finetune {name}    leaks and odd labels are told first; run again, it goes on or skips what is done
#   danlu predict runs/{run}/finetune/model NEW_FILE --out PREDICTIONS.csv
#   danlu serve runs/{run}/finetune/model    the same over HTTP, with a page to try it on
#
# What else can be set: danlu schema.

finetune:
  model: {model}  # a folder as transformers writes it; danlu import fetches or converts one
  task: {task}  # choices: {tasks}
  data:
    train: {train}
{parts}
    columns: {columns}
  budget: {{epochs: 3}}
"""


BY_HAND = "; a recipe of yours can say which task it is and which column holds what (docs/guides/finetune.md)"
OWN_PARTS = """\
    # test: FILE  # a file that the last figures are measured on
    dev_share: 0.1  # of train, to choose the best checkpoint by; or dev: a file of its own"""


def task_recipe(file: Path, *, model: Path | None, name: Path) -> str:
    """The text of a recipe for ``file``, and what it says of it.

    Raises:
        InputError: the file cannot be read, or no task fits it, or the model does not fit the task.
    """
    table = _sentences(file) or read_rows(file)
    file_table, flagged = table, _flagged(table)
    task, form = guess(table) if flagged is None else ("multi_label", form_of("multi_label"))
    table = flagged or table
    chosen = choose_columns(table, form.fields, {})
    check_model(task, model, chosen, file)
    columns = ", ".join(f"{field}: {quoted(column)}" for field, column in chosen.items())
    own = split_column(table)
    also = {*form.also(table.columns), *(flag_columns(file_table, odd=ODD) if flagged else ()), own or ""}
    read = describe(table, chosen, form.fields, also=also)
    parts = OWN_PARTS if own is None else f"    split_column: {quoted(own)}  # which says what each row is for"
    read += f"\n# {over}" if (over := passed_over(table, task)) else ""
    return TEMPLATE.format(
        file=file, read=read, name=name, run=name.stem, task=_settings(task, model),
        model=quoted(str(model or "MODEL_FOLDER")), train=quoted(str(file)), columns=f"{{{columns}}}",
        tasks=", ".join(catalog.names("task")), parts=parts,
    )  # fmt: skip


def read_of(recipe: str) -> str:
    """What such a recipe says at its top of how the file was read."""
    lines = recipe.split("\n")
    return "\n".join(line.removeprefix("# ") for line in lines[1 : lines.index("#")])


def _settings(task: str, model: Path | None) -> str:
    """The task, with a template where it renders conversations and the model's folder says nothing of how."""
    if model is None or "template" not in catalog.load("task", task, key="task").model_fields:
        return task
    try:
        if own_source(model, read_tokenizer(model)[1]) is not None:
            return task
        return f"{{use: {task}, template: {_template(model)}}}"
    except (InputError, CheckpointError):  # it is told where it is read to train
        return task


def _template(model: Path) -> str:
    """``chatml`` where the tokenizer has the token that ends its answers; else ``plain``, which needs none."""
    try:
        Transcriber.load(model, "chatml")
    except RecipeError:
        return "plain"
    return "chatml"


def _flagged(table: Table) -> Table | None:
    """The table with its columns of 0 and 1 as lists of labels, if it has several such and no label beside them."""
    label = by_names(table, form_of("classify").fields).get("label")
    flags = flag_columns(table, odd=ODD)  # of what else stands there, training tells
    return gather_flags(table, flags) if label is None and len(flags) >= FLAGS else None


def _sentences(file: Path) -> Table | None:
    """The file as sentences with a tag a token, if it is such a one."""
    try:
        table = read_rows(file, sentences=True)
    except InputError:  # it is said where it is read otherwise
        return None
    columns = _texts(table)
    if len(columns) < 2:
        return None
    tokens = [token for value in table.values(columns[0]) if isinstance(value, list) for token in value]
    if not all(isinstance(token, str) for token in tokens):
        return None
    spaced, letters = sum(" " in token for token in tokens), sum(map(len, tokens))
    if spaced * 10 >= len(tokens) or letters > TOKEN_LETTERS * len(tokens):
        return None
    return table


def guess(table: Table) -> tuple[str, Form[Any]]:
    """The task that the columns' names tell, else what stands in them: labels or numbers.

    Raises:
        InputError: none fits.
    """
    check_sentences(table)
    known = [name for name in ORDER if name in catalog.names("task")]
    for name in known:
        form = form_of(name)
        found = by_names(table, form.fields)
        whole = len(found) == sum(field.required for field in form.fields)
        if not whole or not reads(table, form) or (name in MORE and not MORE[name](table, found)):
            continue
        if "number" in found and not _are_all_numbers(table.values(found["number"])):
            continue
        if name == "classify" and _are_answered(table, found):
            return "seq2seq", form_of("seq2seq")
        other = NUMBERS.get(name)
        if other is not None and not table.marked and _are_grades(table.values(found["label"])):
            return other, form_of(other)
        return name, form
    for name, fits in BY_CONTENT.items():
        try:
            chosen = choose_columns(table, form_of(name).fields, {})
        except (InputError, RecipeError):
            continue
        if not fits(table, chosen):
            continue
        if name == "pair" and _are_marks(table.values(chosen["label"])):
            return "similarity", form_of("similarity")
        if name == "classify" and _are_grades(table.values(chosen["label"])):
            return "regress", form_of("regress")
        if name == "embed" and _are_translations(table, chosen):
            return "seq2seq", form_of("seq2seq")
        return name, form_of(name)
    asked = _asked(table)
    rest = [column for column in _texts(table) if column not in asked]
    if rest == [] and reads(table, form_of("chat"), gold=False):
        raise InputError(
            f"danlu init: {table.path} holds prompts without answers, of which nothing can be learned; "
            f"'danlu generate MODEL --prompts FILE --out ANSWERS.jsonl' answers them"
        )
    if len(texts := _texts(table)) == 1 and _is_running(table, texts[0]):
        raise InputError(
            f"danlu init: {table.path} holds texts alone, and nothing to learn of them: add a column with a label, a "
            f"number or an answer; prompts are answered by 'danlu generate MODEL --prompts FILE --out ANSWERS.jsonl', "
            f"and to pretrain on raw text, give its folder"
        )
    columns = f"the columns of {table.path}: {', '.join(table.columns)}"
    raise InputError(f"danlu init: no task is known for {columns}{why_not(table) or BY_HAND}")


def _asked(table: Table) -> Collection[str]:
    """The columns that prompts are read from, where there are any."""
    try:
        return choose_columns(table, form_of("chat").fields, {}, gold=False).values()
    except InputError:
        return ()


def _have_choices(table: Table, chosen: Mapping[str, str]) -> bool:
    """Whether there is a column for each choice, beside a question whose column is called anything."""
    choices = form_of("choice").also(table.columns)
    return bool(choices) and chosen["question"] not in choices and reads(table, form_of("choice"))


def _are_several(table: Table, found: Mapping[str, str]) -> bool:
    """Whether there are lists of labels, not all of one, or texts that are parted into labels which come again."""
    values = table.values(found["labels"])
    spelled = [literal(value) if isinstance(value, str) else value for value in values]
    lists = [value for value in spelled if isinstance(value, list)]
    if lists:
        return any(len(value) != 1 for value in lists)
    if table.marked:  # what a mark says to be one label is one, whatever is in it
        return False
    texts = [value for value in values if isinstance(value, str)]
    if any(set(value) & set("|;；｜") for value in texts):
        return True
    cells = {tuple(part.strip() for part in COMMAS.split(value)) for value in texts}
    several = [cell for cell in cells if len(cell) > 1]
    used = Counter(part for cell in cells for part in cell)
    again = [cell for cell in several if all(used[part] > 1 for part in cell)]
    return bool(several) and (len(used) < len(cells) or len(again) * 2 >= len(several))


def _are_keywords(table: Table, found: Mapping[str, str]) -> bool:
    """Whether the column is called so, or what it lists is no set of labels: hardly anything comes twice, though no
    mark says that these are labels."""
    if plain_name(found["keywords"]) not in LABELS:
        return True
    if table.marked:
        return False
    listed = [word for each in first_examples(table, form_of("keywords"), found) for word in each.keywords]
    return len(set(listed)) * 2 > len(listed) > len(table.rows[:ROWS])


def _are_called_keywords(table: Table, chosen: Mapping[str, str]) -> bool:
    """Whether a column is called so, as no other task's is."""
    return plain_name(chosen["keywords"]) in {*KEYWORDS} - {*LABELS} and reads(table, form_of("keywords"))


def _are_words(table: Table, chosen: Mapping[str, str]) -> bool:
    """Whether there is nothing but Chinese, in words of few characters with spaces between."""
    if len(table.columns) > 1 and plain_name(chosen["words"]) not in SEGMENTED:
        return False
    try:
        words = [word for each in first_examples(table, form_of("segment"), chosen) for word in each.words]
    except InputError:
        return False
    letters = "".join(words)
    return len(HAN.findall(letters)) * 2 > len(letters) and len(letters) <= MOST_LETTERS * len(words)


def _are_sentences(table: Table, chosen: Mapping[str, str]) -> bool:
    """Whether the first rows have a tag for each token, and some of them several."""
    try:
        found = first_examples(table, form_of("tag"), chosen)
    except InputError:
        return False
    return any(len(each.tokens) > 1 for each in found)


def _are_two_texts(table: Table, chosen: Mapping[str, str]) -> bool:
    """Whether both columns hold texts, hardly any of them twice."""
    return all(len(set(map(str, table.values(chosen[field])))) * 2 > len(table.rows) for field in ("first", "second"))


def _are_alike(table: Table, chosen: Mapping[str, str]) -> bool:
    """Whether there are two columns and no more, both of running text, not the same in all rows."""
    columns = [chosen[field] for field in ("query", "positives")]
    differ = len(set(map(str, table.values(columns[1])))) > 1
    return differ and len(_texts(table)) == 2 and all(_is_running(table, column) for column in columns)


def _texts(table: Table) -> list[str]:
    """The columns that do not only say which row it is, or where it is from."""
    return [column for column in table.columns if not is_of_rows(column)]


def _is_running(table: Table, column: str) -> bool:
    """Whether most values are several words, or Chinese."""
    texts = [value for value in table.values(column) if isinstance(value, str)]
    return len(texts) * 2 > len(table.rows) and sum(
        " " in text.strip() or HAN.search(text) is not None for text in texts
    ) * 2 > len(texts)


def _are_answers(table: Table, chosen: Mapping[str, str]) -> bool:
    """Whether of two columns the second answers the first, as riddles have it: it is called so, or half as long."""
    texts = _texts(table)
    if len(texts) != 2 or list(chosen.values()) != texts or not _is_running(table, texts[0]):
        return False
    if table.named and plain_name(texts[1]) in WRITER:
        return False
    first, second = ([str(value) for value in table.values(column)] for column in texts)
    if len(set(second)) == 1:  # it says nothing of the text
        return False
    called = table.named and (plain_name(texts[1]) in RESPONSE or texts[1].endswith(ANSWER))
    return called or sum(map(len, second)) * 2 < sum(map(len, first))


def _are_answered(table: Table, found: Mapping[str, str]) -> bool:
    """Whether nearly every text has a label of its own, in a column that is not called as classes are, so that it is
    no set of labels: it answers the text."""
    labels = [str(value) for value in table.values(found["label"])]
    if len(labels) < ENOUGH_ROWS or len(set(labels)) <= OWN_LABELS * len(labels) or all(map(is_number, labels)):
        return False
    if table.named and plain_name(found["label"]) in CLASSES:
        return False
    try:
        return _are_answers(table, choose_columns(table, form_of("seq2seq").fields, {}))
    except InputError:
        return False


def _are_no_answers(table: Table, chosen: Mapping[str, str]) -> bool:
    return not _are_answered(table, chosen)


def _are_compared(table: Table, chosen: Mapping[str, str]) -> bool:
    """Whether there are two texts, about as long as each other."""
    first, second = (sum(len(str(value)) for value in table.values(chosen[field])) for field in ("first", "second"))
    return _are_two_texts(table, chosen) and max(first, second) <= 2 * min(first, second)


def _are_asked_for(table: Table, found: Mapping[str, str]) -> bool:
    """Whether a text is all that could be learned: news have titles too, but mostly their topic is."""
    labels = by_names(table, form_of("classify").fields).get("label")
    return labels is None or not looks_like_labels(list(map(str, table.values(labels))))


def _are_marks(values: Sequence[Any]) -> bool:
    """Whether these are numbers on a scale, not those of classes as inference has them."""
    texts = _with_points(values)
    return are_counted(values) and all(map(is_number, texts)) and len(set(texts)) > MOST_CLASSES


def _are_grades(values: Sequence[Any]) -> bool:
    """Whether these are numbers, and too many to be names of classes, or with decimals."""
    texts = _with_points(values)
    return (
        are_counted(values)
        and all(map(is_number, texts))
        and (len(set(texts)) > MOST_GRADES or any(not float(text).is_integer() for text in texts))
    )


def _with_points(values: Sequence[Any]) -> list[str]:
    """Values without the unit that all have, with points for commas, whatever these are; the reader says how decimals
    are written."""
    return [str(value).replace(",", ".") for value in numbers_of(values)]


def _are_all_numbers(values: Sequence[Any]) -> bool:
    return are_counted(values) and all(map(is_number, _with_points(values)))


def _are_translations(table: Table, chosen: Mapping[str, str]) -> bool:
    """Whether the two texts are in different languages."""
    texts = ("\n".join(map(str, table.values(chosen[field])[:ROWS])) for field in ("query", "positives"))
    return len(set(map(detect_language, texts))) == 2


def _are_numbers(table: Table, chosen: Mapping[str, str]) -> bool:
    """Whether most are, in a column that may only be called as one of numbers."""
    texts = _with_points(table.values(chosen["number"]))
    return are_counted(table.values(chosen["number"])) and sum(map(is_number, texts)) * 2 > len(texts)


Fits = Callable[[Table, Mapping[str, str]], bool]
MORE: dict[str, Fits] = {"multi_label": _are_several, "keywords": _are_keywords, "seq2seq": _are_asked_for}
"""What has to hold beside the names of columns."""
BY_CONTENT: dict[str, Fits] = {
    "keywords": _are_called_keywords, "segment": _are_words, "tag": _are_sentences, "choice": _have_choices,
    "multi_label": _are_several, "pair": _are_two_texts, "similarity": _are_compared, "classify": _are_no_answers,
    "regress": _are_numbers, "seq2seq": _are_answers, "embed": _are_alike,
}  # fmt: skip
"""Tasks that what stands in the columns may tell, and what has to hold."""
