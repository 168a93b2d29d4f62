from __future__ import annotations

import contextlib
import struct
from typing import Any

import msgpack
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from bunet.net.frame import (
    DTYPES,
    VERSION,
    Control,
    Frame,
    Limits,
    MalformedFrame,
    Signal,
    decode,
    encode,
    mismatch,
)
from bunet.protocols.steps import spec

DUE = struct.pack("<d", 0.0)
U32 = st.integers(0, 2**32 - 1)
ARRAYS = st.lists(
    hnp.arrays(st.sampled_from(list(DTYPES.values())), hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=5)),
    max_size=4,
)
TEXT = st.text(max_size=8)
LEAVES = st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats(allow_nan=False) | TEXT | st.binary()
BODIES = st.dictionaries(
    TEXT,
    st.recursive(LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3), max_leaves=4),
    max_size=3,
)


def wire(fields: Any, *buffers: bytes) -> list[bytes]:
    return [DUE + msgpack.packb(fields), *buffers]


GOOD = [VERSION, 1, 0, 1, 2, 3, "tag", [["uint32", 2, 3]]]


@given(U32, U32, U32, U32, TEXT, ARRAYS)
@settings(max_examples=25, deadline=None)
def test_frame_round_trip(slice_: int, layer: int, step: int, round_: int, tag: str, arrays: list[np.ndarray]) -> None:
    frame = Frame(slice_, layer, step, round_, tag, tuple(np.ascontiguousarray(a).reshape(a.shape) for a in arrays))
    encoded = encode(frame)
    parts = [bytes(part) for part in encoded.parts(2.5)]
    envelope = decode(parts)
    got = envelope.message
    assert isinstance(got, Frame)
    assert (got.slice, got.layer, got.step, got.round, got.tag) == (slice_, layer, step, round_, tag)
    assert envelope.due_s == 2.5
    assert envelope.wire_bytes == encoded.wire_bytes == sum(len(part) for part in parts)
    assert envelope.payload_bytes == encoded.payload_bytes == frame.nbytes == sum(a.nbytes for a in arrays)
    for ours, theirs in zip(frame.arrays, got.arrays, strict=True):
        assert ours.dtype == theirs.dtype
        assert ours.shape == theirs.shape
        assert np.array_equal(ours, theirs)


@given(TEXT, BODIES)
@settings(max_examples=25, deadline=None)
def test_control_round_trip(kind: str, body: dict[str, Any]) -> None:
    for message in (Control(kind, body), Signal(kind, body)):
        assert decode([bytes(part) for part in encode(message).parts()]).message == message


def test_no_copies() -> None:
    array = np.arange(1000, dtype=np.uint64)
    parts = encode(Frame(0, 0, 0, 0, "", (array,))).parts()
    got = decode(parts).message
    assert isinstance(got, Frame)
    assert np.shares_memory(got.arrays[0], array)
    assert array.flags.writeable
    assert not got.arrays[0].flags.writeable


def test_unaligned_buffers_are_copied() -> None:
    array = np.arange(10, dtype=np.uint64)
    block = np.zeros(81, np.uint8)
    block[1:] = array.view(np.uint8)
    header = bytes(encode(Frame(0, 0, 0, 0, "", (array,))).parts()[0])
    got = decode([header, block.data[1:]]).message
    assert isinstance(got, Frame)
    assert got.arrays[0].flags.aligned
    assert np.array_equal(got.arrays[0], array)


def test_good_header_is_good() -> None:
    assert isinstance(decode(wire(GOOD, b"\0" * 24)).message, Frame)


def changed(index: int, value: Any) -> list[Any]:
    fields = list(GOOD)
    fields[index] = value
    return fields


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ([], "no parts"),
        ([b""], "too short"),
        ([DUE], "too short"),
        ([DUE + b"\xc1"], "not msgpack"),
        ([DUE + msgpack.packb(GOOD) + b"\0", b"\0" * 24], "not msgpack"),
        ([DUE + msgpack.packb(GOOD)[:-1], b"\0" * 24], "not msgpack"),
        ([DUE + b"\x91" * 5000], "not msgpack"),
        ([struct.pack("<d", float("nan")) + msgpack.packb(GOOD), b"\0" * 24], "not a time"),
        ([struct.pack("<d", float("inf")) + msgpack.packb(GOOD), b"\0" * 24], "not a time"),
        ([struct.pack("<d", -1.0) + msgpack.packb(GOOD), b"\0" * 24], "not a time"),
        ([b"\0" * (1 << 17), b"\0" * 24], "header has 131072 bytes"),
        (wire({}), "not an array"),
        (wire([1]), "not an array"),
        (wire(changed(0, VERSION + 1), b"\0" * 24), "wire version"),
        (wire(changed(0, True), b"\0" * 24), "wire version"),
        (wire(changed(0, "1"), b"\0" * 24), "wire version"),
        (wire(changed(1, 4), b"\0" * 24), "unknown type"),
        (wire(changed(1, True), b"\0" * 24), "unknown type"),
        (wire(changed(1, []), b"\0" * 24), "unknown type"),
        (wire(changed(2, -1), b"\0" * 24), "slice, layer"),
        (wire(changed(5, 2**32), b"\0" * 24), "slice, layer"),
        (wire(changed(3, 1.0), b"\0" * 24), "slice, layer"),
        (wire(changed(4, None), b"\0" * 24), "slice, layer"),
        (wire(changed(6, "x" * 201), b"\0" * 24), "tag"),
        (wire(changed(6, b"x"), b"\0" * 24), "tag"),
        (wire(GOOD), "does not describe"),
        (wire(GOOD, b"\0" * 24, b""), "does not describe"),
        (wire(changed(7, None), b"\0" * 24), "does not describe"),
        (wire(GOOD, b"\0" * 23), "has 23 bytes"),
        (wire(changed(7, [[]]), b"\0" * 24), "dtype and extents"),
        (wire(changed(7, ["uint32"]), b"\0" * 4), "dtype and extents"),
        (wire(changed(7, [["int64", 3]]), b"\0" * 24), "may not travel"),
        (wire(changed(7, [["object", 3]]), b"\0" * 24), "may not travel"),
        (wire(changed(7, [[["uint32"], 6]]), b"\0" * 24), "may not travel"),
        (wire(changed(7, [["uint32", -2, -3]]), b"\0" * 24), "extents"),
        (wire(changed(7, [["uint32", True, 6]]), b"\0" * 24), "extents"),
        (wire(changed(7, [["uint32", 2**63, 2]]), b"\0" * 24), "extents"),
        (wire(changed(7, [["uint32", 2**61, 2**61, 8]]), b"\0" * 24), "bytes"),  # wraps to 0 in 64 bits
        (wire(changed(7, [["uint32", 0, 2**61, 2**61]]), b""), "beyond reason"),
        (wire(changed(7, [["uint32", *[1] * 9]]), b"\0" * 4), "dtype and extents"),
        (wire(GOOD, *[b""] * 65), "65 arrays"),
        (wire([VERSION, 2, "kind"]), "4 fields"),
        (wire([VERSION, 2, "kind", {}], b""), "4 fields"),
        (wire([VERSION, 2, 7, {}]), "type is not a text"),
        (wire([VERSION, 2, "kind", []]), "not a dict"),
        (wire([VERSION, 2, "kind", {"t": msgpack.Timestamp(1)}]), "Timestamp"),
        (wire([VERSION, 2, "kind", {"t": msgpack.ExtType(5, b"x")}]), "not msgpack"),
        (wire([VERSION, 2, "kind", {"a": {"b": {"c": {"d": {"e": {"f": {"g": {"h": {"i": 1}}}}}}}}}]), "deep"),
    ],
)
def test_malformed(parts: list[bytes], words: str) -> None:
    with pytest.raises(MalformedFrame, match=words) as caught:
        decode(parts)
    assert len(str(caught.value)) < 250  # one sentence, whatever the peer sent


@given(st.lists(st.binary(max_size=200), max_size=4))
@settings(max_examples=60, deadline=None)
def test_noise_is_malformed(parts: list[bytes]) -> None:
    with pytest.raises(MalformedFrame):
        decode(parts)


@given(st.integers(0, 200), st.integers(0, 255), st.booleans())
@settings(max_examples=120, deadline=None)
def test_a_changed_byte_reads_or_is_malformed(position: int, value: int, cut: bool) -> None:
    arrays = (np.zeros((2, 3), np.uint32), np.zeros(5, np.uint64), np.zeros((0, 4), np.uint8))
    parts = [bytes(part) for part in encode(Frame(9, 8, 7, 6, "tag", arrays)).parts()]
    header = bytearray(parts[0])
    header[position % len(header)] = value
    parts[0] = bytes(header[: position % len(header)] if cut else header)
    try:
        message = decode(parts).message
    except MalformedFrame:
        return
    if isinstance(message, Frame):
        assert sum(array.nbytes for array in message.arrays) == 24 + 40


@given(
    st.lists(LEAVES | st.lists(LEAVES, max_size=3), max_size=8) | st.dictionaries(TEXT | st.integers(0, 9), LEAVES),
    st.integers(1, 3),
)
@settings(max_examples=60, deadline=None)
def test_any_msgpack_reads_or_is_malformed(value: Any, code: int) -> None:
    fields = value if isinstance(value, list) else [VERSION, code, "kind", value]
    try:
        data = msgpack.packb(fields)
    except (OverflowError, ValueError):
        return
    with contextlib.suppress(MalformedFrame):
        decode([DUE + data])


def test_limits_are_the_callers() -> None:
    frame = Frame(0, 0, 0, 0, "", (np.zeros(100, np.uint8),))
    small = Limits(arrays=1, header=100, nbytes=99)
    with pytest.raises(ValueError, match="100 bytes, more than the 99"):
        encode(frame, small)
    with pytest.raises(MalformedFrame, match="100 bytes, more than the 99"):
        decode(encode(frame).parts(), small)


def test_mismatch() -> None:
    frame = Frame(0, 0, 0, 0, "t", (np.zeros((2, 3), np.uint32), np.zeros(4, np.uint8)))
    assert mismatch(frame, (spec(np.uint32, 2, 3), spec(np.uint8, 4))) is None
    assert mismatch(frame, [spec(np.uint32, 2, 3)]) == "message 't' has 2 arrays where 1 are expected"
    assert "array 1" in str(mismatch(frame, (spec(np.uint32, 2, 3), spec(np.uint8, 5))))
    assert "array 0" in str(mismatch(frame, (spec(np.uint64, 2, 3), spec(np.uint8, 4))))
    assert "(2, 3)" in str(mismatch(frame, (spec(np.uint32, 6), spec(np.uint8, 4))))
