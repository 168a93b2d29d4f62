"""One circuit garbled by one party and evaluated by the other, on many instances, streamed in chunks.

Message order, chunk by chunk: the evaluator's OT columns `u`, then the garbler's tables. The evaluator keeps up to WINDOW
chunks ahead, so both processors and both directions of the network work at the same time and memory stays bounded.

Input labels (Yao's protocol with free XOR [KS08], half gates [ZRE15]):
- the garbler's cost nothing: the active labels are public pseudorandom values, and the garbler takes (active ^ bit *
  delta) as the zero label;
- the evaluator's are correlated OTs with the garbler's session delta: the rows are the labels.

Results are XOR shares of every output word: point-and-permute bits of the garbler's zero labels and of the evaluator's
active labels. Nothing is opened here; `send_output` and `receive_output` open a word in one direction.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from bunet.protocols import buffer_pool
from bunet.protocols.blocks import length, slices
from bunet.protocols.context import Context, Role
from bunet.protocols.cost import Cost
from bunet.protocols.gc.circuit import Circuit, check_words
from bunet.protocols.kernels.gc import garble as kernel
from bunet.protocols.kernels.gc.layout import TILE
from bunet.protocols.kernels.packing.bits import pack, packed_bytes, unpack
from bunet.protocols.kernels.symmetric import aes
from bunet.protocols.ot import extension
from bunet.protocols.ot.rows import TILE as OT_TILE
from bunet.protocols.ot.rows import frozen
from bunet.protocols.steps import Receive, Send, Steps, spec

TABLE_BYTES = 32  # an AND gate of one instance
CHUNK_BYTES = buffer_pool.BUFFER_BYTES  # of tables in a message, about
WINDOW = 16  # chunks between the evaluator's OT columns and the tables it waits for
OUTPUT_BLOCK = 1 << 18  # values in a message of opened outputs

_PUBLIC_LABELS = np.uint64(1 << 63)  # no hash key has this bit of the tweak's low half


@dataclass(frozen=True)
class _Chunk:
    """Instances start..stop, as whole tiles (the last one padded) from number first_tile."""

    start: int
    stop: int
    first_tile: int
    tiles: int


def _chunks(circuit: Circuit, instances: int) -> Iterator[_Chunk]:
    tiles = -(-instances // TILE)
    at_once = max(1, CHUNK_BYTES // (max(1, circuit.and_gates) * TILE * TABLE_BYTES))
    at_once += at_once > 1 and -at_once % (OT_TILE // TILE)  # OT extension pads to whole tiles of its own
    for first in range(0, tiles, at_once):
        count = min(at_once, tiles - first)
        yield _Chunk(first * TILE, min((first + count) * TILE, instances), first, count)


def _block(words: Sequence[np.ndarray], chunk: _Chunk) -> np.ndarray:
    """The chunk's input words as uint64 (words, 64 * tiles), padded with zeros."""
    block = np.zeros((len(words), chunk.tiles * TILE), np.uint64)
    for row, word in zip(block, words, strict=True):
        row[: chunk.stop - chunk.start] = word[chunk.start : chunk.stop]
    return frozen(block)


def _public_labels(ctx: Context, circuit: Circuit, stream: int) -> np.ndarray:
    """Active labels of the garbler's input bits, known to both: uint64 (labels, 64, 2), the same for every tile."""
    key = ctx.ot.hash_key ^ np.array([_PUBLIC_LABELS, 0], np.uint64)
    out = np.empty(len(circuit.garbler_labels) * 2 * TILE, np.uint64)
    aes.ctr(aes.expand_key(key.tobytes()), stream, 0, out)
    return frozen(out.reshape(-1, TILE, 2))


def garbler(
    ctx: Context, circuit: Circuit, words: Sequence[np.ndarray], instances: int | None = None
) -> Steps[list[np.ndarray]]:
    """The garbler's half, for either role; its peer runs `evaluator` with an equal circuit.

    words: the garbler's input words, uint32 or uint64 (I,); bits above a word's width are ignored. instances: I, needed
    only if there are no words. Returns the garbler's XOR share of each output word, uint64 (I,). ValueError if the words
    do not fit the circuit.
    """
    instances = check_words(words, circuit.garbler_words, "garbler", instances)
    stream = ctx.next_stream()
    public = _public_labels(ctx, circuit, stream)
    delta, key = frozen(ctx.ot.delta), frozen(ctx.ot.hash_key)
    labels, gates = len(circuit.evaluator_labels), circuit.and_gates
    outputs = [np.empty(instances, np.uint64) for _ in circuit.output_words]
    for chunk in _chunks(circuit, instances):
        rows = np.empty((0, 2), np.uint64)
        if labels:
            rows = yield from extension.send(ctx, chunk.tiles * labels * TILE)
        tables = buffer_pool.lend((chunk.tiles, gates, 2, TILE, 2))
        shares = np.zeros((len(outputs), chunk.tiles * TILE), np.uint64)
        kernel.garble(
            circuit.ops,
            circuit.wires,
            _block(words, chunk),
            public,
            frozen(rows.reshape(chunk.tiles, labels, TILE, 2)),
            delta,
            key,
            np.uint64(stream),
            np.uint64(chunk.first_tile),
            tables,
            shares,
        )
        if gates:
            yield Send("tables", (tables,))
        for output, share in zip(outputs, shares, strict=True):
            output[chunk.start : chunk.stop] = share[: chunk.stop - chunk.start]
    return outputs


def evaluator(
    ctx: Context, circuit: Circuit, words: Sequence[np.ndarray], instances: int | None = None
) -> Steps[list[np.ndarray]]:
    """The evaluator's half, for either role; the mirror image of `garbler`.

    words: the evaluator's input words, uint32 or uint64 (I,). Returns its XOR share of each output word, uint64 (I,).
    """
    instances = check_words(words, circuit.evaluator_words, "evaluator", instances)
    stream = ctx.next_stream()
    public, key = _public_labels(ctx, circuit, stream), frozen(ctx.ot.hash_key)
    labels, gates = len(circuit.evaluator_labels), circuit.and_gates
    outputs = [np.empty(instances, np.uint64) for _ in circuit.output_words]

    def finish(chunk: _Chunk, rows: np.ndarray) -> Steps[None]:
        shape = (chunk.tiles, gates, 2, TILE, 2)
        tables = np.empty(shape, np.uint64)
        if gates:
            (tables,) = yield Receive("tables", (spec(np.uint64, *shape),))
        shares = np.zeros((len(outputs), chunk.tiles * TILE), np.uint64)
        kernel.evaluate(
            circuit.ops,
            circuit.wires,
            _block(words, chunk),
            public,
            frozen(rows.reshape(chunk.tiles, labels, TILE, 2)),
            key,
            np.uint64(stream),
            np.uint64(chunk.first_tile),
            frozen(tables),
            shares,
        )
        for output, share in zip(outputs, shares, strict=True):
            output[chunk.start : chunk.stop] = share[: chunk.stop - chunk.start]

    ahead: deque[tuple[_Chunk, np.ndarray]] = deque()
    for chunk in _chunks(circuit, instances):
        if len(ahead) == WINDOW:
            yield from finish(*ahead.popleft())
        rows = np.empty((0, 2), np.uint64)
        if labels:
            choices = np.empty((chunk.tiles, labels, TILE), np.uint8)
            kernel.choice_bits(_block(words, chunk), circuit.evaluator_labels, choices)
            rows = yield from extension.receive(ctx, choices.reshape(-1))
        ahead.append((chunk, rows))
    while ahead:
        yield from finish(*ahead.popleft())
    return outputs


def cost(circuit: Circuit, instances: int, garbler: Role, ot: str = extension.DEFAULT) -> Cost:
    """Exact traffic of `garbler` with `evaluator`. ot: the OT extension.

    The evaluator's columns of chunk k wait for the tables of chunk k - WINDOW, so every WINDOW chunks are two rounds;
    the last message is the garbler's. work: AND gates and that of the OTs, padding to whole tiles included.
    """
    chunks = list(_chunks(circuit, instances))
    windows = [chunks[part] for part in slices(len(chunks), WINDOW)]
    columns = [Cost().beside(*(_columns_cost(circuit, chunk, garbler, ot) for chunk in window)) for window in windows]
    tables = [Cost().beside(*(_tables_cost(circuit, chunk, garbler) for chunk in window)) for window in windows]
    if len(circuit.evaluator_labels) == 0:  # nothing to wait for: all tables in a row
        return Cost().beside(*tables)
    return Cost().then(*(wanted.then(answer) for wanted, answer in zip(columns, tables, strict=True)))


def _columns_cost(circuit: Circuit, chunk: _Chunk, garbler: Role, ot: str) -> Cost:
    ots = chunk.tiles * TILE * len(circuit.evaluator_labels)
    return extension.cost(ots, garbler, ot)


def _tables_cost(circuit: Circuit, chunk: _Chunk, garbler: Role) -> Cost:
    gates = chunk.tiles * TILE * circuit.and_gates
    return Cost.flight(garbler, gates * TABLE_BYTES, {"and_gates": gates}) if gates else Cost()


def send_output(ctx: Context, share: np.ndarray, width: int) -> Steps[None]:
    """Open an output word to the peer: send this party's XOR share (uint64 (I,), below 2^width), packed."""
    for part in slices(len(share), OUTPUT_BLOCK):
        yield Send("output", (pack(share[part], width),))


def receive_output(ctx: Context, share: np.ndarray, width: int) -> Steps[np.ndarray]:
    """Learn an output word, uint64 (I,), from this party's XOR share and the peer's `send_output`."""
    values = np.empty(len(share), np.uint64)
    for part in slices(len(share), OUTPUT_BLOCK):
        (packed,) = yield Receive("output", (spec(np.uint8, packed_bytes(length(part), width)),))
        values[part] = share[part] ^ unpack(packed, length(part), width)
    return values


def output_cost(instances: int, width: int, sender: Role) -> Cost:
    """Exact traffic of `send_output`: one round (none if it follows the sender's own message, as a garbler's does)."""
    parts = slices(instances, OUTPUT_BLOCK)
    return Cost().beside(*(Cost.flight(sender, packed_bytes(length(part), width)) for part in parts))
