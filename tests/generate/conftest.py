"""A small model with random weights, and a tokenizer that spreads Chinese characters over bytes."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

from danlu.nn.families import GPT
from danlu.nn.hf.folder import save_model
from danlu.nn.transformer import Transformer
from danlu.tokenizers.bpe import BPE
from danlu.tokenizers.tokenizer import Tokenizer

TEXT = "To be, or not to be: that is the question.\nWhether 'tis nobler in the mind to suffer 话说天下大势，\n"


@pytest.fixture(scope="session")
def tokenizer() -> Tokenizer:
    return BPE(vocab_size=280).train([TEXT])


@pytest.fixture(scope="session")
def model(tokenizer: Tokenizer) -> Transformer:
    """Sees 96 tokens and seldom ends a text; its vocabulary is larger than the tokenizer's."""
    config = GPT(layers=2, dim=32, heads=4, kv_heads=2).config(vocab_size=tokenizer.vocab_size + 8, max_length=96)
    model = Transformer(config)
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for weight in model.parameters():
            weight.normal_(0.0, 0.35, generator=generator)
        model.head.weight[tokenizer.eot] = 0.0  # a logit of 0 is never the largest
    return model


@pytest.fixture(scope="session")
def run_dir(model: Transformer, tokenizer: Tokenizer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder in which ``tokenizer`` and ``pretrain`` are done, as far as readers can see."""
    folder = tmp_path_factory.mktemp("run")
    (folder / "tokenizer").mkdir()
    tokenizer.save(folder / "tokenizer")
    save_model(model, folder / "pretrain" / "model", tokenizer=folder / "tokenizer")
    for stage in ("tokenizer", "pretrain"):
        (folder / stage / "done.json").write_text('{"made_from": {}, "outputs": {}, "figures": {}}')
    return folder


@pytest.fixture
def retrained(run_dir: Path, tmp_path: Path) -> Path:
    """The run with another tokenizer of the same size, trained after the model was."""
    folder = Path(shutil.copytree(run_dir, tmp_path / "retrained"))
    BPE(vocab_size=280).train([TEXT[::-1]]).save(folder / "tokenizer")
    return folder
