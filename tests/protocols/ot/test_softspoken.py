"""SoftSpoken against its definition: leaves by AES-CTR, sums by integers."""

import numpy as np
import pytest

from bunet.protocols.context import Context, Role
from bunet.protocols.kernels.symmetric import aes
from bunet.protocols.lockstep import lockstep
from bunet.protocols.ot import base, extension, softspoken
from bunet.protocols.random import Random
from bunet.protocols.steps import ProtocolError, Receive, Send, Steps, spec
from tests.protocols.contexts import contexts

KINDS = extension.NAMES[1:]


def keys(schedules: np.ndarray) -> np.ndarray:
    """Seeds, uint8 (m, 2^k, 16), of schedules (m / 4, 2^k, 11, 8)."""
    groups, leaves = 4 * schedules.shape[0], schedules.shape[1]
    first = schedules[:, :, 0].reshape(groups // 4, leaves, 4, 2).transpose(0, 2, 1, 3)
    return np.ascontiguousarray(first).reshape(groups, leaves, 2).view(np.uint8)


def parts(delta: np.ndarray, k: int) -> np.ndarray:
    """Delta of each group: bit j from bit j * m + g of delta."""
    bits = np.unpackbits(delta.view(np.uint8), bitorder="little").reshape(k, 128 // k)
    return (bits * (1 << np.arange(k))[:, None]).sum(axis=0)


@pytest.mark.parametrize("kind", KINDS)
def test_the_sender_knows_every_leaf_but_one(kind: str) -> None:
    k = base.GROUP_BITS[kind]
    for sender, receiver in (contexts(ot=kind), contexts(ot=kind)[::-1]):
        all_leaves, known = keys(receiver.ot.receiver_schedules), keys(sender.ot.sender_schedules)
        assert np.unique(all_leaves.reshape(-1, 16), axis=0).shape[0] == (128 // k) << k
        for schedules in (sender.ot.sender_schedules, receiver.ot.receiver_schedules):
            assert schedules.ctypes.data % 64 == 0  # a cache line, for speed
        delta = parts(sender.ot.delta, k)
        assert delta[0] & 1
        for group in range(128 // k):
            indices = np.arange(1, 1 << k)
            assert (known[group, 1:] == all_leaves[group, indices ^ delta[group]]).all()
            assert not known[group, 0].any()


@pytest.mark.parametrize("kind", KINDS)
def test_message_and_rows_are_the_sums_of_the_definition(kind: str) -> None:
    k, count = base.GROUP_BITS[kind], 300
    _, bob = contexts(ot=kind)
    choices = Random().bits(count)
    stream = bob.stream.slice << 40 | bob.stream.layer << 24  # the first use of the chain
    steps = softspoken.receive(bob, choices)
    first = next(steps)
    assert isinstance(first, Send)
    message = first.arrays[0].reshape(3, 128 // k, 2)
    with pytest.raises(StopIteration) as stop:
        next(steps)
    rows = np.unpackbits(stop.value.value.view(np.uint8), axis=1, bitorder="little")
    padded = np.zeros(384, np.uint8)
    padded[:count] = choices
    wanted = np.packbits(padded, bitorder="little").view(np.uint64).reshape(3, 2)
    leaves = keys(bob.ot.receiver_schedules)
    for group in (0, 1, 128 // k - 1):
        blocks = np.empty((1 << k, 3, 2), np.uint64)
        for x in range(1 << k):
            aes.ctr(aes.expand_key(leaves[group, x].tobytes()), stream, 0, blocks[x].reshape(-1))
        assert (message[:, group] == np.bitwise_xor.reduce(blocks, axis=0) ^ wanted).all()
        for bit in range(k):
            column = np.bitwise_xor.reduce(blocks[np.arange(1 << k) >> bit & 1 == 1], axis=0)
            bits = np.unpackbits(column.reshape(-1).view(np.uint8), bitorder="little")[:count]
            assert (rows[:, bit * (128 // k) + group] == bits).all()


def test_a_puncturing_message_of_another_kind_is_refused() -> None:
    def other() -> Steps[None]:
        yield from base.setup_bob(Context(Role.BOB, Random()))
        yield Send("ggm", (np.zeros((64, 1, 2, 16), np.uint8),))
        yield Receive("ggm", (spec(np.uint8, 1),))

    with pytest.raises(ProtocolError, match="ggm: expected"):
        lockstep(extension.setup(Context(Role.ALICE, Random()), "softspoken-4"), other())


def test_seeds_fit_their_kind() -> None:
    seeds = contexts(ot="softspoken-4")[0].ot
    with pytest.raises(ValueError, match="sender_schedules must be"):
        base.OtSeeds(seeds.delta, seeds.sender_schedules, seeds.receiver_schedules, seeds.hash_key)
