"""A model without any pretraining, and a tokenizer of the task's own texts: where examples are many, or words unusual.

Translation began so (Vaswani et al. 2017, arXiv:1706.03762), and small parallel corpora still can.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, SkipValidation, field_validator

from danlu import __version__
from danlu.data.dataset import Dataset
from danlu.files import hash_file, make_folder, read_json, remove_folder, sync_folder, write_json, writing
from danlu.nn.families import Family
from danlu.nn.families.given import Folder as PretrainedFolder
from danlu.nn.families.given import first_model
from danlu.nn.hf.folder import save_model
from danlu.parallel.joining import here
from danlu.recipe import OneOf, Settings, plain
from danlu.tasks.task import Task
from danlu.ticks import ticking
from danlu.tokenizers.bpe import BPE
from danlu.tokenizers.extend import Extend
from danlu.tokenizers.given import Folder as GivenTokenizer
from danlu.tokenizers.stage import Trainer
from danlu.train.drawing import drawn

MADE_FROM = "made_from.json"
"""In the folder of a model that was drawn: what it was made from."""
LETTERS_A_SECOND = 5e5
"""Which the slowest of the tokenizers, Unigram, learns from on half as fast a core as was measured."""


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
        return self.tokenizer.files() if isinstance(self.tokenizer, GivenTokenizer | Extend) else []

    def longest_call(self, task: Task, dataset: Dataset[Any]) -> float:
        """Seconds that the call may take which trains the tokenizer."""
        return sum(map(len, task.texts(dataset.splits["train"]))) / LETTERS_A_SECOND

    def begin(self, task: Task, dataset: Dataset[Any], folder: Path, *, seed: int) -> Path:
        """Write model and tokenizer to ``folder``, the same for the same train and seed; where they are.

        They appear together or not at all; what is there and was made from the same is left as it is.
        """
        train = dataset.splits["train"]
        made_from = {
            "danlu": __version__, "seed": seed, "settings": json.loads(json.dumps(plain(self))),
            "files": {str(path): hash_file(path) for path in self.files()}, "texts": _digest(task.texts(train)),
        }  # fmt: skip
        if read_json(folder / MADE_FROM) == made_from:
            return folder
        hidden = folder.with_name(f".{folder.name}.partial")
        with writing(folder.parent):
            shutil.rmtree(hidden, ignore_errors=True)  # by a process that was killed
            make_folder(hidden)
            self._write(task.texts(train), hidden, seed=seed)
            write_json(hidden / MADE_FROM, made_from)
            if folder.exists():
                remove_folder(folder)
            hidden.rename(folder)
            sync_folder(folder.parent)
        return folder

    def _write(self, texts: Iterable[str], folder: Path, *, seed: int) -> None:
        tokenizer = self.tokenizer.train(ticking(texts))
        tokenizer.save(folder)
        config = self.family.config(vocab_size=tokenizer.vocab_size, max_length=self.max_length)
        model = drawn(lambda: first_model(self.family, config, seed=seed), here())
        save_model(model, folder, tokenizer=folder)


def is_drawn(folder: Path) -> bool:
    """Whether the folder has such a model, whole."""
    return (folder / MADE_FROM).is_file()


def remove_drawn(folder: Path) -> None:
    """Delete the folder of such a model; killed on the way, it is no such folder any more, and is drawn again."""
    (folder / MADE_FROM).unlink(missing_ok=True)
    sync_folder(folder)
    remove_folder(folder)


def _digest(texts: Iterable[str]) -> str:
    found = hashlib.sha256()
    for text in texts:
        found.update(f"{json.dumps(text)}\n".encode())  # in ASCII: half a surrogate pair has no bytes of its own
    return found.hexdigest()
