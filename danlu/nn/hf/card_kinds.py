"""What a model card says of each kind of model: what it does, and how stock ``transformers`` loads and runs it."""

from __future__ import annotations

from dataclasses import dataclass

from danlu.nn.config import TransformerConfig

_LOADED = """\
from transformers import {model}, AutoTokenizer

model = {model}.from_pretrained("path/to/this/folder")
tokenizer = AutoTokenizer.from_pretrained("path/to/this/folder")
"""


@dataclass(frozen=True, slots=True)
class CardKind:
    """A kind of model, in the words of its card."""

    pipeline: str
    """The task of a ``transformers`` pipeline, by which model hubs sort."""
    name: str
    does: str
    usage: str
    """Python that runs it; ``…`` stands for a text."""


_CAUSAL = CardKind(
    "text-generation",
    "A causal language model",
    "It continues text; it has not been taught to follow instructions or to be safe.",
    _LOADED.format(model="AutoModelForCausalLM")
    + """\
# A document begins with the end-of-text token, here as in training.
prompt = tokenizer(tokenizer.bos_token + "…", return_tensors="pt")
print(tokenizer.decode(model.generate(**prompt, max_new_tokens=100, do_sample=True)[0]))
""",
)
_MASKED = CardKind(
    "fill-mask",
    "A masked language model",
    "It fills in hidden words, and is there to be fine-tuned; it has been taught no task.",
    _LOADED.format(model="AutoModelForMaskedLM")
    + """\
text = tokenizer("…" + tokenizer.mask_token, return_tensors="pt")
hidden = text["input_ids"] == tokenizer.mask_token_id
print(tokenizer.decode(model(**text).logits[hidden].argmax(-1)))
""",
)
_WRITING = CardKind(
    "text2text-generation",
    "An encoder-decoder",
    "It reads a text and writes what it was pretrained to write, such as what is hidden in it, and is there to be "
    "fine-tuned; it has been taught no task.",
    _LOADED.format(model="AutoModelForSeq2SeqLM")
    + """\
text = tokenizer("…", return_tensors="pt")
print(tokenizer.decode(model.generate(**text, max_new_tokens=100)[0]))
""",
)


def card_kind(config: TransformerConfig) -> CardKind:
    """What a pretrained model of such stacks is."""
    if config.encoder is None:
        return _CAUSAL
    return _MASKED if config.decoder is None else _WRITING
