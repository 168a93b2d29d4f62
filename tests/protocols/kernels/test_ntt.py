"""The negacyclic NTT against the schoolbook product, and its tiers against each other, bit for bit."""

from __future__ import annotations

import numpy as np
import pytest

from bunet.protocols.kernels.machine import tier
from bunet.protocols.kernels.ring import ntt, ntt_scalar
from bunet.protocols.pahe.parameters import ntt_primes

needs_ifma = pytest.mark.skipif(tier.TIER != "vaes", reason="this tier has no 52-bit multiply-add")


def residues(tables: ntt.Tables, n: int, seed: int = 1) -> np.ndarray:
    """Random polynomials (n, L, N); the first holds the largest residues and zeros."""
    rng = np.random.default_rng(seed)
    rows = [rng.integers(0, q, (n, tables.degree), dtype=np.uint64) for q in tables.primes]
    out = np.stack(rows, axis=1)
    out[0] = np.array(tables.primes, np.uint64)[:, None] - np.uint64(1)
    out[0, :, ::3] = 0
    return out


def negacyclic(a: list[int], sparse: dict[int, int], q: int) -> list[int]:
    """a(X) * (sum of c X^k) modulo X^N + 1 and q, in plain integers."""
    degree, out = len(a), [0] * len(a)
    for k, c in sparse.items():
        for i, x in enumerate(a):
            place = i + k
            out[place % degree] += x * c * (-1 if place >= degree else 1)
    return [x % q for x in out]


@pytest.mark.parametrize("degree", ntt.DEGREES)
@pytest.mark.parametrize("bits", [30, 47, 50])
def test_product_is_negacyclic(degree: int, bits: int) -> None:
    tables = ntt.tables(degree, ntt_primes(degree, bits))
    q = tables.primes[0]
    a = residues(tables, 2)
    sparse = {0: 3, 1: q - 1, 17: 12345, degree - 1: q // 2}
    b = np.zeros((1, 1, degree), np.uint64)
    for k, c in sparse.items():
        b[0, 0, k] = c
    spectrum_a, spectrum_b = ntt.forward(a.copy(), tables), ntt.forward(b, tables)
    for i in range(2):
        product = [int(x) * int(y) % q for x, y in zip(spectrum_a[i, 0], spectrum_b[0, 0], strict=True)]
        result = ntt.inverse(np.array(product, np.uint64).reshape(1, 1, degree), tables)
        assert result[0, 0].tolist() == negacyclic(a[i, 0].tolist(), sparse, q)


def test_values_are_at_the_odd_powers_of_the_root() -> None:
    tables = ntt.tables(2048, ntt_primes(2048, 47))
    q, psi = tables.primes[0], tables.roots[0]
    a = np.zeros((1, 1, 2048), np.uint64)
    a[0, 0, :3] = 5, 7, 11
    values = ntt.forward(a, tables)[0, 0]
    for i, k in ((0, 0), (1, 1024), (2047, 2047), (6, 3 << 8)):  # i reversed in 11 bits
        x = pow(psi, 2 * k + 1, q)
        assert int(values[i]) == (5 + 7 * x + 11 * x * x) % q


@pytest.mark.parametrize("degree", ntt.DEGREES)
@pytest.mark.parametrize("bits", [26, 36, 47, 48, 49, 50])
def test_scalar_tier_round_trips(degree: int, bits: int) -> None:
    tables = ntt.tables(degree, ntt_primes(degree, bits, 2))
    a = residues(tables, 2)
    b = a.copy()
    ntt_scalar.forward(b, tables.forward, tables.constants)
    assert (b < np.array(tables.primes, np.uint64)[:, None]).all()
    ntt_scalar.inverse(b, tables.inverse, tables.scaling, tables.constants)
    assert np.array_equal(a, b)


@needs_ifma
@pytest.mark.parametrize("degree", ntt.DEGREES)
@pytest.mark.parametrize("bits", [26, 36, 47, 48, 49, 50])
def test_tiers_agree(degree: int, bits: int) -> None:
    from bunet.protocols.kernels.ring import ntt_ifma

    tables = ntt.tables(degree, ntt_primes(degree, bits, 2))
    a = residues(tables, 3)
    slow, fast = a.copy(), a.copy()
    ntt_scalar.forward(slow, tables.forward, tables.constants)
    ntt_ifma.forward(fast, tables.forward, tables.constants)
    assert np.array_equal(slow, fast)
    slow, fast = a.copy(), a.copy()
    ntt_scalar.inverse(slow, tables.inverse, tables.scaling, tables.constants)
    ntt_ifma.inverse(fast, tables.inverse, tables.scaling, tables.constants)
    assert np.array_equal(slow, fast)


@needs_ifma
def test_the_largest_inputs_do_not_overflow_the_lazy_range() -> None:
    from bunet.protocols.kernels.ring import ntt_ifma

    for bits in (47, 49, 50):
        tables = ntt.tables(16384, ntt_primes(16384, bits))
        a = np.full((1, 1, 16384), tables.primes[0] - 1, np.uint64)
        slow, fast = a.copy(), a.copy()
        ntt_scalar.forward(slow, tables.forward, tables.constants)
        ntt_ifma.forward(fast, tables.forward, tables.constants)
        assert np.array_equal(slow, fast)


def test_any_alignment() -> None:
    tables = ntt.tables(2048, ntt_primes(2048, 50))
    a = residues(tables, 1)
    shifted = np.empty(2049, np.uint64)[1:].reshape(1, 1, 2048)
    shifted[:] = a
    assert np.array_equal(ntt.forward(shifted, tables), ntt.forward(a.copy(), tables))


def test_refusals() -> None:
    tables = ntt.tables(2048, ntt_primes(2048, 50))
    with pytest.raises(ValueError, match="C-contiguous"):
        ntt.forward(np.zeros((2, 1, 4096), np.uint64), tables)
    with pytest.raises(ValueError, match="C-contiguous"):
        ntt.inverse(np.zeros((2, 1, 2048), np.int64), tables)
    with pytest.raises(ValueError, match="degree 1024"):
        ntt.tables(1024, ntt_primes(2048, 50))
    with pytest.raises(ValueError, match="1 modulo 4096"):
        ntt.tables(2048, (97,))
