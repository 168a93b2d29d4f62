"""Every protocol of the registry: its result is the oracle's, its stated cost is the counted one.

A new protocol joins by existing: cases are made per operation, and a protocol may bring along its own.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from bunet.models import oracle
from bunet.models.errors import UsageError
from bunet.models.integers import IntegerWeights
from bunet.models.program import FAMILIES, Node, TensorType
from bunet.protocols import registry
from bunet.protocols.ass.share import Share, open_shares
from bunet.protocols.counting import counted
from bunet.protocols.ot import extension
from bunet.protocols.random import Random
from bunet.protocols.registry import Layer, Protocol
from tests.protocols.contexts import contexts
from tests.protocols.sharing import split

rng = np.random.default_rng(2024)


def _conv(
    c: int, h: int, w: int, out: int, kernel: int, width: int, weight_bits: int = 6
) -> tuple[Node, tuple[TensorType], IntegerWeights]:
    weight = rng.integers(-(1 << weight_bits) + 1, 1 << weight_bits, (out, c, kernel, kernel))
    bias = rng.integers(-100, 100, out)
    norm = int(np.abs(weight).sum(axis=(1, 2, 3)).max()).bit_length()
    source = TensorType((c, h, w), width, 4, width - 2 - norm)
    node = Node(
        "n",
        "conv",
        ("x",),
        TensorType((out, h, w), width, 8, width - 1),
        {"out_channels": out, "kernel": kernel, "norm_bits": norm},
    )
    return node, (source,), IntegerWeights(weight, bias)


def _transpose(c: int, h: int, w: int, out: int, width: int) -> tuple[Node, tuple[TensorType], IntegerWeights]:
    weight = rng.integers(-31, 32, (c, out, 2, 2))
    norm = int(np.abs(weight).sum(axis=0).max()).bit_length()
    source = TensorType((c, h, w), width, 4, width - 2 - norm)
    node = Node(
        "n",
        "conv_transpose",
        ("x",),
        TensorType((out, 2 * h, 2 * w), width, 8, width - 1),
        {"out_channels": out, "kernel": 2, "stride": 2, "norm_bits": norm},
    )
    return node, (source,), IntegerWeights(weight, rng.integers(-100, 100, out))


def _unary(
    operation: str,
    shape: tuple[int, int, int],
    width: int,
    out_shape: tuple[int, int, int] | None = None,
    bound: int | None = None,
    out: TensorType | None = None,
    **attributes: int | str,
) -> tuple[Node, tuple[TensorType], None]:
    source = TensorType(shape, width, 4, width - 2 if bound is None else bound)
    out = out or TensorType(out_shape or shape, width, 4, source.bound)
    return Node("n", operation, ("x",), out, attributes), (source,), None


CASES: dict[str, Sequence[tuple[Node, tuple[TensorType], IntegerWeights | None]]] = {
    "conv": [_conv(3, 8, 12, 2, 3, 24), _conv(20, 4, 4, 5, 3, 28), _conv(4, 8, 8, 2, 1, 30), _conv(2, 16, 16, 3, 3, 40)],
    "conv_transpose": [_transpose(6, 4, 6, 3, 26), _transpose(2, 8, 8, 1, 36)],
    "relu": [_unary("relu", (2, 5, 7), width) for width in (4, 13, 33)] + [_unary("relu", (3, 64, 64), 12)],
    "truncate": [_unary("truncate", (2, 8, 8), 24, out=TensorType((2, 8, 8), 12, 0, 10), bound=14, shift=4)],
    "extend": [_unary("extend", (2, 9, 5), 12, out=TensorType((2, 9, 5), wide, 4, 10)) for wide in (13, 28, 45)],
    "square": [
        _unary("square", (2, 6, 6), width, bound=width // 2 - 1, out=TensorType((2, 6, 6), width, 8, width - 2))
        for width in (20, 26, 36)
    ],
    "avgpool": [_unary("avgpool", (2, 8, 6), 14, bound=10, out=TensorType((2, 4, 3), 14, 6, 12))],
    "maxpool": [_unary("maxpool", (2, 8, 6), width, (2, 4, 3)) for width in (8, 14)],
    "readout": [
        _unary("readout", (2, 9, 7), 20, (1, 9, 7), kind="argmax"),
        _unary("readout", (2, 9, 7), 20, (1, 9, 7), kind="label-share"),
        _unary("readout", (2, 8, 8), 34, kind="logits"),
        _unary("readout", (2, 8, 8), 20, kind="share"),
    ],
}


def _settings(protocol: Protocol) -> list[dict[str, str]]:
    """The defaults, and each public setting at a value that is not its default."""
    return [{}, *({name: values[len(values) // 2]} for name, values in protocol.settings.items())]


def _cases(protocol: Protocol) -> list[Layer]:
    """What a protocol is run on: the layers of its operation, and those that it brings along; Bob's."""
    layers = [Layer(node, types, weights) for node, types, weights in CASES.get(protocol.operation, [])]
    return [layer for layer in (*layers, *protocol.examples) if protocol.supports(layer) is None]


RUNS = [
    pytest.param(protocol, layer, settings, id="-".join((protocol.operation, protocol.name, str(k), *settings.values())))
    for protocol in registry.everything()
    for k, layer in enumerate(_cases(protocol))
    for settings in _settings(protocol)
]


def test_every_protocol_has_cases() -> None:
    assert all(_cases(protocol) for protocol in registry.everything())


def test_every_operation_has_a_family_and_a_default() -> None:
    families = {operation for operations in FAMILIES.values() for operation in operations}
    for protocol in registry.everything():
        assert protocol.operation in families
        assert protocol.operation == "readout" or registry.DEFAULTS[protocol.operation] in registry.names(protocol.operation)


def test_protocols_are_found_and_listed_in_order() -> None:
    known = [(protocol.operation, protocol.name) for protocol in registry.everything()]
    assert known == sorted(known)
    assert registry.names("relu") == ["gc", "gc-sign"]
    assert registry.names("no-such") == []
    with pytest.raises(UsageError, match="no protocol 'gcc' for relu; known: gc, gc-sign"):
        registry.get("relu", "gcc")


def test_what_cannot_be_registered_is_refused() -> None:
    protocol = registry.get("relu", "gc")
    with pytest.raises(ValueError, match="registered twice"):
        registry.register(protocol)
    with pytest.raises(ValueError, match="there is no operation 'tanh'"):
        registry.register(replace(protocol, operation="tanh"))
    with pytest.raises(ValueError, match="other values of the setting 'garbler'"):
        registry.register(replace(protocol, name="mine", settings={"garbler": ("carol",)}))


def test_settings_are_those_of_the_protocols() -> None:
    assert registry.settings() == {"garbler": ("alice", "bob"), "ot": extension.NAMES}
    assert extension.NAMES[0] == extension.DEFAULT


def _secret(kind: TensorType) -> np.ndarray:
    limit = 1 << kind.bound
    values = rng.integers(-limit + 1, limit, kind.shape)
    flat = values.reshape(-1)
    flat[:4] = [0, -1, limit - 1, -limit + 1]  # the corners
    return values


@pytest.mark.parametrize(("protocol", "layer", "settings"), RUNS)
def test_result_is_the_oracles_and_cost_is_the_counted_one(protocol: Protocol, layer: Layer, settings: dict[str, str]) -> None:
    check(protocol, replace(layer, settings=settings))


def check(protocol: Protocol, layer: Layer) -> None:
    """Run both halves of a layer (Bob's, with weights) on random shares; hold result and traffic against what they must be."""
    node = layer.node
    secrets = [_secret(kind) for kind in layer.inputs]
    shares = [split(secret, kind, Random()) for secret, kind in zip(secrets, layer.inputs, strict=True)]
    hers, his = replace(layer, weights=None), layer
    alice, bob = contexts(protocol.pahe(hers), extension.of(layer.settings))
    result_a, result_b, traffic = counted(
        protocol.alice(alice, protocol.prepared(hers), *[a for a, _ in shares]),
        protocol.bob(bob, protocol.prepared(his), *[b for _, b in shares]),
    )
    if isinstance(result_a, Share) and isinstance(result_b, Share):
        assert result_a.type == result_b.type == node.type
        opened = open_shares(result_a, result_b)
    elif node.attributes.get("kind") == "label-share":
        assert result_a.dtype == result_b.dtype == np.uint8
        opened = (result_a ^ result_b).astype(np.int64).reshape(node.type.shape)
    else:
        assert result_b is None, "Bob learns nothing"
        opened = result_a.astype(np.int64).reshape(node.type.shape)
    verdict = oracle.agrees(node, layer.weights, tuple(secrets), opened, shares[0][0].width)
    assert verdict, verdict.message
    stated = protocol.cost(hers)
    assert (stated.alice_bytes, stated.bob_bytes, stated.rounds) == (traffic.alice_bytes, traffic.bob_bytes, traffic.rounds)
