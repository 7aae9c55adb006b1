"""The table of ``danlu verify models``: what it says where all is well, and where something is not."""

from __future__ import annotations

import dataclasses
import math
import sys
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from danlu import cli
from danlu.errors import VerificationError
from danlu.nn.hf import folder
from danlu.nn.transformer import Transformer
from danlu.verify import models, ours, theirs
from danlu.verify.case import Case
from danlu.verify.decoders import DECODERS
from danlu.verify.encoders import ENCODER_DECODERS, ENCODERS
from danlu.verify.models import Measured, difference, lines, measure

LLAMA = next(case for case in DECODERS if case.family == "llama" and case.greedy)
T5 = next(case for case in ENCODER_DECODERS if case.family == "t5" and case.greedy)
BERT = next(case for case in ENCODERS if case.model == "BertForMaskedLM")


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two families of one case each, and few tokens to draw."""
    monkeypatch.setattr(models, "CASES", [LLAMA, BERT])
    monkeypatch.setattr(models, "FAMILIES", ["llama", "bert"])
    monkeypatch.setattr(models, "PROMPTS", 3)
    monkeypatch.setattr(models, "DRAWN", 5)


@pytest.mark.usefixtures("few")
def test_one_line_a_family(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["verify", "models"]) == 0
    said = capsys.readouterr()
    _, head, llama, bert = said.out.splitlines()
    assert head.split() == ["family", "logits", "loss", "greedy", "beam", "verdict", "compared"]
    family, logits, loss, greedy, beam, verdict = llama.split()[:6]
    assert (family, greedy, beam, verdict) == ("llama", "3/3", "-", "holds")
    assert 0 < float(logits) <= 1e-5 and 0 <= float(loss) <= 1e-6
    assert bert.split()[0] == "bert" and bert.split()[3:6] == ["-", "-", "holds"]
    assert "rows alone, padded left, padded right, packed, cached" in llama and "cached" not in bert
    assert said.err == ""


@pytest.mark.usefixtures("few")
def test_one_family(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["verify", "models", "--family", "bert"]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()[2:]] == ["bert"]
    assert cli.main(["verify", "models", "--family", "lama"]) == 2
    assert "unknown family 'lama'; did you mean 'llama'?" in capsys.readouterr().err


@pytest.mark.usefixtures("few")
def test_what_differs_is_named_and_the_exit_code_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    right = ours.padded_left

    def wrong(model: Transformer, rows: Any) -> theirs.Outputs:
        return {name: tensor * 1.001 for name, tensor in right(model, rows).items()}

    monkeypatch.setattr(ours, "padded_left", wrong)
    assert cli.main(["verify", "models"]) == 2
    said = capsys.readouterr()
    assert "1 differ (LlamaForCausalLM, plain: padded left: logits 1.0e-03)" in said.out
    assert said.err == "danlu: error: not the same as transformers: llama, bert\n"


def test_without_transformers_one_line_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    theirs.transformers.cache_clear()
    monkeypatch.setitem(sys.modules, "transformers", None)
    try:
        assert cli.main(["verify", "models"]) == 2
    finally:
        theirs.transformers.cache_clear()
    assert capsys.readouterr().err == (
        "danlu: error: danlu verify models needs the package transformers: pip install transformers\n"
    )


BREAKS: dict[str, tuple[str, Callable[[Transformer], object], str]] = {
    "a weight": ("alone", lambda model: model.blocks[1].mlp.down.weight.mul_(1.001), "logits"),
    "the loss": ("there", lambda model: setattr(model.head, "loss", lambda *_: torch.tensor(1.0)), "loss"),
}


@pytest.mark.parametrize("what", BREAKS)
def test_a_broken_model_does_not_hold(what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    form, spoil, kind = BREAKS[what]
    first = True

    def load(path: Any) -> Transformer:
        nonlocal first
        model = folder.load_model(path)
        if first:
            with torch.no_grad():
                spoil(model)
        first = False
        return model

    monkeypatch.setattr(models, "load_model", load)
    faults = measure(dataclasses.replace(LLAMA, greedy=False)).faults
    assert any(fault.startswith(f"{form}: {kind}") for fault in faults), faults


def test_other_tokens_do_not_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    right = ours.greedy

    def wrong(*arguments: Any, count: int) -> Tensor:
        return right(*arguments, count=count).roll(1, 0)

    monkeypatch.setattr(models, "PROMPTS", 4)
    monkeypatch.setattr(models, "DRAWN", 6)
    monkeypatch.setattr(ours, "greedy", wrong)
    assert measure(LLAMA).faults == ["greedy 0 of 4"]


def test_the_table_has_what_beam_search_finds(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(models, "CASES", [T5])
    monkeypatch.setattr(models, "FAMILIES", ["t5"])
    monkeypatch.setattr(models, "DRAWN", 5)
    assert cli.main(["verify", "models"]) == 0
    assert capsys.readouterr().out.splitlines()[2].split()[3:6] == ["50/50", "20/20", "holds"]


@pytest.mark.parametrize(
    ("wrong", "faults"),
    [({"beams": 1}, True), ({"count": 3}, True), ({}, False)],
    ids=["another search", "too short", "the same"],
)
def test_other_answers_do_not_hold(wrong: dict[str, int], faults: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    right = ours.beam
    monkeypatch.setattr(models, "DRAWN", 12)
    monkeypatch.setattr(ours, "beam", lambda model, prompts, **how: right(model, prompts, **{**how, **wrong}))
    measured = measure(T5)
    assert [fault.split()[0] for fault in measured.faults] == (["beam"] if faults else [])
    assert measured.beam_ties == 0


def test_an_answer_that_is_as_good_is_a_tie_and_another_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models, "DRAWN", 5)
    monkeypatch.setattr(ours, "beam", lambda model, prompts, **_: [[5, 6, 7] for _ in prompts])
    scores = iter(range(1000))
    monkeypatch.setattr(theirs, "score", lambda *_: -1.0 - 1e-7 * next(scores))
    measured = measure(T5)
    assert measured.faults == [] and measured.beam_ties == 20 - measured.beam[0] > 0
    scores = iter(range(0, 10**9, 10**6))
    assert measure(T5).faults == ["beam 0 of 20"]


def test_a_class_or_a_tensor_that_transformers_does_not_find_does_not_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    def forgetful(model: Transformer, path: Any) -> None:
        folder.save_model(model, path)
        theirs_path = path / "model.safetensors"
        from safetensors.torch import load_file, save_file

        tensors = load_file(theirs_path)
        del tensors["model.norm.weight"]
        save_file(tensors, theirs_path)

    monkeypatch.setattr(models, "save_model", forgetful)
    monkeypatch.setattr(models, "_changes", lambda model, again: [])
    monkeypatch.setattr(models, "load_model", lambda path: folder.load_model(path) if path.name == "given" else None)
    faults = measure(dataclasses.replace(LLAMA, greedy=False)).faults
    assert "transformers finds missing_keys: model.norm.weight" in faults


def test_differences_are_relative_and_nothing_may_be_left_out() -> None:
    expected = {"logits": torch.tensor([2.0, -4.0]), "pair": torch.tensor([1.0])}
    assert difference(expected, {"logits": torch.tensor([2.0, -4.1]), "pair": torch.tensor([1.0])}) == pytest.approx(
        0.1 / 4, rel=1e-5
    )
    assert difference(expected, {"logits": expected["logits"]}) == math.inf
    assert difference(expected, {"logits": expected["logits"]}, whole=False) == 0
    assert difference(expected, {**expected, "pair": torch.ones(2)}) == math.inf
    assert difference(expected, {}, whole=False) == math.inf


@pytest.mark.parametrize("name", ["logits", "pair"])
def test_what_is_no_number_is_never_passed_over(name: str) -> None:
    expected = {"logits": torch.tensor([2.0, -4.0]), "pair": torch.tensor([1.0])}
    assert math.isnan(difference(expected, {**expected, name: expected[name] * math.nan}))


@pytest.mark.usefixtures("few")
def test_the_table_shows_what_is_no_number(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    right = ours.padded_left

    def wrong(model: Transformer, rows: Any) -> theirs.Outputs:
        return {name: tensor * math.nan for name, tensor in right(model, rows).items()}

    monkeypatch.setattr(ours, "padded_left", wrong)
    monkeypatch.setattr(models, "our_loss", lambda *_: math.nan)
    assert cli.main(["verify", "models"]) == 2
    for line in capsys.readouterr().out.splitlines()[2:]:
        assert line.split()[1:3] == ["nan", "nan"] and "padded left: logits nan" in line


def test_packed_rows_are_no_form_of_what_gives_rows_scores() -> None:
    scores, words = (
        next(case for case in ENCODERS if case.model == f"BertFor{kind}")
        for kind in ("SequenceClassification", "TokenClassification")
    )
    assert "packed" not in measure(scores).logits and "packed" in measure(words).logits
    assert Measured(logits={"alone": math.nan}).faults == ["alone: logits nan"]


def test_the_error_comes_after_the_last_line(few: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models, "measure", lambda case: Measured(logits={"alone": 1.0}))
    told = lines()
    assert len([next(told) for _ in range(4)]) == 4
    with pytest.raises(VerificationError, match="llama, bert"):
        next(told)


def test_every_case_has_weights_and_rows_of_its_own() -> None:
    other = Case(LLAMA.family, LLAMA.model, LLAMA.settings, "another")
    assert other.seed != LLAMA.seed
    assert not torch.equal(theirs.make_model(LLAMA).lm_head.weight, theirs.make_model(other).lm_head.weight)
