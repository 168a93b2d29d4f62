"""Slot encoding and rotations."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bunet.protocols.pahe import bfv, encoding, galois, parameters
from bunet.protocols.pahe.keys import SecretKey
from bunet.protocols.random import Random
from bunet.protocols.steps import ProtocolError
from tests.protocols.pahe.noise import noise_budget

PARAMS = parameters.get("n4096-q100")
RANDOM = Random(b"tests of galois.")
KEY = SecretKey.generate(PARAMS, RANDOM)
(T,) = parameters.ntt_primes(4096, 20)
STEPS = (1, -3, 1024)
KEYS = galois.generate(KEY, [galois.rotation(PARAMS, s) for s in STEPS] + [galois.row_swap(PARAMS)], RANDOM)


def rows(values: np.ndarray) -> np.ndarray:
    return values.reshape(len(values), 2, -1)


@given(st.sampled_from([(2048, 13), (4096, 20), (8192, 41), (16384, 50)]), st.integers(0, 1 << 30))
@settings(max_examples=8, deadline=None)
def test_slots_are_a_ring_isomorphism(size: tuple[int, int], seed: int) -> None:
    degree, bits = size
    (t,) = parameters.ntt_primes(degree, max(bits, 16 if degree < 16384 else 18))
    rng = np.random.default_rng(seed)
    x, y = rng.integers(0, t, (2, 1, degree), dtype=np.uint64)
    a, b = encoding.encode_slots(x, t), encoding.encode_slots(y, t)
    assert np.array_equal(encoding.decode_slots(a, t), x)
    assert np.array_equal(encoding.decode_slots((a + b) % np.uint64(t), t), (x + y) % np.uint64(t))
    monomial = np.zeros_like(a)  # X * a(X), slot by slot
    monomial[0, 1] = 1
    shifted = np.roll(a, 1, axis=1)
    shifted[0, 0] = (t - int(shifted[0, 0])) % t
    product = encoding.decode_slots(monomial, t).astype(object) * x % t
    assert np.array_equal(encoding.decode_slots(shifted, t), product.astype(np.uint64))


def test_a_constant_is_the_same_in_every_slot() -> None:
    coefficients = np.zeros((1, 4096), np.uint64)
    coefficients[0, 0] = 77
    assert (encoding.decode_slots(coefficients, T) == 77).all()


def test_rotations() -> None:
    x = np.random.default_rng(0).integers(0, T, (2, 4096), dtype=np.uint64)
    a = bfv.expand_request(PARAMS, *bfv.encrypt(KEY, encoding.encode_slots(x, T), T, RANDOM))

    def slots(ciphertexts: np.ndarray) -> np.ndarray:
        return rows(encoding.decode_slots(bfv.decrypt(KEY, ciphertexts, T), T))

    for steps in STEPS:
        assert np.array_equal(slots(galois.rotate(a, KEYS, steps)), np.roll(rows(x), -steps, axis=2))
    assert np.array_equal(slots(galois.rotate(a, KEYS, 2048)), rows(x))
    assert np.array_equal(slots(galois.apply(a, KEYS[galois.row_swap(PARAMS)])), rows(x)[:, ::-1])
    window = bfv.add(PARAMS, a, galois.rotate(a, KEYS, 1))
    assert np.array_equal(slots(window), (rows(x) + np.roll(rows(x), -1, axis=2)) % np.uint64(T))


def test_rotation_noise_is_within_its_bound() -> None:
    x = np.zeros((1, 4096), np.uint64)
    a = bfv.expand_request(PARAMS, *bfv.encrypt(KEY, x, T, RANDOM))
    noise = galois.switching_noise(PARAMS) + bfv.FRESH_NOISE
    for _ in range(3):
        a = galois.rotate(a, KEYS, 1)
    budget = noise_budget(KEY, a, T)
    assert budget >= (PARAMS.modulus // (2 * T * 3 * noise)).bit_length() - 1
    assert budget < 100 - 20 - 1 - 20  # key switching noise is there


def test_keys_travel() -> None:
    key = KEYS[galois.row_swap(PARAMS)]
    arrays = key.arrays()
    assert all(s.matches(a) for s, a in zip(galois.GaloisKey.specs(PARAMS), arrays, strict=True))
    again = galois.GaloisKey.from_arrays(PARAMS, key.element, arrays)
    assert np.array_equal(again.a, key.a)
    assert np.array_equal(again.b, key.b)
    with pytest.raises(ProtocolError, match="not below its prime"):
        galois.GaloisKey.from_arrays(PARAMS, key.element, (np.full_like(arrays[0], 255), arrays[1]))


def test_refusals() -> None:
    a = np.zeros((1, 2, 2, 4096), np.uint64)
    with pytest.raises(LookupError, match="rotation by 7"):
        galois.rotate(a, KEYS, 7)
    with pytest.raises(ValueError, match="not a Galois element"):
        galois.GaloisKey.from_arrays(PARAMS, 4, KEYS[galois.row_swap(PARAMS)].arrays())
    with pytest.raises(ValueError, match="1 modulo 8192"):
        encoding.encode_slots(np.zeros((1, 4096), np.uint64), 1 << 20)
    with pytest.raises(ValueError, match="below"):
        encoding.encode_slots(np.full((1, 4096), T, np.uint64), T)
