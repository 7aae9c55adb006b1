"""Pseudo-log-likelihoods are those of transformers' masked language model, one mask at a time."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
import transformers

from danlu.errors import InputError
from danlu.nn.config import Alibi
from danlu.nn.hf.folder import load_model
from danlu.nn.transformer import Transformer
from danlu.suites.likelihood import may_share_a_row
from danlu.suites.pseudo import MaskedScorer
from danlu.suites.request import Request
from danlu.suites.scorer import scorer_of
from danlu.tokenizers.tokenizer import Tokenizer


@pytest.fixture(scope="module")
def masked(whole_encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BERT with a head for words, which sees 24 tokens."""
    folder = tmp_path_factory.mktemp("masked")
    tokenizer = transformers.AutoTokenizer.from_pretrained(whole_encoder)
    tokenizer.mask_token = "[MASK]"
    tokenizer.save_pretrained(folder)
    torch.manual_seed(2)
    config = transformers.BertConfig.from_pretrained(whole_encoder)
    transformers.BertForMaskedLM(config).save_pretrained(folder)
    return folder


REQUESTS = [
    Request("", "To be is the question."), Request("", "话说天下大势"), Request("To be, or", " not to be"),
    Request("a", " b"), Request("Once upon a time there was " * 6, "a sentence."),
]  # fmt: skip


@pytest.mark.parametrize("batch_tokens", [1, 100, 4096])
def test_each_token_is_scored_from_all_others(masked: Path, batch_tokens: int) -> None:
    stock = transformers.BertForMaskedLM.from_pretrained(masked, dtype=torch.float32).eval()
    tokens_of = transformers.AutoTokenizer.from_pretrained(masked)
    scorer = scorer_of(load_model(masked), Tokenizer.load(masked), batch_tokens=batch_tokens)
    assert isinstance(scorer, MaskedScorer)
    for request, score in zip(REQUESTS, scorer.score(REQUESTS), strict=True):
        plain = tokens_of(request.context + request.continuation, add_special_tokens=False).input_ids
        scored = len(plain) - len(tokens_of(request.context, add_special_tokens=False).input_ids)
        ids = [tokens_of.cls_token_id, *plain[-22:], tokens_of.sep_token_id]
        total = 0.0
        for place in range(len(ids) - 1 - scored, len(ids) - 1):
            asked = [*ids[:place], tokens_of.mask_token_id, *ids[place + 1 :]]
            with torch.no_grad():
                total += float(stock(torch.tensor([asked])).logits[0, place].double().log_softmax(-1)[ids[place]])
        assert score.log_likelihood == pytest.approx(total, rel=1e-5)
        assert score.cut == (len(plain) > 22)


def test_texts_in_padded_rows_are_scored_as_alone(masked: Path) -> None:
    """With biases for distances, for which texts do not share a row."""
    config = load_model(masked).config
    assert config.encoder is not None
    model = Transformer(replace(config, encoder=replace(config.encoder, bias=Alibi())))
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for weight in model.parameters():
            weight.normal_(1.0 if weight.ndim == 1 else 0.0, 0.3, generator=generator)
    assert not may_share_a_row(model)
    tokenizer = Tokenizer.load(masked)
    together, alone = (MaskedScorer(model, tokenizer, batch_tokens=most).score(REQUESTS) for most in (4096, 1))
    for one, other in zip(together, alone, strict=True):
        assert one.log_likelihood == pytest.approx(other.log_likelihood, rel=1e-5)


def test_a_continuation_longer_than_the_model_sees_is_one_clear_line(masked: Path) -> None:
    scorer = MaskedScorer(load_model(masked), Tokenizer.load(masked))
    with pytest.raises(InputError, match=r"the model sees at most 22 tokens of a text; got a continuation of \d+"):
        scorer.score([Request("", "a b c " * 20)])


def test_a_tokenizer_without_a_mask_is_one_clear_line(masked: Path, whole_encoder: Path) -> None:
    with pytest.raises(InputError, match="names no mask_token"):
        MaskedScorer(load_model(masked), Tokenizer.load(whole_encoder))
