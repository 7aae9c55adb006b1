"""The special tokens of a written folder, as ``transformers`` reads them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import transformers

from danlu.errors import CheckpointError
from danlu.nn.families import GPT2, T5, Bart, Bert, ModernBert, Roberta
from danlu.nn.hf.folder import save_model
from danlu.nn.transformer import Transformer
from danlu.tokenizers.bpe import BPE
from danlu.tokenizers.special import SpecialSet
from danlu.tokenizers.wordpiece import WordPiece

SMALL: dict[str, Any] = {"layers": 1, "dim": 16, "heads": 2}


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """End 0, padding 1, BERT's 2 to 4, then T5's sentinels."""
    folder = tmp_path_factory.mktemp("tokenizer")
    BPE(vocab_size=361, special=["bert", "t5"]).train(["to be"]).save(folder)
    return folder


def save(choice: Any, folder: Path, tokenizer: Path | None) -> None:
    model = Transformer(choice.config(vocab_size=361, max_length=12))
    model.initialise(0)
    save_model(model, folder, tokenizer=tokenizer)


def test_t5_starts_from_padding(tokenizer: Path, tmp_path: Path) -> None:
    save(T5(**SMALL), tmp_path, tokenizer)
    model = transformers.T5ForConditionalGeneration.from_pretrained(tmp_path)
    for known in (model.config, model.generation_config):
        assert (known.pad_token_id, known.decoder_start_token_id, known.eos_token_id) == (1, 1, 0)


def test_bart_starts_from_the_end(tokenizer: Path, tmp_path: Path) -> None:
    save(Bart(**SMALL), tmp_path, tokenizer)
    model = transformers.BartForConditionalGeneration.from_pretrained(tmp_path)
    for known in (model.config, model.generation_config):
        assert (known.pad_token_id, known.decoder_start_token_id, known.eos_token_id) == (1, 0, 0)
        assert getattr(known, "forced_eos_token_id", None) is None


@pytest.mark.parametrize("choice", [T5, Bart])
def test_without_padding_the_end_pads(choice: Any, tmp_path: Path) -> None:
    (tmp_path / "tokenizer").mkdir()
    BPE(vocab_size=257).train(["to be"]).save(tmp_path / "tokenizer")
    for name, tokenizer in (("a", tmp_path / "tokenizer"), ("b", None)):
        save(choice(**SMALL), tmp_path / name, tokenizer)
        known = transformers.AutoConfig.from_pretrained(tmp_path / name)
        assert (known.pad_token_id, known.decoder_start_token_id, known.eos_token_id) == (0, 0, 0)


@pytest.mark.parametrize("choice", [Bert, Roberta, ModernBert])
def test_encoders_name_what_masks_and_parts(choice: Any, tokenizer: Path, tmp_path: Path) -> None:
    save(choice(**SMALL), tmp_path, tokenizer)
    known, theirs = (each.from_pretrained(tmp_path) for each in (transformers.AutoConfig, transformers.AutoTokenizer))
    for role, id in {"eos": 0, "pad": 1, "cls": 2, "sep": 3, "mask": 4}.items():
        assert getattr(known, f"{role}_token_id") == getattr(theirs, f"{role}_token_id") == id
    assert transformers.AutoModel.from_pretrained(tmp_path).get_input_embeddings().padding_idx == 1


@pytest.mark.parametrize("choice", [Bert, Roberta, ModernBert, GPT2, Bart, T5])
def test_stock_tokenizers_cut_what_the_model_cannot_read(choice: Any, tokenizer: Path, tmp_path: Path) -> None:
    save(choice(**SMALL), tmp_path, tokenizer)
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path)
    text = "to be or not to be, that is the question"
    assert len(theirs(text, truncation=True).input_ids) == (12 if choice is not T5 else len(theirs(text).input_ids))
    longer = choice(**SMALL).config(vocab_size=361, max_length=20)
    save_model(Transformer(longer), tmp_path / "longer", tokenizer=tmp_path)
    named = transformers.AutoTokenizer.from_pretrained(tmp_path / "longer").model_max_length
    assert named == 12 if choice is not T5 else named > 2**20  # a shorter one that is named stays


def test_a_decoder_has_no_padding_but_the_tokenizers(tokenizer: Path, tmp_path: Path) -> None:
    save(GPT2(**SMALL), tmp_path / "a", None)
    save(GPT2(**SMALL), tmp_path / "b", tokenizer)
    assert [transformers.AutoConfig.from_pretrained(tmp_path / name).pad_token_id for name in "ab"] == [None, 1]
    written = [transformers.GenerationConfig.from_pretrained(tmp_path / name).pad_token_id for name in "ab"]
    assert written == [0, 1]


@pytest.mark.parametrize(("choice", "types"), [(Bert, True), (Roberta, False), (GPT2, False), (Bart, False)])
def test_token_types_are_made_for_models_that_read_them(choice: Any, types: bool, tmp_path: Path) -> None:
    (tmp_path / "tokenizer").mkdir()
    WordPiece(vocab_size=60).train(["to be"]).save(tmp_path / "tokenizer")
    save(choice(**SMALL), tmp_path, tmp_path / "tokenizer")
    inputs = transformers.AutoTokenizer.from_pretrained(tmp_path)("to", "be", return_tensors="pt")
    assert inputs.keys() == {"input_ids", "attention_mask", *(["token_type_ids"] if types else [])}
    if types:
        assert inputs["token_type_ids"].tolist() == [[0] * 4 + [1] * 3]  # [CLS] t ##o [SEP] b ##e [SEP]
    transformers.AutoModel.from_pretrained(tmp_path)(**inputs)


@pytest.mark.parametrize("special", [[], ["fim"]])
def test_roberta_needs_padding_where_its_positions_begin(special: list[SpecialSet], tmp_path: Path) -> None:
    (tmp_path / "tokenizer").mkdir()
    BPE(vocab_size=361, special=special).train(["to be"]).save(tmp_path / "tokenizer")
    with pytest.raises(CheckpointError) as caught:
        save(Roberta(**SMALL), tmp_path, tmp_path / "tokenizer")
    assert str(caught.value) == (
        "the model roberta needs a tokenizer whose padding is token 1, as one that is trained with "
        "tokenizer.special: [bert] has it; this one has none"
    )
