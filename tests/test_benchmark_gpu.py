"""What ``benchmarks/gpu.py`` counts, and that all of it runs on a processor."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from danlu.nn.families import GPT2, T5, Bert, Llama

FOLDER = Path(__file__).parent.parent / "benchmarks"
Load = Callable[[str], ModuleType]


def test_a_gpt2_needs_what_the_formula_says(load_benchmark: Load) -> None:
    """PaLM's appendix B, written out: 12 L D^2 + V D matrix parameters, and 6 L D a pair where it is causal."""
    flops = load_benchmark("flops")
    layers, dim, vocab, length = 3, 64, 500, 40
    config = GPT2(layers=layers, dim=dim, heads=4, hidden=4 * dim).config(vocab_size=vocab, max_length=length)
    counted = flops.training_flops(config, flops.Read([length, 10], length + 10))
    matrices = 12 * layers * dim**2 + vocab * dim
    assert counted == 6 * matrices * (length + 10) + 6 * layers * dim * (length**2 + 10**2)


def test_the_matrices_of_a_llama_are_those_of_transformers(load_benchmark: Load) -> None:
    flops = load_benchmark("flops")
    theirs = LlamaForCausalLM(LlamaConfig(
        vocab_size=500, hidden_size=64, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
        intermediate_size=96, tie_word_embeddings=True,
    ))  # fmt: skip
    matrices = sum(weight.numel() for weight in theirs.parameters() if weight.ndim == 2)
    ours = Llama(layers=2, dim=64, heads=4, kv_heads=2, hidden=96, tied=True).config(vocab_size=500, max_length=8)
    assert flops.training_flops(ours, flops.Read([1], 1)) == 6 * matrices + 6 * 2 * 64


def test_encoders_see_both_ways_and_their_head_scores_few(load_benchmark: Load) -> None:
    flops = load_benchmark("flops")
    dim, vocab = 64, 500
    config = Bert(layers=1, dim=dim, heads=4, hidden=4 * dim).config(vocab_size=vocab, max_length=40)
    counted = flops.training_flops(config, flops.Read([40], 6))
    assert counted == 6 * (12 * dim**2 * 40 + (vocab * dim + dim**2) * 6) + 12 * dim * 40**2


def test_each_side_of_a_t5_reads_its_own(load_benchmark: Load) -> None:
    flops = load_benchmark("flops")
    dim, hidden, vocab, own, source = 64, 96, 500, 10, 40
    config = T5(layers=1, dim=dim, heads=4, hidden=hidden, mlp="relu").config(vocab_size=vocab, max_length=40)
    counted = flops.training_flops(config, flops.Read([own], own, [source]))
    attention, mlp = 4 * dim**2, 2 * dim * hidden
    matrices = (attention + mlp) * source + (attention + 2 * dim**2 + mlp + vocab * dim) * own + 2 * dim**2 * source
    assert counted == 6 * matrices + 12 * dim * (source**2 + own**2 / 2 + own * source)


@pytest.mark.parametrize(
    ("name", "teraflops"),
    [
        ("NVIDIA H100 80GB HBM3", 989), ("NVIDIA H100 PCIe", 756), ("NVIDIA H200", 989), ("NVIDIA L4", 121),
        ("NVIDIA A100-SXM4-80GB", 312), ("NVIDIA L40S", 362), ("NVIDIA GeForce RTX 4090", 165), ("NVIDIA A10G", 70),
        ("Tesla T4", None),
    ],
)  # fmt: skip
def test_a_gpu_is_known_by_its_name(load_benchmark: Load, name: str, teraflops: float | None) -> None:
    peak = load_benchmark("flops").peak_of(name)
    assert peak == (None if teraflops is None else teraflops * 1e12)


def test_documents_are_read_off_the_batch(load_benchmark: Load) -> None:
    sides = load_benchmark("gpu_sides")
    segments = torch.tensor([[0, 0, 0, 1, 1, -1], [2, 3, 3, 3, 3, 3]])
    assert sides._lengths({"tokens": segments, "segments": segments}) == [3, 2, 1, 5]
    assert sides._lengths({"tokens": segments}) == [6, 6]
    assert sides._lengths({}) == []
    reads = [sides.Read([3], 2), sides.Read([4, 1], 5, [7]), sides.Read([2], 1)]
    assert sides.of_steps(reads[:2], 2) == [sides.Read([3, 4, 1], 7, [7])]
    assert [sides.tokens_of(read) for read in sides.of_steps(reads, 1)] == [3, 12, 2]
    labels = torch.tensor([[-100, 4, -100], [5, -100, -100]])
    padded = {"input_ids": labels, "labels": labels, "attention_mask": torch.tensor([[1, 1, 1], [1, 1, 0]])}
    assert sides.read_of_peer(padded) == sides.Read([3, 2], 2)


def test_the_1b_models_have_so_many_parameters(load_benchmark: Load) -> None:
    from danlu.train.plan import parameters_by_part

    gpu, sides = load_benchmark("gpu"), load_benchmark("gpu_sides")
    sizes = {}
    for case in gpu.CASES:
        config = sides.model_of(case).config(vocab_size=case.vocab_size, max_length=case.sequence)
        sizes[case.name] = sum(parameters_by_part(config).values())
    assert 0.95e9 < sizes["1b-2k"] < 1.1e9
    assert 120e6 < sizes["gpt2-2k"] < 130e6


@pytest.fixture
def sides_of(load_benchmark: Load, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[Any, list[str], str]]:
    """``sides_of(act)``: the claims, the problems and what is printed, of a case of which ``act`` does each side."""
    gpu, flops = load_benchmark("gpu"), load_benchmark("flops")

    def measure(act: Callable[[str, Any], Any]) -> tuple[Any, list[str], str]:
        monkeypatch.setattr(gpu, "fresh", lambda options, side, job: act(side.__name__, job))
        said: list[str] = []
        monkeypatch.setattr(gpu, "say", lambda line="": said.append(line))
        options = gpu.Options(2, 3, 1, 1024, 2, "cuda", False, ())
        case, failed = dataclasses.replace(gpu.CASES[0], sequence=128), []
        claims = gpu.measure_case(case, Path(), options, flops.Gpu(1e15, "", None), failed)
        return claims, failed, "\n".join(said)

    return measure


def outcome(load_benchmark: Load, speed: float) -> Any:
    return load_benchmark("gpu_sides").Outcome([1.0] * 3, [100] * 3, [speed] * 3, 5, "how")


def test_rows_are_halved_until_memory_holds_them(load_benchmark: Load, sides_of: Any) -> None:
    tried: list[int] = []

    def act(name: str, job: Any) -> Any:
        if name == "trainer":
            tried.append(job.rows)
            if job.rows > 2:
                raise load_benchmark("report").NotMeasuredError("trainer: OutOfMemoryError: CUDA out of memory.")
        return outcome(load_benchmark, 1e12)

    claims, failed, said = sides_of(act)
    assert tried == [8, 4, 2, 2]  # what fits is tried first in the second round
    assert len(claims) == 3 and not failed
    assert "memory does not hold 8 rows" in said


def test_a_side_that_fails_does_not_end_the_others(load_benchmark: Load, sides_of: Any) -> None:
    def act(name: str, job: Any) -> Any:
        if name == "compiled_model":
            raise load_benchmark("report").NotMeasuredError("compiled_model: InductorError: no such kernel")
        return outcome(load_benchmark, 1e12 if job.precision == "bf16" else 2e12)

    claims, failed, said = sides_of(act)
    assert [claim.benchmark.partition("speed: ")[2] for claim in claims] == [
        "Danlu, bf16 / Trainer, bf16", "Danlu, fp8 / Danlu, bf16",
    ]  # fmt: skip
    assert [claim.ratio for claim in claims] == [1.0, 2.0]
    assert failed == ["gpt2-2k, transformers compiled, bf16: compiled_model: InductorError: no such kernel"]
    assert said.index("round 1: Danlu, bf16") < said.index("no such kernel") < said.index("side")


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(FOLDER / "gpu.py"), *arguments]
    return subprocess.run(
        command, capture_output=True, text=True, check=False, env={**os.environ, "CUDA_VISIBLE_DEVICES": ""}
    )


@pytest.mark.slow
def test_without_a_gpu_it_says_so() -> None:
    done = run()
    assert done.returncode == 0, done.stderr
    assert done.stdout == "nothing is measured: torch finds no GPU here\n"


@pytest.mark.slow
@pytest.mark.parametrize("case", ["gpt2-2k", "1b-8k", "bert", "t5"])
def test_all_of_it_runs_on_a_processor(case: str) -> None:
    done = run("--tiny", "--device", "cpu", "--rounds", "1", "--steps", "2", "--warmup", "1", "--only", case)
    assert done.returncode == 0, done.stderr
    claims = json.loads(done.stdout.splitlines()[-1])
    assert [claim["benchmark"].partition(" speed")[0] for claim in claims] == [case, case]
    assert all(claim["unit"] == "model TFLOP/s" and claim["ratio"] > 0 for claim in claims)
