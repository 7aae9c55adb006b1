"""Held-out loss against transformers, against float64 numpy, and against what must be so."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from danlu.corpus.store import TokenStore
from danlu.corpus.store_writer import StoreWriter
from danlu.errors import InputError, RecipeError
from danlu.evaluate.ngram import NGram, score
from danlu.evaluate.perplexity import Perplexity, document_losses
from danlu.evaluate.protocol import Subject
from danlu.nn.families import GPT
from danlu.nn.hf.folder import save_model
from danlu.nn.transformer import Transformer
from danlu.text.document import Document
from danlu.tokenizers.char import Char
from danlu.tokenizers.tokenizer import Tokenizer

TEXTS = {"en#0": "to be, or not to be", "zh#0": "话说天下大势,分久必合", "en#1": "that is", "en#2": "a" * 40}
LENGTH = 16


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Char().train(TEXTS.values())


@pytest.fixture(scope="module")
def store(tokenizer: Tokenizer, tmp_path_factory: pytest.TempPathFactory) -> TokenStore:
    folder = tmp_path_factory.mktemp("heldout")
    writer = StoreWriter(folder, vocab_size=tokenizer.vocab_size, eot=tokenizer.eot)
    for name, text in TEXTS.items():
        writer.add(Document(name, text, {"language": name[:2], "source": name[:2]}), tokenizer.encode(text))
    writer.close()
    return TokenStore.open(folder)


@pytest.fixture(scope="module")
def model(tokenizer: Tokenizer) -> Transformer:
    config = GPT(layers=2, dim=32, heads=2).config(vocab_size=tokenizer.vocab_size, max_length=LENGTH)
    model = Transformer(config)
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for weight in model.parameters():  # large, so that every context changes the prediction
            weight.normal_(0.0, 0.5, generator=generator)
    return model.eval()


@pytest.fixture
def subject(model: Transformer, tokenizer: Tokenizer, store: TokenStore, tmp_path: Path) -> Subject:
    """The baseline is trained on what it is measured on: nothing here depends on how good it is."""
    return Subject(model=model, tokenizer=tokenizer, train=store, heldout=store, out=tmp_path, seed=1)


def expected_nats(model: Transformer, store: TokenStore, stride: int = LENGTH) -> Iterator[tuple[int, float, bool]]:
    """(document, nats, right) of every target, one at a time, in float64, with no packing and no mask.

    The context of a target is what lies in its document and in the first row that reaches it, and nothing else.
    """
    wide = Transformer(model.config).double().eval()
    wide.load_state_dict(model.state_dict())
    for target in range(1, len(store.tokens)):
        document = int(np.searchsorted(store.starts, target - 1, side="right")) - 1
        row = max(0, math.ceil((target - LENGTH) / stride)) * stride
        first = max(int(store.starts[document]), row)
        context = torch.from_numpy(store.tokens[first:target].astype(np.int64))[None]
        logits = wide.head(wide(context))[0, -1].detach().numpy()
        shifted = logits - logits.max()
        truth = int(store.tokens[target])
        nats = float(np.log(np.exp(shifted).sum()) - shifted[truth])
        yield document, nats, bool(logits.argmax() == truth)


def test_equals_numpy_one_target_at_a_time(model: Transformer, store: TokenStore) -> None:
    losses = document_losses(model, store, batch_tokens=3 * LENGTH)
    nats, right, tokens = np.zeros(4), np.zeros(4), np.zeros(4)
    for document, cost, foreseen in expected_nats(model, store):
        nats[document] += cost
        right[document] += foreseen
        tokens[document] += 1
    assert losses.tokens.tolist() == tokens.tolist() == [len(text) + 1 for text in TEXTS.values()]
    assert losses.right.tolist() == right.tolist()
    np.testing.assert_allclose(losses.nats, nats, rtol=1e-5)


@pytest.mark.parametrize("stride", [1, 3, 8, 15, LENGTH])
@pytest.mark.parametrize("batch_tokens", [1, 3 * LENGTH, 10_000])
def test_a_sliding_window_equals_numpy_one_target_at_a_time(
    model: Transformer, store: TokenStore, stride: int, batch_tokens: int
) -> None:
    losses = document_losses(model, store, batch_tokens=batch_tokens, stride=stride)
    nats, right = np.zeros(4), np.zeros(4)
    for document, cost, foreseen in expected_nats(model, store, stride):
        nats[document] += cost
        right[document] += foreseen
    assert losses.right.tolist() == right.tolist()
    np.testing.assert_allclose(losses.nats, nats, rtol=1e-5)


@pytest.mark.parametrize("stride", [1, 5, LENGTH])
def test_a_sliding_window_is_that_of_the_guide_of_transformers(
    model: Transformer, tokenizer: Tokenizer, stride: int, tmp_path: Path
) -> None:
    """Its loop over one long text, as "Perplexity of fixed-length models" writes it, in float64."""
    from transformers import AutoModelForCausalLM

    save_model(model, tmp_path / "model")
    theirs = AutoModelForCausalLM.from_pretrained(tmp_path / "model").double()
    text = " ".join(TEXTS[name] for name in ("en#0", "zh#0", "en#1", "en#0"))
    writer = StoreWriter(tmp_path / "long", vocab_size=tokenizer.vocab_size, eot=tokenizer.eot)
    writer.add(Document("d", text, {"language": "en"}), tokenizer.encode(text))
    writer.close()
    losses = document_losses(model, TokenStore.open(tmp_path / "long"), batch_tokens=2 * LENGTH, stride=stride)
    ids = torch.tensor([[tokenizer.eot, *tokenizer.encode(text), tokenizer.eot]])
    nats, previous = 0.0, 0
    size = ids.shape[1] - 1  # of inputs: a window of LENGTH inputs foretells what stands behind each
    for begin in range(0, size, stride):
        end = min(begin + LENGTH, size)
        logits = theirs(input_ids=ids[:, begin:end]).logits[0, previous - end :]
        wanted = ids[0, previous + 1 : end + 1]
        nats += float(torch.nn.functional.cross_entropy(logits, wanted, reduction="sum").detach())
        previous = end
        if end == size:
            break
    assert losses.nats[0] == pytest.approx(nats, rel=1e-5)


def test_the_stride_is_written_and_may_not_leave_anything_out(subject: Subject) -> None:
    apart = Perplexity(baseline=None).measure(subject)
    found = Perplexity(baseline=None, stride=4).measure(subject)
    assert found["all.tokens"] == apart["all.tokens"] and found["all.nats_per_token"] != apart["all.nats_per_token"]
    written = json.loads((subject.out / "perplexity.json").read_text())
    assert (written["row_tokens"], written["stride"]) == (LENGTH, 4)
    with pytest.raises(RecipeError, match=r"perplexity\.stride must be at most 16, the tokens of a row; got 17"):
        Perplexity(stride=17).measure(subject)


@pytest.mark.parametrize("batch_tokens", [1, LENGTH, 2 * LENGTH, 10_000])
def test_batch_size_changes_nothing(model: Transformer, store: TokenStore, batch_tokens: int) -> None:
    reference = document_losses(model, store, batch_tokens=3 * LENGTH)
    losses = document_losses(model, store, batch_tokens=batch_tokens)
    np.testing.assert_allclose(losses.nats, reference.nats, rtol=1e-6)


def test_a_document_knows_nothing_of_the_one_before(model: Transformer, tokenizer: Tokenizer, tmp_path: Path) -> None:
    """Other text before a document that begins inside a row leaves its loss as it was."""
    nats = []
    for number, before in enumerate(("to be", "isnot")):
        writer = StoreWriter(tmp_path / str(number), vocab_size=tokenizer.vocab_size, eot=tokenizer.eot)
        for text in (before, "that is"):
            writer.add(Document(text, text, {"language": "en"}), tokenizer.encode(text))
        writer.close()
        losses = document_losses(model, TokenStore.open(tmp_path / str(number)), batch_tokens=LENGTH)
        nats.append(losses.nats.tolist())
    assert nats[0][1] == nats[1][1]
    assert nats[0][0] != nats[1][0]


def test_equals_the_loss_of_transformers(
    model: Transformer, tokenizer: Tokenizer, store: TokenStore, tmp_path: Path
) -> None:
    """Documents shorter than a row, each alone in a store, against the exported model's own loss."""
    from transformers import AutoModelForCausalLM

    save_model(model, tmp_path / "model")
    theirs = AutoModelForCausalLM.from_pretrained(tmp_path / "model")
    for number, text in enumerate(("that is", "to be, or not", "分久必合")):
        writer = StoreWriter(tmp_path / str(number), vocab_size=tokenizer.vocab_size, eot=tokenizer.eot)
        writer.add(Document("d", text, {"language": "en"}), tokenizer.encode(text))
        writer.close()
        losses = document_losses(model, TokenStore.open(tmp_path / str(number)), batch_tokens=LENGTH)
        ids = torch.tensor([[tokenizer.eot, *tokenizer.encode(text), tokenizer.eot]])
        with torch.no_grad():
            loss = float(theirs(input_ids=ids, labels=ids).loss)
        assert losses.nats[0] / losses.tokens[0] == pytest.approx(loss, rel=1e-5)


def test_a_model_that_knows_nothing_costs_the_logarithm_of_the_vocabulary(subject: Subject) -> None:
    with torch.no_grad():
        before = subject.model.head.weight.clone()
        subject.model.head.weight.zero_()
        try:
            figures = Perplexity().measure(subject)
        finally:
            subject.model.head.weight.copy_(before)
    vocabulary = subject.tokenizer.vocab_size
    for group in ("all", "en", "zh"):
        assert figures[f"{group}.nats_per_token"] == pytest.approx(math.log(vocabulary), abs=1e-5)
        assert figures[f"{group}.perplexity"] == pytest.approx(vocabulary, rel=1e-5)
    # Eleven Chinese characters of three bytes but for one ASCII comma, and the end of the text.
    assert figures["zh.bits_per_byte"] == pytest.approx(math.log2(vocabulary) * 12 / 31, rel=1e-5)


def test_languages_add_up_to_all(subject: Subject) -> None:
    figures = Perplexity().measure(subject)
    for name in ("documents", "tokens", "bytes"):
        assert figures[f"all.{name}"] == figures[f"en.{name}"] + figures[f"zh.{name}"]
    for name, unit in (("nats_per_token", "tokens"), ("bits_per_byte", "bytes"), ("accuracy", "tokens")):
        parts = sum(figures[f"{language}.{name}"] * figures[f"{language}.{unit}"] for language in ("en", "zh"))
        assert figures[f"all.{name}"] == pytest.approx(parts / figures[f"all.{unit}"], rel=1e-4)


def test_files_hold_what_the_figures_say(subject: Subject) -> None:
    figures = Perplexity().measure(subject)
    summary = json.loads((subject.out / "perplexity.json").read_text())
    assert {name: summary["all"][name] for name in ("perplexity", "tokens")} == {
        "perplexity": figures["all.perplexity"],
        "tokens": figures["all.tokens"],
    }
    low, high = summary["languages"]["en"]["bits_per_byte_95"]
    assert low < figures["en.bits_per_byte"] < high
    assert summary["languages"]["zh"]["bits_per_byte_95"] is None  # one document says nothing about others
    lines = [json.loads(line) for line in (subject.out / "perplexity_documents.jsonl").read_text().splitlines()]
    assert [line["id"] for line in lines] == list(TEXTS)
    assert [line["begins"] for line in lines] == list(TEXTS.values())
    assert sum(line["nats_per_token"] * line["tokens"] for line in lines) == pytest.approx(
        figures["all.nats_per_token"] * figures["all.tokens"], rel=1e-5
    )


def test_the_baseline_is_measured_on_the_same_targets(subject: Subject) -> None:
    figures = Perplexity(baseline=NGram(order=3)).measure(subject)
    found = json.loads((subject.out / "perplexity.json").read_text())["baseline"]
    model = NGram(order=3).train(subject.train, seed=1)
    nats, right = score(model, subject.heldout)
    targets, size = subject.heldout.targets, sum(len(text.encode()) for text in TEXTS.values())
    assert figures["baseline.all.nats_per_token"] == pytest.approx(nats.sum() / targets, abs=1e-6)
    assert figures["baseline.all.bits_per_byte"] == pytest.approx(nats.sum() / math.log(2) / size, abs=1e-6)
    assert figures["baseline.zh.nats_per_token"] == pytest.approx(nats[1] / 12, abs=1e-6)
    assert figures["baseline.all.accuracy"] == pytest.approx(right.sum() / targets, abs=1e-6)
    assert figures["baseline.order"] == found["order"] == len(found["discounts"]) == 3
    assert figures["baseline.tokens"] == figures["baseline.train_tokens"] == targets
    low, high = found["languages"]["en"]["bits_per_byte_95"]
    assert low < figures["baseline.en.bits_per_byte"] < high
    assert found["all"]["documents"] == figures["all.documents"]


def test_the_baseline_says_that_it_saw_a_part_only_and_can_be_left_out(subject: Subject) -> None:
    figures = Perplexity(baseline=NGram(max_tokens=20)).measure(subject)
    assert (figures["baseline.tokens"], figures["baseline.train_tokens"]) == (20, subject.train.targets)
    figures = Perplexity(baseline=None).measure(subject)
    assert not any(name.startswith("baseline") for name in figures)
    assert "baseline" not in json.loads((subject.out / "perplexity.json").read_text())


@pytest.mark.parametrize("known", [True, False])
def test_what_the_tokenizer_does_not_know_is_told(
    known: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A tokenizer of English alone finds a Chinese text cheap, since all of its characters are one to it."""
    monkeypatch.setattr("danlu.evaluate.unknown.AT_ONCE", 7)
    texts = [text for name, text in TEXTS.items() if known or name.startswith("en")]
    tokenizer = Char().train(texts)
    writer = StoreWriter(tmp_path / "store", vocab_size=tokenizer.vocab_size, eot=tokenizer.eot)
    for name, text in TEXTS.items():
        writer.add(Document(name, text, {"language": name[:2]}), tokenizer.encode(text))
    writer.close()
    store = TokenStore.open(tmp_path / "store")
    config = GPT(layers=1, dim=32, heads=2).config(vocab_size=tokenizer.vocab_size, max_length=LENGTH)
    model = Transformer(config).eval()
    subject = Subject(model=model, tokenizer=tokenizer, train=store, heldout=store, out=tmp_path, seed=1)
    figures = Perplexity(baseline=None).measure(subject)
    strange = 0 if known else sum(each not in "".join(texts) for each in TEXTS["zh#0"])
    assert strange == (0 if known else 10)  # all but the comma
    shares = {"all": strange / sum(len(text) + 1 for text in TEXTS.values()), "en": 0, "zh": strange / 12}
    for group, share in shares.items():
        assert figures[f"{group}.unknown_share"] == pytest.approx(share, abs=1e-6)
    assert (
        json.loads((tmp_path / "perplexity.json").read_text())["all"]["unknown_share"] == figures["all.unknown_share"]
    )
    said = " ".join(capsys.readouterr().out.split())
    assert ("10 of 81 held-out tokens stand for text that the tokenizer does not know" in said) != known


def test_nothing_held_out_is_one_clear_line(subject: Subject, tmp_path: Path) -> None:
    StoreWriter(tmp_path / "empty", vocab_size=5, eot=0).close()
    with pytest.raises(InputError, match=r"there are none; give pack\.split a larger share"):
        document_losses(subject.model, TokenStore.open(tmp_path / "empty"), batch_tokens=LENGTH)
