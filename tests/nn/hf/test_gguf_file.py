"""GGUF's form: every type of tensor against transformers' own reader, and every way in which a file can be wrong."""

from __future__ import annotations

import random
import struct
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from danlu.errors import CheckpointError, DanluError, InputError
from danlu.nn.hf.gguf_file import GGUFFile

gguf = pytest.importorskip("gguf")
dequant = pytest.importorskip("transformers.integrations.gguf.dequant")

TYPES = {name: number for number, name in dequant.GGML_NAME.items()}
UNPACKED = {*gguf.quants._type_traits, gguf.GGMLQuantizationType.F32, gguf.GGMLQuantizationType.F16}
SCALES_F16 = {"Q4_1": (0, 2), "Q2_K": (80, 82), "Q3_K": (108,), "Q6_K": (208,), "IQ1_M": ()}
"""Where in a block scales stand; at the beginning where nothing is said. IQ1_M's is spread over the block."""


def write(path: Path, *, tensors: dict[str, tuple[np.ndarray, str]] | None = None, **metadata: object) -> Path:
    """A file with these tensors: their bytes or numbers, and their types."""
    writer = gguf.GGUFWriter(path, "llama")
    for key, value in metadata.items():
        writer.add_uint32(key, value) if isinstance(value, int) else writer.add_array(key, value)
    for name, (values, kind) in (tensors or {}).items():
        writer.add_tensor(name, values, raw_dtype=gguf.GGMLQuantizationType[kind])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


@pytest.mark.parametrize("kind", TYPES)
def test_quantised_tensors_are_what_transformers_makes_of_them(kind: str, tmp_path: Path) -> None:
    """Random blocks: the package gguf and transformers unpack them by programs of their own."""
    block, size = gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType[kind]]
    generator = np.random.default_rng(0)
    blocks = generator.integers(0, 256, (3, 2, size), dtype=np.uint8)
    for place in SCALES_F16.get(kind, (0,)):  # no infinite scales
        blocks[..., place + 1] &= 0b10111111
    raw = blocks.reshape(3, 2 * size)
    tensor = GGUFFile.open(write(tmp_path / "x.gguf", tensors={"x": (raw, kind)})).tensors["x"]
    assert tensor.shape == (3, 2 * block)
    expected = dequant.dequantize(torch.from_numpy(raw), TYPES[kind]).view(3, 2 * block)
    torch.testing.assert_close(tensor.read(), expected, rtol=1e-5, atol=0, equal_nan=True)


@pytest.mark.parametrize("kind", [each.name for each in gguf.GGML_QUANT_SIZES if each in UNPACKED])
def test_every_type_that_the_package_unpacks_is_read_as_it_unpacks_it(kind: str, tmp_path: Path) -> None:
    block, size = gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType[kind]]
    raw = np.random.default_rng(1).integers(0, 256, (2, 3, 5 * size), dtype=np.uint8)
    tensor = GGUFFile.open(write(tmp_path / "x.gguf", tensors={"x": (raw, kind)})).tensors["x"]
    with np.errstate(all="ignore"):  # scales that are no numbers
        expected = gguf.dequantize(raw, gguf.GGMLQuantizationType[kind])
    assert tensor.shape == (2, 3, 5 * block)
    assert np.array_equal(tensor.read().numpy(), expected.reshape(tensor.shape), equal_nan=True)


@pytest.mark.parametrize(("kind", "dtype"), [("F32", np.float32), ("F16", np.float16)])
def test_plain_tensors_are_read_as_they_are(kind: str, dtype: type, tmp_path: Path) -> None:
    values = np.random.default_rng(0).normal(size=(3, 5, 7)).astype(dtype)
    tensor = GGUFFile.open(write(tmp_path / "x.gguf", tensors={"x": (values, kind)})).tensors["x"]
    assert tensor.shape == (3, 5, 7)
    assert np.array_equal(tensor.read().numpy(), values.astype(np.float32))


def test_a_type_that_nobody_unpacks_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "x.gguf", tensors={"x": (np.ones((2, 4), np.int32), "I32")})
    with pytest.raises(CheckpointError, match="x is of type I32, which is not read"):
        GGUFFile.open(path).tensors["x"].read()


def test_metadata_of_every_type(tmp_path: Path) -> None:
    writer = gguf.GGUFWriter(tmp_path / "x.gguf", "llama")
    for kind, value in (("uint8", 200), ("int8", -3), ("uint16", 60000), ("int16", -300), ("uint32", 2**31),
                        ("int32", -(2**30)), ("uint64", 2**63), ("int64", -(2**62)), ("float32", 0.1),
                        ("float64", 0.1), ("bool", True), ("string", "丹炉")):  # fmt: skip
        getattr(writer, f"add_{kind}")(kind, value)
    writer.add_array("words", ["a", "", "炉"])
    writer.add_array("numbers", [1, 2, 3])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    metadata = GGUFFile.open(tmp_path / "x.gguf").metadata
    assert {key: metadata[key] for key in metadata if key != "general.architecture"} == {
        "uint8": 200, "int8": -3, "uint16": 60000, "int16": -300, "uint32": 2**31, "int32": -(2**30),
        "uint64": 2**63, "int64": -(2**62), "float32": 0.1, "float64": 0.1, "bool": True, "string": "丹炉",
        "words": ["a", "", "炉"], "numbers": [1, 2, 3],
    }  # fmt: skip


@pytest.fixture
def sound(tmp_path: Path) -> bytes:
    tensors = {"x": (np.ones((2, 64), np.float32), "F32"), "y": (np.ones((3, 34), np.uint8), "Q8_0")}
    return write(
        tmp_path / "sound.gguf", tensors=tensors, **{"a.words": ["one", "two"], "a.numbers": [1, 2]}
    ).read_bytes()


def test_a_file_that_is_cut_off_is_refused_wherever_it_ends(sound: bytes, tmp_path: Path) -> None:
    last = len(sound.rstrip(b"\0"))  # what pads the file behind the last tensor may be missing
    path = tmp_path / "cut.gguf"
    for length in range(0, last, 7):
        path.write_bytes(sound[:length])
        with pytest.raises(CheckpointError, match=r"cut\.gguf.*(it ends at byte|is no GGUF file)"):
            GGUFFile.open(path)


def test_a_damaged_file_is_refused_or_read_but_never_crashes(sound: bytes, tmp_path: Path) -> None:
    generator = random.Random(0)
    path = tmp_path / "odd.gguf"
    refused = 0
    for _ in range(600):
        odd = bytearray(sound)
        for _ in range(generator.randint(1, 3)):
            odd[generator.randrange(400)] = generator.randrange(256)
        path.write_bytes(odd)
        try:
            for tensor in GGUFFile.open(path).tensors.values():
                tensor.read()
        except DanluError as error:
            refused += 1
            assert "odd.gguf" in str(error)
            assert "\n" not in str(error)
    assert refused > 100


def test_forged_counts_take_neither_time_nor_memory(tmp_path: Path) -> None:
    """2**60 numbers of no bytes each are what keeps a trusting reader busy for ever."""
    path = tmp_path / "forged.gguf"
    begin = b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + struct.pack("<Q", 1) + b"k"
    for kind in (4, 8):
        path.write_bytes(begin + struct.pack("<IIQ", 9, kind, 2**60))
        with pytest.raises(CheckpointError, match=r"forged\.gguf is damaged"):
            GGUFFile.open(path)
    path.write_bytes(b"GGUF" + struct.pack("<IQQ", 3, 2**60, 0))
    with pytest.raises(CheckpointError, match="it ends at byte 24 in the middle of its header"):
        GGUFFile.open(path)


def table(*entries: tuple[str, tuple[int, ...], int, int], data: int = 4096) -> bytes:
    """A file without metadata: names, shapes as they stand in the file, types, offsets."""
    head = b"GGUF" + struct.pack("<IQQ", 3, len(entries), 0)
    for name, shape, kind, offset in entries:
        head += struct.pack("<Q", len(name)) + name.encode() + struct.pack("<I", len(shape))
        head += struct.pack(f"<{len(shape)}Q", *shape) + struct.pack("<IQ", kind, offset)
    return head + bytes(-len(head) % 32) + bytes(data)


FORGED = {
    "overlap": (table(("a", (64,), 0, 0), ("b", (64,), 0, 128)), "the tensor b overlaps another one"),
    "twice": (table(("a", (8,), 0, 0), ("a", (8,), 0, 32)), "the tensor a stands there twice"),
    "behind": (table(("a", (64,), 0, 4064)), "but a ends at"),
    "huge": (table(("a", (2**40, 2**40), 0, 0)), "but a ends at"),
    "type": (table(("a", (64,), 99, 0)), "a is of the unknown type 99"),
    "block": (table(("a", (33,), 8, 0)), "a is of type Q8_0, whose rows are multiples of 32; got 33"),
    "axes": (table(("a", (1,) * 9, 0, 0)), "a must have 1 to 4 axes; got 9"),
    "nothing": (table(("a", (8, 0), 0, 0)), r"a must have axes of length 1 or more; got \[0, 8\]"),
    "name": (table(("a\x1b[2J", (8,), 0, 0)), "the name at byte 24 is none that can be shown"),
    "long": (table(("a" * 999, (8,), 0, 0)), "the name at byte 24 is none that can be shown"),
    "version": (b"GGUF" + struct.pack("<IQQ", 1, 0, 0), "the version of GGUF must be 2 or 3; got 1"),
    "order": (b"GGUF" + struct.pack(">IQQ", 3, 0, 0), "or a big-endian file"),
    "magic": (b"\x80\x04pickle" + bytes(64), "is no GGUF file: it does not begin with GGUF"),
    "empty": (b"", "is no GGUF file"),
}


@pytest.mark.parametrize("case", FORGED)
def test_a_forged_file_is_refused(case: str, tmp_path: Path) -> None:
    content, message = FORGED[case]
    (tmp_path / "x.gguf").write_bytes(content)
    with pytest.raises(CheckpointError, match=message):
        GGUFFile.open(tmp_path / "x.gguf")


def test_a_missing_file_and_a_missing_package_are_named(
    tmp_path: Path, sound: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(InputError, match=r"there is no file .*none\.gguf"):
        GGUFFile.open(tmp_path / "none.gguf")
    monkeypatch.setitem(sys.modules, "gguf", None)
    with pytest.raises(InputError, match=r"^reading a GGUF file needs the package gguf: pip install gguf$"):
        GGUFFile.open(tmp_path / "sound.gguf")
