"""nanochat in Hugging Face form (``NanoChatForCausalLM``): norms without gains, ReLU², soft-capped logits."""

from __future__ import annotations

from typing import Any

from danlu.nn.config import TransformerConfig
from danlu.nn.hf.config_file import ConfigFile
from danlu.nn.hf.decoder import ATTENTION, decoder_names, read_sizes, write_sizes
from danlu.nn.hf.family import FolderFamily, WeightNames

MLP: WeightNames = {"mlp.up.weight": ("mlp.fc1.weight",), "mlp.down.weight": ("mlp.fc2.weight",)}


def read_config(file: ConfigFile) -> TransformerConfig:
    file.only("hidden_act", "relu2")
    uncapped = "final_logit_softcapping" in file.values and file.get("final_logit_softcapping") is None
    return TransformerConfig(
        **read_sizes(file), activation="relu2", norm_weight=False, qk_norm="plain", embed_norm=True,
        rope_direction=-1, softcap=None if uncapped else file.number("final_logit_softcapping", 15.0),
    )  # fmt: skip


def write_config(config: TransformerConfig) -> dict[str, Any]:
    # NanoChatConfig has no head_dim of its own, but keeps it and NanoChatAttention reads it.
    return {**write_sizes(config), "hidden_act": "relu2", "final_logit_softcapping": config.softcap}


def weight_names(config: TransformerConfig) -> WeightNames:
    return decoder_names(config, block={**ATTENTION, **MLP}, top={})


NANOCHAT = FolderFamily("NanoChatForCausalLM", read_config, write_config, weight_names)
