"""The shape of a Transformer, as a tree of small records; every switch that changes the arithmetic is a field of one.

A family (``nn/families/``) makes the tree from a recipe, a folder's reader (``nn/hf/``) from ``config.json``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from danlu.errors import RecipeError
from danlu.nn.patterns import FULL, Pattern

UNBOUNDED = 2**20
"""The ``max_length`` of models whose positions have no end, such as T5's: longer than any row that is asked for."""

ActivationName = Literal["relu", "relu2", "gelu", "gelu_tanh", "silu", "tanh"]


@dataclass(frozen=True, slots=True)
class Norm:
    """RMSNorm (``rms``) or LayerNorm (``layer``)."""

    kind: Literal["rms", "layer"] = "rms"
    eps: float = 1e-6
    weight: bool = True
    """Whether there is a learned gain."""
    bias: bool = False


@dataclass(frozen=True, slots=True)
class Scaling:
    """How rotary positions are stretched beyond the length of training; ``nn/positions.py`` has the papers."""

    kind: Literal["linear", "ntk", "yarn", "llama3"]
    factor: float
    original_length: int
    """Positions of training; what lies beyond is stretched."""
    attention_factor: float = 1.0
    """YaRN: cosines and sines are multiplied by it."""
    fast: float = 32.0
    """YaRN: frequencies that turn more often than this in the original length stay as they are; llama3 likewise."""
    slow: float = 1.0
    """YaRN: those that turn less often are interpolated in full; llama3 likewise."""
    whole: bool = True
    """YaRN: the borders between them are rounded to whole frequencies."""


@dataclass(frozen=True, slots=True)
class Rotary:
    """Rotary positions of queries and keys (Su et al. 2021, arXiv:2104.09864)."""

    theta: float = 10000.0
    direction: Literal[1, -1] = 1
    """nanochat turns its queries and keys the other way round."""
    scaling: Scaling | None = None


@dataclass(frozen=True, slots=True)
class RelativeBias:
    """T5's learned bias for each bucket of distances and each head (Raffel et al. 2020, arXiv:1910.10683)."""

    buckets: int = 32
    max_distance: int = 128


@dataclass(frozen=True, slots=True)
class Alibi:
    """A bias that falls linearly with the distance, at a slope for each head (Press et al. 2022, arXiv:2108.12409)."""


@dataclass(frozen=True, slots=True)
class Positions:
    """Positions that are added to the embedding."""

    kind: Literal["learned", "sinusoidal"]
    offset: int = 0
    """Rows of a learned table before that of position 0: RoBERTa's padding index plus 1, BART's 2."""


@dataclass(frozen=True, slots=True)
class Attention:
    """Multi-head attention; fewer ``kv_heads`` than ``heads`` is grouped-query, one is multi-query."""

    heads: int
    kv_heads: int
    head_dim: int
    bias: bool = False
    """Of queries, keys and values."""
    out_bias: bool = False
    rotary: Rotary | None = None
    qk_norm: Norm | None = None
    """Over the width of a head (Henry et al. 2020, arXiv:2010.04245)."""
    scale: float | None = None
    """What scores are multiplied by; ``head_dim ** -0.5`` where None."""
    pattern: Pattern = FULL
    """Which positions a query may see, beside causality and document borders."""
    linformer: int | None = None
    """Keys and values are projected to so many places (Wang et al. 2020, arXiv:2006.04768)."""
    dropout: float = 0.0
    """Of attention weights."""
    out_dropout: float = 0.0
    """Of what attention gives, before that of the stack; ModernBERT's, whose stack has none."""

    def __post_init__(self) -> None:
        if self.heads % self.kv_heads:
            raise RecipeError(f"kv_heads must divide heads ({self.heads}); got {self.kv_heads}")
        if self.rotary is not None and self.head_dim % 2:
            raise RecipeError(f"head_dim must be even for rotary positions; got {self.head_dim}")
        if self.linformer is not None and self.pattern != FULL:
            raise RecipeError(f"a Linformer's pattern must be full; got {type(self.pattern).__name__}")


@dataclass(frozen=True, slots=True)
class MLP:
    """Two matrices, or three where ``gated`` (Shazeer 2020, arXiv:2002.05202)."""

    hidden: int
    activation: ActivationName
    gated: bool = False
    bias: bool = False
    dropout: float = 0.0
    """Between the two products."""


@dataclass(frozen=True, slots=True)
class Experts:
    """A mixture of gated MLPs, of which each token takes a few (Shazeer et al. 2017, arXiv:1701.06538)."""

    count: int
    per_token: int
    hidden: int
    activation: ActivationName = "silu"
    normalise: bool = True
    """Whether the weights of the experts that are taken add up to 1."""
    shared: int = 0
    """Width of an expert that all tokens take besides (DeepSeekMoE, Dai et al. 2024, arXiv:2401.06066); 0 for none."""
    balance: float = 0.01
    """Weight of the load-balancing loss (Fedus et al. 2022, arXiv:2101.03961, eq. 4; as ``transformers`` reckons)."""

    def __post_init__(self) -> None:
        if not 1 <= self.per_token <= self.count:
            raise RecipeError(
                f"per_token must be between 1 and the number of experts ({self.count}); got {self.per_token}"
            )


@dataclass(frozen=True, slots=True)
class Layer:
    """One block: self-attention, attention to the encoder's output where ``cross``, and an MLP."""

    attention: Attention
    mlp: MLP | Experts
    cross: Attention | None = None
    first_norm: bool = True
    """Whether self-attention has a norm; ModernBERT's first has none, for the embedding is normed."""

    def __post_init__(self) -> None:
        if self.cross is not None and (self.cross.rotary is not None or self.cross.linformer is not None):
            raise RecipeError("attention to the encoder's output has neither rotary positions nor a Linformer's places")


@dataclass(frozen=True, slots=True)
class Entry:
    """What happens between the token embedding and the first block."""

    positions: Positions | None = None
    types: int = 0
    """Token types that have an embedding (BERT's segments A and B)."""
    norm: Norm | None = None
    scale: float = 1.0
    """What token embeddings are multiplied by."""
    dropout: float = 0.0
    """Of what goes into the first block."""


@dataclass(frozen=True, slots=True)
class Virtual:
    """Learned tokens before each document, which stand for no word (``nn/virtual.py``)."""

    kind: Literal["prompt", "prefix"]
    """Their embeddings are learned, or their keys and values in each layer."""
    tokens: int


@dataclass(frozen=True, slots=True)
class Stack:
    """Blocks, one on top of the other."""

    layers: tuple[Layer, ...]
    norm: Norm
    causal: bool
    place: Literal["pre", "post"] = "pre"
    """Norm before each part, or after it is added to the stream (Xiong et al. 2020, arXiv:2002.04745)."""
    final_norm: bool = True
    bias: RelativeBias | Alibi | None = None
    """What is added to the scores of self-attention, the same in all layers."""
    entry: Entry = Entry()
    dropout: float = 0.0
    """Of what each part adds to the stream."""
    final_dropout: float = 0.0
    """Of what the last block gives, behind the last norm."""
    drop_path: float = 0.0
    """Share of rows that skip a part, rising from 0 to this over the layers (Huang et al. 2016, arXiv:1603.09382)."""
    layer_drop: float = 0.0
    """How often a whole layer is skipped, by all rows (Fan et al. 2019, arXiv:1909.11556)."""
    virtual: Virtual | None = None
    """What stands before each of its documents."""

    def __post_init__(self) -> None:
        if any(layer.attention.linformer for layer in self.layers) and (self.causal or self.bias is not None):
            raise RecipeError("a Linformer mixes positions: its stack must be bidirectional and have no bias of scores")
        if self.bias is not None and len({layer.attention.heads for layer in self.layers}) > 1:
            raise RecipeError("heads must be the same in all layers, for they share a bias of scores")


@dataclass(frozen=True, slots=True)
class Dense:
    """A linear layer of the model's width, an activation, a norm where there is one."""

    activation: ActivationName
    norm: Norm | None = None
    bias: bool = True
    dropout: float = 0.0
    """Of what it reads."""


@dataclass(frozen=True, slots=True)
class Head:
    """From hidden states to logits over the vocabulary: a language model's or a masked language model's."""

    tied: bool = False
    """Whether the head's weight is the embedding's (Press & Wolf 2017, arXiv:1608.05859)."""
    bias: bool = False
    scale: float = 1.0
    """What hidden states are multiplied by."""
    softcap: float | None = None
    """Logits become ``softcap * tanh(logits / softcap)`` (Gemma Team 2024, arXiv:2408.00118)."""
    transform: Dense | None = None
    """What a masked-LM head does first (Devlin et al. 2019, arXiv:1810.04805)."""


Pooling = Literal["first", "last", "mean"]
"""A row as one vector: its first token (BERT's CLS), its last one (decoders), or the mean."""


@dataclass(frozen=True, slots=True)
class Labels:
    """From hidden states to scores of labels.

    Of rows where there is ``pooling`` (classification, pairs, regression with one label), else of
    tokens (tagging).
    """

    count: int
    pooling: Pooling | None = None
    transform: Dense | None = None
    bias: bool = True
    span: bool = False
    """The two labels are where an answer begins and where it ends."""
    dropout: float = 0.0
    """Of what the scores are made of."""
    pair: bool = False
    """The two labels are whether a second sentence follows the first, or in which order they stand."""
    choice: bool = False
    """The one score is how good a choice the row is, to be weighed against those of the other rows of its question."""


@dataclass(frozen=True, slots=True)
class Pretraining:
    """BERT's two heads: words, and whether the second sentence follows the first."""

    words: Head
    pair: Labels


@dataclass(frozen=True, slots=True)
class Embedding:
    """A row as one vector, of length 1 where ``normalise``."""

    pooling: Pooling = "mean"
    normalise: bool = True
    pooler: Dense | None = None
    """BERT's pooler, which its bare folders hold; the embedding does not go through it."""


AnyHead = Head | Labels | Pretraining | Embedding


@dataclass(frozen=True, slots=True)
class TransformerConfig:
    """A decoder, an encoder, or both.

    Raises:
        RecipeError: sizes that do not fit each other; who calls says where they stand.
    """

    family: str
    """The ``model_type`` that its Hugging Face folder has; ``nn/hf/`` names the weights by it."""
    vocab_size: int
    dim: int
    """Model width."""
    max_length: int
    """Tokens of a document, virtual ones not counted; ``UNBOUNDED`` where any number fits."""
    encoder: Stack | None = None
    decoder: Stack | None = None
    head: AnyHead = Head()

    def __post_init__(self) -> None:
        assert self.encoder is not None or self.decoder is not None

    @property
    def stacks(self) -> list[Stack]:
        """Those that there are, the encoder first."""
        return [stack for stack in (self.encoder, self.decoder) if stack is not None]

    @property
    def stack(self) -> Stack:
        """The one whose hidden states the head reads: the decoder where there is one."""
        stack = self.decoder or self.encoder
        assert stack is not None
        return stack

    @property
    def virtual(self) -> Virtual | None:
        """Its virtual tokens, whichever stack has them."""
        return next((stack.virtual for stack in self.stacks if stack.virtual is not None), None)

    @property
    def places(self) -> int:
        """Positions that there are: those of a document's tokens and of virtual ones before them."""
        return self.max_length + (self.virtual.tokens if self.virtual is not None else 0)

    @property
    def words(self) -> Head | None:
        """The head that makes logits of words; None where the model has none."""
        words = self.head.words if isinstance(self.head, Pretraining) else self.head
        return words if isinstance(words, Head) else None

    @property
    def tied(self) -> bool:
        """Whether the embedding's weight is that head's too."""
        return self.words is not None and self.words.tied

    @property
    def words_weight(self) -> str:
        """The name of that head's weight in the model."""
        return "head.words.weight" if isinstance(self.head, Pretraining) else "head.weight"
