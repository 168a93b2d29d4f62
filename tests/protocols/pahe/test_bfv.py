"""Homomorphic identities of BFV, its noise, and its bytes."""

import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bunet.protocols.kernels.ring import ntt, rlwe
from bunet.protocols.pahe import bfv, encoding, parameters
from bunet.protocols.pahe.keys import PublicKey, SecretKey
from bunet.protocols.random import Random
from bunet.protocols.steps import ProtocolError
from tests.protocols.pahe.noise import noise_budget, phase

PARAMS = parameters.get("n4096-q94")
RANDOM = Random(b"tests of bfv....")
KEY = SecretKey.generate(PARAMS, RANDOM)


def messages(t: int, n: int = 1, seed: int = 0, degree: int = PARAMS.degree) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, t, (n, degree), dtype=np.uint64)


def encrypted(values: np.ndarray, t: int, key: SecretKey = KEY) -> np.ndarray:
    return bfv.expand_request(key.params, *bfv.encrypt(key, values, t, RANDOM))


def negacyclic(values: np.ndarray, factor: dict[int, int], t: int) -> np.ndarray:
    """values (n, N) times the sparse polynomial, modulo X^N + 1 and t."""
    degree = values.shape[1]
    total = np.zeros(values.shape, object)
    for k, c in factor.items():
        turned = np.roll(values.astype(object), k, axis=1)
        turned[:, : k % degree] *= -1
        total += turned * c
    return (total % t).astype(np.uint64)


def polynomial(factor: dict[int, int], degree: int = PARAMS.degree) -> np.ndarray:
    out = np.zeros((1, degree), np.int64)
    for k, c in factor.items():
        out[0, k] = c
    return out


@pytest.mark.parametrize("name", [n for n in parameters.SETS if n != "n16384-q376"])
def test_decrypts_what_was_encrypted(name: str) -> None:
    params = parameters.get(name)
    key = SecretKey.generate(params, RANDOM)
    for t in (2, 1 << 20, 1 << 41, *parameters.ntt_primes(params.degree, 30), 1 << 60):
        if t > params.modulus >> 10:
            continue
        values = messages(t, 2, degree=params.degree)
        values[0, :3] = 0, t - 1, t // 2
        assert np.array_equal(bfv.decrypt(key, encrypted(values, t, key), t), values)


@given(st.integers(1, 41), st.integers(0, 1 << 30))
@settings(max_examples=10, deadline=None)
def test_sums(width: int, seed: int) -> None:
    t = 1 << width
    x, y = messages(t, 2, seed), messages(t, 2, seed + 1)
    a, b = encrypted(x, t), encrypted(y, t)
    mask = np.uint64(t - 1)
    assert np.array_equal(bfv.decrypt(KEY, bfv.add(PARAMS, a, b), t), (x + y) & mask)
    assert np.array_equal(bfv.decrypt(KEY, bfv.add_plain(PARAMS, a, y, t), t), (x + y) & mask)


@given(
    st.integers(1, 40),
    st.dictionaries(st.integers(0, PARAMS.degree - 1), st.integers(-(1 << 15), 1 << 15), min_size=1, max_size=5),
    st.integers(0, 1 << 30),
)
@settings(max_examples=10, deadline=None)
def test_products_with_polynomials(width: int, factor: dict[int, int], seed: int) -> None:
    t = 1 << width
    x = messages(t, 2, seed)
    product = bfv.multiply_plain(PARAMS, encrypted(x, t), bfv.transform(PARAMS, polynomial(factor)))
    assert np.array_equal(bfv.decrypt(KEY, product, t), negacyclic(x, factor, t))


def test_products_with_slots() -> None:
    params = parameters.get("n8192-q141")
    key = SecretKey.generate(params, RANDOM)
    (t,) = parameters.ntt_primes(params.degree, 25)
    x, y = messages(t, 2, 1, params.degree), messages(t, 2, 2, params.degree)
    a = encrypted(encoding.encode_slots(x, t), t, key)
    factors = bfv.transform(params, encoding.centred(encoding.encode_slots(y, t), t))
    product = bfv.multiply_plain(params, a, factors)
    assert np.array_equal(encoding.decode_slots(bfv.decrypt(key, product, t), t), x * y % np.uint64(t))


def phase_noise(key: SecretKey, ciphertexts: np.ndarray, values: np.ndarray, t: int) -> np.ndarray:
    """2 t * (phase - q m / t) as centred integers: twice t times the noise."""
    q = key.params.modulus
    total = sum(
        residues.astype(object) * (q // p * pow(q // p, -1, p))
        for p, residues in zip(key.params.primes, phase(key, ciphertexts).transpose(1, 0, 2), strict=True)
    )
    difference = (2 * t * total - 2 * q * values.astype(object)) % (2 * t * q)
    return np.where(difference > t * q, difference - 2 * t * q, difference)


def test_fresh_noise_is_within_its_hard_bound() -> None:
    t = 1 << 37
    x = messages(t, 4)
    noise = phase_noise(KEY, encrypted(x, t), x, t)
    assert abs(noise).max() <= 2 * t * bfv.FRESH_NOISE
    assert abs(noise).max() > 2 * t * 5  # it is there


def test_product_noise_is_within_the_stated_bits_and_wraps_cost_nothing() -> None:
    t = 1 << 37
    x = messages(t, 1)
    factor = {k: (-1) ** k * 1023 for k in range(0, 4096, 8)}
    product = bfv.multiply_plain(PARAMS, encrypted(x, t), bfv.transform(PARAMS, polynomial(factor)))
    expected = negacyclic(x, factor, t)
    bound = bfv.noise_bits(1023 * len(factor))
    assert abs(phase_noise(KEY, product, expected, t)).max() < 2 * t << bound


def test_noise_budget_is_what_is_left() -> None:
    t = 1 << 37
    x = messages(t)
    a = encrypted(x, t)
    fresh = noise_budget(KEY, a, t)
    assert fresh == pytest.approx(94 - 37 - 1 - 4, abs=1)
    scaled = bfv.multiply_plain(PARAMS, a, bfv.transform(PARAMS, polynomial({0: 1 << 20})))
    assert noise_budget(KEY, scaled, t) == pytest.approx(fresh - 20, abs=1)
    for bits, decrypts in ((fresh, True), (fresh + 3, False)):
        grown = bfv.multiply_plain(PARAMS, a, bfv.transform(PARAMS, polynomial({0: (1 << bits) - 1})))
        expected = negacyclic(x, {0: (1 << bits) - 1}, t)
        assert np.array_equal(bfv.decrypt(KEY, grown, t), expected) is decrypts
    assert noise_budget(KEY, grown, t) == 0


def test_decryption_is_exact_to_the_edge() -> None:
    """Noise of exactly the stated limit decrypts; twice that does not."""
    t = 1 << 37
    x = messages(t)
    errors = np.zeros((1, PARAMS.degree), np.int64)
    limit = (PARAMS.modulus - (PARAMS.modulus >> encoding.ROUNDING_BITS)) // (2 * t) - 1
    errors[0, ::2], errors[0, 1::2] = limit, -limit
    flat = rlwe.encode(x, np.zeros_like(errors), encoding.encode_constants(PARAMS, t), PARAMS.tables)
    for factor, decrypts in ((1, True), (2, False)):
        noisy = rlwe.add(flat, rlwe.residues(errors * factor, PARAMS.tables), PARAMS.tables)
        trivial = np.stack([ntt.forward(noisy, PARAMS.tables), np.zeros_like(noisy)], axis=1)
        assert np.array_equal(bfv.decrypt(KEY, trivial, t), x) is decrypts


def test_modulus_switching() -> None:
    params = parameters.get("n8192-q141")
    key = SecretKey.generate(params, RANDOM)
    t = 1 << 30
    x = messages(t, 2, degree=params.degree)
    a = encrypted(x, t, key)
    smaller, switched = bfv.mod_switch(params, a)
    lower = SecretKey(smaller, key.ternary)
    assert smaller.primes == params.primes[:2]
    assert np.array_equal(bfv.decrypt(lower, switched, t), x)
    assert 94 - 31 - 14 <= noise_budget(lower, switched, t) < noise_budget(key, a, t)


def test_requests_state_their_bytes() -> None:
    for n in (1, 3):
        t = 1 << 20
        x = messages(t, n)
        c0, seed = bfv.encrypt(KEY, x, t, RANDOM)
        arrays = bfv.request_arrays(PARAMS, c0, seed)
        assert bfv.request_bytes(PARAMS, n) == n * 2 * 4096 * 47 // 8 + 32
        assert sum(a.nbytes for a in arrays) == bfv.request_bytes(PARAMS, n)
        assert all(s.matches(a) for s, a in zip(bfv.request_specs(PARAMS, n), arrays, strict=True))
        opened = bfv.open_request(PARAMS, arrays, n)
        assert np.array_equal(opened, bfv.expand_request(PARAMS, c0, seed))


def test_malformed_requests_are_refused() -> None:
    arrays = bfv.request_arrays(PARAMS, *bfv.encrypt(KEY, messages(4), 4, RANDOM))
    with pytest.raises(ProtocolError, match="not below its prime"):
        bfv.open_request(PARAMS, (np.full_like(arrays[0], 255), arrays[1]), 1)
    with pytest.raises(ProtocolError, match="packed values"):
        bfv.open_request(PARAMS, (arrays[0][:-1], arrays[1]), 1)
    for place, limb in ((0, 0), (-1, 1)):  # a single residue, in either limb, that is just its prime
        c0 = np.zeros((1, 2, 4096), np.uint64)
        c0[0, limb, place] = PARAMS.primes[limb]
        bad = bfv.request_arrays(PARAMS, c0, bytes(32))
        with pytest.raises(ProtocolError, match="not below its prime"):
            bfv.open_request(PARAMS, bad, 1)
        with pytest.raises(ProtocolError, match="not below its prime"):
            bfv.open_sum(PARAMS, bad, messages(4), 4, np.empty((1, 2, 2, 4096), np.uint64))


def test_public_keys_travel() -> None:
    public = KEY.public_key(RANDOM)
    arrays = public.arrays()
    assert all(s.matches(a) for s, a in zip(PublicKey.specs(PARAMS), arrays, strict=True))
    again = PublicKey.from_arrays(PARAMS, arrays)
    assert np.array_equal(again.fixed_a, public.fixed_a)
    zero = np.stack([again.fixed_b[0], again.fixed_a[0]])[None]
    assert not bfv.decrypt(KEY, zero, 1 << 60 if PARAMS.modulus >> 90 else 2).any()
    with pytest.raises(ProtocolError, match="not below its prime"):
        PublicKey.from_arrays(PARAMS, (np.full_like(arrays[0], 255), arrays[1]))


def test_ciphertexts_of_equal_messages_differ() -> None:
    t = 1 << 20
    (a, _), (b, _) = (bfv.encrypt(KEY, messages(t), t, RANDOM) for _ in range(2))
    assert (a != b).mean() > 0.999


def test_bad_messages_are_refused() -> None:
    with pytest.raises(ValueError, match="not below the plaintext modulus"):
        bfv.encrypt(KEY, np.full((1, 4096), 8, np.uint64), 8, RANDOM)
    with pytest.raises(ValueError, match=r"unsigned \(n, 4096\)"):
        bfv.encrypt(KEY, np.zeros((1, 2048), np.uint64), 8, RANDOM)
    with pytest.raises(ValueError, match="unsigned"):
        bfv.encrypt(KEY, np.zeros((1, 4096), np.int64), 8, RANDOM)
    for t in (1, 15, 1 << 61, PARAMS.primes[0]):
        with pytest.raises(ValueError, match=f"plaintext modulus {t}"):
            bfv.encrypt(KEY, np.zeros((1, 4096), np.uint64), t, RANDOM)


def test_a_secret_key_is_not_pickled() -> None:
    with pytest.raises(TypeError, match="not serialised"):
        pickle.dumps(KEY)
    assert "ternary" not in repr(KEY)
