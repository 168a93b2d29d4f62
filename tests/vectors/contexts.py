"""Contexts of both parties whose randomness is fixed. In tests only: a party's own randomness comes from the system."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from bunet.protocols.context import Context, Role
from bunet.protocols.lockstep import lockstep
from bunet.protocols.ot import extension
from bunet.protocols.pahe import setup as pahe_setup
from bunet.protocols.random import Random


def random_of(role: Role, use: str) -> Random:
    """A party's randomness for one use, the same each time."""
    return Random(f"{role.value} {use}".encode().ljust(32, b"."))


def fresh(use: str) -> tuple[Context, Context]:
    """(Alice's, Bob's) contexts before any set-up."""
    return Context(Role.ALICE, random_of(Role.ALICE, use)), Context(Role.BOB, random_of(Role.BOB, use))


@lru_cache
def _ot_seeds(name: str) -> tuple[Any, Any]:
    alice, bob = fresh("base OTs")
    return lockstep(extension.setup(alice, name), extension.setup(bob, name))


@lru_cache
def _keys(names: tuple[str, ...]) -> tuple[Any, Any]:
    if not names:
        return None, None
    alice, bob = fresh("PAHE keys")
    return lockstep(pahe_setup.setup_alice(alice, names), pahe_setup.setup_bob(bob, names))


def seeded(pahe: tuple[str, ...] = (), ot: str = extension.DEFAULT) -> tuple[Context, Context]:
    """(Alice's, Bob's) contexts of slice 1, layer 0 of a session; pahe: parameter sets; ot: the OT extension."""
    made = [
        Context(role, random_of(role, "slice"), ot=seeds, pahe=keys).fork(1, 0)
        for role, seeds, keys in zip(Role, _ot_seeds(ot), _keys(pahe), strict=True)
    ]
    return made[0], made[1]
