"""GRPO's losses and gradients: the papers' equations on what ``transformers`` says, at any temperature; and trl's."""

from __future__ import annotations

from collections import defaultdict
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import transformers
from grpo_run import nats, run, task_of, theirs

from danlu.files import read_jsonl
from danlu.nn.hf.folder import load_model
from danlu.tasks.answering import batches_of
from danlu.tasks.judged import KL, POLICY, Judged
from danlu.tasks.task import Known
from danlu.tasks.text_reader import TextReader


@pytest.mark.parametrize(
    ("again", "beta", "temperature"),
    [(False, 0.0, 1.0), (False, 0.3, 1.0), (True, 0.0, 1.0), (True, 0.3, 1.0), (True, 0.3, 0.7), (False, 0.3, 1.4)],
)
def test_losses_and_gradients_are_those_of_the_papers(
    again: bool, beta: float, temperature: float, decoder: Path, rewards: Path
) -> None:
    """The mean over the tokens of all answers, of two models that have moved from the one that learns."""
    rng = np.random.default_rng(1)
    answers = [
        (rng.integers(1, 290, rng.integers(2, 6)).tolist(), rng.integers(1, 290, rng.integers(1, 8)).tolist(), better)
        for better in (1.3, -0.4, 0.0, -0.9, 2.0, 0.7)
    ]
    model, before, reference = (theirs(decoder) for _ in range(3))
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for weight in [*before.parameters(), *reference.parameters()]:
            weight.add_(torch.randn(weight.shape, generator=generator, dtype=weight.dtype) * 0.02)
        said = [(nats(before, *each[:2], temperature), nats(reference, *each[:2], temperature)) for each in answers]

    policy, divergence, clipped = torch.zeros(()), torch.zeros(()), 0
    for (prompt, ids, better), (old, other) in zip(answers, said, strict=True):
        logs = -nats(model, prompt, ids, temperature)
        ratio = torch.exp(logs + old) if again else torch.exp(logs - logs.detach())
        clipped += int((((ratio > 1.28) & (better > 0)) | ((ratio < 0.8) & (better < 0))).sum())
        policy = policy - torch.minimum(ratio * better, ratio.clamp(0.8, 1.28) * better).sum()
        divergence = divergence + (torch.exp(-other - logs) - (-other - logs) - 1).sum()
    assert bool(clipped) == again
    count = sum(len(ids) for _, ids, _ in answers)
    ((policy + beta * divergence) / count).backward()  # type: ignore[no-untyped-call]

    task, ours = task_of(rewards, beta=beta, temperature=temperature), load_model(decoder).train()
    features = [
        Judged(0, tuple(ids), better, tuple(old.tolist()) if again else (), tuple(other.tolist())).feature(prompt)
        for (prompt, ids, better), (old, other) in zip(answers, said, strict=True)
    ]
    micro = [batch for _, batch in batches_of(features, tokens=20)]
    assert len(micro) > 1 and sum(batch.counts[POLICY] for batch in micro) == count
    losses = [task.losses(ours, batch, Known()) for batch in micro]
    found = {name: torch.stack([each[name] for each in losses]).sum() for name in (POLICY, KL)}
    ((found[POLICY] + beta * found[KL]) / count).backward()  # type: ignore[no-untyped-call]
    assert found[POLICY].item() == pytest.approx(policy.item(), rel=1e-4)
    assert found[KL].item() == pytest.approx(divergence.item(), rel=1e-4)
    for mine, their in (
        (ours.decoder.blocks[0].mlp.down.weight, model.model.layers[0].mlp.down_proj.weight),  # type: ignore[union-attr]
        (ours.head.weight, model.lm_head.weight),
    ):
        error = (mine.grad.double() - their.grad).abs().max() / their.grad.abs().max()  # type: ignore[union-attr]
        assert error < 1e-4


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # whatever trl says
def test_the_loss_is_that_of_trl(decoder: Path, rewards: Path) -> None:
    """Of trl's trainer with loss_type dapo, at a temperature, on a model that it has given its own head."""
    from trl.trainer.grpo_trainer import GRPOTrainer
    from trl.trainer.utils import add_fused_lm_head

    temperature, beta, rng = 0.6, 0.3, np.random.default_rng(2)
    prompts, ids = rng.integers(1, 290, (3, 4)).tolist(), rng.integers(1, 290, (3, 5)).tolist()
    better, model = [1.2, -0.5, 0.8], theirs(decoder, torch.float32)
    old, other = (-torch.tensor(rng.uniform(2, 7, (3, 5)), dtype=torch.float32) for _ in range(2))
    add_fused_lm_head(model, temperature=temperature, outputs=("log_probs", "entropy"))
    accelerator = SimpleNamespace(
        autocast=nullcontext,
        gather=lambda x: x,
        reduce=lambda x, reduction: x,
        num_processes=1,
        is_main_process=True,
    )
    trainer = SimpleNamespace(
        accelerator=accelerator, model=model, aux_loss_enabled=False, top_entropy_quantile=1.0, beta=beta,
        off_policy_mask_threshold=None, importance_sampling_level="token", loss_type="dapo", epsilon_low=0.2,
        epsilon_high=0.28, use_vllm=False, _entropy_bonus_enabled=False, current_gradient_accumulation_steps=1,
        args=SimpleNamespace(delta=None, use_bias_correction_kl=False, steps_per_generation=1, report_to=[]),
        _metrics={"train": defaultdict(list), "eval": defaultdict(list)},
    )  # fmt: skip
    trainer._get_per_token_logps_and_entropies = partial(GRPOTrainer._get_per_token_logps_and_entropies, trainer)
    whole = {
        "prompt_ids": torch.tensor(prompts), "prompt_mask": torch.ones(3, 4, dtype=torch.long),
        "completion_ids": torch.tensor(ids), "completion_mask": torch.ones(3, 5, dtype=torch.long),
        "old_per_token_logps": old, "ref_per_token_logps": other, "advantages": torch.tensor(better),
        "num_items_in_batch": torch.tensor(15),
    }  # fmt: skip
    wanted = GRPOTrainer._compute_loss(trainer, model.train(), whole)
    wanted.backward()

    task, ours = task_of(rewards, beta=beta, temperature=temperature), load_model(decoder).train()
    features = [
        Judged(0, tuple(own), each, tuple((-was).tolist()), tuple((-begun).tolist())).feature(prompt)
        for prompt, own, each, was, begun in zip(prompts, ids, better, old, other, strict=True)
    ]
    [(_, batch)] = batches_of(features)
    losses = task.losses(ours, batch, Known())
    loss = (losses[POLICY] + beta * losses[KL]) / 15
    loss.backward()  # type: ignore[no-untyped-call]
    assert loss.item() == pytest.approx(wanted.item(), rel=1e-4)
    torch.testing.assert_close(ours.head.weight.grad, model.lm_head.weight.grad, rtol=1e-3, atol=1e-6)


def test_tokens_are_drawn_at_the_temperature(decoder: Path, rewards: Path) -> None:
    """Where the seed's number falls in the shares that transformers gives; or the likeliest one."""
    prompt, model = [5, 60, 61, 8], load_model(decoder)
    with torch.no_grad():
        model.head.weight.mul_(20)  # that tokens differ
        logits = 20 * theirs(decoder)(torch.tensor([prompt])).logits[0, -1]
    found = {}
    for temperature in (1.0, 0.4):
        task = task_of(rewards, template="plain", answer_tokens=1, temperature=temperature)
        reader = TextReader.load(decoder, max_tokens=40)
        loaded = task.ready(model, reader)
        (answers,) = task.write_answers(loaded, [prompt], [range(50)])
        found[temperature] = [each.ids[0] for each in answers]
        sums = (logits / temperature).softmax(-1).cumsum(-1)
        drawn = [torch.rand(1, dtype=torch.float64, generator=torch.Generator().manual_seed(n)) for n in range(50)]
        assert found[temperature] == [int(torch.searchsorted(sums, each * sums[-1], right=True)) for each in drawn]
        ((likeliest,),) = task.write_answers(loaded, [prompt], [[1]], greedy=True)
        assert likeliest.ids == (int(logits.argmax()),)
    assert len(set(found[0.4])) < len(set(found[1.0]))


def test_what_was_written_is_kept_at_the_temperature(decoder: Path, rewards: Path, tmp_path: Path) -> None:
    task = {"reward": f"{rewards}:digits", "updates": 2, "beta": 0.1, "group": 2, "temperature": 0.5}
    out = run(tmp_path, decoder, task, rows=8, budget={"steps": 2}, batch=4, evaluations=1)
    tokenizer, began = transformers.AutoTokenizer.from_pretrained(decoder), theirs(decoder)
    for line in read_jsonl(out / "answers.jsonl"):
        prompt = tokenizer(f"### Instruction:\n{line['prompt']}\n\n### Response:\n").input_ids
        wanted = nats(began, prompt, line["ids"], 0.5).tolist()
        for said in ("before", "reference"):
            assert line[said] == pytest.approx(wanted, rel=1e-3)
