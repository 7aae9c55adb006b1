"""``adapter_config.json`` of PEFT: what is read of it, and what is refused because it would change the arithmetic."""

from __future__ import annotations

import re
from pathlib import Path

from danlu.errors import CheckpointError, InputError
from danlu.nn.hf.config_file import ConfigFile
from danlu.nn.hf.settings_files import read_object

CONFIG = "adapter_config.json"
READ = {
    "peft_type", "bias", "init_lora_weights", "r", "rank_pattern", "lora_alpha", "alpha_pattern", "lora_dropout",
    "use_rslora", "use_dora", "modules_to_save", "trainable_token_indices",
}  # fmt: skip
WITHOUT_EFFECT = {
    # Which modules have adapters, the tensors say.
    "target_modules", "exclude_modules", "layers_to_transform", "layers_pattern", "fan_in_fan_out",
    # About the file and the training; or details of settings that are refused where they are used.
    "task_type", "auto_mapping", "base_model_name_or_path", "revision", "inference_mode", "peft_version", "eva_config",
    "runtime_config", "megatron_core", "qalora_group_size",
}  # fmt: skip
BEGINNINGS = (True, False, "gaussian", "orthogonal", "eva")
"""Values of ``init_lora_weights`` that leave the frozen weights alone; others, as PiSSA, change them at each start."""
REPEATS, REPEATED_GROUP, MOST_REPEATS = re.compile(r"[*+{?|]"), re.compile(r"\)[*+{?]"), 3
"""A pattern of the file that would be tried in more ways than this could take for ever."""


class PeftConfig:
    """The settings of adapters, those of a module by its name."""

    def __init__(self, file: ConfigFile) -> None:
        self.file = file
        file.only("peft_type", "LORA")
        file.only("bias", "none")
        file.only("init_lora_weights", *BEGINNINGS)
        for key, value in file.values.items():
            if key not in READ | WITHOUT_EFFECT and value:
                raise file.wrong(key, value, "null (nothing else is supported)")
        self.dropout = file.share("lora_dropout", 0.0)
        self.rank_stabilised = file.flag("use_rslora", False)
        self.dora = file.flag("use_dora", False)
        self.kept = _names(file)
        self.tokens = _tokens(file)

    @classmethod
    def load(cls, folder: Path) -> PeftConfig:
        """Read ``folder/adapter_config.json``.

        Raises:
            InputError: there is no such folder or file.
            CheckpointError: it is damaged, or asks for something that is not built here.
        """
        path = folder / CONFIG
        try:
            return cls(ConfigFile(path, read_object(path)))
        except (FileNotFoundError, NotADirectoryError):
            raise InputError(f"no adapter in {folder}: {CONFIG} is missing") from None

    def rank(self, module: str) -> int:
        """That of the adapter of ``module``."""
        return self._by_module("r", "rank_pattern", module).integer("r", 8)

    def alpha(self, module: str) -> float:
        """Likewise."""
        return self._by_module("lora_alpha", "alpha_pattern", module).number("lora_alpha", 8)

    def _by_module(self, key: str, patterns_key: str, module: str) -> ConfigFile:
        """``key`` as the first pattern that fits the name or its end has it."""
        for pattern, value in self.file.mapping(patterns_key).items():
            if len(REPEATS.findall(pattern)) > MOST_REPEATS or REPEATED_GROUP.search(pattern):
                wanted = f"patterns with at most {MOST_REPEATS} repeats and no repeated group"
                raise self.file.wrong(patterns_key, pattern, wanted)
            try:
                fits = re.match(rf"(.*\.)?({pattern})$", module)
            except (re.error, OverflowError, RecursionError) as error:
                raise CheckpointError(f"{self.file.path}: {patterns_key}: {pattern!r} is no pattern: {error}") from None
            if fits:
                return ConfigFile(self.file.path, {key: value})
        return ConfigFile(self.file.path, {key: self.file.get(key)})


def _names(file: ConfigFile) -> tuple[str, ...]:
    """Ends of the names of modules that are written whole."""
    names = file.get("modules_to_save") or []
    if not isinstance(names, list) or not all(isinstance(each, str) and each for each in names):
        raise file.wrong("modules_to_save", names, "a list of names")
    return tuple(names)


def _tokens(file: ConfigFile) -> dict[str | None, list[int]]:
    """End of an embedding's name -> ids of the tokens whose rows are trained; None is the embedding of words."""
    key = "trainable_token_indices"
    said = file.get(key) or {}
    if isinstance(said, list):
        said = {None: said}
    if not isinstance(said, dict):
        raise file.wrong(key, said, "a list of token ids, or such lists by an embedding's name")
    for ids in said.values():
        numbers = isinstance(ids, list) and all(isinstance(each, int) and not isinstance(each, bool) for each in ids)
        if not numbers or min(ids, default=0) < 0 or len(set(ids)) < len(ids):
            raise file.wrong(key, ids, "different token ids from 0")
    return {name: ids for name, ids in said.items() if ids}
