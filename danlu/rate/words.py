"""What the rating page says, in English and in Chinese, and which of the two a browser asks for."""

from __future__ import annotations

ENGLISH = {
    "lang": "en",
    "title": "Rating answers",
    "join": "Begin",
    "name": "Your name",
    "name_note": "The same name goes on where it stopped, in any browser.",
    "about_pairs": "You will see a prompt and two answers to it. Say which is better; who wrote them is not told.",
    "about_scores": "You will see a prompt and an answer to it, and say how good it is. Who wrote it is not told.",
    "saved": "Each rating is saved at once; you may stop at any time.",
    "prompt": "Prompt",
    "answer": "Answer",
    "empty": "(this answer is empty)",
    "left": "A is better",
    "right": "B is better",
    "both_good": "Both good",
    "both_bad": "Both bad",
    "save": "Save",
    "back": "Change my last rating",
    "forward": "Leave it as it is",
    "progress": "{done} rated, {left} to go",
    "keys_pairs": "Keys: 1 or ← for A, 2 or → for B, 3 both good, 4 both bad, u to change the last one.",
    "keys_scores": "Keys: a digit answers the marked question, Enter saves, u to change the last one.",
    "keys_long": "For 10 type 1, then 0; if you mean 1, Enter goes on to the next question.",
    "done_title": "Thank you, {name}!",
    "done": "There is nothing left for you to rate. You have rated {done}.",
    "waiting": "The last items are with other raters just now. If they leave them, they come to you: look again later.",
    "again": "Look again",
    "refused": "That did not work",
    "missing": "Please answer every question.",
    "no_name": "Please give a name of at most {most} characters.",
    "not_yours": "This item is not in your hands any more: it was rated in another window. Nothing has changed.",
    "stale": "This page is out of date. Open it again.",
    "unsaved": "The rating could not be saved: {reason}. Tell the person who runs this page, and try again.",
    "next": "Go on",
}

CHINESE = {
    "lang": "zh",
    "title": "评价回答",
    "join": "开始",
    "name": "你的名字",
    "name_note": "用同一个名字，在任何浏览器里都会接着上次继续。",
    "about_pairs": "你会看到一个提示和两个回答，请选出更好的一个。页面不会告诉你回答出自谁。",
    "about_scores": "你会看到一个提示和一个回答，请给它打分。页面不会告诉你回答出自谁。",
    "saved": "每次评价都会立即保存，随时可以停下。",
    "prompt": "提示",
    "answer": "回答",
    "empty": "（这个回答是空的）",
    "left": "A 更好",
    "right": "B 更好",
    "both_good": "都好",
    "both_bad": "都不好",
    "save": "保存",
    "back": "修改上一个评价",
    "forward": "不改了",
    "progress": "已评 {done}，还剩 {left}",
    "keys_pairs": "快捷键：1 或 ← 选 A，2 或 → 选 B，3 都好，4 都不好，u 修改上一个。",
    "keys_scores": "快捷键：数字键回答标出的问题，回车保存，u 修改上一个。",
    "keys_long": "10 分请先按 1 再按 0；只想打 1 分，按回车到下一题。",
    "done_title": "谢谢你，{name}！",
    "done": "没有需要你评价的了。你一共评价了 {done} 个。",
    "waiting": "剩下的几个正在别人手里。如果他们没有评完，就会轮到你，请过一会儿再来看。",
    "again": "再看一次",
    "refused": "没有成功",
    "missing": "请回答每个问题。",
    "no_name": "请填写名字，最多 {most} 个字符。",
    "not_yours": "这一个已经不在你手里了：它在另一个窗口里评过了。什么都没有改变。",
    "stale": "这个页面已经过期，请重新打开。",
    "unsaved": "评价没有保存成功：{reason}。请告诉运行这个页面的人，然后再试一次。",
    "next": "继续",
}


def words_for(accept_language: str) -> dict[str, str]:
    """The language that an Accept-Language header (RFC 9110, 12.5.4) likes better; English where it names neither."""
    wanted = {"en": 0.0, "zh": 0.0}
    for part in accept_language.split(","):
        tag, _, quality = part.partition(";")
        language = tag.strip().lower().split("-")[0]
        if language in wanted:
            wanted[language] = max(wanted[language], _quality(quality))
    return CHINESE if wanted["zh"] > wanted["en"] else ENGLISH


def _quality(text: str) -> float:
    name, _, number = text.strip().partition("=")
    if not name:
        return 1.0
    try:
        return float(number) if name.strip() == "q" else 1.0
    except ValueError:
        return 0.0
