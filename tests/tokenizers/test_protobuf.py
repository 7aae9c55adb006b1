"""Messages written by the package ``protobuf``, read here."""

from __future__ import annotations

import pytest
from google.protobuf import wrappers_pb2
from google.protobuf.struct_pb2 import Struct
from hypothesis import given
from hypothesis import strategies as st

from danlu.tokenizers.protobuf import fields


@given(st.integers(0, 2**64 - 1), st.binary(min_size=1), st.floats(width=32, allow_nan=False))
def test_fields_are_those_that_were_written(number: int, content: bytes, value: float) -> None:
    for kind, there in (
        ("UInt64Value", number),
        ("BytesValue", content),
        ("FloatValue", value),
        ("DoubleValue", value),
    ):
        message = getattr(wrappers_pb2, kind)(value=there)
        assert list(fields(message.SerializeToString())) in ([(1, there)], [])
        assert there in (0, 0.0) or list(fields(message.SerializeToString()))


def test_messages_hold_messages() -> None:
    struct = Struct()
    struct.update({"a": 1.5})
    ((number, entry),) = fields(struct.SerializeToString())
    assert isinstance(entry, bytes)
    key, value = fields(entry)
    assert (number, key) == (1, (1, b"a"))
    assert isinstance(value[1], bytes)
    assert list(fields(value[1])) == [(2, 1.5)]


@pytest.mark.parametrize("content", [b"\x0a\x05ab", b"\x08", b"\x08\xff", b"\x0b", b"\x0d\x00", b"\x08" + b"\xff" * 11])
def test_what_is_no_message_is_refused(content: bytes) -> None:
    with pytest.raises(ValueError, match="protocol buffer"):
        list(fields(content))
