"""Known answers of single kernels. All are this code's own (regression), not of a standard; those stand in aes_nist.json."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bunet.protocols.gc.builder import CircuitBuilder
from bunet.protocols.gc.circuit import Circuit
from bunet.protocols.gc.library import relu
from bunet.protocols.kernels.gc.garble import evaluate, garble
from bunet.protocols.kernels.gc.layout import TILE
from bunet.protocols.kernels.ring import ntt
from bunet.protocols.kernels.symmetric import aes
from bunet.protocols.lockstep import lockstep
from bunet.protocols.ot import extension
from bunet.protocols.pahe import bfv, parameters, reply
from bunet.protocols.random import Random
from bunet.protocols.steps import Send
from tests.vectors.contexts import seeded
from tests.vectors.kept import Answers, Producers, digest, fixed, frozen, summary, text

SHARE_BITS = 24
OTS = 300  # two whole tiles of 128, and a part of one


def random() -> Answers:
    """The stream of `Random` from a seed: in requests that are buffered, and in one that is not."""
    source = Random(bytes(range(32)))
    return {
        "seed": bytes(range(32)).hex(),
        "words": [text(source.words(count)) for count in (1, 3, 2)],
        "many": digest(source.words(4097)),
        "fork": text(source.fork().words(2)),
    }


def tweakable_hash() -> Answers:
    """Rows over two tiles of 64, with a part of a tile."""
    key, rows = fixed(2), fixed(100, 2)
    out = np.empty_like(rows)
    aes.hash_rows(key, 0x0123456789ABCDEF, rows, out, first_tile=5)
    places = (0, 1, 63, 64, 99)
    return {
        "key": text(key),
        "tweak": 0x0123456789ABCDEF,
        "first_tile": 5,
        "rows": {str(i): text(rows[i]) for i in places},
        "hashes": {str(i): text(out[i]) for i in places},
        "sha256": digest(out),
    }


def transforms() -> Answers:
    """NTT of one row, forward and inverse, for every degree and prime of the named parameter sets."""
    answers: Answers = {}
    for degree, prime in sorted({(p.degree, q) for p in map(parameters.get, parameters.SETS) for q in p.primes}):
        tables = ntt.tables(degree, (prime,))
        row = fixed(1, 1, degree) % np.uint64(prime)
        forward, inverse = ntt.forward(row.copy(), tables), ntt.inverse(row.copy(), tables)
        answers[f"n{degree} q={prime}"] = {
            "root": tables.roots[0],
            "forward": summary(forward),
            "inverse": summary(inverse),
        }
    return answers


def encryption() -> Answers:
    """BFV under fixed randomness: keys, a request, its sum with a plaintext, a reply, and what they decrypt to."""
    answers: Answers = {}
    for name in parameters.SETS:
        params, source, t = parameters.get(name), Random(b"known answers, " + bytes(17)), 1 << 12
        key = bfv.SecretKey.generate(params, source)
        messages = fixed(2, params.degree) % np.uint64(t)
        c0, seed = bfv.encrypt(key, messages, t, source)
        public = key.public_key(source)
        packed, _ = bfv.request_arrays(params, c0, seed)
        ciphertexts = bfv.expand_request(params, c0, seed)
        answers[name] = {
            "secret": digest(key.ternary),
            "seed": seed.hex(),
            "c0": summary(c0),
            "wire": digest(packed),
            "public": digest(*public.arrays()),
            "messages": summary(messages),
            "decrypted": summary(bfv.decrypt(key, ciphertexts, t)),
        }
    return answers


def replies() -> Answers:
    """A masked reply of the default set under fixed randomness."""
    params, source, t = parameters.get("n4096-q94"), Random(b"replies" + bytes(25)), 1 << SHARE_BITS
    key = bfv.SecretKey.generate(params, source)
    messages = fixed(2, params.degree) % np.uint64(t)
    public, positions = key.public_key(source), np.arange(0, params.degree, 4)
    ciphertexts = bfv.expand_request(params, *bfv.encrypt(key, messages, t, source))
    masks = np.ascontiguousarray(messages[:, ::-4])
    noise = reply.max_noise_bits(params, SHARE_BITS)
    answer = reply.reply(public, ciphertexts, masks, positions, t, noise, source)
    opened = reply.open_reply(key, answer, 2, positions, t, noise)
    return {"noise_bits": noise, "reply": digest(*answer), "opened": summary(opened)}


def _and_of_bits() -> Circuit:
    """The smallest circuit that holds an AND of an input of each party: one table."""
    builder = CircuitBuilder()
    (a,), (b,) = builder.garbler_word(1), builder.evaluator_word(1)
    builder.output_word([builder.and_(a, b)])
    return builder.build()


def garbled_tables() -> Answers:
    """Tables of one AND in full, and of a ReLU as a digest, under fixed labels; both parties' shares of the outputs."""
    return {"and": _garbled(_and_of_bits(), whole=True), "relu8": _garbled(relu(8), whole=False)}


def _garbled(circuit: Circuit, whole: bool) -> Answers:
    tiles, stream, first = 2, np.uint64(9), np.uint64(3)
    count, key, delta = tiles * TILE, frozen(fixed(2)), frozen(fixed(4)[2:] | np.array([1, 0], np.uint64))
    hers = frozen(fixed(len(circuit.garbler_words), count))
    his = frozen(fixed(len(circuit.evaluator_words) + 1, count)[1:].copy())
    public = frozen(fixed(len(circuit.garbler_labels), TILE, 2))
    zeros = fixed(tiles, len(circuit.evaluator_labels), TILE, 2)
    tables = np.zeros((tiles, circuit.and_gates, 2, TILE, 2), np.uint64)
    shares, theirs = (np.zeros((len(circuit.output_words), count), np.uint64) for _ in range(2))
    garble(
        circuit.ops, circuit.wires, hers, public, frozen(zeros.copy()), delta, key, stream, first, tables, shares,
    )  # fmt: skip
    active = zeros ^ _chosen(circuit, his, tiles)[..., None] * delta
    evaluate(
        circuit.ops, circuit.wires, his, public, frozen(active), key, stream, first, frozen(tables.copy()), theirs,
    )  # fmt: skip
    answers: Answers = {
        "ops": circuit.ops.tolist() if whole else digest(circuit.ops),
        "key": text(key),
        "delta": text(delta),
        "tables": text(tables) if whole else digest(tables),
        "garbler": digest(shares),
        "evaluator": digest(theirs),
        "output": digest(shares ^ theirs),
    }
    return answers


def _chosen(circuit: Circuit, words: NDArray[np.uint64], tiles: int) -> NDArray[np.uint64]:
    """Bits (tiles, labels, 64) of the evaluator's inputs."""
    bits = [words[word] >> np.uint64(bit) & np.uint64(1) for word, bit in circuit.evaluator_labels.tolist()]
    return np.stack(bits).reshape(len(bits), tiles, TILE).transpose(1, 0, 2)


def transfers() -> Answers:
    """Rows of every OT extension, from set-ups under fixed randomness; with what the receiver sends."""
    answers: Answers = {}
    for name in extension.NAMES:
        alice, bob = seeded(ot=name)
        choices = (fixed(OTS) & np.uint64(1)).astype(np.uint8)
        rows, theirs = lockstep(extension.send(alice, OTS), extension.receive(bob, choices))
        message = next(extension.receive(seeded(ot=name)[1], choices))
        assert isinstance(message, Send)
        answers[name] = {
            "delta": text(alice.ot.delta),
            "hash_key": text(alice.ot.hash_key),
            "sender": {str(i): text(rows[i]) for i in (0, 1, OTS - 1)},
            "receiver": {str(i): text(theirs[i]) for i in (0, 1, OTS - 1)},
            "rows": digest(rows, theirs),
            "message": digest(*message.arrays),
        }
    return answers


PRODUCERS: Producers = {
    "random": random,
    "hash": tweakable_hash,
    "ntt": transforms,
    "bfv": encryption,
    "reply": replies,
    "garbling": garbled_tables,
    "ot": transfers,
}
