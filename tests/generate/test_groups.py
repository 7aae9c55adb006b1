"""Groups of answers: those of transformers where nothing is drawn, by the model's own distribution where it is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
import transformers

from danlu.generate import groups as groups_module
from danlu.generate.engine import Loaded, load
from danlu.generate.groups import write_groups
from danlu.generate.sampling import Sampling

PROMPTS = ["To be, or not", "Once", "话说天下大势，分久", "a", "that is the question"]
GREEDY = Sampling(max_tokens=7, temperature=0.0)
DRAWN = Sampling(max_tokens=5, temperature=1.0)


@pytest.fixture
def loaded(decoder: Path) -> Loaded:
    return load(decoder)


def ids(loaded: Loaded) -> list[list[int]]:
    return [loaded.tokenizer.encode(prompt) for prompt in PROMPTS]


def drawn(loaded: Loaded, prompts: Sequence[Sequence[int]], seeds: Sequence[Sequence[int]]) -> list[list[str]]:
    return [[each.text for each in group] for group in write_groups(loaded, prompts, DRAWN, seeds)]


@pytest.mark.parametrize("rows", [4, 64])
def test_the_likeliest_answers_are_those_of_transformers(
    loaded: Loaded, decoder: Path, rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Prompts of several lengths, of which some have more answers than are written together."""
    monkeypatch.setattr(groups_module, "ROWS", rows)
    model = transformers.AutoModelForCausalLM.from_pretrained(decoder, dtype=torch.float32)
    prompts, counts = ids(loaded), (1, 3, 6, 2, 2)
    found = write_groups(loaded, prompts, GREEDY, [list(range(count)) for count in counts])
    assert [len(group) for group in found] == list(counts)
    for prompt, group in zip(prompts, found, strict=True):
        whole = model.generate(torch.tensor([prompt]), max_new_tokens=7, do_sample=False, pad_token_id=0)[0].tolist()
        assert {each.ids for each in group} == {tuple(whole[len(prompt) :])}


def test_tokens_are_drawn_as_often_as_the_model_says(loaded: Loaded, decoder: Path) -> None:
    model = transformers.AutoModelForCausalLM.from_pretrained(decoder, dtype=torch.float32)
    prompt, count = loaded.tokenizer.encode("To be"), 4000
    shares = model(torch.tensor([prompt])).logits[0, -1].softmax(-1)
    one = Sampling(max_tokens=1, temperature=1.0)
    (group,) = write_groups(loaded, [prompt], one, [list(range(count))])
    found = Counter(each.ids[0] for each in group)
    for token, share in enumerate(shares.tolist()):
        assert abs(found[token] - count * share) < 5 * (count * share) ** 0.5 + 3


def test_an_answer_depends_on_its_prompt_and_seed_alone(loaded: Loaded) -> None:
    prompts = ids(loaded)
    seeds = [[10 * place + number for number in range(3)] for place in range(len(prompts))]
    found = drawn(loaded, prompts, seeds)
    assert found == drawn(loaded, prompts, seeds)
    assert drawn(loaded, prompts[::-1], seeds[::-1]) == found[::-1]
    assert drawn(loaded, prompts[1:2], [[12]]) == [[found[1][2]]]
    assert len({text for group in found for text in group}) > 10


def test_an_answer_ends_with_the_token_that_ends_answers(loaded: Loaded) -> None:
    """Which is no part of its text; others of its group go on."""
    prompt = loaded.tokenizer.encode("To be")
    likely = [each.ids[0] for each in write_groups(loaded, [prompt], DRAWN, [list(range(40))])[0]]
    end = Counter(likely).most_common(1)[0][0]
    special = loaded.special
    ending = Loaded(loaded.model, loaded.tokenizer, type(special)(special.before, special.after, frozenset([end])))
    (group,) = write_groups(ending, [prompt], DRAWN, [list(range(40))])
    assert {each.end for each in group} == {"end_of_text", "max_tokens"}
    for each in group:
        assert (each.ids[-1] == end) == (each.end == "end_of_text")
        assert end not in each.ids[:-1]
        assert each.tokens == 5 or each.end == "end_of_text"
        kept = each.ids[:-1] if each.end == "end_of_text" else each.ids
        assert each.text == loaded.tokenizer.decode(kept, after=prompt)
