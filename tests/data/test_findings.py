"""Planted leaks, label errors and misspellings: each is found, counted and named, and nothing that is not there."""

from __future__ import annotations

from pathlib import Path

import opencc
import pytest

from danlu.data.chats import Message
from danlu.data.chosen import MultipleChoice
from danlu.data.example import Place
from danlu.data.extracted import Answer, Question
from danlu.data.findings import lines, look
from danlu.data.found import Finding
from danlu.data.labelled import Labelled
from danlu.data.preferred import Preference
from danlu.data.tagged import Tagged

WORDS = ["river", "stone", "cloud", "market", "window", "garden", "letter", "silver", "thunder", "candle"]


def sentence(number: int) -> str:
    return " ".join(
        WORDS[(number * step + step) % 10] + str(number * step % 97) for step in (1, 3, 7, 9, 11, 13, 17, 19)
    )


def labelled(file: str, rows: list[tuple[str, str]]) -> list[Labelled]:
    return [Labelled(Place(Path(file), number), (text,), label) for number, (text, label) in enumerate(rows, 1)]


def clean(file: str, start: int, count: int) -> list[tuple[str, str]]:
    return [(sentence(number), "pos" if number % 2 else "neg") for number in range(start, start + count)]


def found(findings: list[Finding], kind: str) -> list[Finding]:
    return [each for each in findings if each.kind == kind]


def test_nothing_is_said_of_clean_splits() -> None:
    findings = look({"train": labelled("a", clean("a", 0, 60)), "test": labelled("b", clean("b", 60, 30))})
    assert findings == []
    assert lines(findings) == ["no duplicates, leaks or odd labels found"]


def test_planted_leaks_are_counted_and_named() -> None:
    train, test = clean("a", 0, 60), clean("b", 60, 30)
    exact, other_case = sentence(3), f"  {sentence(4).upper()}!! "
    almost = sentence(5).replace(" ", "s ", 1) + "."
    leaks = [(exact, "pos"), (other_case, "neg"), (almost, "pos")]
    findings = look({"train": labelled("a.csv", train), "test": labelled("b.csv", [*test, *leaks])})
    (duplicate,) = found(findings, "duplicate")
    assert (duplicate.count, duplicate.of, duplicate.splits) == (2, 33, ("train", "test"))
    assert "b.csv, line 31) is a.csv, line 4" in duplicate.examples[0]
    assert str(duplicate).startswith("test: 2 of 33 examples (6.1%) are in train too (1 of them but for case")
    (near,) = found(findings, "near_duplicate")
    assert (near.count, near.splits) == (1, ("train", "test"))
    assert "a.csv, line 6" in near.examples[0]
    assert not found(findings, "conflict")
    assert (
        found(
            look({"train": labelled("a", train), "test": labelled("b", [*test, *leaks])}, near=None), "near_duplicate"
        )
        == []
    )


def test_chinese_leaks() -> None:
    train = labelled(
        "a",
        [
            (f"第{n}家酒店的房间很干净，服务员的态度也非常好，下次还会再来{n}", "好" if n % 2 else "差")
            for n in range(1)
        ],
    )
    test = labelled("b", [
        ("第0家酒店的房间很干净 服务员的态度也非常好 下次还会再来0", "差"),
        ("第0家酒店的房间很干净，服务员的态度也非常棒，下次还会再来0！", "差"),
        ("电影的剧情十分拖沓，看了一半就睡着了", "差"),
    ])  # fmt: skip
    findings = look({"train": train, "test": test})
    assert [each.count for each in found(findings, "duplicate")] == [1]
    assert [each.count for each in found(findings, "near_duplicate")] == [1]


def test_copies_in_the_other_script_of_chinese_are_leaks() -> None:
    """The converter of the tests is OpenCC's own, by words, as those have who make such copies."""
    written = [
        "皇后以后会去干燥的沙漠里看一看干部们", "头发理得很好，服务员的态度也非常周到，下次还会再来",
        "电影的剧情拖沓，看了一半就睡着了，浪费了两个小时", "这家面馆的汤面只有咸味，价钱却不便宜",
    ]  # fmt: skip
    train = labelled("a", [(text, "正面") for text in written])
    for config in ("s2t", "s2tw", "s2hk"):
        copies = [opencc.OpenCC(config).convert(text) for text in written]
        assert set(copies).isdisjoint(written)
        findings = look({"train": train, "test": labelled("b", [(text, "负面") for text in copies])})
        (duplicate,) = found(findings, "duplicate")
        assert (duplicate.count, duplicate.of) == (4, 4) and "(4 of them but for case, script," in str(duplicate)
        assert [each.count for each in found(findings, "conflict")] == [4]
    almost = opencc.OpenCC("s2t").convert(written[1].replace("再来", "来"))
    assert found(look({"train": train, "test": labelled("b", [(almost, "正面")])}), "near_duplicate")


def test_signs_that_cannot_be_seen_hide_no_copy() -> None:
    text = sentence(3)
    hidden = "\u200b".join([text[:3], "\u00ad".join([text[3:9], text[9:]])]) + "\ufeff"
    findings = look({"train": labelled("a", [(text, "pos")]), "test": labelled("b", [(hidden, "pos")])})
    assert [each.count for each in found(findings, "duplicate")] == [1]


def test_planted_label_errors_are_found() -> None:
    train = clean("a", 0, 60)
    flipped = [(train[7][0], "neg"), (train[9][0].upper(), "neg"), (train[11][0], "pos")]  # the last agrees
    almost = (train[13][0] + " s", "neg")
    findings = look({"train": labelled("a", [*train, *flipped, almost])})
    (conflict,) = found(findings, "conflict")
    assert (conflict.count, conflict.splits) == (2, ("train",))
    assert "is 'neg', but 'pos' in a, line 8" in conflict.examples[0]
    (near,) = found(findings, "near_conflict")
    assert near.count == 1
    assert "a, line 64) is 'neg', but 'pos' in a, line 14" in near.examples[0]
    (repeated,) = found(findings, "repeated")
    assert repeated.count == 3


def test_a_label_error_between_two_splits() -> None:
    train = clean("a", 0, 20)
    findings = look({"train": labelled("a", train), "dev": labelled("b", [(train[1][0], "neg"), *clean("b", 20, 9)])})
    (conflict,) = found(findings, "conflict")
    assert conflict.splits == ("train", "dev")
    assert str(conflict).startswith("dev: 1 text has another label in train where it stands again")


def test_uneven_and_rare_labels() -> None:
    rows = [(sentence(n), "often" if n > 2 else "seldom") for n in range(60)]
    findings = look({"train": labelled("a", rows)})
    assert found(findings, "rare")[0].what == "1 of 2 labels has fewer than 5 examples: 'seldom' 3"
    assert "'often' 57 (95%), 'seldom' 3" in found(findings, "imbalance")[0].what
    tags = [Tagged(Place(Path("a"), n), ("w",) * 30, ("B-A", "I-A", *["O"] * 28), ()) for n in range(9)]
    tags.append(Tagged(Place(Path("a"), 9), ("x", "y"), ("B-B", "I-B"), ()))
    assert found(look({"train": tags}), "rare")[0].what == "1 of 2 labels has fewer than 5 examples: 'B' 1"


def test_labels_that_nothing_is_measured_of() -> None:
    rows = [(sentence(n), "abc"[n % 3]) for n in range(30)]
    findings = look(
        {"train": labelled("a", rows), "test": labelled("b", [(sentence(n), "ab"[n % 2]) for n in range(30, 50)])}
    )
    (missing,) = found(findings, "missing_label")
    assert missing.count == 1 and str(missing).startswith("test: 1 of 3 labels never occur here")


def test_labels_of_the_recipe_that_training_has_no_example_of() -> None:
    train = labelled("a", clean("a", 0, 30))
    (missing,) = found(look({"train": train}, labels=("neg", "odd", "pos")), "missing_label")
    assert str(missing) == "train: 1 of 3 labels has no example here and cannot be learned: 'odd'"
    assert not found(look({"train": train}, labels=("neg", "pos")), "missing_label")
    tags = [Tagged(Place(Path("a"), 1), ("a",), ("B-X",))]
    assert not found(look({"train": tags}, labels=("O", "B-X", "I-X")), "missing_label")


def test_a_text_that_says_its_label() -> None:
    rows = [
        (f"{sentence(n)} label={'positive' if n % 2 else 'negative'}", "positive" if n % 2 else "negative")
        for n in range(40)
    ]
    (told,) = found(look({"train": labelled("a", rows)}), "told")
    assert told.count == 40


def test_a_word_that_gives_a_label_away() -> None:
    rows = [(f"{sentence(n)}{' <ref_7>' if n % 2 else ''}", "yes" if n % 2 else "no") for n in range(60)]
    rows[1] = (sentence(1), "yes")  # one of 30 lacks it
    (telling,) = found(look({"train": labelled("a", rows)}), "telling")
    assert telling.count == 29 and "'ref_7' stands in 29 texts of 'yes', in 0 others" in str(telling)
    rows[41] = (sentence(41), "yes")  # two do: it may be chance
    assert not found(look({"train": labelled("a", rows)}), "telling")
    elsewhere = [(f"{sentence(n)} ref_7", label) if n == 2 else (text, label) for n, (text, label) in enumerate(rows)]
    elsewhere[41] = (f"{sentence(41)} ref_7", "yes")
    assert not found(look({"train": labelled("a", elsewhere)}), "telling")
    few = [(f"{sentence(n)}{' <ref_7>' if n % 2 else ''}", "yes" if n % 2 else "no") for n in range(38)]
    assert not found(look({"train": labelled("a", few)}), "telling")


def test_a_chinese_word_that_gives_a_label_away() -> None:
    rows = [(f"第{sentence(n)}句，{'退款' if n % 2 else '发货'}。", "甲" if n % 2 else "乙") for n in range(60)]
    (telling,) = found(look({"train": labelled("a", rows)}), "telling")
    assert telling.count == 60 and "'退款' stands in 30 texts of '甲', in 0 others" in str(telling)


def question(file: str, number: int, asked: str, context: str) -> Question:
    return Question(Place(Path(file), number), f"{file}{number}", asked, context, (Answer(context[:3], 0),))


def test_a_question_that_has_another_answer_where_it_stands_again() -> None:
    asked, context = "Who has the garden?", sentence(7)
    said = [(3, context[:3]), (9, context[:3].upper()), (12, context[-3:]), (15, "")]
    again = [
        Question(Place(Path("a.csv"), line), str(line), asked, context, (Answer(text, 0),) * bool(text))
        for line, text in said
    ]
    (conflict,) = found(look({"train": [question("b", 1, "oh?", sentence(2)), *again[:3]]}), "conflict")
    assert conflict.count == 1 and "1 text has another answer where it stands again" in str(conflict)
    assert f"(a.csv, line 12) is {context[-3:]}, but {context[:3]} in a.csv, line 3" in str(conflict)
    (conflict,) = found(look({"train": again[:2], "test": again[3:]}), "conflict")
    assert "has another answer in train where" in str(conflict) and "is no answer, but" in str(conflict)
    assert not found(look({"train": again[:2]}), "conflict")
    other = Question(Place(Path("a.csv"), 4), "4", asked.replace("has", "had"), context, (Answer(context[-3:], 0),))
    assert not found(look({"train": [again[0], other]}), "conflict")


def test_the_letters_of_a_number_give_a_label_away() -> None:
    rows = [(f"{'SPT' if number % 2 else 'POL'}{number:04d}: {text}", label)
            for number, (text, label) in enumerate(clean("a", 0, 80))]  # fmt: skip
    (telling,) = found(look({"train": labelled("a", rows)}), "telling")
    assert telling.count == 80 and "'spt' stands in 40 texts of 'pos', in 0 others" in str(telling)


def test_pairs_that_stand_the_other_way_round() -> None:
    def pairs(file: str, first: int, turned: bool) -> list[Labelled]:
        texts = [(sentence(number), sentence(number + 50)) for number in range(first, first + 30)]
        return [
            Labelled(Place(Path(file), number), (both[1], both[0]) if turned else both, "ab"[number % 2])
            for number, both in enumerate(texts, 1)
        ]

    train, test = pairs("a.csv", 0, False), [*pairs("b.csv", 200, False), *pairs("c.csv", 0, True)[:4]]
    (leak,) = found(look({"train": train, "test": test}), "duplicate")
    assert leak.count == 4 and "in train too (4 of them with their two texts turned round)" in leak.what
    assert "c.csv, line 1) is a.csv, line 1" in leak.examples[0]


def test_preferences_that_contradict_each_other() -> None:
    def prefer(line: int, asked: str, chosen: str, rejected: str) -> Preference:
        one, other = ((Message("assistant", said),) for said in (chosen, rejected))
        return Preference(Place(Path("a.jsonl"), line), (Message("user", asked),), one, other)

    train = [prefer(number, sentence(number), f"yes {number}", f"no {number}") for number in range(1, 9)]
    assert not found(look({"train": train, "dev": [prefer(9, sentence(1), "yes 1", "never")]}), "conflict")
    (wrong,) = found(look({"train": train, "dev": [prefer(9, sentence(3), "no 3", "yes 3")]}), "conflict")
    assert wrong.splits == ("train", "dev") and wrong.count == 1
    assert str(wrong).startswith("dev: 1 pair is the other way round in train where both answers stand again: ")
    assert "(a.jsonl, line 9) prefers 'no 3', but 'yes 3' in a.jsonl, line 3" in str(wrong)


def test_a_context_that_two_splits_share() -> None:
    train = [question("a", n, sentence(n), f"{sentence(n + 100)} and more") for n in range(10)]
    test = [
        question("b", 1, "quite another question?", f"{sentence(104)} and more"),
        question("b", 2, "oh?", sentence(200)),
    ]
    findings = look({"train": train, "test": test})
    (shared,) = found(findings, "shared_group")
    assert (shared.count, shared.of) == (1, 2)
    assert not found(findings, "duplicate") and not found(findings, "near_duplicate")


def test_a_question_whose_choices_stand_in_another_order_is_the_same() -> None:
    choices = ("one way", "two ways", "three ways", "four ways")
    learned = [MultipleChoice(Place(Path("a"), 1), "how many are there?", choices, 1)]
    asked = [MultipleChoice(Place(Path("b"), 1), "How many are there?", choices[::-1], 2)]
    (found,) = look({"train": learned, "test": asked})
    assert (found.kind, found.splits) == ("duplicate", ("train", "test"))
    assert "1 of them with their choices in another order" in found.what and "case" not in found.what
    wrong = [MultipleChoice(Place(Path("b"), 1), "How many are there?", choices[::-1], 1)]
    _, conflict = look({"train": learned, "test": wrong})
    assert conflict.kind == "conflict" and "is 'three ways', but 'two ways' in a, line 1" in conflict.examples[0]


def test_a_copy_in_the_order_of_another_copy_is_not_counted_as_one_of_another_order() -> None:
    choices = ("one way", "two ways", "three ways")
    learned = [MultipleChoice(Place(Path("a"), 1), "how many?", choices, 1),
               MultipleChoice(Place(Path("a"), 2), "how many?", choices[::-1], 1)]  # fmt: skip
    for question, told in (("how many?", " are in train too"), ("How many?", "1 of them but for case, ")):
        asked = [MultipleChoice(Place(Path("b"), 1), question, choices[::-1], 1)]
        (found,) = [each for each in look({"train": learned, "test": asked}) if each.splits == ("train", "test")]
        assert told in found.what and "order" not in found.what and "-1" not in found.what
        assert ("of them" in found.what) is (question == "How many?")


@pytest.mark.parametrize("choices", [("one", "two"), ("-1", "1")])
def test_the_same_question_with_two_right_choices(choices: tuple[str, str]) -> None:
    rows = [MultipleChoice(Place(Path("a"), n), "what is it?", choices, n) for n in range(2)]
    assert found(look({"train": rows}), "conflict")[0].count == 1


def test_tags_of_the_same_tokens_differ() -> None:
    tokens = tuple(sentence(1).split())
    first = Tagged(Place(Path("a"), 1), tokens, ("B-A", *["O"] * 7))
    other = Tagged(Place(Path("a"), 2), tokens, ("O",) * 8)
    cut = Tagged(Place(Path("a"), 3), (*tokens, "."), ("B-A", *["O"] * 8))
    assert found(look({"train": [first, other, cut]}), "conflict")[0].count == 1
    assert not found(look({"train": [first, cut]}), "conflict")


def test_labels_that_say_that_there_is_none() -> None:
    train = labelled("a", [(sentence(n), ("yes", "no", "nan", "-", "none")[n % 5]) for n in range(40)])
    told = {each.what.split("'")[1]: each.count for each in found(look({"train": train}), "placeholder")}
    assert told == {"nan": 8, "-": 8}
    assert "(data: {leave_out: ['nan']})" in str(found(look({"train": train}), "placeholder")[0])


def test_what_says_that_there_is_no_label_is_no_rare_label() -> None:
    """So that nobody gives it a weight."""
    train = labelled("a", [(sentence(n), "-" if n % 40 == 0 else ("yes", "no")[n % 2]) for n in range(80)])
    kinds = {each.kind for each in look({"train": train})}
    assert "placeholder" in kinds and not kinds & {"rare", "imbalance"}
