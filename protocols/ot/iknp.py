"""OT extension: any number of correlated OTs from 128 base OTs (Ishai, Kilian, Nissim, Petrank, CRYPTO 2003, figure 1).

The base OTs run backwards: the sender chose one seed of each pair by a bit of delta, the receiver knows both. The
receiver expands both seeds of column c to G(k0), G(k1) and sends u = G(k0) ^ G(k1) ^ choices; the sender's column
G(k_s) ^ s * u is G(k0) ^ s * choices. Row by row: q = t ^ choice * delta, with t the receiver's row.

G is AES-128 in counter mode under the column's seed, at counters (tile, stream number). Stream numbers are never
repeated within a session and its seeds serve nothing else, so u is pseudorandom for the sender, who lacks one seed of
each pair: choices are hidden as long as AES is a PRF, up to q^2 / 2^128 for q blocks a seed (a block extends 128 OTs).
The receiver sees nothing. Rows are correlated by delta, so they are hashed before they mask anything: `correlated`, or
the half gates of `gc`, which use them as labels. Semi-honest security; a malicious receiver would need a consistency check.
"""

from __future__ import annotations

import numpy as np

from bunet.protocols.context import Context, Role
from bunet.protocols.cost import Cost
from bunet.protocols.kernels import extension
from bunet.protocols.ot.base import OtSeeds
from bunet.protocols.steps import ArraySpec, Receive, Send, Steps, spec

TILE = extension.COLUMNS  # OTs extended together; counts are padded to a multiple


def send(ctx: Context, count: int) -> Steps[np.ndarray]:
    """The sender's zero rows q, uint64 (count, 2); the one rows are q ^ ctx.ot.delta. Receives one message."""
    seeds, stream = _seeds(ctx), ctx.next_stream()
    (message,) = yield Receive("iknp", (_message(count),))
    rows = np.empty((count, 2), np.uint64)
    extension.extend_sender(seeds.sender_schedules, seeds.delta, np.uint64(stream), message, rows)
    return rows


def receive(ctx: Context, choices: np.ndarray) -> Steps[np.ndarray]:
    """The receiver's rows q ^ choice * delta, uint64 (count, 2), delta the sender's. Sends one message.

    choices: uint8 (count,), each 0 or 1.
    """
    check_choices(choices)
    seeds, stream = _seeds(ctx), ctx.next_stream()
    message = np.empty(_message(choices.size).shape, np.uint64)
    rows = np.empty((choices.size, 2), np.uint64)
    packed = np.zeros(message.size // TILE, np.uint64)
    packed.view(np.uint8)[: (choices.size + 7) // 8] = np.packbits(choices, bitorder="little")
    zeros, ones = seeds.receiver_schedules
    extension.extend_receiver(zeros, ones, np.uint64(stream), packed, message, rows)
    yield Send("iknp", (message,))
    return rows


def check_choices(choices: np.ndarray) -> None:
    """ValueError unless choices are uint8 (n,) of 0 and 1."""
    if choices.dtype != np.uint8 or choices.ndim != 1:
        raise ValueError(f"choices must be uint8 (n,), not {choices.dtype} {choices.shape}")
    if choices.size and choices.max() > 1:
        raise ValueError("a choice is 0 or 1")


def _seeds(ctx: Context) -> OtSeeds:
    if not isinstance(ctx.ot, OtSeeds):
        raise ValueError("this context has no base OTs: run ot.base's set-up first")
    return ctx.ot


def _message(count: int) -> ArraySpec:
    if count < 0:
        raise ValueError(f"cannot extend to {count} OTs")
    return spec(np.uint64, (count + TILE - 1) // TILE * 2 * TILE)


def bytes_for(count: int) -> int:
    """Bytes that the receiver sends: 16 an OT, padded to whole tiles."""
    return _message(count).nbytes


def cost(count: int, sender: Role) -> Cost:
    """Exact cost of one extension."""
    blocks = 3 * bytes_for(count) // 16
    stated = Cost(0, bytes_for(count), 1, {"ot": count, "aes_blocks": blocks})
    return stated if sender is Role.ALICE else stated.swapped()
