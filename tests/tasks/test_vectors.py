"""Embeddings: losses are those of the papers in float64, gradients those of one whole step, folders load elsewhere."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import logsumexp
from torch import Tensor

from danlu.cli import main
from danlu.corpus.batches import IGNORE, Batch
from danlu.data.dataset import Dataset
from danlu.data.example import Place
from danlu.data.labelled import Scored
from danlu.data.retrieved import Retrieved
from danlu.errors import InputError, RecipeError
from danlu.nn.config import Embedding
from danlu.nn.hf.folder import load_config, load_embedding_model, save_model
from danlu.nn.hf.start import begin_embedding
from danlu.nn.transformer import Transformer
from danlu.optim.adamw import AdamW
from danlu.optim.depth import build_optimizer
from danlu.parallel.joining import Ranks
from danlu.tasks.answering import batches_of
from danlu.tasks.contrast import Embed
from danlu.tasks.embed import Embedder
from danlu.tasks.feature import Feature
from danlu.tasks.graded import EmbedPairs
from danlu.tasks.step_task import StepHeldout, StepLesson, StepTask
from danlu.tasks.task import Known
from danlu.tasks.text_reader import TextReader
from danlu.train.gradients import Gradients, count_all
from danlu.train.precision import FloatMasters

HERE = Place(Path("x.jsonl"), 3)
KNOWN = Known(numbers={"low": 0.0, "high": 5.0})
QUERIES = [
    Retrieved(HERE, "to be", ("or not", "that is"), ("a time", "once")),
    Retrieved(HERE, "once", ("upon a time",), ("a sentence", "or not")),
    Retrieved(HERE, "话说", ("天下大势", "从前"), ()),
    Retrieved(HERE, "to be or not", ("or not",), ("从前",)),
    Retrieved(HERE, "the question", ("to be",), ("that is", "not to be")),
]
PAIRS = [
    Scored(HERE, ("to be", "or not to be"), 4.0), Scored(HERE, ("once", "话说"), 0.0),
    Scored(HERE, ("a sentence", "a time"), 2.0), Scored(HERE, ("the question", "that is"), 2.0),
    Scored(HERE, ("从前有座山", "山"), 5.0),
]  # fmt: skip


def material(task: StepTask, examples: Sequence[Any], folder: Path) -> tuple[Transformer, list[Feature]]:
    model = begin_embedding(folder, seed=0).draw().eval()
    return model, task.features(examples, KNOWN, TextReader.load(folder, max_tokens=24))


def micro_batches(features: Sequence[Feature], *sizes: int) -> list[Batch]:
    batches, start = [], 0
    for size in sizes:
        (row,) = batches_of(features[start : start + size])
        batches.append(row[1])
        start += size
    assert start == len(features)
    return batches


def unit(model: Transformer, folder: Path, text: str) -> np.ndarray:
    """By transformers' own model and tokenizer, pooled by hand."""
    stock = transformers.AutoModel.from_pretrained(folder).eval()
    encoded = transformers.AutoTokenizer.from_pretrained(folder)(text, return_tensors="pt")
    with torch.no_grad():
        mean = stock(**encoded).last_hidden_state[0].double().mean(0).numpy()
    return np.asarray(mean / np.linalg.norm(mean))


def test_contrast_is_info_nce_over_all_texts_of_the_step_but_known_answers(encoder: Path) -> None:
    task = Embed(temperature=0.1)
    model, features = material(task, QUERIES, encoder)
    assert [feature.example for feature in features] == [0, 0, 1, 2, 2, 3, 4]
    batches = micro_batches(features, 3, 4)
    counts = count_all(batches)
    assert counts["contrast"] == 7
    vectors = [task.vectors(model, batch) for batch in batches]
    found = float(task.losses_of(vectors, batches, KNOWN)["contrast"].detach())
    known: dict[str, set[str]] = {}
    for each in QUERIES:
        known.setdefault(each.query, set()).update(each.positives or ())
    pairs = [(each, positive) for each in QUERIES for positive in each.positives or ()]
    candidates = [text for each, positive in pairs for text in (positive, *each.negatives)]
    units = {text: unit(model, encoder, text) for text in {*candidates, *known}}
    total, own, hidden = 0.0, 0, 0
    for each, positive in pairs:
        logits = np.array([units[each.query] @ units[text] for text in candidates]) / 0.1
        keep = [place == own or (text not in known[each.query] and text != each.query)
                for place, text in enumerate(candidates)]  # fmt: skip
        assert candidates[own] == positive
        total += logsumexp(logits[keep]) - logits[own]
        own += 1 + len(each.negatives)
        hidden += keep.count(False)
    assert hidden > 7
    assert found == pytest.approx(total, rel=1e-4)


def test_without_repeated_texts_it_is_the_cross_entropy_of_multiple_negatives_ranking(encoder: Path) -> None:
    """As sentence-transformers has it: scores * 20 against the number of the own positive."""
    task = Embed()
    queries = [QUERIES[1], Retrieved(HERE, "话说", ("天下大势",), ("从前",))]
    model, features = material(task, queries, encoder)
    queried = torch.tensor(np.stack([unit(model, encoder, each.query) for each in queries]))
    texts = ["upon a time", "天下大势", "a sentence", "or not", "从前"]
    scores = queried @ torch.tensor(np.stack([unit(model, encoder, text) for text in texts])).T * 20
    wanted = torch.nn.functional.cross_entropy(scores, torch.arange(2), reduction="sum")
    (batch,) = micro_batches(features, 2)
    assert float(task.losses(model, batch, KNOWN)["contrast"].detach()) == pytest.approx(float(wanted), rel=1e-4)


@given(st.lists(st.tuples(st.floats(-1, 1, width=32), st.integers(0, 3)), min_size=1, max_size=8))
def test_cosent_is_the_papers_formula(pairs: list[tuple[float, int]]) -> None:
    cosines, grades = (torch.tensor(each, dtype=torch.float64) for each in zip(*pairs, strict=True))
    found = float(EmbedPairs()._loss(cosines, grades)) / len(pairs)
    terms = [np.exp(20 * (a - b)) for a, first in pairs for b, second in pairs if first < second]
    assert found == pytest.approx(np.log1p(np.sum(terms)), rel=1e-9, abs=1e-12)


def test_least_squares_compare_cosines_with_grades_from_0_to_1(encoder: Path) -> None:
    task = EmbedPairs(objective="cosine")
    model, features = material(task, PAIRS, encoder)
    batches = micro_batches(features, 2, 3)
    found = task.losses_of([task.vectors(model, each) for each in batches], batches, KNOWN)["pairs"].detach()
    cosines = [unit(model, encoder, each.texts[0]) @ unit(model, encoder, each.texts[1]) for each in PAIRS]
    grades = [(each.number or 0.0) / 5 for each in PAIRS]
    assert float(found) == pytest.approx(np.square(np.subtract(cosines, grades)).sum(), rel=1e-4)


def test_shorter_vectors_count_as_much_as_whole_ones(encoder: Path) -> None:
    plain, nested = EmbedPairs(), EmbedPairs(matryoshka=(4, 10))
    model, features = material(plain, PAIRS, encoder)
    (batch,) = micro_batches(features, 5)
    vectors = plain.vectors(model, batch)
    each = [plain.losses_of([vectors[:, :length]], [batch], KNOWN)["pairs"] for length in (4, 10, 32)]
    found = nested.losses_of([vectors], [batch], KNOWN)["pairs"]
    torch.testing.assert_close(found, torch.stack(each).mean())


CASES = [(Embed(), QUERIES, (7,)), (Embed(), QUERIES, (3, 2, 2)), (Embed(matryoshka=(8,)), QUERIES, (1,) * 7),
         (EmbedPairs(), PAIRS, (2, 2, 1))]  # fmt: skip


@pytest.mark.parametrize(("task", "examples", "sizes"), CASES, ids=["one", "several", "nested", "graded"])
@pytest.mark.parametrize("dropout", [False, True], ids=["plain", "dropout"])
def test_gradients_are_those_of_one_whole_step(
    task: StepTask, examples: Sequence[Any], sizes: tuple[int, ...], dropout: bool, encoder: Path
) -> None:
    """Whatever the micro-batches are, and with the dropout that the vectors of the loss were made with."""
    model, features = material(task, examples, encoder)
    batches = micro_batches(features, *sizes)
    counts = count_all(batches)
    counts.pop("tokens that are read")
    model.train(dropout)
    torch.manual_seed(5)
    vectors = [task.vectors(model, batch) for batch in batches]  # all graphs at once
    total = task.losses_of(vectors, batches, KNOWN)[task.loss] / counts[task.loss]
    torch.autograd.backward(total)
    wanted = {name: weight.grad.clone() for name, weight in model.named_parameters() if weight.grad is not None}
    optimizer = build_optimizer(AdamW(), model.named_parameters(), layer_decay=1.0)
    masters = FloatMasters(model, torch.float32)
    torch.manual_seed(5)
    loss, losses = Gradients(model, StepLesson(task=task, known=KNOWN), optimizer, masters).add(batches, counts)
    assert loss == losses[task.loss] == pytest.approx(float(total.detach()), rel=1e-5)
    assert len(wanted) > 20
    for name, weight in model.named_parameters():
        if name in wanted:
            torch.testing.assert_close(weight.grad, wanted[name], rtol=1e-3, atol=1e-5, msg=name)


def test_micro_batches_that_do_not_see_each_other_would_cost_something_else(encoder: Path) -> None:
    task = Embed()
    model, features = material(task, QUERIES, encoder)
    batches = micro_batches(features, 3, 4)
    whole = task.losses_of([task.vectors(model, batch) for batch in batches], batches, KNOWN)["contrast"]
    alone = sum(float(task.losses(model, batch, KNOWN)["contrast"].detach()) for batch in batches)
    assert float(whole.detach()) > alone + 1


def test_held_out_loss_is_that_of_whole_steps(encoder: Path) -> None:
    task = Embed()
    model, features = material(task, QUERIES, encoder)
    measured = StepHeldout(StepLesson(task=task, known=KNOWN), features, batch=7, seed=0).measure(model)
    (batch,) = micro_batches(features, 7)
    assert model.training
    wanted = task.losses(model.eval(), batch, KNOWN)["contrast"].detach() / 7
    assert measured.loss == pytest.approx(float(wanted), rel=1e-5)


def test_rankings_are_those_of_the_cosines_of_all_texts_there_are(encoder: Path) -> None:
    task = Embed()
    model, features = material(task, QUERIES, encoder)
    numbers: list[Tensor] = []
    for feature in features:
        ((_, batch),) = batches_of([feature])
        numbers += task.numbers(model, batch, KNOWN)
    answers = task.answers([each.detach() for each in numbers], features, QUERIES, KNOWN)
    texts = {text for each in QUERIES for text in (*(each.positives or ()), *each.negatives)}
    for example, said in zip(QUERIES, answers, strict=True):
        assert set(said.value) == texts
        cosines = [float(unit(model, encoder, example.query) @ unit(model, encoder, text)) for text in said.value]
        assert all(first >= second - 1e-5 for first, second in pairwise(cosines))
        assert said.scores is not None and said.scores[said.value[0]] == pytest.approx(cosines[0], abs=1e-4)


def test_prompts_go_before_texts_and_into_the_folder(encoder: Path, tmp_path: Path) -> None:
    task = Embed(query_prompt="to be ", document_prompt="not ", pooling="first", hard_negatives=1)
    reader = TextReader.load(encoder, max_tokens=20)
    feature = task.features(QUERIES[1:2], KNOWN, reader)[0]
    ids = [reader.tokenizer.encode(text).ids for text in ("to be once", "not upon a time", "not a sentence")]
    assert feature.tokens.tolist() == [id for each in ids for id in each]
    assert feature.words == ("once", "upon a time", "a sentence")
    start = task.start(encoder, KNOWN, seed=0)
    save_model(start.draw(), tmp_path, tokenizer=encoder)
    task.equip(start.draw(), tmp_path, reader)
    embedder = Embedder.load(tmp_path)
    assert embedder.max_tokens == 20
    assert embedder.texts.prompts == {"query": "to be ", "document": "not "}
    head = load_config(tmp_path).head
    assert isinstance(head, Embedding) and head.pooling == "first"


def test_a_decoder_makes_vectors_of_its_last_states(decoder: Path, tmp_path: Path) -> None:
    task, reader = EmbedPairs(), TextReader.load(decoder, max_tokens=24)
    start = task.start(decoder, KNOWN, seed=0)
    assert start.new == []
    save_model(start.draw(), tmp_path / "model", tokenizer=decoder)
    task.equip(start.draw(), tmp_path / "model", reader)
    stock = transformers.AutoModel.from_pretrained(tmp_path / "model").eval()
    encoded = transformers.AutoTokenizer.from_pretrained(tmp_path / "model")("once upon a time", return_tensors="pt")
    with torch.no_grad():
        last = stock(input_ids=encoded.input_ids).last_hidden_state[0, -1]
    found = Embedder.load(tmp_path / "model", dtype=torch.float32).embed(["once upon a time"])[0]
    torch.testing.assert_close(found, last / last.norm(), rtol=1e-4, atol=1e-5)


def test_prompts_of_the_folder_that_are_not_used_are_told(encoder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (encoder / "config_sentence_transformers.json").write_text(json.dumps({"prompts": {"query": "ask: "}}))
    Embed(query_prompt="ask: ").start(encoder, KNOWN, seed=0)
    assert capsys.readouterr().out == ""
    Embed().start(encoder, KNOWN, seed=0)
    assert "prompts that are not those of finetune.task" in capsys.readouterr().out


def test_bad_settings_and_bad_data_are_refused(encoder: Path, whole_answerer: Path) -> None:
    base, pairs = load_config(encoder), Dataset({"train": tuple(PAIRS)}, (), "none", {}, ())
    with pytest.raises(RecipeError, match=r"finetune.task.matryoshka must be lengths from 1 to 31; got 32"):
        EmbedPairs(matryoshka=(8, 32)).know(pairs, base)
    alike = Dataset({"train": (PAIRS[2], PAIRS[3])}, (), "none", {}, ())
    with pytest.raises(RecipeError, match="all pairs have the grade 2"):
        EmbedPairs().know(alike, base)
    with pytest.raises(InputError, match="there are queries alone"):
        Embed().features([Retrieved(HERE, "once", None)], KNOWN, TextReader.load(encoder, max_tokens=20))
    with pytest.raises(RecipeError, match="models make no vectors of texts"):
        begin_embedding(whole_answerer, seed=0)


def test_an_unlabelled_query_is_no_target_and_a_pair_without_a_grade_neither(encoder: Path) -> None:
    reader = TextReader.load(encoder, max_tokens=20)
    features = Embed().features([Retrieved(HERE, "be", None), *QUERIES], KNOWN, reader)
    assert (features[0].targets["contrast"] == IGNORE).all() and len(features[0].parts) == 1
    assert (EmbedPairs().features([Scored(HERE, ("a", "be"), None)], KNOWN, reader)[0].targets["pairs"] == IGNORE).all()


def finetune(tmp_path: Path, encoder: Path, data: Path, task: str) -> dict[str, Any]:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(
        f"finetune:\n  data: {data}\n  model: {encoder}\n  task: {task}\n  batch: 12\n"
        "  hardware: {micro_batch: 4}\n"
        "  optimizer: {lr: 0.003}\n  budget: {steps: 14}\n  precision: fp32\n  evaluations: 1\n"
    )
    assert main(["finetune", str(recipe), f"run_dir={tmp_path / 'run'}"]) == 0
    figures: dict[str, Any] = json.loads((tmp_path / "run/finetune/dev.json").read_text())["figures"]
    return figures


def test_several_processes_are_refused(
    encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each would see a part of the step."""
    monkeypatch.setattr("danlu.tasks.teaching.here", lambda: Ranks(0, 2))
    data = tmp_path / "pairs.tsv"
    data.write_text("sentence1\tsentence2\n" + "".join(f"to be {n}\tnot {n}\n" for n in range(30)))
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(f"finetune: {{data: {data}, model: {encoder}, task: embed}}\n")
    assert main(["finetune", str(recipe), f"run_dir={tmp_path / 'run'}"]) == 2
    told = capsys.readouterr()
    assert "its loss compares all texts of a step, which one process has to read; there are 2" in told.err
    assert "pairs.tsv" not in told.out  # nothing has been read


def test_from_a_file_of_queries_to_a_search(encoder: Path, tmp_path: Path) -> None:
    data = tmp_path / "queries.jsonl"
    kinds = [("to be", "not to be"), ("a time", "once upon a time"), ("山", "从前有座山"), ("天下", "话说天下大势")]
    lines = [{"query": f"{kinds[n % 4][0]} {n}", "positive": f"{n} {kinds[n % 4][1]}"} for n in range(60)]
    data.write_text("".join(json.dumps(line) + "\n" for line in lines))
    figures = finetune(tmp_path, encoder, data, "embed")
    assert figures["recall@5"] > 0.5 and {"mrr@10", "ndcg@10", "recall@1", "recall@10"} <= figures.keys()
    model = tmp_path / "run/finetune/model"
    out = tmp_path / "ranked.jsonl"
    assert main(["predict", str(model), str(data), "--out", str(out)]) == 0
    assert len(json.loads(out.read_text().splitlines()[0])["prediction"]) == 20
    texts = tmp_path / "texts.txt"
    texts.write_text("not to be\n从前有座山\n")
    assert main(["embed", str(model), str(texts), "--out", str(tmp_path / "v.npy"), "--dtype", "float32"]) == 0
    assert main(["similar", str(model), "山", str(texts)]) == 0
    vectors = np.load(tmp_path / "v.npy")
    for vector, text in zip(vectors, ("not to be", "从前有座山"), strict=True):
        np.testing.assert_allclose(vector, unit(load_embedding_model(model), model, text), atol=1e-5)


def test_from_a_file_of_graded_pairs_to_cosines(encoder: Path, tmp_path: Path) -> None:
    data = tmp_path / "pairs.tsv"
    lines = [f"to be {n}\t{'be to' if n % 2 else '天下'} {n}\t{4.5 if n % 2 else 0.5}\n" for n in range(60)]
    data.write_text("sentence1\tsentence2\tscore\n" + "".join(lines))
    assert finetune(tmp_path, encoder, data, "embed_pairs")["spearman"] > 0.8
    out = tmp_path / "cosines.tsv"
    assert main(["predict", str(tmp_path / "run/finetune/model"), str(data), "--out", str(out)]) == 0
    assert len(out.read_text().splitlines()) == 61


def test_sentence_transformers_loads_the_folder(encoder: Path, tmp_path: Path) -> None:
    package = pytest.importorskip("sentence_transformers")
    task = Embed(query_prompt="to be ", document_prompt="not ")
    model = task.start(encoder, KNOWN, seed=0).draw()
    save_model(model, tmp_path, tokenizer=encoder)
    task.equip(model, tmp_path, TextReader.load(encoder, max_tokens=20))
    stock, own = package.SentenceTransformer(str(tmp_path)), Embedder.load(tmp_path, dtype=torch.float32)
    assert stock.max_seq_length == 20
    for prompt in ("query", "document"):
        texts = ["once upon a time", "从前有座山 " * 9]
        found = stock.encode(texts, prompt_name=prompt)
        np.testing.assert_allclose(found, own.embed(texts, prompt).numpy(), atol=1e-5)
