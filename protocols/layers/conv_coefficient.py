"""conv and conv_transpose `pahe-coefficient`: Alice's encrypted share times Bob's weights, without rotations.

Huang, Lu, Hong, Ding, "Cheetah: Lean and Fast Secure Two-Party DNN Inference", USENIX Security 2022, section 4.1:
1. Alice encrypts the tiles of her share and sends them.
2. Bob adds his own share's tiles, so that the ciphertexts hold the secret itself; multiplies by his weights; adds a
   uniform mask and a flood of noise; and returns what Alice needs of the result.
3. Alice decrypts: that is her share. Bob's is the negated mask plus the bias.
out_A + out_B = conv(x) + bias modulo 2^width, exactly.

A 2x2 transposed convolution with stride 2 is four 1x1 convolutions, one for each phase of the output, on the same
ciphertexts.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bunet.protocols.ass.share import Share, dtype_of, reduce_to
from bunet.protocols.context import Context
from bunet.protocols.cost import Cost
from bunet.protocols.kernels.ring.convolve import Places, multiply_sparse
from bunet.protocols.kernels.shares import add_to_channels
from bunet.protocols.layers.conv_plan import Plan, PlanError, plan_of
from bunet.protocols.pahe import bfv, reply
from bunet.protocols.registry import Layer, Protocol, register
from bunet.protocols.steps import Receive, Send, Steps


def alice(ctx: Context, layer: Layer, share: Share) -> Steps[Share]:
    """Alice's half: requests, then replies."""
    plan = plan_of(layer, ctx.security)
    tiling, key = plan.tiling, ctx.pahe[plan.set_name]
    pixels = _as_image(share, plan)
    for tiles in plan.tile_batches():
        for part in plan.request_messages(tiles):
            messages = tiling.messages(pixels, part.start, len(part))
            c0, seed = bfv.encrypt(key, messages, 1 << plan.width, ctx.random)
            yield Send("conv-request", bfv.request_arrays(plan.parameters, c0, seed))
    out = _empty_output(plan)
    for tiles in plan.tile_batches():
        for bundles in plan.bundle_blocks():
            for some, few in plan.reply_messages(tiles, bundles):
                count = len(some) * len(few)
                arrays = yield Receive("conv-reply", plan.reply_specs(count))
                values = reply.open_reply(key, arrays, count, tiling.positions, 1 << plan.width, plan.noise_bits, plan.security)
                tiling.place(out, some, few, reduce_to(values, plan.width))
    return Share.of(_from_phases(out, layer), layer.node.type)


def bob(ctx: Context, layer: Layer, share: Share) -> Steps[Share]:
    """Bob's half: a batch of tiles at a time, so that he replies while Alice still encrypts."""
    plan = plan_of(layer, ctx.security)
    tiling, key = plan.tiling, ctx.pahe[plan.set_name]
    pixels = _as_image(share, plan)
    prepared = layer.prepared if isinstance(layer.prepared, Kernels) else Kernels.of(layer)
    out = _empty_output(plan)
    for tiles in plan.tile_batches():
        ciphertexts = yield from _receive_tiles(plan, tiles, pixels)
        for bundles in plan.bundle_blocks():
            taps = tiling.taps(prepared.weight, bundles.start, len(bundles))
            products = multiply_sparse(ciphertexts, taps, prepared.places)
            for some, few in plan.reply_messages(tiles, bundles):
                own = products[
                    some.start - tiles.start : some.stop - tiles.start, few.start - bundles.start : few.stop - bundles.start
                ]
                count = len(some) * len(few)
                mask = ctx.random.uniform((count, tiling.outputs), plan.width)
                arrays = reply.reply(
                    key,
                    own.reshape(count, *own.shape[2:]),
                    mask,
                    tiling.positions,
                    1 << plan.width,
                    plan.noise_bits,
                    ctx.random,
                    plan.security,
                )
                tiling.place(out, some, few, reduce_to(np.negative(mask), plan.width))
                yield Send("conv-reply", arrays)
    result = _from_phases(out, layer)
    return Share.reduced(add_to_channels(result, _bias(layer, result.dtype), plan.width), layer.node.type)


def _receive_tiles(plan: Plan, tiles: range, pixels: np.ndarray) -> Steps[np.ndarray]:
    """Ciphertexts (tiles, groups, 2, L, N) of the secret: Alice's messages plus Bob's own share."""
    parameters = plan.parameters
    out = np.empty((len(tiles) * plan.tiling.groups, 2, parameters.limbs, parameters.degree), np.uint64)
    first = tiles.start * plan.tiling.groups
    for part in plan.request_messages(tiles):
        arrays = yield Receive("conv-request", bfv.request_specs(parameters, len(part)))
        own = plan.tiling.messages(pixels, part.start, len(part))
        bfv.open_sum(parameters, arrays, own, 1 << plan.width, out[part.start - first : part.stop - first])
    return out.reshape(len(tiles), plan.tiling.groups, *out.shape[1:])


def _as_image(share: Share, plan: Plan) -> np.ndarray:
    if share.width != plan.width or share.values.size != plan.image.channels * plan.image.height * plan.image.width:
        raise ValueError(f"a {share.width}-bit share {share.values.shape} is not the planned {plan.width}-bit {plan.image}")
    return share.values.reshape(plan.image.channels, plan.image.height, plan.image.width)


def _empty_output(plan: Plan) -> np.ndarray:
    return np.empty((plan.image.out_channels, plan.image.height, plan.image.width), dtype_of(plan.width))


def _from_phases(out: np.ndarray, layer: Layer) -> np.ndarray:
    """The output tensor; a transposed convolution's four phases interleave."""
    channels, height, width = layer.node.type.shape
    if layer.node.operation == "conv":
        return out.reshape(channels, height, width)
    phases = out.reshape(channels, 2, 2, height // 2, width // 2)
    return phases.transpose(0, 3, 1, 4, 2).reshape(channels, height, width)


def _weight(layer: Layer, plan: Plan) -> np.ndarray:
    """Bob's weights as those of a convolution, int64 (out_channels, channels, k, k), checked against norm_bits."""
    if layer.weights is None:
        raise ValueError(f"{layer.node.name}: only the party with the weights runs this half")
    weight = np.asarray(layer.weights.weight, np.int64)
    if layer.node.operation == "conv_transpose":  # (in, out, 2, 2) -> phases as output channels
        weight = weight.transpose(1, 2, 3, 0).reshape(-1, weight.shape[0])[:, :, None, None]
    if weight.shape != (plan.image.out_channels, plan.image.channels, plan.image.kernel, plan.image.kernel):
        raise ValueError(f"{layer.node.name}: weights of shape {layer.weights.weight.shape} do not fit {plan.image}")
    if layer.weights.norm >> plan.norm_bits:
        raise ValueError(
            f"{layer.node.name}: weights of L1 norm {layer.weights.norm} exceed the stated bound 2^{plan.norm_bits}"
        )
    return weight


def _bias(layer: Layer, dtype: np.dtype) -> np.ndarray:
    assert layer.weights is not None
    return layer.weights.bias.astype(np.int64).astype(np.uint64).astype(dtype)


@dataclass(frozen=True, eq=False)
class Kernels:
    """What Bob keeps of a layer between slices. weight: int64 (out_channels, channels, k, k). places: where taps stand."""

    weight: np.ndarray
    places: Places

    @classmethod
    def of(cls, layer: Layer) -> Kernels:
        """ValueError where the layer has no weights, or they break the stated bound."""
        plan = plan_of(layer)
        return cls(_weight(layer, plan), Places.of(plan.tiling.tap_positions, plan.parameters.tables))


def prepare(layer: Layer) -> Kernels | None:
    """Bob's `Kernels`; Alice, who has no weights, keeps nothing."""
    return None if layer.weights is None else Kernels.of(layer)


def cost(layer: Layer) -> Cost:
    """Exact cost; work counts primitives of both parties, see `conv_plan.work_of`."""
    return plan_of(layer).cost


def supports(layer: Layer) -> str | None:
    """None, or why no parameter set carries this layer."""
    try:
        plan_of(layer)
    except PlanError as error:
        return str(error)
    return None


def sets(layer: Layer) -> tuple[str, ...]:
    """Parameter sets whose keys the session exchanges."""
    return (plan_of(layer).set_name,)


for _operation in ("conv", "conv_transpose"):
    register(Protocol(_operation, "pahe-coefficient", alice, bob, cost, supports, prepare, pahe=sets))
