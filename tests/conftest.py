from __future__ import annotations

import importlib
import json
import math
import shutil
import signal
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import tokenizers
from hypothesis import settings
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors, trainers

settings.register_profile("danlu", deadline=None, derandomize=True, database=None)
settings.load_profile("danlu")


def pytest_configure() -> None:
    """As in a terminal: tests in the background begin with Ctrl-C ignored, and so would all that they start."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


TEXT = "To be, or not to be: that is the question.\nOnce upon a time there was a sentence. 话说天下大势，从前有座山。\n"


def _tokenizer(folder: Path) -> int:
    """A byte-level tokenizer as transformers saves one; how many tokens it has."""
    import tokenizers
    import transformers

    inner = tokenizers.Tokenizer(tokenizers.models.BPE())
    inner.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = tokenizers.decoders.ByteLevel()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=300, special_tokens=["<|end|>"], initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet()
    )
    inner.train_from_iterator([TEXT], trainer)
    transformers.PreTrainedTokenizerFast(tokenizer_object=inner, eos_token="<|end|>").save_pretrained(folder)
    return int(inner.get_vocab_size())


def _save(build: Callable[[int], Any], folder: Path) -> Path:
    import torch

    vocab_size = _tokenizer(folder)
    torch.manual_seed(1)
    model = build(vocab_size)
    for weight in model.parameters():
        if weight.ndim > 1:
            torch.nn.init.normal_(weight, 0.0, 0.2)
    model.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def load_benchmark() -> Iterator[Callable[[str], ModuleType]]:
    """Imports a module of benchmarks/ as its scripts do; none is left afterwards."""
    folder = Path(__file__).parent.parent / "benchmarks"
    sys.path.insert(0, str(folder))
    yield importlib.import_module
    sys.path.remove(str(folder))
    for path in folder.glob("*.py"):
        sys.modules.pop(path.stem, None)


@pytest.fixture(scope="session")
def whole_decoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Llama that transformers has written."""
    import transformers

    def build(vocab_size: int) -> Any:
        return transformers.LlamaForCausalLM(transformers.LlamaConfig(
            vocab_size=vocab_size, hidden_size=32, num_attention_heads=4, num_key_value_heads=2, intermediate_size=64,
            num_hidden_layers=2, max_position_embeddings=96, bos_token_id=0, eos_token_id=0,
        ))  # fmt: skip

    return _save(build, tmp_path_factory.mktemp("decoder"))


@pytest.fixture(scope="session", params=["t5", "bart"])
def whole_answerer(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A T5 and a BART that transformers has written."""
    import transformers

    def build(vocab_size: int) -> Any:
        ids = {"decoder_start_token_id": 0, "eos_token_id": 0, "pad_token_id": 0, "bos_token_id": 0}
        if request.param == "t5":
            return transformers.T5ForConditionalGeneration(transformers.T5Config(
                vocab_size=vocab_size, d_model=32, d_kv=8, d_ff=48, num_layers=1, num_heads=4, **ids
            ))  # fmt: skip
        return transformers.BartForConditionalGeneration(transformers.BartConfig(
            vocab_size=vocab_size, d_model=32, encoder_layers=1, decoder_layers=1, encoder_ffn_dim=48,
            decoder_ffn_dim=48, encoder_attention_heads=4, decoder_attention_heads=4, max_position_embeddings=96,
            forced_eos_token_id=None, **ids,
        ))  # fmt: skip

    return _save(build, tmp_path_factory.mktemp(request.param))


@pytest.fixture(scope="session")
def whole_encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BERT that transformers has written, which sees 24 tokens."""
    import tokenizers
    import torch
    import transformers

    folder = tmp_path_factory.mktemp("encoder")
    inner = bert_tokenizer([TEXT])
    inner.post_processor = tokenizers.processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    names = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    transformers.PreTrainedTokenizerFast(tokenizer_object=inner, **names).save_pretrained(folder)
    torch.manual_seed(1)
    config = transformers.BertConfig(
        vocab_size=inner.get_vocab_size(), hidden_size=32, num_hidden_layers=2, num_attention_heads=4,
        intermediate_size=48, max_position_embeddings=24, initializer_range=0.3,
    )  # fmt: skip
    transformers.BertModel(config).save_pretrained(folder)
    return folder


@pytest.fixture
def decoder(whole_decoder: Path, tmp_path: Path) -> Path:
    """A copy of the Llama, to be changed at will."""
    return Path(shutil.copytree(whole_decoder, tmp_path / "decoder"))


@pytest.fixture
def answerer(whole_answerer: Path, tmp_path: Path) -> Path:
    """A copy of the T5 or BART."""
    return Path(shutil.copytree(whole_answerer, tmp_path / "answerer"))


@pytest.fixture
def encoder(whole_encoder: Path, tmp_path: Path) -> Path:
    """A copy of the BERT."""
    return Path(shutil.copytree(whole_encoder, tmp_path / "encoder"))


@pytest.fixture
def masked_encoder(encoder: Path) -> Path:
    """The copy of the BERT with a head for words that is drawn anew, and a token that hides."""
    import torch
    import transformers

    torch.manual_seed(2)
    transformers.BertForMaskedLM(transformers.BertConfig.from_pretrained(encoder)).save_pretrained(encoder)
    file = encoder / "tokenizer_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "mask_token": "[MASK]"}))
    return encoder


CORPUS = [
    "It was the best of times, it was the worst of times.\r\n\tIt's 1594 – “yes”, they said!  \n\n" * 2,
    "话说天下大势，分久必合，合久必分。话说天下大势，分久必合，合久必分。\n",
    "a café and a café 👩‍👩‍👧\u00a0\u3000 ﷺ do n't , why ?",
]


# What the trainers of WordPiece and Unigram make of a text, and of BPE with a limited alphabet, differs from run to run
# where pieces or letters are equally frequent, and a random model on it then writes other texts. So the pieces of those
# tokenizers are given here; :func:`kinds` checks that nothing is left to chance.


def frequent(texts: list[str]) -> list[str]:
    """The letters of all texts, the most frequent ones first, and of as frequent ones that which comes first."""
    return [letter for letter, _ in Counter("".join(texts)).most_common()]


WORD_PIECES = [
    "it", "th", "the", "they", "of", "ti", "times", "wa", "was", "wo", "worst", "be", "best", "an", "and", "ca",
    "cafe", "sa", "said", "do", "wh", "why", "yes", "15", "1594", "👩👩", "👩👩👧", "##es", "##fe", "##id", "##mes",
    "##rst", "##st", "##94",
]  # fmt: skip


def bert_tokenizer(texts: list[str], pieces: list[str] | None = None) -> tokenizers.Tokenizer:
    """With all letters of the texts, by code point, first those that begin a word; then the pieces, or all words."""
    normalizer, pre_tokenizer = normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer()
    words = [word for text in texts for word, _ in pre_tokenizer.pre_tokenize_str(normalizer.normalize_str(text))]
    letters, within = set("".join(words)), {f"##{letter}" for word in words for letter in word[1:]}
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    known = dict.fromkeys([*special, *sorted(letters), *sorted(within), *(pieces or words)])
    vocabulary = {piece: id for id, piece in enumerate(known)}
    inner = tokenizers.Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    inner.add_special_tokens(special)
    inner.normalizer, inner.pre_tokenizer = normalizer, pre_tokenizer
    return inner


def word_piece() -> tokenizers.Tokenizer:
    """BERT's."""
    inner = bert_tokenizer(CORPUS, WORD_PIECES)
    inner.decoder = decoders.WordPiece(prefix="##")
    inner.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    inner.enable_truncation(4)  # as MiniLM's file has it, which is no part of the tokenizer
    inner.enable_padding(pad_id=0, pad_token="[PAD]")
    return inner


UNIGRAM_PIECES = ["▁the", "▁times", "▁w", "▁a", "It", "es", "👩\u200d", "▁\n\n", "说天下大势,分久必合,合久必分。"]


def unigram() -> tokenizers.Tokenizer:
    """T5's."""
    normalizer, special = normalizers.NFKC(), ["<pad>", "</s>", "<unk>"]
    texts = ["▁" + normalizer.normalize_str(text).replace(" ", "▁") for text in CORPUS]
    pieces = [*frequent(texts), *UNIGRAM_PIECES]
    counts = Counter({piece: sum(text.count(piece) for text in texts) for piece in pieces})
    scores = [(piece, math.log(count / counts.total())) for piece, count in counts.most_common()]
    inner = tokenizers.Tokenizer(models.Unigram([*((token, 0.0) for token in special), *scores], unk_id=2))
    inner.add_special_tokens(special)
    inner.normalizer, inner.pre_tokenizer = normalizer, pre_tokenizers.Metaspace()
    inner.decoder = decoders.Metaspace()
    inner.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    return inner


def byte_fallback() -> tokenizers.Tokenizer:
    """Llama 2's and Mistral's."""
    inner = tokenizers.Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    inner.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    special = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    letters = frequent([inner.normalizer.normalize_str(text) for text in CORPUS])[:50]
    trainer = trainers.BpeTrainer(
        vocab_size=380, special_tokens=special, initial_alphabet=letters, limit_alphabet=50, show_progress=False
    )
    inner.train_from_iterator(CORPUS, trainer)
    inner.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    inner.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    bare = tokenizers.Tokenizer(inner.model)  # the trainer has taken the bytes for special tokens, which they are not
    bare.normalizer, bare.decoder, bare.post_processor = inner.normalizer, inner.decoder, inner.post_processor
    bare.add_special_tokens(special[:3])
    return bare


def byte_level() -> tokenizers.Tokenizer:
    """GPT-2's and RoBERTa's, with an unknown token of its own."""
    inner = tokenizers.Tokenizer(models.BPE())
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=320, special_tokens=["<s>", "</s>", "<unk>"], show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )  # fmt: skip
    inner.train_from_iterator(CORPUS, trainer)
    inner.decoder = decoders.ByteLevel()
    inner.add_tokens(["<|im_start|>"])
    return inner


BUILDERS: dict[str, tuple[Callable[[], tokenizers.Tokenizer], dict[str, str]]] = {
    "WordPiece": (word_piece, {"unk_token": "[UNK]", "sep_token": "[SEP]", "cls_token": "[CLS]", "pad_token": "[PAD]"}),
    "Unigram": (unigram, {"unk_token": "<unk>", "eos_token": "</s>", "pad_token": "<pad>"}),
    "byte fallback": (byte_fallback, {"unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>"}),
    "byte level": (byte_level, {"unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>"}),
}  # fmt: skip


@pytest.fixture(scope="session")
def kinds(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A folder of each kind, as ``transformers`` writes it."""
    import transformers

    folders = {}
    for kind, (build, names) in BUILDERS.items():
        inner = build()
        assert inner.to_str() == build().to_str(), f"{kind} would be another tokenizer in every run"
        folders[kind] = tmp_path_factory.mktemp(kind.replace(" ", "_"))
        transformers.PreTrainedTokenizerFast(tokenizer_object=inner, **names).save_pretrained(folders[kind])
    return folders
