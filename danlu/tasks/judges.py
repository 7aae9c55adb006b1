"""How good written answers are: by functions of the user's own, and by reward models."""

from __future__ import annotations

import importlib.util
import math
import sys
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache
from numbers import Real
from pathlib import Path
from typing import Any, ClassVar, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field

from danlu.data.asked import Asked
from danlu.data.chats import Message
from danlu.errors import InputError, RecipeError, shown
from danlu.files import stamps
from danlu.nn.hf.folder import load_model
from danlu.nn.speed import choose_device_beside
from danlu.nn.transformer import Transformer
from danlu.recipe import Settings
from danlu.tasks.answering import answer
from danlu.tasks.model_folder import Trained
from danlu.tasks.reward import Score, TooLongError
from danlu.tasks.text_reader import TextReader

Function = Callable[[list[str], list[str], dict[str, list[Any]]], Sequence[float]]
"""From prompts, answers and the columns of the file, all equally long, to a reward for each answer."""


class Judge(Protocol):
    """Whatever gives rewards."""

    @property
    def most_tokens(self) -> int | None:
        """Tokens of a conversation that it reads at most; None where it reads text of any length."""
        ...

    def __call__(self, asked: Sequence[Asked], answers: Sequence[str]) -> list[float]:
        """A finite reward for each answer, higher the better.

        Raises:
            InputError: there is none; the example is named.
        """
        ...


class RewardPart(Settings):
    """Something that gives rewards, and what they are multiplied by."""

    short: ClassVar[str | None] = "by"

    by: str
    """``FILE.py:FUNCTION``, which is called with prompts, answers and columns and returns a list of numbers; or the
    folder of a reward model that 'danlu finetune' has trained with ``use: reward``."""
    weight: float = Field(default=1.0)
    """What its rewards are multiplied by, where several are added up."""

    @property
    def name(self) -> str:
        """For figures: the function, or the folder's last part that says something."""
        if self.function is not None:
            return self.function[1]
        said = [part for part in Path(self.by).parts if part not in ("model", "finetune")]
        return said[-1] if said else self.by

    @property
    def function(self) -> tuple[Path, str] | None:
        """The file and the name of a function; None where it is a folder."""
        file, mark, name = self.by.rpartition(":")
        return (Path(file), name) if mark and file.endswith(".py") else None

    def files(self, key: str) -> list[Path]:
        """What it is read from.

        Raises:
            InputError: it is not there.
        """
        if self.function is not None:
            if not self.function[0].is_file():
                raise InputError(f"{key}: there is no file {self.function[0]}")
            return [self.function[0]]
        if not Path(self.by).is_dir():
            raise InputError(f"{key} must be FILE.py:FUNCTION or the folder of a reward model; got {self.by!r}")
        return sorted(path for path in Path(self.by).rglob("*") if path.is_file())

    def judge(self, key: str) -> Judge:
        """Ready to judge.

        Raises:
            InputError, RecipeError: the file has no such function, or the folder no reward model.
        """
        return _judge(self, key, stamps(self.files(key)), choose_device_beside(key))


def rewards_of(
    parts: Sequence[tuple[str, RewardPart]], asked: Sequence[Asked], answers: Sequence[str]
) -> NDArray[np.float64]:
    """``[R, N]``: what each of ``parts``, which have their keys beside them, gives for each answer, not weighted.

    Raises:
        InputError: an answer gets none.
    """
    return np.array([part.judge(key)(asked, answers) for key, part in parts], dtype=np.float64)


@lru_cache(maxsize=8)
def _judge(reward: RewardPart, key: str, files: tuple[Any, ...], device: torch.device) -> Judge:
    """``files``: their stamps, by which those that have changed since are read again."""
    if reward.function is not None:
        return _FunctionJudge(reward.function[0], reward.function[1], _load(*reward.function, key))
    return _ModelJudge.load(Path(reward.by), key, device)


def _load(file: Path, name: str, key: str) -> Function:
    whole = file.resolve()
    unlike = f"danlu_reward_{file.stem}_{zlib.crc32(bytes(whole)):08x}"  # two folders may have a file of one name
    spec = importlib.util.spec_from_file_location(unlike, whole)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[unlike] = module  # where dataclasses and the like look their own module up
    try:
        with _imports_from(str(whole.parent)):
            spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[unlike]
        raise RecipeError(f"{key}: {file} cannot be loaded: {_told(error, file)}") from error
    found = getattr(module, name, None)
    if not callable(found):
        there = [each for each, value in vars(module).items() if callable(value) and not each.startswith("_")]
        raise RecipeError(f"{key}: {file} has no function {name!r} (it has: {', '.join(there) or 'none'})")
    function: Function = found
    return function


@contextmanager
def _imports_from(folder: str) -> Iterator[None]:
    """What lies in ``folder`` can be imported, as by a program that lies there."""
    sys.path.insert(0, folder)
    try:
        yield
    finally:
        if folder in sys.path:  # the file may have changed it itself
            sys.path.remove(folder)


def _told(error: Exception, file: Path) -> str:
    """The error in one line, with the last line of ``file`` that it came through."""
    line, trace = getattr(error, "lineno", None), error.__traceback__
    while trace is not None:
        if Path(trace.tb_frame.f_code.co_filename).resolve() == file.resolve():  # the former is never relative
            line = trace.tb_lineno
        trace = trace.tb_next
    said = " ".join(str(error).split())
    where = "" if line is None else f" (line {line})"
    return f"{type(error).__name__}: {shown(said)}{where}"


def _is_list(given: Any) -> bool:
    """Whether something is a list or the like; a tensor of no dimension has all that lists have and is none."""
    if isinstance(given, Mapping | str | bytes) or getattr(given, "ndim", 1) == 0:
        return False
    return hasattr(given, "__len__") and hasattr(given, "__iter__")


@dataclass(frozen=True)
class _FunctionJudge:
    """A function of the user's."""

    file: Path
    name: str
    function: Function

    most_tokens: ClassVar[int | None] = None

    def __call__(self, asked: Sequence[Asked], answers: Sequence[str]) -> list[float]:
        try:
            given = self._call(asked, answers)
        except Exception as error:
            self._raise(asked, answers, error)
        if not _is_list(given):
            raise InputError(f"{self._where} must return a list of numbers; got {shown(repr(given))}")
        rewards = list(given)
        if len(rewards) != len(answers):
            raise InputError(
                f"{self._where} must return a number for each answer: it was called with {len(answers)}, the first to "
                f"{asked[0].place}, and returned {len(rewards)}"
            )
        return [self._checked(*each) for each in zip(rewards, asked, answers, strict=True)]

    @property
    def _where(self) -> str:
        return f"{self.file}:{self.name}"

    def _call(self, asked: Sequence[Asked], answers: Sequence[str]) -> Any:
        names = dict.fromkeys(name for each in asked for name in each.columns)
        columns = {name: [each.columns.get(name) for each in asked] for name in names}
        return self.function([each.prompt[-1].content for each in asked], list(answers), columns)

    def _raise(self, asked: Sequence[Asked], answers: Sequence[str], error: Exception) -> None:
        """The error with the first example for which the function fails alone, or else with the first of all.

        Raises:
            InputError: always.
        """
        place, text, reason = asked[0].place, answers[0], error
        for each, said in zip(asked, answers, strict=True):
            try:
                self._call([each], [said])
            except Exception as alone:
                place, text, reason = each.place, said, alone
                break
        told = _told(reason, self.file)
        if isinstance(reason, KeyError):
            told += f" (columns: {', '.join(map(shown, asked[0].columns))})"
        raise InputError(f"{self._where} failed on {place}, answer {shown(repr(text))}: {told}") from error

    def _checked(self, reward: Any, asked: Asked, said: str) -> float:
        if isinstance(reward, torch.Tensor | np.ndarray) and reward.ndim == 0:
            reward = reward.item()
        number = float(reward) if isinstance(reward, Real | np.bool_) else math.nan
        if not math.isfinite(number):
            raise InputError(
                f"{self._where} must return finite numbers; for {asked.place}, answer {shown(repr(said))}, it "
                f"returned {shown(repr(reward))}"
            )
        return number


@dataclass(frozen=True)
class _ModelJudge:
    """A reward model."""

    key: str
    task: Score
    trained: Trained
    model: Transformer
    reader: TextReader

    @classmethod
    def load(cls, folder: Path, key: str, device: torch.device) -> _ModelJudge:
        """In float32 on ``device``; it reads all that the model sees.

        Raises:
            RecipeError: it is no reward model.
        """
        trained = Trained.load(folder)
        if not isinstance(trained.task, Score):
            raise RecipeError(f"{key}: {folder} is no reward model, which 'use: reward' trains; its task is "
                              f"{trained.task.to_recipe()['use']}")  # fmt: skip
        model = load_model(folder).eval()
        reader = replace(TextReader.load(folder, max_tokens=trained.max_tokens), max_tokens=model.config.max_length)
        return cls(key, trained.task, trained, model.to(device), reader)

    @property
    def most_tokens(self) -> int:
        return self.reader.max_tokens

    def __call__(self, asked: Sequence[Asked], answers: Sequence[str]) -> list[float]:
        chats = [each.answered(Message("assistant", said)) for each, said in zip(asked, answers, strict=True)]
        known = self.trained.known
        try:
            features = self.task.features(chats, known, self.reader)
        except TooLongError as error:
            raise InputError(
                f"{error}; {self.key}: for this reward model finetune.task.max_tokens (of the prompt) or "
                f"finetune.task.answer_tokens must be lower"
            ) from error
        return [float(each.value) for each in answer(self.task, self.model, features, chats, known, self.reader)]
