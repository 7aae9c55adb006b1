"""What every suite asks is what lm-evaluation-harness asks, by its own task files on the same rows."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from danlu import catalog
from danlu.errors import InputError, RecipeError
from danlu.recipe import build_choice
from danlu.suites.question import Question, Suite
from danlu.suites.run import read_questions

pytest.importorskip("lm_eval", reason="lm-evaluation-harness is not installed (pip install lm-eval)")
tasks = pytest.importorskip("harness_tasks")
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
SHARED = Path(__file__).parents[3] / "shared/data/zero_shot"


def suite(name: str, **settings: Any) -> Suite:
    made: Suite = build_choice("suite", {"use": name, **settings}, key="suite")
    return made


@dataclass
class Theirs:
    contexts: list[str]
    continuations: list[str]
    gold: int


def asked(task: Any) -> list[Theirs]:
    """What the harness asks, a question each."""
    task.build_all_requests()
    by_doc: dict[int, list[Any]] = {}
    for instance in task.instances:
        by_doc.setdefault(instance.doc_id, []).append(instance)
    found = []
    for instances in by_doc.values():
        doc = instances[0].doc
        gold = 0
        if task.OUTPUT_TYPE == "multiple_choice":
            gold = task.doc_to_text(doc) if task.multiple_input else task.doc_to_target(doc)
            gold = task.doc_to_choice(doc).index(gold) if isinstance(gold, str) else int(gold)
        found.append(Theirs([each.args[0] for each in instances], [each.args[1] for each in instances], gold))
    return found


def check(questions: list[Question], theirs: list[Theirs]) -> None:
    assert len(questions) == len(theirs) > 0
    for ours, other in zip(questions, theirs, strict=True):
        assert [request.context for request in ours.requests] == other.contexts
        assert [request.continuation for request in ours.requests] == other.continuations
        assert ours.gold == other.gold


SUBJECTS = {"cmmlu": "agronomy", "ceval": "accountant"}


@pytest.mark.parametrize("name", sorted(tasks.FILES))
def test_prompts_and_golds_are_the_harnesss(name: str, tmp_path: Path) -> None:
    task = tasks.make_task(name, tmp_path)
    settings = {"subject": SUBJECTS[name]} if name in SUBJECTS else {}
    check(read_questions(suite(name, **settings), tmp_path / f"{name}.jsonl"), asked(task))


@pytest.mark.parametrize("shots", [1, 2])
def test_answered_questions_stand_before_as_in_the_harness(shots: int, tmp_path: Path) -> None:
    task = tasks.make_task("cmmlu", tmp_path, shots=shots)
    made = suite("cmmlu", subject="agronomy", shots=shots, examples=str(tmp_path / "cmmlu_dev.jsonl"))
    assert made.files() == [tmp_path / "cmmlu_dev.jsonl"]
    check(read_questions(made, tmp_path / "cmmlu.jsonl"), asked(task))


def test_every_suite_is_compared() -> None:
    assert set(catalog.names("suite")) - {"questions"} == set(tasks.FILES)


@pytest.mark.parametrize("name", ["cmmlu", "ceval"])
def test_subjects_are_called_as_in_the_harness(name: str) -> None:
    import yaml

    from danlu.suites.exams import CEval, Cmmlu

    ours = {"cmmlu": Cmmlu, "ceval": CEval}[name]
    found = {}
    for path in (tasks.TASKS / name).glob("*.yaml"):
        config = yaml.safe_load(path.read_text(encoding="utf-8"))
        if "description" in config:
            found[config["dataset_name"]] = config["description"]
    assert {subject: ours.TEXT.format(called) for subject, called in ours.NAMES.items()} == found


HALF_MADE = {
    "lambada": ({"context": "The king looked", "continuation": "up"}, {"text": "The king looked up"}),
    "copa": (
        {"query": "The man turned on the faucet, therefore", "choices": ["the toilet filled.", "water flowed."],
         "gold": 1},
        {"premise": "The man turned on the faucet.", "choice1": "The toilet filled.", "choice2": "Water flowed.",
         "question": "effect", "label": 1},
    ),
    "piqa": (
        {"query": "Question: Make time\n", "choices": ["to be", "or not"], "gold": 0},
        {"goal": "Make time", "sol1": "to be", "sol2": "or not", "label": 0},
    ),
    "arc": (
        {"query": "Question: Where is it?", "choices": ["up", "down"], "gold": 1},
        {"question": "Where is it?", "choices": {"text": ["up", "down"], "label": ["A", "B"]}, "answerKey": "B"},
    ),
    "boolq": (
        {"query": "Passage: A river.\nQuestion: is it a river?", "choices": ["no", "yes"], "gold": 1},
        {"passage": "A river.", "question": "is it a river", "answer": True},
    ),
    "winogrande": (
        {"context_options": ["so Sarah", "so Maria"], "continuation": "won.", "gold": 1},
        {"sentence": "so _ won.", "option1": "Sarah", "option2": "Maria", "answer": "2"},
    ),
}  # fmt: skip
"""A row with its prompt half made, and the one that it was made of."""


@pytest.mark.parametrize("name", sorted(HALF_MADE))
def test_half_made_prompts_come_to_the_same(name: str, tmp_path: Path) -> None:
    half, whole = (
        read_questions(suite(name), tasks.write_rows(tmp_path / f"{number}.jsonl", [row, row]))
        for number, row in enumerate(HALF_MADE[name])
    )
    for one, other in zip(half, whole, strict=True):
        assert (one.requests, one.gold, one.choices) == (other.requests, other.gold, other.choices)


def test_questions_of_your_own(tmp_path: Path) -> None:
    rows = [{"passage": "P {question}", "q": "Who?", "A": "I", "B": "you", "answer": "B"}] * 2
    path = tasks.write_rows(tmp_path / "own.jsonl", rows)
    made = suite("questions", prompt="{context} {question} =", columns={"question": "q"})
    question = read_questions(made, path)[0]
    assert [request.context for request in question.requests] == ["P {question} Who? ="] * 2
    assert [request.continuation for request in question.requests] == [" I", " you"]
    assert question.gold == 1
    with pytest.raises(RecipeError, match=r"suite: prompt must hold \{question\}"):
        suite("questions", prompt="x")


def test_a_limit_is_for_each_paradigm(tmp_path: Path) -> None:
    rows = [
        {"sentence_good": f"a{number}", "sentence_bad": "b", "linguistics_term": "t", "UID": f"u{number % 2}"}
        for number in range(10)
    ]
    found = read_questions(suite("blimp"), tasks.write_rows(tmp_path / "b.jsonl", rows), limit=2)
    assert [question.place.number for question in found] == [1, 2, 3, 4]
    assert found[0].groups == {"phenomenon": "t", "paradigm": "u0"}


BAD = {
    "blimp": ([{"sentence_good": "a"}], "columns sentence_good, sentence_bad; got sentence_good"),
    "lambada": ([{"text": "word"}], "line 1: the text must end in a space and a last word"),
    "arc": ([{"question": "q", "choices": ["a", "b"], "gold": 2}, {"question": "q", "choices": ["a", "b"], "gold": 0}],
            "line 1: the answer must be a choice from 0 to 1; got 2"),
    "piqa": ([{"goal": "g", "sol1": "a", "label": 0}], "line 1: there are no choices"),
    "boolq": ([{"passage": "p", "question": "q", "label": 2}], "line 1: the label must be a number from 0 to 1; got 2"),
    "winogrande": ([{"sentence": "no blank", "option1": "a", "option2": "b", "answer": "1"}],
                   "line 1: the sentence must hold _"),
    "copa": ([{"premise": "p.", "choice1": "a", "choice2": "b", "question": "why", "label": 0}],
             "line 1: the question must be one of cause, effect; got 'why'"),
    "cmmlu": ([{"subject": "agronomie", "question": "q", "A": "1", "B": "2", "C": "3", "D": "4", "answer": "A"}],
              "line 1: unknown subject 'agronomie'; did you mean 'agronomy'"),
    "ceval": ([{"question": "q", "A": "1", "B": "2", "C": "3", "D": "4", "answer": "A"}],
              "has no column 'subject'; set subject"),
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(BAD))
def test_a_row_that_is_no_question_is_one_clear_line(name: str, tmp_path: Path) -> None:
    rows, message = BAD[name]
    with pytest.raises(InputError) as error:
        read_questions(suite(name), tasks.write_rows(tmp_path / "bad.jsonl", rows))
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_yes_and_no_are_answers_too(tmp_path: Path) -> None:
    answers: list[Any] = ["yes", "No", True, "false", 1]
    rows = [{"passage": "p", "question": "q", "answer": answer} for answer in answers]
    found = read_questions(suite("boolq"), tasks.write_rows(tmp_path / "b.jsonl", rows))
    assert [each.choices[each.gold] for each in found] == ["yes", "no", "yes", "no", "yes"]


@pytest.mark.parametrize(("settings", "message"), [
    ({"shots": 5}, "shots and examples go together"),
    ({"shots": -1}, "shots must be at least 0"),
])  # fmt: skip
def test_a_setting_of_exams_that_is_wrong_is_one_clear_line(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        suite("cmmlu", **settings)


def test_too_few_answered_questions_are_one_clear_line(tmp_path: Path) -> None:
    tasks.write_rows(tmp_path / "dev.jsonl", tasks.SHOTS)
    made = suite("cmmlu", subject="agronomy", shots=5, examples=str(tmp_path / "dev.jsonl"))
    with pytest.raises(InputError, match=r"dev.jsonl has 3 questions of 'agronomy'; shots are 5"):
        read_questions(made, tasks.write_rows(tmp_path / "c.jsonl", tasks.ROWS["cmmlu"]))


PUBLISHED = {
    "lambada": "en/lambada_openai.jsonl", "blimp": "en/blimp.jsonl.gz", "zhoblimp": "zh/zhoblimp.jsonl.gz",
    "copa": "en/copa.jsonl", "piqa": "en/piqa.jsonl", "arc": "en/arc_easy.jsonl", "boolq": "en/boolq.jsonl",
    "winogrande": "en/winogrande.jsonl", "cmmlu": "zh/cmmlu_test.jsonl.gz",
}  # fmt: skip
ITEMS = {
    "lambada": 5153, "blimp": 67000, "zhoblimp": 35400, "copa": 100, "piqa": 1838, "arc": 2376, "boolq": 3270,
    "winogrande": 1267, "cmmlu": 11582,
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(PUBLISHED))
def test_the_whole_data_sets_are_read(name: str) -> None:
    if not SHARED.is_dir():
        pytest.skip(f"the data sets are not at {SHARED}")
    assert len(read_questions(suite(name), SHARED / PUBLISHED[name])) == ITEMS[name]
