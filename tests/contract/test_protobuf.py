"""Protobuf's wire format by the examples of its own documentation."""

import pytest

from edgevision.contract.protobuf import encode_field, fields

# message { int32 a = 1; } with a = 150, and message { string b = 2; } with b = "testing".
NUMBER = bytes.fromhex("089601")
TEXT = bytes.fromhex("120774657374696e67")


def test_fields_are_found_with_their_values():
    data = NUMBER + TEXT
    found = list(fields(data, 0, len(data)))
    assert [number for number, *_ in found] == [1, 2]
    _, start, body, end = found[1]
    assert (data[start:end], data[body:end]) == (TEXT, b"testing")


def test_a_field_is_encoded_as_documented():
    assert encode_field(2, b"testing") == TEXT


def test_lengths_above_127_take_two_bytes():
    data = encode_field(14, b"x" * 300)
    ((number, _, body, end),) = fields(data, 0, len(data))
    assert (number, end - body) == (14, 300)


def test_fixed_size_values_are_skipped():
    data = bytes([1 << 3 | 1]) + bytes(8) + bytes([2 << 3 | 5]) + bytes(4) + TEXT
    assert [number for number, *_ in fields(data, 0, len(data))] == [1, 2, 2]


@pytest.mark.parametrize(
    "data",
    [
        TEXT[:-1],  # shorter than declared
        b"\x00\x01",  # field number 0
        b"\x0b",  # wire type 3, a group
        b"\x08" + b"\xff" * 10,  # a varint of more than 64 bits
        b"\x08",  # no value
    ],
)
def test_other_bytes_are_refused(data):
    with pytest.raises((IndexError, ValueError)):
        list(fields(data, 0, len(data)))
