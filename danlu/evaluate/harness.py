"""EleutherAI's ``lm-evaluation-harness`` on a model of ours: its tasks, its prompts. To import this needs it.

::

    import lm_eval
    from danlu.evaluate.harness import HarnessModel

    results = lm_eval.simple_evaluate(model=HarnessModel(Path("runs/mine/export")), tasks=["blimp"])

Text is read as ``transformers`` reads it, special tokens that are spelled out included, for chat templates spell them;
the figures are those of the harness's own model ``hf`` on the same folder.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import torch

from danlu.errors import InputError
from danlu.generate.engine import Loaded, generate, load
from danlu.generate.sampling import Sampling
from danlu.generate.special_tokens import SpecialTokens
from danlu.nn.hf.given import check_given
from danlu.nn.speed import DeviceSetting, choose_device
from danlu.optional import optional
from danlu.recipe import build
from danlu.suites.likelihood import BATCH_TOKENS, AnswererScorer, DecoderScorer
from danlu.suites.tokens import Pair, prefix_of
from danlu.tokenizers.chat_template import own_source, read_template
from danlu.tokenizers.folder import read_tokenizer
from danlu.tokenizers.tokenizer import Tokenizer

PURPOSE = "danlu.evaluate.harness"
Base: Any = optional("lm_eval.api.model", purpose=PURPOSE, install="lm-eval").TemplateLM
windows = optional("lm_eval.utils", purpose=PURPOSE, install="lm-eval")
settings_api = optional("lm_eval.models.utils", purpose=PURPOSE, install="lm-eval")

MAX_TOKENS = 256
"""Of an answer, where a task does not say."""
SAMPLED = ("temperature", "top_k", "top_p", "min_p", "repetition_penalty")
"""What a task may set of how answers are drawn."""


class ReadTokenizer(Tokenizer):
    """Texts as ``transformers`` reads them: with the template around them, and special tokens where they are spelled.

    Args:
        folder: the model's.
    """

    def __init__(self, folder: Path) -> None:
        inner, config = read_tokenizer(folder)
        super().__init__(inner, config)
        inner.encode_special_tokens = False
        self.inner = inner
        self.most: int | None = None
        """``encode`` gives the last so many tokens; None: all."""
        self.prefix_text = str(inner.decode([prefix_of(self)], skip_special_tokens=False))

    def framed(self, text: str, add_special_tokens: bool | None = None) -> list[int]:
        """Tokens with the template around them, unless the text has begun itself or it is not wanted."""
        if add_special_tokens is None:
            add_special_tokens = not (self.prefix_text and text.startswith(self.prefix_text))
        ids: list[int] = self.inner.encode(text, add_special_tokens=add_special_tokens).ids
        return ids

    def encode(self, text: str) -> list[int]:
        """The same, cut from the left: what an answer goes on from."""
        ids = self.framed(text)
        return ids if self.most is None else ids[-self.most :]


class HarnessModel(Base):
    """The model in a folder, as the harness asks one.

    Args:
        folder: with ``config.json``, weights and tokenizer.
        dtype: what the model calculates in.
        batch_tokens: tokens that go through it at once; changes no figure.

    Raises:
        InputError, CheckpointError: there is no model, it is damaged, or it writes no text.
    """

    def __init__(
        self,
        folder: Path | str,
        *,
        dtype: torch.dtype = torch.float32,
        device: DeviceSetting = "cpu",
        batch_tokens: int = BATCH_TOKENS,
    ) -> None:
        super().__init__()
        self.folder = Path(folder)
        check_given(self.folder)
        model, tokenizer, special = load(self.folder, dtype=dtype)
        model.to(choose_device(device, key="device")).eval()
        self.reader = ReadTokenizer(self.folder)
        both = model.config.encoder is not None
        self.backend = "seq2seq" if both else "causal"
        self.scorer: DecoderScorer | AnswererScorer = (
            AnswererScorer(model, tokenizer, special=special, batch_tokens=batch_tokens)
            if both
            else DecoderScorer(model, tokenizer, batch_tokens=batch_tokens)
        )
        # The reader puts the template around texts itself.
        framed = SpecialTokens((), (), special.ends, special.start, special.first, special.last)
        self.loaded = Loaded(model, self.reader, framed)

    @property
    def eot_token_id(self) -> int:
        return self.reader.eot

    @property
    def prefix_token_id(self) -> int:
        return prefix_of(self.reader)

    @property
    def max_length(self) -> int:
        return self.loaded.model.config.max_length

    @property
    def max_gen_toks(self) -> int:
        return MAX_TOKENS

    @property
    def tokenizer_name(self) -> str:
        return str(self.folder).replace("/", "__")

    def tok_encode(self, string: str, add_special_tokens: bool | None = None, **ignored: Any) -> list[int]:
        """Token ids, in the template unless ``add_special_tokens`` is false or the text begins as a text does."""
        return self.reader.framed(string, add_special_tokens)

    def _loglikelihood_tokens(
        self, requests: Sequence[tuple[tuple[str, str], list[int], list[int]]], disable_tqdm: bool = False
    ) -> list[tuple[float, bool]]:
        scores = self.scorer.score_pairs([Pair(context, continuation) for _, context, continuation in requests])
        answers = [(score.log_likelihood, score.greedy) for score in scores]
        for (texts, _, _), answer in zip(requests, answers, strict=True):
            self.cache_hook.add_partial("loglikelihood", texts, answer)
        return answers

    def loglikelihood_rolling(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[float]:
        """The log-likelihood of whole texts, in windows as the harness cuts them: each token once."""
        texts = [str(request.args[0]) for request in requests]
        parts = [[Pair(*windows.make_disjoint_window(each)) for each in self._rolling(text)] for text in texts]
        scores = iter(self.scorer.score_pairs([pair for each in parts for pair in each]))
        found = [sum(next(scores).log_likelihood for _ in each) for each in parts]
        for text, total in zip(texts, found, strict=True):
            self.cache_hook.add_partial("loglikelihood_rolling", (text,), total)
        return found

    def _rolling(self, text: str) -> Any:
        return windows.get_rolling_token_windows(
            token_list=self.tok_encode(text),
            prefix_token=self.prefix_token_id,
            max_seq_len=self.max_length,
            context_len=1,
        )

    def generate_until(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[str]:
        """Answers that end before a stop string; drawn where a task says so, else the likeliest tokens."""
        answers: dict[int, str] = {}
        numbered = sorted(enumerate(request.args for request in requests), key=lambda each: repr(each[1][1]))
        for _, group in groupby(numbered, key=lambda each: repr(each[1][1])):
            alike = list(group)
            settings = self._sampling(alike[0][1][1])
            self.reader.most = self.max_length - (settings.max_tokens if self.backend == "causal" else 0)
            if self.reader.most < 1:
                raise InputError(f"the model sees {self.max_length} tokens; the task asks for {settings.max_tokens}")
            prompts = [context for _, (context, _) in alike]
            model, tokenizer, special = self.loaded
            written = generate(model, tokenizer, prompts, settings=settings, seed=1, special=special)
            for (number, arguments), answer in zip(alike, written, strict=True):
                answers[number] = answer.text
                self.cache_hook.add_partial("generate_until", arguments, answer.text)
        return [answers[number] for number in range(len(requests))]

    def _sampling(self, asked: dict[str, Any]) -> Sampling:
        values = settings_api.normalize_gen_kwargs(asked, MAX_TOKENS)
        drawn = {name: values[name] for name in SAMPLED if values.get(name) is not None}
        if not values.pop("do_sample", False):
            drawn = {"temperature": 0.0}
        stop = [each for each in values["until"] if each]
        return build(Sampling, {**drawn, "max_tokens": values["max_gen_toks"], "stop": stop}, key="generation_kwargs")

    def apply_chat_template(self, chat_history: Sequence[dict[str, str]], add_generation_prompt: bool = True) -> str:
        """The text of a conversation, by the folder's template; where no answer is to come, the last message goes on.

        Raises:
            RecipeError: the folder has no template.
            InputError: it refuses the messages, or writes the last one otherwise, which then cannot go on.
        """
        text = read_template(self.folder).render(chat_history, ask=add_generation_prompt)
        if add_generation_prompt:
            return text
        last = str(chat_history[-1]["content"]).strip()
        if (end := text.rfind(last)) < 0:
            raise InputError(f"the chat template of {self.folder} rewrites the last message, which cannot go on then")
        return text[: end + len(last)]

    def chat_template(self, chat_template: bool | str = False) -> str | None:
        """The template, for the harness to tell results apart; None where none is asked for."""
        return own_source(self.folder, read_tokenizer(self.folder)[1]) if chat_template else None
