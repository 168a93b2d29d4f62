"""OT extension with 128 / k bits an OT instead of 128 (SoftSpokenOT: Roy, CRYPTO 2022, eprint 2022/192), k = 2, 4, 8.

Set-up. The sender's delta is cut into m = 128 / k parts of k bits: bit j of part g is bit j * m + g of delta, the choice in the
base OT of that number. For each part the receiver holds 2^k seeds, the leaves of a tree (`ggm`), and the sender all of them
but number Delta, the part's value. The base OTs see to that: for each level of a tree the receiver sends the sum of the
even nodes and that of the odd ones, each encrypted under the seed of the level's base OT for the other choice, so that the
sender can open the one on the side that Delta does not take. On the first level the nodes are those seeds themselves.

Extension. Leaf x of a part expands to one bit r[x] for each OT. The receiver sums u = sum r[x] and v = sum x r[x], where x
is read as a vector of k bits, an element of GF(2^k). The sender numbers its leaves y = x ^ Delta and sums
w = sum y r[Delta ^ y], for which it does not need leaf y = 0. As x = y ^ Delta, w = v + Delta u: a vector OLE over a small
field (section 3 of the paper). Each part has a u of its own; the receiver sends d = u ^ choices for each, which makes the
m of them a subspace VOLE for the repetition code of the choices, and the sender takes q = w + Delta d = v + Delta choices.
The bits of v and q are the rows: q = t ^ choice * delta, exactly as from `iknp`, which is the case k = 1.

Security, semi-honest. The receiver gets no message after the set-up, so delta stays hidden as the base OTs hide it. The
sender sees d, one-time padded with u: among u's summands is leaf Delta, expanded by AES-128 in counter mode at counters
(tile, stream number) that are never repeated in a session, under a seed that is pseudorandom for the sender, as the tree is
a puncturable PRF (its generator is Blake2b) and the sums that would open it are encrypted under keys of base OTs that the
sender did not choose. The choices are hidden up to m q^2 / 2^129 for q blocks a seed (a block extends 128 OTs), beside
the advantages against AES, Blake2b and the base OTs. A malicious receiver would need the paper's consistency check.

Work: 2^k / k AES blocks an OT at the receiver, (2^k - 1) / k at the sender, where IKNP takes 2 and 1. For k = 4 that is 2
and 3.75 times as many, so by AES alone 0.50 and 0.27 of IKNP's speed, 0.39 for both sides in turn; the transposes and the
traffic with memory, equal or smaller here, bring it nearer (`bunet bench kernels --prototypes DIR --filter softspoken4`).
No leaf can be spared: every one but Delta, which only the sender knows, enters what the sender sums, and it must be new for
every 128 OTs.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace

import numpy as np

from bunet.protocols.context import Context, Role
from bunet.protocols.cost import Cost
from bunet.protocols.kernels.ot import softspoken as kernel
from bunet.protocols.ot import ggm
from bunet.protocols.ot.base import COUNT, GROUP_BITS, OtSeeds
from bunet.protocols.ot.rows import frozen, message_spec, new_array, packed_choices, seeds_of
from bunet.protocols.steps import ArraySpec, Receive, Send, Steps, spec


def send(ctx: Context, count: int) -> Steps[np.ndarray]:
    """As `iknp.send`: the zero rows q, uint64 (count, 2). Receives one message."""
    seeds, stream = seeds_of(ctx), ctx.next_stream()
    (message,) = yield Receive("softspoken", (message_spec(count, seeds.extension),))
    rows = new_array((count, 2))
    kernel.extend_sender(seeds.sender_schedules, seeds.delta, np.uint64(stream), frozen(message), rows)
    return rows


def receive(ctx: Context, choices: np.ndarray) -> Steps[np.ndarray]:
    """As `iknp.receive`: the rows q ^ choice * delta, uint64 (count, 2). Sends one message."""
    packed = packed_choices(choices)
    seeds, stream = seeds_of(ctx), ctx.next_stream()
    message = new_array(message_spec(choices.size, seeds.extension).shape)
    rows = new_array((choices.size, 2))
    kernel.extend_receiver(seeds.receiver_schedules, np.uint64(stream), packed, message, rows)
    yield Send("softspoken", (message,))
    return rows


# --- set-up --------------------------------------------------------------------------------------------------------


def setup(ctx: Context, seeds: OtSeeds, extension: str) -> Steps[OtSeeds]:
    """Turns the seeds of the base OTs into those of `extension`, in both directions; one message each way.

    Symmetric: both parties call it with what `base` gave them, and the base seeds serve nothing else.
    """
    k = GROUP_BITS[extension]
    pairs = np.stack([_by_level(schedules, k) for schedules in seeds.receiver_schedules], axis=2)
    crossed = pairs[:, :, ::-1]  # what lies under key b is for the sender whose Delta has the other bit
    leaves, sums = ggm.complete(np.ascontiguousarray(crossed[:, 0]), k)
    yield Send("ggm", (np.ascontiguousarray(sums ^ _pads(crossed[:, 1:])),))
    (entries,) = yield Receive("ggm", (_message(k),))
    bits = np.unpackbits(seeds.delta.view(np.uint8), bitorder="little").reshape(k, -1).T[:, ::-1]
    keys = _by_level(seeds.sender_schedules, k)
    # entry 1 - b lies under the key of choice b; both are read, so that the choice is not seen in the addresses
    even, odd = entries[:, :, 0], entries[:, :, 1]
    readable = odd ^ (even ^ odd) & -bits[:, 1:, None]
    known = ggm.punctured(keys[:, 0], readable ^ _pads(keys[:, 1:]), bits)
    return replace(seeds, sender_schedules=kernel.expand(known), receiver_schedules=kernel.expand(leaves), extension=extension)


def setup_cost(extension: str) -> Cost:
    """Exact cost of `setup`: 32 bytes a level below the first and group, from both parties at once."""
    k = GROUP_BITS[extension]
    sent, work = _message(k).nbytes, {"hashes": 2 * (COUNT // k) * ((1 << k) - 2)}
    return Cost.flight(Role.ALICE, sent, work).beside(Cost.flight(Role.BOB, sent, work))


def _message(k: int) -> ArraySpec:
    """The sums of even and odd nodes of each level below the first, of each group."""
    return spec(np.uint8, COUNT // k, k - 1, 2, ggm.SEED_BYTES)


def _by_level(schedules: np.ndarray, k: int) -> np.ndarray:
    """Interleaved schedules of 128 seeds as the seeds by group and level, uint8 (m, k, 16); level i has bit k - 1 - i."""
    seeds = schedules[:, 0].reshape(COUNT, 2).view(np.uint8)  # round key 0 is the key
    return seeds.reshape(k, COUNT // k, -1).transpose(1, 0, 2)[:, ::-1]


def _pads(seeds: np.ndarray) -> np.ndarray:
    """One-time pads of seeds, uint8 (..., 16)."""
    digests = (
        hashlib.blake2b(seed.data, digest_size=ggm.SEED_BYTES, person=b"bunet ggm pad").digest()
        for seed in np.ascontiguousarray(seeds).reshape(-1, ggm.SEED_BYTES)
    )
    return np.frombuffer(b"".join(digests), np.uint8).reshape(seeds.shape)
