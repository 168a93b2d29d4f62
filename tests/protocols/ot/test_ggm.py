import hashlib

import numpy as np
import pytest

from bunet.protocols.ot import ggm
from bunet.protocols.random import Random


def naive(top: list[bytes], levels: int) -> list[bytes]:
    nodes = top
    for _ in range(levels - 1):
        digests = [hashlib.blake2b(node, digest_size=32, person=b"bunet ggm").digest() for node in nodes]
        nodes = [half for digest in digests for half in (digest[:16], digest[16:])]
    return nodes


@pytest.mark.parametrize("levels", [2, 3, 4, 8])
def test_all_leaves_but_one_are_known(levels: int) -> None:
    trees = 5
    tops = np.frombuffer(Random().bytes(trees * 32), np.uint8).reshape(trees, 2, 16)
    leaves, sums = ggm.complete(tops, levels)
    assert leaves.shape == (trees, 1 << levels, 16)
    for tree in range(trees):
        assert [leaf.tobytes() for leaf in leaves[tree]] == naive([half.tobytes() for half in tops[tree]], levels)
    assert np.unique(leaves.reshape(-1, 16), axis=0).shape[0] == trees << levels
    way = Random().bits(trees * levels).reshape(trees, levels)
    points = way @ (1 << np.arange(levels)[::-1])
    index = np.arange(trees)
    opened = np.stack([sums[index, level, 1 - way[:, level + 1]] for level in range(levels - 1)], axis=1)
    known = ggm.punctured(tops[index, 1 - way[:, 0]], opened, way)
    assert not known[:, 0].any()
    for tree in range(trees):
        for i in range(1, 1 << levels):
            assert (known[tree, i] == leaves[tree, i ^ points[tree]]).all()


def test_the_other_sums_do_not_fit() -> None:
    """With a sum of the wrong side the leaves below it are others."""
    tops = np.frombuffer(Random().bytes(32), np.uint8).reshape(1, 2, 16)
    leaves, sums = ggm.complete(tops, 3)
    way = np.zeros((1, 3), np.uint8)
    known = ggm.punctured(tops[:, 1], sums[:, :, 0], way)
    assert (known[0, 4:] == leaves[0, 4:]).all()
    assert (known[0, 1:4] != leaves[0, 1:4]).any(axis=1).all()
