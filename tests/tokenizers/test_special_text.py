"""What spells a special token or a byte is text, whatever kind of tokenizer a folder holds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import transformers
from tokenizers import Tokenizer as Inner
from tokenizers import decoders, models, normalizers, pre_tokenizers

from danlu.errors import InputError
from danlu.tokenizers.extend import Extend
from danlu.tokenizers.tokenizer import Tokenizer

SPECIAL = ["<unk>", "<s>", "</s>", "<|im_start|>", "[MASK]"]
LETTERS = sorted(set("".join(SPECIAL)) | set("0xAB124 abc\n"))
FORMS = ("{}", "a{}", "{}a", "{0}{0}{0}", " {} ", "a {} b", "\n{}", "a{}b")
PIECES = [("<0x41>", 0.0), *((token, 0.0) for token in SPECIAL), *((letter, -9.0) for letter in LETTERS)]
MERGES = [("<", "/"), ("</", "s"), ("</s", ">"), ("<", "s"), ("<s", ">")]
SPACED = pre_tokenizers.WhitespaceSplit()


def vocabulary(*more: str) -> dict[str, int]:
    return {token: id for id, token in enumerate([*SPECIAL, *LETTERS, *more])}


def kinds() -> dict[str, Inner]:
    """Each takes some special token in a text for the token, as the library leaves it."""
    joined = [left + right for left, right in MERGES if left + right not in SPECIAL]
    words, pieces = vocabulary(), vocabulary(*(f"##{letter}" for letter in LETTERS))
    bytes_ = models.Unigram(PIECES, 1, byte_fallback=True)
    found = {
        "words": Inner(models.WordLevel(words, unk_token="<unk>")),
        "pairs": Inner(models.BPE(vocabulary(*joined), MERGES, unk_token="<unk>")),
        "pieces of words": Inner(models.WordPiece(pieces, unk_token="<unk>")),
        "unigram": Inner(bytes_),
        "full-width": Inner(bytes_),
    }
    found["words"].pre_tokenizer = found["pieces of words"].pre_tokenizer = SPACED
    found["full-width"].normalizer = normalizers.NFKC()
    for name in ("pairs", "unigram", "full-width"):
        found[name].decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Fuse()])
    return found


def saved(inner: Inner, folder: Path) -> Path:
    inner.add_special_tokens(SPECIAL)
    inner.save(str(folder / "tokenizer.json"))
    names = {"eos_token": "</s>", "unk_token": "<unk>", "bos_token": "<s>"}
    config = {"tokenizer_class": "PreTrainedTokenizerFast", "clean_up_tokenization_spaces": False, **names}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    return folder


def spelled(kind: str) -> list[str]:
    texts = [form.format(token) for token in SPECIAL for form in FORMS]
    if kind != "full-width":
        return texts
    return [text.translate({code: code + 0xFEE0 for code in range(0x21, 0x7F)}) for text in texts]


def is_taken(kind: str, ids_of: Any, *, unknown: int) -> list[str]:
    special = set(range(len(SPECIAL) + 1)) - {unknown}
    offset = 1 if kind in ("unigram", "full-width") else 0
    special = {id for id in special if offset <= id < offset + len(SPECIAL)}
    return [text for text in spelled(kind) if special & set(ids_of(text))]


@pytest.mark.parametrize("kind", [*kinds()])
def test_what_spells_a_special_token_is_text(kind: str, tmp_path: Path) -> None:
    inner = kinds()[kind]
    unknown = inner.token_to_id("<unk>")
    folder = saved(inner, tmp_path)
    inner.encode_special_tokens = True
    assert is_taken(kind, lambda text: inner.encode(text).ids, unknown=unknown)  # as the library has it
    ours = Tokenizer.load(folder)
    assert not is_taken(kind, ours.encode, unknown=unknown)
    if kind in ("pairs", "unigram"):
        assert [ours.decode(ours.encode(text)) for text in spelled(kind)] == spelled(kind)
    again = tmp_path / "again"
    again.mkdir()
    ours.save(again)
    assert Tokenizer.load(again).to_json() == ours.to_json()  # nothing is cut twice
    stock = transformers.AutoTokenizer.from_pretrained(again)
    for text in spelled(kind):
        assert stock(text, add_special_tokens=False, split_special_tokens=True).input_ids == ours.encode(text)
        assert stock(text, add_special_tokens=False).input_ids != ours.encode(text) or kind == "full-width"


def test_what_spells_a_byte_is_text(tmp_path: Path) -> None:
    """``<0x41>`` would come back as A."""
    ours = Tokenizer.load(saved(kinds()["unigram"], tmp_path))
    assert ours.decode(ours.encode("1<0x41>a <0x41>")) == "1<0x41>a <0x41>"
    assert ours.decode([0]) == "A"


def one_character(kind: str, folder: Path, **names: str) -> Path:
    """A tokenizer whose model has ! and ⏹ as tokens of their own, or their bytes."""
    if kind == "unigram":
        pieces = [("<unk>", 0.0), ("</s>", 0.0), *((letter, -1.0) for letter in "!⏹ab ")]
        pieces += [(f"<0x{byte:02X}>", -9.0) for byte in range(256)]
        inner = Inner(models.Unigram(pieces, 0, byte_fallback=True))
        inner.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Fuse()])
    else:
        letters = [*pre_tokenizers.ByteLevel.alphabet(), "</s>"]
        inner = Inner(models.BPE({letter: id for id, letter in enumerate(sorted(letters))}, []))
        inner.pre_tokenizer, inner.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    inner.save(str(folder / "tokenizer.json"))
    config = {"tokenizer_class": "PreTrainedTokenizerFast", "clean_up_tokenization_spaces": False, **names}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    return folder


@pytest.mark.parametrize("kind", ["unigram", "byte level"])
def test_a_padding_token_of_one_character_is_text(kind: str, tmp_path: Path) -> None:
    """As where somebody names ! for a model that has no padding token: no ! may vanish from what it reads or writes."""
    tokenizer = Tokenizer.load(one_character(kind, tmp_path, eos_token="</s>", pad_token="!"))
    pad = tokenizer.special("pad_token")
    assert pad is not None and pad in tokenizer.encode("a!b") and not tokenizer.is_special(pad)
    for text in ("!", "a!b", "!! a !\n⏹</s>!"):
        assert tokenizer.decode(tokenizer.encode(text)) == text
        assert tokenizer.eot not in tokenizer.encode(text)
    assert tokenizer.decode([tokenizer.eot]) == ""


@pytest.mark.parametrize("role", ["eos_token", "sep_token", "bos_token", "cls_token", "mask_token"])
@pytest.mark.parametrize(("kind", "letter"), [("unigram", "⏹"), ("unigram", "!"), ("byte level", "!")])
def test_a_border_of_one_character_is_refused(kind: str, letter: str, role: str, tmp_path: Path) -> None:
    """Any text that has it would end there, or be two."""
    folder = one_character(kind, tmp_path, **{"eos_token": "</s>", role: letter})
    line = f"^tokenizer_config.json names '{letter}' as {role}, one character that any text may have and that could not"
    with pytest.raises(InputError, match=line):
        Tokenizer.load(folder)


def test_a_border_of_one_character_that_no_text_gives_is_taken(tmp_path: Path) -> None:
    """Byte-level models read the bytes of ⏹, and never the token."""
    folder = one_character("byte level", tmp_path, eos_token="⏹")
    state = json.loads((folder / "tokenizer.json").read_text())
    state["model"]["vocab"]["⏹"] = len(state["model"]["vocab"])
    (folder / "tokenizer.json").write_text(json.dumps(state))
    tokenizer = Tokenizer.load(folder)
    assert tokenizer.eot == 257 and tokenizer.eot not in tokenizer.encode("a⏹") and tokenizer.decode([257]) == ""
    assert tokenizer.decode(tokenizer.encode("a⏹b")) == "a⏹b"


@pytest.mark.parametrize("kind", [*kinds()])
def test_so_it_is_after_extending(kind: str, tmp_path: Path) -> None:
    folder = saved(kinds()[kind], tmp_path)
    grown = Extend(path=folder, add=20, min_frequency=1).train([*SPECIAL, *spelled(kind)] * 9)
    assert not is_taken(kind, grown.encode, unknown=Tokenizer.load(folder).unknown or 0)


def test_a_special_token_that_was_beside_a_model_is_text_when_it_is_in_it(tmp_path: Path) -> None:
    """Extending puts all tokens into the model."""
    inner = Inner(models.WordLevel({"<unk>": 0, "</s>": 1, "a": 2}, unk_token="<unk>"))
    inner.pre_tokenizer = SPACED
    folder = saved(inner, tmp_path)
    mask = Tokenizer.load(folder).tokens()["[MASK]"]
    grown = Extend(path=folder, add=2, min_frequency=1).train(["a [MASK] b c"])
    assert grown.tokens()["[MASK]"] == mask and mask not in grown.encode("a [MASK] b")


def test_where_no_special_token_is_found_nothing_changes(tmp_path: Path) -> None:
    """Marks are words of their own here, so that BERT's tokens need no care."""
    inner = Inner(models.WordPiece(vocabulary(), unk_token="<unk>"))
    inner.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    before = json.loads(inner.to_str())["pre_tokenizer"]
    assert json.loads(Tokenizer.load(saved(inner, tmp_path)).to_json())["pre_tokenizer"] == before


def test_what_is_cut_once_is_not_cut_again(tmp_path: Path) -> None:
    """Of letters that a model lacks the unknown token may cover as many as it has itself: it is not what they spell."""
    inner = Inner(models.Unigram([("<unk>", 0.0), ("</s>", 0.0), ("▁我们", -1.0)], 0))
    inner.pre_tokenizer = pre_tokenizers.Metaspace()
    inner.add_special_tokens(["<unk>", "</s>"])
    folder = tmp_path / "once"
    folder.mkdir()
    (folder / "tokenizer_config.json").write_text(json.dumps({"eos_token": "</s>", "unk_token": "<unk>"}))
    inner.save(str(folder / "tokenizer.json"))
    once = Tokenizer.load(folder)
    once.save(folder)
    again = Tokenizer.load(folder)
    assert again.to_json() == once.to_json() and again.identity == once.identity
    assert not {once.eot, once.unknown} & set(once.encode("我们")) and once.eot not in once.encode("</s> <unk>a")
