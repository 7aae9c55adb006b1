"""The side of ``transformers``: a model with random weights, what it makes of each row by itself, and how it writes.

Axes: B rows, T tokens, V vocabulary, L labels, D model width.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from danlu.optional import optional
from danlu.verify.case import Case, Rows

STD, BIAS_STD, POSITION_STD = 0.15, 0.02, 4.0
"""Of weights, of biases, of what says where a token stands: so large that greedy tokens vary. Gains are around 1."""
POSITIONS = ("wpe", "position", "relative_attention_bias")
"""Parts of the names of embeddings that say where a token stands."""
START = 2
"""The token that a decoder begins with where there is an encoder."""
PADDING_TOKEN = 0

Outputs = dict[str, Tensor]
"""What comes out, for all real tokens of all rows one below the other, or for all rows: by its name."""


@cache
def transformers() -> Any:
    """The package, told to be quiet.

    Raises:
        InputError: it is not installed.
    """
    package = optional("transformers", purpose="danlu verify models")
    logging = optional("transformers.utils.logging", purpose="danlu verify models")
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    return package


def make_model(case: Case) -> Any:
    """The model of the case, its weights drawn from the case's seed."""
    kind = getattr(transformers(), case.model)
    model = kind(kind.config_class(**case.settings, attn_implementation="eager")).eval()
    if case.own_head:
        model.all_tied_weights_keys.pop("lm_head.weight", None)
        model.lm_head.weight = nn.Parameter(torch.empty_like(model.lm_head.weight))
    generator = torch.Generator().manual_seed(case.seed)
    with torch.no_grad():
        drawn = set()
        for place, module in model.named_modules():
            for name, weight in module.named_parameters(recurse=False):
                if id(weight) not in drawn:
                    mean, std = _spread(place, module, name)
                    weight.normal_(mean, std, generator=generator)
                    drawn.add(id(weight))
        if hasattr(model, "final_logits_bias"):
            model.final_logits_bias.normal_(0.0, STD, generator=generator)
            for side in (model.model.encoder, model.model.decoder):  # apart where the head is untied, but always equal
                side.embed_tokens.weight.copy_(model.model.shared.weight)
    return model


def _spread(place: str, module: nn.Module, name: str) -> tuple[float, float]:
    """The mean and the standard deviation of a weight."""
    if type(module).__name__.endswith("Norm") and name == "weight":
        return 1.0, STD
    if isinstance(module, nn.Embedding) and any(part in place for part in POSITIONS):
        return 0.0, POSITION_STD
    if place.endswith("Attention.q"):  # T5 leaves scores unscaled and has queries that are so much smaller
        return 0.0, STD / 3
    return 0.0, BIAS_STD if name == "bias" else STD


def save(case: Case, model: Any, folder: Path) -> None:
    """Write the folder as ``transformers`` does, or under the bare model's names."""
    model.save_pretrained(folder)
    if case.bare_names:
        path = folder / "model.safetensors"
        prefix = f"{model.base_model_prefix}."
        save_file({name.removeprefix(prefix): tensor for name, tensor in load_file(path).items()}, path)


def load(case: Case, folder: Path) -> tuple[Any, list[str]]:
    """The model in a folder, and what ``transformers`` finds wrong with it."""
    kind = getattr(transformers(), case.model)
    model, report = kind.from_pretrained(folder, output_loading_info=True)
    wrong = [f"transformers finds {kind}: {sorted(map(str, each))[0]}" for kind, each in report.items() if each]
    (named,) = json.loads((folder / "config.json").read_text(encoding="utf-8"))["architectures"]
    if named != case.model:
        wrong.append(f"config.json names {named}")
    return model.eval(), wrong


@torch.inference_mode()
def outputs(model: Any, rows: Rows) -> Outputs:
    """Every row by itself, without any padding: the truth that all else is held against."""
    parts: dict[str, list[Tensor]] = {}
    for number in range(len(rows.tokens)):
        for name, tensor in _named(model(**_inputs(model, rows, number))).items():
            parts.setdefault(name, []).append(tensor[0] if tensor.ndim == 3 else tensor)
    return {name: torch.cat(tensors) for name, tensors in parts.items()}


@torch.inference_mode()
def loss(model: Any, rows: Rows, targets: list[dict[str, Tensor]]) -> float:
    """The mean over the rows."""
    each = [model(**_inputs(model, rows, number), **kept).loss for number, kept in enumerate(targets)]
    return float(torch.stack(each).double().mean())


@torch.inference_mode()
def greedy(model: Any, tokens_BT: Tensor, mask_BT: Tensor, *, count: int) -> Tensor:
    """The ``count`` likeliest tokens ``[B, count]`` behind each row; no token ends a text."""
    writes_to_memory = model.config.is_encoder_decoder
    model.generation_config = transformers().GenerationConfig(
        max_new_tokens=count, do_sample=False, pad_token_id=PADDING_TOKEN, eos_token_id=None,
        decoder_start_token_id=START if writes_to_memory else None,
    )  # fmt: skip
    found: Tensor = model.generate(input_ids=tokens_BT, attention_mask=mask_BT)
    return found[:, -count:]


@torch.inference_mode()
def beam(model: Any, tokens_BT: Tensor, mask_BT: Tensor, *, beams: int, count: int, end: int) -> list[list[int]]:
    """The best answer to each row that a search of so many beams finds, with the token that ends it."""
    model.generation_config = transformers().GenerationConfig(
        max_new_tokens=count, do_sample=False, num_beams=beams, pad_token_id=PADDING_TOKEN, eos_token_id=end,
        decoder_start_token_id=START,
    )  # fmt: skip
    found = model.generate(input_ids=tokens_BT, attention_mask=mask_BT)[:, 1:].tolist()
    return [row[: row.index(end) + 1] if end in row else row for row in found]


@torch.inference_mode()
def score(model: Any, prompt: Tensor, written: list[int]) -> float:
    """The mean log-probability of the tokens of an answer: what a search looks for the best of."""
    out = model(input_ids=prompt[None], decoder_input_ids=torch.tensor([[START, *written[:-1]]]))
    each = out.logits[0].log_softmax(-1)[torch.arange(len(written)), written]
    return float(each.mean())


@torch.inference_mode()
def next_logits(model: Any, prompt: Tensor, written: Tensor) -> Tensor:
    """Logits ``[V]`` of the token behind what is written to a prompt."""
    if model.config.is_encoder_decoder:
        begun = torch.cat([torch.tensor([START]), written])
        out = model(input_ids=prompt[None], decoder_input_ids=begun[None])
    else:
        out = model(input_ids=torch.cat([prompt, written])[None])
    logits_V: Tensor = out.logits[0, -1]
    return logits_V


def _inputs(model: Any, rows: Rows, number: int) -> dict[str, Tensor]:
    inputs = {"input_ids": rows.tokens[number][None]}
    if rows.replies:
        inputs["decoder_input_ids"] = rows.replies[number][None]
    if rows.types:
        inputs["token_type_ids"] = rows.types[number][None]
    if type(model).__name__.endswith("ForMultipleChoice"):  # a question of one choice
        return {name: each[None] for name, each in inputs.items()}
    return inputs


def _named(out: Any) -> Outputs:
    """``[1, T, …]`` of tokens, ``[1, …]`` of rows."""
    if "start_logits" in out:
        return {"logits": torch.stack([out.start_logits, out.end_logits], 2)}
    if "prediction_logits" in out:
        return {"words": out.prediction_logits, "pair": out.seq_relationship_logits}
    if "logits" in out:
        return {"logits": out.logits}
    named = {"hidden": out.last_hidden_state}
    if out.get("pooler_output") is not None:
        named["pooler"] = out.pooler_output
    return named
