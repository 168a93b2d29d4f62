"""The security table is enforced, and the named sets are inside it."""

import dataclasses

import pytest

from bunet.protocols.pahe import parameters
from bunet.protocols.pahe.parameters import LIMITS, ParameterError, Parameters, ntt_primes

# Largest log2 q by newer estimates (Bossuat et al., "Security guidelines for implementing homomorphic encryption", IACR
# Communications in Cryptology 1(4), 2025, classical attacks).
CAUTIOUS_LIMITS = {2048: 53, 4096: 106, 8192: 214, 16384: 430}


@pytest.mark.parametrize("name", parameters.SETS)
def test_named_sets_are_secure(name: str) -> None:
    params = parameters.get(name)
    degree, bits = name[1:].split("-q")
    assert (params.degree, params.modulus.bit_length()) == (int(degree), int(bits))
    assert int(bits) <= CAUTIOUS_LIMITS[params.degree] <= LIMITS[params.degree]
    assert all(q % (2 * params.degree) == 1 for q in params.primes)
    assert parameters.get(name) is params
    assert params.name == name


def test_a_widely_copied_insecure_set_is_refused() -> None:
    prime = ntt_primes(2048, 60)
    with pytest.raises(ParameterError, match=r"N=2048 with log q = 60 .* limit for this N is log q <= 54"):
        Parameters(2048, prime)
    with pytest.raises(ParameterError, match=r"N=2048 with log q = 60 .* log q <= 54"):
        Parameters(2048, ntt_primes(2048, 30, 2))


@pytest.mark.parametrize(
    ("degree", "primes", "reason"),
    [
        (4096, ntt_primes(4096, 37, 3), "log q = 111 .* <= 109"),
        (1024, ntt_primes(2048, 30), "N=1024"),
        (32768, ntt_primes(16384, 30), "N=32768"),
        (4096, (), "one or more"),
        (4096, ntt_primes(4096, 40) * 2, "distinct"),
        (4096, ntt_primes(4096, 29), "30 to 50 bits"),
        (4096, ntt_primes(4096, 51), "30 to 50 bits"),
        (4096, (ntt_primes(4096, 40)[0] + 8192,), "not a prime"),
        (4096, (ntt_primes(2048, 40, 3)[1],), "1 modulo 8192"),
    ],
)
def test_refusals(degree: int, primes: tuple[int, ...], reason: str) -> None:
    with pytest.raises(ParameterError, match=reason):
        Parameters(degree, primes)


def test_the_limits_themselves_are_allowed() -> None:
    assert Parameters(4096, ntt_primes(4096, 36, 2) + ntt_primes(4096, 37)).modulus.bit_length() == 109


def test_immutable() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        parameters.get("n4096-q94").degree = 2048  # type: ignore[misc]


def test_an_unknown_name_lists_the_known() -> None:
    with pytest.raises(LookupError, match=r"n4096-q95.*known: n2048-q50, n4096-q94"):
        parameters.get("n4096-q95")


def test_primality_of_the_known() -> None:
    primes = {n for n in range(2, 500) if all(n % d for d in range(2, n))}
    assert {n for n in range(500) if parameters.is_prime(n)} == primes
    assert not parameters.is_prime(3215031751)  # a strong pseudoprime to the bases 2, 3, 5, 7
    assert not parameters.is_prime(3825123056546413051)  # and to the first nine primes
    assert parameters.is_prime((1 << 61) - 1)


def test_levels() -> None:
    params = parameters.get("n8192-q141")
    assert params.drop_last().primes == params.primes[:2]
    with pytest.raises(ParameterError, match="single prime"):
        parameters.get("n2048-q50").drop_last()
