"""Comparisons of lattice kernels with prototypes, see `prototype_cases`: transforms, BFV and multiply-accumulate."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import cache, partial
from types import SimpleNamespace

import numpy as np

from bunet.experiments.bench.case import Call, Case, aligned, words
from bunet.experiments.bench.cases import BATCH, LARGE, accumulate
from bunet.experiments.bench.prototypes import expect, with_prototype
from bunet.protocols.kernels.machine import foreign
from bunet.protocols.kernels.ring import ntt, rlwe
from bunet.protocols.pahe import bfv, parameters
from bunet.protocols.random import Random

BFV_FLOOR = 1.0  # the prototype scales in scalar code: better is asked for
PRIME_BITS = 47
# degree -> levels of the prototype's strided passes, and of its last one before the three within a register: its fastest
PLANS = {4096: ([3, 2], 4), 8192: ([3, 3], 4)}


def lattice_cases(p: SimpleNamespace) -> Iterator[Case]:
    """All of them, in the order of the table."""
    limb = cache(partial(Limb, p))  # compiles transforms: once a degree and prime
    yield from _ntt(limb)
    yield from _bfv(p, limb)
    yield from _accumulate(p)


class Limb:
    """The prototype's tables and transforms for one 47-bit prime, the number `index` of those below 2^47."""

    def __init__(self, p: SimpleNamespace, degree: int, index: int = 0) -> None:
        scalar, plan = p.ntt_scalar, PLANS[degree]
        self.q: int = scalar.prime(PRIME_BITS, degree, index)
        factors, inverses = scalar.tables(self.q, degree)
        self.factors, self.shoup = aligned(degree), aligned(degree)
        self.factors[:], self.shoup[:] = factors, scalar.shoup(factors, self.q, 52)
        self.inverses, self.inverse_shoup, self.scaling = p.bfv.isetup(self.q, degree, inverses)
        self.constants = np.array([self.q, (1 << 52) - self.q, 2 * self.q, (1 << 52) // self.q], np.uint64)
        bound = (1 << 52) // self.q  # lazy values are below so many q
        self.transform, self.transform_back = p.ntt_ifma.make_ntt(degree, bound, *plan), p.bfv.make_intt(degree, bound, *plan)

    def forward(self, a: np.ndarray) -> None:
        self.transform(a, self.factors, self.shoup, self.constants)

    def inverse(self, a: np.ndarray) -> None:
        self.transform_back(a, self.inverses, self.inverse_shoup, self.constants, self.scaling)

    def many(self, polys: np.ndarray, inverse: bool) -> Call:
        """Transforms of all rows in place, in one compiled call."""
        one, back = self.transform, self.transform_back

        def forward_all(polys, factors, shoup, constants):  # type: ignore[no-untyped-def]
            for i in range(polys.shape[0]):
                one(polys[i], factors, shoup, constants)

        def inverse_all(polys, factors, shoup, constants, scaling):  # type: ignore[no-untyped-def]
            for i in range(polys.shape[0]):
                back(polys[i], factors, shoup, constants, scaling)

        if inverse:
            function = foreign.compiled(inverse_all)
            return lambda: function(polys, self.inverses, self.inverse_shoup, self.constants, self.scaling)
        function = foreign.compiled(forward_all)
        return lambda: function(polys, self.factors, self.shoup, self.constants)


# --- transforms ------------------------------------------------------------------------------------------------------


def _ntt(limb: Callable[..., Limb]) -> Iterator[Case]:
    for label, inverse in (("forward", False), ("inverse", True)):
        for degree in PLANS:
            name = f"ntt.{label}.n{degree}.q{PRIME_BITS}"
            prepare = partial(_transform, limb, name, degree, inverse)
            yield with_prototype(name, BATCH, "us", prepare, opponent_items=BATCH)


def _transform(limb: Callable[..., Limb], name: str, degree: int, inverse: bool) -> tuple[Call, Call]:
    theirs = limb(degree)
    tables = ntt.tables(degree, (theirs.q,))
    polys, their_polys = aligned(BATCH, 1, degree), aligned(BATCH, degree)
    before = words(BATCH, degree) % np.uint64(theirs.q)
    polys[:, 0] = their_polys[:] = before
    ntt.forward(polys, tables)
    theirs.many(their_polys, inverse=False)()
    # values at the same points, in an order and by a root of unity of each side's own
    expect(np.array_equal(np.sort(polys[:, 0]), np.sort(their_polys)), name)
    ntt.inverse(polys, tables)
    theirs.many(their_polys, inverse=True)()
    expect(np.array_equal(polys[:, 0], before) and np.array_equal(their_polys, before), name)
    ours = ntt.inverse if inverse else ntt.forward
    return lambda: ours(polys, tables), theirs.many(their_polys, inverse)


# --- BFV -------------------------------------------------------------------------------------------------------------

DEGREE, SHARE_BITS = 4096, 41


def _bfv(p: SimpleNamespace, limb: Callable[..., Limb]) -> Iterator[Case]:
    """Two 47-bit limbs, secret-key encryption; the prototype takes one message a call, ours a batch."""
    for operation in ("encrypt", "decrypt"):
        for batch in (1, 8, 64):
            name = f"bfv.{operation}.n4096-q94.b{batch}"
            yield with_prototype(name, batch, "us", partial(_bfv_of, p, limb, name, operation, batch), floor=BFV_FLOOR)


def _bfv_of(p: SimpleNamespace, limb: Callable[..., Limb], name: str, operation: str, batch: int) -> tuple[Call, Call]:
    theirs = _TheirBfv(p, [limb(DEGREE, 0), limb(DEGREE, 1)])
    theirs.encrypt()
    theirs.decrypt()
    expect(np.array_equal(theirs.message, theirs.decrypted), name)
    params = parameters.Parameters(DEGREE, tuple(limb.q for limb in theirs.limbs))
    random, t = Random(bytes(32)), 1 << SHARE_BITS
    key = bfv.SecretKey.generate(params, random)
    messages = words(batch, DEGREE) % np.uint64(t)
    ciphertexts = bfv.expand_request(params, *bfv.encrypt(key, messages, t, random))
    expect(np.array_equal(bfv.decrypt(key, ciphertexts, t), messages), name)
    if operation == "encrypt":
        return lambda: bfv.encrypt(key, messages, t, random), theirs.encrypt
    return lambda: bfv.decrypt(key, ciphertexts, t), theirs.decrypt


class _TheirBfv:
    """The prototype's encryption and decryption of one message, put together from its parts as its own main part does."""

    def __init__(self, p: SimpleNamespace, limbs: list[Limb]) -> None:
        self.p, self.limbs, t = p, limbs, 1 << SHARE_BITS
        random = np.random.default_rng(1)
        secret = random.integers(-1, 2, DEGREE)
        self.secrets = [self._secret(limb, secret) for limb in limbs]
        self.message, self.decrypted = aligned(DEGREE), aligned(DEGREE)
        self.message[:] = random.integers(0, t, DEGREE, np.uint64)
        self._schedule, self._random = p.simd.expand_key(bytes(16)), aligned(DEGREE)
        self._errors = np.zeros(DEGREE, np.int64)
        self._ciphertext = [(aligned(DEGREE), aligned(DEGREE)) for _ in limbs]
        self._phases = [aligned(DEGREE) for _ in limbs]
        q0, q1 = (limb.q for limb in limbs)
        delta = (q0 * q1 + t // 2) // t
        self._deltas = [(np.uint64(delta % q), np.uint64((delta % q << 52) // q)) for q in (q0, q1)]
        basis = [(pow(other, -1, q), q) for q, other in ((q0, q1), (q1, q0))]
        parts = [(np.uint64(g), np.uint64((g << 64) // q)) for g, q in basis]
        fractions = [np.uint64((t << 64) // q) for q in (q0, q1)]
        zero = np.uint64(0)
        self._scale = (
            np.uint64(q0),
            np.uint64(q1),
            *parts[0],
            *parts[1],
            fractions[0],
            zero,
            fractions[1],
            zero,
            np.uint64(t - 1),
        )

    def _secret(self, limb: Limb, secret: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        values, shoup = aligned(DEGREE), aligned(DEGREE)
        values[:] = np.where(secret < 0, limb.q - 1, secret)
        limb.forward(values)
        shoup[:] = self.p.ntt_scalar.shoup(values.tolist(), limb.q, 52)
        return values, shoup

    def encrypt(self) -> None:
        bfv, ctr, n, zero = self.p.bfv, self.p.aes.ctr512, DEGREE, np.uint64(0)
        ctr(self._random, self._schedule, 7, n // 2)
        bfv.sample_cbd(self._random, self._errors, n)
        for i, limb in enumerate(self.limbs):
            (c0, c1), q = self._ciphertext[i], np.uint64(limb.q)
            while True:
                ctr(c1, self._schedule, 1000 + i * n, n // 2)
                if not bfv.unif(c1, c1, n, np.uint64((1 << PRIME_BITS) - 1), q):
                    break
            bfv.addmsg(self._errors, self.message, c0, n, q, zero)
            bfv.enc_comb(c0, self.message, n, limb.constants, *self._deltas[i])
            limb.forward(c0)
            bfv.c0_comb(c0, c1, *self.secrets[i], n, limb.constants)

    def decrypt(self) -> None:
        for (c0, c1), limb, secret, phase in zip(self._ciphertext, self.limbs, self.secrets, self._phases, strict=True):
            self.p.bfv.c0_add(c0, c1, *secret, phase, DEGREE, limb.constants)
            limb.inverse(phase)
        self.p.bfv.scale(*self._phases, self.decrypted, DEGREE, *self._scale)


# --- multiply-accumulate ---------------------------------------------------------------------------------------------


CACHED_SHAPE = (16, 64, 16)  # ciphertexts a weight is used for, inputs, outputs: a layer in the middle of the network
STREAMED_SHAPE = (1, 32, LARGE >> 20)  # as `rlwe.accumulate.memory`: LARGE bytes of weights, each used once


def _accumulate(p: SimpleNamespace) -> Iterator[Case]:
    """Weights in cache, the prototype where all it reads is there too: no layer of ours is as small. Weights streamed."""
    for terms, degree in ((8, 256), (8, 1024), (32, 1024)):
        name = f"rlwe.accumulate.cached{24 * terms * degree >> 10}K"
        theirs = _TheirProducts(p, terms, degree, sets=1, rounds=max(1, (1 << 17) // (terms * degree)))
        yield _products(name, CACHED_SHAPE, theirs)
    theirs = _TheirProducts(p, 256, 4096, sets=-(-LARGE // (24 * 256 * 4096)), rounds=1)
    yield _products("rlwe.accumulate.streamed", STREAMED_SHAPE, theirs)


def _products(name: str, shape: tuple[int, int, int], theirs: _TheirProducts) -> Case:
    def prepare() -> tuple[Call, Call]:
        expect(theirs.agrees(), name)
        return accumulate(*shape), theirs.prepare()

    return with_prototype(name, math.prod(shape) * 2 * 4096, "G/s", prepare, opponent_items=theirs.products)


class _TheirProducts:
    """`rounds` times over `sets` sets of `terms` ciphertexts times plaintexts of `degree`, each set summed up."""

    def __init__(self, p: SimpleNamespace, terms: int, degree: int, sets: int, rounds: int) -> None:
        self.p, self.terms, self.degree, self.sets, self.rounds = p, terms, degree, sets, rounds
        self.products = 2 * terms * degree * sets * rounds
        self.q: int = p.ntt_scalar.prime(PRIME_BITS, 4096)

    def prepare(self) -> Call:
        multiply, terms, degree, q = self.p.multiply_accumulate.mac_ifma, self.terms, self.degree, np.uint64(self.q)
        ciphertexts, plain = aligned(self.sets, terms, 2, degree), aligned(self.sets, terms, degree)
        out = aligned(2, degree)
        for array in (ciphertexts, plain):
            array[:] = words(*array.shape) % q
        constants, rounds = self.p.multiply_accumulate.consts(self.q), self.rounds

        def repeat(ciphertexts, plain, out, terms, degree, constants, rounds):  # type: ignore[no-untyped-def]
            for _ in range(rounds):
                for i in range(ciphertexts.shape[0]):
                    multiply(ciphertexts[i], plain[i], out, terms, degree, constants)

        function = foreign.compiled(repeat)
        return lambda: function(ciphertexts, plain, out, terms, degree, constants, rounds)

    def agrees(self) -> bool:
        """Whether one sum of 16 products of degree 4096 is the same as ours."""
        terms, degree, q = 16, 4096, np.uint64(self.q)
        ciphertexts, plain, out = aligned(terms, 2, degree), aligned(terms, degree), aligned(2, degree)
        for array in (ciphertexts, plain):
            array[:] = words(*array.shape) % q
        module = self.p.multiply_accumulate
        module.mac_ifma(ciphertexts, plain, out, terms, degree, module.consts(self.q))
        ours = rlwe.multiply_accumulate(
            ciphertexts.reshape(1, terms, 2, 1, degree), plain.reshape(terms, 1, 1, degree), ntt.tables(degree, (self.q,))
        )
        return np.array_equal(ours.reshape(2, degree), out)
