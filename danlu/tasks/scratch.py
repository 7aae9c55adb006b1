"""A model without any pretraining, and a tokenizer of the task's own texts: where examples are many, or words unusual.

Translation began so (Vaswani et al. 2017, arXiv:1706.03762), and small parallel corpora still can.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, SkipValidation, field_validator

from danlu.data.dataset import Dataset
from danlu.nn.families import Family
from danlu.nn.families.given import Folder as PretrainedFolder
from danlu.nn.families.given import first_model
from danlu.nn.hf.folder import save_model
from danlu.recipe import OneOf, Settings
from danlu.tasks.task import Task
from danlu.tokenizers.bpe import BPE
from danlu.tokenizers.given import Folder as GivenTokenizer
from danlu.tokenizers.stage import Trainer


class Scratch(Settings):
    """What a fine-tuning begins with that begins with nothing."""

    family: Annotated[SkipValidation[Family], OneOf("model")]
    """The kind of model, and its size."""
    tokenizer: Annotated[SkipValidation[Trainer], OneOf("tokenizer")] = BPE()
    """What cuts text into tokens: trained on what ``train`` has to read and to write, or ``{use: folder, path: …}``."""
    max_length: int = Field(default=512, ge=4)
    """Tokens of the longest text that the model sees; T5 sees any."""

    @field_validator("family")
    @classmethod
    def _is_drawn(cls, family: Family) -> Family:
        if isinstance(family, PretrainedFolder):
            raise ValueError("a folder is pretrained; give its path as the model")
        return family

    def files(self) -> list[Path]:
        """Which decide what it begins with."""
        return self.tokenizer.files() if isinstance(self.tokenizer, GivenTokenizer) else []

    def begin(self, task: Task, dataset: Dataset[Any], folder: Path, *, seed: int) -> Path:
        """Write model and tokenizer to ``folder``, the same for the same data and seed; where they are."""
        tokenizer = self.tokenizer.train(task.texts(dataset.splits["train"]))
        folder.mkdir(parents=True, exist_ok=True)
        tokenizer.save(folder)
        config = self.family.config(vocab_size=tokenizer.vocab_size, max_length=self.max_length)
        save_model(first_model(self.family, config, seed=seed), folder, tokenizer=folder)
        return folder
