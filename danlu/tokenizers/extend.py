"""A tokenizer that is there already, with tokens of its own for a new language or a new field.

Old tokens keep their ids. What is added is learned from the text, as rows of old tokens that often stand together
(and characters that the old vocabulary lacks), so that an encoding by the new tokenizer is the old one with some rows
joined: exactly for BPE; for Unigram but for rows that are as likely to a millionth; for WordPiece, which always takes
the longest piece, in all words that no new token is in. To a word-level vocabulary whole words are added.
``docs/decisions/0039-comparing-and-extending.md`` says more.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, SkipValidation
from tokenizers import Tokenizer as Inner

from danlu import log
from danlu.errors import InputError
from danlu.recipe import Choice, OneOf
from danlu.text.words import Jieba, Segmenter
from danlu.tokenizers.folder import read_tokenizer
from danlu.tokenizers.given import files_of
from danlu.tokenizers.grown import State, state_of, with_characters, with_joins, with_words
from danlu.tokenizers.joining import learn_joins
from danlu.tokenizers.special_text import cut_special_text
from danlu.tokenizers.tokenizer import Tokenizer
from danlu.tokenizers.word import CHINESE, count_words

SLACK = 8
"""An eighth more joins are learned than are to be added, for some make a token that is there already."""


class Extend(Choice):
    """The tokenizer in a Hugging Face folder, with more tokens."""

    path: Path
    """With a ``tokenizer.json``, or what its kind was published as: byte-level BPE, SentencePiece's BPE or Unigram,
    WordPiece, words."""
    add: int = Field(default=8000, ge=1, le=1_000_000)
    """Tokens to add, behind those that are there; a small text may not have so many."""
    coverage: float = Field(default=0.9995, gt=0, le=1)
    """Of a vocabulary that lacks characters: as many of the new ones, the most frequent first, as make up this share of
    their text (SentencePiece's ``character_coverage``)."""
    min_frequency: int = Field(default=2, ge=1)
    """What is added occurs at least this often."""
    segmenter: Annotated[SkipValidation[Segmenter], OneOf("segmenter")] = Jieba()
    """Of a word-level vocabulary whose tokenizer cuts Chinese characters apart: what finds the words in Chinese."""
    sample_bytes: int = Field(default=20_000_000, ge=1)
    """Of a larger corpus, documents of about this many bytes are learned from. They take up to some 30 times as much
    memory where there are no spaces; a word-level vocabulary takes less."""

    def files(self) -> list[Path]:
        """All that says what it is.

        Raises:
            InputError: there is none.
        """
        return files_of(self.path, key="tokenizer.path")

    def train(self, texts: Iterable[str]) -> Tokenizer:
        """Learn tokens from ``texts``; the same texts, in any order, give the same ones.

        Raises:
            InputError: there is no tokenizer, it is damaged, or of a kind that cannot grow.
        """
        inner, config = read_tokenizer(self.path)
        old, state = Tokenizer(inner, config), state_of(inner, where=self.path)
        if state["model"]["type"] == "WordLevel":
            state, kinds = self._with_words(state, texts), "words"
        else:
            state, characters = self._with_pieces(state, config, list(texts))
            kinds = f"{characters:,} characters"
        grown = _built(state)
        cut_special_text(grown)  # special tokens may be in the model now that were beside it
        tokenizer = Tokenizer(grown, config)
        self._check_ids(old, tokenizer)
        added = tokenizer.vocab_size - old.vocab_size
        short = f", of tokenizer.add {self.add:,}: the text has no more" if added < self.add else ""
        log.say(f"tokenizer: {old.vocab_size:,} tokens of {self.path} and {added:,} new ones ({kinds}){short}")
        return tokenizer

    def _with_pieces(self, state: State, config: dict[str, Any], texts: list[str]) -> tuple[State, int]:
        """With characters that are lacking, and how many, and joins of old tokens."""
        lacking = self._lacking(state, texts)[: self.add]
        state = with_characters(state, lacking)
        most = self.add - len(lacking)
        if not most:
            return state, len(lacking)
        count = most + most // SLACK
        joins = learn_joins(_built(state), config, texts, count=count, min_frequency=self.min_frequency)
        return with_joins(state, joins, most=most), len(lacking)

    def _with_words(self, state: State, texts: Iterable[str]) -> State:
        """With the most frequent words that are unknown; of those as frequent, the first by code point."""
        inner = _built(state)
        if inner.pre_tokenizer is None or len(list(_words_of(inner, "a, b"))) == 1:
            raise InputError(f"the tokenizer in {self.path} cannot be extended: it takes a whole text for one word")
        # Where Chinese characters are cut apart, a word of several is found as added tokens are: the longest first.
        chinese = len(list(_words_of(inner, "天下"))) > 1
        counts, rare = count_words(texts, lambda text: _words_of(inner, text), self.segmenter if chinese else None)
        if rare >= self.min_frequency:
            log.say(f"tokenizer: there are very many words; each may be counted up to {rare} times too seldom")
        known = inner.get_vocab(with_added_tokens=True)
        lacking = [word for word, count in counts.items() if word not in known and count >= self.min_frequency]
        words = sorted(lacking, key=lambda word: (-counts[word], word))[: self.add]
        runs = {word for word in words if chinese and len(word) > 1 and CHINESE.fullmatch(word)}
        return with_words(state, words, runs=runs)

    def _lacking(self, state: State, texts: Iterable[str]) -> list[str]:
        """Characters of ``texts`` that are no tokens, the most frequent first; none where bytes are, as in GPT-2."""
        inner, model = _built(state), state["model"]
        if '"ByteLevel"' in json.dumps([state["pre_tokenizer"], state["normalizer"]]):
            return []
        known = set(inner.get_vocab())
        counts = Counter[str]()
        for word, count in _words(inner, texts).items():
            for place, letter in enumerate(word):
                if not letter.isspace():
                    within = model["type"] == "WordPiece" and place > 0
                    counts[f"{model['continuing_subword_prefix']}{letter}" if within else letter] += count
        lacking = sorted((each for each in counts if each not in known), key=lambda each: (-counts[each], each))
        wanted = self.coverage * sum(counts[each] for each in lacking)
        chosen, covered = [], 0
        for each in lacking:
            if covered >= wanted or counts[each] < self.min_frequency:
                break
            chosen.append(each)
            covered += counts[each]
        return chosen

    def _check_ids(self, old: Tokenizer, new: Tokenizer) -> None:
        now = new.tokens()
        moved = next((token for token, id in old.tokens().items() if now.get(token) != id), None)
        if moved is not None:
            raise InputError(f"the tokenizer in {self.path} cannot be extended: its token {moved!r} would move")


def _built(state: State) -> Inner:
    return Inner.from_str(json.dumps(state))


def _words(inner: Inner, texts: Iterable[str]) -> Counter[str]:
    """How often each word stands in the texts, as the tokenizer normalises and cuts them."""
    counts: Counter[str] = Counter()
    for text in texts:
        for part in _lines(text):
            counts.update(_words_of(inner, part))
    return counts


def _words_of(inner: Inner, text: str) -> Iterable[str]:
    normal = text if inner.normalizer is None else inner.normalizer.normalize_str(text)
    if inner.pre_tokenizer is None:
        return normal  # a text that is no words: its characters
    return (word for word, _ in inner.pre_tokenizer.pre_tokenize_str(normal))


def _lines(text: str) -> Iterator[str]:
    """Not the whole text at once: its words as Python has them take a hundred times its bytes."""
    yield from text.splitlines(keepends=True)
