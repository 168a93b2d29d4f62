"""Key exchange of a session: Alice makes a key for every parameter set in use and sends the public halves."""

from __future__ import annotations

from collections.abc import Sequence

from bunet.protocols.context import Context, Role
from bunet.protocols.cost import Cost
from bunet.protocols.pahe import parameters
from bunet.protocols.pahe.keys import PublicKey, SecretKey
from bunet.protocols.steps import Receive, Send, Steps

_TAG = "pahe-keys"


def distinct(names: Sequence[str]) -> tuple[str, ...]:
    """Set names without repetition in a fixed order; LookupError for an unknown one."""
    for name in names:
        parameters.get(name)
    return tuple(sorted(set(names)))


def setup_alice(ctx: Context, names: Sequence[str]) -> Steps[dict[str, SecretKey]]:
    """Alice's secret keys by set name; her public keys travel in one message."""
    keys = {name: SecretKey.generate(parameters.get(name), ctx.random) for name in distinct(names)}
    if keys:
        yield Send(_TAG, tuple(array for key in keys.values() for array in key.public_key(ctx.random).arrays()))
    return keys


def setup_bob(ctx: Context, names: Sequence[str]) -> Steps[dict[str, PublicKey]]:
    """Alice's public keys by set name."""
    sets = [parameters.get(name) for name in distinct(names)]
    if not sets:
        return {}
    arrays = yield Receive(_TAG, tuple(array for params in sets for array in PublicKey.specs(params)))
    return {params.name: PublicKey.from_arrays(params, arrays[2 * k : 2 * k + 2]) for k, params in enumerate(sets)}


def setup_cost(names: Sequence[str]) -> Cost:
    """Exact cost: one message from Alice, or none."""
    specs = [array for name in distinct(names) for array in PublicKey.specs(parameters.get(name))]
    return Cost.flight(Role.ALICE, sum(array.nbytes for array in specs)) if specs else Cost()
