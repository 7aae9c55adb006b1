"""BERTScore against the package bert_score on transformers' models, and against its formula where that reads none."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import bert_score
import numpy as np
import pytest
import safetensors.torch
import tokenizers
import torch
import transformers

from danlu.cli import main
from danlu.errors import InputError, RecipeError
from danlu.metrics.resampling import compare
from danlu.metrics.several import Several
from danlu.metrics.tally import of_each, overall, settled
from danlu.nn.speed import choose_device_beside
from danlu.tasks import bert_score as own
from danlu.tasks.bert_score import BERTScore, Scorer, States, Tokens, _score
from danlu.tasks.bert_score_baseline import read_baseline
from danlu.ticks import heard

ANSWERS = [
    "to be or not",
    "话说天下大势，从前有座山。",
    "Once upon a time",
    "question",
    "that that that was a sentence",
]
GOLDS = ["not to be that is", "从前有座山", "there was a time upon once", "the question is", "a sentence that was"]
LONG = "once upon a time there was a sentence to be or not to be that is the question 话说天下大势"


@pytest.fixture
def bert(encoder: Path) -> Path:
    """Which tells transformers how much it sees."""
    path = encoder / "tokenizer_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "model_max_length": 24}))
    return encoder


@pytest.fixture
def roberta(decoder: Path, tmp_path: Path) -> Path:
    """A RoBERTa, whose texts begin with a space where it is not transformers 5 that reads them."""
    folder = tmp_path / "roberta"
    inner = tokenizers.Tokenizer.from_file(str(decoder / "tokenizer.json"))
    inner.add_special_tokens(["<s>", "</s>", "<pad>"])
    begin, end = (inner.token_to_id(token) for token in ("<s>", "</s>"))
    inner.post_processor = tokenizers.processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>", special_tokens=[("<s>", begin), ("</s>", end)]
    )
    names = {"bos_token": "<s>", "eos_token": "</s>", "cls_token": "<s>", "sep_token": "</s>", "pad_token": "<pad>"}
    fast = transformers.PreTrainedTokenizerFast(tokenizer_object=inner, model_max_length=78, **names)
    fast.save_pretrained(folder)
    torch.manual_seed(2)
    transformers.RobertaModel(transformers.RobertaConfig(
        vocab_size=inner.get_vocab_size(), hidden_size=32, num_hidden_layers=3, num_attention_heads=4,
        intermediate_size=48, max_position_embeddings=80, pad_token_id=1, type_vocab_size=1,
        initializer_range=0.3,
    )).save_pretrained(folder)  # fmt: skip
    return folder


def theirs(folder: Path, answers: list[str], golds: Any, **settings: Any) -> list[list[float]]:
    """``[3, N]`` precision, recall, F1."""
    scores = bert_score.score(answers, golds, model_type=str(folder), device="cpu", nthreads=0, **settings)
    return [each.tolist() for each in scores]


def ours(answers: list[str], golds: Any, metric: BERTScore) -> list[list[float]]:
    found = of_each(metric.tally(golds, answers))
    return [found[f"bertscore.{name}"].tolist() for name in ("precision", "recall", "f1")]


@pytest.mark.parametrize("idf", [False, True])
@pytest.mark.parametrize("layer", [1, 2])
def test_figures_are_those_of_the_package(idf: bool, layer: int, bert: Path) -> None:
    metric = BERTScore(model=bert, layer=layer, idf=idf)
    found, wanted = ours(ANSWERS, GOLDS, metric), theirs(bert, ANSWERS, GOLDS, num_layers=layer, idf=idf)
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)
    assert np.ptp(found[2]) > 0.05
    figures = overall(metric.tally(GOLDS, ANSWERS))
    assert figures["bertscore.f1"] == pytest.approx(np.mean(wanted[2]), rel=1e-4)


def test_texts_are_cut_into_tokens_some_at_a_time_and_each_time_is_told(
    bert: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of all texts at once it takes minutes, and nothing is seen meanwhile."""
    scorer = Scorer.load(bert, 2)
    whole, ticks = scorer.read([*ANSWERS, *GOLDS]), list[None]()
    monkeypatch.setattr(own, "READ_AT_ONCE", 3)
    with heard(lambda: ticks.append(None)):
        found = scorer.read([*ANSWERS, *GOLDS])
    assert len(ticks) == 4
    assert list(found) == list(whole)
    for text, tokens in found.items():
        for mine, other in zip(tokens, whole[text], strict=True):
            np.testing.assert_array_equal(mine, other)


@pytest.mark.filterwarnings("ignore:The given NumPy array is not writable:UserWarning")
@pytest.mark.parametrize("idf", [False, True])
@pytest.mark.parametrize("layer", [1, 2])
def test_rescaled_figures_are_those_of_the_package(idf: bool, layer: int, bert: Path, tmp_path: Path) -> None:
    file = tmp_path / "any.tsv"
    file.write_text("LAYER,P,R,F\n0,0.3231512,0.32322776,0.31853873\n1,0.42,0.41,0.4\n2,0.61,0.62,0.63\n")
    metric = BERTScore(model=bert, layer=layer, idf=idf, baseline=file)
    package = theirs(bert, ANSWERS, GOLDS, num_layers=layer, idf=idf, lang="en", rescale_with_baseline=True,
                     baseline_path=str(file))  # fmt: skip
    np.testing.assert_allclose(ours(ANSWERS, GOLDS, metric), package, rtol=1e-4, atol=1e-5)
    several = [[gold, "that is"] for gold in GOLDS]
    package = theirs(bert, ANSWERS, several, num_layers=layer, lang="en", rescale_with_baseline=True,
                     baseline_path=str(file))  # fmt: skip
    if not idf:
        np.testing.assert_allclose(ours(ANSWERS, several, metric), package, rtol=1e-4, atol=1e-5)
    notes = metric.tally(GOLDS, ANSWERS).notes
    assert notes["bertscore"].endswith(f"rescaled by any.tsv (F1 {(0.4, 0.63)[layer - 1]:.4f})")


def test_a_baseline_of_own_text_is_the_mean_of_its_pairs(bert: Path, tmp_path: Path) -> None:
    """By the package's figures of the same pairs, and its formula."""
    lines = [f"{word} {other} that is" for word in ("to be", "a sentence", "once", "the question", "upon") for other in
             ("or not", "there was", "time", "话说", "天下")]  # fmt: skip
    file = tmp_path / "own.txt"
    file.write_text("\n".join([*lines, lines[0], ""]))
    pairs = read_baseline(file, 2)
    assert isinstance(pairs, list) and sorted(one for one, _ in pairs) == sorted(other for _, other in pairs)
    assert sorted(one for one, _ in pairs) == sorted(lines) and all(one != other for one, other in pairs)
    base = np.mean(theirs(bert, *map(list, zip(*pairs, strict=True)), num_layers=2), axis=1)  # type: ignore[arg-type]
    plain = np.array(ours(ANSWERS, GOLDS, BERTScore(model=bert, layer=2)))
    metric = BERTScore(model=bert, layer=2, baseline=file)
    wanted = (plain - base[:, None]) / (1 - base[:, None])
    np.testing.assert_allclose(ours(ANSWERS, GOLDS, metric), wanted, rtol=1e-3, atol=1e-4)
    assert file in metric.files("x")


@pytest.mark.parametrize(("content", "told"), [
    ("LAYER,P,R,F\n0,0.1,0.1,0.1\n", r"says nothing of layer 2 \(it has 0\)"),
    ("LAYER,P,R,F\n0,0.1,0.1\n", r"row 2: it must be LAYER,P,R,F in numbers; got '0,0.1,0.1'"),
    ("LAYER,P,R,F\n2,0.1,x,0.1\n", r"row 2: it must be LAYER,P,R,F in numbers; got '2,0.1,x,0.1'"),
    ("LAYER,P,R,F\n2,0.1,1,0.1\n", r"comes to 1, and must be below 1"),
    ("a line\nanother\n", r"must have at least 20 different lines of text, or be .*; it has 2"),
])  # fmt: skip
def test_what_is_no_baseline_is_told(content: str, told: str, bert: Path, tmp_path: Path) -> None:
    (tmp_path / "b.txt").write_text(content)
    with pytest.raises((InputError, RecipeError), match=told):
        BERTScore(model=bert, layer=2, baseline=tmp_path / "b.txt").tally(GOLDS, ANSWERS)
    with pytest.raises(InputError, match=r"x\.baseline: there is no file"):
        BERTScore(model=bert, baseline=tmp_path / "none.txt").files("x")


def test_weights_are_those_of_all_references_however_often_and_in_what_parts_they_are_read(bert: Path) -> None:
    """Two runs are compared with every reference twice, and the worst examples are found some at a time."""
    metric = BERTScore(model=bert, layer=2, idf=True)
    wanted = theirs(bert, ANSWERS, GOLDS, num_layers=2, idf=True)[2]
    found = compare(Several([metric]), GOLDS, ANSWERS, ANSWERS[::-1], seed=1, resamples=10)["bertscore.f1"]
    assert found.first == pytest.approx(np.mean(wanted), abs=1e-6)
    parts = [settled(metric, GOLDS).tally(GOLDS[part], ANSWERS[part]) for part in (slice(2), slice(2, None))]
    apart = [value for part in parts for value in of_each(part)["bertscore.f1"].tolist()]
    assert apart == pytest.approx(wanted, abs=1e-6)


def test_a_cosine_below_nothing_counts_though_padding_hides_it_from_the_package(bert: Path) -> None:
    """bert_score sets what it compares with padding to 0, above all cosines of a token that is like none."""
    states = {}
    for text, unit in (("a", [1.0, 0.0]), ("b", [-0.6, 0.8])):
        tokens = Tokens(np.array([5]), np.array([1]))
        states[text] = States(tokens, torch.tensor([unit]))
    assert _score(states["a"], states["b"], None) == pytest.approx((-0.6, -0.6, -0.6))


def test_long_texts_and_several_references(bert: Path) -> None:
    answers, golds = [LONG * 2, "to be"], [[LONG, "a time"], ["not", "to be"]]
    found = ours(answers, golds, BERTScore(model=bert, layer=2))
    np.testing.assert_allclose(found, theirs(bert, answers, golds, num_layers=2), rtol=1e-4, atol=1e-5)
    assert found[2][1] == pytest.approx(1)


def test_where_a_side_has_no_token_it_is_0(bert: Path) -> None:
    """As bert_score has it, but not with transformers 5, whose tokenizers have lost what it asks for."""
    for idf in (False, True):
        found = ours(["", " ", "a", "be"], ["a", "a", "", "be"], BERTScore(model=bert, layer=2, idf=idf))
        assert [each[:3] for each in found] == [[0, 0, 0]] * 3 and found[2][3] == pytest.approx(1)
    with pytest.raises(InputError, match="there is no reference"):
        ours(["a"], [[]], BERTScore(model=bert))


def test_roberta_reads_texts_behind_a_space(roberta: Path) -> None:
    """As bert_score asks for by add_prefix_space, which transformers 5 does not hear."""
    metric = BERTScore(model=roberta, layer=2)
    found = ours(ANSWERS, GOLDS, metric)
    inner = tokenizers.Tokenizer.from_file(str(roberta / "tokenizer.json"))
    inner.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=True)
    inner.save(str(roberta / "tokenizer.json"))
    np.testing.assert_allclose(found, theirs(roberta, ANSWERS, GOLDS, num_layers=2), rtol=1e-4, atol=1e-5)


def test_a_decoders_states_are_compared_behind_its_last_norm(decoder: Path) -> None:
    """As those of all models that bert_score cuts off; by its formula, for it wants a token for padding."""
    stock = transformers.AutoModel.from_pretrained(decoder).eval()
    stock.layers = stock.layers[:1]
    stock.config.num_hidden_layers = 1
    tokenizer = transformers.AutoTokenizer.from_pretrained(decoder)

    def units(text: str) -> Any:
        with torch.no_grad():
            states = stock(torch.tensor([tokenizer(text).input_ids])).last_hidden_state[0].double().numpy()
        return states / np.linalg.norm(states, axis=1, keepdims=True)

    wanted = []
    for answer, gold in zip(ANSWERS, GOLDS, strict=True):
        cosines = units(answer) @ units(gold).T
        precision, recall = cosines.max(1).mean(), cosines.max(0).mean()
        wanted.append([precision, recall, 2 * precision * recall / (precision + recall)])
    found = ours(ANSWERS, GOLDS, BERTScore(model=decoder, layer=1))
    np.testing.assert_allclose(np.transpose(found), wanted, rtol=1e-4)


def test_what_cannot_be_is_told(bert: Path, answerer: Path, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"bertscore.layer must be at most 2, the blocks of .*; got 3"):
        BERTScore(model=bert, layer=3).tally(["a"], ["a"])
    with pytest.raises(RecipeError, match="needs an encoder or a decoder, not both"):
        BERTScore(model=answerer).tally(["a"], ["a"])
    with pytest.raises(InputError, match="nowhere"):
        BERTScore(model=tmp_path / "nowhere").tally(["a"], ["a"])
    assert BERTScore(model=bert).tally(["a"], ["a"]).notes["bertscore"] == "encoder, layer 2 of 2, not rescaled"


def test_a_folder_that_has_changed_is_read_again(bert: Path, tmp_path: Path) -> None:
    """Whichever of its files, though each is as long as before; one that has not is read once."""
    metric = BERTScore(model=bert, layer=2)
    before = ours(ANSWERS, GOLDS, metric)
    assert Scorer.load(bert, 2).model is Scorer.load(bert, 2).model
    path = bert / "model.safetensors"
    weights = safetensors.torch.load_file(path)
    changed = {name: weight.flip(0) if weight.ndim == 2 else weight for name, weight in weights.items()}
    safetensors.torch.save_file(changed, path, metadata={"format": "pt"})
    after = ours(ANSWERS, GOLDS, metric)
    assert np.abs(np.subtract(before, after)).max() > 0.01
    np.testing.assert_allclose(after, theirs(bert, ANSWERS, GOLDS, num_layers=2), rtol=1e-4, atol=1e-5)


def test_it_computes_where_the_recipe_says(
    bert: Path, decoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """On the processor though there is a GPU, or seems to be; and what is in its folder is part of the run."""
    file, recipe = tmp_path / "pairs.jsonl", tmp_path / "recipe.yaml"
    file.write_text("".join(json.dumps({"source": f"once {n}", "target": f"话说 {n}"}) + "\n" for n in range(4)))
    section = {
        "data": {"train": str(file), "dev": str(file)}, "model": str(decoder), "precision": "fp32", "batch": 4,
        "task": {"use": "seq2seq", "max_tokens": 64, "answer_tokens": 4, "metrics": [{"use": "bertscore",
                 "model": str(bert)}]}, "budget": {"steps": 1}, "evaluations": 0, "hardware": {"device": "cpu"},
        "early_stopping": None,
    }  # fmt: skip
    recipe.write_text(json.dumps({"run_dir": str(tmp_path / "run"), "finetune": section}))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert choose_device_beside("a").type == "cuda"
    assert main(["finetune", str(recipe)]) == 0
    assert main(["finetune", str(recipe)]) == 0
    assert "finetune: unchanged, skipped" in capsys.readouterr().out
    (bert / "config.json").write_text((bert / "config.json").read_text() + "\n")
    assert main(["finetune", str(recipe)]) == 0
    assert "finetune: the files that it reads changed" in capsys.readouterr().out


def test_from_a_recipe_to_figures(
    bert: Path, decoder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, recipe = tmp_path / "pairs.jsonl", tmp_path / "recipe.yaml"
    file.write_text("".join(json.dumps({"source": f"once {n}", "target": f"话说 {n}"}) + "\n" for n in range(8)))
    recipe.write_text(
        f"finetune:\n  data: {{train: {file}, dev: {file}}}\n  model: {decoder}\n"
        "  task:\n    use: seq2seq\n    max_tokens: 64\n    answer_tokens: 8\n"
        f"    metrics: [{{use: bertscore, model: {bert}, layer: 1}}, meteor]\n"
        "  budget: {steps: 2}\n  batch: 4\n  precision: fp32\n  evaluations: 1\n"
    )
    assert main(["finetune", str(recipe), f"run_dir={tmp_path / 'run'}"]) == 0
    said = json.loads((tmp_path / "run/finetune/dev.json").read_text())
    lines = [json.loads(line) for line in (tmp_path / "run/finetune/dev.predictions.jsonl").read_text().splitlines()]
    answers, golds = [line["prediction"] for line in lines], [line["gold"] for line in lines]
    wanted = theirs(bert, answers, golds, num_layers=1)
    assert said["criterion"] == "bertscore.f1" and {"bertscore.f1", "meteor_exact_stem"} <= set(said["figures"])
    assert said["figures"]["bertscore.f1"] == pytest.approx(np.mean(wanted[2]), abs=1e-4)
    assert [line["figures"]["bertscore.f1"] for line in lines] == pytest.approx(wanted[2], abs=1e-4)
    assert "steps of" in capsys.readouterr().out
    out, predict = tmp_path / "out.jsonl", ["predict", str(tmp_path / "run/finetune/model"), str(file), "--out"]
    assert main([*predict, str(out), "--dtype", "float32"]) == 0
    assert f"bertscore.f1{said['figures']['bertscore.f1']:25.4f}" in capsys.readouterr().out
    shutil.rmtree(bert)
    assert main([*predict, str(tmp_path / "again.jsonl"), "--dtype", "float32"]) == 0
    assert "no figures: " in capsys.readouterr().out
    assert (tmp_path / "again.jsonl").read_bytes() == out.read_bytes()
    assert main(["finetune", str(recipe), f"run_dir={tmp_path / 'b'}", "finetune.task.metrics.0.model=nowhere"]) == 2
    told = capsys.readouterr()
    assert "finetune.task.metrics.0.model: there is no folder nowhere" in told.err and not (tmp_path / "b").exists()
