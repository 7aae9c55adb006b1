"""The recipe of T5 at a small scale, from text to a folder of transformers."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import AutoTokenizer, T5ForConditionalGeneration

from danlu.corpus.store import TokenStore
from danlu.nn.hf.folder import load_model
from danlu.recipe import load_recipe
from danlu.run_folder import RunFolder
from danlu.runs import run_stages
from danlu.tokenizers.tokenizer import Tokenizer
from danlu.tokenizers.vocabulary import Vocabulary
from danlu.train.pretrain import Pretrain
from danlu.train.setup import set_up

RECIPES = Path(__file__).parents[2] / "recipes"
TEXT = "It was the best of times, it was the worst of times.\n\n话说天下大势，分久必合，合久必分。\n\n"
SMALL = [
    "clean.sources=[texts]", "clean.duplicates=[]", "tokenizer.vocab_size=400", "pack.split.fraction=0.3",
    "pretrain.model.layers=2", "pretrain.model.dim=32", "pretrain.sequence=64", "pretrain.batch=4",
    "pretrain.budget={steps: 8}", "pretrain.evaluations=1", "pretrain.compile='off'", "pretrain.precision=fp32",
]  # fmt: skip


def run(name: str, *more: str) -> RunFolder:
    recipe = load_recipe(RECIPES / name, [*SMALL, *more])
    return run_stages(recipe, list(recipe.sections), lambda _: None, begin=lambda _: None)


@pytest.fixture
def _texts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("texts").mkdir()
    for number in range(12):
        Path(f"texts/{number}.txt").write_text(f"{number}: {TEXT}" * (1 + number % 4), encoding="utf-8")


@pytest.mark.usefixtures("_texts")
def test_t5_goes_from_text_to_transformers() -> None:
    made = run("t5.yaml")
    folder = made.stage("export")
    stock, tokenizer = T5ForConditionalGeneration.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)
    ours = load_model(folder)
    store = TokenStore.open(made.stage("pack") / "train")
    start, end, first = (tokenizer.convert_tokens_to_ids(token) for token in ("<pad>", "<|endoftext|>", "<extra_id_0>"))
    assert stock.config.decoder_start_token_id == stock.config.pad_token_id == start
    assert stock.config.eos_token_id == end == store.eot
    text = store.tokens[1:20].astype("int64").tolist()
    source = torch.tensor([[*text[:8], first, *text[11:], end]])
    written = torch.tensor([[first, *text[8:11], end]])
    with torch.no_grad():
        theirs = stock(input_ids=source, labels=written).logits  # shifted by transformers itself
        logits = ours.head(ours(torch.tensor([[start, *written[0, :-1].tolist()]]), memory=ours.encode(source)))
    torch.testing.assert_close(logits, theirs, rtol=1e-5, atol=1e-5)
    settings = load_recipe(RECIPES / "t5.yaml", SMALL).section("pretrain")
    assert isinstance(settings, Pretrain)
    vocabulary = Vocabulary.of(Tokenizer.load(made.stage("tokenizer")))
    batch = set_up(settings, store, vocabulary=vocabulary, seed=0).batches(0)[0]
    assert (batch.inputs["tokens"][:, 0] == start).all()  # in training as in the folder
    figures = made.figures("pretrain")
    assert figures["steps"] == 8 and figures["loss"] < 6  # log(400) is 5.99


@pytest.mark.usefixtures("_texts")
@pytest.mark.parametrize(
    "more",
    [
        ["pretrain.objective=ul2", "pretrain.rows=bucketed"],
        ["pretrain.objective=bart", "tokenizer.special=[bert]", "pack.marks=[sentences]", "pretrain.model.use=bart"],
        ["pretrain.objective=prefix_lm", "pretrain.model.use=gpt"],
        ["pretrain.objective=fim", "tokenizer.special=[fim]", "pretrain.model.use=gpt", "pretrain.rows=padded"],
    ],
    ids=lambda more: more[0],
)
def test_the_others_run_in_its_place(more: list[str]) -> None:
    figures = run("t5.yaml", *more, "pretrain.budget={steps: 3}").figures("pretrain")
    assert figures["steps"] == 3 and 0 < figures["loss"] < 9
