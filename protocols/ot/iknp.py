"""OT extension: any number of correlated OTs from 128 base OTs (Ishai, Kilian, Nissim, Petrank, CRYPTO 2003, figure 1).

The base OTs run backwards: the sender chose one seed of each pair by a bit of delta, the receiver knows both. The
receiver expands both seeds of column c to G(k0), G(k1) and sends u = G(k0) ^ G(k1) ^ choices; the sender's column
G(k_s) ^ s * u is G(k0) ^ s * choices. Row by row: q = t ^ choice * delta, with t the receiver's row.

G is AES-128 in counter mode under the column's seed, at counters (tile, stream number). Stream numbers are never
repeated within a session and its seeds serve nothing else, so u is pseudorandom for the sender, who lacks one seed of
each pair: choices are hidden as long as AES is a PRP, up to 128 * q^2 / 2^129 = q^2 / 2^122 for q blocks under each of
the 128 seeds (PRP/PRF switching; a block extends 128 OTs).
The receiver sees nothing. Rows are correlated by delta, so they are hashed before they mask anything: `correlated`, or
the half gates of `gc`, which use them as labels. Semi-honest security; a malicious receiver would need a consistency check.
"""

from __future__ import annotations

import numpy as np

from bunet.protocols.context import Context
from bunet.protocols.kernels.ot import extension as kernel
from bunet.protocols.ot.base import OtSeeds
from bunet.protocols.ot.rows import frozen, message_spec, new_array, packed_choices, seeds_of
from bunet.protocols.steps import Receive, Send, Steps


def send(ctx: Context, count: int) -> Steps[np.ndarray]:
    """The sender's zero rows q, uint64 (count, 2); the one rows are q ^ ctx.ot.delta. Receives one message."""
    seeds, stream = _seeds(ctx), ctx.next_stream()
    (message,) = yield Receive("iknp", (message_spec(count, "iknp"),))
    rows = new_array((count, 2))
    kernel.extend_sender(seeds.sender_schedules, seeds.delta, np.uint64(stream), frozen(message), rows)
    return rows


def receive(ctx: Context, choices: np.ndarray) -> Steps[np.ndarray]:
    """The receiver's rows q ^ choice * delta, uint64 (count, 2), delta the sender's. Sends one message.

    choices: uint8 (count,), each 0 or 1.
    """
    packed = packed_choices(choices)
    seeds, stream = _seeds(ctx), ctx.next_stream()
    message = new_array(message_spec(choices.size, "iknp").shape)
    rows = new_array((choices.size, 2))
    zeros, ones = seeds.receiver_schedules
    kernel.extend_receiver(zeros, ones, np.uint64(stream), packed, message, rows)
    yield Send("iknp", (message,))
    return rows


def _seeds(ctx: Context) -> OtSeeds:
    seeds = seeds_of(ctx)
    if seeds.extension != "iknp":
        raise ValueError(f"this session was set up for {seeds.extension}, not for iknp")
    return seeds
