"""AND and OR of shared bits: right, uniform, and as dear as stated, across blocks and windows."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bunet.protocols.cost import Cost
from bunet.protocols.counting import Traffic, counted
from bunet.protocols.lockstep import lockstep
from bunet.protocols.ot import extension, streamed
from bunet.protocols.random import Random
from bunet.protocols.vote import gates
from tests.protocols.contexts import contexts


def shared(bits: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(Alice's share, Bob's share) by XOR."""
    mine = Random().bits(bits.size).reshape(bits.shape)
    return mine, mine ^ bits.astype(np.uint8)


def agrees(traffic: Traffic, stated: Cost) -> bool:
    return (traffic.alice_bytes, traffic.bob_bytes, traffic.rounds) == (stated.alice_bytes, stated.bob_bytes, stated.rounds)


@pytest.mark.parametrize("ot", extension.NAMES)
def test_all_shares_of_all_bits(ot: str) -> None:
    """Every one of the 16 ways to share two bits; the order of the shares does not matter."""
    xa, xb, ya, yb = (np.array([k >> bit & 1 for k in range(16)], np.uint8) for bit in range(4))
    for gate, expected in ((gates.and_bits, (xa ^ xb) & (ya ^ yb)), (gates.or_bits, (xa ^ xb) | (ya ^ yb))):
        a, b = contexts(ot=ot)
        mine, theirs, traffic = counted(gate(a, xa, ya), gate(b, xb, yb))
        np.testing.assert_array_equal(mine ^ theirs, expected)
        assert agrees(traffic, gates.cost(16, ot))


@given(count=st.integers(0, 3000), window=st.integers(1, 4), seed=st.integers(0, 2**32 - 1))
@settings(max_examples=15, deadline=None)
def test_any_count_of_blocks_and_windows(count: int, window: int, seed: int) -> None:
    bits = np.random.default_rng(seed).integers(0, 2, (2, count), np.uint8)
    (xa, xb), (ya, yb) = shared(bits[0]), shared(bits[1])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(streamed, "BLOCK", 256)
        patch.setattr(gates, "WINDOW", window)
        a, b = contexts(ot="softspoken-4")
        mine, theirs, traffic = counted(gates.and_bits(a, xa, ya), gates.and_bits(b, xb, yb))
        assert agrees(traffic, gates.cost(count, "softspoken-4"))
    np.testing.assert_array_equal(mine ^ theirs, bits[0] & bits[1])


def test_shares_of_a_gate_are_unbiased_and_new_in_every_run() -> None:
    """A fair count of n bits is within 5 sqrt(n) / 2 of n / 2 but once in 1.7 million."""
    count = 40_000
    for value in (0, 1):
        bits = np.full(count, value, np.uint8)
        (xa, xb), (ya, yb) = shared(bits), shared(bits)
        runs = []
        for _ in range(2):
            a, b = contexts()
            runs.append(lockstep(gates.and_bits(a, xa, ya), gates.and_bits(b, xb, yb)))
        for party in (0, 1):
            first, second = runs[0][party], runs[1][party]
            for sample in (first, second, first ^ second, first ^ (xa, xb)[party], first[1:] ^ first[:-1]):
                assert abs(int(sample.sum()) - sample.size / 2) < 5 * sample.size**0.5 / 2


def test_numbers_are_used_once() -> None:
    """Two gates on one chain, and one after them, draw from different numbers."""
    a, b = contexts()
    bits = np.ones(5, np.uint8)
    before = a.next_stream()
    b.next_stream()
    mine, theirs = lockstep(gates.and_bits(a, bits, bits), gates.and_bits(b, bits, bits))
    np.testing.assert_array_equal(mine ^ theirs, 0)
    assert a.next_stream() == b.next_stream() == before + 5  # one block: two numbers for each direction


@pytest.mark.parametrize("bad", [np.zeros(3, np.uint8), np.zeros(4, np.uint32), np.zeros((2, 2), np.uint8)])
def test_what_is_not_two_shares_of_one_shape_is_refused(bad: np.ndarray) -> None:
    a, _ = contexts()
    with pytest.raises(ValueError, match="uint8 of one shape"):
        next(gates.and_bits(a, np.zeros(4, np.uint8), bad))


def test_a_reserve_ends_where_the_next_begins() -> None:
    a, _ = contexts()
    first, second = a.reserve(2), a.reserve(1)
    assert [first.next_stream(), first.next_stream()] == [second.next_stream() - 2, a.next_stream() - 2]
    for used_up in (first, second):
        with pytest.raises(OverflowError):
            used_up.next_stream()
    with pytest.raises(OverflowError):
        a.reserve(1 << 24)
