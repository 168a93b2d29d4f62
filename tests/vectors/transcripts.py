"""What each party sends in lockstep under fixed randomness: for every registered protocol, whole programs, set-ups and a vote.

A transcript is, for each party, the tags, kinds and shapes of its messages in order, and one SHA-256 over these and all bytes.
The order between the parties is not part of it: over a network there is none.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from itertools import groupby
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bunet.models.integers import IntegerWeights, l1_norm
from bunet.models.program import Node, TensorType
from bunet.parties.planner import choose, pahe_names, plan
from bunet.protocols import registry
from bunet.protocols.ass.share import Share
from bunet.protocols.lockstep import lockstep
from bunet.protocols.ot import extension
from bunet.protocols.pahe import setup as pahe_setup
from bunet.protocols.registry import Layer
from bunet.protocols.steps import Send, Steps
from bunet.protocols.vote import election
from tests.parties.whole_program import whole_program
from tests.protocols.contexts import tapped
from tests.vectors import kept_files
from tests.vectors.contexts import fresh, seeded
from tests.vectors.kept import Answers, Producers, digest, fixed

Case = tuple[Node, TensorType, IntegerWeights | None]


def transcript(alice: Steps[Any], bob: Steps[Any]) -> Answers:
    """Both halves run to their ends; what they have sent, and digests of what they return."""
    hers: list[Send] = []
    his: list[Send] = []
    results = lockstep(tapped(alice, hers), tapped(bob, his))
    sent = {"alice": _sent(hers), "bob": _sent(his)}
    return {**sent, "results": [_result(result) for result in results]}


def _sent(messages: Sequence[Send]) -> Answers:
    known = hashlib.sha256()
    for message in messages:
        known.update(f"{message.tag} {digest(*message.arrays)};".encode())
    return {
        "messages": [_repeated(line, len(list(same))) for line, same in groupby(map(_described, messages))],
        "bytes": sum(message.nbytes for message in messages),
        "sha256": known.hexdigest(),
    }


def _described(message: Send) -> str:
    """Such as `tables uint64 (1, 9, 2, 64, 2)`."""
    return " ".join([message.tag, *(f"{array.dtype} {array.shape}" for array in message.arrays)])


def _repeated(line: str, times: int) -> str:
    return line if times == 1 else f"{line} x{times}"


def _result(result: Any) -> str | None:
    if isinstance(result, Share):
        return digest(result.values)
    return None if result is None else digest(np.asarray(result))


# --- layers ----------------------------------------------------------------------------------------------------------


def _convolution(operation: str, width: int) -> Case:
    transposed = operation == "conv_transpose"
    shape = (3, 2, 2, 2) if transposed else (2, 3, 3, 3)
    weight = (fixed(*shape) % np.uint64(63)).astype(np.int64) - 31
    bias = (fixed(2) % np.uint64(201)).astype(np.int64) - 100
    norm = l1_norm(weight).bit_length()
    source = TensorType((3, 6, 8), width, 4, width - 2 - norm)
    size = (2, 12, 16) if transposed else (2, 6, 8)
    facts = {"out_channels": 2, "kernel": shape[-1], "norm_bits": norm} | ({"stride": 2} if transposed else {})
    node = Node("n", operation, ("x",), TensorType(size, width, 8, width - 1), facts)
    return node, source, IntegerWeights(weight, bias)


def _unary(
    operation: str,
    shape: tuple[int, int, int],
    width: int,
    bound: int,
    out: TensorType | None = None,
    **attributes: int | str,
) -> Case:
    source = TensorType(shape, width, 4, bound)
    return Node("n", operation, ("x",), out or source, attributes), source, None


def _cases() -> dict[str, list[Case]]:
    """Small layers of every operation; a read-out's protocol takes the one of its kind."""
    shape = (2, 6, 10)
    return {
        "conv": [_convolution("conv", 24)],
        "conv_transpose": [_convolution("conv_transpose", 26)],
        "relu": [_unary("relu", shape, 13, 11)],
        "truncate": [_unary("truncate", shape, 24, 14, TensorType(shape, 12, 0, 10), shift=4)],
        "extend": [_unary("extend", shape, 12, 10, TensorType(shape, 28, 4, 10))],
        "square": [_unary("square", shape, 20, 9, TensorType(shape, 20, 8, 18))],
        "avgpool": [_unary("avgpool", shape, 14, 10, TensorType((2, 3, 5), 14, 6, 12))],
        "maxpool": [_unary("maxpool", shape, 14, 12, TensorType((2, 3, 5), 14, 4, 12))],
        "readout": [
            _unary("readout", shape, 20, 18, TensorType((1, 6, 10), 2, 0, 1), kind="argmax"),
            _unary("readout", shape, 20, 18, TensorType((1, 6, 10), 2, 0, 1), kind="label-share"),
            _unary("readout", shape, 20, 18, kind="logits"),
            _unary("readout", shape, 20, 18, kind="share"),
        ],
    }


def _shares(type: TensorType) -> tuple[Share, Share]:
    """Shares of values within the type's bound."""
    limit = 1 << type.bound
    values = (fixed(type.elements) % np.uint64(2 * limit - 1)).astype(np.int64).reshape(type.shape) - (limit - 1)
    mask = fixed(type.elements + 1)[1:].reshape(type.shape)
    return Share.of(values.astype(np.uint64) - mask, type), Share.of(mask, type)


def layers() -> Answers:
    """Each registered protocol on a small layer; with the other garbler and with SoftSpoken where it sends OTs or tables."""
    answers: Answers = {}
    for protocol in registry.everything():
        cases = [case for case in _cases()[protocol.operation] if protocol.supports(_layer(case, {}, None)) is None]
        for case in cases:
            name = f"{protocol.operation} {protocol.name}"
            plain = _of_layer(protocol, case, {})
            answers[name] = plain
            for setting, value in (("garbler", "bob"), ("ot", "softspoken-4")):
                other = _of_layer(protocol, case, {setting: value})
                if other != plain:
                    answers[f"{name}, {setting} {value}"] = other
    return answers


def _layer(case: Case, settings: dict[str, str], weights: IntegerWeights | None) -> Layer:
    node, source, _ = case
    return Layer(node, (source,), weights, settings)


def _of_layer(protocol: registry.Protocol, case: Case, settings: dict[str, str]) -> Answers:
    hers, his = _layer(case, settings, None), _layer(case, settings, case[2])
    alice, bob = seeded(protocol.pahe(hers), extension.of(settings))
    a, b = _shares(case[1])
    return transcript(protocol.alice(alice, protocol.prepared(hers), a), protocol.bob(bob, protocol.prepared(his), b))


# --- a session's other parts -----------------------------------------------------------------------------------------


def setups() -> Answers:
    """Base OTs with each extension's set-up, and the exchange of PAHE keys. Results are keys: only what is sent is kept."""
    answers: Answers = {}
    for name in extension.NAMES:
        alice, bob = fresh("set-up")
        answers[f"ot {name}"] = transcript(extension.setup(alice, name), extension.setup(bob, name)) | {"results": None}
    sets = ("n2048-q50", "n4096-q94", "n8192-q141")
    alice, bob = fresh("set-up")
    keys = transcript(pahe_setup.setup_alice(alice, sets), pahe_setup.setup_bob(bob, sets))
    return answers | {"pahe": keys | {"results": None}}


def programs() -> Answers:
    """One slice of each kept compiled model, all its layers one after the other."""
    answers: Answers = {}
    for name, settings in (("relu", {}), ("hybrid", {}), ("hybrid", {"garbler": "bob", "ot": "softspoken-4"})):
        label = ", ".join([name, *(f"{setting} {value}" for setting, value in settings.items())])
        answers[label] = _of_program(name, settings)
    return answers


def _of_program(name: str, settings: dict[str, str]) -> Answers:
    compiled = kept_files.compiled(name)
    program, chosen = compiled.program, choose(compiled.program)
    weights = compiled.weights
    hers, his = plan(program, chosen, settings), plan(program, chosen, settings, weights)
    alice, bob = seeded(pahe_names(hers), extension.of(settings))
    a, b = _shares(program.input.type)
    return transcript(whole_program(alice, hers, a), whole_program(bob, his, b))


def vote() -> Answers:
    """An election of five ballots in two groups, with the maximum filter."""
    facts = election.Election((5, 6, 7), (3, 2))
    bits: NDArray[np.uint8] = (fixed(2, 5, 5, 6, 7) & np.uint64(1)).astype(np.uint8)
    alice, bob = seeded()
    return transcript(election.vote(alice, facts, list(bits[0])), election.vote(bob, facts, list(bits[1])))


PRODUCERS: Producers = {"layers": layers, "setups": setups, "programs": programs, "vote": vote}
