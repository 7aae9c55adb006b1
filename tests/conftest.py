"""What holds for all tests: property tests try the same examples everywhere, and a slow machine fails none.

Tokenizers of the kinds that come with imported models, trained with the ``tokenizers`` library.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import tokenizers
from hypothesis import settings
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors, trainers

settings.register_profile("danlu", deadline=None, derandomize=True, database=None)
settings.load_profile("danlu")

CORPUS = [
    "It was the best of times, it was the worst of times.\r\n\tIt's 1594 – “yes”, they said!  \n\n" * 2,
    "话说天下大势，分久必合，合久必分。话说天下大势，分久必合，合久必分。\n",
    "a café and a café 👩‍👩‍👧\u00a0\u3000 ﷺ do n't , why ?",
]


def word_piece(lower: bool = True) -> tokenizers.Tokenizer:
    """BERT's."""
    inner = tokenizers.Tokenizer(models.WordPiece(unk_token="[UNK]"))
    inner.normalizer = normalizers.BertNormalizer(lowercase=lower)
    inner.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    inner.train_from_iterator(CORPUS, trainers.WordPieceTrainer(vocab_size=150, special_tokens=special))
    inner.decoder = decoders.WordPiece(prefix="##")
    inner.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    inner.enable_truncation(4)  # as MiniLM's file has it, which is no part of the tokenizer
    inner.enable_padding(pad_id=0, pad_token="[PAD]")
    return inner


def unigram() -> tokenizers.Tokenizer:
    """T5's."""
    inner = tokenizers.Tokenizer(models.Unigram())
    inner.normalizer = normalizers.NFKC()
    inner.pre_tokenizer = pre_tokenizers.Metaspace()
    special = ["<pad>", "</s>", "<unk>"]
    trainer = trainers.UnigramTrainer(vocab_size=150, special_tokens=special, unk_token="<unk>", show_progress=False)
    inner.train_from_iterator(CORPUS, trainer)
    inner.decoder = decoders.Metaspace()
    inner.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    return inner


def byte_fallback() -> tokenizers.Tokenizer:
    """Llama 2's and Mistral's."""
    inner = tokenizers.Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    inner.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    special = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    trainer = trainers.BpeTrainer(vocab_size=380, special_tokens=special, limit_alphabet=50, show_progress=False)
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
        folders[kind] = tmp_path_factory.mktemp(kind.replace(" ", "_"))
        transformers.PreTrainedTokenizerFast(tokenizer_object=build(), **names).save_pretrained(folders[kind])
    return folders
