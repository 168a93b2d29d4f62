"""Beaver triples and square pairs over Z_2^width (Beaver, CRYPTO 1991).

A triple is shares of (a, b, ab) with a, b uniform and unknown to either party; a square pair is shares of (a, a^2).
Both parties choose their shares of a and b themselves; only the cross products a_A b_B + b_A a_B need the peer. They
come from one of two sources with the same interface (`Source`):

- `ot`: Gilboa's products from correlated OT;
- `pahe`: Alice's numbers in encrypted slots, multiplied and masked by Bob.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from bunet.protocols.ass.share import dtype_of, reduce_to
from bunet.protocols.context import Context, Role
from bunet.protocols.cost import Cost
from bunet.protocols.mt import gilboa, slot_products
from bunet.protocols.ot import extension
from bunet.protocols.steps import Steps


class Source(Protocol):
    """A module that makes products of what Alice knows with what Bob knows."""

    def alice(self, ctx: Context, u: np.ndarray, width: int) -> Steps[np.ndarray]:
        """Alice's share (n,) of sum_k u[k] v[k] modulo 2^width. u: (terms, n) uint32 or uint64, below 2^width."""

    def bob(self, ctx: Context, v: np.ndarray, width: int) -> Steps[np.ndarray]:
        """Bob's share of the same. v: (terms, n), below 2^width."""

    def cost(self, terms: int, count: int, width: int, ot: str) -> Cost:
        """Exact cost of both halves. ot: the OT extension."""


SOURCES: dict[str, Source] = {"ot": gilboa, "pahe": slot_products}


@dataclass(frozen=True)
class Triple:
    """This party's shares (n,) of a, b and ab modulo 2^width; to be used for one product and never again."""

    a: np.ndarray
    b: np.ndarray
    ab: np.ndarray
    width: int


@dataclass(frozen=True)
class SquarePair:
    """This party's shares (n,) of a and a^2 modulo 2^width; to be used for one square and never again."""

    a: np.ndarray
    aa: np.ndarray
    width: int


def random_share(ctx: Context, count: int, width: int) -> np.ndarray:
    """This party's uniform share (n,) of a number that nobody knows, in the dtype of the width."""
    return ctx.random.uniform((count,), width).astype(dtype_of(width))


def source_of(name: str) -> Source:
    """The module that makes cross products; ValueError names the known ones."""
    try:
        return SOURCES[name]
    except KeyError:
        raise ValueError(f"triples come from {' or '.join(SOURCES)}, not from {name!r}") from None


def triple(ctx: Context, a: np.ndarray, b: np.ndarray, width: int, source: str) -> Steps[Triple]:
    """Complete this party's uniform shares a, b (n,) to a triple. Symmetric; two rounds, Alice speaks first."""
    cross = source_of(source)
    if ctx.role is Role.ALICE:
        products = yield from cross.alice(ctx, np.stack((a, b)), width)
    else:
        products = yield from cross.bob(ctx, np.stack((b, a)), width)
    return Triple(a, b, reduce_to(a * b + products.astype(a.dtype), width), width)


def triple_cost(count: int, width: int, source: str, ot: str = extension.DEFAULT) -> Cost:
    """Exact cost of `triple`. ot: the OT extension."""
    return source_of(source).cost(2, count, width, ot)


def square_pair(ctx: Context, a: np.ndarray, width: int, source: str) -> Steps[SquarePair]:
    """Complete this party's uniform share a (n,) to a square pair. Symmetric; two rounds, Alice speaks first.

    (a_A + a_B)^2 = a_A^2 + a_B^2 + 2 a_A a_B, and twice a number modulo 2^width asks for the number modulo 2^(width-1).
    """
    cross = source_of(source)
    if width == 1:
        return SquarePair(a, a.copy(), width)  # a bit is its own square
    half = reduce_to(a, width - 1)[None]
    product = yield from (cross.alice if ctx.role is Role.ALICE else cross.bob)(ctx, half, width - 1)
    twice = product.astype(a.dtype) << a.dtype.type(1)
    return SquarePair(a, reduce_to(a * a + twice, width), width)


def square_pair_cost(count: int, width: int, source: str, ot: str = extension.DEFAULT) -> Cost:
    """Exact cost of `square_pair`. ot: the OT extension."""
    return source_of(source).cost(1, count, width - 1, ot) if width > 1 else Cost()
