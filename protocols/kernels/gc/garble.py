"""Half-gates garbling of one circuit on many instances, a tile of 64 instances at a time.

Half gates [ZRE15], free XOR [KS08], point and permute; the hash is that of [GKWWY20] (Guo, Katz, Wang, Weng, Yu: Better
Concrete Security for Half-Gates Garbling, CRYPTO 2020): H(x) = AES_k(sigma(x)) ^ sigma(x) with a key k of its own for
each (stream, tile, gate, half):

    k = session key ^ (stream << 64 | tile << 16 | gate << 1 | half)

Security: streams are unique within a session, so a key is used for one half gate of one tile, that is for mu = 64
hashes that the evaluator cannot compute himself. In the ideal cipher model an adversary that makes p cipher calls
against q hashes of a session distinguishes with advantage at most 2 mu p / 2^127 + (mu - 1) q / 2^128 [GKWWY20, theorem
on miTCCR; delta has 127 unknown bits]: p / 2^120 + q / 2^122. The theorem wants the active labels under one key to
be distinct. Labels of evaluator inputs and AND gates are pseudorandom; those of garbler inputs are public
pseudorandom values, drawn for 64 instances and used for every tile (tiles never share a key); and `CircuitBuilder`
merges wires that are equal as XORs of these, so that no gate reads a wire whose label is constant over instances.

Arrays (uint64, C-contiguous; I = 64 * tiles instances):
- ops: int64 (n, 6), `Circuit.ops`; wires: `Circuit.wires`;
- words (own input words, I): this party's inputs;
- public (garbler labels, 64, 2): active labels of the garbler's input bits, for every tile;
- rows (tiles, evaluator labels, 64, 2): the garbler's zero labels, the evaluator's active labels;
- tables (tiles, AND gates, 2, 64, 2): garbler's half, evaluator's half;
- shares (output words, I): this party's XOR share of the outputs.
All tiers write the same bits.
"""

from __future__ import annotations

import numpy as np

from bunet.protocols.kernels.gc.garble_gates import (
    copy_labels,
    evaluate_and,
    first_keys,
    garble_and,
    input_labels,
    local_bits,
    output_bits,
    xor_wires,
)
from bunet.protocols.kernels.gc.layout import SCRATCH_WORDS, TILE, WORDS
from bunet.protocols.kernels.machine.arguments import I64, U8, U64, check, check_writable
from bunet.protocols.kernels.machine.compiled import kernel
from bunet.protocols.kernels.machine.memory import aligned
from bunet.protocols.kernels.machine.types import Integers, Octets, Word, Words

# instructions, as in bunet.protocols.gc.circuit.Op
GARBLER_INPUT, EVALUATOR_INPUT, XOR, AND, OUTPUT, CONSTANT_OUTPUT, GARBLER_LOCAL, EVALUATOR_LOCAL = range(8)

MAX_NUMBER = 1 << 32  # of a wire, word, label or instance: products with a tile's words stay far below 2^63
MAX_GATES = 1 << 15  # the bits between the half's and the tile's in a key


@kernel
def _needs(ops: Integers) -> Integers:
    """What the instructions refer to: counts of (wires, garbler words, evaluator words, garbler labels, evaluator labels,
    gates, output words). The first one is -1 if a number is negative or absurd, an operation does not exist, a bit is beyond
    63, or gates are not numbered 0, 1, 2, ... as they come: their keys, expanded a gate ahead, rest on that."""
    counts = np.zeros(7, np.int64)
    for o in range(ops.shape[0]):
        operation, a, b, c, index, flags = ops[o, 0], ops[o, 1], ops[o, 2], ops[o, 3], ops[o, 4], ops[o, 5]
        low, high = min(min(operation, a), min(min(b, c), min(index, flags))), max(max(a, b), max(c, index))
        if (
            low < 0
            or high >= MAX_NUMBER
            or operation > EVALUATOR_LOCAL
            or flags > 3
            or (operation == AND and index != counts[5])
        ):
            counts[0] = -1
            return counts
        bit = np.int64(0)
        if XOR <= operation <= AND:
            counts[0] = max(counts[0], max(max(a, b), c) + 1)
            if operation == AND:
                counts[5] += 1
        elif operation <= EVALUATOR_INPUT:
            side, bit = operation - GARBLER_INPUT, b
            counts[0] = max(counts[0], c + 1)
            counts[1 + side] = max(counts[1 + side], a + 1)
            counts[3 + side] = max(counts[3 + side], index + 1)
        else:
            bit = c
            counts[6] = max(counts[6], b + 1)
            if operation == OUTPUT:
                counts[0] = max(counts[0], a + 1)
            elif operation != CONSTANT_OUTPUT:
                bit = max(bit, index)
                side = operation - GARBLER_LOCAL
                counts[1 + side] = max(counts[1 + side], a + 1)
        if bit > 63:
            counts[0] = -1
            return counts
    return counts


def _check(
    ops: Integers, wires: int, words: Words, side: int, public: Words, rows: Words, key: Words, tables: Words, shares: Words
) -> None:
    """ValueError unless all that the instructions refer to is there. side: 0 for the garbler, 1 for the evaluator."""
    check("ops", ops, I64, None, 6)
    counts = _needs(ops)
    if counts[0] < 0:
        raise ValueError("ops hold an instruction that does not exist, or AND gates out of order")
    if counts[0] > wires:
        raise ValueError(f"the circuit has {counts[0]} wires, there is room for {wires}")
    if counts[5] > MAX_GATES:
        raise ValueError(f"the circuit has {counts[5]} gates, a tile has keys for {MAX_GATES}")
    check("shares", shares, U64, None, None)
    tiles, rest = divmod(shares.shape[1], TILE)
    if rest:
        raise ValueError(f"{shares.shape[1]} instances are not whole tiles of {TILE}")
    check("words", words, U64, None, tiles * TILE)
    check("public", public, U64, None, TILE, 2)
    check("rows", rows, U64, tiles, None, TILE, 2)
    check("tables", tables, U64, tiles, int(counts[5]), 2, TILE, 2)
    check("key", key, U64, 2)
    held = (words.shape[0], public.shape[0], rows.shape[1], shares.shape[0])
    needed = (counts[1 + side], counts[3], counts[4], counts[6])
    for name, count, have in zip(("words", "public", "rows", "shares"), needed, held, strict=True):
        if count > have:
            raise ValueError(f"{name} has {have} rows, the circuit refers to {count}")


def garble(
    ops: np.ndarray,
    wires: int,
    words: np.ndarray,
    public: np.ndarray,
    rows: np.ndarray,
    delta: np.ndarray,
    key: np.ndarray,
    stream: np.uint64,
    first_tile: np.uint64,
    tables: np.ndarray,
    shares: np.ndarray,
) -> None:
    """Writes the tables and the garbler's shares; shares must come zeroed.

    delta, key: uint64[2], delta odd. stream, first_tile: uint64; the tiles are numbers first_tile ... of the stream.
    ValueError if dtypes or lengths do not fit each other or the instructions.
    """
    _check(ops, wires, words, 0, public, rows, key, tables, shares)
    check("delta", delta, U64, 2)
    check_writable("tables", tables)
    _garble(ops, wires, words, public, rows, delta, key, stream, first_tile, tables, shares)


def evaluate(
    ops: np.ndarray,
    wires: int,
    words: np.ndarray,
    public: np.ndarray,
    rows: np.ndarray,
    key: np.ndarray,
    stream: np.uint64,
    first_tile: np.uint64,
    tables: np.ndarray,
    shares: np.ndarray,
) -> None:
    """Writes the evaluator's shares, which must come zeroed; see `garble`."""
    _check(ops, wires, words, 1, public, rows, key, tables, shares)
    _evaluate(ops, wires, words, public, rows, key, stream, first_tile, tables, shares)


@kernel
def _garble(
    ops: Integers,
    wires: int,
    words: Words,
    public: Words,
    rows: Words,
    delta: Words,
    key: Words,
    stream: Word,
    first_tile: Word,
    tables: Words,
    shares: Words,
) -> None:
    labels, scratch, flat = aligned(wires * WORDS), aligned(SCRATCH_WORDS), tables.reshape(tables.size)
    flat_public, flat_rows = public.reshape(public.size), rows.reshape(rows.size)
    flat_words, flat_shares, instances = words.reshape(words.size), shares.reshape(shares.size), shares.shape[1]
    for tile in range(instances // TILE):
        low = (np.uint64(first_tile) + np.uint64(tile)) << np.uint64(16)
        base = tile * tables.shape[1] * 2 * WORDS
        first_keys(key, stream, low, scratch)
        for o in range(ops.shape[0]):
            operation, a, b, c, index, flags = ops[o, 0], ops[o, 1], ops[o, 2], ops[o, 3], ops[o, 4], ops[o, 5]
            if operation == AND:
                not_a, not_b = np.uint64(flags & 1), np.uint64(flags >> 1)
                at, tweak = base + index * 2 * WORDS, low | np.uint64(index << 1)
                garble_and(labels, a, b, c, not_a, not_b, flat, at, delta, key, stream, tweak, scratch)
            elif operation == XOR:
                xor_wires(labels, a, b, c)
            elif operation == GARBLER_INPUT:
                start = a * instances + tile * TILE
                input_labels(labels, c, flat_public, index * WORDS, flat_words, start, np.uint64(b), delta)
            elif operation == EVALUATOR_INPUT:
                copy_labels(labels, c, flat_rows, (tile * rows.shape[1] + index) * WORDS)
            elif operation == OUTPUT:
                output_bits(labels, a, flat_shares, b * instances + tile * TILE, np.uint64(c))
            elif operation == CONSTANT_OUTPUT:
                for i in range(TILE):
                    flat_shares[b * instances + tile * TILE + i] ^= np.uint64(1) << np.uint64(c)
            elif operation == GARBLER_LOCAL:
                start, at = a * instances + tile * TILE, b * instances + tile * TILE
                local_bits(flat_words, start, np.uint64(index), flat_shares, at, np.uint64(c))


@kernel
def _evaluate(
    ops: Integers,
    wires: int,
    words: Words,
    public: Words,
    rows: Words,
    key: Words,
    stream: Word,
    first_tile: Word,
    tables: Words,
    shares: Words,
) -> None:
    labels, scratch, flat = aligned(wires * WORDS), aligned(SCRATCH_WORDS), tables.reshape(tables.size)
    flat_public, flat_rows = public.reshape(public.size), rows.reshape(rows.size)
    flat_words, flat_shares, instances = words.reshape(words.size), shares.reshape(shares.size), shares.shape[1]
    for tile in range(instances // TILE):
        low = (np.uint64(first_tile) + np.uint64(tile)) << np.uint64(16)
        base = tile * tables.shape[1] * 2 * WORDS
        first_keys(key, stream, low, scratch)
        for o in range(ops.shape[0]):
            operation, a, b, c, index = ops[o, 0], ops[o, 1], ops[o, 2], ops[o, 3], ops[o, 4]
            if operation == AND:
                at, tweak = base + index * 2 * WORDS, low | np.uint64(index << 1)
                evaluate_and(labels, a, b, c, flat, at, key, stream, tweak, scratch)
            elif operation == XOR:
                xor_wires(labels, a, b, c)
            elif operation == GARBLER_INPUT:
                copy_labels(labels, c, flat_public, index * WORDS)
            elif operation == EVALUATOR_INPUT:
                copy_labels(labels, c, flat_rows, (tile * rows.shape[1] + index) * WORDS)
            elif operation == OUTPUT:
                output_bits(labels, a, flat_shares, b * instances + tile * TILE, np.uint64(c))
            elif operation == EVALUATOR_LOCAL:
                start, at = a * instances + tile * TILE, b * instances + tile * TILE
                local_bits(flat_words, start, np.uint64(index), flat_shares, at, np.uint64(c))


def choice_bits(words: np.ndarray, positions: np.ndarray, choices: np.ndarray) -> None:
    """The evaluator's OT choices, in the order of `rows`: choices (tiles, labels, 64) uint8 of 0/1.

    words uint64 (own input words, I); positions int64 (labels, 2): (word, bit) of each label. ValueError if they do not fit.
    """
    check("choices", choices, U8, None, None, TILE)
    check("words", words, U64, None, choices.shape[0] * TILE)
    check("positions", positions, I64, choices.shape[1], 2)
    word, bit = positions.T
    if positions.size and (positions.min() < 0 or word.max() >= words.shape[0] or bit.max() > 63):
        raise ValueError(f"a position is outside {words.shape[0]} words of 64 bits")
    _choice_bits(words, positions, choices)


@kernel
def _choice_bits(words: Words, positions: Integers, choices: Octets) -> None:
    for tile in range(choices.shape[0]):
        for label in range(choices.shape[1]):
            source = words[positions[label, 0], tile * TILE : (tile + 1) * TILE]
            shift = np.uint64(positions[label, 1])
            target = choices[tile, label]
            for i in range(TILE):
                target[i] = np.uint8(source[i] >> shift & np.uint64(1))
