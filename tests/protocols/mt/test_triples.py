"""Triples and square pairs are exact modulo 2^width, from both sources, and cost what they state."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bunet.protocols.ass.share import dtype_of, reduce_to
from bunet.protocols.context import Context
from bunet.protocols.cost import Cost
from bunet.protocols.counting import Traffic, counted
from bunet.protocols.lockstep import lockstep
from bunet.protocols.mt import gilboa, multiply, opening, slot_products, square, triples
from bunet.protocols.ot import extension
from bunet.protocols.steps import Steps
from tests.protocols.contexts import contexts

rng = np.random.default_rng(7)


def both(source: str, terms: int, width: int) -> tuple[Context, Context, triples.Source]:
    """Contexts with the keys that this source needs, and its module."""
    sets = (slot_products.plan_of(terms, width).set_name,) if source == "pahe" else ()
    return *contexts(sets), triples.source_of(source)


def numbers(shape: tuple[int, int], width: int) -> np.ndarray:
    values = reduce_to(rng.integers(0, 2**64, shape, dtype=np.uint64), width)
    values.reshape(-1)[0] = (1 << width) - 1
    return values


def total(a: np.ndarray, b: np.ndarray, width: int) -> np.ndarray:
    assert a.dtype == b.dtype == dtype_of(width)
    return reduce_to(a + b, width)


def squared(ctx: Context, x: np.ndarray, pair: triples.SquarePair) -> Steps[np.ndarray]:
    """The square of a share by a pair, its opening alone."""
    opened = yield from opening.exchange(ctx, square.mask(x, pair.a, pair.width), pair.width)
    return square.finish(ctx, opened, pair)


def assert_cost(stated: Cost, traffic: Traffic) -> None:
    assert (traffic.alice_bytes, traffic.bob_bytes, traffic.rounds) == (stated.alice_bytes, stated.bob_bytes, stated.rounds)


@settings(max_examples=12, deadline=None)
@given(st.integers(1, 3), st.integers(1, 300), st.integers(1, 64))
def test_gilboa_products(terms: int, count: int, width: int) -> None:
    u, v = numbers((terms, count), width), numbers((terms, count), width)
    alice, bob, source = both("ot", terms, width)
    a, b, traffic = counted(source.alice(alice, u, width), source.bob(bob, v, width))
    np.testing.assert_array_equal(total(a, b, width), reduce_to((u * v).sum(0).astype(u.dtype), width))
    assert_cost(gilboa.cost(terms, count, width), traffic)


@settings(max_examples=8, deadline=None)
@given(st.integers(1, 2), st.sampled_from([1, 100, 8192, 9000]), st.integers(1, 64))
def test_slot_products(terms: int, count: int, width: int) -> None:
    u, v = numbers((terms, count), width), numbers((terms, count), width)
    u[:, -1], v[:, -1] = u.dtype.type((1 << width) - 1), v.dtype.type((1 << width) - 1)  # the largest integer
    alice, bob, source = both("pahe", terms, width)
    a, b, traffic = counted(source.alice(alice, u, width), source.bob(bob, v, width))
    np.testing.assert_array_equal(total(a, b, width), reduce_to((u * v).sum(0).astype(u.dtype), width))
    assert_cost(slot_products.cost(terms, count, width), traffic)


def test_many_messages_of_each_source(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gilboa, "_OTS", 2048)
    monkeypatch.setattr(slot_products, "_MESSAGE", 1)
    for source, count in (("ot", 1000), ("pahe", 3 * 8192 + 5)):
        u, v = numbers((1, count), 12), numbers((1, count), 12)
        alice, bob, module = both(source, 1, 12)
        a, b, traffic = counted(module.alice(alice, u, 12), module.bob(bob, v, 12))
        np.testing.assert_array_equal(total(a, b, 12), reduce_to((u * v)[0], 12))
        assert_cost(module.cost(1, count, 12, extension.DEFAULT), traffic)
        assert traffic.alice_messages == traffic.bob_messages > 3


@pytest.mark.parametrize("source", ["ot", "pahe"])
@pytest.mark.parametrize("width", [9, 32, 33, 44])
def test_triples_multiply(source: str, width: int) -> None:
    count = 500
    alice, bob, _ = both(source, 2, width)
    halves = []
    for ctx in (alice, bob):
        first, second = (triples.random_share(ctx, count, width) for _ in "ab")
        halves.append(triples.triple(ctx, first, second, width, source))
    a, b, made = counted(*halves)
    np.testing.assert_array_equal(total(a.ab, b.ab, width), reduce_to(total(a.a, b.a, width) * total(a.b, b.b, width), width))
    assert_cost(triples.triple_cost(count, width, source), made)
    x, y = numbers((2, count), width), numbers((2, count), width)
    p, q, traffic = counted(multiply.multiply(alice, x[0], y[0], a), multiply.multiply(bob, x[1], y[1], b))
    expected = total(x[0], x[1], width) * total(y[0], y[1], width)
    np.testing.assert_array_equal(total(p, q, width), reduce_to(expected, width))
    assert_cost(multiply.cost(count, width), traffic)


@pytest.mark.parametrize("source", ["ot", "pahe"])
@pytest.mark.parametrize("width", [1, 2, 25, 33, 50])
def test_square_pairs_square(source: str, width: int) -> None:
    count = 700
    alice, bob, _ = both(source, 1, max(1, width - 1))
    a, b, made = counted(
        *(triples.square_pair(ctx, triples.random_share(ctx, count, width), width, source) for ctx in (alice, bob))
    )
    np.testing.assert_array_equal(total(a.aa, b.aa, width), reduce_to(total(a.a, b.a, width) ** 2, width))
    assert_cost(triples.square_pair_cost(count, width, source), made)
    x = numbers((2, count), width)
    p, q, traffic = counted(squared(alice, x[0], a), squared(bob, x[1], b))
    np.testing.assert_array_equal(total(p, q, width), reduce_to(total(x[0], x[1], width) ** 2, width))
    assert_cost(opening.cost(count, width), traffic)


@pytest.mark.parametrize("source", ["ot", "pahe"])
def test_product_shares_are_uniform(source: str) -> None:
    """Each party's share of a constant product, by a chi-square on its top 4 bits (99.99 % quantile, 15 degrees)."""
    alice, bob, module = both(source, 1, 20)
    u = np.full((1, 8192), 12345, np.uint32)
    for share in lockstep(module.alice(alice, u, 20), module.bob(bob, u, 20)):
        counts = np.bincount(share >> np.uint32(16), minlength=16)
        assert ((counts - 512) ** 2 / 512).sum() < 44.3


def test_masks_and_recombination_against_big_integers() -> None:
    from bunet.protocols.random import Random

    primes = slot_products.plan_of(1, 44).primes
    mask = slot_products.Mask.draw(Random(), 2, 8192, slot_products.plan_of(1, 44).mask_bits)
    whole: Any = sum(word.astype(object) << (64 * k) for k, word in enumerate(mask.words))
    assert int(whole.max()).bit_length() == slot_products.plan_of(1, 44).mask_bits
    residues = [mask.modulo(t) for t in primes]
    for t, residue in zip(primes, residues, strict=True):
        np.testing.assert_array_equal(residue, (whole % t).astype(np.uint64))
    np.testing.assert_array_equal(slot_products.recombine(residues, primes), (whole % 2**64).astype(np.uint64))


def test_bad_requests_are_named() -> None:
    with pytest.raises(ValueError, match="not from 'dealer'"):
        triples.source_of("dealer")
    with pytest.raises(ValueError, match="squares from a pair"):
        square.mask(np.zeros(4, np.uint32), np.zeros(3, np.uint32), 12)
    with pytest.raises(ValueError, match="outside"):
        slot_products.plan_of(1, 65)
