"""The OT extension of a session: correlated OTs with the session's delta, by IKNP or SoftSpoken.

Which one is public and agreed once a session (the setting `ot`); it is carried by the session's seeds, `ctx.ot.extension`. All
give the same rows for 128 / k bits an OT, k = 1 for IKNP. A larger k trades processor time for traffic.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from bunet.protocols.context import Context, Role
from bunet.protocols.cost import Cost, add_work
from bunet.protocols.ot import base, iknp, softspoken
from bunet.protocols.ot.base import GROUP_BITS, OtSeeds
from bunet.protocols.ot.rows import TILE, message_spec, seeds_of, tiles_of
from bunet.protocols.steps import Steps

KINDS = tuple(GROUP_BITS)
DEFAULT = "iknp"


def of(settings: Mapping[str, str]) -> str:
    """The extension that the public setting `ot` names, IKNP without one; ValueError for one that does not exist."""
    kind = settings.get("ot", DEFAULT)
    if kind not in KINDS:
        raise ValueError(f"OT extension {kind!r} is not one of {', '.join(KINDS)}")
    return kind


def setup(ctx: Context, kind: str = DEFAULT) -> Steps[OtSeeds]:
    """Base OTs in both directions, and for SoftSpoken the trees of seeds. Symmetric; both parties name the same kind."""
    seeds = yield from (base.setup_alice if ctx.role is Role.ALICE else base.setup_bob)(ctx)
    if kind == "iknp":
        return seeds
    return (yield from softspoken.setup(ctx, seeds, kind))


def setup_cost(kind: str = DEFAULT) -> Cost:
    """Exact cost of `setup`."""
    first = base.setup_cost()
    if kind == "iknp":
        return first
    then = softspoken.setup_cost(kind)
    return Cost(
        first.alice_bytes + then.alice_bytes,
        first.bob_bytes + then.bob_bytes,
        first.rounds + then.rounds,
        add_work(first.work, then.work),
    )


def send(ctx: Context, count: int) -> Steps[np.ndarray]:
    """The sender's zero rows q, uint64 (count, 2); the one rows are q ^ ctx.ot.delta. Receives one message."""
    half = iknp if seeds_of(ctx).extension == "iknp" else softspoken
    return (yield from half.send(ctx, count))


def receive(ctx: Context, choices: np.ndarray) -> Steps[np.ndarray]:
    """The receiver's rows q ^ choice * delta, uint64 (count, 2), delta the sender's. Sends one message.

    choices: uint8 (count,), each 0 or 1.
    """
    half = iknp if seeds_of(ctx).extension == "iknp" else softspoken
    return (yield from half.receive(ctx, choices))


def bytes_for(count: int, kind: str = DEFAULT) -> int:
    """Bytes that the receiver sends: 16 / k an OT, padded to whole tiles of 128 OTs."""
    return message_spec(count, kind).nbytes


def aes_blocks(count: int, kind: str = DEFAULT) -> int:
    """AES blocks that both parties compute together."""
    k = GROUP_BITS[kind]
    return tiles_of(count) * (TILE // k) * (2 * (1 << k) - 1)


def cost(count: int, sender: Role, kind: str = DEFAULT) -> Cost:
    """Exact cost of one extension."""
    stated = Cost(0, bytes_for(count, kind), 1, {"ot": count, "aes_blocks": aes_blocks(count, kind)})
    return stated if sender is Role.ALICE else stated.swapped()
