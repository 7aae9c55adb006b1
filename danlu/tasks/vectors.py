"""What tasks share that make a model for vectors of texts: a folder of ``sentence-transformers`` comes out.

Axes: N documents of the rows, D model width.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from danlu.corpus.batches import Batch
from danlu.data.dataset import Dataset
from danlu.errors import RecipeError, shown
from danlu.log import say
from danlu.nn.config import Embedding, Pooling, TransformerConfig
from danlu.nn.hf.sentence_transformers import TextSettings, read_texts, write_modules, write_texts
from danlu.nn.hf.start import Kind, Start, begin_embedding
from danlu.nn.transformer import Transformer
from danlu.objectives.words import hidden_states
from danlu.tasks.documents import vectors
from danlu.tasks.pooled import first_targets
from danlu.tasks.step_task import StepTask
from danlu.tasks.task import Known
from danlu.tasks.text_reader import TextReader


class VectorTask(StepTask):
    """Vectors of texts whose cosines mean something."""

    head: ClassVar[Kind] = "Model"

    pooling: Pooling | None = None
    """How the states of a text's tokens become its vector: their mean, the first, or the last; by default as the
    model's folder says, else an encoder's mean and a decoder's last."""
    temperature: float = Field(default=0.05, gt=0)
    """What cosines are divided by."""
    matryoshka: tuple[int, ...] = ()
    """So many first numbers of a vector shall be a vector too: the loss is the mean over these lengths and the whole
    one (Kusupati et al. 2022, arXiv:2205.13147)."""

    def know(self, dataset: Dataset[Any], base: TransformerConfig) -> Known:
        wrong = [length for length in self.matryoshka if not 1 <= length < base.dim]
        if wrong:
            raise RecipeError(f"finetune.task.matryoshka must be lengths from 1 to {base.dim - 1}; got {wrong[0]}")
        return Known()

    def outputs(self, known: Known) -> int:
        return 0

    def start(self, base: Path, known: Known, *, seed: int) -> Start:
        others = {name: text for name, text in read_texts(base).prompts.items() if text != self.prompts().get(name, "")}
        if others:
            say(f"{base} has prompts that are not those of finetune.task, which alone are used: {shown(str(others))}")
        return begin_embedding(base, pooling=self.pooling, seed=seed)

    def prompts(self) -> dict[str, str]:
        """What goes before texts, by what they are."""
        return {"query": "", "document": ""}

    def equip(self, model: Transformer, folder: Path, reader: TextReader) -> None:
        """The files that make it a folder of ``sentence-transformers``."""
        assert isinstance(model.config.head, Embedding)
        write_modules(folder, model.config.head, dim=model.config.dim)
        write_texts(folder, TextSettings(max_tokens=reader.max_tokens, prompts=self.prompts()))

    def vectors(self, model: Transformer, batch: Batch) -> Tensor:
        assert isinstance(model.config.head, Embedding)
        return vectors(hidden_states(model, batch).float(), batch.inputs["segments"], model.config.head.pooling)

    def lengths(self, vectors_ND: Tensor) -> list[Tensor]:
        """Unit vectors of each length that counts, ``[N, …]``."""
        return [
            torch.nn.functional.normalize(vectors_ND[:, :length], dim=-1)
            for length in (*self.matryoshka, vectors_ND.shape[1])
        ]


def first_of_documents(batches: Sequence[Batch], name: str) -> Tensor:
    """``[N]`` what stands at the first token of each document of all micro-batches."""
    return torch.cat([first_targets(batch, name) for batch in batches])
