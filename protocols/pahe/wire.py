"""Bit-packed residues on the wire, checked when they come from the peer."""

from __future__ import annotations

import numpy as np

from bunet.protocols.kernels.packing import bits
from bunet.protocols.pahe.parameters import Parameters
from bunet.protocols.steps import ProtocolError


def packed_bytes(count: int, width: int) -> int:
    """Bytes of `count` values of `width` bits: ceil(count * width / 8)."""
    return (count * width + 7) // 8


def pack(values: np.ndarray, width: int) -> np.ndarray:
    """uint64 values < 2^width, any shape, as uint8 (packed_bytes,)."""
    return bits.pack(np.ascontiguousarray(values).reshape(-1), width)


def unpack(data: np.ndarray, shape: tuple[int, ...], width: int) -> np.ndarray:
    """uint64 of that shape; ProtocolError if the data has another size."""
    count = int(np.prod(shape))
    if data.dtype != np.uint8 or data.shape != (packed_bytes(count, width),):
        raise ProtocolError(f"{data.dtype} {data.shape} is not {count} packed values of {width} bits")
    return bits.unpack(data, count, width).astype(np.uint64, copy=False).reshape(shape)


def residue_bytes(params: Parameters, n: int) -> int:
    """Bytes of n packed polynomials (L, N)."""
    return packed_bytes(n * params.limbs * params.degree, params.residue_bits)


def pack_residues(params: Parameters, polys: np.ndarray) -> np.ndarray:
    """Polynomials (n, L, N) as uint8 (residue_bytes,)."""
    return pack(polys, params.residue_bits)


def unpack_residues(params: Parameters, data: np.ndarray, n: int) -> np.ndarray:
    """Polynomials (n, L, N); ProtocolError if the size or a residue is out of range."""
    polys = unpack(data, (n, params.limbs, params.degree), params.residue_bits)
    if n and (polys.max(axis=(0, 2)) >= np.array(params.primes, np.uint64)).any():
        raise ProtocolError("a received polynomial has a residue that is not below its prime")
    return polys
