"""BFV and Paillier give the same results behind the same interface."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from bunet.protocols.pahe import parameters
from bunet.protocols.pahe.additive import BfvSlots
from bunet.protocols.pahe.paillier import Paillier, PaillierUnavailable
from bunet.protocols.random import Random

(T,) = parameters.ntt_primes(4096, 20)


# Two primes of 1536 bits for tests only: making a key takes seconds.
FIRST = int(
    "d69b5b823c62b64ca7e5f8456a13c8d5d06f4ece522a58bc2b8a784dcf3609b0f64551fcd6f07823cb87971cfb914464"
    "25da18286b3ab1ef935e0cbd7a69f68a3946ca64ff78d93ca61090a437cbb6b3d2ca0d488f5f9ccf3059608368b27693"
    "43bb00d0ce7790a53b91256b370c887b24791a5539a6fbfb70c5870e8c91ae5dab71fc4c8a1c4d62b9202b36ee7c07dd"
    "398a0907a37037bd8c3959d6af573608536c351ae15e5f5e3dc37bcc5dea8ab641e70fc0431a088a1d684aef2ebf4ad3",
    16,
)
SECOND = int(
    "f41c0a3e67c3146720fa1b9504927ece5f5daefadaad467dddfd2ff04ba039bec75de8c1b7c3ae5252091267a736a9bf"
    "57001d80e82668b3cb3cd09e2f6a43cbbee98bf120e8906382754c6be52860ac5dbc65a1ca4dbee7576267d8fd3367e1"
    "58e2791934fdd9cfdd6d0e892cb6ca4894abc58559de0ec04d51bc2801bad291112f2dfa31205df3f5f9db109460c8b8"
    "5067d7dc27f70781c2e4ef903ee9f26a26eab90d2b0be7cd188983eae071bbcce8dfe9c2f48b20a7489b42080b473f0d",
    16,
)


def bfv() -> BfvSlots:
    return BfvSlots(parameters.get("n4096-q100"), T, Random())


def paillier() -> Paillier:
    pytest.importorskip("phe")
    return Paillier(T, primes=(FIRST, SECOND))


@pytest.mark.slow
def test_a_fresh_paillier_key() -> None:
    pytest.importorskip("phe")
    scheme = Paillier(T)
    assert scheme.decrypt(scheme.encrypt(np.array([T - 1], np.uint64)), 1).tolist() == [T - 1]


@pytest.mark.parametrize("make", [bfv, paillier])
def test_a_linear_combination(make: Callable[..., Any]) -> None:
    scheme = make()
    x, y, w, b = np.random.default_rng(0).integers(0, T, (4, 1), dtype=np.uint64)
    a = scheme.multiply_plain(scheme.encrypt(x), w)
    result = scheme.decrypt(scheme.add_plain(scheme.add(a, scheme.encrypt(y)), b), 1)
    assert np.array_equal(result, (x * w + y + b) % np.uint64(T))


def test_weak_paillier_keys_are_refused() -> None:
    with pytest.raises(ValueError, match=r"2048 bits .* at least 3072"):
        Paillier(T, 2048)
    with pytest.raises(ValueError, match=r"2000 bits .* at least 3072"):
        Paillier(T, primes=((1 << 999) + 1, (1 << 1000) + 1))
    with pytest.raises(ValueError, match="outside"):
        Paillier(1)


def test_paillier_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "phe", None)
    with pytest.raises(PaillierUnavailable, match=r"pip install '\.\[paillier\]'"):
        Paillier(T)
