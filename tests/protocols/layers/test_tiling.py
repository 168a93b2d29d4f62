"""The packing proved in the clear: numpy polynomials modulo X^N + 1 instead of ciphertexts."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bunet.protocols.layers.tiling import Image, Tiling, candidates, even_cuts


def negacyclic(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Product modulo X^N + 1 and 2^64."""
    full = np.convolve(a, b)
    n = a.size
    out = full[:n].copy()
    out[: n - 1] -= full[n:]
    return out


def convolve(x: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Integer reference modulo 2^64: x uint64 (in, H, W), weight int64 (out, in, k, k), zero padding k//2."""
    k = weight.shape[2]
    _, h, w = x.shape
    padded = np.pad(x, ((0, 0), (k // 2, k // 2), (k // 2, k // 2)))
    out = np.zeros((weight.shape[0], h, w), np.uint64)
    for a in range(k):
        for b in range(k):
            tap = weight[:, :, a, b].astype(np.uint64)
            out += np.einsum("oi,ihw->ohw", tap, padded[:, a : a + h, b : b + w])
    return out


def convolve_by_polynomials(tiling: Tiling, x: np.ndarray, weight: np.ndarray) -> np.ndarray:
    image = tiling.image
    messages = tiling.messages(x, 0, tiling.tiles * tiling.groups).reshape(tiling.tiles, tiling.groups, -1)
    kernels = np.zeros((tiling.groups, tiling.bundles, tiling.degree), np.uint64)
    kernels[..., tiling.tap_positions] = tiling.taps(weight, 0, tiling.bundles).astype(np.uint64)
    out = np.full((image.out_channels, image.height, image.width), 0xDEAD, np.uint64)
    half = tiling.tiles // 2
    for tiles in (range(half), range(half, tiling.tiles)):
        replies = [
            np.sum([negacyclic(messages[t, g], kernels[g, b]) for g in range(tiling.groups)], axis=0)[tiling.positions]
            for t in tiles
            for b in range(tiling.bundles)
        ]
        values = np.array(replies, np.uint64).reshape(-1, tiling.bundles, tiling.outputs)
        tiling.place(out, tiles, range(1), values[:, 0])
        tiling.place(out, tiles, range(1, tiling.bundles), values[:, 1:].reshape(-1, tiling.outputs))
    return out


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_every_candidate_computes_the_convolution(data: st.DataObject) -> None:
    image = Image(
        data.draw(st.integers(1, 5)),
        data.draw(st.integers(1, 12)),
        data.draw(st.integers(1, 12)),
        data.draw(st.integers(1, 5)),
        data.draw(st.sampled_from([1, 3, 5])),
    )
    degree = data.draw(st.sampled_from([64, 128, 256]))
    options = list(candidates(image, degree, data.draw(st.integers(1, 5))))
    assert options
    tiling = data.draw(st.sampled_from(options))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    x = rng.integers(0, 2**64, (image.channels, image.height, image.width), dtype=np.uint64)
    weight = rng.integers(-(2**20), 2**20, (image.out_channels, image.channels, image.kernel, image.kernel))
    np.testing.assert_array_equal(convolve_by_polynomials(tiling, x, weight), convolve(x, weight))


def test_full_polynomial_and_full_width_share_their_padding() -> None:
    image = Image(2, 6, 15, 2, 3)  # stride 16: both channels fill 256 coefficients exactly, were it not for one pad
    with pytest.raises(ValueError, match="does not fit"):
        Tiling(image, 256, 6, 15, 2, 1)
    tiling = Tiling(image, 256, 6, 15, 1, 1)
    assert (tiling.stride, tiling.plane) == (16, 128)
    x = np.arange(180, dtype=np.uint64).reshape(2, 6, 15)
    weight = np.arange(36).reshape(2, 2, 3, 3) - 18
    np.testing.assert_array_equal(convolve_by_polynomials(tiling, x, weight), convolve(x, weight))


def test_even_cuts_cover() -> None:
    assert even_cuts(7) == [7, 4, 3, 2, 1]
    for length in (1, 8, 13, 100):
        sizes = even_cuts(length)
        assert sizes[0] == length
        assert sizes[-1] == 1


def test_bad_arguments_are_named() -> None:
    image = Image(2, 4, 4, 3, 3)
    tiling = Tiling(image, 256, 4, 4, 2, 1)
    with pytest.raises(ValueError, match="not odd"):
        Image(1, 4, 4, 1, 2)
    with pytest.raises(ValueError, match="empty"):
        Image(0, 4, 4, 1, 3)
    with pytest.raises(ValueError, match="shape"):
        tiling.messages(np.zeros((1, 4, 4), np.uint64), 0, 1)
    with pytest.raises(ValueError, match="outside"):
        tiling.messages(np.zeros((2, 4, 4), np.uint64), 0, 2)
    with pytest.raises(ValueError, match="weights"):
        tiling.taps(np.zeros((2, 2, 3, 3), np.int64), 0, 1)
    with pytest.raises(ValueError, match="1x1"):
        image.flat()
