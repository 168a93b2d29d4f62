"""The secure convolution equals the integer one modulo 2^width, and costs exactly what it states."""

from functools import lru_cache
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bunet.models.integers import IntegerWeights
from bunet.models.program import Node, TensorType
from bunet.protocols import registry
from bunet.protocols.ass.share import Share, reduce_to
from bunet.protocols.context import Context, Role
from bunet.protocols.counting import Traffic, counted
from bunet.protocols.kernels.ring import convolve
from bunet.protocols.layers import conv_coefficient, conv_plan
from bunet.protocols.layers.conv_plan import plan_of
from bunet.protocols.layers.tiling import Image
from bunet.protocols.lockstep import lockstep
from bunet.protocols.pahe import bfv, setup
from bunet.protocols.pahe.keys import PublicKey, SecretKey
from bunet.protocols.random import Random
from bunet.protocols.registry import Layer
from tests.protocols.pahe.noise import noise_budget
from tests.protocols.sharing import split


@lru_cache
def keys(name: str) -> tuple[dict[str, SecretKey], dict[str, PublicKey]]:
    return lockstep(setup.setup_alice(context(Role.ALICE), [name]), setup.setup_bob(context(Role.BOB), [name]))


def context(role: Role, pahe: dict[str, Any] | None = None) -> Context:
    return Context(role, Random(), pahe=pahe)


def conv_layer(
    channels: int, height: int, width: int, out_channels: int, kernel: int, ring: int, weight: np.ndarray, bias: np.ndarray
) -> tuple[Layer, Layer]:
    norm_bits = int(np.abs(weight).sum((1, 2, 3)).max()).bit_length()
    source = TensorType((channels, height, width), ring, 0, ring - 1)
    target = TensorType((out_channels, height, width), ring, 0, ring - 1)
    attributes = {"out_channels": out_channels, "kernel": kernel, "norm_bits": norm_bits}
    node = Node("c", "conv", ("x",), target, attributes)
    return Layer(node, (source,)), Layer(node, (source,), IntegerWeights(weight, bias))


def transposed_layer(
    channels: int, height: int, width: int, out_channels: int, ring: int, weight: np.ndarray, bias: np.ndarray
) -> tuple[Layer, Layer]:
    norm_bits = int(np.abs(weight).sum(0).max()).bit_length()
    source = TensorType((channels, height, width), ring, 0, ring - 1)
    target = TensorType((out_channels, 2 * height, 2 * width), ring, 0, ring - 1)
    attributes = {"out_channels": out_channels, "kernel": 2, "stride": 2, "norm_bits": norm_bits}
    node = Node("t", "conv_transpose", ("x",), target, attributes)
    return Layer(node, (source,)), Layer(node, (source,), IntegerWeights(weight, bias))


def run(layers: tuple[Layer, Layer], secret: np.ndarray) -> tuple[np.ndarray, Traffic]:
    """(opened result modulo 2^width, traffic) of one counted run on fresh shares."""
    x_alice, x_bob = split(secret, layers[0].inputs[0], Random())
    return run_shares(layers, x_alice, x_bob)


def run_shares(layers: tuple[Layer, Layer], x_alice: Share, x_bob: Share) -> tuple[np.ndarray, Traffic]:
    own, other = layers
    alice_keys, bob_keys = keys(plan_of(own).set_name)
    a, b, traffic = counted(
        conv_coefficient.alice(context(Role.ALICE, alice_keys), own, x_alice),
        conv_coefficient.bob(context(Role.BOB, bob_keys), other, x_bob),
    )
    assert a.type == b.type == own.node.type
    return reduce_to(a.values + b.values, a.width).astype(np.uint64), traffic


def reference(secret: np.ndarray, weight: np.ndarray, bias: np.ndarray, ring: int) -> np.ndarray:
    """Zero-padded convolution modulo 2^ring."""
    k = weight.shape[2]
    _, h, w = secret.shape
    padded = np.pad(secret.astype(np.uint64), ((0, 0), (k // 2, k // 2), (k // 2, k // 2)))
    out = np.broadcast_to(bias.astype(np.uint64)[:, None, None], (len(weight), h, w)).copy()
    for i in range(k):
        for j in range(k):
            out += np.einsum("oi,ihw->ohw", weight[:, :, i, j].astype(np.uint64), padded[:, i : i + h, j : j + w])
    return reduce_to(out, ring).astype(np.uint64)


def transposed_reference(secret: np.ndarray, weight: np.ndarray, bias: np.ndarray, ring: int) -> np.ndarray:
    _, h, w = secret.shape
    out = np.zeros((weight.shape[1], 2 * h, 2 * w), np.uint64) + bias.astype(np.uint64)[:, None, None]
    for i in range(2):
        for j in range(2):
            out[:, i::2, j::2] += np.einsum("io,ihw->ohw", weight[:, :, i, j].astype(np.uint64), secret.astype(np.uint64))
    return reduce_to(out, ring).astype(np.uint64)


def assert_cost(own: Layer, traffic: Traffic) -> None:
    cost = conv_coefficient.cost(own)
    assert (traffic.alice_bytes, traffic.bob_bytes, traffic.rounds) == (cost.alice_bytes, cost.bob_bytes, cost.rounds)


@settings(max_examples=25, deadline=None)
@given(
    st.integers(1, 9),
    st.integers(1, 20),
    st.integers(1, 20),
    st.integers(1, 9),
    st.sampled_from([1, 3]),
    st.integers(12, 44),
    st.integers(0, 2**32),
    st.integers(1, 12),
)
def test_conv_equals_the_integers(
    channels: int, height: int, width: int, out_channels: int, kernel: int, ring: int, seed: int, weight_bits: int
) -> None:
    rng = np.random.default_rng(seed)
    secret = rng.integers(-(2 ** (ring - 1)) + 1, 2 ** (ring - 1), (channels, height, width))
    weight = rng.integers(-(2**weight_bits), 2**weight_bits, (out_channels, channels, kernel, kernel))
    bias = rng.integers(-(2 ** (ring - 1)), 2 ** (ring - 1), out_channels)
    layers = conv_layer(channels, height, width, out_channels, kernel, ring, weight, bias)
    opened, traffic = run(layers, secret)
    np.testing.assert_array_equal(opened, reference(secret, weight, bias, ring))
    assert_cost(layers[0], traffic)


@settings(max_examples=10, deadline=None)
@given(
    st.integers(1, 9),
    st.integers(1, 12),
    st.integers(1, 12),
    st.integers(1, 6),
    st.integers(12, 44),
    st.integers(0, 2**32),
)
def test_conv_transpose_equals_the_integers(
    channels: int, height: int, width: int, out_channels: int, ring: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    secret = rng.integers(-(2 ** (ring - 1)) + 1, 2 ** (ring - 1), (channels, height, width))
    weight = rng.integers(-(2**8), 2**8, (channels, out_channels, 2, 2))
    bias = rng.integers(-(2 ** (ring - 1)), 2 ** (ring - 1), out_channels)
    layers = transposed_layer(channels, height, width, out_channels, ring, weight, bias)
    opened, traffic = run(layers, secret)
    np.testing.assert_array_equal(opened, transposed_reference(secret, weight, bias, ring))
    assert_cost(layers[0], traffic)


@pytest.mark.parametrize(
    ("channels", "size", "out_channels", "kernel", "ring"),
    [(5, 96, 4, 3, 30), (3, 70, 2, 3, 40), (40, 16, 24, 3, 36), (64, 8, 96, 3, 26), (6, 100, 2, 1, 33)],
)
def test_layers_of_many_tiles_groups_and_bundles(channels: int, size: int, out_channels: int, kernel: int, ring: int) -> None:
    rng = np.random.default_rng(channels)
    secret = rng.integers(-(2 ** (ring - 1)) + 1, 2 ** (ring - 1), (channels, size, size))
    weight = rng.integers(-100, 101, (out_channels, channels, kernel, kernel))
    layers = conv_layer(channels, size, size, out_channels, kernel, ring, weight, np.arange(out_channels))
    opened, traffic = run(layers, secret)
    np.testing.assert_array_equal(opened, reference(secret, weight, np.arange(out_channels), ring))
    assert_cost(layers[0], traffic)
    assert traffic.messages >= 2


@pytest.mark.parametrize(("ring", "fill"), [(32, 2**32 - 1), (32, 0), (44, 2**44 - 1)])
@pytest.mark.parametrize("sign", [1, -1])
def test_extreme_weights_and_shares(ring: int, fill: int, sign: int) -> None:
    """All weights of the layer at the bound's edge and both shares all ones: the largest noise and every wrap."""
    weight = np.full((2, 3, 3, 3), sign * 37, np.int64)
    weight[:, 0, 0, 0] += sign * (1023 - 27 * 37)  # the norm is 2^10 - 1
    layers = conv_layer(3, 6, 5, 2, 3, ring, weight, np.zeros(2, np.int64))
    assert layers[0].node.integer("norm_bits") == 10
    values = np.full((3, 6, 5), fill, np.uint64)
    share = Share.of(values, layers[0].inputs[0])
    opened, _ = run_shares(layers, share, share)
    np.testing.assert_array_equal(opened, reference(2 * values, weight, np.zeros(2), ring))


def test_noise_stays_below_its_stated_bound() -> None:
    """Full products, bundled and grouped, with weights at the norm's edge; measured with the secret key."""
    weight = np.full((4, 4, 3, 3), -28, np.int64)
    weight[:, 0, 0, 0] -= 1023 - 36 * 28
    own, _ = conv_layer(4, 8, 8, 4, 3, 28, weight, np.zeros(4, np.int64))
    plan = plan_of(own)
    assert plan.tiling.bundle > 1
    alice_keys, _ = keys(plan.set_name)
    params, key, random = plan.parameters, alice_keys[plan.set_name], Random()
    pixels = random.uniform((4, 8, 8), 28)
    messages = plan.tiling.messages(pixels, 0, plan.tiling.tiles * plan.tiling.groups)
    fresh = bfv.expand_request(params, *bfv.encrypt(key, messages, 1 << 28, random))
    ciphertexts = bfv.add_plain(params, fresh, messages, 1 << 28).reshape(plan.tiling.tiles, -1, *fresh.shape[1:])
    places = convolve.Places.of(plan.tiling.tap_positions, params.tables)
    for bundles in plan.bundle_blocks():
        taps = plan.tiling.taps(weight, bundles.start, len(bundles))
        products = convolve.multiply_sparse(ciphertexts, taps, places)
        budget = noise_budget(key, products.reshape(-1, *fresh.shape[1:]), 1 << 28)
        assert budget >= params.modulus.bit_length() - 2 - 28 - plan.noise_bits


def test_a_share_of_another_ring_is_refused() -> None:
    weight = np.ones((1, 1, 3, 3), np.int64)
    own, _ = conv_layer(1, 8, 8, 1, 3, 30, weight, np.zeros(1, np.int64))
    with pytest.raises(ValueError, match="not the planned 30-bit"):
        next(
            conv_coefficient.alice(
                context(Role.ALICE, keys(plan_of(own).set_name)[0]), own, Share(np.zeros((1, 8, 8), np.uint32), 29, 0, 8)
            )
        )


def test_blocks_and_batches_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small memory limits force many batches, blocks and messages through the same layer."""
    monkeypatch.setattr(conv_plan, "_CIPHERTEXT_BLOCK", 1 << 20)
    monkeypatch.setattr(conv_plan, "_ACCUMULATOR_BLOCK", 1 << 18)
    monkeypatch.setattr(conv_plan, "_REPLY_MESSAGE", 100_000)
    monkeypatch.setattr(conv_plan, "_REQUEST_MESSAGE", 200_000)
    rng = np.random.default_rng(1)
    secret = rng.integers(-1000, 1000, (6, 80, 80))
    weight = rng.integers(-50, 51, (7, 6, 3, 3))
    layers = conv_layer(6, 80, 80, 7, 3, 28, weight, np.zeros(7, np.int64))
    plan = plan_of(layers[0])
    assert len(list(plan.tile_batches())) > 1
    assert len(list(plan.bundle_blocks())) > 1
    opened, traffic = run(layers, secret)
    np.testing.assert_array_equal(opened, reference(secret, weight, np.zeros(7), 28))
    assert_cost(layers[0], traffic)
    assert traffic.messages > 10


def test_a_prepared_layer_gives_the_same_twice() -> None:
    rng = np.random.default_rng(2)
    weight = rng.integers(-50, 51, (4, 3, 3, 3))
    layers = conv_layer(3, 12, 12, 4, 3, 30, weight, np.zeros(4, np.int64))
    own, other = layers
    kept = registry.get("conv", "pahe-coefficient").prepared(other)
    assert isinstance(kept.prepared, conv_coefficient.Kernels)
    assert conv_coefficient.prepare(own) is None
    layers = own, kept
    secret = rng.integers(-1000, 1000, (3, 12, 12))
    for _ in range(2):
        np.testing.assert_array_equal(run(layers, secret)[0], reference(secret, weight, np.zeros(4), 30))


def test_weights_beyond_the_stated_norm_are_refused() -> None:
    weight = np.full((1, 1, 3, 3), 100, np.int64)
    _, other = conv_layer(1, 8, 8, 1, 3, 30, weight, np.zeros(1, np.int64))
    other.weights.weight[0, 0, 0, 0] = 5000
    with pytest.raises(ValueError, match="exceed the stated bound"):
        conv_coefficient.prepare(other)


def test_layers_without_parameters_are_refused_with_the_reason() -> None:
    weight = np.full((1, 1, 3, 3), 2**40, np.int64)
    own, _ = conv_layer(1, 8, 8, 1, 3, 60, weight, np.zeros(1, np.int64))
    reason = conv_coefficient.supports(own)
    assert "60-bit shares" in reason
    assert "norm_bits" in reason


def test_shares_are_uniform() -> None:
    """Both output shares of a constant layer, by a chi-square on their top 4 bits (99.99 % quantile of 15 degrees)."""
    weight = np.ones((2, 1, 3, 3), np.int64)
    layers = conv_layer(1, 64, 64, 2, 3, 30, weight, np.zeros(2, np.int64))
    x = split(np.zeros((1, 64, 64), np.int64), layers[0].inputs[0], Random())
    alice_keys, bob_keys = keys(plan_of(layers[0]).set_name)
    shares = lockstep(
        conv_coefficient.alice(context(Role.ALICE, alice_keys), layers[0], x[0]),
        conv_coefficient.bob(context(Role.BOB, bob_keys), layers[1], x[1]),
    )
    for share in shares:
        counts = np.bincount((share.values >> np.uint32(26)).reshape(-1), minlength=16)
        expected = share.values.size / 16
        assert ((counts - expected) ** 2 / expected).sum() < 44.3


def test_plans_are_public_and_kernel_one_is_flat() -> None:
    weight = np.ones((2, 4, 1, 1), np.int64)
    own, other = conv_layer(4, 30, 50, 2, 1, 30, weight, np.zeros(2, np.int64))
    assert plan_of(own) == plan_of(other)
    assert plan_of(own).image == Image(4, 1, 1500, 2, 1)
