"""Products of what Alice knows with what Bob knows, from PAHE with slots (Rathee, Schneider, Shukla, CANS 2019).

Alice encrypts u, Bob multiplies slot by slot with v, adds a mask r and replies; the sum u*v + r is an integer that must
not wrap, so the plaintext modulus is a product of primes t_1 t_2 ... and every number travels modulo each of them. r is
uniform in [0, 2^B) with 2^B at least 2^s times any u*v, s the statistical security (40 bits): what Alice decrypts is
within 2^-s of independent of v. Modulo 2^width, u*v + r is her share and -r Bob's.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from math import prod

import numpy as np

from bunet.protocols.ass.share import dtype_of, reduce_to
from bunet.protocols.blocks import ranges
from bunet.protocols.context import Context, Role
from bunet.protocols.cost import Cost
from bunet.protocols.kernels.ring import ntt, rlwe
from bunet.protocols.pahe import bfv, encoding, parameters, reply
from bunet.protocols.pahe.parameters import ParameterError, Parameters
from bunet.protocols.random import Random
from bunet.protocols.security import DECLARED, Security
from bunet.protocols.steps import ArraySpec, Receive, Send, Steps

SETS = ("n4096-q94", "n4096-q100", "n8192-q141", "n8192-q188", "n8192-q200")
_MESSAGE = 2 << 20
_MAX_PRIMES = 8
_SLOT_PRIME_BITS = range(20, 50)


@dataclass(frozen=True)
class Plan:
    """Parameter set and plaintext primes of sums of `terms` products of width-bit numbers. Public."""

    terms: int
    width: int
    set_name: str
    primes: tuple[int, ...]
    security: Security = DECLARED

    @cached_property
    def parameters(self) -> Parameters:
        return parameters.get(self.set_name)

    @property
    def mask_bits(self) -> int:
        """B: r is uniform below 2^B."""
        return _mask_bits(self.terms, self.width, self.security)

    def noise_bits(self, t: int) -> int:
        """Bound of the noise after the products modulo t, before flooding."""
        return _noise_bits(self.parameters, self.terms, t)

    def batches(self, count: int) -> Iterator[range]:
        """Products of each message: whole ciphertexts, but for the last."""
        degree = self.parameters.degree
        return ranges(count, degree * max(1, _MESSAGE // self.ciphertext_bytes))

    @property
    def ciphertext_bytes(self) -> int:
        """Bytes of a request for one polynomial's worth of slots."""
        return len(self.primes) * bfv.request_bytes(self.parameters, self.terms)

    def polynomials(self, batch: range) -> int:
        """Polynomials that hold a batch, one number a slot."""
        return -(-len(batch) // self.parameters.degree)

    def request_specs(self, batch: range) -> tuple[ArraySpec, ...]:
        """dtypes and shapes of a request: c0 and a seed for each plaintext prime."""
        return len(self.primes) * bfv.request_specs(self.parameters, self.terms * self.polynomials(batch))

    def reply_specs(self, batch: range) -> tuple[ArraySpec, ...]:
        """dtypes and shapes of a reply: c0 and c1 for each plaintext prime."""
        params, n = self.parameters, self.polynomials(batch)
        answers = (
            reply.reply_specs(params, n, params.degree, encoding.width_of(t), self.noise_bits(t), self.security)
            for t in self.primes
        )
        return tuple(array for answer in answers for array in answer)


def _mask_bits(terms: int, width: int, security: Security) -> int:
    return (terms << 2 * width).bit_length() + security.statistical


def _noise_bits(params: Parameters, terms: int, t: int) -> int:
    """Bob's factor has N centred coefficients of at most t/2."""
    return bfv.noise_bits(terms * params.degree * (t // 2))


def _slot_primes(params: Parameters, bits: int, count: int) -> tuple[int, ...]:
    """Plaintext primes with slots that differ from the primes of q; ParameterError if there are too few."""
    candidates = parameters.ntt_primes(params.degree, bits, count + params.limbs)
    return tuple(t for t in candidates if t not in params.primes)[:count]


@cache
def plan_of(terms: int, width: int, security: Security = DECLARED) -> Plan:
    """The cheapest plan in bytes; ParameterError where no parameter set has room."""
    if not (1 <= terms <= 1024 and 1 <= width <= 64):
        raise ValueError(f"{terms} products of {width}-bit numbers are outside 1..1024 of 1..64 bits")
    target = (1 << _mask_bits(terms, width, security)) + (terms << 2 * width)  # the sum is below it
    best: tuple[float, Plan] | None = None
    for name in SETS:
        params = parameters.get(name)
        for count in range(1, _MAX_PRIMES + 1):
            primes = _fitting_primes(params, terms, count, target, security)
            if primes is None:
                continue
            candidate = Plan(terms, width, name, primes, security)
            answers = sum(array.nbytes for array in candidate.reply_specs(range(1)))
            price = (count * bfv.request_bytes(params, terms) + answers) / params.degree
            if best is None or price < best[0]:
                best = price, candidate
    if best is None:
        raise ParameterError(f"no PAHE parameter set has slots for sums of {terms} products of {width}-bit numbers")
    return best[1]


def _fitting_primes(params: Parameters, terms: int, count: int, target: int, security: Security) -> tuple[int, ...] | None:
    """`count` smallest plaintext primes whose product reaches the target and whose noise fits, or None."""
    for bits in _SLOT_PRIME_BITS:
        if bits * count < target.bit_length() - 1:
            continue
        try:
            primes = _slot_primes(params, bits, count)
        except ParameterError:
            continue
        if len(primes) == count and prod(primes) >= target:
            limit = min(reply.max_noise_bits(params, encoding.width_of(t), security) for t in primes)
            return primes if limit >= max(_noise_bits(params, terms, t) for t in primes) else None
    return None


def alice(ctx: Context, u: np.ndarray, width: int) -> Steps[np.ndarray]:
    """Alice's share (n,) of sum_k u[k] v[k] modulo 2^width. u: (terms, n) uint32 or uint64, below 2^width."""
    terms, count = u.shape
    plan = plan_of(terms, width, ctx.security)
    params, key = plan.parameters, ctx.pahe[plan.set_name]
    for batch in plan.batches(count):
        slots = _slots(u[:, batch.start : batch.stop], plan, batch)
        arrays: list[np.ndarray] = []
        for t in plan.primes:
            messages = encoding.encode_slots(_modulo(slots, t), t)
            arrays += bfv.request_arrays(params, *bfv.encrypt(key, messages, t, ctx.random))
        yield Send("slots-request", tuple(arrays))
    result = np.empty(count, dtype_of(width))
    for batch in plan.batches(count):
        answers = yield Receive("slots-reply", plan.reply_specs(batch))
        positions = np.arange(params.degree)
        digits = []
        for k, t in enumerate(plan.primes):
            answer, n = answers[2 * k : 2 * k + 2], plan.polynomials(batch)
            opened = reply.open_reply(key, answer, n, positions, t, plan.noise_bits(t), plan.security)
            digits.append(encoding.decode_slots(opened, t))
        values = recombine(digits, plan.primes).reshape(-1)[: len(batch)]
        result[batch.start : batch.stop] = reduce_to(values, width)
    return result


def bob(ctx: Context, v: np.ndarray, width: int) -> Steps[np.ndarray]:
    """Bob's share (n,) of sum_k u[k] v[k] modulo 2^width. v: (terms, n), below 2^width."""
    terms, count = v.shape
    plan = plan_of(terms, width, ctx.security)
    params, key = plan.parameters, ctx.pahe[plan.set_name]
    result = np.empty(count, dtype_of(width))
    for batch in plan.batches(count):
        n = plan.polynomials(batch)
        slots = _slots(v[:, batch.start : batch.stop], plan, batch)
        mask = Mask.draw(ctx.random, n, params.degree, plan.mask_bits)
        arrays = yield Receive("slots-request", plan.request_specs(batch))
        answers: list[np.ndarray] = []
        for k, t in enumerate(plan.primes):
            ciphertexts = bfv.open_request(params, arrays[2 * k : 2 * k + 2], n * terms)
            factors = encoding.centred(encoding.encode_slots(_modulo(slots, t), t), t)
            products = bfv.multiply_plain(params, ciphertexts, bfv.transform(params, factors))
            products = products.reshape(terms, n, *products.shape[1:])
            total = products[0]
            for more in products[1:]:
                total = bfv.add(params, total, more)
            masks = encoding.encode_slots(mask.modulo(t), t)
            positions = np.arange(params.degree)
            answers += reply.reply(key, total, masks, positions, t, plan.noise_bits(t), ctx.random, plan.security)
        yield Send("slots-reply", tuple(answers))
        result[batch.start : batch.stop] = reduce_to(np.negative(mask.low.reshape(-1)[: len(batch)]), width)
    return result


def _slots(values: np.ndarray, plan: Plan, batch: range) -> np.ndarray:
    """(terms, n) as slots uint64 (terms * polynomials, N), zero beyond the end."""
    n, degree = plan.polynomials(batch), plan.parameters.degree
    out = np.zeros((len(values), n * degree), np.uint64)
    out[:, : values.shape[1]] = values
    return out.reshape(-1, degree)


@dataclass(frozen=True)
class Mask:
    """Uniform integers below 2^(64 * len(words)), little-endian words uint64 (n, N)."""

    words: tuple[np.ndarray, ...]

    @classmethod
    def draw(cls, random: Random, n: int, degree: int, bits: int) -> Mask:
        """Uniform below 2^bits."""
        widths = [min(64, bits - start) for start in range(0, bits, 64)]
        return cls(tuple(random.uniform((n, degree), width) for width in widths))

    @property
    def low(self) -> np.ndarray:
        """The integers modulo 2^64."""
        return self.words[0]

    def modulo(self, t: int) -> np.ndarray:
        """uint64 (n, N), the integers modulo t."""
        tables = _tables(self.low.shape[1], t)
        radix = np.full((1, 1, self.low.shape[1]), (1 << 64) % t, np.uint64)
        total = rlwe.reduce(self.words[-1], tables)
        for word in self.words[-2::-1]:
            total = rlwe.add(rlwe.multiply(total, radix, tables), rlwe.reduce(word, tables), tables)
        return total[:, 0]


def _modulo(slots: np.ndarray, t: int) -> np.ndarray:
    """Secret integers uint64 (n, N) modulo t, without a division, whose time depends on its operands on some processors."""
    return rlwe.reduce(slots, _tables(slots.shape[1], t))[:, 0]


def recombine(residues: list[np.ndarray], primes: tuple[int, ...]) -> np.ndarray:
    """x mod 2^64, uint64 (n, N), of 0 <= x < prod(primes) from x mod each prime (Garner's mixed radix)."""
    degree = residues[0].shape[1]
    digits: list[np.ndarray] = []
    for t, x in zip(primes, residues, strict=True):
        tables = _tables(degree, t)
        value = x[:, None]
        for digit, smaller in zip(digits, primes, strict=False):
            value = rlwe.subtract(value, rlwe.reduce(digit, tables), tables)
            value = rlwe.multiply(value, np.full((1, 1, degree), pow(smaller, -1, t), np.uint64), tables)
        digits.append(value[:, 0])
    result, radix = np.zeros_like(digits[0]), 1
    for digit, t in zip(digits, primes, strict=True):
        result += digit * np.uint64(radix)
        radix = radix * t % (1 << 64)
    return result


def _tables(degree: int, t: int) -> ntt.Tables:
    return ntt.tables(degree, (t,))


def cost(terms: int, count: int, width: int, ot: str = "") -> Cost:
    """Exact cost of both halves: requests of all batches, then replies. Transforms in units of 4096 coefficients.

    ot: the OT extension, as in `gilboa.cost`; there are no OTs here.
    """
    plan = plan_of(terms, width)
    return Cost().beside(*(_batch_cost(plan, batch) for batch in plan.batches(count)))


def _batch_cost(plan: Plan, batch: range) -> Cost:
    params, primes, polynomials = plan.parameters, len(plan.primes), plan.polynomials(batch)
    # term: encrypting and Bob's factor, with a slot transform each; reply: as in a convolution, two slot transforms
    each = primes * (plan.terms * (2 * params.limbs + 2) + 3 * params.limbs + 4)
    work = {
        "ntt": params.degree // 4096 * each * polynomials,
        "multiply_add": 2 * primes * plan.terms * params.limbs * params.degree * polynomials,
    }
    request = Cost.flight(Role.ALICE, sum(array.nbytes for array in plan.request_specs(batch)))
    return request.then(Cost.flight(Role.BOB, sum(array.nbytes for array in plan.reply_specs(batch)), work))
