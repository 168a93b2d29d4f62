"""Why a run ended early: our fault or the peer's. Every message is one sentence that says what to do or what broke."""

from __future__ import annotations

MAX_PEER_TEXT = 300


def plain(text: object) -> str:
    """What a peer sent, fit for a terminal, a log and one sentence: printable characters, at most 300."""
    whole = str(text)
    head = whole[: 4 * MAX_PEER_TEXT]
    cleaned = " ".join("".join(c if c.isprintable() else " " for c in head).split())
    return cleaned if len(cleaned) <= MAX_PEER_TEXT and head == whole else cleaned[:MAX_PEER_TEXT] + "..."


class RunError(Exception):
    """The run cannot go on, and the fault is on this side (bad input, bad option, bad file)."""

    fault = "here"


class PeerError(RunError):
    """The run cannot go on, and the fault is the peer's: it is gone, refused, or sent what the protocol forbids."""

    fault = "peer"
