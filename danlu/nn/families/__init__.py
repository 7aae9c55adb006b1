"""Families: what a recipe says about a model, turned into a :class:`TransformerConfig`.

Each exports to the folder that ``transformers`` knows by its name; ``gpt``, Danlu's own choice, as nanochat.
"""

from danlu.nn.families.decoders import GPT, GPT2, Decoder, Llama, Mistral, Qwen3, Qwen3MoE
from danlu.nn.families.encoder_decoders import T5, Bart
from danlu.nn.families.encoders import Bert, ModernBert, Roberta, with_pair_head
from danlu.nn.families.family import Classic, Family

__all__ = [
    "GPT", "GPT2", "T5", "Bart", "Bert", "Classic", "Decoder", "Family", "Llama", "Mistral", "ModernBert", "Qwen3",
    "Qwen3MoE", "Roberta", "with_pair_head",
]  # fmt: skip
