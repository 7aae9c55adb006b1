"""Which model writes, with which settings and seed: those of a recipe, or of a folder that no recipe has made."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, NamedTuple

from pydantic import Field, SkipValidation

from danlu.errors import CheckpointError, InputError, RecipeError
from danlu.files import read_json
from danlu.generate.beam import Beam
from danlu.generate.prepare import Speed
from danlu.generate.sampling import Sampling
from danlu.generate.search import Search
from danlu.generate.stage import DRAWING, Generate, not_for_search
from danlu.nn.config import Embedding, Head, TransformerConfig
from danlu.nn.hf.folder import load_config
from danlu.nn.hf.given import check_given
from danlu.nn.speed import CompileSetting, DeviceSetting, PrecisionSetting
from danlu.recipe import OneOf, Recipe, build, plain
from danlu.recipe_file import apply_override
from danlu.run_folder import RunFolder

FILE = "generation_config.json"
KEYS = {
    "max_new_tokens": "max_tokens", "temperature": "temperature", "top_k": "top_k", "top_p": "top_p",
    "min_p": "min_p", "typical_p": "typical_p", "repetition_penalty": "repetition_penalty",
    "no_repeat_ngram_size": "no_repeat_ngram",
}  # fmt: skip
"""What ``transformers`` calls a setting -> what we call it; what else is in the file counts for nothing here."""
BEAM_KEYS = {
    "num_beams": "beams", "length_penalty": "length_penalty", "early_stopping": "early_stopping",
    "no_repeat_ngram_size": "no_repeat_ngram",
}  # fmt: skip
"""The same of a beam search, which a file with more than one beam asks for."""
NOTHING: dict[str, Any] = {
    "num_beams": 1, "length_penalty": 1, "early_stopping": False, "num_beam_groups": 1, "diversity_penalty": 0,
    "max_length": 20, "min_length": 0, "min_new_tokens": 0, "stop_strings": [], "suppress_tokens": [],
    "begin_suppress_tokens": [], "bad_words_ids": [], "sequence_bias": {}, "forced_decoder_ids": [],
    "exponential_decay_length_penalty": [], "encoder_repetition_penalty": 1, "encoder_no_repeat_ngram_size": 0,
    "epsilon_cutoff": 0, "eta_cutoff": 0, "top_h": 0, "penalty_alpha": 0, "guidance_scale": 1,
    "renormalize_logits": False, "watermarking_config": {}, "num_return_sequences": 1, "max_time": 0,
}  # fmt: skip
"""Keys with which ``transformers`` would write otherwise, and the values with which it would not."""
NO_LIMIT = {"top_k": 0, "no_repeat_ngram_size": 0}
"""Numbers with which ``transformers`` turns a setting off."""
DRAWS = {"temperature": 1.0, "top_k": 50}
"""What ``transformers`` takes where a file says ``do_sample: true`` and nothing else."""


class Source(NamedTuple):
    """A model's folder, and how it is asked."""

    folder: Path
    settings: Sampling
    seed: int
    speed: Speed = Speed()
    unused: tuple[str, ...] = ()
    """What the folder asks for and does not get, by the names of ``transformers``."""
    search: Search | None = None
    """What looks for an answer in place of drawing one."""


class Asked(Sampling):
    """What can be set where there is no recipe."""

    seed: int = Field(default=1, ge=0, lt=2**32)
    """What the draws follow from."""
    search: Annotated[SkipValidation[Search] | None, OneOf("search")] = None
    """Look for a good answer (beam, contrastive) in place of drawing one."""
    precision: PrecisionSetting = "fp32"
    """The model's number type. In bf16, which auto takes where the processor multiplies it in hardware, a model writes
    up to twice as fast, but what is rounded how depends on what is written beside: a seed then gives the same text
    only among the same prompts."""
    compile: CompileSetting = "auto"
    """Whether ``torch.compile`` makes the steps from token to token faster; auto leaves it out where it would not
    pay."""
    device: DeviceSetting = "cpu"
    """Where the model computes: auto is on a GPU where there is one."""


def of_recipe(recipe: Recipe) -> Source:
    """The model that the run's ``pretrain`` finished, else that of its ``export`` folder.

    Raises:
        InputError: the run has no trained model yet.
    """
    section = recipe.sections.get("generate", Generate())
    assert isinstance(section, Generate)
    run = RunFolder(recipe.run_dir)
    if run.done("pretrain"):
        folder = run.stage("pretrain") / "model"
    elif run.done("export"):
        folder = run.stage("export")
    else:
        raise InputError(f"{run.path} holds no trained model yet; run 'danlu run' with this recipe first")
    return Source(folder, section.sampling, section.first_seed(recipe.seed), section.speed, search=section.search)


def of_folder(folder: Path, overrides: Sequence[str]) -> Source:
    """The model in ``folder``; the settings are the overrides, else the folder's own, else ours.

    A folder that asks for several beams is searched with them, unless an override says how to draw.

    Raises:
        InputError, CheckpointError: there is no model, it is damaged, or it writes no text.
        RecipeError: an override is wrong.
    """
    check_given(folder)
    values: dict[str, Any] = {}
    for override in overrides:
        apply_override(values, override)
    given = build(Asked, values, key="")  # an override that is wrong is told before any file
    if given.search is not None and (wrong := not_for_search(given)):
        raise RecipeError(wrong)
    config = load_config(folder)
    _check_writes(folder, config)
    defaults = folder_defaults(folder, config)
    drawn = {"search", "temperature", *DRAWING} & values.keys()
    search = given.search if drawn else beams_of_folder(folder)
    if search is not None:
        defaults = {name: value for name, value in defaults.items() if name not in DRAWING}
    asked = build(Asked, {**defaults, **values}, key="")
    settings = Sampling(**{name: getattr(asked, name) for name in Sampling.model_fields})
    speed = Speed(asked.precision, asked.compile, asked.device)
    return Source(folder, settings, asked.seed, speed, unused(folder, search), search)


def folder_defaults(folder: Path, config: TransformerConfig) -> dict[str, Any]:
    """The settings that ``generation_config.json`` asks for, by our names.

    ``do_sample: false`` is temperature 0, and ``do_sample: true`` brings the defaults of ``transformers``. A file
    without that key leaves how a decoder draws to us; a model with an encoder, which answers, takes the likeliest
    token, as ``transformers`` does.

    Raises:
        CheckpointError: a value is none of such a setting.
    """
    path = folder / FILE
    file = read_json(path) or {}  # one that is damaged is told by ``special_tokens.py``, which has to read it too
    draws = file.get("do_sample")
    if not isinstance(draws, bool | None):
        raise CheckpointError(f"{path}: do_sample must be true or false; got {draws!r:.40}")
    values: dict[str, Any] = dict(DRAWS) if draws else {}
    for theirs, ours in KEYS.items():
        value = file.get(theirs)
        if value is not None:
            values[ours] = None if value == NO_LIMIT.get(theirs) else value
    if draws is False or (draws is None and config.encoder is not None):
        values["temperature"] = 0.0
    try:
        return {name: plain(build(Sampling, values, key=""))[name] for name in values}
    except RecipeError as error:
        raise CheckpointError(f"{path}: {error}") from None


def beams_of_folder(folder: Path) -> Beam | None:
    """The beam search that ``generation_config.json`` asks for; one that draws among its beams is none of ours.

    Raises:
        CheckpointError: a value is none of such a setting.
    """
    path = folder / FILE
    file = read_json(path) or {}
    if file.get("num_beams") in (None, 1) or file.get("do_sample") or file.get("num_beam_groups") not in (None, 1):
        return None
    given = {ours: file[theirs] for theirs, ours in BEAM_KEYS.items() if file.get(theirs) is not None}
    if given.get("no_repeat_ngram") == NO_LIMIT["no_repeat_ngram_size"]:
        del given["no_repeat_ngram"]
    try:
        beam: Beam = build(Beam, given, key="")
    except RecipeError as error:
        raise CheckpointError(f"{path}: {error}") from None
    return beam


def unused(folder: Path, search: Search | None) -> tuple[str, ...]:
    """The keys of ``generation_config.json`` that ask for something which is not done here."""
    file = read_json(folder / FILE) or {}
    usual = NOTHING if search is None else {**NOTHING, "repetition_penalty": 1}
    if search is not None and search == beams_of_folder(folder):
        usual = {key: value for key, value in usual.items() if key not in BEAM_KEYS}
    return tuple(key for key, value in usual.items() if file.get(key) is not None and file[key] != value)


def _check_writes(folder: Path, config: TransformerConfig) -> None:
    if config.decoder is not None and isinstance(config.head, Head):
        return
    if isinstance(config.head, Embedding):
        instead = f"'danlu embed {folder} TEXTS.txt --out VECTORS.npy' makes vectors of texts with it"
    else:
        instead = "Python callers use it through danlu.nn.hf.folder.load_model"
    kind = "an encoder" if config.decoder is None else "a decoder without a language-model head"
    raise InputError(f"the model in {folder} is {kind} ({config.family}) and writes no text; {instead}")
