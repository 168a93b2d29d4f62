"""Additive shares over Z_2^width."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bunet.models.program import TensorType
from bunet.protocols.kernels import shares


def dtype_of(width: int) -> np.dtype:
    """The dtype of a width: uint32 up to 32 bits, uint64 above."""
    if not 1 <= width <= 64:
        raise ValueError(f"width {width} is outside 1..64")
    return np.dtype(np.uint32 if width <= 32 else np.uint64)


def mask_of(width: int) -> int:
    return (1 << width) - 1


def reduce_to(values: np.ndarray, width: int) -> np.ndarray:
    """values modulo 2^width in the dtype of that width; drops high bits, which is local on shares."""
    dtype = dtype_of(width)
    if values.dtype != dtype and values.dtype in (np.uint32, np.uint64):
        return shares.shift(values, 0, 0, width)
    out = values.astype(dtype, copy=False)
    if width == dtype.itemsize * 8:
        return out
    reduced: np.ndarray = out & dtype.type(mask_of(width))
    return reduced


@dataclass(frozen=True)
class Share:
    """This party's additive share of a secret tensor.

    values: uint32 (width <= 32) or uint64 array, every element < 2^width; shape (channels, height, width).
    The sum of both parties' values modulo 2^width, read as a signed number, is x with |x| < 2^bound; the real value
    is x / 2^frac.
    """

    values: np.ndarray
    width: int
    frac: int
    bound: int

    def __post_init__(self) -> None:
        if self.values.dtype != dtype_of(self.width):
            raise TypeError(f"a {self.width}-bit share is {dtype_of(self.width)}, not {self.values.dtype}")

    @property
    def type(self) -> TensorType:
        return TensorType(self.values.shape, self.width, self.frac, self.bound)

    @classmethod
    def of(cls, values: np.ndarray, type: TensorType) -> Share:
        """values (any integer dtype, any residues) as a share of that type."""
        return cls.reduced(reduce_to(values, type.width), type)

    @classmethod
    def reduced(cls, values: np.ndarray, type: TensorType) -> Share:
        """As `of`, without a pass over the numbers: values have the width's dtype and are below 2^width already."""
        return cls(values.reshape(type.shape), type.width, type.frac, type.bound)


def open_shares(a: Share | np.ndarray, b: Share | np.ndarray, width: int | None = None) -> np.ndarray:
    """The signed secret, int64."""
    if isinstance(a, Share) and isinstance(b, Share):
        width = a.width
        a, b = a.values, b.values
    assert width is not None
    return signed(np.asarray(a).astype(np.uint64) + np.asarray(b).astype(np.uint64), width)


def signed(values: np.ndarray, width: int) -> np.ndarray:
    """Residues modulo 2^width as signed int64 in [-2^(width-1), 2^(width-1))."""
    shift = np.uint64(64 - width)
    return (values.astype(np.uint64) << shift).view(np.int64) >> np.int64(64 - width)
