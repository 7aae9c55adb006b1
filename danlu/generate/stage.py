"""The stage ``generate``: a few prompts, and what the model writes after them."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Annotated, ClassVar, Self

from pydantic import Field, SkipValidation, model_validator

from danlu import log
from danlu.files import atomic_write
from danlu.generate.engine import Answer, Loaded, generate, load
from danlu.generate.prepare import Speed, load_ready
from danlu.generate.sampling import Sampling
from danlu.generate.search import Search
from danlu.generate.searching import find_answers
from danlu.generate.speculative import Drafting, speculate
from danlu.nn.speed import CompileSetting, DeviceSetting, PrecisionSetting
from danlu.recipe import OneOf, Settings
from danlu.stage import Figures, Job, Stage
from danlu.text.language import detect_language

DRAWING = tuple(name for name in Sampling.model_fields if name not in ("max_tokens", "stop", "temperature"))
"""What only drawing minds; a temperature stands in many recipes and harms no search."""


def not_for_search(sampling: Sampling) -> str | None:
    """What is wrong with settings for a search, which would silently leave out what only drawing minds."""
    plain = Sampling(max_tokens=sampling.max_tokens, stop=sampling.stop)
    odd = [name for name in DRAWING if getattr(sampling, name) != getattr(plain, name)]
    return f"a search draws nothing and minds no sampling.{odd[0]}; leave it or search out" if odd else None


class Prompt(Settings):
    """The beginning of a text."""

    short: ClassVar[str | None] = "text"

    text: str
    """What the model continues; an empty text begins a new document."""
    language: str | None = Field(default=None, min_length=2)
    """Such as en or zh; by default recognised from prompt and answer."""


class Generate(Stage):
    """Write samples with the trained model."""

    needs: ClassVar[tuple[str, ...]] = ("pretrain",)

    prompts: tuple[Prompt, ...] = Field(default=(Prompt(text=""),), min_length=1)
    """Beginnings of texts, each a text or a mapping with ``text``; an empty one begins a new document."""
    samples: int = Field(default=1, ge=1)
    """Texts to write after each prompt."""
    sampling: Sampling = Sampling()
    """How the tokens are drawn."""
    seed: int | None = Field(default=None, ge=0, lt=2**32)
    """What the draws follow from; by default the recipe's seed. Another one gives other texts."""
    search: Annotated[SkipValidation[Search] | None, OneOf("search")] = None
    """Look for a good answer (beam, contrastive) in place of drawing one; all samples of a prompt are then alike."""
    draft: Path | None = None
    """A folder with a smaller model of the same vocabulary, which drafts tokens for the trained one to check: faster,
    and distributed alike."""
    draft_tokens: int = Field(default=4, ge=1)
    """Tokens to draft at a time."""
    precision: PrecisionSetting = "fp32"
    """The model's number type. In bf16, which auto takes where the processor multiplies it in hardware, a model writes
    up to twice as fast, but what is rounded how depends on what is written beside: a seed then gives the same text
    only among the same prompts."""
    compile: CompileSetting = "auto"
    """Whether ``torch.compile`` makes the steps from token to token faster; auto leaves it out where it would not
    pay."""
    device: DeviceSetting = "cpu"
    """Where the model computes: auto is on a GPU where there is one."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.search is None:
            return self
        if self.draft is not None:
            raise ValueError("search and draft do not go together; leave one of them out")
        if wrong := not_for_search(self.sampling):
            raise ValueError(wrong)
        return self

    @property
    def speed(self) -> Speed:
        """What the settings say of it."""
        return Speed(self.precision, self.compile, self.device, "generate.device")

    def first_seed(self, recipe_seed: int) -> int:
        """The seed of the first sample, and of the first answer at the terminal."""
        return recipe_seed if self.seed is None else self.seed

    def run(self, job: Job) -> Figures:
        """Write ``samples.jsonl``: one ``{"prompt", "text", "language", "seed"}`` a line.

        Sample ``i``, counted over all prompts, is drawn with the seed plus ``i``.
        """
        folder = job.inputs["pretrain"] / "model"
        log.say(f"with the model in {folder}")
        loaded, how = load_ready(folder, self.speed, tokens=len(self.prompts) * self.sampling.max_tokens)
        log.say(how)
        drafting = None
        if self.draft is not None:
            weight = loaded.model.embedding.weight
            draft = load(self.draft, dtype=weight.dtype)
            draft.model.to(weight.device)
            drafting = Drafting(loaded, draft, self.draft_tokens)
        lines: list[str] = []
        tokens, began = 0, time.perf_counter()
        with log.progress("generate", len(self.prompts) * self.samples, "samples") as progress:
            for prompt in self.prompts:
                seed = self.first_seed(job.seed) + len(lines)
                answers = self._answers(loaded, drafting, [prompt.text] * self.samples, seed)
                tokens += sum(answer.tokens for answer in answers)
                lines += [_line(prompt, answer, seed + place) for place, answer in enumerate(answers)]
                progress.update(len(lines), tokens_per_second=tokens / (time.perf_counter() - began))
        seconds = time.perf_counter() - began
        atomic_write(job.out / "samples.jsonl", "".join(lines).encode())
        return {"samples": len(lines), "tokens": tokens, "tokens_per_second": round(tokens / seconds, 1)}

    def _answers(self, loaded: Loaded, drafting: Drafting | None, prompts: list[str], seed: int) -> list[Answer]:
        if self.search is not None:
            return find_answers(loaded, self.search, prompts, settings=self.sampling)
        if drafting is not None:
            return speculate(drafting, prompts, settings=self.sampling, seed=seed)
        model, tokenizer, special = loaded
        return generate(model, tokenizer, prompts, settings=self.sampling, seed=seed, special=special)


def _line(prompt: Prompt, answer: Answer, seed: int) -> str:
    language = prompt.language or detect_language(prompt.text + answer.text)
    sample = {"prompt": prompt.text, "text": answer.text, "language": language, "seed": seed}
    return json.dumps(sample, ensure_ascii=False) + "\n"
