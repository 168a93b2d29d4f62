"""A session's set-up: the seeds of the OTs, then the PAHE keys that the plan needs."""

from __future__ import annotations

import time

from bunet.parties.engine.scheduler import Scheduler
from bunet.parties.events import SetupFinished, Subscriber
from bunet.protocols.context import Role
from bunet.protocols.ot import extension
from bunet.protocols.pahe import setup as pahe_setup

_OT_LAYER, _PAHE_LAYER = 0, 1


def exchange(scheduler: Scheduler, ot: str, parameter_sets: tuple[str, ...], emit: Subscriber) -> None:
    """Fill in the keys of the scheduler's context. ot: the OT extension. parameter_sets: of PAHE. Raises PeerError."""
    context = scheduler.context
    started = time.perf_counter()
    pahe_half = pahe_setup.setup_alice if context.role is Role.ALICE else pahe_setup.setup_bob
    context.ot, seeds = scheduler.exchange(lambda ctx: extension.setup(ctx, ot), _OT_LAYER)
    context.pahe, pahe = scheduler.exchange(lambda ctx: pahe_half(ctx, parameter_sets), _PAHE_LAYER)
    emit(
        SetupFinished(
            context.role.value,
            time.perf_counter() - started,
            seeds.sent + pahe.sent,
            seeds.received + pahe.received,
            seeds.rounds + pahe.rounds,
        )
    )
