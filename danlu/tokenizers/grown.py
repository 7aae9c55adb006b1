"""A tokenizer with more tokens behind its own: what each kind of model needs so that all it had stays as it was.

Old tokens keep their ids, pieces, scores and merges. What is added to BPE is merged after all that was merged before;
what is added to Unigram scores as its pieces do together, and a trifle more, so that it takes their place alone.
WordLevel has no pieces: whole words are added.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Container, Iterable
from typing import Any

from tokenizers import Tokenizer as Inner
from tokenizers import models

from danlu.errors import InputError
from danlu.tokenizers.joining import Ids, Join

TRIFLE = 1e-6
"""What a join scores more than its pieces, for each piece but one: of rows of tokens that are as likely that with more
joins is taken. Scores are logarithms of probabilities; trained ones are hardly ever so near to each other."""

State = dict[str, Any]
"""What a ``tokenizer.json`` holds."""


def state_of(inner: Inner, *, where: object) -> State:
    """The tokenizer as JSON, all of whose tokens are in its model too, so that new ones come behind them.

    Args:
        where: what the tokenizer is called in errors.

    Raises:
        InputError: its numbers have gaps that this kind of model cannot have.
    """
    state: State = json.loads(inner.to_str())
    model = state["model"]
    if model["type"] == "BPE":
        model["dropout"] = None  # chance, which is for training alone
    for token in sorted(state["added_tokens"], key=lambda each: int(each["id"])):
        _keep(model, token["content"], token["id"], where)
    return state


def _keep(model: State, token: str, id: int, where: object) -> None:
    if model["type"] != "Unigram":
        model["vocab"].setdefault(token, id)
        return
    pieces = model["vocab"]
    if id < len(pieces):
        return
    if id > len(pieces):
        raise InputError(f"{where} has no token {len(pieces):,}, but one {id:,}; a Unigram model cannot have such gaps")
    pieces.append([token, min(score for _, score in pieces)])


def with_characters(state: State, characters: Iterable[str]) -> State:
    """With these as tokens, behind all others; of WordPiece with ``##`` before those that go on with a word."""
    model = _copied(state)
    least = min(score for _, score in model["vocab"]) if model["type"] == "Unigram" else 0.0
    for id, character in enumerate(characters, start=_size(model)):
        if model["type"] == "Unigram":
            # As what is least likely: no other piece has this character, so that the score decides nothing.
            model["vocab"].append([character, least])
        else:
            model["vocab"][character] = id
    return {**state, "model": model}


def with_joins(state: State, joins: Iterable[Join], *, most: int) -> State:
    """With the first ``most`` of ``joins`` that make a new token; those built on one that makes none are left out."""
    model = _copied(state)
    names = names_of(model)
    taken = set(names.values())
    known: dict[Ids, str] = {(id,): name for id, name in names.items()}
    scores = [score for _, score in model["vocab"]] if model["type"] == "Unigram" else []
    size, added = _size(model), 0
    for join in joins:
        if added == most:
            break
        left, right = known.get(join.left), known.get(join.right)
        if left is None or right is None:
            continue
        name = _joined(model, left, right)
        if name in taken and known.get(join.ids) != name:  # some old token is written so, but it is not made of these
            continue
        if name not in taken:
            taken.add(name)
            known[join.ids] = name
            if model["type"] == "Unigram":
                model["vocab"].append([name, sum(scores[id] for id in join.ids) + TRIFLE * (len(join.ids) - 1)])
            else:
                model["vocab"][name] = size + added
            added += 1
        if model["type"] == "BPE":
            model["merges"].append([left, right])
    return {**state, "model": model}


def with_words(state: State, words: Iterable[str], *, runs: Container[str]) -> State:
    """With whole words behind all tokens.

    Args:
        words: which the model lacks.
        runs: those of ``words`` that the tokenizer would cut apart, and that are found in a text before that.
    """
    model, added = _copied(state), list(state["added_tokens"])
    how = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": state["normalizer"] is not None}
    for id, word in enumerate(words, start=_size(model)):
        model["vocab"][word] = id
        if word in runs:
            added.append({"id": id, "content": word, **how, "special": False})
    return {**state, "added_tokens": added, "model": model}


def names_of(model: State) -> dict[int, str]:
    """Each token as the model spells it, by its number."""
    if model["type"] == "Unigram":
        return {id: name for id, (name, _) in enumerate(model["vocab"])}
    return {id: name for name, id in model["vocab"].items()}


def splitter(inner: Inner) -> Callable[[str], Ids]:
    """What says which tokens of ``inner`` are written together like a token of another tokenizer of its kind.

    Characters that it lacks are its unknown token; where it has none, nothing.
    """
    if isinstance(inner.model, models.WordLevel):
        return lambda token: _words_of(inner, token)
    if not isinstance(inner.model, models.WordPiece):
        return lambda token: tuple(each.id for each in inner.model.tokenize(token))
    vocabulary, unknown, prefix = inner.get_vocab(), inner.model.unk_token, inner.model.continuing_subword_prefix

    def split(token: str) -> Ids:
        if token.startswith(prefix) and token != prefix:
            return _within_word(vocabulary, token.removeprefix(prefix), unknown=unknown, prefix=prefix)
        return tuple(each.id for each in inner.model.tokenize(token))

    return split


def _words_of(inner: Inner, token: str) -> Ids:
    """The words that it is cut into, as Chinese ones are."""
    try:
        return tuple(inner.encode(token, add_special_tokens=False).ids)
    except Exception:  # the library's bare one: there is a word without a token, and no unknown token either
        return ()


def _within_word(vocabulary: dict[str, int], rest: str, *, unknown: str, prefix: str) -> Ids:
    """The longest piece first, as WordPiece does it, all of them within a word."""
    ids: list[int] = []
    while rest:
        end = next((end for end in range(len(rest), 0, -1) if prefix + rest[:end] in vocabulary), None)
        if end is None:
            return (vocabulary[unknown],) if unknown in vocabulary else ()
        ids.append(vocabulary[prefix + rest[:end]])
        rest = rest[end:]
    return tuple(ids)


def _joined(model: State, left: str, right: str) -> str:
    prefix: str | None = model.get("continuing_subword_prefix")
    return left + (right.removeprefix(prefix) if prefix else right)


def _size(model: State) -> int:
    return max(names_of(model), default=-1) + 1


def _copied(state: State) -> State:
    """Its model, to be added to."""
    model = state["model"]
    lists = {name: list(model[name]) for name in ("merges",) if name in model}
    return {**model, "vocab": model["vocab"].copy(), **lists}
