"""Pooling of an embedding by the modules that sentence-transformers writes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from danlu.errors import CheckpointError, InputError
from danlu.nn.config import Embedding
from danlu.nn.hf.folder import load_config, load_model
from danlu.nn.sight import PADDING

PREFIX = "sentence_transformers.models."


def write_modules(folder: Path, *kinds: str, pooling: dict[str, Any] | None = None, path: str = "1_Pooling") -> None:
    """``modules.json`` and the settings of the pooling."""
    places = {"Transformer": "", "Pooling": path}
    modules = [
        {"idx": number, "name": str(number), "path": places.get(kind, f"{number}_{kind}"), "type": f"{PREFIX}{kind}"}
        for number, kind in enumerate(kinds)
    ]
    (folder / "modules.json").write_text(json.dumps(modules))
    if pooling is not None:
        (folder / "1_Pooling").mkdir(exist_ok=True)
        (folder / "1_Pooling/config.json").write_text(json.dumps(pooling))


def flags(**on: bool) -> dict[str, Any]:
    """The form that every release until the fifth wrote."""
    names = ("cls_token", "mean_tokens", "max_tokens", "mean_sqrt_len_tokens", "weightedmean_tokens", "lasttoken")
    return {"word_embedding_dimension": 36, **{f"pooling_mode_{name}": on.get(name, False) for name in names}}


@pytest.fixture
def bert(tmp_path: Path) -> Any:
    """A small model of transformers, written to ``tmp_path``."""
    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=97, hidden_size=36, num_hidden_layers=2, num_attention_heads=6, intermediate_size=52,
        max_position_embeddings=40,
    )  # fmt: skip
    model = transformers.BertModel(config).eval()
    model.save_pretrained(tmp_path)
    return model


@torch.no_grad()
def vectors(stock: Any, folder: Path, pooling: str, *, normalise: bool) -> tuple[torch.Tensor, torch.Tensor]:
    """Ours and those of ``stock``, pooled by hand, of rows with padding."""
    tokens_BT = torch.randint(1, 97, (3, 11), generator=torch.Generator().manual_seed(5))
    real_BT = torch.arange(11)[None] < torch.tensor([[11], [4], [7]])
    hidden_BTD = stock(tokens_BT, attention_mask=real_BT.long()).last_hidden_state
    rows = zip(hidden_BTD, real_BT, strict=True)
    by_hand = {
        "mean": lambda row: row.mean(0), "first": lambda row: row[0], "last": lambda row: row[-1],
    }[pooling]  # fmt: skip
    expected_BD = torch.stack([by_hand(hidden_TD[real_T]) for hidden_TD, real_T in rows])
    if normalise:
        expected_BD = expected_BD / expected_BD.norm(dim=1, keepdim=True)
    model = load_model(folder)
    segments_BT = torch.where(real_BT, 0, PADDING)
    return model.head(model(tokens_BT, segments=segments_BT), segments_BT), expected_BD


@pytest.mark.parametrize(("settings", "pooling"), [
    (flags(mean_tokens=True), "mean"), (flags(cls_token=True), "first"), (flags(lasttoken=True), "last"),
    ({"pooling_mode": "cls"}, "first"), ({"pooling_mode": ["mean"]}, "mean"),
])  # fmt: skip
@pytest.mark.parametrize("normalise", [True, False])
def test_modules_decide_pooling_and_length(
    settings: dict[str, Any], pooling: str, normalise: bool, bert: Any, tmp_path: Path
) -> None:
    write_modules(tmp_path, "Transformer", "Pooling", *(["Normalize"] if normalise else []), pooling=settings)
    ours, expected = vectors(bert, tmp_path, pooling, normalise=normalise)
    torch.testing.assert_close(ours, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.usefixtures("bert")
def test_a_folder_without_modules_is_as_before(tmp_path: Path) -> None:
    head = load_config(tmp_path).head
    assert isinstance(head, Embedding)
    assert (head.pooling, head.normalise) == ("mean", True)


@pytest.mark.usefixtures("bert")
def test_refuses_what_is_not_built_here(tmp_path: Path) -> None:
    write_modules(tmp_path, "Transformer", "Pooling", "Dense", pooling=flags(mean_tokens=True))
    with pytest.raises(CheckpointError, match="type must be Transformer or Pooling or Normalize; got Dense"):
        load_config(tmp_path)
    write_modules(tmp_path, "Transformer", "Pooling", pooling=flags(max_tokens=True))
    with pytest.raises(CheckpointError, match="must be one of cls, mean, lasttoken; got 'pooling_mode_max_tokens'"):
        load_config(tmp_path)
    write_modules(tmp_path, "Transformer", "Pooling", pooling=flags(mean_tokens=True, cls_token=True))
    with pytest.raises(CheckpointError, match=r"got \['pooling_mode_cls_token', 'pooling_mode_mean_tokens'\]"):
        load_config(tmp_path)


@pytest.mark.usefixtures("bert")
@pytest.mark.parametrize("path", ["../elsewhere", "..", "/etc", "a/b"])
def test_a_module_lies_in_the_folder(path: str, tmp_path: Path) -> None:
    write_modules(tmp_path, "Transformer", "Pooling", pooling=flags(mean_tokens=True), path=path)
    with pytest.raises(CheckpointError, match="path must name a folder in the same folder"):
        load_config(tmp_path)


@pytest.mark.usefixtures("bert")
def test_damaged_files_are_named(tmp_path: Path) -> None:
    write_modules(tmp_path, "Transformer", "Pooling")
    with pytest.raises(CheckpointError, match=r"1_Pooling/config\.json is missing"):
        load_config(tmp_path)
    (tmp_path / "modules.json").write_text("[{")
    with pytest.raises(CheckpointError, match=r"modules\.json is damaged"):
        load_config(tmp_path)
    (tmp_path / "modules.json").write_text("{}")
    with pytest.raises(CheckpointError, match="must hold a list of modules"):
        load_config(tmp_path)
    (tmp_path / "modules.json").unlink()
    (tmp_path / "modules.json").mkdir()
    with pytest.raises(InputError, match=r"modules\.json cannot be read: Is a directory"):
        load_config(tmp_path)
