"""Trees of seeds that can be handed over but for one leaf (Goldreich, Goldwasser and Micali; punctured as in eprint 2013/379).

A tree has 2^k leaves of 16 bytes. Its two children of the root are given, every other node's children are the two halves of
its Blake2b hash. Nodes of a level are numbered from the left: node i has the children 2 i and 2 i + 1.

Who knows all of a tree hands over all leaves but number p like this: on each level the sum (XOR) of the even nodes or that
of the odd nodes, the one which does not hold the node on the way to p. From its parents the other side knows all summands
but one, the sibling of the node on the way. It numbers the nodes relative to that way (i ^ way), which is then number 0 on
every level, and the sums are those of the odd nodes: no step depends on p but by a masked exchange.
"""

from __future__ import annotations

import hashlib

import numpy as np

SEED_BYTES = 16


def complete(tops: np.ndarray, levels: int) -> tuple[np.ndarray, np.ndarray]:
    """Whole trees of 2^levels leaves from the two children of each root, uint8 (trees, 2, 16).

    Returns the leaves, uint8 (trees, 2^levels, 16), and the sums of even and odd nodes of the levels below the first, uint8
    (trees, levels - 1, 2, 16).
    """
    sums = np.empty((len(tops), levels - 1, 2, SEED_BYTES), np.uint8)
    nodes = tops
    for level in range(levels - 1):
        nodes = _children(nodes).reshape(len(tops), -1, SEED_BYTES)
        for side in (0, 1):
            sums[:, level, side] = np.bitwise_xor.reduce(nodes[:, side::2], axis=1)
    return nodes, sums


def punctured(siblings: np.ndarray, sums: np.ndarray, way: np.ndarray) -> np.ndarray:
    """All leaves but number p of each tree, uint8 (trees, 2^levels, 16): [t, i] is leaf i ^ p, and [t, 0] is zeros.

    siblings: uint8 (trees, 16), the child of the root that is not on the way. sums: uint8 (trees, levels - 1, 16), on each
    level below of the nodes on the other side than the way's. way: uint8 (trees, levels), the bits of p, the highest first.
    """
    nodes = np.stack([np.zeros_like(siblings), siblings], axis=1)
    for level in range(sums.shape[1]):
        children = _children(nodes)
        swap = (children[:, :, 0] ^ children[:, :, 1]) & -way[:, level + 1, None, None]
        children ^= swap[:, :, None]
        children[:, 0] = 0  # of the unknown node
        children[:, 0, 1] = sums[:, level] ^ np.bitwise_xor.reduce(children[:, :, 1], axis=1)
        nodes = children.reshape(len(siblings), -1, SEED_BYTES)
    return nodes


def _children(nodes: np.ndarray) -> np.ndarray:
    """uint8 (trees, n, 16) -> (trees, n, 2, 16), a length-doubling generator on each."""
    digests = (
        hashlib.blake2b(node.data, digest_size=2 * SEED_BYTES, person=b"bunet ggm").digest()
        for node in np.ascontiguousarray(nodes).reshape(-1, SEED_BYTES)
    )
    return np.frombuffer(bytearray().join(digests), np.uint8).reshape(*nodes.shape[:2], 2, SEED_BYTES)
