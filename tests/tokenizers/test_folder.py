"""Folders as ``transformers`` and the hub have them: which files count, which tokens are special, what is refused."""

from __future__ import annotations

import base64
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import transformers

from danlu.errors import InputError
from danlu.tokenizers.folder import read_tokenizer
from danlu.tokenizers.given import Folder
from danlu.tokenizers.tokenizer import Tokenizer

TEXT = "It was the  best,\n话说天下 café 👩 </s>"


@pytest.fixture
def folder(kinds: dict[str, Path], tmp_path: Path) -> Path:
    """Llama's kind, to be changed."""
    return Path(shutil.copytree(kinds["byte fallback"], tmp_path / "folder"))


def change(path: Path, **values: Any) -> None:
    path.write_text(json.dumps({**(json.loads(path.read_text()) if path.exists() else {}), **values}))


@pytest.mark.parametrize(
    ("kind", "tokenizer_class"),
    [("WordPiece", "BertTokenizer"), ("Unigram", "T5Tokenizer"), ("byte fallback", "LlamaTokenizer"),
     ("byte level", "GPT2Tokenizer")],
)  # fmt: skip
@pytest.mark.parametrize("model_type", ["llama", "t5", "bert", "gpt2", "mistral"])
def test_what_is_saved_is_read_alike_beside_any_model(
    kinds: dict[str, Path], tmp_path: Path, kind: str, tokenizer_class: str, model_type: str
) -> None:
    """Whatever class the folder names: of some, ``transformers`` would take the vocabulary and leave the rest."""
    there = Path(shutil.copytree(kinds[kind], tmp_path / "there"))
    change(there / "tokenizer_config.json", tokenizer_class=tokenizer_class)
    ours = Tokenizer.load(there)
    ours.save(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"model_type": model_type}))
    for again in (Tokenizer.load(tmp_path), transformers.AutoTokenizer.from_pretrained(tmp_path)):
        ids = again.encode(TEXT) if isinstance(again, Tokenizer) else again(
            TEXT, add_special_tokens=False, split_special_tokens=True
        ).input_ids  # fmt: skip
        assert ids == ours.encode(TEXT)


def test_cutting_and_padding_are_no_part_of_a_tokenizer(kinds: dict[str, Path]) -> None:
    assert json.loads((kinds["WordPiece"] / "tokenizer.json").read_text())["truncation"]["max_length"] == 4
    ours = Tokenizer.load(kinds["WordPiece"])
    assert len(ours.encode("it was the best of times")) > 4
    assert ours.encode("it") == ours.encode_batch(["it", "it was"])[0]


def test_names_in_the_files_make_tokens_special(folder: Path) -> None:
    """``special_tokens_map.json`` counts where the config lists no added tokens, and before the names in it."""
    config, map = folder / "tokenizer_config.json", folder / "special_tokens_map.json"
    plain = Tokenizer.load(folder)
    (token,) = plain.encode("the")[-1:]
    content = transformers.AutoTokenizer.from_pretrained(folder).convert_ids_to_tokens(token)
    assert plain.decode([token]) != ""
    map.write_text(json.dumps({"eos_token": {"content": content, "lstrip": False}}))
    stock, ours = transformers.AutoTokenizer.from_pretrained(folder), Tokenizer.load(folder)
    assert ours.eot == stock.eos_token_id == token
    assert ours.decode([token]) == stock.decode([token], skip_special_tokens=True) == ""
    map.unlink()
    change(config, pad_token=content)
    assert Tokenizer.load(folder).decode([token]) == ""
    listed = {"2": {"content": "</s>", "special": True}}
    change(config, pad_token=None, added_tokens_decoder=listed)
    map.write_text(json.dumps({"eos_token": content}))
    stock, ours = transformers.AutoTokenizer.from_pretrained(folder), Tokenizer.load(folder)
    assert ours.eot == stock.eos_token_id == 2


def test_added_tokens_get_their_places(folder: Path) -> None:
    size = Tokenizer.load(folder).vocab_size
    (folder / "added_tokens.json").write_text(json.dumps({"<tool>": size, "<end>": size + 1}))
    change(folder / "tokenizer_config.json", extra_special_tokens=["<end>", "<more>"])
    stock, ours = transformers.AutoTokenizer.from_pretrained(folder), Tokenizer.load(folder)
    assert ours.vocab_size == len(stock) == size + 3
    ids = stock("a <tool> b", add_special_tokens=False).input_ids
    assert size in ids
    assert ours.encode("a <tool> b") == ids
    assert ours.decode([size, size + 1, size + 2]) == "<tool>"
    (folder / "added_tokens.json").write_text(json.dumps({"<tool>": size + 5}))
    with pytest.raises(InputError, match=f"has no place {size + 5} for the added token '<tool>'"):
        read_tokenizer(folder)


def test_the_model_says_what_the_tokenizer_leaves_open(kinds: dict[str, Path], tmp_path: Path) -> None:
    """BERT's first folders name no token at all."""
    shutil.copy(kinds["WordPiece"] / "tokenizer.json", tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    stock, ours = transformers.AutoTokenizer.from_pretrained(tmp_path), Tokenizer.load(tmp_path)
    assert (ours.eot, ours.unknown) == (stock.sep_token_id, stock.unk_token_id)


@pytest.mark.parametrize(
    ("name", "text", "line"),
    [
        ("special_tokens_map.json", "[]", r"special_tokens_map\.json must hold a JSON object; got list"),
        ("added_tokens.json", "{", "the tokenizer in .* is damaged"),
        ("tokenizer_config.json", '{"added_tokens_decoder": {"a": 1}}', "the tokenizer in .* is damaged"),
    ],
)
def test_a_damaged_file_is_told_in_one_line(folder: Path, name: str, text: str, line: str) -> None:
    change(folder / "tokenizer_config.json")
    (folder / name).write_text(text)
    with pytest.raises(InputError, match=line) as error:
        read_tokenizer(folder)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["special_tokens_map.json", "added_tokens.json"])
def test_a_file_that_cannot_be_read_is_told(folder: Path, name: str) -> None:
    (folder / name).mkdir()
    config = json.loads((folder / "tokenizer_config.json").read_text())
    config.pop("added_tokens_decoder", None)
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    with pytest.raises(InputError, match=rf"^cannot read .*{name}: Is a directory$"):
        read_tokenizer(folder)


@pytest.mark.parametrize("deep", [False, True])
def test_rules_for_characters_that_lead_nowhere_are_told(
    kinds: dict[str, Path], tmp_path: Path, deep: bool, capfd: pytest.CaptureFixture[str]
) -> None:
    there = Path(shutil.copytree(kinds["Unigram"], tmp_path / "there"))
    charsmap = base64.b64encode(bytes.fromhex("04000000ffffffff6100")).decode()
    normaliser: dict[str, Any] = {"type": "Precompiled", "precompiled_charsmap": charsmap}
    change(
        there / "tokenizer.json", normalizer={"type": "Sequence", "normalizers": [normaliser]} if deep else normaliser
    )
    with pytest.raises(
        InputError, match=r"the tokenizer in .* is damaged: the trie of its precompiled_charsmap"
    ) as error:
        read_tokenizer(there)
    assert "\n" not in str(error.value)
    assert capfd.readouterr().err == ""


def test_any_panic_of_the_library_is_told(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Though it is no Exception."""
    monkeypatch.setattr("danlu.tokenizers.folder.check_charsmap", lambda content: content)
    charsmap = base64.b64encode(bytes.fromhex("04000000ffffffff6100")).decode()
    change(folder / "tokenizer.json", normalizer={"type": "Precompiled", "precompiled_charsmap": charsmap})
    with pytest.raises(InputError, match="is damaged: the tokenizers library gave up on it: index out of bounds"):
        read_tokenizer(folder)


def test_an_empty_folder_is_told(tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match=r"tokenizer\.json is missing, and so are vocab\.txt, spiece\.model, tokenizer"
    ):
        read_tokenizer(tmp_path)


def test_how_much_another_model_reads_is_no_part_of_a_given_tokenizer(folder: Path, tmp_path: Path) -> None:
    change(folder / "tokenizer_config.json", model_max_length=12)
    (tmp_path / "out").mkdir()
    Folder(path=folder).train([]).save(tmp_path / "out", longest=40)
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path / "out")
    assert theirs.model_max_length == 40 and len(theirs("to be or " * 20, truncation=True).input_ids) == 40
