"""Why a run ended early: our fault or the peer's. Every message is one sentence that says what to do or what broke."""

from __future__ import annotations


class RunError(Exception):
    """The run cannot go on, and the fault is on this side (bad input, bad option, bad file)."""

    fault = "here"


class PeerError(RunError):
    """The run cannot go on, and the fault is the peer's: it is gone, refused, or sent what the protocol forbids."""

    fault = "peer"
