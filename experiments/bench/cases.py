"""What `bunet bench kernels` times: one case a kernel, called as the protocols call it.

A group is a function that lists cases; to add a kernel, add a case to its group, or a group to `GROUPS`. Listing costs
nothing: arrays are made by a case's `prepare`, just before it is timed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np

from bunet.experiments.bench.case import Call, Case, Words, frozen, words
from bunet.protocols.gc import library
from bunet.protocols.gc.circuit import Circuit
from bunet.protocols.kernels.gc import garble
from bunet.protocols.kernels.gc.layout import TILE
from bunet.protocols.kernels.ot import correlated, extension, softspoken
from bunet.protocols.kernels.packing import bits
from bunet.protocols.kernels.ring import ntt, rlwe
from bunet.protocols.kernels.symmetric import aes
from bunet.protocols.pahe import bfv, parameters, reply
from bunet.protocols.pahe.parameters import ntt_primes
from bunet.protocols.random import Random

CACHED = 1 << 14  # blocks or rows: 256 KiB, within any second-level cache
LARGE = 64 << 20  # bytes: beyond most last-level caches
BATCH = 8  # ciphertexts or polynomials a call, as in a layer


def all_cases() -> list[Case]:
    """Every case, in the order of the table."""
    return [case for group in GROUPS for case in group()]


# --- AES -------------------------------------------------------------------------------------------------------------


def aes_cases() -> Iterator[Case]:
    """Counter mode and the tweakable hash, in cache and to memory."""

    def ctr(blocks: int) -> Call:
        schedule, out = aes.expand_key(bytes(16)), np.empty(2 * blocks, np.uint64)
        return lambda: aes.ctr(schedule, 0, 0, out)

    def hash_rows(rows: int) -> Call:
        key, source, out = words(2), words(rows, 2), np.empty((rows, 2), np.uint64)
        return lambda: aes.hash_rows(key, 1, source, out)

    large = LARGE // 16
    yield Case("aes.ctr", CACHED, "M/s", partial(ctr, CACHED), aes=1)
    yield Case("aes.ctr.memory", large, "M/s", partial(ctr, large), aes=1)
    yield Case("aes.hash", CACHED, "M/s", partial(hash_rows, CACHED), aes=1)
    yield Case("aes.hash.memory", large, "M/s", partial(hash_rows, large), aes=1)


# --- garbled circuits ------------------------------------------------------------------------------------------------


def gc_cases() -> Iterator[Case]:
    """Half gates of a 32-bit ReLU: AND gates a second, with one tile's tables in cache, and with tables in memory."""
    circuit = library.relu(32)
    gates = circuit.and_gates * TILE

    def garbled(tiles: int, evaluate: bool) -> Call:
        tables = words(tiles, circuit.and_gates, 2, TILE, 2)  # untouched zeros would all be one page in cache
        return half_gates(circuit, tables, evaluate)

    tiles = max(1, LARGE // (32 * gates))
    yield Case("gc.garble", gates, "M/s", partial(garbled, 1, False), aes=4)
    yield Case("gc.garble.memory", gates * tiles, "M/s", partial(garbled, tiles, False), aes=4)
    yield Case("gc.evaluate", gates, "M/s", partial(garbled, 1, True), aes=2)
    yield Case("gc.evaluate.memory", gates * tiles, "M/s", partial(garbled, tiles, True), aes=2)


def half_gates(circuit: Circuit, tables: Words, evaluate: bool) -> Call:
    """Garble a circuit into `tables` (tiles, AND gates, 2, TILE, 2), or evaluate it from there, with made-up labels."""
    tiles = tables.shape[0]
    count = TILE * tiles
    garbler_words, evaluator_words = (
        frozen(words(len(own), count)) for own in (circuit.garbler_words, circuit.evaluator_words)
    )
    public = frozen(words(len(circuit.garbler_labels), TILE, 2))
    rows = frozen(words(tiles, len(circuit.evaluator_labels), TILE, 2))
    delta, key = frozen(words(2) | np.array([1, 0], np.uint64)), frozen(words(2))
    shares = np.zeros((len(circuit.output_words), count), np.uint64)
    ops, wires, one, zero = circuit.ops, circuit.wires, np.uint64(1), np.uint64(0)
    if evaluate:
        received = frozen(tables.view())
        return lambda: garble.evaluate(ops, wires, evaluator_words, public, rows, key, one, zero, received, shares)
    return lambda: garble.garble(ops, wires, garbler_words, public, rows, delta, key, one, zero, tables, shares)


# --- oblivious transfer ----------------------------------------------------------------------------------------------


def ot_cases() -> Iterator[Case]:
    """Local work of OT extension, both sides, and of additive correlated OT on its rows."""
    yield from _iknp_cases()
    yield from _softspoken_cases()
    yield from _correlated_cases()


def _iknp_cases() -> Iterator[Case]:
    def iknp(count: int, sender: bool) -> Call:
        zeros, ones, delta = frozen(words(32, 11, 8)), frozen(words(32, 11, 8)), frozen(words(2))
        message, rows = words(2 * count), np.empty((count, 2), np.uint64)
        choices, stream = words(count // 64), np.uint64(1)
        if sender:
            received = frozen(message)
            return lambda: extension.extend_sender(zeros, delta, stream, received, rows)
        return lambda: extension.extend_receiver(zeros, ones, stream, choices, message, rows)

    large = LARGE // 32
    yield Case("ot.iknp.send", CACHED, "M/s", partial(iknp, CACHED, True), aes=1)
    yield Case("ot.iknp.send.memory", large, "M/s", partial(iknp, large, True), aes=1)
    yield Case("ot.iknp.receive", CACHED, "M/s", partial(iknp, CACHED, False), aes=2)
    yield Case("ot.iknp.receive.memory", large, "M/s", partial(iknp, large, False), aes=2)


def _softspoken_cases() -> Iterator[Case]:
    def extend(k: int, count: int, sender: bool) -> Call:
        groups, tiles = 128 // k, count // 128
        seeds, delta = words(groups, 1 << k, 2).view(np.uint8), frozen(words(2))
        schedules = frozen(softspoken.expand(seeds))
        message, rows = words(2 * groups * tiles), np.empty((count, 2), np.uint64)
        choices = words(2 * tiles)
        if sender:
            received = frozen(message)
            return lambda: softspoken.extend_sender(schedules, delta, np.uint64(1), received, rows)
        return lambda: softspoken.extend_receiver(schedules, np.uint64(1), choices, message, rows)

    for k in (2, 4, 8):
        leaves = 1 << k  # the sender lacks one of each group
        for side, sender, blocks in (("send", True, (leaves - 1) / k), ("receive", False, leaves / k)):
            call = partial(extend, k, CACHED, sender)
            yield Case(f"ot.softspoken{k}.{side}", CACHED, "M/s", call, aes=blocks)


def _correlated_cases() -> Iterator[Case]:
    def correct(width: int, sender: bool) -> Call:
        key, delta, rows, tweak = frozen(words(2)), frozen(words(2)), words(CACHED, 2), np.uint64(1)
        dtype = np.uint32 if width <= 32 else np.uint64
        values = (words(CACHED) >> np.uint64(64 - width)).astype(dtype)
        result = np.empty_like(values)
        if sender:
            packed = np.empty(CACHED * width // 64 + 1, np.uint64)
            return lambda: correlated.correct(key, tweak, delta, rows, values, width, result, packed)
        received, choices = bits.pack(values, width), (words(CACHED) & np.uint64(1)).astype(np.uint8)
        return lambda: correlated.apply_correction(key, tweak, rows, choices, received, width, result)

    for width in (32, 48):
        yield Case(f"ot.correct.w{width}", CACHED, "M/s", partial(correct, width, True), aes=2)
        yield Case(f"ot.apply.w{width}", CACHED, "M/s", partial(correct, width, False), aes=1)


# --- bits ------------------------------------------------------------------------------------------------------------

PACKED_WIDTHS = (1, 8, 18, 25, 32, 41, 47, 60)


def bits_cases() -> Iterator[Case]:
    """The bit transpose, in rows of 128 bits, and packing for the wire, in packed bytes a second."""
    count = 1 << 17

    def transpose() -> Call:
        tiles = words(CACHED // 128, 128, 2)
        return lambda: bits.transpose(tiles)

    def packing(width: int, unpack: bool) -> Call:
        values = (words(count) >> np.uint64(64 - width)).astype(np.uint32 if width <= 32 else np.uint64)
        packed = bits.pack(values, width)
        if unpack:
            return lambda: bits.unpack(packed, count, width)
        return lambda: bits.pack(values, width)

    yield Case("bits.transpose", CACHED, "M/s", transpose)
    for name, unpack in (("bits.pack", False), ("bits.unpack", True)):
        for width in PACKED_WIDTHS:
            yield Case(f"{name}.w{width}", count * width // 8, "GB/s", partial(packing, width, unpack))


# --- lattices --------------------------------------------------------------------------------------------------------


def ntt_cases() -> Iterator[Case]:
    """Microseconds a transform of one polynomial; each butterfly is three 52-bit multiply-adds at least."""

    def transform(degree: int, prime_bits: int, inverse: bool) -> Call:
        primes = ntt_primes(degree, prime_bits)
        tables, polys = ntt.tables(degree, primes), words(BATCH, 1, degree) % np.uint64(primes[0])
        function = ntt.inverse if inverse else ntt.forward
        return lambda: function(polys, tables)

    for name, inverse in (("ntt.forward", False), ("ntt.inverse", True)):
        for degree in (2048, 4096, 8192, 16384):
            levels = degree.bit_length() - 1 + inverse  # the inverse multiplies the sums of its last level too
            for prime_bits in (47, 49, 50):
                yield Case(
                    f"{name}.n{degree}.q{prime_bits}",
                    BATCH,
                    "us",
                    partial(transform, degree, prime_bits, inverse),
                    madd52=3 * degree / 2 * levels,
                )


BFV_SETS = {"n4096-q94": 24, "n8192-q141": 40}  # parameter set: bits of a share


def bfv_cases() -> Iterator[Case]:
    """Microseconds a ciphertext, in batches; a reply keeps a quarter of the coefficients."""
    for name, width in BFV_SETS.items():
        for operation in _BFV:
            yield Case(
                f"bfv.{operation}.{name}",
                BATCH,
                "us",
                partial(_bfv, operation, name, width),
            )


_BFV = ("encrypt", "decrypt", "expand", "multiply-plain", "switch", "reply", "open")


def _bfv(operation: str, name: str, width: int) -> Call:
    params, random, t = parameters.get(name), Random(bytes(32)), 1 << width
    key = bfv.SecretKey.generate(params, random)
    messages = words(BATCH, params.degree) % np.uint64(t)
    c0, seed = bfv.encrypt(key, messages, t, random)
    ciphertexts = bfv.expand_request(params, c0, seed)
    if operation == "encrypt":
        return lambda: bfv.encrypt(key, messages, t, random)
    if operation == "decrypt":
        return lambda: bfv.decrypt(key, ciphertexts, t)
    if operation == "expand":
        return lambda: bfv.expand_request(params, c0, seed)
    if operation == "multiply-plain":
        factors = bfv.transform(params, np.ones((BATCH, params.degree), np.int64))
        return lambda: bfv.multiply_plain(params, ciphertexts, factors)
    if operation == "switch":
        return lambda: bfv.mod_switch(params, ciphertexts)
    noise = reply.max_noise_bits(params, width)
    positions, public = np.arange(0, params.degree, 4), key.public_key(random)
    masks = np.ascontiguousarray(messages[:, ::4])
    if operation == "reply":
        return lambda: reply.reply(public, ciphertexts, masks, positions, t, noise, random)
    answer = reply.reply(public, ciphertexts, masks, positions, t, noise, random)
    return lambda: reply.open_reply(key, answer, BATCH, positions, t, noise)


def rlwe_cases() -> Iterator[Case]:
    """Multiply-accumulate, in products of residues: weights used for 16 ciphertexts each, and for one each, from memory."""

    for name, shape in (("rlwe.accumulate.reused", (16, 16, 16)), ("rlwe.accumulate.memory", (1, 32, LARGE >> 20))):
        products = shape[0] * shape[1] * shape[2] * 2 * 4096
        yield Case(name, products, "G/s", partial(accumulate, *shape), madd52=2)


def accumulate(tiles: int, inputs: int, outputs: int) -> Call:
    """Sums over the inputs of `tiles` ciphertexts each with their weights, for each output; degree 4096, a 47-bit prime."""
    (prime,) = ntt_primes(4096, 47)
    tables = ntt.tables(4096, (prime,))
    ciphertexts = words(tiles, inputs, 2, 1, 4096) % np.uint64(prime)
    weights = words(inputs, outputs, 1, 4096) % np.uint64(prime)
    return lambda: rlwe.multiply_accumulate(ciphertexts, weights, tables)


def sample_cases() -> Iterator[Case]:
    """Coefficients a second from the random source to the distribution, the cipher's time included."""

    def sample(distribution: str) -> Call:
        random, params = Random(bytes(32)), parameters.get("n4096-q94")
        if distribution == "uniform":
            return lambda: rlwe.uniform(BATCH, random, params.tables)
        draw: Any = {"binomial": rlwe.errors, "ternary": rlwe.ternaries}[distribution]
        return lambda: draw(BATCH, params.degree, random)

    for distribution, limbs in (("binomial", 1), ("ternary", 1), ("uniform", 2)):
        yield Case(f"sample.{distribution}", BATCH * limbs * 4096, "M/s", partial(sample, distribution), aes=0.5)


GROUPS: tuple[Callable[[], Iterator[Case]], ...] = (
    aes_cases,
    gc_cases,
    ot_cases,
    bits_cases,
    ntt_cases,
    bfv_cases,
    rlwe_cases,
    sample_cases,
)
