"""``config.json``: what is said of a value that is wrong, and that no value does harm."""

from __future__ import annotations

import dataclasses
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from danlu.errors import CheckpointError, DanluError, InputError
from danlu.nn.config import TransformerConfig
from danlu.nn.hf.config_file import ConfigFile
from danlu.nn.hf.folder import load_config, load_model, save_model
from danlu.nn.patterns import Full, Window
from danlu.nn.transformer import Transformer
from danlu.verify import decoders, encoders, theirs
from danlu.verify.case import Case

MakeModel = Callable[..., Transformer]
ModelFolder = Any
"""What the fixture of this name gives."""
FAMILIES = {
    **{family: Case(family, decoders.WORDS.get(family, f"{stem}ForCausalLM"), settings)
       for family, (stem, settings) in decoders.PLAIN.items()},
    **{family: Case(family, model, settings) for family, (model, settings) in encoders.PLAIN.items()},
}  # fmt: skip
READ_ALIKE = {"mistral", "qwen2", "mt5", "t5-v1.1"}
"""Families whose keys are all read by code that others use too."""
SECONDS = 2.0
"""No load of so small a folder takes longer."""


@pytest.fixture
def folder(tmp_path: Path, make_model: MakeModel, model_folder: Any) -> ModelFolder:
    """A nanochat."""
    save_model(make_model(), tmp_path / "model")
    return model_folder(tmp_path / "model")


BAD: list[tuple[dict[str, Any], str]] = [
    ({"model_type": "nanochatt"}, "unknown model_type 'nanochatt'; did you mean 'nanochat'? (choices: bart, bert, "),
    ({"model_type": "lama"}, "unknown model_type 'lama'; did you mean 'llama'?"),
    ({"model_type": "absent"}, "unknown model_type None"),
    ({"model_type": ["llama"]}, "unknown model_type ['llama']"),
    ({"model_type": "m", "auto_map": {"AutoModel": "m.M"}}, "its auto_map names code of the folder's own"),
    ({"architectures": ["NanoChatForQuestionAnswering"]}, 'architectures must be a Model or a class ForCausalLM, '),
    ({"architectures": [7]}, "architectures must be a list of names; got [7]"),
    ({"hidden_size": "absent"}, "hidden_size is missing"),
    ({"hidden_size": "36"}, 'hidden_size must be a whole number above 0; got "36"'),
    ({"hidden_size": 2**31}, "hidden_size must be at most 2147483647; got 2147483648"),
    ({"num_hidden_layers": -3}, "num_hidden_layers must be a whole number above 0; got -3"),
    ({"num_hidden_layers": 10**9}, "num_hidden_layers must be at most 4096; got 1000000000"),
    ({"rms_norm_eps": 0}, "rms_norm_eps must be a number above 0; got 0"),
    ({"rms_norm_eps": float("nan")}, "rms_norm_eps must be a number above 0; got NaN"),
    ({"rms_norm_eps": float("inf")}, "rms_norm_eps must be a number above 0; got Infinity"),
    ({"rms_norm_eps": 10**400}, "rms_norm_eps must be a number above 0; got 1000000000"),
    ({"tie_word_embeddings": "no"}, "tie_word_embeddings must be true or false"),
    ({"num_key_value_heads": 4}, "kv_heads must divide heads (6); got 4"),
    ({"head_dim": 7}, "head_dim must be even for rotary positions; got 7"),
    ({"hidden_act": "quick_gelu"}, 'hidden_act must be "relu" or "relu2" or "gelu" or "gelu_new"'),
    ({"hidden_act": ["gelu"]}, "hidden_act must be"),
    ({"rope_parameters": {"rope_type": "longrope"}}, 'rope_type must be "default" or "linear" or "dynamic" or "yarn"'),
    ({"rope_parameters": {"rope_type": {}}}, "rope_type must be"),
    ({"rope_parameters": {"rope_type": "linear", "factor": -1}}, "factor must be a number above 0; got -1"),
    ({"rope_parameters": {"rope_type": "llama3", "factor": 2}}, "high_freq_factor is missing"),
    ({"rope_parameters": {"rope_type": "yarn", "factor": 2, "rope_theta": 1.0}}, "rope_theta must be above 1; got 1.0"),
    ({"rope_parameters": {"rope_type": "dynamic", "factor": 2}, "head_dim": 2}, "head_dim must be above 2 where"),
    ({"rope_parameters": {"partial_rotary_factor": 0.5}}, "partial_rotary_factor must be 1.0; got 0.5"),
    ({"rope_parameters": [1]}, "rope_parameters must be a mapping; got [1]"),
    ({"quantization_config": {"quant_method": "gptq", "bits": 4}}, "got quant_method 'gptq', which is not read: take"),
    ({"quantization_config": {"quant_method": "fp8"}}, "quantization_config must be null; got quant_method 'fp8'"),
    ({"quantization_config": {"load_in_8bit": True}}, "got quant_method 'bitsandbytes'"),
    ({"quantization_config": {}}, "got quant_method {}"),
    ({"quantization_config": {"quant_method": "x" * 10_000}}, "got quant_method 'xxxx"),
    ({"attention_dropout": 1}, "attention_dropout must be a number from 0 to below 1"),
]  # fmt: skip


@pytest.mark.parametrize(("values", "words"), BAD, ids=[words[:60] for _, words in BAD])
def test_says_in_one_line_what_is_wrong(values: dict[str, Any], words: str, folder: ModelFolder) -> None:
    folder.set(**values)
    line = folder.refused()
    assert line.startswith(f"{folder.config}: ") and words in line
    assert len(line) < 500


NONE: dict[str, tuple[bytes, str]] = {
    "cut off": (b'{"model_type":', "is damaged"),
    "empty": (b"", "is damaged"),
    "a list": (b"[]", "must hold a JSON object; got list"),
    "no UTF-8": (b'{"model_type": "\xff"}', "is damaged"),
    "deep lists": (b"[" * 100_000, "is damaged: it is nested too deeply"),
    "deep objects": (b'{"a":' * 100_000, "is damaged: it is nested too deeply"),
    "a number without end": (b'{"a": ' + b"9" * 100_000 + b"}", "is damaged"),
}


@pytest.mark.parametrize("what", NONE)
def test_says_in_one_line_that_a_config_is_none(what: str, folder: ModelFolder) -> None:
    text, words = NONE[what]
    folder.config.write_bytes(text)
    assert folder.refused().startswith(f"{folder.config} {words}")


def test_a_value_may_be_nested_as_deeply_as_json_allows(folder: ModelFolder) -> None:
    """There are depths that Python reads and cannot write again."""
    good = folder.config.read_text()
    said = set()
    limit = sys.getrecursionlimit()  # which other tests' libraries may have raised
    for depth in range(limit - 300, limit, 2):
        folder.config.write_text(good.replace('"relu2"', "[" * depth + "]" * depth))
        said.add(folder.refused().partition("config.json")[2][:18])
    assert said == {": hidden_act must ", " is damaged: it is"}


@pytest.mark.parametrize("place", ["missing", "file"])
def test_a_folder_without_a_model_is_bad_input(place: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"no model in .*: config\.json is missing"):
        load_model(tmp_path / place)


def test_a_config_that_is_a_folder_is_bad_input(folder: ModelFolder) -> None:
    folder.config.unlink()
    folder.config.mkdir()
    assert "config.json cannot be read: Is a directory" in folder.refused()


@pytest.mark.parametrize("values", [{"auto_map": {"AutoModelForCausalLM": "modeling_mine.Mine"}}, {}])
def test_code_in_a_folder_is_never_run(values: dict[str, Any], folder: ModelFolder, tmp_path: Path) -> None:
    code = f"from pathlib import Path\nPath({str(tmp_path / 'ran')!r}).write_text('')\nclass Mine: ...\n"
    for name in ("modeling_mine.py", "configuration_mine.py", "__init__.py", "torch.py", "config.py"):
        (folder.path / name).write_text(code)
    folder.set(**values)
    expected = load_config(folder.path)
    folder.set(auto_map="absent")
    assert load_config(folder.path) == expected
    load_model(folder.path)
    folder.set(model_type="mine", architectures=["Mine"], **values)
    assert "unknown model_type 'mine'" in folder.refused()
    assert not (tmp_path / "ran").exists()


HOSTILE: list[Any] = [
    None, True, -1, 0, 2**31 - 1, 10**30, 1e300, float("nan"), "x", [[]], {"x": 1},
    {"rope_type": "dynamic", "factor": 1e30},
]  # fmt: skip
"""Each stands in place of each value."""


def assert_harmless(folder: ModelFolder, what: object) -> bool:
    """The folder loads, or is refused in one line; and soon. Whether it is refused."""
    began = time.perf_counter()
    try:
        load_model(folder.path)
        refused = False
    except DanluError as error:
        refused = True
        assert "\n" not in str(error) and str(folder.path) in str(error), what
    except Exception as error:
        raise AssertionError(f"{what}") from error
    assert time.perf_counter() - began < SECONDS, what
    return refused


@pytest.mark.parametrize("family", sorted(set(FAMILIES) - READ_ALIKE))
def test_no_value_of_any_key_does_harm(
    family: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model_folder: Any
) -> None:
    case = FAMILIES[family]
    one_layer = {key: 1 for key in case.settings if key.endswith(("layers", "n_layer"))}
    case = dataclasses.replace(case, settings={**case.settings, **one_layer})
    theirs.save(case, theirs.make_model(case), tmp_path)
    asked: dict[str, None] = {}
    get = ConfigFile.get

    def listen(file: ConfigFile, key: str, default: Any = None) -> Any:
        asked[key] = None
        return get(file, key, default)

    monkeypatch.setattr(ConfigFile, "get", listen)
    load_model(tmp_path)
    monkeypatch.undo()
    folder = model_folder(tmp_path)
    good = json.loads(folder.config.read_text())
    refused = 0
    for key in asked:
        for value in HOSTILE:
            folder.config.write_text(json.dumps({**good, key: value}))
            refused += assert_harmless(folder, (key, value))
    assert refused > 3 * len(asked)


ROPE: list[dict[str, Any]] = [decoders.YARN, decoders.LLAMA3, decoders.ROTARY["linear scaling"]["rope_parameters"]]


@pytest.mark.parametrize("rope", [*ROPE, {"rope_type": "dynamic", "factor": 2.0}], ids=lambda rope: rope["rope_type"])
def test_no_value_of_any_key_of_rotary_positions_does_harm(
    rope: dict[str, Any], tmp_path: Path, make_model: MakeModel, model_folder: Any
) -> None:
    save_model(make_model("llama", layers=1), tmp_path)
    folder = model_folder(tmp_path)
    more = ("attention_factor", "beta_fast", "truncate", "mscale", "mscale_all_dim") if rope == decoders.YARN else ()
    keys = (*rope, "rope_theta", *more)
    for key in keys:
        for value in HOSTILE:
            folder.set(rope_parameters={**rope, key: value})
            assert_harmless(folder, (key, value))
    folder.set(rope_parameters={**rope, "mscale": 1e30, "mscale_all_dim": 1e-30})
    assert_harmless(folder, "scales")


@pytest.mark.parametrize("theta", [None, 800.0])
@pytest.mark.parametrize("scaling", [decoders.YARN, {"type": "linear", "factor": 3.0}, {}], ids=str)
@torch.no_grad()
def test_a_scaling_that_is_added_by_hand_counts_as_in_transformers(
    scaling: dict[str, Any], theta: float | None, tmp_path: Path, make_model: MakeModel, model_folder: Any
) -> None:
    save_model(make_model("llama"), tmp_path)
    added = {key: value for key, value in scaling.items() if key != "rope_theta"}
    model_folder(tmp_path).set(
        rope_parameters={"rope_type": "default", "rope_theta": 500.0}, rope_scaling=added or None,
        rope_theta="absent" if theta is None else theta,
    )  # fmt: skip
    stock = transformers.AutoModelForCausalLM.from_pretrained(tmp_path)
    model = load_model(tmp_path)
    tokens = torch.randint(0, 97, (2, 33))
    torch.testing.assert_close(model.head(model(tokens)), stock(tokens).logits, rtol=1e-5, atol=1e-5)


OF_FAMILIES: list[tuple[str, dict[str, Any], str]] = [
    ("gpt2", {"n_head": 5}, "n_head must be a divisor of n_embd (36); got 5"),
    ("gpt2", {"add_cross_attention": True}, "add_cross_attention must be false; got true"),
    ("qwen3_moe", {"mlp_only_layers": 3}, "mlp_only_layers must be a list of numbers of layers; got 3"),
    ("qwen3_moe", {"num_experts_per_tok": 6}, "per_token must be between 1 and the number of experts (5); got 6"),
    ("bert", {"num_attention_heads": 5}, "num_attention_heads must be a divisor of hidden_size (36); got 5"),
    ("bert", {"is_decoder": True}, "is_decoder must be false; got true"),
    ("bert", {"position_embedding_type": "relative_key"}, 'position_embedding_type must be "absolute"'),
    ("roberta", {"max_position_embeddings": 2}, "max_position_embeddings must be above pad_token_id + 1 (2); got 2"),
    ("modernbert", {"rope_parameters": {"rope_theta": 1.0}}, "rope_parameters must be a mapping of full_attention and"),
    ("modernbert", {"classifier_pooling": "max"}, 'classifier_pooling must be "cls" or "mean"; got "max"'),
    ("t5", {"relative_attention_num_buckets": 3}, "relative_attention_num_buckets must be at least 4; got 3"),
    (
        "t5",
        {"relative_attention_max_distance": 5},
        "relative_attention_max_distance must be above half of the buckets (5)",
    ),
    ("t5", {"feed_forward_proj": "gated-mish"}, 'feed_forward_proj must be "relu" or'),
    ("bart", {"decoder_attention_heads": 5}, "decoder_attention_heads must be a divisor of d_model (36); got 5"),
]


@pytest.mark.parametrize(("family", "values", "words"), OF_FAMILIES, ids=[words[:50] for _, _, words in OF_FAMILIES])
def test_says_in_one_line_what_a_family_does_not_build(
    family: str, values: dict[str, Any], words: str, tmp_path: Path, model_folder: Any
) -> None:
    case = FAMILIES[family]
    theirs.save(case, theirs.make_model(case), tmp_path)
    folder = model_folder(tmp_path)
    folder.set(**values)
    assert words in folder.refused()


@pytest.mark.parametrize("values", [{"num_experts": 4096, "num_hidden_layers": 4096}, {"num_experts": 10**9}])
def test_experts_without_number_are_refused(values: dict[str, int], tmp_path: Path, model_folder: Any) -> None:
    case = FAMILIES["qwen3_moe"]
    theirs.save(case, theirs.make_model(case), tmp_path)
    folder = model_folder(tmp_path)
    folder.set(**values)
    assert "num_experts must be at most" in folder.refused()


def config_of(folder: ModelFolder, **values: Any) -> TransformerConfig:
    folder.set(**values)
    return load_config(folder.path)


def test_reads_the_older_form_of_rotary_settings(folder: ModelFolder) -> None:
    old = config_of(folder, rope_parameters="absent", rope_theta=54321.0, rope_scaling=None)
    new = config_of(folder, rope_parameters={"rope_type": "default", "rope_theta": 54321.0}, rope_theta="absent")
    assert old == new
    old = config_of(
        folder, rope_parameters="absent", rope_theta=54321.0, rope_scaling={"type": "linear", "factor": 2.0}
    )
    new = config_of(
        folder, rope_parameters={"rope_type": "linear", "rope_theta": 54321.0, "factor": 2.0}, rope_scaling="absent"
    )
    assert old == new and old != config_of(folder, rope_parameters="absent")


def test_what_is_missing_is_what_transformers_takes_for_it(folder: ModelFolder) -> None:
    """Key-value heads of Mistral: eight where nothing is said, as many as there are query heads where null is said."""
    folder.set(model_type="mistral", architectures="absent", num_attention_heads=16)
    assert config_of(folder, num_key_value_heads="absent").stack.layers[0].attention.kv_heads == 8
    assert config_of(folder, num_key_value_heads=None).stack.layers[0].attention.kv_heads == 16
    with pytest.raises(CheckpointError, match="sliding_window must be a whole number above 0; got 0"):
        config_of(folder, sliding_window=0)


def test_windows_of_older_qwen_files(folder: ModelFolder) -> None:
    """Their size stands there even where they are not used; no layer has a type."""
    folder.set(model_type="qwen2", architectures="absent", sliding_window=7, max_window_layers=1)

    def seen(**values: Any) -> list[Any]:
        return [layer.attention.pattern for layer in config_of(folder, **values).stack.layers]

    assert seen() == seen(use_sliding_window=False) == [Full(), Full(), Full()]
    assert seen(use_sliding_window=True) == [Full(), Window(6), Window(6)]
    assert seen(sliding_window="absent") == [Full(), Window(4095), Window(4095)]
    assert seen(sliding_window=None) == [Full(), Full(), Full()]
    kinds = ["sliding_attention", "full_attention", "full_attention"]
    assert seen(sliding_window=7, layer_types=kinds) == [Window(6), Full(), Full()]
    with pytest.raises(CheckpointError, match="layer_types must be 3 times full_attention or sliding_attention; got "):
        config_of(folder, layer_types=kinds[:2])


def test_llama3_frequencies_must_be_in_order() -> None:
    rope = {"rope_type": "llama3", "rope_theta": 1e4, "factor": 2.0, "low_freq_factor": 4.0, "high_freq_factor": 4.0}
    file = ConfigFile(Path("config.json"), {"rope_parameters": rope, "max_position_embeddings": 64})
    with pytest.raises(CheckpointError, match=r"high_freq_factor must be above low_freq_factor \(4\.0\); got 4\.0"):
        file.rope()
