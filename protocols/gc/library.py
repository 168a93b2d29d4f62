"""The circuits that the layers need, for shares modulo 2^width and modulo a prime.

Every circuit recombines secrets x = a + b from the garbler's a and the evaluator's b. Those that return a shared number
take a fresh uniform share r from the garbler and output (result - r), which is then opened to the evaluator as its
share. Signed numbers: modulo 2^width two's complement; modulo a prime p, x > p/2 stands for x - p.

Only tests call the circuits modulo a prime today; they stay because the published design (shares modulo a prime, DFT
convolutions by rotations) is built on them by later work.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Protocol

from bunet.protocols.gc.builder import ONE, ZERO, CircuitBuilder
from bunet.protocols.gc.circuit import Circuit
from bunet.protocols.gc.schedule import Wire

Word = list[Wire]


# --- arithmetic on words, least significant wire first ---------------------------------------------------------------


def add_with_carry(builder: CircuitBuilder, x: Word, y: Word, carry: Wire = ZERO) -> tuple[Word, Wire]:
    """(x + y + carry mod 2^n, carry out) for n-bit words; one AND a bit (a full adder as in [KSS09, section 3.1])."""
    total = []
    for a, b in zip(x, y, strict=True):
        ac = builder.xor(a, carry)
        total.append(builder.xor(ac, b))
        carry = builder.xor(carry, builder.and_(ac, builder.xor(b, carry)))
    return total, carry


def add(builder: CircuitBuilder, x: Word, y: Word) -> Word:
    """x + y mod 2^n; n - 1 ANDs."""
    return add_with_carry(builder, x, y)[0]


def complement(builder: CircuitBuilder, x: Word) -> Word:
    return [builder.not_(wire) for wire in x]


def subtract(builder: CircuitBuilder, x: Word, y: Word) -> Word:
    """x - y mod 2^n; n - 1 ANDs."""
    return complement(builder, add(builder, complement(builder, x), y))


def at_least(builder: CircuitBuilder, x: Word, y: Word) -> Wire:
    """x >= y, unsigned; n ANDs: the carry out of x + ~y + 1."""
    return add_with_carry(builder, x, complement(builder, y), ONE)[1]


def select_word(builder: CircuitBuilder, condition: Wire, yes: Word, no: Word) -> Word:
    """condition ? yes : no; one AND a bit."""
    return [builder.select(condition, y, n) for y, n in zip(yes, no, strict=True)]


# --- rings of shares -------------------------------------------------------------------------------------------------


class _Ring(Protocol):
    """How shares recombine and what signs look like; words have `bits` bits."""

    bits: int

    def recombine(self, builder: CircuitBuilder, a: Word, b: Word) -> Word: ...

    def minus(self, builder: CircuitBuilder, x: Word, r: Word) -> Word: ...

    def negative(self, builder: CircuitBuilder, x: Word) -> Wire: ...

    def order(self, builder: CircuitBuilder, x: Word) -> Word:
        """A word that is in unsigned order when x is in signed order."""
        ...


class _PowerOfTwo:
    def __init__(self, width: int) -> None:
        if not 2 <= width <= 64:
            raise ValueError(f"a signed share has 2..64 bits, not {width}")
        self.bits = width

    def recombine(self, builder: CircuitBuilder, a: Word, b: Word) -> Word:
        return add(builder, a, b)

    def minus(self, builder: CircuitBuilder, x: Word, r: Word) -> Word:
        return subtract(builder, x, r)

    def negative(self, builder: CircuitBuilder, x: Word) -> Wire:
        return x[-1]

    def order(self, builder: CircuitBuilder, x: Word) -> Word:
        return [*x[:-1], builder.not_(x[-1])]


class _Prime:
    """Residues modulo an odd p < 2^63 (whether it is prime does not matter here); inputs must be below p."""

    def __init__(self, modulus: int) -> None:
        if modulus < 3 or modulus % 2 == 0 or modulus.bit_length() > 63:
            raise ValueError(f"shares are modulo an odd number from 3 to 2^63, not {modulus}")
        self.modulus = modulus
        self.bits = modulus.bit_length()

    def _reduce_once(self, builder: CircuitBuilder, x: Word) -> Word:
        """x mod p for x < 2p on bits + 1 wires."""
        n = self.bits
        reduced, enough = add_with_carry(builder, x, builder.constant_word((1 << n + 1) - self.modulus, n + 1))
        return select_word(builder, enough, reduced[:n], x[:n])

    def recombine(self, builder: CircuitBuilder, a: Word, b: Word) -> Word:
        total, carry = add_with_carry(builder, a, b)
        return self._reduce_once(builder, [*total, carry])

    def minus(self, builder: CircuitBuilder, x: Word, r: Word) -> Word:
        inverted, borrow = add_with_carry(builder, complement(builder, x), r)  # ~(~x + r) = x - r; carry: x < r
        correction = [builder.and_(bit, borrow) for bit in builder.constant_word(self.modulus, self.bits)]
        return add(builder, complement(builder, inverted), correction)

    def negative(self, builder: CircuitBuilder, x: Word) -> Wire:
        return at_least(builder, x, builder.constant_word((self.modulus + 1) // 2, self.bits))

    def order(self, builder: CircuitBuilder, x: Word) -> Word:
        """x + (p-1)/2 mod p."""
        half = builder.constant_word((self.modulus - 1) // 2, self.bits)
        total, carry = add_with_carry(builder, x, half)
        return self._reduce_once(builder, [*total, carry])


# --- the circuits, over either ring ----------------------------------------------------------------------------------


def _inputs(builder: CircuitBuilder, ring: _Ring, count: int) -> tuple[list[Word], list[Word]]:
    """`count` garbler words and `count` evaluator words: the two parties' shares."""
    a = [builder.garbler_word(ring.bits) for _ in range(count)]
    b = [builder.evaluator_word(ring.bits) for _ in range(count)]
    return a, b


def _sign(ring: _Ring) -> Circuit:
    builder = CircuitBuilder()
    (a,), (b,) = _inputs(builder, ring, 1)
    builder.output_word([ring.negative(builder, ring.recombine(builder, a, b))])
    return builder.build()


def _relu(ring: _Ring) -> Circuit:
    builder = CircuitBuilder()
    (a,), (b,) = _inputs(builder, ring, 1)
    r = builder.garbler_word(ring.bits)
    x = ring.recombine(builder, a, b)
    positive = builder.not_(ring.negative(builder, x))
    builder.output_word(ring.minus(builder, [builder.and_(bit, positive) for bit in x], r))
    return builder.build()


def _best(builder: CircuitBuilder, ring: _Ring, xs: Sequence[Word]) -> tuple[Word, Word]:
    """(largest of xs, its index; the first among equals), as a tournament."""
    index_bits = max(1, (len(xs) - 1).bit_length())
    keyed = [(ring.order(builder, x), x, builder.constant_word(i, index_bits)) for i, x in enumerate(xs)]
    while len(keyed) > 1:
        winners = []
        for (k0, x0, i0), (k1, x1, i1) in zip(keyed[0::2], keyed[1::2], strict=False):
            first = at_least(builder, k0, k1)
            winners.append(
                (
                    select_word(builder, first, k0, k1),
                    select_word(builder, first, x0, x1),
                    select_word(builder, first, i0, i1),
                )
            )
        keyed = winners + keyed[2 * len(winners) :]
    return keyed[0][1], keyed[0][2]


def _maximum(ring: _Ring, count: int) -> Circuit:
    if not 2 <= count <= 16:
        raise ValueError(f"a maximum is of 2..16 numbers, not {count}")
    builder = CircuitBuilder()
    a, b = _inputs(builder, ring, count)
    r = builder.garbler_word(ring.bits)
    best, _ = _best(builder, ring, [ring.recombine(builder, s, t) for s, t in zip(a, b, strict=True)])
    builder.output_word(ring.minus(builder, best, r))
    return builder.build()


def _argmax(ring: _Ring, count: int) -> Circuit:
    if not 2 <= count <= 16:
        raise ValueError(f"an argmax is of 2..16 numbers, not {count}")
    builder = CircuitBuilder()
    a, b = _inputs(builder, ring, count)
    _, index = _best(builder, ring, [ring.recombine(builder, s, t) for s, t in zip(a, b, strict=True)])
    builder.output_word(index)
    return builder.build()


# --- what layers call ------------------------------------------------------------------------------------------------


@cache
def sign(width: int) -> Circuit:
    """Garbler a, evaluator b (width bits); output: 1 bit, a + b mod 2^width is negative. width - 1 ANDs.

    The shares' own top bits are XORed into the result outside the garbling, so width - 1 bits of b need labels.
    """
    return _sign(_PowerOfTwo(width))


@cache
def relu(width: int) -> Circuit:
    """Garbler a, r, evaluator b (width bits); output: max(a + b, 0) - r mod 2^width. 3 (width - 1) ANDs."""
    return _relu(_PowerOfTwo(width))


@cache
def maximum(width: int, count: int = 4) -> Circuit:
    """Garbler a_1.. a_count, r, evaluator b_1.. b_count; output: max(a_i + b_i), signed, - r mod 2^width.

    No headroom is needed. (3 count - 2) width + (width - 1) - count ANDs: for 4, 11 width - 5.
    """
    return _maximum(_PowerOfTwo(width), count)


@cache
def sign_mod(modulus: int) -> Circuit:
    """`sign` for shares modulo an odd number: 1 where a + b mod p > p / 2. Inputs are below p."""
    return _sign(_Prime(modulus))


@cache
def relu_mod(modulus: int) -> Circuit:
    """`relu` for shares modulo an odd number; output: the evaluator's share, below p. Inputs are below p."""
    return _relu(_Prime(modulus))


@cache
def maximum_mod(modulus: int, count: int = 4) -> Circuit:
    """`maximum` for shares modulo an odd number. Inputs are below p."""
    return _maximum(_Prime(modulus), count)


@cache
def argmax_mod(modulus: int, count: int = 2) -> Circuit:
    """Garbler a_1.. a_count, evaluator b_1.. b_count, below p; output: index of the signed maximum, the first among equals."""
    return _argmax(_Prime(modulus), count)
