"""Random words to the distributions of RLWE; constant time in the sampled values. The same code in every tier."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types

from bunet.protocols.kernels.machine.compiled import intrinsic, kernel
from bunet.protocols.kernels.machine.simd import mul_high
from bunet.protocols.kernels.machine.types import (
    Builder,
    Context,
    Emission,
    Integers,
    NumbaType,
    Signature,
    Value,
    Values,
    Words,
)
from bunet.protocols.kernels.ring.modular import Q, reduce_128

CBD = 21  # centred binomial: the sum of 21 coins less the sum of 21 others
ERROR_BOUND = CBD  # |error| <= 21, always
# variance CBD / 2: deviation 3.24, above the 3.2 of the Homomorphic Encryption Standard


@intrinsic
def _popcount(typing: Any, word: NumbaType) -> Emission:
    """Number of one bits of a uint64, as uint64."""

    def code(context: Context, builder: Builder, signature: Signature, arguments: Values) -> Value:
        return builder.ctpop(arguments[0])

    return types.uint64(types.uint64), code


@kernel
def centred_binomial(words: Words, out: Integers) -> None:
    """out (m,) int64 in [-21, 21] from m uniform uint64: the low 21 bits' weight less that of the next 21."""
    coins = np.uint64((1 << CBD) - 1)
    for i in range(words.size):
        word = words[i]
        out[i] = np.int64(_popcount(word & coins)) - np.int64(_popcount((word >> np.uint64(CBD)) & coins))


@kernel
def ternary(words: Words, out: Integers) -> None:
    """out (m,) int64 in {-1, 0, 1}: floor(3 * word / 2^64) - 1, each value within 2^-64 of probability 1/3."""
    for i in range(words.size):
        out[i] = np.int64(mul_high(words[i], np.uint64(3))) - 1


@kernel
def ternary_residues(words: Words, constants: Words, out: Words) -> None:
    """out (n, L, N) = what `ternary` makes of words (n, N), modulo each prime."""
    one, two = np.uint64((1 << 64) // 3 + 1), np.uint64((2 << 64) // 3 + 1)  # the first words of 0 and of 1
    n, limbs, degree = out.shape
    for i in range(n):
        for l in range(limbs):
            q, row, source = constants[l, Q], out[i, l], words[i]
            for j in range(degree):
                value = np.uint64(source[j] >= one) + np.uint64(source[j] >= two) - np.uint64(1)
                row[j] = min(value, value + q)  # -1 is large until q is added


@kernel
def uniform(words: Words, masks: Words, constants: Words) -> np.int64:
    """Keeps the low bits (masks (L,)) of words (n, L, N), in place; they need not be below the prime.

    Returns how many are not; `rlwe.uniform` draws those again.
    """
    n, limbs, degree = words.shape
    rejected = np.int64(0)
    for i in range(n):
        for l in range(limbs):
            q, mask, row = constants[l, Q], masks[l], words[i, l]
            for j in range(degree):
                x = row[j] & mask
                row[j] = x
                rejected += np.int64(x >= q)
    return rejected


@kernel
def add_flood(words: Words, masks: Words, constants: Words, offsets: Words, values: Words) -> None:
    """values (n, L, m) += words (n, 2, m) & masks (2,) as 128-bit integers (low words, high words), + offsets (L,)."""
    n, limbs, count = values.shape
    for i in range(n):
        for l in range(limbs):
            c = constants[l]
            q, offset = c[Q], offsets[l]
            row, low, high = values[i, l], words[i, 0], words[i, 1]
            for j in range(count):
                x = reduce_128(high[j] & masks[1], low[j] & masks[0], c) + offset + row[j]
                x = min(x, x - (q + q))
                row[j] = min(x, x - q)
