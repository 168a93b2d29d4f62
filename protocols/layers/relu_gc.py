"""relu by garbled circuits: `gc`, all of it in the circuit, and `gc-sign`, only the sign.

`gc` is the published protocol: the circuit recombines the shares, takes the ReLU and subtracts the garbler's fresh
share; the evaluator learns its new share and nothing else. `gc-sign` garbles the sign alone (width - 1 AND gates a
number), which leaves the circuit as XOR shares at no cost, and multiplies by an OT in each direction.
"""

from __future__ import annotations

import numpy as np

from bunet.protocols.ass.share import Share
from bunet.protocols.context import Context, Role
from bunet.protocols.cost import Cost
from bunet.protocols.gc import garbling, library
from bunet.protocols.gc.circuit import Circuit
from bunet.protocols.layers import multiplex
from bunet.protocols.ot import extension
from bunet.protocols.registry import Layer, Protocol, register
from bunet.protocols.steps import Steps

# Public settings of whatever is garbled: who garbles, and by which extension the evaluator's labels travel.
SETTINGS = {"garbler": tuple(role.value for role in Role), **extension.SETTING}


def garbler_of(layer: Layer) -> Role:
    """Who garbles: the public setting `garbler`, Alice as published unless it says bob."""
    return Role(layer.settings.get("garbler", "alice"))


def words(share: Share) -> np.ndarray:
    """The share as circuit words: uint64 (n,)."""
    return share.values.reshape(-1).astype(np.uint64)


def relu(ctx: Context, layer: Layer, share: Share) -> Steps[Share]:
    """Both halves of `gc`."""
    result = yield from reshared(ctx, library.relu(share.width), [words(share)], share.width, garbler_of(layer))
    return Share.of(result, layer.node.type)


def reshared(ctx: Context, circuit: Circuit, inputs: list[np.ndarray], width: int, garbler: Role) -> Steps[np.ndarray]:
    """Run a circuit whose last garbler word is the garbler's fresh share and whose output is the evaluator's.

    inputs: this party's words, uint64 (n,). Returns this party's new share, uint64 (n,).
    """
    if ctx.role is garbler:
        fresh = ctx.random.uniform(inputs[0].shape, width)
        outputs = yield from garbling.garbler(ctx, circuit, [*inputs, fresh])
        yield from garbling.send_output(ctx, outputs[0], width)
        return fresh
    outputs = yield from garbling.evaluator(ctx, circuit, inputs)
    return (yield from garbling.receive_output(ctx, outputs[0], width))


def reshared_cost(circuit: Circuit, instances: int, width: int, layer: Layer) -> Cost:
    """Exact cost of `reshared`, with what the layer's settings say of garbler and OT extension."""
    garbler = garbler_of(layer)
    garbled = garbling.cost(circuit, instances, garbler, extension.of(layer.settings))
    return garbled.beside(garbling.output_cost(instances, width, garbler))  # the output goes with the last tables


def relu_cost(layer: Layer) -> Cost:
    (source,) = layer.inputs
    return reshared_cost(library.relu(source.width), source.elements, source.width, layer)


def relu_sign(ctx: Context, layer: Layer, share: Share) -> Steps[Share]:
    """Both halves of `gc-sign`."""
    garbler = garbler_of(layer)
    circuit = library.sign(share.width)
    run = garbling.garbler if ctx.role is garbler else garbling.evaluator
    (sign,) = yield from run(ctx, circuit, [words(share)])
    keep = sign.astype(np.uint8)
    if ctx.role is Role.ALICE:
        keep ^= np.uint8(1)  # keep = not sign: one party flips its share
    y = share.values.reshape(-1)
    multiply = multiplex.first if ctx.role is garbler else multiplex.second
    result = yield from multiply(ctx, y, keep, share.width)
    return Share.reduced(result, layer.node.type)


def relu_sign_cost(layer: Layer) -> Cost:
    (source,) = layer.inputs
    garbler, ot = garbler_of(layer), extension.of(layer.settings)
    garbled = garbling.cost(library.sign(source.width), source.elements, garbler, ot)
    choices, answer, corrections = multiplex.flights(source.elements, source.width, garbler, ot)
    return garbled.beside(choices).then(answer, corrections)  # the garbler's choices go with its last tables


register(Protocol("relu", "gc", alice=relu, bob=relu, cost=relu_cost, settings=SETTINGS))
register(Protocol("relu", "gc-sign", alice=relu_sign, bob=relu_sign, cost=relu_sign_cost, settings=SETTINGS))
