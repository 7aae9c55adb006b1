"""The whole model: its start, its limits."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from danlu.nn.families import GPT, Llama, Qwen3
from danlu.nn.transformer import Transformer

CHOICES = [GPT, Llama, Qwen3]


@pytest.mark.parametrize("choice", CHOICES)
def test_starts_from_the_seed_and_knows_nothing(choice: type[GPT]) -> None:
    config = choice(layers=2, dim=64).config(vocab_size=50, max_length=16)
    models = [Transformer(config) for _ in range(3)]
    for model, seed in zip(models, (7, 7, 8), strict=True):
        model.initialise(seed)
    same, again, other = (model.state_dict() for model in models)
    assert all(map(torch.equal, same.values(), again.values()))
    assert not torch.equal(same["embedding.weight"], other["embedding.weight"])
    tokens = torch.randint(0, 50, (2, 9))
    assert models[0].head(models[0](tokens)).eq(0).all()  # every token equally likely: the loss is log(vocabulary)


def test_a_tied_model_has_one_matrix_and_its_gradient_from_both_ends(make_model: Callable[..., Transformer]) -> None:
    model = make_model("llama", tied=True)
    assert model.head.weight is model.embedding.weight
    tokens = torch.tensor([[1, 2, 3]])
    model.head.loss(model(tokens), torch.tensor([[4, 4, 4]])).backward()
    grad = model.embedding.weight.grad
    assert grad is not None
    assert grad[[1, 2, 3, 4, 50]].ne(0).any(1).all()


def test_more_tokens_than_it_sees_is_an_error(make_model: Callable[..., Transformer]) -> None:
    with pytest.raises(ValueError, match="sees at most 40 tokens; got 41"):
        make_model()(torch.zeros(1, 41, dtype=torch.long))
