"""RLWE kernels against plain integers, and their tiers against each other, bit for bit."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np
import pytest

from bunet.protocols.kernels.machine import tier
from bunet.protocols.kernels.ring import fused, ntt, rlwe, sampling
from bunet.protocols.kernels.ring import rlwe_scalar as scalar
from bunet.protocols.pahe.parameters import is_prime, ntt_primes
from bunet.protocols.random import Random

KERNELS = [scalar]
if tier.TIER == "vaes":
    from bunet.protocols.kernels.ring import rlwe_ifma

    KERNELS.append(rlwe_ifma)

SHAPES = [(2048, 50, 1), (2048, 30, 1), (4096, 47, 2), (4096, 35, 3), (8192, 48, 4)]
CHECKED = 40  # coefficients compared with plain integers


@pytest.fixture(params=SHAPES, ids=lambda s: f"n{s[0]}-{s[2]}x{s[1]}")
def tables(request: pytest.FixtureRequest) -> ntt.Tables:
    degree, bits, limbs = request.param
    return ntt.tables(degree, ntt_primes(degree, bits, limbs))


def polys(t: ntt.Tables, n: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    out = np.stack([rng.integers(0, q, (n, t.degree), dtype=np.uint64) for q in t.primes], axis=1)
    out[0, :, :8] = 0
    out[0, :, 8:16] = np.array(t.primes, np.uint64)[:, None] - np.uint64(1)
    return out


def both(name: str, shape: tuple[int, ...], t: ntt.Tables, *arguments: Any) -> np.ndarray:
    """The kernel's result in every tier at hand, after they were compared."""
    results = []
    for module in KERNELS:
        out = np.empty(shape, np.uint64)
        getattr(module, name)(*arguments, out, t.constants)
        results.append(out)
    for other in results[1:]:
        assert np.array_equal(results[0], other), f"tiers differ in {name}"
    return results[0]


def integer(t: ntt.Tables, residues: np.ndarray) -> int:
    """The number below q with these residues."""
    q = prod(t.primes)
    return sum(int(x) * (q // p) * pow(q // p, -1, p) for x, p in zip(residues, t.primes, strict=True)) % q


def test_products(tables: ntt.Tables) -> None:
    a, b = polys(tables, 2), polys(tables, 2, seed=1)
    b[0, :, :20] = a[0, :, :20]
    factor = rlwe.fixed(b[0], tables)
    plain = both("multiply", a.shape, tables, a, b)
    fixed = both("multiply_fixed", a.shape, tables, a, factor)
    added = both("multiply_add", a.shape, tables, b, a, factor)
    subtracted = both("multiply_subtract", a.shape, tables, b, a, factor)
    for i in range(2):
        for l, q in enumerate(tables.primes):
            for j in range(CHECKED):
                x, y, w = int(a[i, l, j]), int(b[i, l, j]), int(b[0, l, j])
                assert plain[i, l, j] == x * y % q
                assert fixed[i, l, j] == x * w % q
                assert added[i, l, j] == (y + x * w) % q
                assert subtracted[i, l, j] == (y - x * w) % q


def test_companions_of_a_fixed_polynomial_are_exact(tables: ntt.Tables) -> None:
    poly = polys(tables, 1)[0]
    poly[:, 16:18] = [1, 2]
    factor = rlwe.fixed(poly, tables)
    for l, q in enumerate(tables.primes):
        words = poly[l].tolist()
        assert factor[0, l].tolist() == words
        assert factor[1, l].tolist() == [(w << 64) // q for w in words]
        assert factor[2, l].tolist() == [(w << 52) // q for w in words]
    with pytest.raises(ValueError, match="2 polynomials are not one"):
        rlwe.fixed(polys(tables, 2), tables)


def test_sums(tables: ntt.Tables) -> None:
    a, b = polys(tables, 3), polys(tables, 1, seed=1)
    q = np.array(tables.primes, object)[:, None]
    x, y = a.astype(object), b.astype(object)
    assert np.array_equal(rlwe.add(a, b, tables), (x + y) % q)
    assert np.array_equal(rlwe.subtract(a, b, tables), (x - y) % q)
    with pytest.raises(ValueError, match="2 polynomials do not fit 3"):
        rlwe.add(a, polys(tables, 2), tables)


def test_residues_of_any_integer(tables: ntt.Tables) -> None:
    rng = np.random.default_rng(2)
    values = rng.integers(-(1 << 63), (1 << 63) - 1, (2, tables.degree), dtype=np.int64)
    values[0, :6] = -(1 << 63), (1 << 63) - 1, 0, -1, tables.primes[0], -tables.primes[0]
    out = rlwe.residues(values, tables)
    unsigned = rlwe.reduce(values.view(np.uint64), tables)
    for l, q in enumerate(tables.primes):
        assert out[:, l, :CHECKED].tolist() == [[x % q for x in row] for row in values[:, :CHECKED].tolist()]
        assert unsigned[0, l, :9].tolist() == [x % q for x in values.view(np.uint64)[0, :9].tolist()]


@pytest.mark.parametrize("width", [1, 8, 37, 45, 51, 60])
def test_encoding_and_scaling_are_exact(tables: ntt.Tables, width: int) -> None:
    q = prod(tables.primes)
    primes = [p for p in range((1 << width) - 1, (1 << width) - 2000, -1) if is_prime(p)][:1] if width > 2 else []
    for t in [1 << width, *primes]:
        if 4 * t > q:
            continue
        rng = np.random.default_rng(width)
        messages = rng.integers(0, t, (1, tables.degree), dtype=np.uint64)
        messages[0, :3] = 0, t - 1, t // 2
        errors = rng.integers(-21, 22, messages.shape, dtype=np.int64)
        constants = rlwe.EncodeConstants.of(tables.primes, t)
        encoded = rlwe.encode(messages, errors, constants, tables)
        if t <= 1 << 51:
            both("encode", encoded.shape, tables, messages, errors, constants.plain, constants.limbs)
        for j in range(CHECKED):
            exact = (2 * q * int(messages[0, j]) + t) // (2 * t) + int(errors[0, j])
            assert encoded[0, :, j].tolist() == [exact % p for p in tables.primes]
        scale = rlwe.ScaleConstants.of(tables.primes, t)
        values = polys(tables, 2, seed=width)
        scaled = both("scale_round", (2, tables.degree), tables, values, scale.limbs, scale.target)
        for j in range(CHECKED):
            x = integer(tables, values[1, :, j])
            assert scaled[1, j] == (2 * x * t + q) // (2 * q) % t


def test_fused_reply_steps_equal_their_parts(tables: ntt.Tables) -> None:
    """Each fused kernel, in every tier, against the plain ones it stands for."""
    limbs, degree = len(tables.primes), tables.degree
    pairs = polys(tables, 6, seed=4).reshape(3, 2, limbs, degree)
    a, b = polys(tables, 3, seed=5), polys(tables, 3, seed=6)
    first, second = rlwe.fixed(b[0], tables), rlwe.fixed(b[1], tables)
    summed = both("add_products", pairs.shape, tables, pairs, a, first, second)
    for v, factor in enumerate((first, second)):
        own = np.ascontiguousarray(pairs[:, v])
        np.testing.assert_array_equal(summed[:, v], rlwe.multiply_add(own, a, factor, tables))
    np.testing.assert_array_equal(rlwe.add_products(pairs, a, first, second, tables), summed)

    errors = np.random.default_rng(7).integers(-21, 22, (3, degree), dtype=np.int64)
    errors[0, :16] = -21, 21, 0, -1, 1, 0, 0, 0, -21, 21, 0, -1, 1, 0, 0, 0  # beside residues 0 and q - 1
    scale = rlwe.ScaleConstants.of(tables.primes, 1 << 37)
    scaled = both("scale_second", errors.shape, tables, pairs, errors, scale.limbs, scale.target)
    noisy = rlwe.add(pairs[:, 1], rlwe.small_residues(errors, tables), tables)
    np.testing.assert_array_equal(scaled, rlwe.scale_round(noisy, scale, tables))
    np.testing.assert_array_equal(rlwe.scale_second(pairs, errors, scale, tables), scaled)

    paired = rlwe.pair(a, b, pairs[:, 0], tables)
    np.testing.assert_array_equal(paired[:, 0], rlwe.add(a, b, tables))
    np.testing.assert_array_equal(paired[:, 1], pairs[:, 0])

    positions = np.array([5, 0, degree - 1])
    kept = np.ascontiguousarray(b[:, :, :8])
    rlwe.add_gathered(pairs, positions, kept, tables)
    np.testing.assert_array_equal(kept[:, :, :3], rlwe.add_values(b[:, :, :3], pairs[:, 0][:, :, positions], tables))
    np.testing.assert_array_equal(kept[:, :, 3:], b[:, :, 3:8])
    with pytest.raises(ValueError, match="outside"):
        rlwe.add_gathered(pairs, np.array([degree]), kept, tables)
    with pytest.raises(ValueError, match="do not fit"):
        rlwe.add_gathered(pairs, np.arange(9), kept, tables)


def test_ternary_residues_are_those_of_the_integers(tables: ntt.Tables) -> None:
    class Words:
        def words(self, n: int) -> np.ndarray:
            third = (1 << 64) // 3
            edges = [0, (1 << 64) - 1, third - 1, third, third + 1, 2 * third, 2 * third + 1, 2 * third + 2]
            return np.array(edges * (n // 8), np.uint64)

    expected = rlwe.small_residues(rlwe.ternaries(2, tables.degree, Words()), tables)
    np.testing.assert_array_equal(rlwe.ternary_residues(2, Words(), tables), expected)


def test_scaling_refuses_what_would_overflow() -> None:
    with pytest.raises(ValueError, match="over 63 bits"):
        rlwe.ScaleConstants.of(ntt_primes(8192, 47, 4), 1 << 62)


def test_division_by_the_last_prime() -> None:
    tables = ntt.tables(2048, ntt_primes(2048, 47, 3))
    values = polys(tables, 1)
    out = rlwe.divide_by_last(values, tables)
    last = tables.primes[-1]
    for j in range(CHECKED):
        exact = (2 * integer(tables, values[0, :, j]) + last) // (2 * last)
        assert out[0, :, j].tolist() == [exact % p for p in tables.primes[:-1]]


@pytest.mark.parametrize(("tiles", "channels", "outputs"), [(1, 1, 1), (3, 5, 3), (2, 16, 2), (5, 40, 1)])
def test_multiply_accumulate(tables: ntt.Tables, tiles: int, channels: int, outputs: int) -> None:
    if tables.degree * len(tables.primes) * channels > 1 << 18:
        channels = 5
    limbs, degree = len(tables.primes), tables.degree
    ciphertexts = polys(tables, tiles * channels * 2).reshape(tiles, channels, 2, limbs, degree)
    weights = polys(tables, channels * outputs, seed=4).reshape(channels, outputs, limbs, degree)
    ciphertexts[0] = np.array(tables.primes, np.uint64)[:, None] - np.uint64(1)  # the largest sums there are
    weights[:, 0] = np.array(tables.primes, np.uint64)[:, None] - np.uint64(1)
    out = both("multiply_accumulate", (tiles, outputs, 2, limbs, degree), tables, ciphertexts, weights)
    for t, o, v, l, j in np.random.default_rng(0).integers(0, (tiles, outputs, 2, limbs, degree), (CHECKED, 5)):
        exact = sum(int(ciphertexts[t, i, v, l, j]) * int(weights[i, o, l, j]) for i in range(channels))
        assert out[t, o, v, l, j] == exact % tables.primes[l]
    block = rlwe.multiply_accumulate(ciphertexts, weights[:, :1], tables)
    assert np.array_equal(block, out[:, :1])


def test_multiply_accumulate_of_many_channels() -> None:
    tables = ntt.tables(2048, ntt_primes(2048, 50))
    rng = np.random.default_rng(5)
    top = tables.primes[0] - 1
    ciphertexts = np.full((1, rlwe.MAX_CHANNELS, 2, 1, 2048), top, np.uint64)
    ciphertexts[0, :, 1, 0] = rng.integers(0, top, (rlwe.MAX_CHANNELS, 2048), dtype=np.uint64)
    weights = np.full((rlwe.MAX_CHANNELS, 1, 1, 2048), top, np.uint64)
    out = rlwe.multiply_accumulate(ciphertexts, weights, tables)
    assert (out[0, 0, 0] == rlwe.MAX_CHANNELS).all()  # (-1)(-1) each
    sums = (-ciphertexts[0, :, 1, 0, :CHECKED].astype(object).sum(axis=0)) % tables.primes[0]
    assert out[0, 0, 1, 0, :CHECKED].tolist() == sums.tolist()
    with pytest.raises(ValueError, match="4097 input channels"):
        rlwe.multiply_accumulate(np.zeros((1, 4097, 2, 1, 2048), np.uint64), np.zeros((4097, 1, 1, 2048), np.uint64), tables)


@pytest.mark.parametrize("bits", [1, 20, 62, 63, 64, 90, 127])
def test_flood(tables: ntt.Tables, bits: int) -> None:
    words = np.random.default_rng(bits).integers(0, 1 << 64, (2, 2, 16), dtype=np.uint64)
    words[0, :, 0], words[0, :, 1] = 0, ~np.uint64(0)
    masks = np.array([(1 << min(bits + 1, 64)) - 1, (1 << max(bits - 63, 0)) - 1], np.uint64)
    offsets = np.array([-(1 << bits) % q for q in tables.primes], np.uint64)
    before = polys(tables, 2)[:, :, 4:20].copy()
    after = before.copy()
    sampling.add_flood(words, masks, tables.constants, offsets, after)
    for i in range(2):
        for j in range(16):
            number = (int(words[i, 1, j]) << 64 | int(words[i, 0, j])) % (1 << bits + 1) - (1 << bits)
            expected = [(int(x) + number) % q for x, q in zip(before[i, :, j], tables.primes, strict=True)]
            assert after[i, :, j].tolist() == expected
    if len(KERNELS) > 1:
        fast = before.copy()
        rlwe_ifma.add_flood(words, masks, tables.constants, offsets, fast)
        assert np.array_equal(after, fast)


class Fixed:
    """Words that a test chose."""

    def __init__(self, words: Sequence[int]) -> None:
        self.source = np.array(words, np.uint64)

    def words(self, n: int) -> np.ndarray:
        taken, self.source = self.source[:n], self.source[n:]
        assert taken.size == n
        return taken.copy()


def test_uniform_rejects_without_bias_and_deterministically() -> None:
    q = next(p for p in range((1 << 29) + 1, 1 << 30, 4096) if is_prime(p))  # half of all 30-bit numbers are rejected
    tables = ntt.tables(2048, (q,))
    first = np.full(2048, 5, np.uint64)
    first[[3, 700]] = q, (1 << 30) - 1
    out = rlwe.uniform(1, Fixed([*first, q + 1, 9, q - 1]), tables)
    assert out[0, 0, 700] == 9
    assert out[0, 0, 3] == q - 1
    assert (np.delete(out[0, 0], [3, 700]) == 5).all()
    a, b = (rlwe.uniform(20, Random(bytes(range(32))), tables) for _ in range(2))
    assert np.array_equal(a, b)
    counts = np.histogram(a, bins=16, range=(0, q))[0]
    expected = a.size / 16
    assert ((counts - expected) ** 2 / expected).sum() < 44.3  # chi-square, 15 degrees of freedom, p = 1e-4


def test_errors_and_ternaries() -> None:
    errors = rlwe.errors(20, 4096, Random(bytes(32)))
    assert abs(errors).max() <= sampling.ERROR_BOUND
    assert abs(errors.mean()) < 5 * np.sqrt(10.5 / errors.size)
    assert abs(errors.var() - sampling.CBD / 2) < 0.3
    extremes = np.array([(1 << 21) - 1, ((1 << 21) - 1) << 21, ~np.uint64(0), 0], np.uint64)
    out = np.empty(4, np.int64)
    sampling.centred_binomial(extremes, out)
    assert out.tolist() == [21, -21, 0, 0]
    ternary = rlwe.ternaries(20, 4096, Random(bytes(32)))
    counts = np.array([(ternary == v).sum() for v in (-1, 0, 1)])
    assert counts.sum() == ternary.size
    assert abs(counts - ternary.size / 3).max() < 5 * np.sqrt(ternary.size * 2 / 9)


def test_fused_encryption_and_decryption_equal_their_parts(tables: ntt.Tables) -> None:
    """Where many words are rejected too: 30-bit primes that are as small as they get lose up to half."""
    small = tuple(q for q in range((1 << 29) + 1, 1 << 30, 2 * tables.degree) if is_prime(q))[: len(tables.primes)]
    for t in (tables, ntt.tables(tables.degree, small)):
        secret = rlwe.fixed(ntt.forward(rlwe.ternary_residues(1, Random(bytes(16)), t), t), t)
        for plain in (1 << 20, (1 << 55) + 1) if prod(t.primes) >> 60 else (1 << 20,):
            messages = np.random.default_rng(0).integers(0, plain, (3, t.degree), dtype=np.uint64)
            encoding = rlwe.EncodeConstants.of(t.primes, plain)
            c0 = fused.encrypt(messages, encoding, secret, Random(b"public, 16 bytes"), Random(bytes(32)), t)
            c1 = rlwe.uniform(3, Random(b"public, 16 bytes"), t)
            encoded = rlwe.encode(messages, rlwe.errors(3, t.degree, Random(bytes(32))), encoding, t)
            np.testing.assert_array_equal(c0, rlwe.multiply_subtract(ntt.forward(encoded, t), c1, secret, t))
            pairs, scale = np.stack([c0, c1], axis=1), rlwe.ScaleConstants.of(t.primes, 1 << 20)
            phase = ntt.inverse(rlwe.multiply_add(c0, c1, secret, t), t)
            np.testing.assert_array_equal(fused.decrypt(pairs, scale, secret, t), rlwe.scale_round(phase, scale, t))
            if plain == 1 << 20:
                np.testing.assert_array_equal(fused.decrypt(pairs, scale, secret, t), messages)
    with pytest.raises(ValueError, match="messages must be"):
        fused.encrypt(messages[:, 1:], encoding, secret, Random(), Random(), t)
    with pytest.raises(ValueError, match="a fixed factor"):
        fused.encrypt(messages, encoding, secret[0], Random(), Random(), t)
    with pytest.raises(ValueError, match="ciphertexts must be"):
        fused.decrypt(c0, scale, secret, t)
