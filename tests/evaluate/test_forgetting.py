"""What continued pretraining forgets: both models' held-out losses against transformers in float64."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import transformers
import yaml

from danlu import cli
from danlu.corpus.batches import IGNORE
from danlu.corpus.store import TokenStore
from danlu.errors import RecipeError
from danlu.evaluate.forgetting import Forgetting
from danlu.evaluate.protocol import Subject
from danlu.log import read_metrics
from danlu.nn.hf.folder import load_model
from danlu.nn.transformer import Transformer
from danlu.objectives.protocol import Shape
from danlu.recipe import load_recipe
from danlu.run_folder import RunFolder
from danlu.tokenizers.tokenizer import Tokenizer
from danlu.tokenizers.vocabulary import Vocabulary
from danlu.train.pretrain import Pretrain

OLD, NEW = "to be or not to be that is the question", "话说天下大势，从前有座山。"
ROW = 96
"""What the small Llama sees."""


def tasks(objective: str, replay: float) -> dict[str, Any]:
    parts = {"domain": (1.0, "new/*"), "replay": (replay, "old/*")}
    return {"use": "multitask", "tasks": {
        name: {"objective": objective, "share": share, "documents": {"source": source}}
        for name, (share, source) in parts.items()
    }}  # fmt: skip


def make_recipe(out: Path, folder: Path, objective: Any, *, evaluate: Any = None, **pretrain: Any) -> Path:
    """The path of a recipe that goes on from the folder on two kinds of text; its run is ``out/run``."""
    numbers = np.random.default_rng(4)
    for kind, words in (("old", OLD.split()), ("new", list(NEW))):
        (out / "text" / kind).mkdir(parents=True, exist_ok=True)
        for number in range(40):
            between = " " if kind == "old" else ""
            text = between.join(numbers.choice(words, numbers.integers(4, 12)))
            (out / "text" / kind / f"{number}.txt").write_text(f"{text} {number}", encoding="utf-8")
    sections = {
        "clean": {"sources": [str(out / "text")]},
        "tokenizer": {"use": "folder", "path": str(folder)},
        "pack": {"split": {"use": "hash", "fraction": 0.3}},
        "pretrain": {
            "model": {"use": "folder", "path": str(folder)}, "objective": objective, "sequence": 16, "batch": 8,
            "budget": {"steps": 20}, "optimizer": {"use": "adamw", "lr": 3e-3}, "compile": "off",
            "precision": "fp32", "evaluations": 2, **pretrain,
        },
        "evaluate": evaluate or {},
        "run_dir": str(out / "run"),
    }  # fmt: skip
    (out / "recipe.yaml").write_text(yaml.safe_dump(sections))
    return out / "recipe.yaml"


@pytest.fixture
def recipe(tmp_path: Path) -> Callable[..., Path]:
    return partial(make_recipe, tmp_path)


@pytest.fixture(scope="module")
def taught(whole_decoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small Llama once it knows the old text."""
    folder, old = tmp_path_factory.mktemp("taught"), tasks("clm", 1.0)["tasks"]["replay"]
    path = make_recipe(folder, whole_decoder, {"use": "multitask", "tasks": {"old": old}}, budget={"steps": 40})
    assert cli.main(["run", str(path)]) == 0
    return folder / "run/pretrain/model"


def stretches(store: TokenStore) -> Iterator[tuple[int, torch.Tensor]]:
    """(document, its tokens that stand in one row and the one behind them): what a decoder sees at once."""
    for document, (start, end) in enumerate(zip(store.starts[:-1], store.starts[1:], strict=True)):
        cuts = [start, *range((start // ROW + 1) * ROW, end, ROW), end]
        for first, last in itertools.pairwise(cuts):
            yield document, torch.from_numpy(store.tokens[first : last + 1].astype(np.int64))


def decoder_nats(folder: Path, store: TokenStore) -> np.ndarray[Any, Any]:
    """What each document costs a Llama of transformers, in float64."""
    model = transformers.AutoModelForCausalLM.from_pretrained(folder).double()
    nats = np.zeros(len(store.documents))
    for document, tokens in stretches(store):
        with torch.no_grad():
            logits = model(input_ids=tokens[None, :-1]).logits[0]
        nats[document] += float(F.cross_entropy(logits, tokens[1:], reduction="sum"))
    return nats


def figures_and_texts(run: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    figures = json.loads((run / "evaluate/done.json").read_text())["figures"]
    return figures, json.loads((run / "evaluate/forgetting.json").read_text())["texts"]


def test_of_a_decoder_it_is_what_transformers_says_of_both_models(
    recipe: Callable[..., Path], taught: Path, tmp_path: Path
) -> None:
    """The new text is learned and the old one, which is not read, gets dearer; both by default."""
    assert cli.main(["run", str(recipe(taught, tasks("clm", 0)))]) == 0
    figures, texts = figures_and_texts(tmp_path / "run")
    store = TokenStore.open(tmp_path / "run/pack/heldout")
    before, after = (decoder_nats(folder, store) for folder in (taught, tmp_path / "run/pretrain/model"))
    tokens = np.diff(np.asarray(store.starts))
    numbers = np.random.default_rng(8)
    assert texts.keys() == {"domain", "replay"}
    for name, source in (("domain", "new/"), ("replay", "old/")):
        own = np.array([document["source"].startswith(source) for document in store.documents])
        assert 5 < own.sum() < len(own) and texts[name]["targets"] == tokens[own].sum()
        for key, nats in (("before", before), ("after", after)):
            assert figures[f"forgetting.{name}.{key}"] == pytest.approx(nats[own].sum() / tokens[own].sum(), abs=2e-5)
        change = (after - before)[own]
        assert figures[f"forgetting.{name}.change"] == pytest.approx(change.sum() / tokens[own].sum(), abs=2e-5)
        drawn = numbers.integers(own.sum(), size=(20_000, own.sum()))
        wanted = np.quantile(change[drawn].sum(1) / tokens[own][drawn].sum(1), [0.025, 0.975])
        np.testing.assert_allclose(texts[name]["change_95"], wanted, atol=0.15 * (wanted[1] - wanted[0]))
    assert figures["forgetting.domain.change"] < -0.3 and figures["forgetting.replay.change"] > 0.05
    assert figures["all.tokens"] == tokens.sum()
    low, high = texts["replay"]["change_95"]
    assert f"| {low:+.3f} to {high:+.3f} |" in (tmp_path / "run/report.md").read_text()


def test_what_is_replayed_is_kept(recipe: Callable[..., Path], taught: Path, tmp_path: Path) -> None:
    changes = []
    for share in (0, 1.0):
        path = recipe(taught, tasks("clm", share))
        assert cli.main(["run", str(path), f"run_dir={tmp_path / f'run{share}'}"]) == 0
        changes.append(figures_and_texts(tmp_path / f"run{share}")[0]["forgetting.replay.change"])
    assert changes[1] < changes[0] - 0.2


def test_what_has_no_share_is_measured_and_not_learned(
    recipe: Callable[..., Path], taught: Path, tmp_path: Path
) -> None:
    """The weights are those of a training in which the task is not."""
    both = tasks("clm", 0)
    alone = {**both, "tasks": {"domain": both["tasks"]["domain"]}}
    for name, objective in (("both", both), ("alone", alone)):
        path = recipe(taught, objective, budget={"epochs": 2})
        assert cli.main(["run", str(path), f"run_dir={tmp_path / name}"]) == 0
    first, second = (load_model(tmp_path / name / "pretrain/model").state_dict() for name in ("both", "alone"))
    assert all(torch.equal(weight, second[name]) for name, weight in first.items())
    lines = read_metrics(tmp_path / "both/pretrain")
    assert not any("loss.replay.words" in line for line in lines)
    measured = [line for line in lines if "heldout_loss" in line]
    assert len(measured) == 2 and all(line["heldout_loss.replay.words"] > 1 for line in measured)
    assert all(line["heldout_loss"] == pytest.approx(line["heldout_loss.domain.words"], abs=1e-6) for line in measured)


def test_what_has_no_share_may_be_held_out_altogether(
    recipe: Callable[..., Path], decoder: Path, tmp_path: Path
) -> None:
    """The figures are those of a text of which the training has some and reads none."""
    objective = tasks("clm", 0)
    assert cli.main(["run", str(recipe(decoder, objective, budget={"steps": 2}))]) == 0
    wanted = figures_and_texts(tmp_path / "run")
    held = [document["source"] for document in TokenStore.open(tmp_path / "run/pack/heldout").documents]
    objective["tasks"]["replay"]["documents"] = {"source": [name for name in held if name.startswith("old/")]}
    assert cli.main(["run", str(recipe(decoder, objective, budget={"steps": 2}))]) == 0
    assert (tmp_path / "run/previous/pretrain-1").is_dir() and figures_and_texts(tmp_path / "run") == wanted


def masked_nats(folder: Path, run: Path, recipe: Path) -> dict[str, float]:
    """The mean of what the hidden tokens of each task cost a BERT of transformers, in float64."""
    settings = load_recipe(recipe).section("pretrain")
    assert isinstance(settings, Pretrain)
    objective, vocabulary = settings.objective, Vocabulary.of(Tokenizer.load(run / "tokenizer"))
    store = TokenStore.open(run / "pack/heldout")
    sample = settings.reading.sample(
        store, Shape(objective, settings.sequence), tokens=None, seed=load_recipe(recipe).seed
    )
    model = transformers.BertForMaskedLM.from_pretrained(folder).double().eval()
    found: dict[str, list[float]] = {}
    for number in range(sample.rows.per_epoch):
        noise = np.random.default_rng([sample.rows.seed, number, 2])
        for piece in sample.rows[number]:
            example = objective.example(piece, vocabulary=vocabulary, noise=noise)
            targets = torch.from_numpy(example.targets["words"])
            with torch.no_grad():
                logits = model(input_ids=torch.from_numpy(example.inputs["tokens"])[None].long()).logits[0]
            hidden = targets != IGNORE
            nats = F.cross_entropy(logits[hidden], targets[hidden].long(), reduction="none")
            found.setdefault(piece.task, []).extend(nats.tolist())
    return {name: float(np.mean(nats)) for name, nats in found.items()}


def test_of_an_encoder_it_is_what_hidden_words_cost(
    recipe: Callable[..., Path], masked_encoder: Path, tmp_path: Path
) -> None:
    path = recipe(masked_encoder, tasks("mlm", 0.2), budget={"steps": 10})
    assert cli.main(["run", str(path)]) == 0
    figures, texts = figures_and_texts(tmp_path / "run")
    assert texts.keys() == {"domain", "replay"} and texts["replay"]["change_95"] is None
    for key, folder in (("before", masked_encoder), ("after", tmp_path / "run/pretrain/model")):
        for name, wanted in masked_nats(folder, tmp_path / "run", path).items():
            assert figures[f"forgetting.{name}.{key}"] == pytest.approx(wanted, rel=1e-5), (name, key)


def test_without_tasks_it_is_told_of_all_and_of_each_language(
    recipe: Callable[..., Path], masked_encoder: Path, tmp_path: Path
) -> None:
    assert cli.main(["run", str(recipe(masked_encoder, "mlm", budget={"steps": 2}))]) == 0
    figures, texts = figures_and_texts(tmp_path / "run")
    languages = {name.partition(".")[0] for name in figures} - {"all", "forgetting"}
    assert len(languages) > 1 and texts.keys() == {"all", *languages}
    for name in texts:
        assert texts[name]["after"] == figures[f"{name}.words.nats"] != texts[name]["before"]
        assert texts[name]["targets"] == figures[f"{name}.words.targets"]
    assert cli.main(["report", str(tmp_path / "recipe.yaml")]) == 0
    report = (tmp_path / "run/report.md").read_text()
    row = f"{texts['all']['before']:.3f} | {texts['all']['after']:.3f} | {texts['all']['change']:+.3f} | —"
    assert "## Learned and forgotten" in report and row in report


def test_so_it_is_of_a_decoder(recipe: Callable[..., Path], decoder: Path, tmp_path: Path) -> None:
    assert cli.main(["run", str(recipe(decoder, "clm", budget={"steps": 2}))]) == 0
    figures, texts = figures_and_texts(tmp_path / "run")
    assert texts.keys() == {"all", "en", "zh"}
    for name in texts:
        assert texts[name]["after"] == figures[f"{name}.nats_per_token"] != texts[name]["before"]
        assert texts[name]["targets"] == figures[f"{name}.tokens"]


@pytest.mark.parametrize(("objective", "fixture"), [("clm", "decoder"), ("mlm", "masked_encoder")])
def test_each_model_reads_the_text_once(
    objective: str, fixture: str, recipe: Callable[..., Path], request: pytest.FixtureRequest, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """Of the default measures together, whose figures are those of each alone."""
    path = recipe(request.getfixturevalue(fixture), objective, budget={"steps": 2})
    own = "perplexity" if objective == "clm" else "objective"
    rows: Counter[str] = Counter()
    forward = Transformer.forward

    def counted(self: Transformer, tokens: torch.Tensor, *rest: Any, **named: Any) -> Any:
        rows[hash_of(self)] += len(tokens)
        return forward(self, tokens, *rest, **named)

    assert cli.main(["run", str(path)]) == 0
    monkeypatch.setattr(Transformer, "forward", counted)
    read, found = [], []
    for names in ([own], ["forgetting"], [own, "forgetting"], ["forgetting", own], None):
        rows.clear()
        assert cli.main(["evaluate", str(path), f"evaluate.tasks={json.dumps(names)}"]) == 0
        read.append(dict(rows))
        found.append(json.loads((tmp_path / "run/evaluate/done.json").read_text())["figures"])
    alone, both, *others = read
    [(trained, count)] = alone.items()
    assert len(both) == 2 and trained in both and set(both.values()) == {count}
    assert others == [both] * 3
    assert found[2:] == [{**found[0], **found[1]}] * 3


def hash_of(model: Transformer) -> str:
    """By its weights."""
    return hashlib.sha256(model.embedding.weight.detach().numpy().tobytes()).hexdigest()


def test_a_head_that_is_new_has_no_loss_before(
    recipe: Callable[..., Path], encoder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """By default that is told, and where it is asked for it is an error; so is a model that begins anew."""
    config = json.loads((encoder / "tokenizer_config.json").read_text())
    (encoder / "tokenizer_config.json").write_text(json.dumps({**config, "mask_token": "[MASK]"}))
    assert cli.main(["run", str(recipe(encoder, "mlm", budget={"steps": 1}))]) == 0
    assert "no loss before the training to compare with" in capsys.readouterr().out
    assert not (tmp_path / "run/evaluate/forgetting.json").exists()
    path = recipe(encoder, "mlm", budget={"steps": 1}, evaluate={"tasks": ["forgetting"]})
    assert cli.main(["run", str(path)]) == 2
    said = capsys.readouterr().err
    assert "evaluate.tasks: forgetting: the head is new (head.bias is not in " in said and said.count("\n") == 1
    store = TokenStore.open(RunFolder(tmp_path / "run").stage("pack") / "heldout")
    subject = Subject(load_model(encoder), Tokenizer.load(encoder), store, store, tmp_path, seed=1)
    with pytest.raises(RecipeError, match=r"forgetting needs a model before: pretrain.model \{use: folder\}"):
        Forgetting().measure(subject)


def test_a_text_of_which_nothing_is_held_out_is_told(
    recipe: Callable[..., Path], decoder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    objective = tasks("clm", 0)
    objective["tasks"]["replay"]["documents"] = {"source": ["old/2.txt"]}
    assert cli.main(["run", str(recipe(decoder, objective, budget={"steps": 1}))]) == 0
    assert "no document of the task replay is held out" in capsys.readouterr().out
    assert figures_and_texts(tmp_path / "run")[1].keys() == {"domain"}
