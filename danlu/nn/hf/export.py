"""The stage ``export``: the trained model as a folder that stock ``transformers`` loads, with no remote code."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal

import torch

from danlu.errors import CheckpointError
from danlu.files import atomic_write
from danlu.nn.hf.card import READS, data_card_of, model_card
from danlu.nn.hf.folder import load_model, save_model
from danlu.nn.transformer import Transformer
from danlu.stage import Figures, Job, Stage

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
CHECKED_TOKENS = 16


class Export(Stage):
    """Settings of ``export``."""

    needs: ClassVar[tuple[str, ...]] = ("pretrain",)
    wants: ClassVar[tuple[str, ...]] = READS

    format: Literal["huggingface"] = "huggingface"
    """A folder for ``from_pretrained`` of ``AutoTokenizer`` and of the class that the model's card names, such as
    ``AutoModelForCausalLM``."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """The type of the weights; bfloat16 halves the folder and rounds each weight to 8 bits."""

    def run(self, job: Job) -> Figures:
        """Write the folder, a model card and, beside it, the data card of ``clean``; read it back and compare.

        Raises:
            CheckpointError: the trained model is damaged, or what was written is not what comes back.
        """
        dtype = DTYPES[self.dtype]
        trained = job.inputs["pretrain"] / "model"
        model = load_model(trained)
        save_model(model, job.out, dtype=dtype, tokenizer=trained)  # that which it was trained with
        _check(model, job.out, dtype)
        parameters = sum(weight.numel() for weight in model.parameters())
        size = sum(path.stat().st_size for path in job.out.iterdir() if path.name != "begun.json")
        if (card := data_card_of(job.recipe)) is not None:
            atomic_write(job.out / card.name, card.read_bytes())
        atomic_write(job.out / "README.md", model_card(job.recipe, model.config, parameters=parameters).encode())
        return {"family": model.config.family, "parameters": parameters, "dtype": self.dtype, "bytes": size}


@torch.inference_mode()
def _check(model: Transformer, folder: Path, dtype: torch.dtype) -> None:
    """Compare the logits of a few tokens, bit by bit, with those of the folder that was written."""
    written = load_model(folder)
    for weight in model.parameters():
        weight.copy_(weight.to(dtype))
    count = min(CHECKED_TOKENS, model.config.max_length)
    tokens_BT = torch.arange(count)[None] * 7919 % model.config.vocab_size
    if not torch.equal(_logits(model, tokens_BT), _logits(written, tokens_BT)):
        raise CheckpointError(f"{folder} does not hold the model that was written to it; is the disk sound?")


def _logits(model: Transformer, tokens_BT: torch.Tensor) -> torch.Tensor:
    """Of a decoder with an encoder, of what it writes after reading the same."""
    both = model.encoder is not None and model.decoder is not None
    logits: torch.Tensor = model.head(model(tokens_BT, memory=model.encode(tokens_BT) if both else None))
    return logits
