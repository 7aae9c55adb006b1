"""Trainings whose weights cannot be in shards are refused: ranks would wait for each other, or sum what differs."""

from __future__ import annotations

from dataclasses import replace

import pytest
from torch import nn

from danlu.errors import RecipeError
from danlu.nn.config import Labels
from danlu.nn.families import GPT
from danlu.nn.label_head import LabelHead
from danlu.nn.transformer import Transformer
from danlu.objectives.clm import CausalLM
from danlu.objectives.mlm import MaskedLM
from danlu.objectives.multitask import Multitask, Task
from danlu.objectives.pairs import NextSentence, SentenceOrder
from danlu.parallel.mesh import Place
from danlu.train.shards import check_shards

SHARDS = Place(0, shard_size=2, section="joint")
WORDS, PAIRS, ORDER = MaskedLM(), NextSentence(), SentenceOrder()


def refused(objective: MaskedLM | Multitask | CausalLM, place: Place = SHARDS, **known: nn.Module) -> str:
    model = Transformer(GPT(layers=1, dim=32, heads=1).config(vocab_size=8, max_length=8))
    model.head = known.get("head", model.head)
    try:
        check_shards(objective, model, known.get("modules"), place, several="head" in known)
    except RecipeError as error:
        return str(error)
    return ""


def mixed(**objectives: MaskedLM) -> Multitask:
    return Multitask(tasks={name: Task(objective=each, share=1) for name, each in objectives.items()})


def test_tasks_of_different_heads_are_refused() -> None:
    """One rank is at words alone while another learns of pairs too: what they sum then has other lengths."""
    wanted = (
        "joint.hardware.mesh.shard must be 1 where tasks have heads of their own: ranks that share weights have to "
    )
    assert refused(mixed(a=WORDS, b=PAIRS)).startswith(wanted)
    assert refused(mixed(a=WORDS, b=WORDS)) == refused(mixed(a=PAIRS, b=ORDER)) == refused(PAIRS) == ""
    assert refused(mixed(a=WORDS, b=PAIRS), Place(0, 2)) == ""
    unlearned = {"a": Task(objective=WORDS, share=0), "b": Task(objective=PAIRS, share=1)}
    assert refused(Multitask(tasks=unlearned)) == ""


@pytest.mark.parametrize("apart", [True, False])
def test_heads_of_tasks_are_refused_unless_they_are_one(apart: bool) -> None:
    first, second = (LabelHead(Labels(2, "first"), dim=32) for _ in range(2))
    heads = nn.Module()
    heads.each = nn.ModuleDict({"a": first, "b": second if apart else first})
    assert bool(refused(CausalLM(), head=heads)) == apart


def test_layers_that_are_skipped_cannot_be_in_shards() -> None:
    """Each rank draws which ones: one would wait for ever for weights that another does not gather."""
    config = GPT(layers=1, dim=32, heads=1).config(vocab_size=8, max_length=8)
    assert config.decoder is not None
    model = Transformer(replace(config, decoder=replace(config.decoder, layer_drop=0.5)))
    with pytest.raises(RecipeError) as error:
        check_shards(CausalLM(), model, None, SHARDS, several=False)
    assert str(error.value) == (
        "joint.hardware.mesh.shard must be 1 for a model that skips layers in training, unless its config.json has "
        "encoder_layerdrop and decoder_layerdrop 0; got 2"
    )
    check_shards(CausalLM(), model, None, Place(0, 2), several=False)


def test_weights_of_the_objective_are_refused() -> None:
    assert refused(CausalLM(), modules=nn.Linear(2, 2)) == (
        "joint.objective trains weights of its own, which cannot be in shards: joint.hardware.mesh.shard must be 1; "
        "got 2"
    )
    assert refused(CausalLM(), Place(0, 2), modules=nn.Linear(2, 2)) == ""
