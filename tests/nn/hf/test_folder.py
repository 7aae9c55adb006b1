"""Folders: what comes back, under which names tensors are found, what is said of copies that differ.

That every family gives what transformers gives is tested in tests/parity/.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file
from torch import Tensor

from danlu.nn.config import Embedding, Head, Labels
from danlu.nn.hf.folder import load_config, load_model, save_model, stored_dtype
from danlu.nn.transformer import Transformer
from danlu.tokenizers.bpe import BPE
from danlu.verify import models, ours, theirs
from danlu.verify.case import Case, make_rows
from danlu.verify.models import CASES

MakeModel = Callable[..., Transformer]
ModelFolder = Any
"""What the fixture ``model_folder`` gives."""

OURS: list[tuple[str, dict[str, Any]]] = [
    ("nanochat", {}),
    ("nanochat", {"softcap": None, "kv_heads": 6}),
    ("llama", {}),
    ("llama", {"tied": True, "kv_heads": 1}),
    ("qwen3", {}),
    ("qwen3", {"tied": True}),
]


def find(model: str, name: str = "plain", family: str | None = None) -> Case:
    """A case of ``danlu verify models``."""
    return next(c for c in CASES if (c.model, c.name) == (model, name) and family in (None, c.family))


def logits(model: Transformer, case: Case, stock: Any) -> dict[str, Tensor]:
    return ours.alone(model, make_rows(case, stock.config))


@pytest.mark.parametrize(("family", "fields"), OURS, ids=str)
def test_what_a_recipe_makes_loads_in_transformers_and_comes_back_bit_by_bit(
    family: str, fields: dict[str, Any], tmp_path: Path, make_model: MakeModel
) -> None:
    model = make_model(family, **fields)
    save_model(model, tmp_path / "a")
    again = load_model(tmp_path / "a")
    assert again.config == model.config
    assert all(map(torch.equal, model.state_dict().values(), again.state_dict().values()))
    assert len(list(again.parameters())) == len(list(model.parameters()))  # tied stays tied
    assert not any(module.training for module in again.modules())
    save_model(again, tmp_path / "b")
    for path in (tmp_path / "a").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes(), path.name
    stock, report = transformers.AutoModelForCausalLM.from_pretrained(
        tmp_path / "a", trust_remote_code=False, output_loading_info=True
    )
    assert not any(report.values()), report
    assert stock.dtype == torch.float32
    tokens = torch.randint(0, 97, (2, 33))
    with torch.no_grad():
        torch.testing.assert_close(model.head(model(tokens)), stock(tokens).logits, rtol=1e-5, atol=1e-5)


def test_the_files_name_the_tokens_that_begin_and_end_a_text(tmp_path: Path, make_model: MakeModel) -> None:
    tokenizer = BPE(vocab_size=257).train(["to be or not to be"])
    (tmp_path / "tokenizer").mkdir()
    tokenizer.save(tmp_path / "tokenizer")
    save_model(make_model(), tmp_path / "model", tokenizer=tmp_path / "tokenizer")
    config = json.loads((tmp_path / "model/config.json").read_text())
    assert (config["bos_token_id"], config["eos_token_id"], config["pad_token_id"]) == (0, 0, None)
    stock = transformers.AutoTokenizer.from_pretrained(tmp_path / "model")
    assert stock("not to be").input_ids == tokenizer.encode("not to be")
    generation = transformers.GenerationConfig.from_pretrained(tmp_path / "model")
    assert (generation.bos_token_id, generation.eos_token_id, generation.pad_token_id) == (0, 0, 0)


@pytest.mark.parametrize("model", ["T5ForConditionalGeneration", "BartForConditionalGeneration"])
def test_transformers_knows_where_a_decoder_with_an_encoder_begins(model: str, tmp_path: Path) -> None:
    case = find(model)
    theirs.save(case, theirs.make_model(case), tmp_path / "a")
    save_model(load_model(tmp_path / "a"), tmp_path / "b")
    stock = getattr(transformers, model).from_pretrained(tmp_path / "b")
    assert stock.generation_config.decoder_start_token_id == 0
    with torch.no_grad():
        assert stock(input_ids=torch.arange(9)[None], labels=torch.arange(4)[None]).loss > 0
        assert stock.generate(torch.arange(9)[None], max_new_tokens=3)[0, 0] == 0


def test_weights_take_the_type_that_is_asked_for(tmp_path: Path, make_model: MakeModel) -> None:
    model = make_model("llama")
    save_model(model, tmp_path, dtype=torch.bfloat16)
    assert json.loads((tmp_path / "config.json").read_text())["dtype"] == "bfloat16"
    assert {tensor.dtype for tensor in load_file(tmp_path / "model.safetensors").values()} == {torch.bfloat16}
    assert stored_dtype(tmp_path) == torch.bfloat16
    again = load_model(tmp_path)
    for weight, read in zip(model.parameters(), again.parameters(), strict=True):
        assert torch.equal(read, weight.bfloat16().float())
    assert load_model(tmp_path, dtype=torch.bfloat16).embedding.weight.dtype == torch.bfloat16
    assert transformers.AutoModelForCausalLM.from_pretrained(tmp_path).dtype == torch.bfloat16


@pytest.mark.parametrize(("most", "norms", "dtype"), [
    (torch.float16, 1.5, torch.float16), (torch.float16, 1 + 2**-10, torch.float16),
    (torch.float16, 1 + 2**-11, torch.float32), (torch.float16, 1e5, torch.float32),
    (torch.bfloat16, 1.5, torch.bfloat16), (torch.bfloat16, 1e5 // 512 * 512, torch.bfloat16),
    (torch.bfloat16, 1 + 2**-10, torch.float32),
])  # fmt: skip
def test_the_stored_type_is_the_narrowest_that_holds_every_weight(
    most: torch.dtype, norms: float, dtype: torch.dtype, tmp_path: Path, make_model: MakeModel, model_folder: Any
) -> None:
    """Norms are in float32, all others are not; what nobody reads does not count."""
    save_model(make_model("llama"), tmp_path, dtype=most)
    folder = model_folder(tmp_path)

    def change(tensors: dict[str, Tensor]) -> None:
        for name, tensor in list(tensors.items()):
            if "norm" in name:
                tensors[name] = torch.full_like(tensor, norms, dtype=torch.float32)
        tensors["model.layers.0.self_attn.rotary_emb.inv_freq"] = torch.full((4,), 1 / 3)

    folder.edit(change)
    assert stored_dtype(tmp_path) == dtype
    found, exact = load_model(tmp_path, dtype=dtype).state_dict(), load_model(tmp_path).state_dict()
    assert all(torch.equal(found[name].float(), exact[name]) for name in exact)


@pytest.mark.parametrize(("value", "dtype"), [(1.5, torch.float16), (1e30, torch.float32)])
def test_of_two_types_of_16_bits_one_may_hold_both(
    value: float, dtype: torch.dtype, tmp_path: Path, make_model: MakeModel, model_folder: Any
) -> None:
    save_model(make_model("llama"), tmp_path, dtype=torch.float16)
    norm = {"model.norm.weight": torch.full((32,), value, dtype=torch.bfloat16)}
    model_folder(tmp_path).edit(lambda tensors: tensors.update(norm))
    assert stored_dtype(tmp_path) == dtype


@pytest.mark.parametrize("bug", [RuntimeError("a bug"), TypeError("another")], ids=str)
def test_a_bug_is_never_taken_for_a_tensor_that_is_too_large(
    bug: Exception, tmp_path: Path, make_model: MakeModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise bug

    save_model(make_model("llama"), tmp_path)
    monkeypatch.setattr("danlu.nn.hf.folder.Transformer", fail)
    with pytest.raises(type(bug), match=str(bug)):
        load_model(tmp_path)


def test_loading_draws_no_random_numbers_and_keeps_no_hold_on_the_file(tmp_path: Path, make_model: MakeModel) -> None:
    save_model(make_model(), tmp_path)
    before = torch.get_rng_state()
    model = load_model(tmp_path)
    assert torch.equal(torch.get_rng_state(), before)
    tokens = torch.randint(0, 97, (2, 33))
    expected = model.head(model(tokens))
    path = tmp_path / "model.safetensors"
    with path.open("r+b") as file:  # the same file, not a new one of its name
        file.write(b"\xff" * path.stat().st_size)
    assert torch.equal(model.head(model(tokens)), expected)


def test_names_of_old_folders_are_known(tmp_path: Path, model_folder: Any) -> None:
    """BERT as it was first published: gamma and beta, position numbers, heads that the class has not."""
    case = find("BertForPreTraining")
    stock = theirs.make_model(case)
    theirs.save(case, stock, tmp_path)
    expected = load_model(tmp_path)
    folder = model_folder(tmp_path)

    def age(tensors: dict[str, Tensor]) -> None:
        for name in list(tensors):
            old = name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta")
            tensors[old] = tensors.pop(name)
        tensors["bert.embeddings.position_ids"] = torch.arange(90)[None]

    folder.edit(age)
    folder.set(architectures=["BertForMaskedLM"])
    words = load_model(tmp_path)
    assert isinstance(words.config.head, Head)
    found, truth = logits(words, case, stock)["logits"], logits(expected, case, stock)["words"]
    assert torch.equal(found, truth)


def test_bart_as_it_was_first_published_is_a_bare_model(tmp_path: Path, model_folder: Any) -> None:
    """No head, no bias of the words, names without ``model.``, a copy of the embedding for each side."""
    case = find("BartForConditionalGeneration")
    stock = theirs.make_model(case)
    stock.final_logits_bias.zero_()
    stock.model.save_pretrained(tmp_path)
    folder = model_folder(tmp_path)
    assert "shared.weight" in load_file(folder.weights)
    folder.edit(
        lambda t: t.update(
            {f"{side}.embed_tokens.weight": t["shared.weight"].clone() for side in ("encoder", "decoder")}
        )
    )
    model = load_model(tmp_path)
    assert models.difference(theirs.outputs(stock, make_rows(case, stock.config)), logits(model, case, stock)) <= 1e-5


STAND_INS = [
    ("T5ForConditionalGeneration", "shared.weight", "decoder.embed_tokens.weight"),
    ("T5ForConditionalGeneration", "shared.weight", "lm_head.weight"),
    ("BartForConditionalGeneration", "model.shared.weight", "model.encoder.embed_tokens.weight"),
    ("BertForMaskedLM", "cls.predictions.bias", "cls.predictions.decoder.bias"),
    ("RobertaForMaskedLM", "lm_head.bias", "lm_head.decoder.bias"),
    ("GPT2LMHeadModel", "transformer.wte.weight", "lm_head.weight"),
]


@pytest.mark.parametrize(("model", "original", "copy"), STAND_INS)
def test_of_two_that_are_one_either_is_enough_and_both_must_be_equal(
    model: str, original: str, copy: str, tmp_path: Path, model_folder: Any
) -> None:
    case = find(model)
    stock = theirs.make_model(case)
    theirs.save(case, stock, tmp_path)
    expected = load_model(tmp_path).state_dict()
    folder = model_folder(tmp_path)
    folder.edit(lambda tensors: tensors.update({copy: tensors.pop(original)}))
    assert all(map(torch.equal, load_model(tmp_path).state_dict().values(), expected.values()))
    folder.edit(lambda tensors: tensors.update({original: tensors[copy].clone()}))
    assert all(map(torch.equal, load_model(tmp_path).state_dict().values(), expected.values()))
    folder.edit(lambda tensors: tensors[copy].mul_(2))
    assert f"{copy} differs from {original}; config.json ties them" in folder.refused()
    folder.edit(lambda tensors: tensors.update({copy: tensors[copy][:-1].clone()}))
    assert f"{copy} differs from {original}" in folder.refused()


@pytest.mark.parametrize("model", ["BertForMaskedLM", "RobertaForMaskedLM"])
def test_an_untied_head_without_a_bias_of_its_own_has_the_other(model: str, tmp_path: Path, model_folder: Any) -> None:
    """As version 4 of transformers wrote it, where the two were always one."""
    case = find(model, "untied")
    stock = theirs.make_model(case)
    theirs.save(case, stock, tmp_path)
    expected = load_model(tmp_path).state_dict()
    own, other = ("decoder.bias", "bias")
    stem = "cls.predictions." if model.startswith("Bert") else "lm_head."
    folder = model_folder(tmp_path)
    folder.edit(lambda tensors: tensors.update({stem + other: tensors.pop(stem + own)}))
    assert all(map(torch.equal, load_model(tmp_path).state_dict().values(), expected.values()))


HEADS: list[tuple[str, str, str, Any]] = [
    ("BertModel", "plain", "bert", Embedding),
    ("BertForNextSentencePrediction", "plain", "bert", Labels),
    ("LlamaForSequenceClassification", "5 labels", "llama", Labels),
    ("LlamaForTokenClassification", "plain", "llama", Labels),
    ("GPT2ForTokenClassification", "plain", "gpt2", Labels),
]


@pytest.mark.parametrize(("model", "name", "family", "head"), HEADS)
def test_the_class_says_which_head(model: str, name: str, family: str, head: Any, tmp_path: Path) -> None:
    case = find(model, name, family)
    theirs.save(case, theirs.make_model(case), tmp_path / "a")
    config = load_config(tmp_path / "a")
    assert isinstance(config.head, head)
    save_model(load_model(tmp_path / "a"), tmp_path / "b")
    assert json.loads((tmp_path / "b" / "config.json").read_text())["architectures"] == [model]
    assert load_config(tmp_path / "b") == config


UNKNOWN = [
    ("BertForMaskedLM", "BertLMHeadModel"), ("BertForMaskedLM", "RobertaForMaskedLM"),
    ("GPT2LMHeadModel", "GPT2DoubleHeadsModel"), ("LlamaForCausalLM", "LlamaForQuestionAnswering"),
    ("T5ForConditionalGeneration", "T5ForSequenceClassification"), ("T5ForConditionalGeneration", "T5EncoderModel"),
    ("BartForConditionalGeneration", "BartForSequenceClassification"),
]  # fmt: skip


@pytest.mark.parametrize(("model", "named"), UNKNOWN)
def test_a_class_that_is_not_built_is_refused_by_name(
    model: str, named: str, tmp_path: Path, model_folder: Any
) -> None:
    case = find(model)
    theirs.save(case, theirs.make_model(case), tmp_path)
    folder = model_folder(tmp_path)
    folder.set(architectures=[named])
    line = folder.refused()
    assert "config.json: architectures must be" in line and named in line


def test_a_bare_models_names_are_found_with_the_head_beside_them(tmp_path: Path) -> None:
    case = find("BertForMaskedLM", "bare names")
    stock = theirs.make_model(case)
    theirs.save(case, stock, tmp_path)
    assert "embeddings.word_embeddings.weight" in load_file(tmp_path / "model.safetensors")
    model = load_model(tmp_path)
    assert models.difference(theirs.outputs(stock, make_rows(case, stock.config)), logits(model, case, stock)) <= 1e-5
