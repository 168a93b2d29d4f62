import numpy as np
import pytest

from bunet.protocols.context import Context, Role
from bunet.protocols.counting import Traffic, counted
from bunet.protocols.lockstep import lockstep
from bunet.protocols.ot import base
from bunet.protocols.random import Random
from bunet.protocols.steps import ProtocolError, Receive, Send, Steps


def setup() -> tuple[base.OtSeeds, base.OtSeeds, Traffic]:
    return counted(base.setup_alice(Context(Role.ALICE, Random())), base.setup_bob(Context(Role.BOB, Random())))


@pytest.fixture(scope="module")
def session() -> tuple[base.OtSeeds, base.OtSeeds, Traffic]:
    return setup()


def schedule(schedules: np.ndarray, index: int) -> bytes:
    return schedules[index // 4, :, 2 * (index % 4) : 2 * (index % 4) + 2].tobytes()


def test_the_chosen_seeds_are_the_peers_and_the_others_unknown(session: tuple[base.OtSeeds, base.OtSeeds, Traffic]) -> None:
    alice, bob, _ = session
    for sender, receiver in ((alice, bob), (bob, alice)):
        bits = np.unpackbits(sender.delta.view(np.uint8), bitorder="little")
        assert bits[0] == 1
        assert 25 < bits.sum() < 103  # 1e-10
        for i in range(128):
            pair = [schedule(receiver.receiver_schedules[j], i) for j in (0, 1)]
            assert pair[0] != pair[1]
            assert schedule(sender.sender_schedules, i) == pair[bits[i]]
    assert (alice.hash_key == bob.hash_key).all()
    assert not np.array_equal(alice.delta, bob.delta)


def test_sessions_share_nothing(session: tuple[base.OtSeeds, base.OtSeeds, Traffic]) -> None:
    alice, _, _ = session
    other, _, _ = setup()
    assert not np.array_equal(alice.delta, other.delta)
    assert not np.array_equal(alice.hash_key, other.hash_key)


def test_stated_cost_is_counted(session: tuple[base.OtSeeds, base.OtSeeds, Traffic]) -> None:
    _, _, traffic = session
    cost = base.setup_cost()
    assert (cost.alice_bytes, cost.bob_bytes, cost.rounds) == (
        traffic.alice_bytes,
        traffic.bob_bytes,
        traffic.rounds,
    )


def test_seeds_are_read_only_and_not_printed(session: tuple[base.OtSeeds, base.OtSeeds, Traffic]) -> None:
    alice, _, _ = session
    for array in (alice.delta, alice.sender_schedules, alice.receiver_schedules, alice.hash_key):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0
    assert str(int(alice.delta[0])) not in repr(alice)
    with pytest.raises(ValueError, match="bit 0 of delta"):
        base.OtSeeds(alice.delta & ~np.uint64(1), alice.sender_schedules, alice.receiver_schedules, alice.hash_key)


def test_offered_points_do_not_show_the_choice() -> None:
    """Both points of a pair are valid and distinct, and which one was drawn freely is not to be told from their order:
    with the same random numbers, other choices give other points in both places' hashes only."""
    nonce = bytes(32)
    pairs = [base._offer(Role.ALICE, nonce, np.full(128, bit, np.uint8), Random(bytes(16)))[1] for bit in (0, 1)]
    for points in pairs:
        for i in (0, 64, 127):
            base._check_point(points[i, 0].tobytes())
            base._check_point(points[i, 1].tobytes())
    # the free point is the same draw: in slot 1 for choice 0, in slot 0 for choice 1
    assert (pairs[0][:, 1] == pairs[1][:, 0]).all()


BAD_POINTS = {
    "zero": bytes(32),
    "identity": b"\x01" + bytes(31),
    "order two": bytes.fromhex("ec" + "ff" * 30 + "7f"),
    "not on the curve": b"\x02" + bytes(31),
    "outside the subgroup": bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85"),
    "not canonical": b"\xff" * 32,
}


@pytest.mark.parametrize("name", BAD_POINTS)
@pytest.mark.parametrize("place", ["key", "points"])
def test_a_bad_point_is_refused(name: str, place: str) -> None:
    point = np.frombuffer(BAD_POINTS[name], np.uint8)

    def meddler() -> Steps[None]:
        steps = base.setup_bob(Context(Role.BOB, Random()))
        first = next(steps)
        assert isinstance(first, Send)
        nonce, key, points = first.arrays
        if place == "key":
            key = point
        else:
            points = points.copy()
            points[2, 1] = point
        yield Send("base-ot", (nonce, key, points))
        yield Receive("base-ot", base._EXPECT)

    with pytest.raises(ProtocolError, match="outside the prime-order group"):
        lockstep(base.setup_alice(Context(Role.ALICE, Random())), meddler())


def test_a_reflection_is_refused() -> None:
    def mirror() -> Steps[None]:
        message = yield Receive("base-ot", base._EXPECT)
        yield Send("base-ot", message)

    with pytest.raises(ProtocolError, match="own nonce"):
        lockstep(base.setup_alice(Context(Role.ALICE, Random())), mirror())
