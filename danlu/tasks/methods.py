"""Which weights of a model a fine-tuning trains: all, a few, or adapters beside it.

What does not train has no master, no optimizer state and no gradient, and is in no checkpoint: it is the folder's.
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor

from danlu.errors import RecipeError
from danlu.nn.config import Labels, TransformerConfig
from danlu.nn.hf.peft import save_adapters, save_beside
from danlu.nn.lora import LoRA, add_adapters, merge
from danlu.nn.quantized import Format, dequantize, quantize
from danlu.nn.transformer import Transformer
from danlu.optim.depth import layers_above
from danlu.recipe import Choice
from danlu.tokenizers.tokenizer import Tokenizer

ADAPTERS = "adapters"
"""The folder with them, in a form that ``peft`` loads."""


class Method(Choice):
    """A choice of what trains. The head of a task, with a pooler or what else it begins with, does so always, and so do
    the tokens that it adds (``Material.draw``)."""

    names_base: ClassVar[bool] = False
    """Whether it leaves what belongs beside the model that began, and names the folder of that."""

    def shape(self, config: TransformerConfig) -> TransformerConfig:
        """The shape of the model while it trains, as far as texts are read by it.

        Raises:
            RecipeError: the model leaves no room for what is added to it.
        """
        return config

    def begin(self, model: Transformer, *, tokenizer: Path, seed: int) -> None:
        """Freeze what does not train, and add what trains beside it.

        Args:
            tokenizer: the folder of the one that goes with the model.

        Raises:
            RecipeError: the model has nothing of that kind, or can get none.
        """

    def finish(self, model: Transformer, out: Path, *, base: Path) -> None:
        """Make a trained model one that a folder can hold; write what is of use beside it."""

    def equip(self, folder: Path, *, base: Path) -> None:
        """Write what else the saved model's folder needs."""

    def complete(self, model: Transformer, out: Path, *, tokenizer: Path | None) -> None:
        """Have what is beside the finished model be of it.

        Args:
            tokenizer: that of the model, where the one that began has fewer tokens.
        """


class Full(Method):
    """Every weight trains."""


class LowRank(LoRA, Method):
    """LoRA: the product of two narrow matrices is learned beside each frozen one (Hu et al. 2021, arXiv:2106.09685).

    The result is the model with the adapters merged into it, and the adapters alone as a folder of ``peft``.
    """

    names_base: ClassVar[bool] = True

    quantize: Format | None = None
    """Keep the frozen matrices in so many bits while training: QLoRA (Dettmers et al. 2023, arXiv:2305.14314).
    The adapters learn to mend what that costs, so it is the quantised weights that they are merged into."""

    @model_validator(mode="after")
    def _has_targets(self) -> Self:
        if not self.targets:
            raise ValueError("targets must name a layer")
        return self

    def begin(self, model: Transformer, *, tokenizer: Path, seed: int) -> None:
        if self.quantize is not None:
            quantize(model, self.quantize)
        add_adapters(model, self, seed=seed)
        train_task_head(model)

    def finish(self, model: Transformer, out: Path, *, base: Path) -> None:
        save_adapters(model, out / ADAPTERS, base=str(base))
        merge(model)
        dequantize(model)

    def complete(self, model: Transformer, out: Path, *, tokenizer: Path | None) -> None:
        save_beside(model, out / ADAPTERS)
        if tokenizer is not None:
            Tokenizer.load(tokenizer).save(out / ADAPTERS)


class BitFit(Method):
    """Only biases train (Ben Zaken et al. 2021, arXiv:2106.10199)."""

    def begin(self, model: Transformer, *, tokenizer: Path, seed: int) -> None:
        chosen = {name for name, _ in model.named_parameters() if name.endswith(".bias")}
        if not any(not name.startswith("head.") for name in chosen):
            raise RecipeError(f"finetune.method bitfit trains biases, of which {model.config.family} models have none")
        train_only(model, chosen)
        train_task_head(model)


class Frozen(Method):
    """The bottom of the model stays as it is: the embeddings and so many blocks above them, the encoder's first."""

    layers: int = Field(ge=0)
    """Blocks that do not train; 0 are the embeddings alone."""

    def begin(self, model: Transformer, *, tokenizer: Path, seed: int) -> None:
        above = layers_above(name for name, _ in model.named_parameters())
        top = max(above.values())
        if self.layers >= top:
            raise RecipeError(f"finetune.method.layers must be at most {top - 1}, the blocks that there are; "
                              f"got {self.layers}")  # fmt: skip
        train_only(model, {name for name, layers in above.items() if top - layers > self.layers})
        train_task_head(model)


def load_trained(model: Transformer, weights: dict[str, Tensor]) -> None:
    """Put trained weights, by name, into a model that begins as the trained one did."""
    named = dict(model.named_parameters())
    with torch.no_grad():
        for name, weight in weights.items():
            named[name].copy_(weight)


def train_only(model: Transformer, names: set[str]) -> None:
    """Freeze all parameters but those."""
    for name, weight in model.named_parameters():
        weight.requires_grad_(name in names)


def train_task_head(model: Transformer) -> None:
    """The head of a task always trains; one of words is the model's own."""
    if isinstance(model.config.head, Labels):
        model.head.requires_grad_(True)
