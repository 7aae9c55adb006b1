"""How likely decoders, alone or behind an encoder, find continuations: many at once, each by itself.

A decoder reads one long row without padding in which no text sees another; where its attention has biases, which such
a row would have for every pair of its tokens, rows are padded. Continuations whose inputs are the same, such as the
letters A to D after a question, are read once. Only what is scored goes through the head, some tokens at a time.

Axes: B rows, T tokens of a row, N tokens of all rows, S tokens of sources, D model width, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from danlu import log
from danlu.errors import CheckpointError, InputError
from danlu.generate.reader import encode, padded
from danlu.generate.special_tokens import SpecialTokens
from danlu.nn.cache import Memory
from danlu.nn.head import rows_at_once
from danlu.nn.transformer import Transformer
from danlu.suites.request import Request, Score
from danlu.suites.tokens import Pair, Window, parted_pairs, whole_pairs, windows
from danlu.tokenizers.tokenizer import Tokenizer

BATCH_TOKENS = 4096
"""Tokens that go through the model together."""


class DecoderScorer:
    """A decoder: log-likelihoods as those of ``lm-evaluation-harness``."""

    foresees = True

    def __init__(self, model: Transformer, tokenizer: Tokenizer, *, batch_tokens: int = BATCH_TOKENS) -> None:
        self.model, self.tokenizer, self.batch_tokens = model.eval(), tokenizer, batch_tokens

    def score(self, requests: Sequence[Request]) -> list[Score]:
        """As :class:`danlu.suites.request.Scorer` says."""
        return self.score_pairs(whole_pairs(self.tokenizer, requests))

    def score_pairs(self, pairs: Sequence[Pair]) -> list[Score]:
        """The same of tokens, whoever has made them."""
        most = self.model.config.max_length
        read = [windows(pair, most) for pair in pairs]
        scores = iter(self.score_windows([window for each in read for window in each]))
        found = []
        for pair, each in zip(pairs, read, strict=True):
            parts = [next(scores) for _ in each]
            cut = len(pair.context) + len(pair.continuation) > most + 1
            found.append(Score(sum(nats for nats, _ in parts), all(greedy for _, greedy in parts), cut))
        return found

    @torch.inference_mode()
    def score_windows(self, windows: Sequence[Window]) -> list[tuple[float, bool]]:
        """The log-likelihood of each window's targets, and whether each of them was the likeliest."""
        places: dict[tuple[int, ...], list[int]] = {}
        for place, window in enumerate(windows):
            places.setdefault(tuple(window.inputs), []).append(place)
        inputs = sorted(places, key=len, reverse=True)
        found: list[tuple[float, bool]] = [(0.0, True)] * len(windows)
        with log.progress("score", len(windows), "continuations") as progress:
            done = 0
            for batch in batches([len(each) for each in inputs], self.batch_tokens):
                rows = [list(inputs[place]) for place in batch]
                hidden_ND = read_rows(self.model, rows)
                chosen = [(row, place) for row, number in enumerate(batch) for place in places[inputs[number]]]
                ends = torch.tensor([len(row) for row in rows]).cumsum(0).tolist()
                targets = [windows[place].targets for _, place in chosen]
                index = [
                    torch.arange(ends[row] - len(target), ends[row])
                    for (row, _), target in zip(chosen, targets, strict=True)
                ]
                scores = score_targets(self.model, hidden_ND[torch.cat(index).to(hidden_ND.device)], targets)
                for (_, place), score in zip(chosen, scores, strict=True):
                    found[place] = score
                done += len(chosen)
                progress.update(done)
        return found


class AnswererScorer:
    """A decoder behind an encoder: the encoder reads the context, the decoder's tokens are scored."""

    foresees = True

    def __init__(
        self,
        model: Transformer,
        tokenizer: Tokenizer,
        *,
        special: SpecialTokens | None = None,
        batch_tokens: int = BATCH_TOKENS,
    ) -> None:
        self.model, self.tokenizer, self.batch_tokens = model.eval(), tokenizer, batch_tokens
        self.special = special or SpecialTokens.of(tokenizer, model.config)

    def score(self, requests: Sequence[Request]) -> list[Score]:
        """As :class:`danlu.suites.request.Scorer` says; a context that is too long is cut from the left."""
        return self.score_pairs(parted_pairs(self.tokenizer, requests, after=self.special.after))

    @torch.inference_mode()
    def score_pairs(self, pairs: Sequence[Pair]) -> list[Score]:
        """The same of tokens, whoever has made them."""
        most, start = self.model.config.max_length, self.special.start
        assert start is not None, "the model has no encoder"
        longest = max((len(pair.continuation) for pair in pairs), default=0)
        if longest > most:
            raise InputError(f"the model writes at most {most} tokens; got a continuation of {longest}")
        order = sorted(range(len(pairs)), key=lambda place: -len(pairs[place].context))
        found: list[Score | None] = [None] * len(pairs)
        sizes = [max(len(pairs[place].context), len(pairs[place].continuation)) for place in order]
        with log.progress("score", len(pairs), "continuations") as progress:
            done = 0
            for batch in batches(sizes, self.batch_tokens):
                chosen = [order[place] for place in batch]
                memory = encode(self.model, [pairs[place].context[-most:] for place in chosen])
                targets = [pairs[place].continuation for place in chosen]
                hidden_ND = read_rows(self.model, [[start, *target[:-1]] for target in targets], memory=memory)
                for place, score in zip(chosen, score_targets(self.model, hidden_ND, targets), strict=True):
                    found[place] = Score(*score, cut=len(pairs[place].context) > most)
                done += len(chosen)
                progress.update(done)
        return [score for score in found if score is not None]


def read_rows(model: Transformer, rows: Sequence[list[int]], *, memory: Memory | None = None) -> Tensor:
    """Hidden states ``[N, D]`` of all tokens, row after row; no row sees another.

    Args:
        memory: what the encoder made, a row for each of ``rows``.
    """
    device = model.embedding.weight.device
    lengths = torch.tensor([len(row) for row in rows])
    if may_share_a_row(model) and memory is None:
        numbers_1N = torch.arange(len(rows)).repeat_interleave(lengths)[None].to(device)
        tokens_1N = torch.tensor([[token for row in rows for token in row]], device=device)
        packed_ND: Tensor = model(tokens_1N, segments=numbers_1N if len(rows) > 1 else None)[0]
        return packed_ND
    tokens, segments_BT = padded(rows, left=False, device=device)
    hidden_BTD = model(torch.tensor(tokens, device=device), segments=segments_BT, memory=memory)
    real_BT = torch.arange(hidden_BTD.shape[1])[None] < lengths[:, None]
    padded_ND: Tensor = hidden_BTD[real_BT.to(device)]
    return padded_ND


def may_share_a_row(model: Transformer) -> bool:
    """Whether texts go through the model one behind the other, as cheaply as each alone."""
    return model.stack.bias is None and not model.stack.mixes


def score_targets(model: Transformer, hidden_ND: Tensor, targets: Sequence[Sequence[int]]) -> list[tuple[float, bool]]:
    """The summed log-probabilities of the targets of each row, and whether all of them were the likeliest.

    Args:
        hidden_ND: hidden states of what is scored, row after row.

    Raises:
        CheckpointError: they are infinite, or no numbers.
    """
    targets_N = torch.tensor([target for row in targets for target in row], device=hidden_ND.device)
    rows = rows_at_once(model.config.vocab_size)
    log_probabilities, likeliest = [], []
    for part_ND, part_N in zip(torch.split(hidden_ND, rows), torch.split(targets_N, rows), strict=True):
        logits_NV = model.head(part_ND).float()
        log_probabilities.append(logits_NV.log_softmax(-1).gather(1, part_N[:, None])[:, 0].double())
        likeliest.append(logits_NV.argmax(-1) == part_N)
    nats_N, likeliest_N = torch.cat(log_probabilities).cpu(), torch.cat(likeliest).cpu()
    if not bool(torch.isfinite(nats_N).all()):
        raise CheckpointError("the model finds texts infinitely unlikely, or gives what is no number")
    lengths = [len(row) for row in targets]
    return [
        (float(nats.sum()), bool(greedy.all()))
        for nats, greedy in zip(torch.split(nats_N, lengths), torch.split(likeliest_N, lengths), strict=True)
    ]


def batches(sizes: Sequence[int], most: int) -> Iterator[list[int]]:
    """Places of rows, those that stand side by side together; each batch holds ``most`` tokens, or one row.

    Rows are as wide as the widest of their batch, for some models pad them.
    """
    batch: list[int] = []
    widest = 0
    for place, size in enumerate(sizes):
        if batch and max(widest, size) * (len(batch) + 1) > most:
            yield batch
            batch, widest = [], 0
        batch.append(place)
        widest = max(widest, size)
    if batch:
        yield batch
