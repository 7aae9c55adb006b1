"""What columns are usually called, in English and Chinese, by what they hold; the first in a list is tried first.

Names are compared in lower case, with ``_`` for spaces and dashes.
"""

from __future__ import annotations

TEXT = (
    "text", "sentence", "review", "text_a", "content", "comment", "tweet", "post", "utterance", "body", "message",
    "story", "title", "headline", "document", "question", "query", "input", "test_case", "description", "文本", "内容",
    "评论", "句子", "正文", "标题", "问题", "微博",
)  # fmt: skip
LABEL = (
    "label", "category", "class", "intent", "sentiment", "target", "tag", "topic", "polarity", "label_gold", "gold",
    "gold_label", "labels", "relation", "section", "标签", "类别", "分类", "情感", "意图", "栏目", "态度",
)  # fmt: skip
CLASSES = (
    "category", "class", "intent", "sentiment", "topic", "polarity", "section", "类别", "分类", "情感", "意图", "栏目",
    "态度",
)  # fmt: skip
"""Of these names those that nothing but a class is called."""
LABELS = ("labels", "label", "tags", "categories", "topics", "classes", "genres", "标签", "类别")
NUMBER = (
    "score", "number", "rating", "similarity", "value", "stars", "label", "target", "y", "分数", "评分", "得分",
    "相似度",
)  # fmt: skip
FIRST = (
    "sentence1", "premise", "text1", "text_a", "sentence_a", "question1", "sentence_1", "text_1", "sent1", "s1",
    "first", "query", "anchor", "前提", "句子1", "文本1",
)  # fmt: skip
SECOND = (
    "sentence2", "hypothesis", "text2", "text_b", "sentence_b", "question2", "sentence_2", "text_2", "sent2", "s2",
    "second", "document", "passage", "positive", "假设", "句子2", "文本2",
)  # fmt: skip
TOKEN = ("token", "word", "form", "character", "char", "字", "词", "字符")
"""What the column of a table is called that has one token a row."""
TOKENS = ("tokens", "words", "token", "form", "word", "characters", "character", "char", "text", "词", "字", "字符")
TAGS = (
    "tags", "ner_tags", "labels", "label", "entities", "spans", "ner", "tag", "ner_tag", "bio", "pos_tags", "upos",
    "pos", "标注", "标签", "标记", "词性", "词性标注", "实体", "实体标注", "命名实体", "标注序列", "标签序列",
)  # fmt: skip
WORDS = ("words", "segmented", "tokens", "text", "分词")
QUESTION = (
    "question", "query", "question_stem", "stem", "sent2", "ctx", "startphrase", "问题", "题目", "题干",
)  # fmt: skip
CONTEXT = (
    "context", "passage", "paragraph", "document", "article", "text", "sent1", "premise", "原文", "文章", "上下文",
)  # fmt: skip
ANSWERS = ("answers", "answer", "answer_text", "答案")
START = (
    "answer_start", "start", "offset", "start_char", "答案起始位置", "答案开始位置", "答案位置", "起始位置", "开始位置",
)  # fmt: skip
NO_ANSWER = ("is_impossible",)
IDENTITY = ("id", "qid", "guid", "编号")
CHOICES = ("choices", "options", "endings", "candidates", "选项")
CORRECT = ("answer", "gold", "label", "correct", "answerkey", "answer_key", "答案")
HEAD = (
    "head", "h", "subject", "subj", "entity1", "entity_1", "ent1", "e1", "head_entity", "主体", "头实体",
    "实体1", "主语",
)  # fmt: skip
TAIL = (
    "tail", "t", "object", "obj", "entity2", "entity_2", "ent2", "e2", "tail_entity", "客体", "尾实体", "实体2", "宾语",
)  # fmt: skip
HEAD_TYPE = ("head_type", "subj_type", "subject_type", "e1_type", "主体类型")
TAIL_TYPE = ("tail_type", "obj_type", "object_type", "e2_type", "客体类型")
RELATION = ("relation", "label", "relation_type", "predicate", "关系")
SOURCE = (
    "source", "src", "document", "article", "story", "input", "text", "content", "abstract", "en", "zh", "原文", "正文",
    "源文",
)  # fmt: skip
TARGET = (
    "target", "tgt", "summary", "highlights", "tldr", "output", "headline", "translation", "title", "de", "zh", "en",
    "译文", "摘要", "标题", "目标",
)  # fmt: skip
REFERENCES = ("references", "summaries", "targets")
KEYWORDS = ("keywords", "keyphrases", "tags", "labels", "关键词")
SEARCHED = ("query", "anchor", "question", "sentence1", "text1", "text_a", "查询", "问题")
POSITIVE = ("positives", "positive", "pos", "passage", "document", "answer", "sentence2", "text2", "text_b", "正例")
NEGATIVES = ("negatives", "negative", "neg", "hard_negatives", "hard_negative", "负例")
MESSAGES = ("messages", "conversations", "conversation", "dialogue", "chat", "对话")
INSTRUCTION = ("instruction", "prompt", "question", "query", "problem", "指令", "问题", "提示", "题目", "提问")
INPUT = ("input", "输入")
RESPONSE = (
    "output", "response", "answer", "completion", "reply", "solution", "输出", "回答", "答案", "回复", "答复", "解答",
)  # fmt: skip
SYSTEM = ("system", "system_prompt")
HISTORY = ("history",)
TOOLS = ("tools", "functions")
CHOSEN = ("chosen", "preferred", "better", "chosen_response", "选中", "更好", "较好", "优选", "接受")
REJECTED = (
    "rejected", "dispreferred", "worse", "rejected_response", "未选中", "更差", "较差", "劣选", "拒绝",
)  # fmt: skip
GOOD = ("label", "good", "kto_tag", "desirable", "是否好", "好坏", "满意")
SPLIT = ("split", "set", "subset", "partition", "part", "dataset", "fold", "划分", "集合", "数据集")

_LIKE_LABELS = frozenset({
    "good", "better", "worse", "pos", "neg", "positive", "negative", "positives", "negatives", "y", "t", "h", "e1",
    "e2", "s1", "s2", "value", "object", "subject", "bio", "solution", "problem", "满意", "好坏", "接受", "拒绝",
    "更好", "更差", "较好", "较差", "选中", "未选中", "主语", "宾语", "优选", "劣选",
})  # fmt: skip
"""Names that are as often the first label of a file without a header."""
KNOWN = frozenset(
    name
    for names in (
        TEXT, LABEL, LABELS, NUMBER, FIRST, SECOND, TOKENS, TAGS, WORDS, QUESTION, CONTEXT, ANSWERS, START, NO_ANSWER,
        IDENTITY, CHOICES, CORRECT, HEAD, TAIL, HEAD_TYPE, TAIL_TYPE, RELATION, SOURCE, TARGET, REFERENCES, KEYWORDS,
        SEARCHED, POSITIVE, NEGATIVES, MESSAGES, INSTRUCTION, INPUT, RESPONSE, SYSTEM, HISTORY, TOOLS, CHOSEN,
        REJECTED, GOOD, ("split",),
    )
    for name in names
    if name not in _LIKE_LABELS
)  # fmt: skip
"""All others: a first line that has one is a header."""


def plain_name(name: str) -> str:
    """The name as it is compared."""
    return name.strip().casefold().replace(" ", "_").replace("-", "_")
