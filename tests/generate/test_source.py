"""A model folder that no recipe has made: what it writes, and by whose settings, beside transformers."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from danlu import cli
from danlu.errors import CheckpointError, InputError, RecipeError
from danlu.generate.beam import Beam
from danlu.generate.contrastive import Contrastive
from danlu.generate.engine import load
from danlu.generate.penalties import History
from danlu.generate.sampling import Sampling, distribution
from danlu.generate.source import of_folder

PROMPT = "Once upon"


def theirs(folder: Path, prompt: str, **settings: Any) -> str:
    """What transformers writes; a source text ends with the end-of-text token."""
    whole = json.loads((folder / "config.json").read_text())
    kind = transformers.AutoModelForSeq2SeqLM if whole.get("is_encoder_decoder") else transformers.AutoModelForCausalLM
    model = kind.from_pretrained(folder).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    ids = tokenizer(prompt).input_ids
    if whole.get("is_encoder_decoder"):
        ids, skip = [*ids, tokenizer.eos_token_id], 1
    else:
        skip = len(ids)
    answer = model.generate(torch.tensor([ids]), pad_token_id=0, **settings)[0, skip:]
    return str(tokenizer.decode(answer, skip_special_tokens=True))


def ours(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    capsys.readouterr()
    assert cli.main(["generate", *arguments]) == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("prompt", [PROMPT, "从前有座山"])
def test_a_decoder_goes_on_as_in_transformers(decoder: Path, prompt: str, capsys: pytest.CaptureFixture[str]) -> None:
    written = ours(capsys, str(decoder), "--prompt", prompt, "temperature=0", "max_tokens=12")
    assert written == theirs(decoder, prompt, do_sample=False, max_new_tokens=12) + "\n"
    assert len(written) > 5


def test_a_model_with_an_encoder_answers_as_in_transformers(answerer: Path, capsys: pytest.CaptureFixture[str]) -> None:
    written = ours(capsys, str(answerer), "--prompt", PROMPT, "max_tokens=12")
    assert written == theirs(answerer, PROMPT, do_sample=False, max_new_tokens=12) + "\n"
    assert ours(capsys, str(answerer), "--prompt", "To be", "max_tokens=12") != written


def test_the_seed_and_the_settings_are_those_of_the_overrides(
    decoder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def drawn(*overrides: str) -> str:
        return ours(capsys, str(decoder), "--prompt", PROMPT, "max_tokens=12", *overrides)

    assert drawn("seed=1") == drawn() != drawn("seed=2")
    assert drawn("temperature=0", "seed=1") == drawn("temperature=0", "seed=2") != drawn("seed=2")
    assert drawn("top_k=1") == drawn("temperature=0")


def test_the_conversation_goes_on(
    decoder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("Once upon\n/reset\nOnce upon\n"))
    out = ours(capsys, str(decoder), "--chat", "temperature=0", "max_tokens=5")
    assert out == 2 * (theirs(decoder, PROMPT, do_sample=False, max_new_tokens=5) + "\n")


@torch.no_grad()
@pytest.mark.parametrize(
    "file",
    [
        {"do_sample": True},
        {"do_sample": True, "temperature": 0.6, "top_p": 0.9, "top_k": 0},
        {"do_sample": True, "temperature": 1.7, "top_k": 7, "repetition_penalty": 1.3},
        {"do_sample": True, "min_p": 0.05, "typical_p": 0.8, "no_repeat_ngram_size": 2},
        {"do_sample": False, "repetition_penalty": 1.5},
    ],
)
def test_the_folder_says_how_tokens_are_drawn_as_in_transformers(decoder: Path, file: dict[str, Any]) -> None:
    """The distribution of the next token, from its logits."""
    path = decoder / "generation_config.json"
    path.write_text(json.dumps({"eos_token_id": 0, "bos_token_id": 0, "pad_token_id": 0, "max_new_tokens": 1, **file}))
    model = transformers.AutoModelForCausalLM.from_pretrained(decoder).eval()
    tokens_BT = torch.tensor([[40, 41, 40, 77, 40]])
    out = model.generate(tokens_BT, output_scores=True, output_logits=True, return_dict_in_generate=True)
    settings = of_folder(decoder, []).settings
    vocab_size = out.logits[0].shape[-1]
    logits_NV = History(tokens_BT.tolist(), settings, vocab_size=vocab_size).penalise(out.logits[0].clone())
    expected_NV = out.scores[0].double().softmax(-1)
    if not file["do_sample"]:
        expected_NV = torch.nn.functional.one_hot(expected_NV.argmax(-1), vocab_size).double()
    torch.testing.assert_close(distribution(logits_NV, settings), expected_NV, rtol=1e-5, atol=1e-7)
    assert settings.max_tokens == 1


def test_overrides_come_first_then_the_folder_then_our_own(decoder: Path, answerer: Path) -> None:
    usual = Sampling()
    assert of_folder(decoder, []).settings == usual
    assert of_folder(answerer, []).settings == usual.model_copy(update={"temperature": 0.0})
    (decoder / "generation_config.json").write_text(json.dumps({"top_p": 0.5, "max_new_tokens": 9}))
    assert of_folder(decoder, []).settings == usual.model_copy(update={"top_p": 0.5, "max_tokens": 9})
    overrides = ["top_p=0.7", "temperature=1.5", "seed=8"]
    folder, settings, seed, *_ = of_folder(decoder, overrides)
    assert (settings.top_p, settings.temperature, settings.max_tokens, seed, folder) == (0.7, 1.5, 9, 8, decoder)


def test_many_prompts_at_once(decoder: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    prompts = [f"To be {'or ' * (place % 5)}not" for place in range(40)]
    (tmp_path / "p.txt").write_text("".join(f"{prompt}\r\n" for prompt in prompts))
    (tmp_path / "p.jsonl").write_text("".join(json.dumps({"prompt": prompt, "id": 7}) + "\n" for prompt in prompts))
    written = []
    for ending in ("txt", "jsonl"):
        out = tmp_path / f"{ending}.jsonl"
        arguments = ["--prompts", str(tmp_path / f"p.{ending}"), "--out", str(out), "max_tokens=6", "seed=3"]
        shown = ours(capsys, str(decoder), *arguments)
        assert "generate 40/40 prompts" in shown and shown.endswith(f"{out}: written\n")
        written.append([json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()])
    assert written[0] == written[1]
    assert [row["prompt"] for row in written[0]] == prompts
    for place in (0, 38):
        row = written[0][place]
        assert row["seed"] == 3 + place and row["tokens"] <= 6 and row["end"] in ("max_tokens", "end_of_text")
        alone = ours(capsys, str(decoder), "--prompt", prompts[place], "max_tokens=6", f"seed={3 + place}")
        assert alone == row["text"] + "\n"


def test_a_recipe_answers_many_prompts_too(run_dir: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    recipe = tmp_path / "r.yaml"
    recipe.write_text(json.dumps({"run_dir": str(run_dir), "generate": {"sampling": {"max_tokens": 4}, "seed": 6}}))
    (tmp_path / "p.txt").write_text("To be\n")
    ours(capsys, str(recipe), "--prompts", str(tmp_path / "p.txt"), "--out", str(tmp_path / "a.jsonl"))
    (row,) = [json.loads(line) for line in (tmp_path / "a.jsonl").read_text(encoding="utf-8").splitlines()]
    assert ours(capsys, str(recipe), "--prompt", "To be") == row["text"] + "\n"
    assert row["seed"] == 6


def test_a_file_that_cannot_be_read_is_told_in_a_line(decoder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = decoder / "generation_config.json"
    path.unlink(missing_ok=True)
    path.mkdir()
    assert cli.main(["generate", str(decoder), "--prompt", PROMPT]) == 2
    assert f"{path} cannot be read: Is a directory" in capsys.readouterr().err
    with pytest.raises(InputError, match=r"generation_config\.json cannot be read: Is a directory"):
        load(decoder)


@pytest.mark.parametrize(
    ("file", "told"),
    [
        ({"top_k": 5, "eos_token_id": 0, "max_length": 20, "suppress_tokens": [], "length_penalty": 1.0}, None),
        ({"min_length": 3, "temperature": 0.5}, "what counts for nothing here: min_length"),
        ({"suppress_tokens": [3], "min_length": 5, "max_length": 60, "num_beam_groups": 2},
         "what counts for nothing here: num_beam_groups, max_length, min_length, suppress_tokens"),
    ],
)  # fmt: skip
def test_what_the_folder_asks_for_and_does_not_get_is_told(
    file: dict[str, Any], told: str | None, decoder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = decoder / "generation_config.json"
    path.write_text(json.dumps(file))
    assert cli.main(["generate", str(decoder), "--prompt", PROMPT, "max_tokens=2"]) == 0
    assert capsys.readouterr().err == ("" if told is None else f"{path}: {told}\n")


BEAMS = {"num_beams": 3, "length_penalty": 0.4, "early_stopping": True, "no_repeat_ngram_size": 2}


@pytest.mark.parametrize("file", [BEAMS, {"num_beams": 4, "max_new_tokens": 10}])
def test_a_folder_that_asks_for_beams_is_searched_as_by_transformers(
    file: dict[str, Any], decoder: Path, answerer: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    prompts = [PROMPT, "To be", "从前有座山", "a", "the mind", "话说"]
    (tmp_path / "p.txt").write_text("".join(f"{prompt}\n" for prompt in prompts))
    for folder in (decoder, answerer):
        ids = {"eos_token_id": 0, "bos_token_id": 0, "pad_token_id": 0, "decoder_start_token_id": 0}
        (folder / "generation_config.json").write_text(json.dumps({"max_new_tokens": 12, **ids, **file}))
        out, drawn = tmp_path / f"{folder.name}.jsonl", tmp_path / f"{folder.name}_drawn.jsonl"
        arguments = [str(folder), "--prompts", str(tmp_path / "p.txt"), "precision=fp32", "--out"]
        ours(capsys, *arguments, str(out))
        ours(capsys, *arguments, str(drawn), "temperature=0")
        found, likeliest = (
            [json.loads(line)["text"] for line in path.read_text(encoding="utf-8").splitlines()]
            for path in (out, drawn)
        )
        assert found == [theirs(folder, prompt) for prompt in prompts]
        assert ours(capsys, str(folder), "--prompt", PROMPT, "precision=fp32") == found[0] + "\n"
        assert folder is answerer or found != likeliest


def test_overrides_say_which_search(decoder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = [str(decoder), "--prompt", PROMPT, "max_tokens=12", "precision=fp32", "search=beam", "search.beams=3"]
    found = ours(capsys, *arguments, "search.length_penalty=0.4")
    assert found == theirs(decoder, PROMPT, num_beams=3, length_penalty=0.4, max_new_tokens=12, do_sample=False) + "\n"
    path = decoder / "generation_config.json"
    path.write_text(json.dumps({**BEAMS, "repetition_penalty": 1.2}))
    source = of_folder(decoder, [])
    assert source.search == Beam(beams=3, length_penalty=0.4, early_stopping=True, no_repeat_ngram=2)
    assert source.unused == ("repetition_penalty",) and source.settings == Sampling()
    assert of_folder(decoder, ["search=contrastive"]).search == Contrastive()
    for override in ("search=null", "temperature=0.5", "top_k=3"):
        drawn = of_folder(decoder, [override])
        assert drawn.search is None and drawn.unused == ("num_beams", "length_penalty", "early_stopping")
        assert drawn.settings.no_repeat_ngram == 2
    with pytest.raises(RecipeError, match=r"a search draws nothing and minds no sampling\.top_k"):
        of_folder(decoder, ["search=beam", "top_k=3"])
    path.write_text('{"num_beams": "many"}')
    with pytest.raises(CheckpointError, match=r"generation_config\.json: beams must be"):
        of_folder(decoder, [])


def test_a_search_at_the_terminal_refuses_what_it_would_leave_out(
    decoder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("/set top_k=3\n/set max_tokens=4\nOnce upon\n"))
    out = ours(capsys, str(decoder), "--chat", "search=beam", "search.beams=2", "precision=fp32")
    assert "a search draws nothing and minds no sampling.top_k" in out
    assert out.endswith("\n" + theirs(decoder, PROMPT, num_beams=2, do_sample=False, max_new_tokens=4) + "\n")
