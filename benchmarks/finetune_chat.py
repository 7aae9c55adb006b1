"""The part chat of ``finetune.py``: SmolLM2-135M learns Alpaca's answers by LoRA, Danlu beside ``trl``.

Both sides begin with one folder of float32 weights, read the same conversations by its chat template, score answers
alone, and have one rank, scale, learning rate, schedule and number of conversations a step. The peer is SFTTrainer
with ``peft``: as it comes, which on a processor is autocast to bfloat16, activations made anew, and batches padded to
their longest; and tuned for a processor. Its adapters are a twentieth larger: Danlu has the gate and the value of an
MLP in one matrix, with one adapter. Another judge than either, ``transformers`` in float32, reads both results.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Any

from generate_cpu import prepare
from pretrain_sides import matrix_rates
from process import in_fresh_process
from report import Comparison, NotMeasuredError, compare, say, table

FILES = ("instruct/en/alpaca_en_demo.json", "instruct/zh/alpaca_zh_demo.json")
RANK, ALPHA, RATE, BATCH, LONGEST = 16, 32, 2e-4, 8, 1024
"""Of both sides; no conversation reaches the longest that is read."""
SIDES = ("Danlu", "trl", "trl, tuned")
SPEED, MEMORY = 2.0, 0.7
"""Against ``trl`` as it comes: at least so many times as fast, at most so much memory."""
TUNED = {
    "gradient_checkpointing": False,
    "train_sampling_strategy": "group_by_length",
    "model_init_kwargs": {"dtype": "bfloat16", "attn_implementation": "eager"},
}
"""Nothing is computed twice, batches are of like length, frozen weights are not cast in every product, and attention
goes by products of matrices, which on processors are faster than torch's kernel in bfloat16. Packing would be slower:
without FlashAttention it makes every conversation look at all others of its row, behind a mask."""


@dataclass(frozen=True)
class Job:
    """Where everything is, and how long it trains."""

    model: Path
    train: Path
    held: Path
    """Conversations as lines of OpenAI's messages."""
    out: Path
    steps: int
    """0: every conversation once."""
    kept: Path
    """Where the figures of each side and seed are kept, and looked for."""


@dataclass(frozen=True)
class Tuned:
    """What a side did with one seed."""

    seconds: float
    """Of the training loop."""
    tokens: int
    """In conversations that were read, to the end of the answer; padding is none."""
    result: Path
    """A model, or the folder of its adapters."""


@dataclass(frozen=True)
class Measured:
    """A side's figures with one seed."""

    tokens: int
    speed: float
    """Tokens a second."""
    memory: float
    """Its peak, in MiB."""
    loss: float
    """Of held-out answers, in nats a token."""


def measure(data: Path, out: Path, kept: Path, *, seeds: Sequence[int], steps: int, held: int) -> list[Comparison]:
    """All sides, seed by seed; those whose figures are kept are not measured again.

    Raises:
        NotMeasuredError: a file or a package is missing, or a side that the target is about failed.
    """
    if find_spec("trl") is None:
        raise NotMeasuredError("the package trl is not installed: pip install -c constraints.txt trl")
    job = Job(out / "smollm2", out / "chat-train.jsonl", out / "chat-held.jsonl", out, steps, kept / f"{steps}-{held}")
    in_fresh_process(prepare, job.model)
    write_conversations(data, job, held=held)
    rates, _ = in_fresh_process(matrix_rates)
    need, _ = in_fresh_process(products_per_token, job)
    say(f"products of matrices: {need / 1e9:.3f} GFLOP a token; this machine does {rates['bf16']:,.0f} GFLOP/s in "
        f"bfloat16, so no side more than {rates['bf16'] * 1e9 / need:,.0f} tokens/s")  # fmt: skip
    (before, tokens), _ = in_fresh_process(judge, job, job.model)
    say(f"held out: {held} conversations, {tokens:,} tokens of answers, loss before {before:.4f} nats a token")
    found = all_sides(job, seeds)
    if len({each.tokens for results in found.values() for each in results}) > 1 and not steps:
        raise NotMeasuredError("the sides did not read the same tokens")
    return compare_sides(found)


def all_sides(job: Job, seeds: Sequence[int]) -> dict[str, list[Measured]]:
    """All sides, seed by seed, but for a tuned peer that failed.

    Raises:
        NotMeasuredError: a side that the target is about failed.
    """
    found: dict[str, list[Measured]] = {side: [] for side in SIDES}
    for seed in seeds:
        for side in [each for each in SIDES if each in found]:
            try:
                found[side].append(once(job, seed, side))
            except NotMeasuredError as error:
                if side in SIDES[:2]:
                    raise
                del found[side]
                say(f"seed {seed}, {side}: {error}; it is left out")
    return found


def once(job: Job, seed: int, side: str) -> Measured:
    """What is kept of a side, or is measured now.

    Raises:
        NotMeasuredError: it failed, or was killed.
    """
    path = job.kept / f"{side.replace(', ', '-')}-{seed}.json"
    if path.exists():
        say(f"seed {seed}, {side}: as measured before")
        return Measured(**json.loads(path.read_text()))
    done = measured(job, seed, side)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(asdict(done)))
    return done


def measured(job: Job, seed: int, side: str) -> Measured:
    """One training of a side, and what the judge says of it.

    Raises:
        NotMeasuredError: it failed, or was killed.
    """
    result, peak = in_fresh_process(ours if side == "Danlu" else trainer, job, seed, "tuned" in side)
    (loss, _), _ = in_fresh_process(judge, job, result.result)
    done = Measured(result.tokens, result.tokens / result.seconds, peak / 2**20, loss)
    say(f"seed {seed}, {side}: {result.tokens:,} tokens in {result.seconds:.1f} s, {done.speed:,.0f} tokens/s; "
        f"{done.memory:,.0f} MiB; held-out loss {loss:.4f}")  # fmt: skip
    return done


def compare_sides(sides: dict[str, list[Measured]]) -> list[Comparison]:
    """A table of the sides, the ratios, and which targets are met."""
    rows = [["side", "tokens/s", "least", "greatest", "peak MiB", "held-out loss", "least", "greatest"]]
    speed = {side: [each.speed for each in results] for side, results in sides.items()}
    memory = {side: [each.memory for each in results] for side, results in sides.items()}
    losses = {side: [each.loss for each in results] for side, results in sides.items()}
    for side in sides:
        rows.append([side, *(f"{value:,.0f}" for value in _spread(speed[side])), f"{median(memory[side]):,.0f}",
                     *(f"{value:.4f}" for value in _spread(losses[side]))])  # fmt: skip
    say(f"\n{table(rows)}\n")
    found = []
    for peer in list(sides)[1:]:
        name = f"chat tuning, {{}}: Danlu / {peer}"
        found.append(compare(name.format("speed"), speed["Danlu"], speed[peer], unit="tokens/s"))
        found.append(compare(name.format("peak memory"), memory["Danlu"], memory[peer], unit="MiB"))
        found.append(compare(name.format("held-out loss"), losses["Danlu"], losses[peer], unit="nats a token"))
    faster, leaner, better = (each.ratio for each in found[:3])
    say(f"wanted: at least {SPEED} times the tokens a second: {'met' if faster >= SPEED else 'MISSED'}")
    say(f"wanted: at most {MEMORY} of the memory: {'met' if leaner <= MEMORY else 'MISSED'}")
    say(f"wanted: held-out loss not higher: {'met' if better <= 1 else 'MISSED'}")
    return found


def _spread(values: Sequence[float]) -> tuple[float, float, float]:
    return median(values), min(values), max(values)


def write_conversations(data: Path, job: Job, *, held: int) -> None:
    """Shuffle the conversations of both languages, the same in each run, and hold some out.

    Raises:
        NotMeasuredError: a file is missing.
    """
    rows: list[dict[str, str]] = []
    for name in FILES:
        if not (data / name).is_file():
            raise NotMeasuredError(f"{data / name} is missing")
        rows += json.loads((data / name).read_text(encoding="utf-8"))
    random.Random(0).shuffle(rows)
    for path, part in ((job.held, rows[:held]), (job.train, rows[held:])):
        lines = [json.dumps({"messages": messages_of(row)}, ensure_ascii=False) for row in part]
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def messages_of(row: dict[str, str]) -> list[dict[str, str]]:
    """Alpaca's instruction, its input below it, and the answer."""
    asked = f"{row['instruction']}\n{row['input']}" if row["input"].strip() else row["instruction"]
    return [{"role": "user", "content": asked}, {"role": "assistant", "content": row["output"]}]


def read_conversations(path: Path) -> list[list[dict[str, str]]]:
    return [json.loads(line)["messages"] for line in path.read_text(encoding="utf-8").splitlines()]


def ours(job: Job, seed: int, tuned: bool) -> Tuned:
    """The stage; its learning rate warms up and is stopped early as the peer's is: not at all."""
    from danlu.recipe import load_recipe
    from danlu.runs import run_stages

    folder = job.out / f"chat-{seed}"
    section = {
        "model": str(job.model),
        "data": {"train": str(job.train), "dev": str(job.held)},
        "task": {"use": "chat", "max_tokens": LONGEST, "answer_tokens": 8},
        "method": {"use": "lora", "rank": RANK, "alpha": ALPHA},
        "optimizer": {"use": "adamw", "lr": RATE, "betas": [0.9, 0.999], "weight_decay": 0.0},
        "schedule": {"use": "linear", "warmup": 0.0},
        "batch": BATCH,
        "budget": {"steps": job.steps} if job.steps else {"epochs": 1},
        "evaluations": 0,
        "early_stopping": None,
    }
    recipe = job.out / f"chat-{seed}.yaml"
    recipe.write_text(json.dumps({"finetune": section, "run_dir": str(folder), "seed": seed}))  # which is YAML too
    run_stages(load_recipe(recipe, []), ["finetune"], lambda line: None)
    figures = json.loads((folder / "finetune/done.json").read_text())["figures"]
    # The last token of a conversation is learned and not read.
    read = figures["tokens"] + _conversations(job)
    return Tuned(figures["seconds"], read, folder / "finetune/model")


def trainer(job: Job, seed: int, tuned: bool) -> Tuned:
    """SFTTrainer with its defaults, or tuned; the learning rate and what follows are those of both sides."""
    from datasets import Dataset
    from peft import LoraConfig
    from trl import SFTConfig, SFTTrainer

    folder = job.out / f"trl-{seed}{'-tuned' if tuned else ''}"
    # Of a prompt and a completion the completion alone is scored.
    pairs = [{"prompt": chat[:-1], "completion": chat[-1:]} for chat in read_conversations(job.train)]
    length: dict[str, Any] = {"max_steps": job.steps} if job.steps else {"num_train_epochs": 1}
    arguments = SFTConfig(
        output_dir=str(folder), use_cpu=True, seed=seed, save_strategy="no", report_to="none", disable_tqdm=True,
        learning_rate=RATE, lr_scheduler_type="linear", weight_decay=0.0, per_device_train_batch_size=BATCH,
        max_length=LONGEST, **length, **(TUNED if tuned else {}),
    )  # fmt: skip
    adapters = LoraConfig(r=RANK, lora_alpha=ALPHA, target_modules="all-linear", task_type="CAUSAL_LM")
    sft = SFTTrainer(model=str(job.model), args=arguments, train_dataset=Dataset.from_list(pairs), peft_config=adapters)
    started = time.perf_counter()
    sft.train()
    seconds = time.perf_counter() - started
    sft.save_model(str(folder))
    # Behind an answer it reads the line's end, too.
    return Tuned(seconds, int(sft._total_train_tokens) - _conversations(job), folder)


def _conversations(job: Job) -> int:
    """How many a side read."""
    return job.steps * BATCH if job.steps else len(read_conversations(job.train))


def products_per_token(job: Job) -> float:
    """FLOP of products that a token of training needs, with frozen weights, adapters and answers alone scored.

    Of a frozen weight there are two products, of an adapter's three, of a score one forward and one back; attention
    has six of a head's width for each pair of tokens that one of them may see.
    """
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

    config = AutoConfig.from_pretrained(job.model)
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    linear = [each for name, each in model.named_modules() if isinstance(each, torch.nn.Linear) and name != "lm_head"]
    frozen = sum(each.weight.numel() for each in linear)
    adapters = RANK * sum(each.in_features + each.out_features for each in linear)
    tokenizer = AutoTokenizer.from_pretrained(job.model)
    read = scored = pairs = 0
    for chat in read_conversations(job.train):
        whole, asked = whole_and_asked(tokenizer, chat)
        read += len(whole)
        scored += len(whole) - asked
        pairs += len(whole) ** 2 // 2
    attention = 12 * config.num_hidden_layers * config.hidden_size * pairs
    head = scored * 4 * config.vocab_size * config.hidden_size
    return float(read * (4 * frozen + 6 * adapters) + head + attention) / read


def whole_and_asked(tokenizer: Any, chat: list[dict[str, str]]) -> tuple[list[int], int]:
    """The tokens of a conversation to the end of its answer, and how many come before the answer."""
    asked = tokenizer.apply_chat_template(chat[:-1], tokenize=False, add_generation_prompt=True)
    whole = tokenizer.apply_chat_template(chat, tokenize=False).rstrip("\n")
    before, ids = (tokenizer(text, add_special_tokens=False).input_ids for text in (asked, whole))
    return ids, len(before)


def judge(job: Job, result: Path) -> tuple[float, int]:
    """The mean loss in nats of the tokens of all held-out answers, their ends included, and how many they are."""
    import torch
    import torch.nn.functional as F
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    adapters = (result / "adapter_config.json").exists()
    model: Any = AutoModelForCausalLM.from_pretrained(job.model if adapters else result, dtype=torch.float32)
    model = (PeftModel.from_pretrained(model, result).merge_and_unload() if adapters else model).eval()
    tokenizer = AutoTokenizer.from_pretrained(job.model)
    nats, count = 0.0, 0
    for chat in read_conversations(job.held):
        whole, before = whole_and_asked(tokenizer, chat)
        ids = torch.tensor(whole)
        answer = ids[before:]
        with torch.inference_mode():
            hidden = model.model(ids[None]).last_hidden_state[0, before - 1 : -1]
            nats += float(F.cross_entropy(model.lm_head(hidden), answer, reduction="sum"))
        count += len(answer)
    return nats / count, count
