import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bunet.protocols.ass.share import dtype_of, mask_of
from bunet.protocols.context import Role
from bunet.protocols.counting import Traffic, counted
from bunet.protocols.lockstep import lockstep
from bunet.protocols.ot import correlated, extension, streamed
from bunet.protocols.random import Random
from tests.protocols.contexts import contexts


def run(count: int, width: int, sender: Role) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, Traffic]:
    """(correlation, choices, sender's result, receiver's result, traffic)"""
    alice, bob = contexts()
    correlation = Random().uniform(count, width).astype(dtype_of(width))
    choices = Random().bits(count)
    if sender is Role.ALICE:
        mine, theirs, traffic = counted(streamed.send(alice, correlation, width), streamed.receive(bob, choices, width))
    else:
        theirs, mine, traffic = counted(streamed.receive(alice, choices, width), streamed.send(bob, correlation, width))
    return correlation, choices, mine, theirs, traffic


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 1500), st.integers(1, 64), st.sampled_from(list(Role)))
def test_the_shares_differ_by_the_product(count: int, width: int, sender: Role) -> None:
    correlation, choices, mine, theirs, traffic = run(count, width, sender)
    assert mine.dtype == theirs.dtype == dtype_of(width)
    assert ((theirs - mine - choices * correlation) & mine.dtype.type(mask_of(width)) == 0).all()
    assert int(max(mine.max(initial=0), theirs.max(initial=0))) <= mask_of(width)
    cost = streamed.cost(count, width, sender)
    assert (cost.alice_bytes, cost.bob_bytes, cost.rounds) == (
        traffic.alice_bytes,
        traffic.bob_bytes,
        traffic.rounds,
    )


def test_both_shares_are_uniform() -> None:
    """Bytes of r and of r + choice * correlation, at significance 1e-6 (255 degrees of freedom)."""
    count = 1 << 16
    for choice in (0, 1):
        alice, bob = contexts()
        mine, theirs = lockstep(
            streamed.send(alice, np.full(count, 5, np.uint32), 8),
            streamed.receive(bob, np.full(count, choice, np.uint8), 8),
        )
        for values in (mine, theirs):
            counts = np.bincount(values, minlength=256)
            statistic = ((counts - count / 256) ** 2).sum() / (count / 256)
            assert 153 < statistic < 380


def test_the_message_hides_the_correlation() -> None:
    """Corrections of equal correlations are as uniform as shares, whatever the choices."""
    alice, bob = contexts()
    rows, _ = lockstep(extension.send(alice, 1 << 16), extension.receive(bob, np.zeros(1 << 16, np.uint8)))
    packed, _ = correlated.correction(alice, rows, np.zeros(1 << 16, np.uint32), 8, alice.next_stream())
    counts = np.bincount(packed, minlength=256)
    assert 153 < ((counts - 256) ** 2).sum() / 256 < 380


def test_split_phases_hash_under_their_own_tweaks() -> None:
    alice, bob = contexts()
    choices = Random().bits(700)
    q, t = lockstep(extension.send(alice, 700), extension.receive(bob, choices))
    correlation = Random().uniform(700, 40)
    results = []
    for tweak in (alice.next_stream(), alice.next_stream()):
        packed, mine = correlated.correction(alice, q[:600], correlation[:600], 21, tweak)
        packed.setflags(write=False)
        theirs = correlated.apply(bob, t[:600], choices[:600], packed, 21, tweak)
        difference = theirs - mine - choices[:600] * correlation[:600].astype(np.uint32)
        assert (difference & np.uint32(mask_of(21)) == 0).all()
        results.append(mine)
    assert (results[0] == results[1]).sum() < 20
    wrong = correlated.apply(bob, t[:600], choices[:600], packed, 21, tweak + 1)
    assert (wrong == theirs).sum() < 20


def test_bad_arguments() -> None:
    alice, bob = contexts()
    rows, values = np.zeros((10, 2), np.uint64), np.zeros(10, np.uint32)
    packed = np.zeros(20, np.uint8)
    with pytest.raises(ValueError, match="width 65"):
        correlated.correction(alice, rows, values, 65, 1)
    with pytest.raises(ValueError, match="correlations must be"):
        correlated.correction(alice, rows, values[:9], 8, 1)
    with pytest.raises(ValueError, match="correlations must be"):
        correlated.correction(alice, rows, values.astype(np.int64), 8, 1)
    with pytest.raises(ValueError, match="rows must be"):
        correlated.correction(alice, rows.astype(np.uint32), values, 8, 1)
    with pytest.raises(ValueError, match="9 choices do not fit 10 rows"):
        correlated.apply(bob, rows, np.zeros(9, np.uint8), packed, 16, 1)
    with pytest.raises(ValueError, match="do not have 20 bytes"):
        correlated.apply(bob, rows, np.zeros(10, np.uint8), packed, 8, 1)
    with pytest.raises(ValueError, match="0 or 1"):
        correlated.apply(bob, rows, np.full(10, 255, np.uint8), packed, 16, 1)
