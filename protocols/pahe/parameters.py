"""BFV parameter sets: a ring degree N and word-size primes whose product q stays within the 128-bit security table."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass, field

from bunet.models.errors import UsageError
from bunet.protocols.kernels.ring.ntt import Tables, tables

# Largest log2 q for 128-bit security with a ternary secret and error deviation 3.2: Homomorphic Encryption Standard
# (Albrecht et al., 2018), Table 1, column "ternary secret".
LIMITS = {2048: 54, 4096: 109, 8192: 218, 16384: 438}
# Any set within them is taken; the named ones keep newer, smaller estimates too, as a test holds.
MIN_PRIME_BITS = 30
MAX_PRIME_BITS = 50  # 4 p < 2^52: the lazy range of the 52-bit kernels


class ParameterError(UsageError):
    """Parameters that are not secure, or that the kernels do not serve."""


def is_prime(n: int) -> bool:
    """Deterministic Miller-Rabin for n < 3.3e24 (Sorenson and Webster, 2015: the first 13 primes as bases)."""
    bases = (2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41)
    if n < 2:
        return False
    for p in bases:
        if n % p == 0:
            return n == p
    odd, twos = n - 1, 0
    while odd % 2 == 0:
        odd //= 2
        twos += 1
    for base in bases:
        x = pow(base, odd, n)
        if x in (1, n - 1):
            continue
        for _ in range(twos - 1):
            x = x * x % n
            if x == n - 1:
                break
        else:
            return False
    return True


@functools.cache
def ntt_primes(degree: int, bits: int, count: int = 1) -> tuple[int, ...]:
    """The `count` largest primes of exactly `bits` bits that are 1 modulo 2 * degree, falling."""
    primes: list[int] = []
    candidate = (1 << bits) + 1 - 2 * degree
    while len(primes) < count and candidate > 1 << (bits - 1):
        if is_prime(candidate):
            primes.append(candidate)
        candidate -= 2 * degree
    if len(primes) < count:
        raise ParameterError(f"there are not {count} primes of {bits} bits that are 1 modulo {2 * degree}")
    return tuple(primes)


@dataclass(frozen=True)
class Parameters:
    """A ring Z_q[X]/(X^degree + 1) with q the product of `primes`; checked on construction and immutable.

    degree: N, 2048 to 16384. primes: distinct, 30 to 50 bits, 1 modulo 2N. Raises ParameterError for anything outside
    the security table.
    """

    degree: int
    primes: tuple[int, ...]
    name: str = field(default="", compare=False)

    def __post_init__(self) -> None:
        if self.degree not in LIMITS:
            known = ", ".join(str(n) for n in LIMITS)
            raise ParameterError(f"no 128-bit security limit is known for N={self.degree}; known degrees are {known}")
        if not self.primes or len(set(self.primes)) != len(self.primes):
            raise ParameterError("a parameter set needs one or more distinct primes")
        bits = self.modulus.bit_length()
        if bits > LIMITS[self.degree]:
            raise ParameterError(
                f"N={self.degree} with log q = {bits} is below 128-bit security: the limit for this N is log q <= "
                f"{LIMITS[self.degree]} (Homomorphic Encryption Standard, ternary secret)"
            )
        for prime in self.primes:
            if not MIN_PRIME_BITS <= prime.bit_length() <= MAX_PRIME_BITS:
                raise ParameterError(f"prime {prime} does not have {MIN_PRIME_BITS} to {MAX_PRIME_BITS} bits")
            if prime % (2 * self.degree) != 1 or not is_prime(prime):
                raise ParameterError(f"{prime} is not a prime that is 1 modulo {2 * self.degree}")
        if not self.name:
            object.__setattr__(self, "name", f"n{self.degree}-q{bits}")

    @functools.cached_property
    def modulus(self) -> int:
        """q, the product of the primes."""
        return math.prod(self.primes)

    @property
    def limbs(self) -> int:
        """Number of primes, L in the array shapes."""
        return len(self.primes)

    @functools.cached_property
    def residue_bits(self) -> int:
        """Bits in which a residue of any limb fits; residues travel in this many bits."""
        return max(prime.bit_length() for prime in self.primes)

    @property
    def tables(self) -> Tables:
        """NTT tables of this set; built once for each (N, prime) and shared."""
        return tables(self.degree, self.primes)

    def drop_last(self) -> Parameters:
        """The set after one modulus switch: without its last prime."""
        if self.limbs == 1:
            raise ParameterError(f"{self.name} has a single prime, there is nothing to switch down to")
        return Parameters(self.degree, self.primes[:-1])


# (degree, bits of each prime, number of primes), by name
SETS = {
    "n2048-q50": (2048, 50, 1),
    "n4096-q94": (4096, 47, 2),
    "n4096-q100": (4096, 50, 2),
    "n4096-q105": (4096, 35, 3),
    "n8192-q141": (8192, 47, 3),
    "n8192-q188": (8192, 47, 4),
    "n8192-q200": (8192, 50, 4),
    "n16384-q282": (16384, 47, 6),
    "n16384-q376": (16384, 47, 8),
}


@functools.cache
def get(name: str) -> Parameters:
    """The named set, such as "n4096-q94" (N=4096, two primes of 47 bits); LookupError names the known ones."""
    if name not in SETS:
        raise LookupError(f"no PAHE parameter set {name!r}; known: {', '.join(SETS)}")
    degree, bits, count = SETS[name]
    return Parameters(degree, ntt_primes(degree, bits, count), name)
