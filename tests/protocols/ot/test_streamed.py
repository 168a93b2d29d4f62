"""Correlated OT and the multiplexer across block borders."""

import numpy as np
import pytest

from bunet.protocols.ass.share import signed
from bunet.protocols.context import Role
from bunet.protocols.cost import Cost
from bunet.protocols.counting import counted
from bunet.protocols.layers import multiplex
from bunet.protocols.ot import streamed
from bunet.protocols.random import Random
from tests.protocols.contexts import contexts


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streamed, "BLOCK", 256)


@pytest.mark.parametrize(("count", "width"), [(1, 1), (255, 12), (256, 32), (700, 33), (1000, 64)])
def test_streamed_correlated_ot(small_blocks: None, count: int, width: int) -> None:
    a, b = contexts()
    random = Random()
    correlation, choices = random.uniform((count,), width), random.bits(count)
    mine, theirs, traffic = counted(streamed.send(a, correlation, width), streamed.receive(b, choices, width))
    expected = np.where(choices == 1, correlation, 0).astype(np.uint64)
    assert (signed(theirs.astype(np.uint64) - mine - expected, width) == 0).all()
    stated = streamed.cost(count, width, Role.ALICE)
    assert (stated.alice_bytes, stated.bob_bytes, stated.rounds) == (traffic.alice_bytes, traffic.bob_bytes, traffic.rounds)


@pytest.mark.parametrize(("count", "width"), [(1, 2), (256, 12), (700, 33)])
def test_multiplexer(small_blocks: None, count: int, width: int) -> None:
    a, b = contexts()
    random = Random()
    kind: type[np.generic] = np.uint32 if width <= 32 else np.uint64
    y = [random.uniform((count,), width).astype(kind) for _ in range(2)]
    d = [random.bits(count) for _ in range(2)]
    ra, rb, traffic = counted(multiplex.first(a, y[0], d[0], width), multiplex.second(b, y[1], d[1], width))
    expected = (y[0].astype(np.uint64) + y[1].astype(np.uint64)) * (d[0] ^ d[1])
    assert (signed(ra.astype(np.uint64) + rb - expected, width) == 0).all()
    stated = Cost().then(*multiplex.flights(count, width, Role.ALICE))
    assert (stated.alice_bytes, stated.bob_bytes, stated.rounds) == (traffic.alice_bytes, traffic.bob_bytes, traffic.rounds)
