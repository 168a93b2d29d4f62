"""What travels: frames of arrays, and control messages; their form on the wire, read strictly.

A message is a list of parts. Part 0 is the header: 8 bytes, a little-endian float64 with the time at which the message
is due (seconds of the common clock, 0 for at once; see `bunet.net.shaper`), then one msgpack array:

    frame    [VERSION, 1, slice, layer, step, round, tag, [[dtype, extent, extent, ...], ...]]
    control  [VERSION, 2, type, body]
    signal   [VERSION, 3, type, body]      (between the channels themselves: hello, ping, bye)

Each further part of a frame is the raw buffer of one array, little-endian, C order. There is no pickle, and no kind of
array beyond the whitelist. Whatever does not read exactly so is a `MalformedFrame`.
"""

from __future__ import annotations

import math
import struct
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

import msgpack
import numpy as np

from bunet.models.errors import PeerError

VERSION = 1
DTYPES: dict[str, np.dtype] = {name: np.dtype(name) for name in ("uint8", "uint32", "uint64")}
_NAMES = {dtype: name for name, dtype in DTYPES.items()}
_FRAME, _CONTROL, _SIGNAL = 1, 2, 3
_DUE = struct.Struct("<d")
_INTEGER_BOUND = 1 << 32  # slice, layer, step, round
_MAX_TAG = 200  # characters
_MAX_AXES = 8
_MAX_DEPTH = 8  # of a control message's body

if sys.byteorder != "little":  # pragma: no cover
    raise ImportError("bunet.net sends arrays in the machine's own byte order and runs on little-endian machines only")


class MalformedFrame(PeerError):
    """The peer sent bytes that are not a message of this version, or a message beyond the limits."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a message may measure; larger ones are refused on both sides.

    arrays: in one frame. header: bytes of part 0. nbytes: bytes of all arrays of a frame together.
    """

    arrays: int = 64
    header: int = 64 << 10
    nbytes: int = 256 << 20


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """One step's arrays. (slice, layer, step, round) say where they belong, `tag` which message of a protocol it is.

    Integers are in [0, 2^32). arrays: C-contiguous, of dtypes uint8, uint32, uint64, at most 8 axes; they travel without
    copy and must not be written to after sending. Received arrays are read-only.
    """

    slice: int
    layer: int
    step: int
    round: int
    tag: str
    arrays: tuple[np.ndarray, ...] = ()

    @property
    def nbytes(self) -> int:
        """Payload bytes: of the arrays, without the header."""
        return sum(array.nbytes for array in self.arrays)


@dataclass(frozen=True, slots=True)
class Control:
    """A small message about the session itself, such as the handshake or an error that ends it.

    body: None, bool, int, float, str, bytes, and lists and string-keyed dicts of these.
    """

    type: str
    body: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Signal:
    """Like Control, but between the channels themselves; a user of a channel never sees one."""

    type: str
    body: dict[str, Any] = field(default_factory=dict)


Message = Frame | Control


class Encoded(NamedTuple):
    """A message ready for the wire: the header without its due time, and the arrays' buffers."""

    header: bytes
    buffers: tuple[memoryview, ...]
    payload_bytes: int
    wire_bytes: int

    def parts(self, due_s: float = 0.0) -> list[bytes | memoryview]:
        return [_DUE.pack(due_s) + self.header, *self.buffers]


class Envelope(NamedTuple):
    """A message that has arrived, when it is due, and what it measured."""

    message: Frame | Control | Signal
    due_s: float
    payload_bytes: int
    wire_bytes: int


class Spec(Protocol):
    """What `matches` wants of a specification; `bunet.protocols.steps.ArraySpec` is one."""

    @property
    def dtype(self) -> str: ...
    @property
    def shape(self) -> tuple[int, ...]: ...


def encode(message: Frame | Control | Signal, limits: Limits = Limits()) -> Encoded:
    """Bytes of a message, buffers shared with its arrays. Raises TypeError or ValueError for what may not travel."""
    if isinstance(message, Frame):
        return _encode_frame(message, limits)
    if not isinstance(message, Control | Signal):
        raise TypeError(f"a channel sends Frame and Control, not {type(message).__name__}")
    if not isinstance(message.type, str) or len(message.type) > _MAX_TAG:
        raise ValueError(f"the type of a control message is a text of at most {_MAX_TAG} characters")
    problem = _body_problem(message.body)
    if problem:
        raise TypeError(f"control message {message.type!r}: {problem}")
    code = _CONTROL if isinstance(message, Control) else _SIGNAL
    header = _pack([VERSION, code, message.type, message.body], limits)
    return Encoded(header, (), 0, _DUE.size + len(header))


def decode(parts: Sequence[Any], limits: Limits = Limits()) -> Envelope:
    """The message that `parts` (bytes-like) hold; arrays are read-only views on the parts, copied only if unaligned.

    Raises MalformedFrame, and nothing else, for any input that `encode` would not have made.
    """
    if not parts:
        raise MalformedFrame("a message has no parts")
    if len(parts) > 1 + limits.arrays:
        raise MalformedFrame(f"a message has {len(parts) - 1} arrays, more than the {limits.arrays} allowed")
    views = [memoryview(part) for part in parts]
    head = views[0]
    if head.nbytes > limits.header:
        raise MalformedFrame(f"a header has {head.nbytes} bytes, more than the {limits.header} allowed")
    if head.nbytes <= _DUE.size:
        raise MalformedFrame(f"a header has {head.nbytes} bytes, which is too short")
    (due_s,) = _DUE.unpack(head[: _DUE.size])
    if not 0 <= due_s < math.inf:
        raise MalformedFrame("a header's due time is not a time")
    try:
        fields = msgpack.unpackb(head[_DUE.size :], raw=False, use_list=True, ext_hook=_no_extension)
    except Exception as error:  # msgpack raises many kinds, some of them ValueError, some not
        raise MalformedFrame(f"a header is not msgpack ({type(error).__name__})") from None
    if not isinstance(fields, list) or len(fields) < 2:
        raise MalformedFrame("a header is not an array of fields")
    if not _is_int(fields[0]) or fields[0] != VERSION:
        raise MalformedFrame(f"a message is of wire version {fields[0]!r:.40}, this side speaks {VERSION}")
    payload_bytes = sum(view.nbytes for view in views[1:])
    message: Frame | Control | Signal
    if fields[1] == _FRAME and _is_int(fields[1]):
        message = _decode_frame(fields, views[1:], payload_bytes, limits)
    elif fields[1] in (_CONTROL, _SIGNAL) and _is_int(fields[1]):
        message = _decode_control(fields, len(views))
    else:
        raise MalformedFrame(f"a message is of unknown type {fields[1]!r:.40}")
    return Envelope(message, due_s, payload_bytes, payload_bytes + head.nbytes)


def mismatch(frame: Frame, specs: Sequence[Spec]) -> str | None:
    """None where a frame's arrays have exactly the number, dtypes and shapes of `specs`, else one clear sentence about the
    first difference."""
    if len(frame.arrays) != len(specs):
        return f"message {frame.tag!r} has {len(frame.arrays)} arrays where {len(specs)} are expected"
    for index, (array, spec) in enumerate(zip(frame.arrays, specs, strict=True)):
        if array.dtype != np.dtype(spec.dtype) or array.shape != tuple(spec.shape):
            return (
                f"array {index} of message {frame.tag!r} is {array.dtype} {array.shape} "
                f"where {np.dtype(spec.dtype)} {tuple(spec.shape)} is expected"
            )
    return None


def _encode_frame(frame: Frame, limits: Limits) -> Encoded:
    for name in ("slice", "layer", "step", "round"):
        value = getattr(frame, name)
        if not _is_int(value) or not 0 <= value < _INTEGER_BOUND:
            raise ValueError(f"{name} of a frame must be an int in [0, 2^32), not {value!r:.40}")
    if not isinstance(frame.tag, str) or len(frame.tag) > _MAX_TAG:
        raise ValueError(f"the tag of a frame is a text of at most {_MAX_TAG} characters")
    if len(frame.arrays) > limits.arrays:
        raise ValueError(f"frame {frame.tag!r} has {len(frame.arrays)} arrays, more than the {limits.arrays} allowed")
    shapes: list[list[str | int]] = []
    buffers = []
    for index, array in enumerate(frame.arrays):
        if not isinstance(array, np.ndarray) or array.dtype not in _NAMES:
            dtype = array.dtype if isinstance(array, np.ndarray) else type(array).__name__
            raise TypeError(f"array {index} of frame {frame.tag!r} is {dtype}, which may not travel: {', '.join(DTYPES)}")
        if array.ndim > _MAX_AXES:
            raise ValueError(f"array {index} of frame {frame.tag!r} has more than {_MAX_AXES} axes")
        if not array.flags.c_contiguous:
            raise ValueError(f"array {index} of frame {frame.tag!r} is not C-contiguous")
        shapes.append([_NAMES[array.dtype], *array.shape])
        buffers.append(array.reshape(-1).view(np.uint8).data if array.size else memoryview(b""))
    payload_bytes = frame.nbytes
    if payload_bytes > limits.nbytes:
        raise ValueError(
            f"frame {frame.tag!r} has {payload_bytes} bytes, more than the {limits.nbytes} allowed: send it in chunks"
        )
    header = _pack([VERSION, _FRAME, frame.slice, frame.layer, frame.step, frame.round, frame.tag, shapes], limits)
    return Encoded(header, tuple(buffers), payload_bytes, payload_bytes + _DUE.size + len(header))


def _decode_frame(fields: list[Any], buffers: list[memoryview], payload_bytes: int, limits: Limits) -> Frame:
    if len(fields) != 8:
        raise MalformedFrame(f"a frame's header has {len(fields)} fields instead of 8")
    _, _, slice_, layer, step, round_, tag, shapes = fields
    if not all(_is_int(value) and 0 <= value < _INTEGER_BOUND for value in (slice_, layer, step, round_)):
        raise MalformedFrame("a frame's slice, layer, step and round are not all integers in [0, 2^32)")
    if not isinstance(tag, str) or len(tag) > _MAX_TAG:
        raise MalformedFrame(f"a frame's tag is not a text of at most {_MAX_TAG} characters")
    if not isinstance(shapes, list) or len(shapes) != len(buffers):
        raise MalformedFrame(f"a frame's header does not describe its {len(buffers)} arrays")
    if payload_bytes > limits.nbytes:
        raise MalformedFrame(f"a frame has {payload_bytes} bytes, more than the {limits.nbytes} allowed")
    arrays = tuple(_decode_array(shape, buffer) for shape, buffer in zip(shapes, buffers, strict=True))
    return Frame(slice_, layer, step, round_, tag, arrays)


def _decode_array(described: Any, buffer: memoryview) -> np.ndarray:
    if not isinstance(described, list) or not described or len(described) > 1 + _MAX_AXES:
        raise MalformedFrame("an array's description is not its dtype and extents")
    name, *shape = described
    if not isinstance(name, str) or name not in DTYPES:
        raise MalformedFrame(f"an array is of dtype {name!r:.40}, which may not travel: {', '.join(DTYPES)}")
    if not all(_is_int(extent) and 0 <= extent < 1 << 62 for extent in shape):
        raise MalformedFrame("an array's extents are not all integers of 0 or more")
    dtype = DTYPES[name]
    if math.prod(shape) * dtype.itemsize != buffer.nbytes:  # exact: Python's integers do not wrap
        raise MalformedFrame(f"an array said to be {name} {tuple(shape)!s:.80} has {buffer.nbytes} bytes")
    try:
        array = np.frombuffer(buffer, dtype=dtype).reshape(shape) if buffer.nbytes else np.empty(shape, dtype)
    except ValueError:  # empty in one axis, and too large for numpy in the others
        raise MalformedFrame("an empty array's extents are beyond reason") from None
    if not array.flags.aligned:  # small messages lie anywhere in the receive buffer; kernels want aligned words
        array = array.copy()
    array.flags.writeable = False
    return array


def _decode_control(fields: list[Any], parts: int) -> Control | Signal:
    if len(fields) != 4 or parts != 1:
        raise MalformedFrame("a control message is not one header of 4 fields")
    _, code, message_type, body = fields
    if not isinstance(message_type, str) or len(message_type) > _MAX_TAG:
        raise MalformedFrame(f"a control message's type is not a text of at most {_MAX_TAG} characters")
    problem = _body_problem(body)
    if problem:
        raise MalformedFrame(f"in a control message, {problem}")
    return Control(message_type, body) if code == _CONTROL else Signal(message_type, body)


def _body_problem(body: Any) -> str | None:
    if not isinstance(body, dict):
        return "the body is not a dict"
    level: list[Any] = [body]
    for _ in range(_MAX_DEPTH):
        following: list[Any] = []
        for item in level:
            if isinstance(item, dict):
                if not all(isinstance(key, str) for key in item):
                    return "a key is not a text"
                following.extend(item.values())
            elif isinstance(item, list | tuple):
                following.extend(item)
            elif item is not None and not isinstance(item, bool | int | float | str | bytes):
                return f"a value is of type {type(item).__name__}"
        if not following:
            return None
        level = following
    return f"the body is nested more than {_MAX_DEPTH} deep"


def _pack(fields: list[Any], limits: Limits) -> bytes:
    try:
        header: bytes = msgpack.packb(fields, use_bin_type=True)
    except (OverflowError, ValueError, UnicodeEncodeError) as error:
        raise ValueError(f"a message cannot be packed: {error}") from None
    if _DUE.size + len(header) > limits.header:
        raise ValueError(f"a header would have {len(header)} bytes, more than the {limits.header} allowed")
    return header


def _no_extension(code: int, data: bytes) -> Any:
    raise ValueError(f"extension type {code}")


def _is_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
