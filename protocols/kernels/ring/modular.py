"""Constants and scalar primitives of arithmetic modulo word-size primes q < 2^50.

Shoup's trick: for a fixed w < q and s = floor(w * 2^k / q), any y < 2^k has w*y - floor(s*y / 2^k) * q in [0, 2q), computed
modulo 2^64 (k = 64, scalar) or modulo 2^52 (k = 52, the IFMA tier). Both are exact; canonical results agree.
"""

from __future__ import annotations

import functools

import numpy as np

from bunet.protocols.kernels.machine.compiled import inlined_by_numba
from bunet.protocols.kernels.machine.simd import mul_high
from bunet.protocols.kernels.machine.types import Word, Words

# Columns of the constants of a prime q.
Q = 0
ONE_64 = 1  # floor(2^64 / q)
T64 = 2  # 2^64 mod q
T64_64 = 3  # its Shoup companion, k = 64
NEGATIVE = 4  # 2^52 - q
TWICE = 5  # 2q
ONE_52 = 6  # floor(2^52 / q)
T52 = 7  # 2^52 mod q
T52_52 = 8
T104 = 9  # 2^104 mod q
T104_52 = 10


def shoup(w: int, q: int, k: int) -> int:
    """floor(w * 2^k / q), the companion of a fixed factor w < q for operands below 2^k."""
    return (w << k) // q


@functools.cache
def constants(primes: tuple[int, ...]) -> np.ndarray:
    """Read-only uint64 (L, 11): the columns named above, for each prime."""
    rows = []
    for q in primes:
        t64, t52, t104 = (pow(2, k, q) for k in (64, 52, 104))
        rows.append(
            [
                q, (1 << 64) // q, t64, shoup(t64, q, 64),
                (1 << 52) - q, 2 * q, (1 << 52) // q, t52, shoup(t52, q, 52), t104, shoup(t104, q, 52),
            ]
        )  # fmt: skip
    table = np.array(rows, np.uint64)
    table.flags.writeable = False
    return table


@inlined_by_numba
def multiply_shoup(y: Word, w: Word, s: Word, q: Word) -> Word:
    """w * y mod q in [0, 2q), for any uint64 y; s = shoup(w, q, 64)."""
    return w * y - mul_high(s, y) * q


@inlined_by_numba
def reduce_128(high: Word, low: Word, c: Words) -> Word:
    """(high * 2^64 + low) mod q, canonical; c is the prime's row of constants (4q < 2^52)."""
    q = c[Q]
    x = multiply_shoup(high, c[T64], c[T64_64], q) + (low - mul_high(c[ONE_64], low) * q)
    x = min(x, x - (q + q))
    return min(x, x - q)


@inlined_by_numba
def multiply_mod(x: Word, y: Word, c: Words) -> Word:
    """x * y mod q, canonical, for any two uint64."""
    return reduce_128(mul_high(x, y), x * y, c)
