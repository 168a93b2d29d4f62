"""The OT extension of a session: correlated OTs with the session's delta, by IKNP or SoftSpoken.

Which one is public and agreed once a session (the setting `ot`); it is carried by the session's seeds, `ctx.ot.extension`. All
give the same rows for 128 / k bits an OT, k = 1 for IKNP. A larger k trades processor time for traffic.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from bunet.protocols import defaults
from bunet.protocols.context import Context, Role
from bunet.protocols.cost import Cost
from bunet.protocols.ot import base, iknp, softspoken
from bunet.protocols.ot.base import GROUP_BITS, OtSeeds
from bunet.protocols.ot.rows import TILE, message_spec, seeds_of, tiles_of
from bunet.protocols.steps import Steps

NAMES = tuple(GROUP_BITS)
DEFAULT = defaults.OT
SETTING = {"ot": NAMES}  # for `Protocol.settings`


def of(settings: Mapping[str, str]) -> str:
    """The extension that the public setting `ot` names, IKNP without one; ValueError for one that does not exist."""
    name = settings.get("ot", DEFAULT)
    if name not in NAMES:
        raise ValueError(f"OT extension {name!r} is not one of {', '.join(NAMES)}")
    return name


def setup(ctx: Context, ot: str = DEFAULT) -> Steps[OtSeeds]:
    """Base OTs in both directions, and for SoftSpoken the trees of seeds. Symmetric; both name the same extension `ot`."""
    seeds = yield from (base.setup_alice if ctx.role is Role.ALICE else base.setup_bob)(ctx)
    if ot == "iknp":
        return seeds
    return (yield from softspoken.setup(ctx, seeds, ot))


def setup_cost(ot: str = DEFAULT) -> Cost:
    """Exact cost of `setup`."""
    return base.setup_cost() if ot == "iknp" else base.setup_cost().then(softspoken.setup_cost(ot))


def send(ctx: Context, count: int) -> Steps[np.ndarray]:
    """The sender's zero rows q, uint64 (count, 2); the one rows are q ^ ctx.ot.delta. Receives one message."""
    half = iknp.send if seeds_of(ctx).extension == "iknp" else softspoken.send
    return (yield from half(ctx, count))


def receive(ctx: Context, choices: np.ndarray) -> Steps[np.ndarray]:
    """The receiver's rows q ^ choice * delta, uint64 (count, 2), delta the sender's. Sends one message.

    choices: uint8 (count,), each 0 or 1.
    """
    half = iknp.receive if seeds_of(ctx).extension == "iknp" else softspoken.receive
    return (yield from half(ctx, choices))


def bytes_for(count: int, ot: str = DEFAULT) -> int:
    """Bytes that the receiver sends: 16 / k an OT, padded to whole tiles of 128 OTs."""
    return message_spec(count, ot).nbytes


def cost(count: int, sender: Role, ot: str = DEFAULT) -> Cost:
    """Exact cost of one extension by `ot`: the receiver's columns."""
    k = GROUP_BITS[ot]
    aes_blocks = tiles_of(count) * (TILE // k) * (2 * (1 << k) - 1)  # of both parties together
    return Cost.flight(sender.peer, bytes_for(count, ot), {"ot": count, "aes_blocks": aes_blocks})
