"""Labels that are typing errors are told once, with their lines; labels that only look alike are not."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from danlu.data import label_typos
from danlu.data.chinese_words import sound_the_same
from danlu.data.example import Place
from danlu.data.findings import look
from danlu.data.found import Finding
from danlu.data.label_typos import ALONE, MAYBE, typos, without_typos
from danlu.data.labelled import Labelled
from danlu.data.misspelt import Form, edits, form, misspelt
from danlu.data.tagged import Tagged


def labelled(counts: Mapping[str, int], *, file: str = "a.csv") -> list[Labelled]:
    """Examples of texts that nothing else is said of."""
    labels = [label for label, count in counts.items() for _ in range(count)]
    return [Labelled(Place(Path(file), n), (f"{n * 7919} x{n}",), label) for n, label in enumerate(labels, 2)]


def found(splits: Mapping[str, list[Labelled]], kind: str) -> list[Finding]:
    return [each for each in look(splits, near=None) if each.kind == kind]


@pytest.mark.parametrize(("label", "right"), [
    ("pos ", "pos"), (" pos", "pos"), ("Pos", "pos"), ("ｐｏｓ", "pos"), ("pos\u200b", "pos"), ("pos\u00a0", "pos"),
    ("Very Good", "very_good"), ("very-good", "very_good"), ("verygood", "very_good"), ("POS", "pos"),
    ("体 育", "体育"), ("体育　", "体育"), ("very - good", "very_good"), ("very–good", "very_good"),
    ("5-stars", "5 stars"),
    ("正面。", "正面"), ("正面!", "正面"), ("「正面」", "正面"), ("正面；", "正面"), ("bad,", "bad"), ("bad!", "bad"),
    ("'bad'", "bad"),
    ("負面", "负面"), ("體育", "体育"), ("衞生", "卫生"), ("裏面", "裡面"),
    ("“bad”", "bad"), ("`bad`", "bad"), ("(bad)", "bad"), ("«bad» ", "bad"), ("bad...", "bad"), ("bad_", "bad"),
    ("A+.", "A+"), ('"A-"', "A-"), ("(C#)", "c#"), ("A−", "A-"), ("A -", "A-"), ("5。", "5"), ("(-1)", "-1"),
])  # fmt: skip
@pytest.mark.parametrize("count", [1, 30])
def test_case_width_and_spaces_make_no_label_however_frequent(label: str, right: str, count: int) -> None:
    assert typos({right: 40, "other": 40, label: count}) == {label: (right, ALONE)}


@pytest.mark.parametrize(("label", "right"), [
    ("postive", "positive"), ("posiitve", "positive"), ("positve", "Positive"), ("poistvie", "positive"),
    ("begative", "negative"), ("opsitive", "positive"), ("ositive", "positive"), ("ppositive", "positive"),
    ("nuetral", "neutral"), ("sports", "sport"), ("per:emploee_of", "per:employee_of"),
    ("Sceince/Tech", "Science/Tech"),
    ("体育新闻闻", "体育新闻"), ("体新育闻", "体育新闻"), ("际关系学院", "国际关系学院"), ("5 stras", "5 stars"),
])  # fmt: skip
def test_a_letter_or_two_of_a_rare_label(label: str, right: str) -> None:
    assert typos({right: 40, "another": 40, label: 2}) == {label: (right, MAYBE)}
    assert typos({right: 40, "another": 40, label: 12}) == {}


@pytest.mark.parametrize(("label", "other"), [
    ("1", "2"), ("10", "11"), ("-1", "1"), ("1.5", "15"), ("10-20", "1020"), ("10 stars", "11 stars"), ("v1.2", "v12"),
    ("LOC", "LOG"), ("B-PER", "I-PER"), ("per:tel", "per:ten"), ("class a", "class b"), ("grade_A", "grade_B"),
    ("levelI", "levelII"), ("LevelA", "LevelB"), ("en-us", "en-uk"), ("car", "cat"), ("pass", "fail"),
    ("moral", "amoral"), ("relevant", "irrelevant"), ("important", "unimportant"), ("increase", "decrease"),
    ("price_increase", "price_decrease"), ("internal", "external"), ("immigration", "emigration"),
    ("hypertension", "hypotension"), ("northeast", "northwest"), ("employer", "employee"), ("inclusive", "exclusive"),
    ("体育新闻", "教育新闻"), ("国内新闻", "国际新闻"), ("涉及政治", "不涉及政治"), ("有人认领", "无人认领"),
    ("A-", "A"), ("B-", "B"), ("B-", "B+"), ("A+", "A"), ("A*", "A"), ("C#", "C"), ("C++", "C"),
    ("objective-c", "objective-c++"),
    ("positive+", "positive"), ("positive-", "positive"), ("-positive", "positive"), ("#positive", "positive"),
    ("grade -1", "grade 1"), ("grade-1", "grade1"), ("A- grade", "A grade"), ("PRP$", "PRP"), ("``", "''"), (".", ","),
    ("10%", "10"), ("viii", "xviii"), ("PRON", "PROPN"), ("CCONJ", "SCONJ"), ("正面", "负面"), ("word", "world cup"),
    ("negative", "positive"),
])  # fmt: skip
def test_labels_that_only_look_alike(label: str, other: str) -> None:
    for rare, frequent in ((label, other), (other, label)):
        assert typos({frequent: 40, "something else": 40, rare: 1}) == {}


@pytest.mark.parametrize(("label", "right"), [
    ("正面面", "正面"), ("面正", "正面"), ("体育育", "体育"), ("育体", "体育"), ("好好评", "好评"),
    ("人民日日报", "人民日报"),
])  # fmt: skip
def test_an_ideograph_doubled_or_swapped(label: str, right: str) -> None:
    assert typos({right: 500, "another": 500, label: 2}) == {label: (right, MAYBE)}
    assert typos({right: 500, "another": 500, label: 60}) == {}


@pytest.mark.parametrize(("label", "right"), [
    ("积级", "积极"), ("休育", "体育"), ("科技新文", "科技新闻"), ("正面评介", "正面评价"), ("娱东", "娱乐"),
    ("体育/蓝球", "体育/篮球"),
])  # fmt: skip
def test_an_ideograph_exchanged_in_a_label_that_occurs_once_or_twice(label: str, right: str) -> None:
    for count in (1, 2):
        assert typos({right: 100, "another": 100, label: count}) == {label: (right, MAYBE)}
    assert typos({right: 1000, "another": 100, label: 3}) == {}


@pytest.mark.parametrize(("label", "right"), [("娱东", "娱乐"), ("休育", "体育")])
def test_one_of_another_sound_only_beside_many(label: str, right: str) -> None:
    assert typos({right: 99, "another": 100, label: 1}) == {}


@pytest.mark.parametrize(("label", "other"), [
    ("国内", "国际"), ("国外", "国内"), ("男", "女"), ("男性", "女性"), ("男装", "女装"), ("正面", "负面"),
    ("积极", "消极"), ("有效", "无效"),
    ("正常", "异常"), ("体育", "教育"), ("时政", "时尚"), ("财经", "财政"), ("科技", "科学"), ("支持", "反对"),
    ("肯定", "否定"), ("上涨", "下跌"),
    ("上涨", "下涨"), ("左侧", "右侧"), ("大型", "小型"), ("内科", "外科"), ("优等", "差等"), ("第一类", "第二类"),
    ("甲级", "乙级"), ("高级", "中级"),
    ("山东", "山西"), ("湖南省", "湖北省"), ("江苏", "江西"), ("英语", "法语"), ("中译英", "中译法"),
    ("中英", "英中"), ("国内新闻", "国际新闻"),
    ("体育新闻", "教育新闻"), ("正面评价", "负面评价"), ("不确定", "再确定"), ("相关", "不相关"),
    ("涉及政治", "不涉及政治"), ("语言识别", "多语言识别"),
    ("部长任命", "副部长任命"), ("A类型", "B类型"), ("评级AA", "评级A"), ("评级AB", "评级BA"), ("一星级", "二星级"),
    ("人名", "名人"), ("妈", "妈妈"),
    ("故事", "事故"), ("足球", "篮球"), ("年报", "月报"), ("买入", "卖出"), ("买方", "卖方"), ("增加", "减加"),
    ("收入", "支入"), ("春季", "秋季"), ("开心", "伤心"),
])  # fmt: skip
@pytest.mark.parametrize("count", [1, 2])
def test_ideographs_that_make_another_label(label: str, other: str, count: int) -> None:
    """However seldom it occurs: letters of a series, negations, and usual words."""
    for rare, frequent in ((label, other), (other, label)):
        assert typos({frequent: 500, "something else": 500, rare: count}) == {}


@pytest.mark.parametrize(("label", "other"), [
    ("农事", "军事"), ("民歌", "诗歌"), ("楼市", "股市"), ("玩具", "家具"), ("饲料", "饮料"), ("油画", "版画"),
    ("话剧", "京剧"), ("羊肉", "牛肉"), ("红茶", "绿茶"), ("农药", "中药"), ("鼻腔", "口腔"), ("肝癌", "肺癌"),
    ("护士", "学士"), ("院长", "校长"), ("医师", "厨师"), ("论文", "散文"), ("童话", "神话"), ("冰球", "网球"),
    ("摄影", "电影"), ("汽油", "石油"), ("公证", "签证"), ("越南", "云南"), ("镇江", "浙江"),
    ("楼市新闻", "股市新闻"), ("带领", "领带"),
])  # fmt: skip
@pytest.mark.parametrize("count", [1, 2])
def test_usual_words_are_labels_of_their_own(label: str, other: str, count: int) -> None:
    """Of another sound, both in jieba's dictionary."""
    for rare, frequent in ((label, other), (other, label)):
        assert typos({frequent: 500, "something else": 500, rare: count}) == {}


@pytest.mark.parametrize(("label", "right"), [
    ("登陆", "登录"), ("帐户", "账户"), ("定单", "订单"), ("克服", "客服"), ("反应", "反映"), ("权力", "权利"),
    ("必需", "必须"), ("报到", "报道"), ("货款", "贷款"), ("入口", "人口"), ("投拆", "投诉"), ("音月", "音乐"),
    ("登陆问题", "登录问题"),
])  # fmt: skip
def test_usual_words_of_the_same_sound_or_shape_are_told_all_the_same(label: str, right: str) -> None:
    assert typos({right: 500, "another": 500, label: 2}) == {label: (right, MAYBE)}


@pytest.mark.parametrize(("label", "right"), [
    ("政面", "正面"), ("积级", "积极"), ("娱勒", "娱乐"), ("体玉", "体育"), ("投数", "投诉"), ("蓝球", "篮球"),
    ("财金", "财经"),
])  # fmt: skip
def test_an_ideograph_of_the_same_sound_is_told_among_few_examples(label: str, right: str) -> None:
    """zh, ch, sh as z, c, s; n as l, h as f, ng as n; whatever the tone."""
    assert typos({right: 20, "another": 20, label: 2}) == {label: (right, MAYBE)}
    assert typos({right: 19, "another": 20, label: 1}) == {}
    assert typos({right: 1000, "another": 20, label: 3}) == {}


@pytest.mark.parametrize(("one", "other", "same"), [
    ("正", "政", True), ("女", "旅", True), ("是", "四", True), ("飞", "黑", True), ("京", "金", True),
    ("乐", "月", True), ("正", "面", False), ("体", "天", False), ("x", "正", False), ("x", "x", False),
])  # fmt: skip
def test_how_signs_sound(one: str, other: str, same: bool) -> None:
    assert sound_the_same(one, other) == sound_the_same(other, one) == same


@pytest.mark.parametrize(("label", "right"), [
    ("pso", "pos"), ("badd", "bad"), ("PRE", "PER"), ("baad", "bad"), ("LOCC", "LOC"), ("opsn", "posn"),
    ("very bda", "very bad"), ("pis", "pos"), ("neh", "neg"), ("hzm", "ham"), ("ps", "pos"),
    ("hm", "ham"), ("poss", "pos"), ("nreg", "neg"), ("spm", "spam"), ("yea", "yes"), ("yrs", "yes"),
])  # fmt: skip
def test_a_slip_in_a_word_of_three_letters_that_occurs_once(label: str, right: str) -> None:
    assert typos({right: 50, "another": 100, label: 1}) == {label: (right, MAYBE)}
    if len(right) == 3:
        assert typos({right: 1000, "another": 100, label: 2}) == {}
        assert typos({right: 49, "another": 100, label: 1}) == {}


@pytest.mark.parametrize(("label", "other"), [
    ("car", "cap"), ("LOC", "LOG"), ("LOC", "LOV"), ("pos", "post"), ("new", "news"), ("VBD", "VBS"), ("art", "part"),
    ("ham", "am"), ("bad", "bid"), ("VII", "VIII"), ("xiv", "xvi"), ("no", "on"), ("on", "onn"),
    ("NNS", "NNPS"),
    ("10a", "01a"), ("pos", "pot"), ("class IV", "class VI"),
])  # fmt: skip
def test_short_words_that_only_look_alike(label: str, other: str) -> None:
    for rare, frequent in ((label, other), (other, label)):
        assert typos({frequent: 500, "something else": 500, rare: 1}) == {}


def test_they_are_looked_for_once_in_all_splits(monkeypatch: pytest.MonkeyPatch) -> None:
    """What two splits say together holds in each: of the one alone, ``postive`` would be a label of its own."""
    asked: list[dict[str, int]] = []

    def counted(counts: Mapping[str, int]) -> dict[str, label_typos.Typo]:
        asked.append(dict(counts))
        return typos(counts)

    monkeypatch.setattr(label_typos, "typos", counted)
    train = labelled({"positive": 2, "negative": 9, "postive": 1})
    dev = labelled({"positive": 40, "negative": 9, "mixed": 5}, file="b.csv")
    test = labelled({"postive": 1, "negative": 9}, file="c.csv")
    findings = look({"train": train, "dev": dev, "test": test}, near=None)
    assert asked == [{"positive": 42, "negative": 27, "postive": 2, "mixed": 5}]
    (rare,) = [each for each in findings if each.kind == "rare"]
    assert rare.what == "1 of 2 labels has fewer than 5 examples: 'positive' 3"
    assert not [each for each in findings if each.kind == "missing_label"]


def test_they_are_told_with_their_lines() -> None:
    train = labelled({"positive": 40, "negative": 40, "postive": 1, "Positive": 5})
    first, second = found({"train": train}, "typo")
    assert str(first) == (
        "train: the label 'Positive' (5) differs in case, width, script, spaces or marks alone from 'positive' (40): "
        "a.csv, line 83; a.csv, line 84; a.csv, line 85; …"
    )
    assert str(second) == "train: the label 'postive' (1) may be a misspelling of 'positive' (40): a.csv, line 82"
    assert (first.count, first.of) == (5, 86)


def test_they_are_told_of_all_splits_together() -> None:
    train, dev = labelled({"positive": 40, "negative": 40, "postive": 1}), labelled({"postive": 1}, file="b.csv")
    typo, again = found({"train": train, "dev": dev}, "typo")
    assert (typo.splits, typo.examples, typo.count) == (("train",), ("a.csv, line 82",), 1)
    assert (again.splits, again.examples, again.count) == (("dev",), ("b.csv, line 2",), 1)
    (typo,) = found({"train": train[:-1], "dev": dev}, "typo")
    assert typo.splits == ("dev",) and typo.examples == ("b.csv, line 2",)


def test_they_are_not_told_again_as_rare_uneven_or_missing() -> None:
    train = labelled({"positive": 40, "negative": 40, "postive": 1, "positiv": 1, "mixed": 3})
    counts = {"positive": 40, "postive": 2, "positiv": 1}
    assert without_typos(counts, typos(counts)) == {"positive": 43}
    (rare,) = found({"train": train}, "rare")
    assert rare.what == "1 of 3 labels has fewer than 5 examples: 'mixed' 3"
    (uneven,) = found({"train": train}, "imbalance")
    assert "'positive' 42" in uneven.what and "'mixed' 3" in uneven.what
    test = labelled({"positive": 9, "negative": 9}, file="b.csv")
    (missing,) = found({"train": train, "test": test}, "missing_label")
    assert missing.what == "1 of 3 labels never occur here and are not measured: 'mixed'"


def test_types_of_entities_too() -> None:
    tags = ("B-LOCATION", "I-LOCATION", "O")
    train = [Tagged(Place(Path("a.conll"), 4 * n), (f"w{n}", "b", "c"), tags) for n in range(1, 30)]
    train.append(Tagged(Place(Path("a.conll"), 120), ("x", "y"), ("O", "B-LOCATOIN")))
    (typo,) = [each for each in look({"train": train}, near=None) if each.kind == "typo"]
    assert str(typo).endswith("'LOCATOIN' (1) may be a misspelling of 'LOCATION' (29): a.conll, line 120")


@given(st.text("abc", max_size=6), st.text("abc", max_size=6))
def test_edits_are_those_of_the_definition(one: str, other: str) -> None:
    def distance(i: int, j: int) -> int:
        if not i or not j:
            return i + j
        best = min(
            distance(i - 1, j) + 1, distance(i, j - 1) + 1, distance(i - 1, j - 1) + (one[i - 1] != other[j - 1])
        )
        if i > 1 and j > 1 and one[i - 1] == other[j - 2] and one[i - 2] == other[j - 1]:
            best = min(best, distance(i - 2, j - 2) + 1)
        return best

    for most in (0, 2, 9):
        assert edits(one, other, most) == min(distance(len(one), len(other)), most + 1)


@given(st.text("abcdefgh", min_size=8, max_size=10), st.integers(0, 7), st.sampled_from("abcdefghijklm"))
def test_no_letter_that_is_changed_is_overlooked(right: str, place: int, letter: str) -> None:
    """The search that does not compare all pairs finds them."""
    label = f"{right[:place]}{letter}{right[place + 1 :]}"
    found = typos({right: 100, label: 1})
    assert (label in found) == (label != right)


def test_digits_and_signs_are_no_letters() -> None:
    assert misspelt(form("10 staars"), form("10 stars"), 1, 500)
    assert not misspelt(form("11 stars"), form("10 stars"), 1, 500)
    assert not misspelt(form("positive+"), form("positive"), 1, 500)


def test_numbered_labels_are_not_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[tuple[Form, Form]] = []

    def counted(label: Form, right: Form, count: int, of: int) -> bool:
        compared.append((label, right))
        return misspelt(label, right, count, of)

    monkeypatch.setattr(label_typos, "misspelt", counted)
    counts = {f"class number {number}": 500 if number < 50 else 1 for number in range(300)}
    assert typos({**counts, "clas number 7": 1}) == {"clas number 7": ("class number 7", MAYBE)}
    assert len(compared) == 1
