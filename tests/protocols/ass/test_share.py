"""Shares and their resizing: their identities, exhaustively at small widths."""

import numpy as np
import pytest

from bunet.models.program import TensorType
from bunet.protocols.ass.share import Share, dtype_of, open_shares, reduce_to, signed
from bunet.protocols.context import Role
from bunet.protocols.layers.resize import truncate_reduce
from bunet.protocols.random import Random
from tests.protocols.sharing import split


def all_pairs(width: int) -> tuple[np.ndarray, np.ndarray]:
    """Every secret with every sharing of it: (secret residues, Alice's share)."""
    values = np.arange(1 << width, dtype=np.uint64)
    return np.repeat(values, 1 << width), np.tile(values, 1 << width)


@pytest.mark.parametrize("width", [1, 5, 31, 32, 33, 63, 64])
def test_split_opens_to_the_secret(width: int) -> None:
    bound = width - 1
    kind = TensorType((1, 4, 8), width, 0, bound)
    limit = 1 << bound
    secret = np.random.default_rng(width).integers(-limit, limit, (1, 4, 8)) if bound else np.zeros((1, 4, 8), int)
    a, b = split(secret, kind, Random())
    assert a.values.dtype == dtype_of(width)
    assert int(a.values.max()) >> width == 0
    np.testing.assert_array_equal(open_shares(a, b), secret)


def test_signed_reads_the_top_bit() -> None:
    np.testing.assert_array_equal(signed(np.array([0, 7, 8, 15], np.uint64), 4), [0, 7, -8, -1])
    np.testing.assert_array_equal(signed(np.array([2**64 - 1, 2**63], np.uint64), 64), [-1, -(2**63)])


def test_a_share_of_the_wrong_kind_is_refused() -> None:
    with pytest.raises(TypeError, match="12-bit share is uint32"):
        Share(np.zeros((1, 1, 1), np.uint64), 12, 0, 3)
    with pytest.raises(ValueError, match=r"outside 1\.\.64"):
        dtype_of(65)


@pytest.mark.parametrize(("width", "shift"), [(6, 1), (6, 3), (7, 2), (8, 4)])
def test_truncate_reduce_is_floor_or_one_more_for_every_sharing(width: int, shift: int) -> None:
    secret, mine = all_pairs(width)
    kind = TensorType((1, 1, secret.size), width, shift, width - 1)
    smaller = TensorType((1, 1, secret.size), width - shift, 0, width - shift - 1)
    a = truncate_reduce(Share.of(mine, kind), shift, smaller, Role.ALICE)
    b = truncate_reduce(Share.of(secret - mine, kind), shift, smaller, Role.BOB)
    total = a.values.astype(np.uint64).ravel() + b.values.astype(np.uint64).ravel()
    floor = secret >> np.uint64(shift)
    excess = reduce_to(total - floor, width - shift)
    assert set(np.unique(excess)) <= {0, 1}
    # Rounding up has probability (dropped bits + 1) / 2^shift over the sharings: a bias of 2^-shift of a unit.
    ups = excess.reshape(1 << width, 1 << width).sum(axis=1)
    dropped = np.arange(1 << width) & ((1 << shift) - 1)
    np.testing.assert_array_equal(ups, (dropped + 1) << (width - shift))


def test_truncation_by_zero_is_exact_and_drops_high_bits() -> None:
    secret, mine = all_pairs(6)
    small = np.isin(secret, [0, 1, 2, 3, 60, 61, 62, 63])
    secret, mine = secret[small], mine[small]
    kind, smaller = TensorType((1, 1, secret.size), 6, 0, 2), TensorType((1, 1, secret.size), 4, 0, 2)
    a = truncate_reduce(Share.of(mine, kind), 0, smaller, Role.ALICE)
    b = truncate_reduce(Share.of(secret - mine, kind), 0, smaller, Role.BOB)
    np.testing.assert_array_equal(open_shares(a, b).ravel(), signed(secret, 6))


@pytest.mark.parametrize("width", [3, 4, 6, 7])
def test_the_wrap_is_an_or_of_top_bits_when_there_is_headroom(width: int) -> None:
    """The identity behind `extend`, for every secret |x| < 2^(width-2) and every sharing."""
    secret, mine = all_pairs(width)
    x = signed(secret, width)
    small = (np.abs(x) < 1 << (width - 2)) | (x == -(1 << (width - 2)))
    secret, mine = secret[small], mine[small]
    a = reduce_to(mine + np.uint64(1 << (width - 2)), width).astype(np.int64)
    b = reduce_to(secret - mine, width).astype(np.int64)
    top_a, top_b = a >> (width - 1), b >> (width - 1)
    wrap = top_a + top_b - top_a * top_b
    np.testing.assert_array_equal(a + b - (wrap << width) - (1 << (width - 2)), signed(secret, width))
