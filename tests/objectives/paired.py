"""Documents whose tokens say where they are from, and the sides of a pair that was made of them."""

from __future__ import annotations

import numpy as np

from danlu.corpus.batches import IGNORE, Example
from danlu.corpus.marks import SENTENCE, WORD, Marker
from danlu.corpus.rows import Ints, Piece
from danlu.corpus.store import TokenStore
from danlu.text.words import Jieba
from danlu.tokenizers.vocabulary import Vocabulary

EOT, CLS, SEP, MASK, SPECIAL, SIZE = 0, 1, 2, 3, 4, 600
VOCABULARY = Vocabulary(
    SIZE, EOT, {"eot": EOT, "cls": CLS, "sep": SEP, "mask": MASK}, (), np.arange(SPECIAL, SIZE), np.arange(SPECIAL)
)
TEXTS = [
    "The kettle sang. Nobody heard it, for the rain was louder! Was anybody there? Dr. Lu was not. He had left early.",
    "铁匠把炉子点着了。邻居们都来看！谁也没有说话？天慢慢亮了。他开始打铁。",
    "One sentence is all that this document has",
    "山上有一座庙。庙里有一个老和尚。他在讲故事。",
    "Apples fell all night. In the morning they were gone. A fox had come. It came back.",
]
SENTENCES = [5, 5, 1, 3, 4]
LANGUAGES = ["en", "zh", "en", "zh", "en"]
ABOUT = [{"language": language} for language in LANGUAGES]


def make_store() -> TokenStore:
    """A token a character; each document has ids of its own, which rise, so that a token says where it is from."""
    marker = Marker(("words", "sentences"), Jieba(), None)
    tokens, marks, starts = [EOT], [WORD | SENTENCE], [0]
    for text in TEXTS:
        first = SPECIAL + len(tokens) - 1
        tokens += [*range(first, first + len(text)), EOT]
        marks += [*marker.marks(text, np.arange(1, len(text) + 1)).tolist(), WORD | SENTENCE]
        starts.append(len(tokens) - 1)
    found = np.array(marks, dtype=np.uint8)
    return TokenStore(np.array(tokens), np.array(starts), ABOUT, SIZE, EOT, found, ("words", "sentences"))


STORE = make_store()


def whole(document: int) -> Piece:
    start, end = int(STORE.starts[document]), int(STORE.starts[document + 1])
    return Piece(STORE, start, np.asarray(STORE.tokens[start : end + 1], dtype=np.int64))


def sides(example: Example) -> tuple[Ints, Ints, int]:
    """A, B with what was hidden put back, and the label."""
    targets, tokens, types = example.targets["words"], example.inputs["tokens"], example.inputs["types"]
    clear = np.where(targets == IGNORE, tokens, targets)
    border = int(np.flatnonzero(clear == SEP)[0])
    assert clear[0] == CLS and clear[-1] == SEP and (clear == SEP).sum() == 2
    assert types.tolist() == [0] * (border + 1) + [1] * (len(clear) - border - 1)
    assert (example.targets["pairs"][1:] == IGNORE).all()
    return clear[1:border], clear[border + 1 : -1], int(example.targets["pairs"][0])


def sentences_of(*lengths: int) -> TokenStore:
    """A document of sentences of so many tokens."""
    body = sum(lengths)
    marks = np.zeros(body + 2, dtype=np.uint8)
    marks[[0, *(1 + np.cumsum([0, *lengths]))]] = SENTENCE
    tokens = np.array([EOT, *range(SPECIAL, SPECIAL + body), EOT])
    return TokenStore(tokens, np.array([0, body + 1]), ABOUT[:1], SIZE, EOT, marks, ("sentences",))
