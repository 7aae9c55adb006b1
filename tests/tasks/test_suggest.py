"""What danlu init makes of a file of examples: the task that its columns tell."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from danlu import cli
from danlu.recipe import load_recipe

TABLES: dict[str, tuple[str, list[list[Any]]]] = {
    "named labels": ("classify", [["id", "review", "category"], *([n, f"a text {n}", n % 3] for n in range(9))]),
    "no header": ("classify", [[f"a text of {n}", n % 2] for n in range(9)]),
    "stars in words": ("classify", [["review", "stars"], *([f"a text {n}", "ab"[n % 2]] for n in range(9))]),
    "stars": ("regress", [["review", "stars"], *([f"a text {n}", n / 2] for n in range(9))]),
    "whole numbers of many values": ("regress", [["text", "label"], *([f"text {n}", n * 7 % 24] for n in range(24))]),
    "a column of 0 and 1 each": ("multi_label", [["text", "a", "b", "c"], *([f"text {n}", n % 2, n // 2 % 2, n % 3 % 2]
                                                                               for n in range(12))]),
    "words with a label": ("classify", [[f"话 说 天下 大势 第{n} 回", "ab"[n % 2]] for n in range(9)]),
    "inference": ("pair", [["premise", "hypothesis", "label"], *([f"p {n}", f"h {n}", n % 3] for n in range(9))]),
    "numbers": ("similarity", [["sentence1", "sentence2", "score"], *([f"p {n}", f"h {n}", n / 4] for n in range(9))]),
    "pairs without header": ("similarity", [[f"eins {n} und", f"zwei {n}", n % 5] for n in range(30)]),
    "pairs of classes": ("pair", [[f"eins {n} und", f"zwei {n}", n % 3] for n in range(30)]),
    "several": ("multi_label", [["text", "tags"], *([f"a text {n}", "a|b" if n % 2 else "c"] for n in range(9))]),
    "several, by commas": ("multi_label", [["text", "labels"], *([f"a text {n}", "abc"[n % 3] + ", d" * (n % 2)]
                                                                 for n in range(9))]),
    "several, as Python spells them": ("multi_label", [["text", "labels"], *([f"text {n}", ["a", "b"][: n % 3]]
                                                                             for n in range(9))]),
    "news": ("classify", [["title", "content", "category"], *([f"t {n}", f"a text {n}", "ab"[n % 2]]
                                                              for n in range(9))]),
    "numbers of pairs": ("similarity", [["sent_a", "sent_b", "sim"], *([f"p {n}", f"h {n}", n / 4] for n in range(9))]),
    "prices after pandas' index": ("regress", [["", "ware", "preis"], *([n, f"ein Topf {n}", n * 7 % 5 + 0.5]
                                                                       for n in range(9))]),
    "a label is missing": ("classify", [["text", "label", "score"], *([f"text {n}", "ab"[n % 2] if n else "", n / 7]
                                                                      for n in range(9))]),
    "hard negatives": ("embed", [["query", "positive", "negative"], *([f"q {n}", f"p {n}", f"n {n % 2}"]
                                                                      for n in range(9))]),
    "found good, as a table": ("feedback", [["prompt", "completion", "label"], *([f"p {n}", f"c {n}", n % 2 == 0]
                                                                     for n in range(9))]),
    "选择题": ("choice", [["题目", "选项A", "选项B", "选项C", "答案"], *(
        [f"第{n}题？", f"甲{n}", f"乙{n}", f"丙{n}", "ABC"[n % 3]] for n in range(9))]),
    "options of two words": ("choice", [["question", "Option 1", "Option 2", "answer"],
                                        *([f"who, {n}?", f"a {n}", f"b {n}", n % 2 + 1] for n in range(9))]),
    "a label of an unknown name is missing": ("classify", [["nr", "was", "art"], *(
        [n, f"text {n}", "ab"[n % 2] if n else ""] for n in range(19))]),
    "词性": ("tag", [["句子", "词性标注"], *([f"海外 华侨 第{n}", "s n m"] for n in range(9))]),
    "ratings beside their mean": ("regress", [["word", "mean", "all ratings"], *([f"wort{n}", n / 4, f"[{n}, -1, 2]"]
                                                                               for n in range(9))]),
    "decimal commas beside two texts": ("similarity", [["one", "other", "alike"], *(
        [f"eins {n} und", f"zwei {n}", f"{n},5"] for n in range(9))]),
    "a text with an id of letters": ("classify", [["id", "what it says", "kind"], *(
        [f"QuaRel_V1_Fr_{n:032}", f"text {n}", "ab"[n % 2]] for n in range(9))]),
    "choices": ("choice", [["question", "A", "B", "answer"], *([f"who, {n}?", f"a {n}", f"b {n}", "AB"[n % 2]]
                                                              for n in range(9))]),
    "SWAG": ("choice", [["video-id", "startphrase", "sent1", "sent2", "gold-source", "ending0", "ending1", "label"], *(
        [f"v{n}", f"A man {n}. He", f"A man {n}.", "He", "gold", f"runs {n}", f"sits {n}", n % 2] for n in range(9))]),
    "COPA": ("choice", [["premise", "choice1", "choice2", "question", "idx", "label"], *(
        [f"It rains {n}.", f"I go {n}.", f"I stay {n}.", ("cause", "effect")[n % 2], n, n % 2] for n in range(9))]),
    "OpenBookQA": ("choice", [["id", "question_stem", "choices", "answerKey"], *(
        [f"7-{n}", f"who, {n}?", {"text": [f"a {n}", f"b {n}"], "label": ["A", "B"]}, "AB"[n % 2]] for n in range(9))]),
    "relations": ("relate", [["sentence", "relation"], *([f"<e1>Ann</e1> met <e2>Bob {n}</e2>", "ab"[n % 2]]
                                                         for n in range(9))]),
    "translation": ("seq2seq", [["source", "target"], *([f"one {n}", f"eins {n}"] for n in range(9))]),
    "texts that mean the same": ("embed", [["sentence1", "sentence2"], *([f"p {n}", f"h {n}"] for n in range(9))]),
    "queries": ("embed", [["query", "passage"], *([f"ask {n}", f"say {n}"] for n in range(9))]),
    "pairs without header or label": ("embed", [[f"eins {n} und", f"zwei {n}" + " oder" * (n % 3)] for n in range(30)]),
    "translation without header": ("seq2seq", [
        [f"The {n} men are walking on the street.", f"从前有座山，山里有第{n}座庙。"] for n in range(30)
    ]),
    "words": ("segment", [[f"话 说 天下 大势 第{n} 回"] for n in range(9)]),
    "words by name": ("segment", [["id", "分词"], *([n, f"话 说 天下 大势 第{n} 回"] for n in range(9))]),
    "keywords": ("keywords", [["text", "keywords"], *([f"a text {n}", f"key{n}; word"] for n in range(9))]),
    "论文": ("keywords", [["正文", "关键词"], *([f"第{n}篇", f"词{n}，句"] for n in range(9))]),
    "choices under another name": ("choice", [["nr", "题目文字", *"ABCD", "答案"], *(
        [n, f"第{n}题等于多少？", f"甲{n}", f"乙{n}", f"丙{n}", f"丁{n}", "ABCD"[n % 4]] for n in range(9))]),
    "a pair in columns A and B": ("pair", [["A", "B", "same"], *([f"eins {n} und", f"zwei {n}", n % 2]
                                                              for n in range(9))]),
    "several, of a text called anything": ("multi_label", [["ware", "topics"], *(
        [f"ein Topf {n}", ", ".join("abcd"[n % 4 : n % 4 + 1 + n % 3])] for n in range(9))]),
    "titles": ("seq2seq", [["story", "headline"], *([f"a long text {n}", f"t {n}"] for n in range(9))]),
    "news in sections": ("classify", [["headline", "story", "section"], *([f"t {n}", f"a text {n}", "ab"[n % 2]]
                                                                          for n in range(9))]),
    "grades under another name": ("regress", [["phrase", "valence"], *([f"a text {n}", n % 30 / 10 - 1.5]
                                                                        for n in range(90))]),
    "several, in Chinese": ("multi_label", [["文本", "标签"], *(
        [f"第{n}篇", ("体育", "体育、财经", "财经、娱乐")[n % 3]] for n in range(9))]),
    "a list that is one label": ("classify", [["名称", "行业"], *(
        [f"第{n}家", ("文化、体育和娱乐业", "教育", "卫生")[n % 3]] for n in range(9))]),
    "abstracts": ("keywords", [["摘要", "关键词"], *([f"第{n}篇的摘要", f"词{n}；句；字{n}"] for n in range(9))]),
    "decimal commas": ("regress", [["text", "note"], *([f"ein Text {n}", f"{n},5"] for n in range(9))]),
    "entities in Chinese": ("relate", [["文本", "实体1", "实体2", "关系"], *(
        [f"王明生于苏州{n}区", "王明", f"苏州{n}区", "甲乙"[n % 2]] for n in range(9))]),
    "问答": ("chat", [["提问", "回复"], *([f"怎么办理{n}号卡？", f"请到{n}号窗口办理"] for n in range(9))]),
    "偏好": ("prefer", [["问题", "更好", "更差"], *([f"说{n}", f"好的{n}", f"不{n}"] for n in range(9))]),
    "riddles": ("seq2seq", [["riddle", "answer"], *([f"what has {n} keys and opens no lock?", f"piano{n}"]
                                                   for n in range(30))]),
    "谜语": ("seq2seq", [["谜面", "谜底"], *([f"第{n}个人站在门口（打一字）", chr(0x4E00 + n)] for n in range(30))]),
    "谜语，有编号": ("seq2seq", [["编号", "谜语", "答案"], *([n, f"第{n}个人站在门口（打一字）", chr(0x4E00 + n)]
                                                    for n in range(30))]),
    "riddles without header": ("seq2seq", [[f"第{n}个人站在门口（打一字）", chr(0x4E00 + n)] for n in range(30)]),
    "riddles whose answer is called a label": ("seq2seq", [["riddle", "label"], *(
        [f"what has {n} keys and opens no lock?", f"piano{n}"] for n in range(30))]),
    "texts and answers, called so": ("seq2seq", [["text", "label"], *(
        [f"what has {n} keys and opens no lock?", f"piano{n}"] for n in range(30))]),
    "a few rows, each with its label": ("classify", [["text", "label"], *([f"a text of {n}", f"l{n}"]
                                                                         for n in range(9))]),
    "intents, most of them once or twice": ("classify", [["text", "intent"], *([f"a long text of {n}", f"card_{n % 40}"]
                                                                                for n in range(60))]),
    "intents, each once": ("classify", [["text", "intent"], *([f"a long text of {n}", f"card_{n}"]
                                                              for n in range(30))]),
    "labels of which most come twice": ("classify", [["text", "label"], *([f"a long text of {n}", f"card_{n % 40}"]
                                                                          for n in range(60))]),
    "ids and labels of many values": ("classify", [["text", "label"], *([f"a long text of {n}", f"l{n % 12}"]
                                                                       for n in range(30))]),
    "中文": ("classify", [["评论", "情感"], *([f"第{n}条评论", "好坏"[n % 2]] for n in range(9))]),
}  # fmt: skip


@pytest.mark.parametrize("name", TABLES)
def test_the_columns_tell_the_task(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    task, rows = TABLES[name]
    file = tmp_path / "data.tsv"
    file.write_text("".join("\t".join(map(str, row)) + "\n" for row in rows), encoding="utf-8")
    (tmp_path / "m").mkdir()
    assert cli.main(["init", str(file), "--model", str(tmp_path / "m"), "--out", str(tmp_path / "r.yaml")]) == 0
    out = capsys.readouterr().out
    assert "danlu finetune" in out and out.startswith(f"{file}: {len(rows)}" if "no header" in out else f"{file}: ")
    section: Any = load_recipe(tmp_path / "r.yaml").section("finetune")
    assert section.task.to_recipe()["use"] == task
    assert section.data.train == file and section.model == tmp_path / "m"
    assert set(section.data.columns) >= {field.name for field in section.task.form.fields if field.required}


def test_a_token_and_a_tag_a_line_are_sentences(tmp_path: Path) -> None:
    (tmp_path / "data.conll").write_text("To O\nbe O\na B-X\ntime I-X\n\nnot O\n\n" * 9)
    assert cli.main(["init", str(tmp_path / "data.conll"), "--out", str(tmp_path / "r.yaml")]) == 0
    assert "task: tag " in (tmp_path / "r.yaml").read_text()


def test_a_user_who_speaks_is_no_name(tmp_path: Path) -> None:
    rows = [{"user": f"what is ticket {n}?", "assistant": f"it is what ticket {n} was"} for n in range(30)]
    (tmp_path / "data.jsonl").write_text("\n".join(map(json.dumps, rows)))
    assert cli.main(["init", str(tmp_path / "data.jsonl"), "--out", str(tmp_path / "r.yaml")]) == 0


def test_lists_in_json_are_several_labels(tmp_path: Path) -> None:
    lines = [json.dumps({"hot": [0, 1], "text": f"text {n}", "labels": ["a", "b"][: n % 3]}) for n in range(9)]
    (tmp_path / "data.jsonl").write_text("\n".join(lines))
    assert cli.main(["init", str(tmp_path / "data.jsonl"), "--out", str(tmp_path / "r.yaml")]) == 0
    section: Any = load_recipe(tmp_path / "r.yaml").section("finetune")
    assert section.task.to_recipe()["use"] == "multi_label"


@pytest.mark.parametrize(("name", "text"), [
    ("data.txt", "-DOCSTART- -X- O\n\nTo X O\nbe X O\na X B-X\ntime X I-X\n\nnot X O\n\n"),
    ("data.tsv", "To\tO\nParis\tS-X\n\n北\tB-X\n京\tE-X\n\n"),
    ("data.csv", "Sentence #,Word,POS,Tag\nSentence: 1,To,X,O\n,Paris,X,B-X\nSentence: 2,No,X,O\n"),
])  # fmt: skip
def test_sentences_are_known_where_the_ending_does_not_say_so(name: str, text: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text, encoding="utf-8")
    assert cli.main(["init", str(tmp_path / name), "--out", str(tmp_path / "r.yaml")]) == 0
    assert "task: tag " in (tmp_path / "r.yaml").read_text()


def test_a_token_a_row_that_nothing_parts_is_no_text_with_a_label(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.csv").write_text("word,tag\n" + "Anna,B-PER\nsaw,O\nRome,B-LOC\n" * 9)
    assert cli.main(["init", str(tmp_path / "a.csv"), "--out", str(tmp_path / "r.yaml")]) == 2
    said = capsys.readouterr().err
    assert "nothing that parts sentences" in said and said.count("\n") == 1 and not (tmp_path / "r.yaml").exists()


def test_a_column_that_says_the_split_is_used(tmp_path: Path) -> None:
    rows = [{"text": f"text {n}", "label": "ab"[n % 2], "split": ("train", "test")[n % 3 == 0]} for n in range(30)]
    assert guessed(tmp_path, list(map(json.dumps, rows))) == "classify"
    section: Any = load_recipe(tmp_path / "r.yaml").section("finetune")
    assert section.data.split_column == "split"
    assert "not read" not in (tmp_path / "r.yaml").read_text()


def test_why_it_is_not_what_the_columns_are_called_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [{"text": f"Ann met Ann in Rome {n}", "head": "Ann", "tail": "Rome", "label": "ab"[n % 2]} for n in range(9)]
    assert guessed(tmp_path, list(map(json.dumps, rows))) == "classify"
    recipe = (tmp_path / "r.yaml").read_text()
    assert "; not read: head, tail\n# not taken for relate: " in recipe
    assert "line 1: the head 'Ann' occurs 2 times in the text; say where\n" in recipe
    talks = [{"conversations": [{"from": "gpt", "value": "hi"}]}] * 9
    (tmp_path / "b.jsonl").write_text("\n".join(map(json.dumps, talks)))
    assert cli.main(["init", str(tmp_path / "b.jsonl"), "--out", str(tmp_path / "b.yaml")]) == 2
    assert "; to learn chat: " in (said := capsys.readouterr().err) and "must begin with a user's" in said


def test_texts_with_a_blank_line_between_are_no_sentences(tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_text("a good film\t1\na bad film\t0\n\nso it is\t1\nno it was\t0\n")
    assert cli.main(["init", str(tmp_path / "a.tsv"), "--out", str(tmp_path / "r.yaml")]) == 0
    assert "task: classify " in (tmp_path / "r.yaml").read_text()
    for name, mark in (("zh.tsv", "\t"), ("zh.csv", ",")):  # no spaces, and yet no tokens
        rows = [f"第{n}次入住房间干净服务很好{mark}{'好评' if n % 2 else '差评'}" for n in range(20)]
        (tmp_path / name).write_text("\n".join([*rows[:9], "", *rows[9:]]) + "\n")
        out = tmp_path / f"{name}.yaml"
        assert cli.main(["init", str(tmp_path / name), "--out", str(out)]) == 0
        assert "task: classify " in out.read_text()


def test_numbers_in_the_place_of_tags_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.jsonl").write_text('{"tokens": ["a", "b"], "ner_tags": [0, 1]}\n' * 9)
    assert cli.main(["init", str(tmp_path / "a.jsonl"), "--out", str(tmp_path / "r.yaml")]) == 2
    assert "to learn tags: " in (said := capsys.readouterr().err) and "the tags' names; it has 0" in said


def test_a_malformed_row_does_not_make_another_task(tmp_path: Path) -> None:
    rows = [{"question": "who?", "context": f"Ann is {n}", "answers": [{"text": "Ann", "answer_start": int(n == 7)}]}
            for n in range(20)]  # fmt: skip
    assert guessed(tmp_path, list(map(json.dumps, rows))) == "extract"


def test_objects_that_no_task_reads_are_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What some tool or other exports."""
    row = {"id": 1, "data": {"text": "a"}, "marks": [{"result": [{"value": {"choices": ["x"]}}]}]}
    (tmp_path / "a.json").write_text(json.dumps([row, row]))
    assert cli.main(["init", str(tmp_path / "a.json"), "--out", str(tmp_path / "r.yaml")]) == 2
    said = capsys.readouterr().err
    assert "no task is known for the columns" in said and "data.text" in said and said.count("\n") == 1


def test_lists_that_are_no_set_of_labels_are_keywords(tmp_path: Path) -> None:
    lines = [json.dumps({"text": f"text {n}", "tags": [f"word {n}", f"key {n}"]}) for n in range(9)]
    assert guessed(tmp_path, lines) == "keywords"


@pytest.mark.parametrize("row", [
    {"prompt": "ask", "completion": "say", "label": True},
    {"messages": [{"role": "user", "content": "ask"}, {"role": "assistant", "content": "say"}], "label": False},
])  # fmt: skip
def test_judged_answers_are_known_by_their_columns(row: dict[str, Any], tmp_path: Path) -> None:
    lines = [json.dumps({**row, "label": number % 2 == 0}) for number in range(9)]
    assert guessed(tmp_path, lines) == "feedback"


def test_texts_near_and_far_from_each_other_are_for_vectors(tmp_path: Path) -> None:
    lines = [json.dumps({"anchor": f"a {n}", "positive": f"p {n}", "negative": f"n {n}"}) for n in range(9)]
    assert guessed(tmp_path, lines) == "embed"


def guessed(tmp_path: Path, lines: list[str]) -> str:
    (tmp_path / "data.jsonl").write_text("\n".join(lines))
    assert cli.main(["init", str(tmp_path / "data.jsonl"), "--out", str(tmp_path / "r.yaml")]) == 0
    section: Any = load_recipe(tmp_path / "r.yaml").section("finetune")
    return str(section.task.to_recipe()["use"])


@pytest.mark.parametrize("row", [{"prompt": "ask"}, {"messages": [{"role": "user", "content": "ask"}]}])
def test_of_prompts_alone_nothing_can_be_learned(
    row: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "data.jsonl").write_text("\n".join(json.dumps(row) for _ in range(9)))
    assert cli.main(["init", str(tmp_path / "data.jsonl"), "--out", str(tmp_path / "r.yaml")]) == 2
    said = capsys.readouterr().err
    assert "holds prompts without answers" in said and "danlu generate MODEL --prompts" in said


@pytest.mark.parametrize("row", [
    {"prompt": "ask", "chosen": "say", "rejected": "nothing"},
    {"chosen": "\n\nHuman: ask\n\nAssistant: say", "rejected": "\n\nHuman: ask\n\nAssistant: nothing"},
])  # fmt: skip
def test_preferences_are_known_by_their_columns(row: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "data.jsonl").write_text("\n".join(json.dumps(row) for _ in range(9)))
    assert cli.main(["init", str(tmp_path / "data.jsonl"), "--out", str(tmp_path / "r.yaml")]) == 0
    section: Any = load_recipe(tmp_path / "r.yaml").section("finetune")
    assert section.task.to_recipe()["use"] == "prefer"


@pytest.mark.parametrize("row", [
    {"instruction": "ask", "input": "", "output": "answer"},
    {"messages": [{"role": "user", "content": "ask"}, {"role": "assistant", "content": "say"}]},
])  # fmt: skip
def test_conversations_are_known_by_their_columns(row: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "data.jsonl").write_text("\n".join(json.dumps(row) for _ in range(9)))
    assert cli.main(["init", str(tmp_path / "data.jsonl"), "--out", str(tmp_path / "r.yaml")]) == 0
    section: Any = load_recipe(tmp_path / "r.yaml").section("finetune")
    assert section.task.to_recipe()["use"] == "chat"


def test_a_model_without_a_chat_template_is_given_one_that_its_tokenizer_can_end(decoder: Path, tmp_path: Path) -> None:
    import transformers

    row = {"messages": [{"role": "user", "content": "ask"}, {"role": "assistant", "content": "say"}]}
    file, out = tmp_path / "data.jsonl", tmp_path / "r.yaml"
    file.write_text("\n".join(json.dumps(row) for _ in range(9)))
    assert cli.main(["init", str(file), "--model", str(decoder), "--out", str(out)]) == 0
    assert "task: {use: chat, template: plain} " in out.read_text()
    tokenizer = transformers.AutoTokenizer.from_pretrained(decoder)
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|im_start|>", "<|im_end|>"]})
    tokenizer.save_pretrained(decoder)
    out.unlink()
    assert cli.main(["init", str(file), "--model", str(decoder), "--out", str(out)]) == 0
    assert "task: {use: chat, template: chatml} " in out.read_text()
    (decoder / "chat_template.jinja").write_text("{{ messages }}")
    out.unlink()
    assert cli.main(["init", str(file), "--model", str(decoder), "--out", str(out)]) == 0
    assert "task: chat " in out.read_text()


@pytest.mark.parametrize(("name", "text"), [
    ("data.txt", "写一首关于山的诗\n写一首关于水的诗\n"), ("data.txt", "Write a poem.\nTell a joke.\n"),
    ("data.csv", "id,saying\n" + "".join(f"{n},Write a poem of {n}.\n" for n in range(9))),
    ("data.csv", "text,url\n" + "".join(f"Write a long poem of {n} lines.,https://a.b/{n}\n" for n in range(9))),
    ("data.csv", "text,username\n" + "".join(f"Write a long poem of {n} lines.,ann{n}\n" for n in range(9))),
    ("data.csv", "内容,音频文件\n" + "".join(f"写一首关于{n}座山的长诗，要押韵,{n}.wav\n" for n in range(9))),
    ("data.txt", "get_user_name load_data\nset_user_name load_data\n" * 9),
])  # fmt: skip
def test_texts_alone_are_told_what_they_lack(
    name: str, text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / name).write_text(text)
    assert cli.main(["init", str(tmp_path / name), "--out", str(tmp_path / "r.yaml")]) == 2
    said = capsys.readouterr().err
    assert "holds texts alone" in said and "danlu generate MODEL --prompts FILE" in said and said.count("\n") == 1
    assert not (tmp_path / "r.yaml").exists()


def test_prompts_beside_their_numbers_are_prompts_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.csv").write_text("id,prompt\n" + "".join(f"{n},Write a poem of {n}\n" for n in range(9)))
    assert cli.main(["init", str(tmp_path / "a.csv"), "--out", str(tmp_path / "r.yaml")]) == 2
    assert "holds prompts without answers" in capsys.readouterr().err


@pytest.mark.parametrize(("name", "row"), [
    ("data.txt", "{}\n"), ("data.csv", "{}\n"), ("data.jsonl", '{{"text": "{}"}}\n'),
    ("ids.jsonl", '{{"id": 1, "text": "{}"}}\n'), ("ids.tsv", "1\t{}\n"), ("ids.csv", "1,{}\n"),
])  # fmt: skip
def test_tags_behind_slashes(name: str, row: str, tmp_path: Path) -> None:
    text = (row.format("我/r 爱/v 北京/ns 。/w") + row.format("他/r 去/v 学校/n 了/u")) * 6
    head = {"ids.tsv": "id\tsentence\n", "ids.csv": "id,sentence\n"}.get(name, "")
    (tmp_path / name).write_text(head + text)
    assert cli.main(["init", str(tmp_path / name), "--out", str(tmp_path / "r.yaml")]) == 0
    recipe = (tmp_path / "r.yaml").read_text()
    assert "task: tag " in recipe and "12 rows" in recipe and "tags behind slashes" in recipe


PAIRS = [{"prompt": f"ask {n}", "response": f"say {n}"} for n in range(9)]
PREFERRED = [{"prompt": f"ask {n}", "chosen": f"say {n}", "rejected": "no"} for n in range(9)]
SOURCES = [{"source": f"one {n}", "target": f"eins {n}"} for n in range(9)]


@pytest.mark.parametrize(("rows", "kind", "told"), [
    (PAIRS, "encoder", "is for chat, which a decoder with a language-model head learns (gpt2, llama, "),
    (PAIRS, "encoder", "is an encoder (bert), which fits classify, tag, extract and embed; by task: embed, columns: "
                       "{query: prompt, positives: response} it learns to find the answer among others; name another"),
    (PAIRS, "t5", "is an encoder with a decoder (t5), which learns the same by task: seq2seq, columns: {source: prompt,"
                  " target: response}; name another --model"),
    (PREFERRED, "encoder", "is for prefer, which a decoder with a language-model head learns (gpt2, llama, mistral, "),
    (SOURCES, "encoder", "is for seq2seq, which a decoder with a language-model head learns (gpt2, llama, mistral, "
                         "qwen2, qwen3, t5, bart, …)"),
])  # fmt: skip
def test_a_model_that_cannot_learn_it_is_told_with_what_fits(
    rows: list[dict[str, Any]], kind: str, told: str, encoder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, out = tmp_path / "data.jsonl", tmp_path / "r.yaml"
    file.write_text("\n".join(map(json.dumps, rows)))
    model = encoder if kind == "encoder" else t5(tmp_path / "t5")
    assert cli.main(["init", str(file), "--model", str(model), "--out", str(out)]) == 2
    said = capsys.readouterr().err
    assert told in said and said.count("\n") == 1 and not out.exists()
    if (rows, kind) != (PAIRS, "t5"):
        return
    file.write_text("\n".join(map(json.dumps, SOURCES)))
    assert cli.main(["init", str(file), "--model", str(model), "--out", str(out)]) == 0


def t5(folder: Path) -> Path:
    """The configuration of one, which is all that is looked at."""
    import transformers

    config = transformers.T5Config(vocab_size=64, d_model=16, d_kv=4, d_ff=16, num_layers=1, num_heads=2)
    config.architectures = ["T5ForConditionalGeneration"]
    config.save_pretrained(folder)
    return folder


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("only\none\nof\nword\n", "no task is known for the columns"),
        ("text,user\n" + "".join(f"Write a long poem of {n} lines.,ann{n}\n" for n in range(9)), "no task is known"),
        ("", "is empty"),
        ("\0\0\0", "data.csv"),
    ],
)
def test_what_fits_no_task_is_one_line(
    content: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "data.csv").write_text(content)
    assert cli.main(["init", str(tmp_path / "data.csv"), "--out", str(tmp_path / "r.yaml")]) == 2
    said = capsys.readouterr().err
    assert message in said and said.count("\n") == 1 and not (tmp_path / "r.yaml").exists()
