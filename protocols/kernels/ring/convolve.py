"""Ciphertexts times polynomials with few coefficients: convolution kernels, placed by a tiling.

The product of `ntt.forward` and `rlwe.multiply_accumulate`, bit for bit, but the fast tier neither transforms whole polynomials
nor stores them: see `convolve_ifma`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from bunet.protocols.kernels.machine import tier
from bunet.protocols.kernels.ring import ntt, ntt_scalar, rlwe
from bunet.protocols.kernels.ring.ntt import Tables

FAST = tier.TIER == "vaes"
if FAST:
    from bunet.protocols.kernels.ring import convolve_ifma

OUTPUTS = 4  # output polynomials that are multiplied together; other numbers of them waste time
BLOCK = 64  # coefficients that the last six levels of a transform mix
_MATERIALISED = 16 << 20  # bytes of transformed polynomials held by the tiers that need them


@dataclass(frozen=True, eq=False)
class Places:
    """Where the coefficients (taps) of all polynomials of a layer stand, and what the transforms make of the places.

    positions: int64 (K,); taps at equal ones add up. order: taps by place, position mod 64; starts: int64 (65,).
    places: 1 if every position is a multiple of 64. spread: uint64 (L, N / 512, K, 2, 8), the tap's part in eight blocks
    after the first log2(N) - 6 levels, with Shoup companions. factors: uint64 (L, N / 512, 2, 64, 8), the twiddles of
    the other levels, a block in each lane, with companions.
    """

    tables: Tables
    positions: np.ndarray
    order: np.ndarray
    starts: np.ndarray
    places: int
    spread: np.ndarray
    factors: np.ndarray

    @classmethod
    def of(cls, positions: np.ndarray, tables: Tables) -> Places:
        """ValueError if the positions are not exponents below N; cached."""
        positions = np.ascontiguousarray(positions, np.int64)
        if positions.ndim != 1 or not positions.size:
            raise ValueError(f"positions {positions.shape} must be (K,), K >= 1")
        if not 0 <= int(positions.min()) <= int(positions.max()) < tables.degree:
            raise ValueError(f"a position is outside 0..{tables.degree - 1}")
        return _places(positions.tobytes(), tables)


@lru_cache(maxsize=256)
def _places(data: bytes, tables: Tables) -> Places:
    positions = np.frombuffer(data, np.int64)
    order = np.argsort(positions % BLOCK, kind="stable")
    starts = np.searchsorted((positions % BLOCK)[order], np.arange(BLOCK + 1)).astype(np.int64)
    places = 1 if not (positions % BLOCK).any() else BLOCK
    empty = np.empty(0, np.uint64)
    spread, factors = (_spread(positions[order], tables), _factors(tables)) if FAST else (empty, empty)
    return Places(tables, positions, order, starts, places, spread, factors)


def _spread(positions: np.ndarray, tables: Tables) -> np.ndarray:
    blocks, limbs = tables.degree // BLOCK, len(tables.primes)
    # the first levels of a transform are a transform of N / 64 points, with the first factors of the same table
    unit = np.zeros((blocks, limbs, blocks), np.uint64)
    unit[np.arange(blocks), :, np.arange(blocks)] = 1
    ntt_scalar.forward(unit, np.ascontiguousarray(tables.forward[:, :, :blocks]), tables.constants)
    out = np.empty((limbs, blocks // 8, len(positions), 2, 8), np.uint64)
    for l, q in enumerate(tables.primes):
        rows = unit[:, l]
        companions = np.array([[(w << 52) // q for w in row] for row in rows.tolist()], np.uint64)
        for k, values in enumerate((rows, companions)):
            out[l, :, :, k] = values[positions // BLOCK].reshape(len(positions), blocks // 8, 8).transpose(1, 0, 2)
    return out


@lru_cache(maxsize=32)
def _factors(tables: Tables) -> np.ndarray:
    blocks = tables.degree // BLOCK
    out = np.zeros((len(tables.primes), blocks // 8, 2, BLOCK, 8), np.uint64)
    for k, table in enumerate((tables.forward[0], tables.forward[2])):
        for level in range(6):
            groups = 1 << level
            at = (blocks << level) + (np.arange(blocks) << level)[:, None] + np.arange(groups)
            rows = table[:, at].reshape(-1, blocks // 8, 8, groups)
            out[:, :, k, groups : 2 * groups] = rows.transpose(0, 1, 3, 2)
    return out


def multiply_sparse(ciphertexts: np.ndarray, taps: np.ndarray, places: Places, out: np.ndarray | None = None) -> np.ndarray:
    """(T, O, 2, L, N) = sum over i of ciphertexts (T, I, 2, L, N) * polynomials (I, O), in the NTT domain.

    taps: int64 (I, O, K), the coefficients of the polynomials at `places.positions`, smaller in size than every prime; the
    others are zero. I <= 4096. out: where to write, C-contiguous uint64; new memory if None.
    """
    t = places.tables
    if ciphertexts.ndim != 5 or taps.ndim != 3 or ciphertexts.shape[1] != taps.shape[0] or ciphertexts.shape[2] != 2:
        raise ValueError(f"ciphertexts {ciphertexts.shape} and taps {taps.shape} are not (T, I, 2, L, N), (I, O, K)")
    if ciphertexts.dtype != np.uint64 or ciphertexts.shape[3:] != (len(t.primes), t.degree):
        raise ValueError(f"ciphertexts must be uint64 (..., {len(t.primes)}, {t.degree}), not {ciphertexts.dtype}")
    if taps.dtype != np.int64 or taps.shape[2] != len(places.positions):
        raise ValueError(f"taps must be int64 (I, O, {len(places.positions)}), not {taps.dtype} {taps.shape}")
    if len(taps) > rlwe.MAX_CHANNELS:
        raise ValueError(f"{len(taps)} input channels are more than the {rlwe.MAX_CHANNELS} of one accumulation")
    if taps.size and max(int(taps.max()), -int(taps.min())) >= min(t.primes):
        raise ValueError("a tap is not smaller than the primes")
    shape = (len(ciphertexts), taps.shape[1], *ciphertexts.shape[2:])
    if out is None:
        out = np.empty(shape, np.uint64)
    elif out.shape != shape or out.dtype != np.uint64 or not out.flags.c_contiguous:
        raise ValueError(f"out must be C-contiguous uint64 {shape}, not {out.dtype} {out.shape}")
    ciphertexts = np.ascontiguousarray(ciphertexts)
    if FAST:
        convolve_ifma.multiply_sparse(
            ciphertexts, _in_fours(taps, places.order), taps.shape[1], places.starts, places.places, places.spread,
            places.factors, out, t.constants,
        )  # fmt: skip
        return out
    size = max(1, _MATERIALISED // (8 * len(taps) * len(t.primes) * t.degree))
    for start in range(0, taps.shape[1], size):
        some = taps[:, start : start + size]
        out[:, start : start + size] = rlwe.multiply_accumulate(ciphertexts, _transformed(some, places), t)
    return out


def _in_fours(taps: np.ndarray, order: np.ndarray) -> np.ndarray:
    """Taps (I, O, K) as (ceil(O / 4), I, K + K % 2, 4), filled up with zeros."""
    channels, outputs, count = taps.shape
    fours, four = -(-outputs // OUTPUTS), OUTPUTS
    out = np.zeros((fours * four, channels, count + count % 2), np.int64)
    out[:outputs, :, :count] = taps[:, :, order].transpose(1, 0, 2)
    return np.ascontiguousarray(out.reshape(fours, four, *out.shape[1:]).transpose(0, 2, 3, 1))


def _transformed(taps: np.ndarray, places: Places) -> np.ndarray:
    """Polynomials (I, O, L, N) in the NTT domain."""
    t = places.tables
    positions, column = np.unique(places.positions, return_inverse=True)
    summed = np.zeros((*taps.shape[:2], len(positions)), np.int64)
    for k, j in enumerate(column.tolist()):
        summed[:, :, j] += taps[:, :, k]
    residues = rlwe.residues(summed.reshape(-1, len(positions)), t)  # weights are secret: numpy's % takes its time
    out = np.zeros((*taps.shape[:2], len(t.primes), t.degree), np.uint64)
    out[:, :, :, positions] = residues.reshape(*taps.shape[:2], len(t.primes), len(positions))
    return ntt.forward(out, t)
