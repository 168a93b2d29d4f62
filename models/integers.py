"""Convolutions in numpy: by BLAS in floats, and exactly in integers modulo 2^width.

The integer forms use float64 products only where every partial sum is below 2^53 and therefore exact; larger operands
are split into digits whose products are, and the digits are put together modulo 2^64.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

BAND_ELEMENTS = 1 << 21
EXACT_BITS = 53
WEIGHT_DIGIT_BITS = 24

Linear = Callable[[np.ndarray, np.ndarray], np.ndarray]


@dataclass(frozen=True, eq=False)
class IntegerWeights:
    """Bob's integers of one convolution.

    weight: int64, |weight| < 2^62, conv (out, in, k, k) with k odd, conv_transpose (in, out, 2, 2), as torch lays them out.
    bias: int64 (out,), at the output's frac.
    """

    weight: np.ndarray
    bias: np.ndarray

    @cached_property
    def norm(self) -> int:
        """As `l1_norm`: what a program bounds with `norm_bits`."""
        return l1_norm(self.weight)


def conv(x: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Convolution of stride 1 with zero padding k // 2: x (C, H, W), weight (O, C, k, k), k odd -> (O, H, W).

    Floats of one dtype in, the same dtype out. The image is unfolded in bands of rows, so that memory stays bounded.
    """
    channels, height, width = x.shape
    out_channels, _, kernel, _ = weight.shape
    matrix = np.ascontiguousarray(weight.reshape(out_channels, -1))
    if kernel == 1:
        return np.asarray((matrix @ x.reshape(channels, -1)).reshape(out_channels, height, width))
    half = kernel // 2
    padded = np.zeros((channels, height + 2 * half, width + 2 * half), dtype=x.dtype)
    padded[:, half : half + height, half : half + width] = x
    out = np.empty((out_channels, height, width), dtype=x.dtype)
    rows = max(1, min(height, BAND_ELEMENTS // (channels * kernel * kernel * width)))
    for top in range(0, height, rows):
        count = min(rows, height - top)
        unfolded = np.empty((channels, kernel, kernel, count, width), dtype=x.dtype)
        for dy in range(kernel):
            for dx in range(kernel):
                unfolded[:, dy, dx] = padded[:, top + dy : top + dy + count, dx : dx + width]
        product = matrix @ unfolded.reshape(channels * kernel * kernel, count * width)
        out[:, top : top + count] = product.reshape(out_channels, count, width)
    return out


def conv_transpose(x: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Transposed convolution, kernel 2, stride 2: x (C, H, W), weight (C, O, 2, 2) -> (O, 2H, 2W)."""
    channels, height, width = x.shape
    out_channels = weight.shape[1]
    matrix = np.ascontiguousarray(weight.reshape(channels, out_channels * 4).T)
    product = (matrix @ x.reshape(channels, -1)).reshape(out_channels, 2, 2, height, width)
    return np.ascontiguousarray(product.transpose(0, 3, 1, 4, 2)).reshape(out_channels, 2 * height, 2 * width)


def l1_norm(weight: np.ndarray) -> int:
    """Largest L1 norm of the taps that meet one output, of integer weights, |weight| < 2^62.

    (O, C, k, k) with k odd: all taps of an output channel. (C, O, 2, 2), a transposed convolution's: one tap of each input
    channel.
    """
    rows = weight.reshape(weight.shape[0], -1)
    return _largest_sum(rows if weight.shape[-1] % 2 else rows.T)


def conv_integer(x: np.ndarray, weight: np.ndarray, bias: np.ndarray, width: int) -> np.ndarray:
    """Exact convolution and bias modulo 2^width: int64 in, int64 out in [-2^(width-1), 2^(width-1))."""
    return wrap(_exact(conv, x, weight) + _column(bias), width)


def conv_transpose_integer(x: np.ndarray, weight: np.ndarray, bias: np.ndarray, width: int) -> np.ndarray:
    """Exact transposed convolution and bias modulo 2^width, signed; shapes as in `conv_transpose`."""
    return wrap(_exact(conv_transpose, x, weight) + _column(bias), width)


def wrap(values: np.ndarray, width: int) -> np.ndarray:
    """The signed representative in [-2^(width-1), 2^(width-1)) of integers known modulo 2^64, as int64."""
    drop = np.uint64(64 - width)
    return (values.astype(np.uint64) << drop).view(np.int64) >> np.int64(64 - width)


def _column(bias: np.ndarray) -> np.ndarray:
    return bias.astype(np.int64).view(np.uint64)[:, None, None]


def _largest_sum(rows: np.ndarray) -> int:
    """max over rows of sum |w|; |w| < 2^62 each. Sums of halves keep it exact in int64."""
    magnitude = np.abs(rows.astype(np.int64))
    low = (magnitude & 0xFFFFFFFF).sum(axis=1).tolist()
    high = (magnitude >> 32).sum(axis=1).tolist()
    sums: list[int] = [(h << 32) + part for h, part in zip(high, low, strict=True)]
    return max(sums)


def _exact(linear: Linear, x: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """linear(x, weight) modulo 2^64 as uint64, for any int64 operands with |weight| < 2^62."""
    norm_bits = l1_norm(weight).bit_length()
    if norm_bits > EXACT_BITS - 12:
        low = weight & ((1 << WEIGHT_DIGIT_BITS) - 1)
        high = weight >> WEIGHT_DIGIT_BITS
        return np.asarray(_exact(linear, x, low) + (_exact(linear, x, high) << np.uint64(WEIGHT_DIGIT_BITS)))
    floats = weight.astype(np.float64)
    digit_bits = EXACT_BITS - 1 - norm_bits
    largest = max(abs(int(x.max())), abs(int(x.min())))
    if largest.bit_length() <= digit_bits:
        return linear(x.astype(np.float64), floats).astype(np.int64).view(np.uint64)
    low = linear((x & ((1 << digit_bits) - 1)).astype(np.float64), floats).astype(np.int64).view(np.uint64)
    return low + (_exact(linear, x >> digit_bits, weight) << np.uint64(digit_bits))
