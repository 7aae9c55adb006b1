"""Learning from judged answers, against log-probabilities and gradients of ``transformers`` on the same tokens."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import transformers

from danlu.cli import main
from danlu.corpus.batches import Batch, collate
from danlu.corpus.rows import Widths
from danlu.data.dataset import Data, load
from danlu.errors import InputError
from danlu.nn import head as head_module
from danlu.nn.hf.folder import load_model
from danlu.nn.transformer import Transformer
from danlu.tasks.compared import WORDS, Compared
from danlu.tasks.feature import Feature
from danlu.tasks.feedback import KL, Feedback
from danlu.tasks.prefer import Prefer
from danlu.tasks.preference import DPO, ORPO, SimPO
from danlu.tasks.task import Known
from danlu.tasks.text_reader import TextReader
from danlu.train import loop
from danlu.train import run as run_module

PAIRS = [
    {
        "prompt": f"{number} 你好?",
        "chosen": "Once 话说." + " that" * (number % 3),
        "rejected": f"{number} no." + "!" * (number % 4),
    }
    for number in range(8)
]
VERDICTS = [
    {"prompt": f"{number // 2} 你好?", "response": f"Once {number}." + " that" * (number % 3), "good": number % 3 == 0}
    for number in range(8)
]


@pytest.fixture
def write(tmp_path: Path) -> Callable[[Sequence[dict[str, Any]]], Path]:
    def write(rows: Sequence[dict[str, Any]]) -> Path:
        path = tmp_path / "data.jsonl"
        path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
        return path

    return write


Rows = Sequence[dict[str, Any]]
Write = Callable[[Rows], Path]


def read(task: Compared, file: Path, folder: Path, most: int = 96) -> tuple[Sequence[Any], list[Feature]]:
    examples = load(Data(train=file, dev=file), task.form).splits["train"]
    return examples, task.features(examples, Known(), TextReader.load(folder, max_tokens=most))


def batch_of(features: Sequence[Feature]) -> Batch:
    return collate([[each.as_example() for each in features]], widths=Widths(sum(len(e.tokens) for e in features) + 5))


class Theirs:
    """A model of ``transformers``, and what it says of an answer."""

    def __init__(self, folder: Path) -> None:
        self.tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
        self.model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)

    def ids(self, prompt: str, answer: str) -> tuple[list[int], int]:
        parts = (f"### Instruction:\n{prompt}\n\n### Response:\n", f"{answer}<|end|>")
        before, said = (self.tokenizer(text, add_special_tokens=False).input_ids for text in parts)
        return before + said, len(before)

    def answer(self, prompt: str, answer: str) -> tuple[torch.Tensor, int]:
        """Its log-probability, and its tokens."""
        ids, start = self.ids(prompt, answer)
        shares = self.model(torch.tensor([ids])).logits[0, :-1].double().log_softmax(-1)
        each = shares.gather(1, torch.tensor(ids[1:])[:, None])[start - 1 :, 0]
        return each.sum(), len(each)

    def of_pairs(self, pairs: Sequence[dict[str, Any]]) -> tuple[torch.Tensor, torch.Tensor]:
        """``[P, 2]`` both."""
        found = [self.answer(pair["prompt"], pair[side]) for pair in pairs for side in ("chosen", "rejected")]
        sums = torch.stack([each for each, _ in found]).reshape(-1, 2)
        return sums, torch.tensor([count for _, count in found], dtype=torch.float64).reshape(-1, 2)


def changed(folder: Path, seed: int = 3) -> tuple[Theirs, Transformer]:
    """Both models with the same weights, other than the folder's."""
    theirs = Theirs(folder)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in theirs.model.parameters():
            weight.add_(torch.randn(weight.shape, generator=generator) * 0.05)
    target = folder.parent / "changed"
    theirs.model.save_pretrained(target)
    theirs.tokenizer.save_pretrained(target)
    return theirs, load_model(target)


def referred(task: Compared, features: list[Feature], folder: Path) -> list[Feature]:
    with torch.no_grad():
        return task.refer(features, task.numbers(load_model(folder), batch_of(features), Known()))


@pytest.mark.parametrize("by", [DPO(beta=0.3), SimPO(), ORPO()], ids=lambda by: type(by).__name__)
def test_losses_and_gradients_of_pairs_are_those_of_transformers(
    by: Any, decoder: Path, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(head_module, "LOGITS_AT_ONCE", 2000)  # several chunks, which part documents
    task = Prefer(template="plain", by=by)
    _, features = read(task, write(PAIRS), decoder)
    if by.refers:
        features = referred(task, features, decoder)
    theirs, ours = changed(decoder)
    batch = batch_of(features)
    assert batch.counts["preference"] == len(PAIRS)
    loss = task.losses(ours, batch, Known())["preference"]
    loss.backward()  # type: ignore[no-untyped-call]
    model, tokens = theirs.of_pairs(PAIRS)
    with torch.no_grad():
        before, _ = Theirs(decoder).of_pairs(PAIRS)
    if isinstance(by, DPO):
        ratios = model - before
        wanted = -F.logsigmoid(0.3 * (ratios[:, 0] - ratios[:, 1]))
    elif isinstance(by, SimPO):
        wanted = -F.logsigmoid(2.0 * (model / tokens)[:, 0] - 2.0 * (model / tokens)[:, 1] - 1.0)
    else:
        odds = torch.special.logit((model / tokens).exp())
        wanted = -(model / tokens)[:, 0] - 0.1 * F.logsigmoid(odds[:, 0] - odds[:, 1])
    wanted.sum().backward()  # type: ignore[no-untyped-call]
    assert loss.item() == pytest.approx(wanted.sum().item(), rel=1e-5)
    for mine, their in (
        (ours.decoder.blocks[0].mlp.down.weight, theirs.model.model.layers[0].mlp.down_proj.weight),  # type: ignore[union-attr]
        (ours.head.weight, theirs.model.lm_head.weight),
    ):
        torch.testing.assert_close(mine.grad, their.grad, rtol=1e-3, atol=1e-4 * float(their.grad.abs().max()))


def test_a_pair_stays_in_one_feature_and_its_answers_do_not_see_each_other(decoder: Path, write: Write) -> None:
    task = Prefer(template="plain")
    _, features = read(task, write(PAIRS), decoder)
    theirs = Theirs(decoder)
    for feature, pair in zip(features, PAIRS, strict=True):
        (chosen, start), (rejected, _) = (theirs.ids(pair["prompt"], pair[side]) for side in ("chosen", "rejected"))
        assert feature.tokens.tolist() == chosen[:-1] + rejected[:-1]
        assert feature.parts == (len(chosen) - 1, len(rejected) - 1)
        assert feature.targets[WORDS][: len(chosen) - 1].tolist() == [-100] * (start - 1) + chosen[start:]
    found = task.numbers(load_model(decoder), batch_of(features), Known())
    np.testing.assert_allclose(
        torch.stack(found)[:, :, 0].detach().numpy(), theirs.of_pairs(PAIRS)[0].detach().numpy(), rtol=1e-5
    )


def test_only_what_follows_what_both_have_in_common_is_compared(decoder: Path, write: Write) -> None:
    """Of whole conversations an earlier answer belongs to the prompt; answers of several turns are scored in all."""
    asked = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}, {"role": "user", "content": "c"}]
    rows = [
        {"chosen": [*asked, {"role": "assistant", "content": "d"}],
         "rejected": [*asked, {"role": "assistant", "content": "no"}, {"role": "user", "content": "f"},
                      {"role": "assistant", "content": "g"}]},
        {"chosen": [*asked[:1], {"role": "assistant", "content": "d"}],
         "rejected": [*asked[:1], {"role": "assistant", "content": "e"}]},
    ]  # fmt: skip
    _, features = read(Prefer(template="plain"), write(rows), decoder)
    tokenizer = transformers.AutoTokenizer.from_pretrained(decoder)
    words = features[0].targets[WORDS]
    cut = features[0].parts[0]
    said = [tokenizer.decode(part[part >= 0]) for part in (words[:cut], words[cut:])]
    assert said == ["d<|end|>", "no<|end|>g<|end|>"]


def test_of_kto_the_divergence_is_that_of_the_whole_step(decoder: Path, write: Write) -> None:
    """Losses against NumPy on what transformers says, whatever the micro-batches; no gradient through the estimate."""
    task = Feedback(template="plain", beta=0.2, good=1.5, bad=0.5)
    examples, features = read(task, write(VERDICTS), decoder)
    features = referred(task, features, decoder)
    theirs, ours = changed(decoder)
    before = Theirs(decoder)
    others = [row for number in range(8) for row in [VERDICTS[(number + (1 if number % 2 else 2)) % 8]]]
    own_P, other_P = (
        torch.stack([
            theirs.answer(row["prompt"], said["response"])[0]
            - before.answer(row["prompt"], said["response"])[0].detach()
            for row, said in zip(VERDICTS, answers, strict=True)
        ])
        for answers in (VERDICTS, others)
    )  # fmt: skip
    good = torch.tensor([row["good"] for row in VERDICTS])
    divergence = other_P.detach().mean().item()
    assert divergence > 0.1
    margins = 0.2 * (own_P - divergence)
    wanted = torch.where(good, 1.5 * (1 - torch.sigmoid(margins)), 0.5 * (1 - torch.sigmoid(-margins)))
    wanted.sum().backward()  # type: ignore[no-untyped-call]

    for parts in ([8], [3, 5], [1] * 8):
        ours.zero_grad()
        ends = np.cumsum(parts)
        micro = [batch_of(features[end - part : end]) for end, part in zip(ends, parts, strict=True)]
        known = task.of_step(ours, micro, Known(), lambda own: own)
        assert known.numbers[KL] == pytest.approx(divergence, rel=1e-4, abs=1e-6)
        losses = [task.losses(ours, each, known)["feedback"] for each in micro]
        total = torch.stack(losses).sum()
        total.backward()  # type: ignore[no-untyped-call]
        assert total.item() == pytest.approx(wanted.sum().item(), rel=1e-5)
        mine, their = ours.head.weight.grad, theirs.model.lm_head.weight.grad
        torch.testing.assert_close(mine, their, rtol=1e-3, atol=1e-4 * float(their.abs().max()))
    with torch.no_grad():
        answers = task.answers(task.numbers(ours, batch_of(features), Known()), features, examples, Known())
    np.testing.assert_allclose(
        [each.value["reward"] for each in answers], margins.detach().numpy(), rtol=1e-4, atol=1e-5
    )
    np.testing.assert_allclose([each.value["loss"] for each in answers], wanted.detach().numpy(), rtol=1e-5)


def test_processes_share_one_divergence_which_is_never_below_nothing(decoder: Path, write: Write) -> None:
    task = Feedback(template="plain")
    _, features = read(task, write(VERDICTS), decoder)
    micro = [batch_of(referred(task, features, decoder))]
    _, ours = changed(decoder)
    found = [
        task.of_step(
            ours, micro, Known(), lambda own, more=more: {"ratios": more, "examples": own["examples"] + 2}
        ).numbers
        for more in (5.0, -5.0)
    ]
    assert found == [{KL: 0.5}, {KL: 0.0}]
    idle = [replace(micro[0], counts=dict.fromkeys(micro[0].counts, 0))]  # keeps step with others
    assert task.of_step(ours, idle, Known(), lambda own: {"ratios": own["ratios"], "examples": own["examples"] + 1}
                        ).numbers == {KL: 0.0}  # fmt: skip


def test_what_is_too_long_is_left_out_with_what_it_is_compared_with(
    decoder: Path, write: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [{**PAIRS[0], "rejected": "no" * 80}, *PAIRS[1:3]]
    examples, features = read(Prefer(template="plain"), write(rows), decoder, most=64)
    assert [each.example for each in features] == [1, 2]
    told = capsys.readouterr()
    assert "1 of 3 examples left out: an answer ends after more than 64 tokens" in told.out + told.err
    task = Prefer(template="plain", by=SimPO())
    with torch.no_grad():
        answers = task.answers(
            task.numbers(load_model(decoder), batch_of(features), Known()), features, examples, Known()
        )
    assert [each.value is None for each in answers] == [True, False, False]
    with pytest.raises(InputError, match=r"data.jsonl, line 1: an answer ends .*; finetune.task.max_tokens is 64"):
        read(Prefer(template="plain", too_long="refuse"), write(rows), decoder, most=64)
    with pytest.raises(InputError, match=r"data.jsonl: no example is left"):
        read(Prefer(template="plain"), write(rows), decoder, most=8)


def test_mismatched_answers_of_kto_are_cut_and_not_left_out(decoder: Path, write: Write) -> None:
    rows = [{**VERDICTS[0], "prompt": "To be" * 8}, {**VERDICTS[2], "response": "!" * 20}]
    _, features = read(Feedback(template="plain"), write(rows), decoder, most=64)
    assert len(features) == 2
    assert max(max(each.parts) for each in features) == 63  # of 64 tokens all but the last are read


def run(folder: Path, file: Path, tmp_path: Path, task: str) -> Path | None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(
        f"run_dir: {tmp_path / 'run'}\n"
        f"finetune:\n  data: {{train: {file}, dev: {file}}}\n  model: {folder}\n  task: {task}\n"
        "  budget: {steps: 8}\n  batch: 4\n  precision: fp32\n  evaluations: 2\n  optimizer: {lr: 3e-3}\n"
        "  early_stopping: null\n  save: {steps: 2}\n"
    )
    return None if main(["finetune", str(recipe)]) else tmp_path / "run" / "finetune"


def predicted(out: Path, file: Path, tmp_path: Path) -> list[dict[str, Any]]:
    said_to = tmp_path / "said.jsonl"
    assert main(["predict", str(out / "model"), str(file), "--out", str(said_to), "--dtype", "float32"]) == 0
    return [json.loads(line) for line in said_to.read_text().splitlines()]


def test_dpo_from_a_file_to_a_model_that_answers(decoder: Path, write: Write, tmp_path: Path) -> None:
    file = write(PAIRS)
    out = run(decoder, file, tmp_path, "{use: prefer, template: plain, by: {use: dpo, beta: 0.3}}")
    assert out is not None
    with torch.no_grad():
        ratios = (Theirs(out / "model").of_pairs(PAIRS)[0] - Theirs(decoder).of_pairs(PAIRS)[0]).numpy() * 0.3
    scored = json.loads((out / "dev.json").read_text())
    margins = ratios[:, 0] - ratios[:, 1]
    assert scored["figures"] == pytest.approx({
        "accuracy": (margins > 0).mean(), "margin": margins.mean(), "chosen": ratios[:, 0].mean(),
        "rejected": ratios[:, 1].mean(), "loss": np.log1p(np.exp(-margins)).mean(),
    }, rel=1e-3, abs=1e-4)  # fmt: skip
    assert scored["figures"]["loss"] < np.log(2)  # where it began
    assert set(scored["intervals"]) == set(scored["figures"])
    lines = [json.loads(line) for line in (out / "dev.predictions.jsonl").read_text().splitlines()]
    assert [line["prediction"]["chosen"] for line in lines] == pytest.approx(list(ratios[:, 0]), rel=1e-3, abs=1e-3)

    asked = tmp_path / "asked.jsonl"
    asked.write_text(json.dumps({"messages": [{"role": "user", "content": "0 你好?"}]}) + "\n")
    (line,) = predicted(out, asked, tmp_path)
    assert isinstance(line["prediction"], str)
    tokenizer = transformers.AutoTokenizer.from_pretrained(out / "model")
    rendered = tokenizer.apply_chat_template([{"role": "user", "content": "a"}], tokenize=False)
    assert rendered.startswith("### Instruction:\na")


def test_kto_from_a_file_to_a_model_that_answers(decoder: Path, write: Write, tmp_path: Path) -> None:
    out = run(decoder, write(VERDICTS), tmp_path, "{use: feedback, template: plain}")
    assert out is not None
    figures = json.loads((out / "dev.json").read_text())["figures"]
    assert set(figures) == {"accuracy", "margin", "good", "bad", "loss"}
    assert figures["margin"] > 0 and figures["loss"] < 0.5  # where it began


def test_at_the_first_step_nothing_has_become_likelier(decoder: Path, write: Write, tmp_path: Path) -> None:
    out = run(decoder, write(PAIRS), tmp_path, "{use: prefer, template: plain, by: {use: dpo, beta: 5}}")
    assert out is not None
    first = json.loads((out / "metrics.jsonl").read_text().splitlines()[0])
    assert first["loss"] == pytest.approx(np.log(2), abs=1e-4)


def test_references_are_the_same_bytes_whenever_they_are_reckoned(decoder: Path, write: Write) -> None:
    task = Prefer(template="plain")
    _, features = read(task, write(PAIRS), decoder)
    once, again = (referred(task, features, decoder) for _ in range(2))
    assert [each.targets["reference"].tobytes() for each in once] == [
        each.targets["reference"].tobytes() for each in again
    ]


@pytest.mark.parametrize(("task", "rows"), [("prefer", PAIRS), ("feedback", VERDICTS)])
def test_a_training_that_broke_off_goes_on_to_the_same_bytes(
    task: str, rows: Rows, decoder: Path, write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, asked = write(rows), f"{{use: {task}, template: plain}}"
    (tmp_path / "whole").mkdir()
    whole = run(decoder, file, tmp_path / "whole", asked)
    fit = loop.fit

    def breaks(*args: Any, before: Callable[[int], None], **others: Any) -> None:
        def at(step: int) -> None:
            before(step)
            if step == 5:
                raise InputError("broken off")

        fit(*args, before=at, **others)

    with monkeypatch.context() as patched:
        patched.setattr(run_module, "fit", breaks)
        assert run(decoder, file, tmp_path, asked) is None
    assert [path.name for path in (tmp_path / "run/finetune/checkpoints").iterdir()]
    again = run(decoder, file, tmp_path, asked)
    assert whole is not None and again is not None
    for name in ("model/model.safetensors", "dev.json", "dev.predictions.jsonl"):
        assert (whole / name).read_bytes() == (again / name).read_bytes(), name


def test_encoders_are_refused(encoder: Path, write: Write, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(encoder, write(PAIRS), tmp_path, "{use: prefer, template: plain}") is None
    assert "needs a decoder" in capsys.readouterr().err
    assert not (tmp_path / "run" / "finetune" / "model").exists()


def test_an_unknown_loss_is_told_with_the_choices(
    decoder: Path, write: Write, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(decoder, write(PAIRS), tmp_path, "{use: prefer, by: {use: dpp}}") is None
    assert "finetune.task.by" in (told := capsys.readouterr().err) and "dpo" in told
