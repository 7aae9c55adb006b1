"""Sentences to vectors: sorted by length and packed without padding, in the fastest number type there is.

Axes: N texts, B batch, T tokens, D model width.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path

import tokenizers
import torch
from tokenizers import normalizers
from torch import Tensor

from danlu.errors import CheckpointError, InputError, suggestion
from danlu.machine import fast_bfloat16
from danlu.nn.config import Embedding
from danlu.nn.heap import keep_freed_memory
from danlu.nn.hf.folder import load_embedding_model
from danlu.nn.hf.sentence_transformers import TextSettings, read_texts
from danlu.nn.packed import may_be_packed, pack
from danlu.nn.transformer import Transformer
from danlu.tokenizers.folder import read_tokenizer

BATCH_TOKENS = 4096
"""Tokens that go through the model together."""
TEXTS_AT_ONCE = 4096
"""Texts that are tokenised and sorted together."""
QUERY, DOCUMENTS = "query", ("document", "passage")
"""What folders call the prompts of a search."""


class Embedder:
    """An encoder with its tokenizer.

    Args:
        tokenizer: of the ``tokenizers`` library; it puts the special tokens around a text.
        texts: how long a text may be, and what goes before it.
    """

    def __init__(
        self, model: Transformer, tokenizer: tokenizers.Tokenizer, *, texts: TextSettings | None = None
    ) -> None:
        if not isinstance(model.config.head, Embedding):
            raise CheckpointError(
                f"a model of {type(model.config.head).__name__} embeds no texts; it needs a bare model"
            )
        self.model, self.texts = model.eval(), texts or TextSettings()
        most = model.config.max_length
        self.max_tokens = min(self.texts.max_tokens or most, most)
        """Tokens of a text, special ones included, that are read."""
        self.cut = 0
        """How many texts so far were longer, prompts included."""
        tokenizer.no_padding()
        special = tokenizer.num_special_tokens_to_add(is_pair=False)
        if self.max_tokens <= special:  # the library would cut nothing off at all
            raise CheckpointError(
                f"the model reads {self.max_tokens} tokens of a text (max_seq_length, model_max_length or its own "
                f"length), and the tokenizer puts {special} around it; it must read more"
            )
        tokenizer.enable_truncation(self.max_tokens)
        if self.texts.lower_case:
            own = [tokenizer.normalizer] if tokenizer.normalizer is not None else []
            tokenizer.normalizer = normalizers.Sequence([normalizers.Lowercase(), *own])
        self.tokenizer = tokenizer

    @classmethod
    def load(cls, folder: Path, *, dtype: torch.dtype | None = None) -> Embedder:
        """The embedder in a Hugging Face folder; by default in bfloat16 where the processor multiplies it in hardware.

        Raises:
            InputError, CheckpointError: a file is missing or damaged, or the model embeds no texts.
        """
        dtype = dtype or (torch.bfloat16 if fast_bfloat16() else torch.float32)
        keep_freed_memory()
        tokenizer, _ = read_tokenizer(folder)
        embedder = cls(load_embedding_model(folder, dtype=dtype), tokenizer, texts=read_texts(folder))
        if may_be_packed(embedder.model):
            pack(embedder.model)
        return embedder

    @torch.inference_mode()
    def embed(self, texts: Sequence[str], prompt: str | None = None) -> Tensor:
        """Vectors ``[N, D]`` in float32, in the order of ``texts``.

        A text without a single token, as the empty one is where the tokenizer adds none, is a vector of zeros:
        the mean of nothing, as in ``sentence-transformers`` (which gives up where all texts of a batch are so).

        Args:
            prompt: the name of what goes before every text; by default the folder's own, mostly nothing.

        Raises:
            InputError: there is no such prompt.
        """
        before = self._prompt(prompt)
        skip = 0 if self.texts.pools_prompt else self._prompt_tokens(before)
        vectors_ND = torch.zeros(len(texts), self.model.config.dim)
        for start in range(0, len(texts), TEXTS_AT_ONCE):
            part = [before + text for text in texts[start : start + TEXTS_AT_ONCE]]
            encoded = self.tokenizer.encode_batch_fast(part)
            self.cut += sum(bool(each.overflowing) for each in encoded)
            ids = [each.ids for each in encoded]
            for places in _batches([len(each) for each in ids]):
                vectors_ND[torch.tensor(places) + start] = self._vectors([ids[place] for place in places], skip)
        return vectors_ND

    def search_prompts(self) -> tuple[str | None, str | None]:
        """Names of the prompts for what is looked for and for where it is looked; the folder's own default without any.

        A folder that has something for either side has it for both: an empty prompt is one too.
        """
        said = [name for name in (QUERY, *DOCUMENTS) if self.texts.prompts.get(name)]
        if not said:
            return None, None
        return QUERY, next((name for name in said if name != QUERY), DOCUMENTS[0])

    def _prompt(self, name: str | None) -> str:
        name = self.texts.default_prompt if name is None else name
        if name is None:
            return ""
        if name not in self.texts.prompts:
            raise InputError(f"unknown prompt {name!r}{suggestion(name, self.texts.prompts)}")
        return self.texts.prompts[name]

    def _prompt_tokens(self, prompt: str) -> int:
        """How many of a text's first tokens are the prompt's, with the special ones before it."""
        if not prompt:
            return 0
        special = self.tokenizer.encode(prompt).special_tokens_mask
        return len(special) - (special[-1] if special else 0)

    def _vectors(self, ids: list[list[int]], skip: int) -> Tensor:
        """``[B, D]`` of texts whose first ``skip`` tokens are read but count nothing; zeros where none is left.

        All go through the model as one long row, without padding.
        """
        numbers_1N = torch.arange(len(ids)).repeat_interleave(torch.tensor([len(each) for each in ids]))[None]
        tokens_1N = torch.tensor([token for each in ids for token in each])[None]
        hidden_ND = self.model(tokens_1N, segments=numbers_1N)[0].float()
        vectors, start = [], 0
        for length, alike in groupby(len(each) for each in ids):
            end = start + length * len(list(alike))
            hidden_CTD = hidden_ND[start:end].view(-1, length, hidden_ND.shape[1])
            start = end
            none_left = length <= skip
            vectors.append(
                torch.zeros_like(hidden_CTD[:, 0]) if none_left else self.model.head(hidden_CTD[:, skip:], None)
            )
        return torch.cat(vectors)


def _batches(lengths: Sequence[int]) -> Iterator[list[int]]:
    """Places of texts that have tokens, the longest first, in groups of at most ``BATCH_TOKENS``."""
    group: list[int] = []
    tokens = 0
    for place in sorted((place for place, length in enumerate(lengths) if length), key=lambda place: -lengths[place]):
        if group and tokens + lengths[place] > BATCH_TOKENS:
            yield group
            group, tokens = [], 0
        group.append(place)
        tokens += lengths[place]
    if group:
        yield group
