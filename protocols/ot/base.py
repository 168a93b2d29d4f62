"""Base OTs: 128 random OTs in each direction, from which every later OT of a session is extended.

Endemic OT of Masny and Rindal (CCS 2019, eprint 2019/706: OT from one-round key agreement), with
Diffie-Hellman in the prime-order subgroup of edwards25519 (libsodium, through PyNaCl) and Blake2b as random oracle.

The receiver of OT i with choice b draws r[1-b] uniformly and sends (r[0], r[1]) with
r[b] = a G - H(i, b, r[1-b]); the sender sends Y = y G, the same for all i, and derives
seed[j] = KDF(y (r[j] + H(i, j, r[1-j]))); the receiver derives seed[b] = KDF(a Y). Neither message depends on the
other, so both directions take one flight each way, at the same time.

Each r[j] is uniform whatever b is, so the choice is hidden perfectly. The seed not chosen needs the Diffie-Hellman value
of Y and a point that the receiver does not control, since H is a random oracle onto the group (two Elligator maps
added, Brier et al., CRYPTO 2010; cf. RFC 9380 section 3). Endemic OT lets a malicious party bias its own seeds, which
semi-honest OT extension does not mind. All hashes are bound to the session's nonces, the direction and the index.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

import numpy as np
from nacl import bindings as sodium
from nacl import exceptions

from bunet.protocols.context import Context, Role
from bunet.protocols.cost import Cost
from bunet.protocols.kernels.symmetric import aes
from bunet.protocols.random import Random
from bunet.protocols.security import DECLARED
from bunet.protocols.steps import ProtocolError, Receive, Send, Steps, spec

COUNT = DECLARED.computational  # as many as delta has bits
# OT extensions by name, and the bits k of delta that one group of seeds covers; IKNP is the case k = 1.
GROUP_BITS = {"iknp": 1, "softspoken-2": 2, "softspoken-4": 4, "softspoken-8": 8}
_NONCE_BYTES = _POINT_BYTES = 32
_EXPECT = (
    spec(np.uint8, _NONCE_BYTES),
    spec(np.uint8, _POINT_BYTES),
    spec(np.uint8, COUNT, 2, _POINT_BYTES),
)


@dataclass(frozen=True, eq=False)
class OtSeeds:
    """One party's keys for OT extension in both directions; read-only, shared by all chains and threads of a session.

    delta: uint64 (2,), this party's offset as a sender and as a garbler; bit 0 is 1 (point and permute).
    hash_key: uint64 (2,), public, the same at both parties.
    extension: the OT extension that the seeds are for, a name of GROUP_BITS. The schedules are those of AES
    (`aes.expand_interleaved`):
    - iknp: sender_schedules uint64 (32, 11, 8), of the 128 seeds that the bits of delta chose; receiver_schedules uint64
      (2, 32, 11, 8), of the 128 pairs of seeds that the peer's delta chose from;
    - softspoken-k: both uint64 (32 / k, 2^k, 11, 8), of the leaves of 128 / k groups; the sender's lack leaf 0 (`softspoken`).
    """

    delta: np.ndarray = field(repr=False)
    sender_schedules: np.ndarray = field(repr=False)
    receiver_schedules: np.ndarray = field(repr=False)
    hash_key: np.ndarray
    extension: str = "iknp"

    def __post_init__(self) -> None:
        k = GROUP_BITS[self.extension]
        leaves = (32 // k, 1 << k, 11, 8)
        shapes = {
            "delta": (2,),
            "hash_key": (2,),
            "sender_schedules": (32, 11, 8) if k == 1 else leaves,
            "receiver_schedules": (2, 32, 11, 8) if k == 1 else leaves,
        }
        for name, shape in shapes.items():
            array = getattr(self, name)
            if array.dtype != np.uint64 or array.shape != shape or not array.flags.c_contiguous:
                raise ValueError(f"{name} must be a contiguous uint64 array of shape {shape}")
            object.__setattr__(self, name, _at_cache_line(array))
        if not int(self.delta[0]) & 1:
            raise ValueError("bit 0 of delta must be 1")


def _at_cache_line(array: np.ndarray) -> np.ndarray:
    """A read-only copy that starts at a cache line: the kernels load its registers again and again."""
    memory = np.empty(array.size + 8, np.uint64)
    skip = -(memory.ctypes.data >> 3) % 8
    copy = memory[skip : skip + array.size].reshape(array.shape)
    copy[...] = array
    copy.setflags(write=False)
    return copy


def setup_alice(ctx: Context) -> Steps[OtSeeds]:
    """Base OTs in both directions; one message each way, about 0.1 s of computation.

    Raises ProtocolError if the peer sends anything but points of the prime-order group.
    """
    return _setup(ctx)


def setup_bob(ctx: Context) -> Steps[OtSeeds]:
    """Bob's half: the same as Alice's, under his role."""
    return _setup(ctx)


def _setup(ctx: Context) -> Steps[OtSeeds]:
    nonce = ctx.random.bytes(_NONCE_BYTES)
    choices = ctx.random.bits(COUNT)
    choices[0] = 1
    secret = _scalar(ctx.random)
    key = sodium.crypto_scalarmult_ed25519_base_noclamp(secret)
    exponents, points = _offer(ctx.role, nonce, choices, ctx.random)
    yield Send("base-ot", (np.frombuffer(nonce, np.uint8), np.frombuffer(key, np.uint8), points))
    peer_nonce, peer_key, peer_points = yield Receive("base-ot", _EXPECT)
    peer_nonce, peer_key = peer_nonce.tobytes(), peer_key.tobytes()
    if peer_nonce == nonce:
        raise ProtocolError("base OT: the peer sent this party's own nonce back")
    try:
        pairs = _sender_seeds(ctx.role, secret, key, nonce, peer_nonce, peer_points)
        seeds = _receiver_seeds(ctx.role, exponents, choices, points, nonce, peer_nonce, peer_key)
    except exceptions.RuntimeError as error:
        raise ProtocolError("base OT: the peer sent a value outside the prime-order group") from error
    nonces = (nonce, peer_nonce) if ctx.role is Role.ALICE else (peer_nonce, nonce)
    return OtSeeds(
        delta=np.packbits(choices, bitorder="little").view(np.uint64),
        sender_schedules=aes.expand_interleaved(seeds),
        receiver_schedules=np.stack([aes.expand_interleaved(np.ascontiguousarray(pairs[:, j])) for j in (0, 1)]),
        hash_key=np.frombuffer(_hash("hash key", 16, *nonces), np.uint64),
    )


def _offer(role: Role, nonce: bytes, choices: np.ndarray, random: Random) -> tuple[list[bytes], np.ndarray]:
    """The receiver's exponents a[i] and its points, uint8 (128, 2, 32)."""
    exponents = [_scalar(random) for _ in range(COUNT)]
    own, free = np.empty((2, COUNT, _POINT_BYTES), np.uint8)
    for i, (exponent, choice) in enumerate(zip(exponents, choices.tolist(), strict=True)):
        other = sodium.crypto_scalarmult_ed25519_base_noclamp(_scalar(random))
        known = sodium.crypto_scalarmult_ed25519_base_noclamp(exponent)
        point = sodium.crypto_core_ed25519_sub(known, _hash_to_group(role, nonce, i, choice, other))
        own[i], free[i] = np.frombuffer(point, np.uint8), np.frombuffer(other, np.uint8)
    swap = (own ^ free) & -choices[:, None]  # exchanged where the choice is 1, without a branch on it
    return exponents, np.stack([own ^ swap, free ^ swap], axis=1)


def _sender_seeds(role: Role, secret: bytes, key: bytes, nonce: bytes, peer_nonce: bytes, points: np.ndarray) -> np.ndarray:
    """Both seeds of each OT in which this party is the sender, uint8 (128, 2, 16)."""
    seeds = np.empty((COUNT, 2, 16), np.uint8)
    for i in range(COUNT):
        pair = [points[i, j].tobytes() for j in (0, 1)]
        for j in (0, 1):
            _check_point(pair[j])
            point = sodium.crypto_core_ed25519_add(pair[j], _hash_to_group(role.peer, peer_nonce, i, j, pair[1 - j]))
            shared = sodium.crypto_scalarmult_ed25519_noclamp(secret, point)
            seeds[i, j] = _seed(role, nonce, peer_nonce, i, j, key, pair, shared)
    return seeds


def _receiver_seeds(
    role: Role,
    exponents: list[bytes],
    choices: np.ndarray,
    points: np.ndarray,
    nonce: bytes,
    peer_nonce: bytes,
    peer_key: bytes,
) -> np.ndarray:
    """The chosen seed of each OT in which this party is the receiver, uint8 (128, 16)."""
    _check_point(peer_key)
    seeds = np.empty((COUNT, 16), np.uint8)
    for i, (exponent, choice) in enumerate(zip(exponents, choices.tolist(), strict=True)):
        pair = [points[i, j].tobytes() for j in (0, 1)]
        shared = sodium.crypto_scalarmult_ed25519_noclamp(exponent, peer_key)
        seeds[i] = _seed(role.peer, peer_nonce, nonce, i, choice, peer_key, pair, shared)
    return seeds


def _scalar(random: Random) -> bytes:
    """Uniform modulo the group's order, up to 2^-259."""
    return bytes(sodium.crypto_core_ed25519_scalar_reduce(random.bytes(64)))


def _check_point(point: bytes) -> None:
    if not sodium.crypto_core_ed25519_is_valid_point(point):
        raise ProtocolError("base OT: the peer sent a point outside the prime-order group")


def _hash(label: str, size: int, *parts: bytes) -> bytes:
    """Blake2b of parts of fixed lengths, under a label of its own for each use."""
    return hashlib.blake2b(b"".join(parts), digest_size=size, person=f"bunet {label}".encode()).digest()


def _hash_to_group(receiver: Role, nonce: bytes, index: int, slot: int, point: bytes) -> bytes:
    """The random oracle H(index, slot, point) of the receiver's session, onto the prime-order group."""
    data = _hash("ot point", 64, nonce, receiver.value[:1].encode(), bytes((index, slot)), point)
    first, second = (sodium.crypto_core_ed25519_from_uniform(half) for half in (data[:32], data[32:]))
    return bytes(sodium.crypto_core_ed25519_add(first, second))


def _seed(
    sender: Role,
    sender_nonce: bytes,
    receiver_nonce: bytes,
    index: int,
    slot: int,
    key: bytes,
    pair: list[bytes],
    shared: bytes,
) -> np.ndarray:
    """16-byte seed of one slot of one OT, bound to the whole transcript of that OT."""
    place = sender.value[:1].encode() + bytes((index, slot))
    return np.frombuffer(_hash("ot seed", 16, sender_nonce, receiver_nonce, place, key, pair[0], pair[1], shared), np.uint8)


def setup_cost() -> Cost:
    """Exact cost of the set-up, both directions; group_multiplications counts variable-base scalar products."""
    sent = sum(array.nbytes for array in _EXPECT)
    work = {"group_multiplications": 3 * COUNT}
    return Cost.flight(Role.ALICE, sent, work).beside(Cost.flight(Role.BOB, sent, work))
