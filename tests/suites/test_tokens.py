"""Contexts and continuations are cut apart as lm-evaluation-harness does with transformers' tokenizers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import transformers
from hypothesis import given
from hypothesis import strategies as st

from danlu.errors import InputError
from danlu.suites.request import Request
from danlu.suites.tokens import Pair, parted_pairs, whole_pairs, windows
from danlu.tokenizers.tokenizer import Tokenizer

lm_eval = pytest.importorskip("lm_eval", reason="lm-evaluation-harness is not installed (pip install lm-eval)")
TEXTS = st.text(st.sampled_from(list("To be, or? \n 话说天下é")), max_size=12)


def their_pairs(folder: Path, requests: list[Request], *, backend: str = "causal") -> list[tuple[list[int], list[int]]]:
    """What the harness makes of the texts with the stock tokenizer."""
    from lm_eval.api.instance import Instance
    from lm_eval.api.model import TemplateLM

    stock = transformers.AutoTokenizer.from_pretrained(folder)

    class Asked(TemplateLM):  # type: ignore[misc]
        eot_token_id = stock.eos_token_id
        prefix_token_id = stock.bos_token_id if stock.bos_token_id is not None else stock.eos_token_id

        def tok_encode(self, string: str, add_special_tokens: bool | None = None, **_: Any) -> list[int]:
            said = {} if add_special_tokens is None else {"add_special_tokens": add_special_tokens}
            ids: list[int] = stock.encode(string, **said)
            return ids

        def _loglikelihood_tokens(self, requests: Any, **_: Any) -> Any:
            return [(context, continuation) for _, context, continuation in requests]

        def loglikelihood_rolling(self, requests: Any, disable_tqdm: bool = False) -> Any: ...

        def generate_until(self, requests: Any, disable_tqdm: bool = False) -> Any: ...

    asked = Asked()
    asked.backend = backend
    instances = [Instance("loglikelihood", {}, tuple(request), 0) for request in requests]
    return asked.loglikelihood(instances, disable_tqdm=True)


@pytest.mark.parametrize("kind", ["byte fallback", "byte level"])
def test_decoders_read_what_the_harness_reads(kind: str, kinds: dict[str, Path]) -> None:
    tokenizer = Tokenizer.load(kinds[kind])
    before = tokenizer.template()[0]

    @given(st.lists(st.tuples(TEXTS, TEXTS.filter(str.strip)), min_size=1, max_size=4))
    def check(texts: list[tuple[str, str]]) -> None:
        requests = [Request(*each) for each in texts if each[0].strip() or not each[0]]
        try:
            ours = whole_pairs(tokenizer, requests)
        except InputError:  # a continuation has no token of its own: the harness stops at an assertion, later
            assert any(not continuation for _, continuation in their_pairs(kinds[kind], requests))
            return
        theirs = their_pairs(kinds[kind], requests)
        assert [(list(pair.context), list(pair.continuation)) for pair in ours] == theirs

    check()
    assert (before != []) == (kind == "byte fallback")


def test_the_cases_that_are_easily_got_wrong(kinds: dict[str, Path]) -> None:
    folder = kinds["byte fallback"]
    tokenizer = Tokenizer.load(folder)
    requests = [
        Request("", " To be"), Request("", "To be"), Request("To be ", "or"), Request("To be\n\n", "or"),
        Request("To b", "e, or"), Request("话说", "天下"),
    ]  # fmt: skip
    ours = whole_pairs(tokenizer, requests)
    assert [(list(each.context), list(each.continuation)) for each in ours] == their_pairs(folder, requests)
    assert ours[0].context == [tokenizer.bos]
    assert len(ours[2].context) == len(tokenizer.encode("To be")) + 1  # the space is the continuation's


def test_answerers_read_both_apart_as_the_harness_does(kinds: dict[str, Path]) -> None:
    folder = kinds["Unigram"]
    tokenizer = Tokenizer.load(folder)
    requests = [Request("", " To be"), Request("To be ", "or"), Request("It was", " the best"), Request("话", "说")]
    ours = parted_pairs(tokenizer, requests, after=tokenizer.template()[1])
    theirs = their_pairs(folder, requests, backend="seq2seq")
    assert [(list(each.context), list(each.continuation)) for each in ours] == theirs
    assert ours[1].context[-1] == tokenizer.eot


def test_a_continuation_without_a_token_is_one_clear_line(kinds: dict[str, Path]) -> None:
    tokenizer = Tokenizer.load(kinds["byte level"])
    with pytest.raises(InputError, match=r"the continuation '' of 'To be' has no token of its own"):
        whole_pairs(tokenizer, [Request("To be", "")])


@given(st.integers(1, 12), st.integers(1, 30), st.integers(1, 8))
def test_windows_are_the_harnesss(context: int, continuation: int, most: int) -> None:
    from lm_eval.utils import get_rolling_token_windows, make_disjoint_window

    tokens = list(range(100, 100 + continuation))
    found = windows(Pair(list(range(context)), tokens), most)
    assert [target for window in found for target in window.targets] == tokens
    assert all(len(window.inputs) <= most and len(window.targets) <= len(window.inputs) for window in found)
    if continuation <= most:
        assert found[0].inputs == [*range(context), *tokens][-(most + 1) :][:-1]  # as its hf model cuts
        return
    rolling = get_rolling_token_windows(tokens, prefix_token=context - 1, max_seq_len=most, context_len=1)
    theirs = [make_disjoint_window(each) for each in rolling]
    assert [(window.inputs, window.targets) for window in found] == [
        ((before + targets)[:-1], targets) for before, targets in theirs
    ]
