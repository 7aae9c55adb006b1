"""Beam search against transformers' own, on decoders and encoder-decoders with random weights."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from torch import Tensor

from danlu import catalog
from danlu.errors import InputError, RecipeError
from danlu.generate.beam import Beam, Hypothesis
from danlu.nn.hf.folder import load_model
from danlu.nn.transformer import Transformer
from danlu.recipe import build, build_choice

EOT, START, WORDS = 1, 2, 40
DECODERS, BOTH = ("gpt2", "llama"), ("t5", "bart")
SIZES: dict[str, Any] = {"vocab_size": WORDS, "pad_token_id": EOT, "eos_token_id": EOT, "bos_token_id": START}
CONFIGS: dict[str, Callable[[], Any]] = {
    "gpt2": lambda: transformers.GPT2Config(n_embd=24, n_layer=2, n_head=3, n_positions=32, **SIZES),
    "llama": lambda: transformers.LlamaConfig(
        hidden_size=24, num_hidden_layers=2, num_attention_heads=3, num_key_value_heads=1, intermediate_size=32,
        max_position_embeddings=32, **SIZES,
    ),
    "t5": lambda: transformers.T5Config(
        d_model=24, d_kv=8, d_ff=32, num_layers=2, num_heads=3, decoder_start_token_id=START, **SIZES
    ),
    "bart": lambda: transformers.BartConfig(
        d_model=24, encoder_layers=2, decoder_layers=2, encoder_attention_heads=3, decoder_attention_heads=3,
        encoder_ffn_dim=32, decoder_ffn_dim=32, max_position_embeddings=32, decoder_start_token_id=START, **SIZES,
    ),
}  # fmt: skip
CLASSES = {
    "gpt2": transformers.GPT2LMHeadModel,
    "llama": transformers.LlamaForCausalLM,
    "t5": transformers.T5ForConditionalGeneration,
    "bart": transformers.BartForConditionalGeneration,
}
# Of any two of these settings each pair of values occurs once: beams, length penalty, early stopping, n-grams.
GRID = [
    Beam(beams=2, length_penalty=0.5, early_stopping=False, no_repeat_ngram=None),
    Beam(beams=2, length_penalty=1.0, early_stopping=True, no_repeat_ngram=2),
    Beam(beams=2, length_penalty=2.0, early_stopping="never", no_repeat_ngram=3),
    Beam(beams=4, length_penalty=0.5, early_stopping=True, no_repeat_ngram=3),
    Beam(beams=4, length_penalty=1.0, early_stopping="never", no_repeat_ngram=None),
    Beam(beams=4, length_penalty=2.0, early_stopping=False, no_repeat_ngram=2),
    Beam(beams=5, length_penalty=0.5, early_stopping="never", no_repeat_ngram=2),
    Beam(beams=5, length_penalty=1.0, early_stopping=False, no_repeat_ngram=3),
    Beam(beams=5, length_penalty=2.0, early_stopping=True, no_repeat_ngram=None),
]
OTHERS = [
    Beam(beams=3, length_penalty=-1.0),
    Beam(beams=3, length_penalty=-0.2, early_stopping="never"),
    Beam(beams=3, length_penalty=0.0, early_stopping="never"),
    Beam(beams=3, min_tokens=6, early_stopping=True),
    Beam(beams=3, forced_first=7, forced_last=EOT, no_repeat_ngram=2),
    Beam(beams=3, forced_last=9, min_tokens=2),
]
NEW = 12


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Any, Transformer]]:
    """For each family the model of transformers and ours, with the same weights."""
    return {name: make_pair(name, tmp_path_factory.mktemp(name)) for name in CLASSES}


def make_pair(name: str, folder: Path) -> tuple[Any, Transformer]:
    torch.manual_seed(0)
    stock = CLASSES[name](CONFIGS[name]()).eval()
    words = {"t5": 2.0, "bart": 0.5, "gpt2": 0.5, "llama": 0.5}[name]  # T5 divides what its head reads
    with torch.no_grad():
        for key, weight in stock.named_parameters():
            if weight.ndim > 1:
                embedding = key.endswith(("shared.weight", "wte.weight", "embed_tokens.weight", "lm_head.weight"))
                weight.normal_(0.0, words if embedding else 0.3)
                if embedding:
                    weight[EOT] *= (
                        1.5 if name == "gpt2" else 3.0
                    )  # so that it is now the likeliest token and now the least
    stock.generation_config = transformers.GenerationConfig(decoder_start_token_id=START, eos_token_id=EOT)
    stock.save_pretrained(folder)
    return stock, load_model(folder).eval()


def prompts_of(count: int, *, shortest: int, longest: int, seed: int = 0) -> list[list[int]]:
    generator = torch.Generator().manual_seed(seed)
    lengths = torch.randint(shortest, longest + 1, (count,), generator=generator).tolist()
    return [torch.randint(2, WORDS, (length,), generator=generator).tolist() for length in lengths]


def padded(rows: Sequence[Sequence[int]], *, left: bool) -> tuple[torch.Tensor, torch.Tensor]:
    """Tokens and the mask of those that are no padding."""
    longest = max(map(len, rows))
    tokens, mask = torch.full((len(rows), longest), EOT), torch.zeros(len(rows), longest, dtype=torch.long)
    for place, row in enumerate(rows):
        part = slice(longest - len(row), None) if left else slice(len(row))
        tokens[place, part] = torch.tensor(row)
        mask[place, part] = 1
    return tokens, mask


def theirs(
    stock: Any, settings: Beam, tokens: torch.Tensor, mask: torch.Tensor, ends: Sequence[int] = (EOT,)
) -> list[list[Hypothesis]]:
    """What transformers finds: all beams of each prompt, without what fills the rows after their end."""
    config = transformers.GenerationConfig(
        num_beams=settings.beams, num_return_sequences=settings.beams, length_penalty=settings.length_penalty,
        early_stopping=settings.early_stopping, no_repeat_ngram_size=settings.no_repeat_ngram or 0,
        min_new_tokens=settings.min_tokens, max_new_tokens=NEW, forced_bos_token_id=settings.forced_first,
        forced_eos_token_id=settings.forced_last, do_sample=False, eos_token_id=list(ends), pad_token_id=EOT,
        decoder_start_token_id=START, return_dict_in_generate=True, output_scores=True,
    )  # fmt: skip
    found = stock.generate(tokens, attention_mask=mask, generation_config=config)
    start = 1 if stock.config.is_encoder_decoder else tokens.shape[1]
    rows = [cut(row, ends) for row in found.sequences[:, start:].tolist()]
    all_found = [Hypothesis(*each) for each in zip(rows, found.sequences_scores.tolist(), strict=True)]
    return [all_found[place : place + settings.beams] for place in range(0, len(all_found), settings.beams)]


def cut(row: list[int], ends: Sequence[int]) -> list[int]:
    return row[: next((place for place, token in enumerate(row) if token in ends), len(row)) + 1]


def assert_same(ours: list[list[Hypothesis]], wanted: list[list[Hypothesis]]) -> None:
    assert [[each.tokens for each in found] for found in ours] == [[each.tokens for each in found] for found in wanted]
    for found, expected in zip(ours, wanted, strict=True):
        assert [each.score for each in found] == pytest.approx([each.score for each in expected], rel=1e-4, abs=1e-5)


def assert_ends_here_and_there(ours: list[list[Hypothesis]]) -> None:
    """Else the comparison would not see when a search stops."""
    assert len({len(each.tokens) for found in ours for each in found}) >= 3


@pytest.mark.parametrize("name", BOTH)
@pytest.mark.parametrize("settings", [*GRID, *OTHERS], ids=str)
def test_an_encoder_decoder_equals_transformers(
    settings: Beam, name: str, pairs: dict[str, tuple[Any, Transformer]]
) -> None:
    stock, model = pairs[name]
    sources = prompts_of(20, shortest=3, longest=9)
    ours = settings.hypotheses(model, [[START]] * len(sources), eot=EOT, max_tokens=NEW, sources=sources)
    assert_same(ours, theirs(stock, settings, *padded(sources, left=False)))
    assert_ends_here_and_there(ours)


@pytest.mark.parametrize("name", DECODERS)
@pytest.mark.parametrize("settings", [*GRID, *[each for each in OTHERS if each.forced_first is None]], ids=str)
def test_a_decoder_with_ragged_prompts_equals_transformers(
    settings: Beam, name: str, pairs: dict[str, tuple[Any, Transformer]]
) -> None:
    stock, model = pairs[name]
    prompts = prompts_of(20, shortest=2, longest=9)
    ours = settings.hypotheses(model, prompts, eot=EOT, max_tokens=NEW)
    assert_same(ours, theirs(stock, settings, *padded(prompts, left=True)))
    assert_ends_here_and_there(ours)
    assert settings.run(model, prompts, eot=EOT, max_tokens=NEW) == [found[0].tokens for found in ours]


@pytest.mark.parametrize("settings", [GRID[1], GRID[4], OTHERS[2]], ids=str)
def test_several_tokens_may_end_an_answer(settings: Beam, pairs: dict[str, tuple[Any, Transformer]]) -> None:
    stock, model = pairs["llama"]
    prompts, ends = prompts_of(20, shortest=2, longest=9), (EOT, 5, 8)
    ours = settings.hypotheses(model, prompts, eot=ends, max_tokens=NEW)
    assert_same(ours, theirs(stock, settings, *padded(prompts, left=True), ends))
    assert {each.tokens[-1] for found in ours for each in found} >= set(ends)


@pytest.mark.parametrize("name", DECODERS)
def test_one_beam_is_greedy(name: str, pairs: dict[str, tuple[Any, Transformer]]) -> None:
    stock, model = pairs[name]
    prompts = prompts_of(20, shortest=2, longest=9)
    tokens, mask = padded(prompts, left=True)
    config = transformers.GenerationConfig(max_new_tokens=NEW, eos_token_id=EOT, pad_token_id=EOT, do_sample=False)
    greedy = stock.generate(tokens, attention_mask=mask, generation_config=config)[:, tokens.shape[1] :].tolist()
    expected = [cut(row, [EOT]) for row in greedy]
    assert min(map(len, expected)) < NEW
    for each in (Beam(beams=1), Beam(beams=1, length_penalty=2.0, early_stopping="never")):
        assert each.run(model, prompts, eot=EOT, max_tokens=NEW) == expected


def test_what_is_forced_is_there(pairs: dict[str, tuple[Any, Transformer]]) -> None:
    _, model = pairs["gpt2"]
    settings = Beam(beams=3, forced_first=7, forced_last=9)
    for found in settings.hypotheses(model, prompts_of(6, shortest=2, longest=9), eot=EOT, max_tokens=5):
        for each in found:
            assert each.tokens[0] == 7
            assert each.tokens[-1] == (9 if len(each.tokens) == 5 else EOT)


@pytest.mark.parametrize("name", ["llama", "t5"])
def test_an_answer_does_not_depend_on_the_others(name: str, pairs: dict[str, tuple[Any, Transformer]]) -> None:
    _, model = pairs[name]
    settings = Beam(beams=3, no_repeat_ngram=1)
    prompts = prompts_of(30, shortest=1, longest=28)  # with the longest, the model cannot see all that may be written
    sources = prompts_of(30, shortest=3, longest=9, seed=1) if name == "t5" else None
    together = settings.hypotheses(model, prompts, eot=EOT, max_tokens=NEW, sources=sources)
    for place, prompt in enumerate(prompts):
        own = [sources[place]] if sources is not None else None
        alone = settings.hypotheses(model, [prompt], eot=EOT, max_tokens=NEW, sources=own)
        assert_same([together[place]], alone)
    longest = max(len(each.tokens) + len(prompts[place]) for place, found in enumerate(together) for each in found)
    assert longest == 33 if name == "llama" else longest > 33  # Llama sees 32 tokens and need not read the last


def test_a_model_may_have_rows_that_are_no_tokens(pairs: dict[str, tuple[Any, Transformer]]) -> None:
    _, model = pairs["llama"]
    prompts = [[5, 6], [7], [8, 9, 3]]
    found = Beam(beams=4).hypotheses(model, prompts, eot=EOT, max_tokens=NEW, vocab_size=10)
    assert {token for each in found for hypothesis in each for token in hypothesis.tokens} <= set(range(10))
    for prompt, each in zip(prompts, found, strict=True):
        total = sum_of_log_probabilities(model, prompt, each[0].tokens, words=10)
        assert each[0].score * len(each[0].tokens) == pytest.approx(total, rel=1e-4)


@torch.no_grad()
def sum_of_log_probabilities(model: Transformer, prompt: list[int], answer: list[int], *, words: int) -> float:
    logits = model.head(model(torch.tensor([[*prompt, *answer]])))[0, :, :words].double()
    places = range(len(prompt) - 1, len(prompt) + len(answer) - 1)
    return sum(float(logits[place].log_softmax(-1)[token]) for place, token in zip(places, answer, strict=True))


def test_where_the_rules_leave_nothing_the_answer_ends(pairs: dict[str, tuple[Any, Transformer]]) -> None:
    _, model = pairs["gpt2"]
    settings = Beam(beams=3, no_repeat_ngram=1, min_tokens=50)  # five words, none twice, and no end
    (found,) = settings.hypotheses(model, [[2]], eot=EOT, max_tokens=NEW, vocab_size=5)
    assert {tuple(sorted(each.tokens)) for each in found} == {(0, 3, 4)}
    assert len(found) == 3
    (none_left,) = settings.hypotheses(model, [[0, 2, 3, 4]], eot=EOT, max_tokens=NEW, vocab_size=5)
    assert [each.tokens for each in none_left] == [[]]


def test_a_prompt_without_room_is_told(pairs: dict[str, tuple[Any, Transformer]]) -> None:
    _, model = pairs["gpt2"]
    prompts = [[3], [4] * 32]
    assert [len(answer) for answer in Beam(min_tokens=50).run(model, prompts, eot=EOT, max_tokens=NEW)] == [NEW, 1]
    message = r"^prompt 2 has 33 tokens and leaves no room for an answer: the model sees at most 32$"
    with pytest.raises(InputError, match=message):
        Beam().run(model, [[3], [4] * 33], eot=EOT, max_tokens=NEW)


def test_a_forced_token_that_is_none_is_told(pairs: dict[str, tuple[Any, Transformer]]) -> None:
    _, model = pairs["gpt2"]
    with pytest.raises(RecipeError, match=r"^forced_last must be a token of the model, below 40; got 40$"):
        Beam(forced_last=40).run(model, [[3]], eot=EOT, max_tokens=NEW)


def test_a_recipe_says_it() -> None:
    choice = build_choice("search", {"use": "beam", "beams": 5, "early_stopping": "never"}, key="search")
    assert choice == Beam(beams=5, early_stopping="never")
    assert build_choice("search", choice.to_recipe(), key="search") == choice
    assert catalog.names("search")[0] == choice.to_recipe()["use"] == "beam"
    with pytest.raises(RecipeError, match=r"search\.early_stopping must be true or false or 'never'; got 'often'"):
        build(Beam, {"early_stopping": "often"}, key="search")
    with pytest.raises(RecipeError, match=r"search\.beams must be at least 1; got 0"):
        build(Beam, {"beams": 0}, key="search")
    with pytest.raises(RecipeError, match=r"search\.length_penalty must be at most 10.0; got 1000"):
        build(Beam, {"length_penalty": 1000}, key="search")  # 2 to the power of it is no float


def test_sources_are_encoded_by_groups(
    pairs: dict[str, tuple[Any, Transformer]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that memory does not grow with how many there are; what is found is what each finds alone."""
    _, model = pairs["t5"]
    rows: list[int] = []
    encode = Transformer.encode

    def counted(self: Transformer, tokens_BS: Tensor, **others: Any) -> Any:
        rows.append(len(tokens_BS))
        return encode(self, tokens_BS, **others)

    monkeypatch.setattr(Transformer, "encode", counted)
    sources = prompts_of(70, shortest=3, longest=9)
    settings = Beam(beams=4)
    found = settings.hypotheses(model, [[START]] * 70, eot=EOT, max_tokens=NEW, sources=sources)
    assert rows == [16, 16, 16, 16, 6]
    for source, mine in zip(sources, found, strict=True):
        assert_same([mine], settings.hypotheses(model, [[START]], eot=EOT, max_tokens=NEW, sources=[source]))


def test_a_source_that_is_too_long_is_seen_before_anything_is_read(
    pairs: dict[str, tuple[Any, Transformer]], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, model = pairs["bart"]
    monkeypatch.setattr(Transformer, "encode", lambda *_, **__: pytest.fail("something was read"))
    most = model.config.max_length
    sources = [*prompts_of(40, shortest=3, longest=9), [5] * (most + 1)]
    with pytest.raises(InputError, match=f"source text 41 has {most + 1} tokens: the model sees at most {most}"):
        Beam().run(model, [[START]] * 41, eot=EOT, max_tokens=NEW, sources=sources)
