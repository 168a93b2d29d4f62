"""Products by sparse polynomials equal whole transforms and multiply-accumulate, bit for bit."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bunet.protocols.kernels.ring import convolve, ntt, rlwe
from bunet.protocols.pahe import parameters
from bunet.protocols.random import Random

SETS = ("n2048-q50", "n4096-q94", "n4096-q100", "n4096-q105", "n8192-q141", "n16384-q282")


def ciphertexts(params: parameters.Parameters, tiles: int, channels: int) -> np.ndarray:
    rows = rlwe.uniform(2 * tiles * channels, Random(bytes(16)), params.tables)
    return rows.reshape(tiles, channels, 2, params.limbs, params.degree)


def whole(x: np.ndarray, taps: np.ndarray, positions: np.ndarray, params: parameters.Parameters) -> np.ndarray:
    """By transforms of whole polynomials."""
    weights = np.zeros((*taps.shape[:2], params.limbs, params.degree), np.uint64)
    for l, prime in enumerate(params.primes):
        for k, position in enumerate(positions):
            weights[:, :, l, position] = (weights[:, :, l, position].astype(np.int64) + taps[:, :, k]) % prime
    return rlwe.multiply_accumulate(x, ntt.forward(weights, params.tables), params.tables)


@settings(max_examples=30, deadline=None)
@given(
    st.sampled_from(SETS),
    st.integers(1, 3),
    st.integers(1, 5),
    st.integers(1, 6),
    st.integers(1, 60),
    st.sampled_from([1, 2, 64, 128]),
    st.integers(0, 2**32),
)
def test_equals_whole_polynomials(name: str, tiles: int, channels: int, outputs: int, count: int, step: int, seed: int) -> None:
    params = parameters.get(name)
    rng = np.random.default_rng(seed)
    slots = params.degree // step
    positions = step * rng.choice(slots, min(count, slots), replace=False)
    most = min(min(params.primes) - 1, 2**62)
    taps = rng.choice([-most, most, 0, 1, -1, 12345], (channels, outputs, len(positions)))
    places = convolve.Places.of(positions, params.tables)
    assert places.places == (1 if not (positions % 64).any() else 64)
    x = ciphertexts(params, tiles, channels)
    out = convolve.multiply_sparse(x, taps, places)
    np.testing.assert_array_equal(out, whole(x, taps, positions, params))


def test_full_places_and_many_channels() -> None:
    """Every sum as large as it gets: largest residues and taps, all taps in one place, sums beyond 52 bits."""
    params = parameters.get("n2048-q50")
    positions = np.arange(params.degree // 64) * 64 + 5
    most = params.primes[0] - 1
    taps = np.full((300, 2, len(positions)), most, np.int64)
    taps[:, 1] = -most
    x = np.full((1, 300, 2, 1, params.degree), most, np.uint64)
    out = convolve.multiply_sparse(x, taps, convolve.Places.of(positions, params.tables))
    np.testing.assert_array_equal(out, whole(x, taps, positions, params))


def test_tiers_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    if not convolve.FAST:
        pytest.skip("this tier has one way only")
    params = parameters.get("n4096-q100")
    positions = np.array([0, 1, 700, 1, 4095])
    taps = np.random.default_rng(3).integers(-1000, 1000, (7, 9, 5))
    x, places = ciphertexts(params, 2, 7), convolve.Places.of(positions, params.tables)
    fast = convolve.multiply_sparse(x, taps, places)
    monkeypatch.setattr(convolve, "FAST", False)
    monkeypatch.setattr(convolve, "_MATERIALISED", 1 << 20)
    np.testing.assert_array_equal(convolve.multiply_sparse(x, taps, places, np.empty_like(fast)), fast)


def test_bad_arguments_are_refused() -> None:
    params = parameters.get("n2048-q50")
    tables = params.tables
    for bad in ([[1]], [], [2048], [-1]):
        with pytest.raises(ValueError, match="position"):
            convolve.Places.of(np.array(bad, np.int64), tables)
    places, x = convolve.Places.of(np.array([0, 1]), tables), ciphertexts(params, 1, 2)
    for taps in (np.zeros((2, 1, 3), np.int64), np.zeros((2, 1, 2), np.int32), np.zeros((3, 1, 2), np.int64)):
        with pytest.raises(ValueError, match="taps"):
            convolve.multiply_sparse(x, taps, places)
    with pytest.raises(ValueError, match="smaller than the primes"):
        convolve.multiply_sparse(x, np.full((2, 1, 2), -params.primes[0], np.int64), places)
    with pytest.raises(ValueError, match="must be uint64"):
        convolve.multiply_sparse(x.astype(np.int64), np.zeros((2, 1, 2), np.int64), places)
    with pytest.raises(ValueError, match="out must be"):
        convolve.multiply_sparse(x, np.zeros((2, 1, 2), np.int64), places, np.empty((1, 1, 2, 1, 2048), np.int64))
    big = np.zeros((1, 4097, 2, 1, 2048), np.uint64)
    with pytest.raises(ValueError, match="4097 input channels"):
        convolve.multiply_sparse(big, np.zeros((4097, 1, 2), np.int64), places)
