"""Bob's masked replies: exact in the worst case, and hiding all but the masked plaintext."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bunet.protocols.kernels.ring import ntt, rlwe
from bunet.protocols.pahe import bfv, encoding, parameters, reply, wire
from bunet.protocols.pahe.keys import PublicKey, SecretKey
from bunet.protocols.pahe.parameters import ParameterError
from bunet.protocols.random import Random
from bunet.protocols.security import DECLARED
from bunet.protocols.steps import ProtocolError

PARAMS = parameters.get("n4096-q94")
RANDOM = Random(b"tests of replies")
KEY = SecretKey.generate(PARAMS, RANDOM)
PUBLIC = KEY.public_key(RANDOM)
DEGREE = PARAMS.degree


def exchange(
    accumulators: np.ndarray,
    masks: np.ndarray,
    positions: np.ndarray,
    t: int,
    noise_bits: int,
    key: SecretKey = KEY,
    public: PublicKey = PUBLIC,
    random: Any = RANDOM,
) -> np.ndarray:
    arrays = reply.reply(public, accumulators, masks, positions, t, noise_bits, random)
    n, count = len(accumulators), np.asarray(positions).shape[-1]
    width = encoding.width_of(t)
    assert sum(a.nbytes for a in arrays) == reply.reply_bytes(key.params, n, count, width, noise_bits)
    specs = reply.reply_specs(key.params, n, count, width, noise_bits)
    assert all(s.matches(a) for s, a in zip(specs, arrays, strict=True))
    return reply.open_reply(key, arrays, n, positions, t, noise_bits)


def noisy(values: np.ndarray, size: int, t: int, key: SecretKey = KEY) -> np.ndarray:
    """Ciphertexts of values whose noise is `size` or -size in every coefficient, within a unit of rounding."""
    params = key.params
    signs = np.random.default_rng(3).integers(0, 2, values.shape, dtype=np.int64) * 2 - 1
    c1 = rlwe.uniform(len(values), RANDOM, params.tables)
    flat = rlwe.encode(values, np.zeros_like(signs), encoding.encode_constants(params, t), params.tables)
    flat = rlwe.add(flat, rlwe.residues(signs * size, params.tables), params.tables)
    c0 = rlwe.multiply_subtract(ntt.forward(flat, params.tables), c1, key.fixed(params.tables), params.tables)
    return np.stack([c0, c1], axis=1)


def random_values(t: int, shape: tuple[int, int], seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, t, shape, dtype=np.uint64)


@given(st.integers(1, 37), st.integers(1, 20), st.integers(0, 1 << 30))
@settings(max_examples=8, deadline=None)
def test_a_reply_opens_to_the_masked_plaintext(width: int, count: int, seed: int) -> None:
    t = 1 << width
    rng = np.random.default_rng(seed)
    x = random_values(t, (3, DEGREE), seed)
    masks = random_values(t, (3, count), seed + 1)
    positions = np.array([rng.permutation(DEGREE)[:count] for _ in range(3)])
    ciphertexts = bfv.expand_request(PARAMS, *bfv.encrypt(KEY, x, t, RANDOM))
    opened = exchange(ciphertexts, masks, positions, t, 5)
    assert np.array_equal(opened, (np.take_along_axis(x, positions, 1) + masks) & np.uint64(t - 1))


class Extreme:
    """Words that make every flood the largest (all ones) or the smallest (all zeros), and u all 1 or all -1."""

    def __init__(self, word: int) -> None:
        self.word = np.uint64(word)

    def words(self, n: int) -> np.ndarray:
        return np.full(n, self.word, np.uint64)


SETS = ("n4096-q94", "n4096-q100", "n8192-q141", "n8192-q200")
POSSIBLE = [
    (name, width)
    for name in SETS
    for width in (1, 24, 33, 37, 45, 50)
    if reply.max_noise_bits(parameters.get(name), width) >= 0
]


def test_every_set_has_its_widths() -> None:
    most = {name: max(width for other, width in POSSIBLE if other == name) for name in SETS}
    assert most == {"n4096-q94": 37, "n4096-q100": 45, "n8192-q141": 50, "n8192-q200": 50}


@pytest.mark.parametrize(("name", "width"), POSSIBLE)
def test_the_largest_noise_decrypts(name: str, width: int) -> None:
    """Noise, flood and a prime close to the bound all at their worst: at the limit every coefficient is exact."""
    params = parameters.get(name)
    most = reply.max_noise_bits(params, width)
    key = SecretKey.generate(params, RANDOM)
    public = key.public_key(RANDOM)
    t = 1 << width
    positions = np.arange(params.degree)
    x, masks = random_values(t, (1, params.degree)), random_values(t, (1, params.degree), 1)
    for noise_bits in {most, min(most, 12)}:
        size = (1 << min(noise_bits, 62)) - 1
        ciphertexts = noisy(x, size, t, key)
        for random in (RANDOM, Extreme(0), Extreme((1 << 64) - 1)):
            opened = exchange(ciphertexts, masks, positions, t, noise_bits, key, public, random)
            assert np.array_equal(opened, (x + masks) & np.uint64(t - 1))


def test_weights_as_large_as_the_bound_allows() -> None:
    """The path of a convolution: fresh ciphertexts, the worst weights of the largest L1 norm, then a reply."""
    width = 33
    t, most = 1 << width, reply.max_noise_bits(PARAMS, width)
    norm = ((1 << most) - 1) // bfv.FRESH_NOISE
    assert bfv.noise_bits(norm) <= most < bfv.noise_bits(2 * norm + 2)
    x = random_values(t, (1, DEGREE))
    ciphertexts = bfv.expand_request(PARAMS, *bfv.encrypt(KEY, x, t, RANDOM))
    weights = np.zeros((2, DEGREE), np.int64)
    weights[0, 0] = norm  # all weight on one coefficient: every error at its largest
    weights[1, :1024] = norm // 1024 * (-1) ** np.arange(1024)
    positions = np.arange(DEGREE)
    masks = random_values(t, (2, DEGREE), 9)
    both = np.concatenate([ciphertexts, ciphertexts])
    opened = exchange(bfv.multiply_plain(PARAMS, both, bfv.transform(PARAMS, weights)), masks, positions, t, most)
    assert np.array_equal(opened[0], (x[0] * np.uint64(norm) + masks[0]) & np.uint64(t - 1))
    expected = np.zeros(DEGREE, object)
    for k in range(1024):
        turned = np.roll(x[0].astype(object), k)
        turned[:k] *= -1
        expected += turned * int(weights[1, k])
    assert np.array_equal(opened[1], ((expected + masks[1].astype(object)) % t).astype(np.uint64))


def test_the_bounds_are_not_slack() -> None:
    """Noise eight times the limit breaks replies: the parameters are not chosen with bits to spare."""
    width = 33
    most = reply.max_noise_bits(PARAMS, width)
    t = 1 << width
    positions = np.arange(DEGREE)
    x, masks = random_values(t, (1, DEGREE)), random_values(t, (1, DEGREE), 1)
    with pytest.raises(ParameterError, match=f"n4096-q94 cannot reply with 33-bit plaintexts under noise of {most + 1}"):
        reply.reply_modulus(PARAMS, width, most + 1)
    ciphertexts = noisy(x, 1 << most + DECLARED.statistical + 3, t)  # as if the flood were of that noise
    assert not np.array_equal(exchange(ciphertexts, masks, positions, t, most), (x + masks) & np.uint64(t - 1))


def test_prime_plaintext_moduli() -> None:
    params = parameters.get("n8192-q200")
    key = SecretKey.generate(params, RANDOM)
    public = key.public_key(RANDOM)
    (t,) = parameters.ntt_primes(params.degree, 40)
    x, y, masks = (random_values(t, (1, params.degree), seed) for seed in range(3))
    a = bfv.expand_request(params, *bfv.encrypt(key, encoding.encode_slots(x, t), t, RANDOM))
    factors = bfv.transform(params, encoding.centred(encoding.encode_slots(y, t), t))
    product = bfv.multiply_plain(params, a, factors)
    bits = bfv.noise_bits(params.degree * (t // 2))
    positions = np.arange(params.degree)
    opened = exchange(product, encoding.encode_slots(masks, t), positions, t, bits, key, public)
    expected = (x.astype(object) * y + masks.astype(object)) % t
    assert np.array_equal(encoding.decode_slots(opened, t), expected.astype(np.uint64))


def chi_square(values: np.ndarray, top: int) -> float:
    """Of 16 equal bins of [0, top): 15 degrees of freedom, above 44.3 with probability 1e-4."""
    counts = np.histogram(values.astype(np.float64), bins=16, range=(0, top))[0]
    expected = values.size / 16
    return float(((counts - expected) ** 2 / expected).sum())


def test_replies_to_the_same_accumulators_are_independent() -> None:
    """c1 of a reply says nothing of the accumulators: it is fresh and uniform each time, also where they are zero."""
    t, noise_bits = 1 << 30, 10
    zeros = np.zeros((4, 2, PARAMS.limbs, DEGREE), np.uint64)
    masks = np.zeros((4, DEGREE), np.uint64)
    small = reply.reply_modulus(PARAMS, 30, noise_bits)
    sent = []
    for _ in range(2):
        arrays = reply.reply(PUBLIC, zeros, masks, np.arange(DEGREE), t, noise_bits, RANDOM)
        sent.append([wire.unpack(a, (4, DEGREE), small.bits) for a in arrays])
    for first, second in zip(*sent, strict=True):
        assert (first != second).mean() > 0.999
        for values in (first, second, (first - second) % np.uint64(small.modulus)):
            assert chi_square(values % np.uint64(small.modulus), small.modulus) < 44.3


def test_the_flood_drowns_the_noise(monkeypatch: pytest.MonkeyPatch) -> None:
    """Alice sees the flood's distribution: uniform with its width, whatever noise was below it."""
    t, noise_bits = 1 << 24, reply.max_noise_bits(PARAMS, 24)
    small = reply._candidate(DEGREE, 60)  # so fine that rounding does not blur what is seen
    monkeypatch.setattr(reply, "reply_modulus", lambda *_: small)
    width = (1 << reply.flood_bits(PARAMS, noise_bits)) * small.modulus / PARAMS.modulus
    assert width > 1000 * reply.rounding_noise(PARAMS)
    zeros = np.zeros((4, DEGREE), np.uint64)
    for size in (0, (1 << min(noise_bits, 62)) - 1):
        arrays = reply.reply(PUBLIC, noisy(zeros, size, t), zeros, np.arange(DEGREE), t, noise_bits, RANDOM)
        c0, c1 = (wire.unpack(a, zeros.shape, small.bits) for a in arrays)
        product = ntt.forward(rlwe.reduce(c1, small.tables), small.tables)
        product = ntt.inverse(rlwe.multiply_fixed(product, KEY.fixed(small.tables), small.tables), small.tables)
        phase = rlwe.add_values(rlwe.reduce(c0, small.tables), product, small.tables)
        lift = rlwe.ScaleConstants.of(small.primes, small.modulus)  # round(p x / p): the number of these residues
        seen = encoding.centred(rlwe.scale_round(phase, lift, small.tables), small.modulus)
        assert abs(seen).max() <= width * 1.001
        assert chi_square(seen + width, int(2 * width)) < 44.3


def test_statements_are_exact_and_public() -> None:
    modulus = reply.reply_modulus(PARAMS, 30, 13)
    assert (modulus.bits, len(modulus.primes)) == (39, 1)
    assert reply.reply_bytes(PARAMS, 5, 1000, 30, 13) == 5 * 1000 * 39 // 8 + 5 * 4096 * 39 // 8
    assert reply.max_noise_bits(parameters.get("n2048-q50"), 20) == -1
    wide = reply.reply_modulus(parameters.get("n8192-q200"), 48, 40)
    assert wide.bits > 50
    assert len(wide.primes) == 2
    for name in ("n4096-q94", "n8192-q188"):
        limits = [reply.max_noise_bits(parameters.get(name), w) for w in range(1, 50)]
        assert limits == sorted(limits, reverse=True)


def test_rounding_stays_within_its_bound() -> None:
    """The tail bound holds by a wide margin on what is seen, and is within a factor of a few of the deviation."""
    deviation = np.sqrt(DEGREE * 2 / 3 / 12)
    assert 8 * deviation < reply.rounding_noise(PARAMS) < 16 * deviation


def test_refusals() -> None:
    t = 1 << 20
    accumulators = np.zeros((2, 2, PARAMS.limbs, DEGREE), np.uint64)
    good = np.zeros((2, 3), np.uint64)
    with pytest.raises(ValueError, match=r"outside 0\.\.4095"):
        reply.reply(PUBLIC, accumulators, good, np.array([0, 1, 4096]), t, 5, RANDOM)
    with pytest.raises(ValueError, match=r"outside 0\.\.4095"):
        reply.reply(PUBLIC, accumulators, good, np.array([0, 1, -1]), t, 5, RANDOM)
    with pytest.raises(ValueError, match="positions"):
        reply.reply(PUBLIC, accumulators, good, np.zeros((3, 3), np.int64), t, 5, RANDOM)
    with pytest.raises(ValueError, match="masks"):
        reply.reply(PUBLIC, accumulators, good[:, :2], np.arange(3), t, 5, RANDOM)
    with pytest.raises(ValueError, match="not below"):
        reply.reply(PUBLIC, accumulators, good + np.uint64(t), np.arange(3), t, 5, RANDOM)
    with pytest.raises(ValueError, match="accumulators"):
        reply.reply(PUBLIC, accumulators[:, :1], good, np.arange(3), t, 5, RANDOM)
    arrays = reply.reply(PUBLIC, accumulators, good, np.arange(3), t, 5, RANDOM)
    with pytest.raises(ProtocolError, match="packed values"):
        reply.open_reply(KEY, arrays, 1, np.arange(3), t, 5)
    with pytest.raises(ProtocolError, match="not below the reply modulus"):
        reply.open_reply(KEY, (arrays[0], np.full_like(arrays[1], 255)), 2, np.arange(3), t, 5)
    with pytest.raises(ProtocolError, match="not below the reply modulus"):
        reply.open_reply(KEY, (np.full_like(arrays[0], 255), arrays[1]), 2, np.arange(3), t, 5)
