"""Totals and documents from synthetic events."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from bunet.parties.events import (
    Event,
    Failed,
    LayerFinished,
    LayerPlan,
    LayerStarted,
    Note,
    SessionFinished,
    SessionStarted,
    SetupFinished,
    SliceFinished,
    SliceStarted,
    Traffic,
)
from bunet.parties.ledger import DOCUMENT_VERSION, Ledger, LedgerError

PLAN = (
    LayerPlan("input", "input", "local", (5, 8, 8), 12),
    LayerPlan("encoder1.conv1", "conv", "pahe-coefficient", (4, 8, 8), 18, 1000, 3000, 2),
    LayerPlan("encoder1.relu1", "relu", "gc-sign", (4, 8, 8), 12, 500, 200, 3),
    LayerPlan("readout", "readout", "argmax", (1, 8, 8), 12, 10, 20, 1),
)
# (compute, wait, sent, received, rounds) of a layer, as Alice sees it
SPENT = ((0.01, 0.0, 0, 0, 0), (1.0, 0.5, 1000, 3000, 2), (2.0, 1.0, 500, 200, 3), (0.1, 0.2, 10, 20, 1))
ENVIRONMENT = {"python": "3.11.0", "cores": 1}
LINK = {"name": "lan", "bandwidth_bps": 3e9, "rtt_s": 0.0003, "jitter_s": 0.0}


def session(role: str, slices: int) -> SessionStarted:
    return SessionStarted(role, "d1" * 32, "8.4", PLAN, "lan", slices, 2)


def slice_events(role: str, number: int, scale: float = 1.0) -> list[Event]:
    axis = "z" if role == "alice" else ""
    events: list[Event] = [SliceStarted(role, number, axis, 40 + number)]
    for layer, (line, spent) in enumerate(zip(PLAN, SPENT, strict=True)):
        compute_s, wait_s, sent, received, rounds = spent
        if role == "bob":
            sent, received = received, sent
        events.append(LayerStarted(role, number, layer, line.name))
        events.append(
            LayerFinished(
                role, number, layer, line.name, line.operation, line.protocol, compute_s * scale, wait_s, sent, received, rounds
            )
        )
    events.append(SliceFinished(role, number, axis, 40 + number, 4.0 + number))
    return events


def whole_run(slices: int = 2) -> list[Event]:
    events: list[Event] = [session("bob", slices), session("alice", slices)]
    events += [SetupFinished("bob", 0.5, 70, 90, 4), SetupFinished("alice", 0.5, 90, 70, 4)]
    for number in range(slices):
        events += slice_events("bob", number, scale=10.0)
        events += slice_events("alice", number)
    events += [SessionFinished("bob", 12.5, 9000, 4000, 200), SessionFinished("alice", 12.0, 4000, 9000, 100)]
    return events


def ledger_of(events: list[Event], view: str = "alice") -> Ledger:
    ledger = Ledger(view)
    for event in events:
        ledger(event)
    return ledger


def test_layers_are_summed_over_slices_as_the_view_saw_them() -> None:
    relu = ledger_of(whole_run(3)).lines[2]
    assert (relu.name, relu.protocol, relu.slices) == ("encoder1.relu1", "gc-sign", 3)
    assert relu.compute_s == pytest.approx(6.0)
    assert relu.peer_compute_s == pytest.approx(60.0)
    assert relu.wait_s == pytest.approx(3.0)
    assert (relu.bytes_sent, relu.bytes_received, relu.rounds) == (1500, 600, 9)


def test_bobs_view_is_the_mirror_of_alices() -> None:
    alice, bob = ledger_of(whole_run()), ledger_of(whole_run(), "bob")
    assert bob.payload() == tuple(reversed(alice.payload()))
    assert bob.lines[1].compute_s == pytest.approx(alice.lines[1].peer_compute_s)


def test_totals_count_setup_rounds_and_take_wire_bytes_from_the_end() -> None:
    ledger = ledger_of(whole_run(2))
    assert ledger.payload() == (90 + 2 * 1510, 70 + 2 * 3220)
    totals = ledger.totals()
    assert (totals.seconds, totals.bytes_sent, totals.bytes_received, totals.rounds) == (12.0, 4000, 9000, 4 + 2 * 6)
    assert totals.peak_memory_bytes == {"alice": 100, "bob": 200}


def test_before_the_end_totals_are_payload_and_memory_is_unknown() -> None:
    totals = ledger_of(whole_run(1)[:-2]).totals()
    assert (totals.bytes_sent, totals.seconds) == (1600, 0.0)
    assert totals.peak_memory_bytes == {"alice": None, "bob": None}


def test_progress_grows_with_every_layer_and_ends_at_one() -> None:
    ledger, seen = Ledger(), []
    for event in whole_run(3):
        ledger(event)
        if isinstance(event, LayerFinished) and event.role == "alice" and event.slice > 0:
            seen.append(ledger.progress())
    assert seen == sorted(seen)
    assert seen[-1] == pytest.approx(1.0)
    assert 0.3 < seen[0] < 0.4  # the first layer of the second of three slices


def test_progress_knows_unequal_layers() -> None:
    events = [event for event in whole_run(1) if event.role == "alice"]
    upto_relu = next(k for k, e in enumerate(events) if isinstance(e, LayerFinished) and e.layer == 2)
    assert ledger_of(events[:upto_relu]).progress() < ledger_of(events[: upto_relu + 1]).progress() < 1.0


def test_running_slices_know_their_layer() -> None:
    ledger = ledger_of([session("alice", 2), *slice_events("alice", 1)[:4]])
    (running,) = ledger.running
    assert (running.number, running.axis, running.index, running.layer_name) == (1, "z", 41, "encoder1.conv1")
    assert ledger.done == []
    assert ledger.expected == 2


def test_document_follows_the_stated_layout() -> None:
    document = ledger_of(whole_run(2)).document(
        link=LINK, environment=ENVIRONMENT, dice={"float": 0.99}, verified=True, run={"size": 8}
    )
    assert json.loads(json.dumps(document, allow_nan=False)) == document
    assert document["version"] == DOCUMENT_VERSION == 1
    assert document["link"] == LINK
    assert document["dice"] == {"float": 0.99, "truth": None}
    assert document["verified"] is True
    assert [line["name"] for line in document["plan"]] == [line.name for line in PLAN]
    assert document["totals"] == {
        "seconds": 12.0,
        "bytes_sent": 4000,
        "bytes_received": 9000,
        "rounds": 16,
        "peak_memory_bytes": {"alice": 100, "bob": 200},
    }
    assert [(one["axis"], one["index"], one["seconds"]) for one in document["slices"]] == [("z", 40, 4.0), ("z", 41, 5.0)]
    assert document["slices"][1]["layers"][2] == {
        "name": "encoder1.relu1",
        "operation": "relu",
        "protocol": "gc-sign",
        "compute_s": 2.0,
        "wait_s": 1.0,
        "bytes_sent": 500,
        "bytes_received": 200,
        "rounds": 3,
    }


def test_slices_that_finish_out_of_order_are_listed_in_order() -> None:
    events = [session("alice", 2), *slice_events("alice", 1), *slice_events("alice", 0)]
    ledger = ledger_of([*events, SessionFinished("alice", 1.0, 1, 1, 1)])
    document = ledger.document(link=LINK, environment=ENVIRONMENT)
    assert [one["index"] for one in document["slices"]] == [40, 41]
    assert document["verified"] is None


@pytest.mark.parametrize(
    ("events", "reason"),
    [
        ([], "did not finish"),
        (whole_run()[:-1], "did not finish"),
        ([e for e in whole_run() if not (isinstance(e, SliceFinished) and e.slice == 1)], "only 1 of 2 slices"),
        ([*whole_run(), Failed("bob", "the peer is gone", "peer")], "the peer is gone"),
    ],
)
def test_part_of_a_run_never_becomes_a_document(events: list[Event], reason: str) -> None:
    with pytest.raises(LedgerError, match=reason):
        ledger_of(events).document(link=LINK, environment=ENVIRONMENT)


def test_notes_and_unknown_layers_do_no_harm() -> None:
    stray = LayerFinished("alice", 0, 9, "extra", "relu", "gc", 1.0, 0.0, 7, 8, 1)
    ledger = ledger_of([Note("bob", "compiling kernels"), *whole_run(1)[:-2], stray])
    assert ledger.notes[0].text == "compiling kernels"
    assert ledger.lines[-1].name == "extra"
    assert ledger.progress() == pytest.approx(1.0)


def test_a_view_must_be_a_party() -> None:
    with pytest.raises(ValueError, match="alice or bob"):
        Ledger("carol")


def test_a_plan_heard_from_the_peer_alone_is_kept() -> None:
    ledger = ledger_of([replace(session("bob", 1), link="wan")])
    assert ledger.session is not None
    assert len(ledger.lines) == len(PLAN)


def test_what_a_peer_sends_for_a_layer_without_bytes_is_no_progress() -> None:
    """The input layer states none; a console that divided by them would stop to show anything."""
    ledger = ledger_of([session("alice", 1), SliceStarted("alice", 0, "z", 40), LayerStarted("alice", 0, 0, "input")])
    ledger(Traffic("alice", 0, 64, ((0, 0, 0, 64),)))
    assert ledger.share_of(ledger.slices[0]) == 0.0
    assert 0.0 <= ledger.progress() < 0.01
