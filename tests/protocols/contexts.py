"""Contexts of both parties with keys from a real set-up, made once for a test session."""

from functools import lru_cache
from typing import Any

from bunet.protocols.context import Context, Role
from bunet.protocols.lockstep import lockstep
from bunet.protocols.ot import extension
from bunet.protocols.pahe import setup as pahe_setup
from bunet.protocols.random import Random
from bunet.protocols.steps import Send, Steps, T

_slices = iter(range(1, 1 << 24))


@lru_cache
def _ot_seeds(kind: str) -> tuple[Any, Any]:
    alice, bob = Context(Role.ALICE, Random()), Context(Role.BOB, Random())
    return lockstep(extension.setup(alice, kind), extension.setup(bob, kind))


@lru_cache
def _pahe_keys(names: tuple[str, ...]) -> tuple[Any, Any]:
    alice, bob = Context(Role.ALICE, Random()), Context(Role.BOB, Random())
    return lockstep(pahe_setup.setup_alice(alice, names), pahe_setup.setup_bob(bob, names))


def contexts(pahe: tuple[str, ...] = (), ot: str = extension.DEFAULT) -> tuple[Context, Context]:
    """(Alice's, Bob's) contexts on a fresh slice, so that no stream number is used twice; ot: the OT extension."""
    slice = next(_slices)
    keys = _pahe_keys(pahe) if pahe else (None, None)
    alice, bob = (
        Context(role, Random(), ot=seeds, pahe=key).fork(slice, 0)
        for role, seeds, key in zip((Role.ALICE, Role.BOB), _ot_seeds(ot), keys, strict=True)
    )
    return alice, bob


def tapped(steps: Steps[T], seen: list[Send]) -> Steps[T]:
    """The same generator; every message it sends is kept."""
    value: Any = None
    while True:
        try:
            step = steps.send(value)
        except StopIteration as stop:
            return stop.value
        if isinstance(step, Send):
            seen.append(step)
        value = yield step
