"""Loads (on a first run: compiles) every kernel that a plan will use, before anything is timed.

Both halves of each protocol run in lockstep on a tiny layer with throwaway keys: what is compiled is exactly what will
run, whatever that is.
"""

from __future__ import annotations

import time

import numpy as np

from bunet.models.integers import IntegerWeights
from bunet.models.program import LABELS, Node, TensorType
from bunet.parties.events import Note, Subscriber
from bunet.parties.planner import PlannedLayer, pahe_names
from bunet.protocols.ass.share import Share
from bunet.protocols.context import Context, Role
from bunet.protocols.lockstep import lockstep
from bunet.protocols.ot import extension
from bunet.protocols.pahe import setup as pahe_setup
from bunet.protocols.random import Random
from bunet.protocols.registry import Layer, Protocol

# Said only if it takes long enough for a person to wonder.
SLOW_S = 3.0

# What this process has run already: a service warms up once, not for every client.
_warm: set[tuple[object, ...]] = set()


def compile_kernels(layers: list[PlannedLayer], emit: Subscriber, role: Role) -> float:
    """Run a tiny version of every layer in the plan, of equal ones once; returns the seconds that it took."""
    started = time.perf_counter()
    tiny: dict[tuple[object, ...], tuple[Protocol, Layer]] = {}
    for planned in layers:
        if planned.protocol is not None:
            layer = _tiny(planned.layer)
            wide = tuple(tensor.width > 32 for tensor in (*layer.inputs, layer.node.type))
            key = (planned.node.operation, planned.protocol.name, wide, *sorted(planned.layer.settings.items()))
            tiny.setdefault(key, (planned.protocol, layer))
    tiny = {key: value for key, value in tiny.items() if key not in _warm}
    needed = set(pahe_names(layers))
    if not tiny and ("pahe", *sorted(needed)) in _warm:
        return 0.0
    emit(Note(role.value, "loading kernels (the first run on a machine compiles them)"))
    alice, bob = throwaway_contexts(extension.of(layers[0].layer.settings))
    names = {name for protocol, layer in tiny.values() for name in protocol.pahe(layer)}
    sets = tuple(sorted(names | needed))
    alice.pahe, bob.pahe = lockstep(pahe_setup.setup_alice(alice.fork(0, 1), sets), pahe_setup.setup_bob(bob.fork(0, 1), sets))
    for number, (protocol, layer) in enumerate(tiny.values()):
        _run(protocol, layer, alice.fork(1, number), bob.fork(1, number))
    _warm.update(tiny, [("pahe", *sorted(needed))])
    seconds = time.perf_counter() - started
    if seconds > SLOW_S:
        emit(Note(role.value, f"kernels ready after {seconds:.0f} s; later runs load them from the cache"))
    return seconds


def throwaway_contexts(ot: str) -> tuple[Context, Context]:
    """Both parties' contexts with fresh seeds of an OT extension, in one process: for work whose result nobody sees."""
    alice, bob = Context(Role.ALICE, Random()), Context(Role.BOB, Random())
    alice.ot, bob.ot = lockstep(extension.setup(alice.fork(0, 0), ot), extension.setup(bob.fork(0, 0), ot))
    return alice, bob


def _tiny(layer: Layer) -> Layer:
    """The same operation and rings on a 2-channel 4x4 image."""
    node = layer.node
    inputs = tuple(_shaped(tensor, (2, 4, 4)) for tensor in layer.inputs)
    attributes = dict(node.attributes)
    shape = {
        "conv_transpose": (2, 8, 8),
        "avgpool": (2, 2, 2),
        "maxpool": (2, 2, 2),
        "readout": (1, 4, 4) if attributes.get("kind") in LABELS else (2, 4, 4),
    }.get(node.operation, (2, 4, 4))
    if "out_channels" in attributes:
        attributes["out_channels"] = 2
    small = Node(node.name, node.operation, node.inputs, _shaped(node.type, shape), attributes)
    return Layer(small, inputs, _zero_weights(small), layer.settings)


def _shaped(tensor: TensorType, shape: tuple[int, int, int]) -> TensorType:
    return TensorType(shape, tensor.width, tensor.frac, tensor.bound)


def _zero_weights(node: Node) -> IntegerWeights | None:
    if "out_channels" not in node.attributes:
        return None
    kernel = node.integer("kernel")
    return IntegerWeights(np.zeros((2, 2, kernel, kernel), np.int64), np.zeros(2, np.int64))


def _run(protocol: Protocol, layer: Layer, alice: Context, bob: Context) -> None:
    hers = Layer(layer.node, layer.inputs, None, layer.settings)
    shares = [Share.of(np.zeros(tensor.shape, np.uint64), tensor) for tensor in layer.inputs]
    lockstep(
        protocol.alice(alice, protocol.prepared(hers), *shares),
        protocol.bob(bob, protocol.prepared(layer), *shares),
    )
