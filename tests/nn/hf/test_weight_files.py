"""Weights in one file or in several: what is written, and every way in which files can be wrong or mean harm."""

from __future__ import annotations

import json
import pickle
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from danlu.nn.hf import weight_files
from danlu.nn.hf.folder import load_model, save_model
from danlu.nn.transformer import Transformer

MakeModel = Callable[..., Transformer]
ModelFolder = Any
"""What the fixture of this name gives."""
UP = "model.layers.0.mlp.gate_proj.weight"


@pytest.fixture
def folder(tmp_path: Path, make_model: MakeModel, model_folder: Any) -> ModelFolder:
    """A Llama."""
    save_model(make_model("llama"), tmp_path / "model")
    load_model(tmp_path / "model")
    return model_folder(tmp_path / "model")


@pytest.fixture
def sharded(folder: ModelFolder) -> ModelFolder:
    """The same in two files, the second with what belongs to no layer."""
    folder.shard(layers=lambda name: ".layers." in name, rest=lambda name: True)
    load_model(folder.path)
    return folder


def same_weights(one: Transformer, other: Transformer) -> bool:
    return all(map(torch.equal, one.state_dict().values(), other.state_dict().values()))


def test_large_weights_become_shards_that_transformers_loads(tmp_path: Path, make_model: MakeModel) -> None:
    model = make_model("llama")
    save_model(model, tmp_path, max_shard_bytes=20_000)
    shards = sorted(path.name for path in tmp_path.glob("*.safetensors"))
    assert len(shards) > 2 and shards[0] == f"model-00001-of-{len(shards):05}.safetensors"
    index = json.loads((tmp_path / "model.safetensors.index.json").read_text())
    assert index["metadata"]["total_size"] == 4 * sum(weight.numel() for weight in model.parameters())
    assert sorted(set(index["weight_map"].values())) == shards
    for shard in shards:
        tensors = load_file(tmp_path / shard)
        assert len(tensors) == 1 or sum(tensor.nbytes for tensor in tensors.values()) <= 20_000
    assert same_weights(load_model(tmp_path), model)
    stock, report = transformers.AutoModelForCausalLM.from_pretrained(tmp_path, output_loading_info=True)
    assert not any(report.values())
    tokens = torch.arange(30)[None]
    with torch.no_grad():
        torch.testing.assert_close(stock(tokens).logits, model.head(model(tokens)), rtol=1e-5, atol=1e-5)


def test_reads_the_shards_of_transformers(tmp_path: Path, make_model: MakeModel) -> None:
    model = make_model("qwen3")
    save_model(model, tmp_path / "one")
    stock = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "one")
    stock.save_pretrained(tmp_path / "many", max_shard_size="20KB")
    assert len(list((tmp_path / "many").glob("model-*.safetensors"))) > 1
    assert same_weights(load_model(tmp_path / "many"), model)


@pytest.mark.parametrize(("first", "second"), [(20_000, 10**9), (10**9, 20_000), (20_000, 40_000)])
def test_a_model_that_is_cut_in_another_way_leaves_nothing_of_the_former(
    first: int, second: int, tmp_path: Path, make_model: MakeModel
) -> None:
    save_model(make_model("llama"), tmp_path / "a", max_shard_bytes=first)
    later = make_model("llama", seed=1)
    save_model(later, tmp_path / "a", max_shard_bytes=second)
    save_model(later, tmp_path / "b", max_shard_bytes=second)
    assert {path.name for path in (tmp_path / "a").iterdir()} == {path.name for path in (tmp_path / "b").iterdir()}
    assert same_weights(load_model(tmp_path / "a"), later)


@pytest.mark.parametrize("shard_bytes", [20_000, 10**9])
def test_a_failed_save_leaves_the_former_files_and_nothing_else(
    shard_bytes: int, tmp_path: Path, make_model: MakeModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_model(make_model(), tmp_path, max_shard_bytes=shard_bytes)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    saves = 0

    def full_disk(tensors: Any, path: Path, metadata: object) -> None:
        nonlocal saves
        saves += 1
        if saves == 2 or shard_bytes > 20_000:
            path.write_bytes(b"half")
            raise OSError(28, "No space left on device")
        save_file(tensors, path)

    monkeypatch.setattr(weight_files, "save_file", full_disk)
    with pytest.raises(OSError, match="No space"):
        save_model(make_model(seed=1), tmp_path, max_shard_bytes=shard_bytes)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def header(folder: ModelFolder) -> tuple[dict[str, Any], bytes]:
    raw = folder.weights.read_bytes()
    (length,) = struct.unpack("<Q", raw[:8])
    return json.loads(raw[8 : 8 + length]), raw[8 + length :]


def with_header(folder: ModelFolder, values: Any, data: bytes, *, length: int | None = None) -> None:
    text = values if isinstance(values, bytes) else json.dumps(values).encode()
    folder.weights.write_bytes(struct.pack("<Q", len(text) if length is None else length) + text + data)


def lie(folder: ModelFolder, **changes: Any) -> None:
    """Change what the header says of one tensor."""
    values, data = header(folder)
    values[UP] |= changes
    with_header(folder, values, data)


def overlap(folder: ModelFolder) -> None:
    values, data = header(folder)
    one, other = (name for name in values if name.endswith("mlp.up_proj.weight") and ".2." not in name)
    values[one]["data_offsets"] = values[other]["data_offsets"]
    with_header(folder, values, data)


def cut(folder: ModelFolder, size: int) -> None:
    folder.weights.write_bytes(folder.weights.read_bytes()[:size])


DAMAGES: dict[str, Callable[[ModelFolder], object]] = {
    "the last byte is missing": lambda f: cut(f, -1),
    "only a part of the header is there": lambda f: cut(f, 50),
    "only a part of its length is there": lambda f: cut(f, 5),
    "it is empty": lambda f: cut(f, 0),
    "more bytes than the header says": lambda f: f.weights.write_bytes(f.weights.read_bytes() + b"x"),
    "tensors overlap": overlap,
    "a tensor is larger than its place": lambda f: lie(f, shape=[520, 36]),
    "a tensor is smaller than its place": lambda f: lie(f, shape=[5, 36]),
    "a size that overflows": lambda f: lie(f, shape=[2**62, 2**62]),
    "a negative size": lambda f: lie(f, shape=[-52, -36]),
    "a place that ends before it begins": lambda f: lie(f, data_offsets=[100, 0]),
    "a place behind the end": lambda f: lie(f, data_offsets=[10**12, 10**12 + 4 * 52 * 36]),
    "a type that is none": lambda f: lie(f, dtype="F99"),
    "a header that is no JSON": lambda f: with_header(f, b"{" * 100, b""),
    "a header that is nested deeply": lambda f: with_header(f, b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}", b""),
    "a header that is a list": lambda f: with_header(f, [], b""),
    "a header longer than the file": lambda f: with_header(f, {}, b"", length=10**6),
    "a header longer than any file": lambda f: with_header(f, {}, b"", length=2**63),
    "a pickle of that name": lambda f: f.weights.write_bytes(pickle.dumps({UP: [1.0]})),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_says_in_one_line_that_a_file_is_damaged(damage: str, folder: ModelFolder) -> None:
    DAMAGES[damage](folder)
    assert folder.refused().startswith(f"{folder.weights} is damaged: ")


WRONG: list[tuple[Callable[[ModelFolder], object], str]] = [
    (lambda f: f.edit(lambda t: t.pop(UP)), f"model.safetensors lacks tensor {UP}; config.json says otherwise"),
    (lambda f: f.edit(lambda t: [t.pop(name) for name in list(t) if ".1." in name]), " and 8 more; config.json"),
    (lambda f: f.edit(lambda t: t.update({"odd": t[UP].clone()})), "holds the unknown tensor odd; config.json"),
    (lambda f: f.edit(lambda t: t.update({UP: t[UP][:-1].clone()})), f"{UP} must be [52, 36]; got [51, 36]"),
    (lambda f: f.edit(lambda t: t.update({UP: t[UP].T.contiguous()})), f"{UP} must be [52, 36]; got [36, 52]"),
    (
        lambda f: f.edit(lambda t: t.update({UP: t[UP].int()})),
        f"{UP} must be of a type of weights (F64, F32, F16, BF16)",
    ),
    (lambda f: f.edit(lambda t: t.update({UP: t[UP].bool()})), "got BOOL"),
    (lambda f: f.set(num_hidden_layers=4), "lacks tensor model.layers.3.self_attn.q_proj.weight and 8 more"),
    (lambda f: f.set(num_hidden_layers=2), "holds the unknown tensor model.layers.2"),
    (lambda f: f.set(vocab_size=96), "model.embed_tokens.weight must be [96, 36]; got [97, 36]"),
    (lambda f: f.set(vocab_size=2**31 - 1), "model.embed_tokens.weight must be [2147483647, 36]; got [97, 36]"),
    (lambda f: f.set(intermediate_size=2**31 - 1, hidden_size=2**31 - 2, num_attention_heads=2), "no machine holds"),
    (lambda f: f.set(tie_word_embeddings=True), "lm_head.weight differs from model.embed_tokens.weight"),
    (lambda f: f.weights.unlink(), "model.safetensors is missing"),
    (lambda f: (f.weights.unlink(), f.weights.mkdir()), "model.safetensors cannot be read"),
]


@pytest.mark.parametrize(("change", "words"), WRONG, ids=[words[:50] for _, words in WRONG])
def test_says_in_one_line_which_tensor_is_wrong(
    change: Callable[[ModelFolder], object], words: str, folder: ModelFolder
) -> None:
    change(folder)
    assert words in folder.refused()


def move(folder: ModelFolder, to: Path, name: str) -> None:
    """Put the second shard elsewhere and name it so in the index."""
    (folder.path / "rest.safetensors").rename(to)
    folder.list_files({tensor: name if "rest" in place else place for tensor, place in folder.places().items()})


def linked(folder: ModelFolder, outside: Path) -> None:
    (folder.path / "rest.safetensors").rename(outside)
    (folder.path / "rest.safetensors").symlink_to(outside)


def linked_folder(folder: ModelFolder, outside: Path) -> None:
    (folder.path / "shards").symlink_to(outside.parent)
    move(folder, outside, f"shards/{outside.name}")


SAME = "a file must lie in the same folder; got "
ELSEWHERE: dict[str, tuple[Callable[[ModelFolder, Path], object], str]] = {
    "above": (lambda f, out: move(f, out, f"../{out.name}"), SAME + "'../"),
    "absolute": (lambda f, out: move(f, out, str(out)), SAME + "'/"),
    "out and in again": (lambda f, out: move(f, f.path / "a.safetensors", "../model/a.safetensors"), SAME),
    "a folder inside": (
        lambda f, out: ((f.path / "sub").mkdir(), move(f, f.path / "sub" / "a.safetensors", "sub/a.safetensors")),
        SAME + "'sub/a",
    ),
    "a link to a file outside": (linked, SAME + "'rest.safetensors'"),
    "a link to a folder outside": (linked_folder, SAME + "'shards/"),
    "the folder above": (lambda f, out: f.list_files({UP: ".."}), SAME + "'..'"),
    "the folder itself": (lambda f, out: f.list_files({UP: ""}), SAME + "''"),
    "a name with a null": (lambda f, out: f.list_files({UP: "a\0b"}), SAME + r"'a\x00b'"),
}


@pytest.mark.parametrize("place", ELSEWHERE)
def test_an_index_leads_to_no_file_elsewhere(place: str, sharded: ModelFolder, tmp_path: Path) -> None:
    change, words = ELSEWHERE[place]
    change(sharded, tmp_path / "outside.safetensors")
    line = sharded.refused()
    assert line.startswith(f"{sharded.index}: ") and words in line


def test_the_links_of_a_hub_cache_are_followed(sharded: ModelFolder, tmp_path: Path) -> None:
    """``snapshots/REVISION/NAME`` there is a link to ``blobs/HASH``."""
    expected = load_model(sharded.path)
    snapshot, blobs = tmp_path / "cache" / "snapshots" / "abc", tmp_path / "cache" / "blobs"
    snapshot.mkdir(parents=True)
    blobs.mkdir()
    for number, path in enumerate(sorted(sharded.path.iterdir())):
        path.rename(blobs / f"{number}")
        (snapshot / path.name).symlink_to(f"../../blobs/{number}")
    assert same_weights(load_model(snapshot), expected)


def swap(folder: ModelFolder, tensor: str, place: str) -> None:
    folder.list_files({**folder.places(), tensor: place})


def twice(folder: ModelFolder) -> None:
    rest = folder.path / "rest.safetensors"
    layers = load_file(folder.path / "layers.safetensors")
    save_file({**load_file(rest), UP: layers[UP].clone()}, rest)


INDEXES: dict[str, tuple[Callable[[ModelFolder], object], str]] = {
    "a tensor in the wrong shard": (
        lambda f: swap(f, UP, "rest.safetensors"),
        f"layers.safetensors holds tensor {UP}, which it places in rest.safetensors",
    ),
    "a tensor in two shards": (twice, f"rest.safetensors holds tensor {UP}, which it places in layers.safetensors"),
    "a tensor that is nowhere": (lambda f: swap(f, "odd", "rest.safetensors"), "rest.safetensors lacks tensor odd"),
    "a tensor that is not named": (
        lambda f: f.list_files({k: v for k, v in f.places().items() if k != UP}),
        f"layers.safetensors holds tensor {UP}, which it does not name",
    ),
    "a shard that is missing": (lambda f: (f.path / "rest.safetensors").unlink(), "rest.safetensors is missing"),
    "a shard that is cut off": (
        lambda f: (f.path / "rest.safetensors").write_bytes((f.path / "rest.safetensors").read_bytes()[:-1]),
        "rest.safetensors is damaged",
    ),
    "a shard that is a folder": (lambda f: f.list_files({UP: "."}), "same folder; got '.'"),
    "no map": (lambda f: f.index.write_text("{}"), "index.json is damaged: KeyError('weight_map')"),
    "an empty map": (lambda f: f.list_files({}), "weight_map must name a file for each tensor"),
    "a map that is a list": (lambda f: f.list_files([UP]), "index.json is damaged"),
    "a list": (lambda f: f.index.write_text("[]"), "index.json is damaged"),
    "a file that is no name": (lambda f: f.list_files({UP: ["rest.safetensors"]}), "weight_map must name a file"),
    "no JSON": (lambda f: f.index.write_text('{"weight_map":'), "index.json is damaged"),
    "no text": (lambda f: f.index.write_bytes(b"\xff\xfe"), "index.json is damaged"),
    "deep JSON": (lambda f: f.index.write_text('{"a":' * 100_000), "index.json is damaged: it is nested too deeply"),
    "an index that is a folder": (lambda f: (f.index.unlink(), f.index.mkdir()), "index.json cannot be read"),
}


@pytest.mark.parametrize("what", INDEXES)
def test_says_in_one_line_what_is_wrong_with_an_index(what: str, sharded: ModelFolder) -> None:
    change, words = INDEXES[what]
    change(sharded)
    assert words in sharded.refused()


class Bomb:
    """Writes a file where it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.write_text, (self.path, "boom")


@pytest.mark.parametrize(
    "name", ["pytorch_model.bin", "model.pt", "model.safetensors", "pytorch_model-00001-of-00002.bin"]
)
@pytest.mark.parametrize("listed", [False, True])
def test_a_pickle_is_never_unpickled(name: str, listed: bool, folder: ModelFolder, tmp_path: Path) -> None:
    boom = tmp_path / "boom"
    data = pickle.dumps({UP: Bomb(boom)})
    pickle.loads(data)
    assert boom.exists()  # it would
    boom.unlink()
    folder.weights.unlink()
    (folder.path / name).write_bytes(data)
    if listed:
        folder.list_files({UP: name})
    line = folder.refused()
    assert not boom.exists()
    if not listed and name != "model.safetensors":
        assert line.endswith(
            f"{folder.weights.name} is missing; {name} is a pickle, which can run code and is never loaded"
        )
    else:
        assert "is damaged" in line


def test_a_real_checkpoint_of_torch_is_no_fall_back(folder: ModelFolder) -> None:
    torch.save(load_file(folder.weights), folder.path / "pytorch_model.bin")
    load_model(folder.path)
    folder.weights.write_bytes(folder.weights.read_bytes()[:-4])
    assert "is damaged" in folder.refused()
