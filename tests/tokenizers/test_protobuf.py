"""Messages written by the package ``protobuf``, read here."""

from __future__ import annotations

import pytest
from google.protobuf import wrappers_pb2
from google.protobuf.struct_pb2 import Struct
from hypothesis import given
from hypothesis import strategies as st

from danlu.tokenizers.protobuf import fields, message


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


@given(st.integers(-(2**63), 2**63 - 1), st.text(st.characters(exclude_categories=["Cs"])), st.floats(width=32))
def test_what_is_written_here_the_package_reads(number: int, text: str, value: float) -> None:
    assert wrappers_pb2.Int64Value.FromString(message([(1, number)])).value == number
    assert wrappers_pb2.StringValue.FromString(message([(1, text)])).value == text
    assert wrappers_pb2.BytesValue.FromString(message([(1, text.encode())])).value == text.encode()
    read = wrappers_pb2.FloatValue.FromString(message([(1, value)])).value
    assert read == value or value != value
    assert list(fields(message([(300, 7), (1, message([(2, "a")]))]))) == [(300, 7), (1, b"\x12\x01a")]


@pytest.mark.parametrize("content", [b"\x0a\x05ab", b"\x08", b"\x08\xff", b"\x0b", b"\x0d\x00", b"\x08" + b"\xff" * 11])
def test_what_is_no_message_is_refused(content: bytes) -> None:
    with pytest.raises(ValueError, match="protocol buffer"):
        list(fields(content))
