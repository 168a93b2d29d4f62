"""Alice and Bob as two processes over ZeroMQ: results, order, and what happens when something goes wrong."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bunet.models import oracle
from bunet.models.compiled import Compiled, quantise_input, save_compiled
from bunet.models.errors import LocalError, PeerError
from bunet.models.network.architecture import Architecture
from bunet.models.network.fold import fold
from bunet.models.network.graph import lower
from bunet.models.network.seeded import seeded_weights
from bunet.models.passes.calibrate import calibrate
from bunet.models.passes.compile import compile_model
from bunet.models.volumes.slice_source import SliceSource
from bunet.net import zeromq
from bunet.net.frame import Control, Frame
from bunet.net.link import Link
from bunet.parties import bob as bob_party
from bunet.parties import outcomes
from bunet.parties.events import Failed, LayerFinished, Note, SessionFinished, SliceFinished
from bunet.parties.local.inputs import VolumeSlices
from bunet.parties.local.job import PairJob
from bunet.parties.local.pair import run_pair
from bunet.parties.local.record import beyond_calibration
from bunet.parties.run_options import RunOptions
from bunet.parties.session.run import Hooks
from bunet.parties.store import CompiledStore
from tests.parties.programs import calibration, slices, small


def prepare(folder: Path, compiled: Compiled, count: int, record: int = 0, **options: Any) -> PairJob:
    model, inputs = folder / "model.safetensors", folder / "inputs.npy"
    save_compiled(compiled, model)
    np.save(inputs, slices(compiled, count))
    labels = tuple(("z", 10 + k) for k in range(count))
    return PairJob(folder=folder, model=model, inputs=inputs, labels=labels, record=record, run=RunOptions(**options))


@pytest.mark.parametrize(
    ("options", "architecture"),
    [
        ({"in_flight": 1}, {}),
        ({"in_flight": 3, "link": Link(2e9, 2e-3, 1e-3)}, {"activation": "hybrid", "pooling": "max"}),
        ({"in_flight": 2, "cores": 2, "settings": {"garbler": "bob"}, "protocols": {"relu": "gc"}}, {"readout": "logits"}),
        ({"settings": {"ot": "softspoken-4"}}, {}),
        ({"in_flight": 2}, {"readout": "label-share"}),
    ],
)
def test_a_pair_computes_what_the_oracle_says(tmp_path: Path, options: dict[str, Any], architecture: dict[str, Any]) -> None:
    compiled = small(16, 2, **architecture)
    events: list[Any] = []
    result = run_pair(prepare(tmp_path, compiled, 4, record=4, **options), events.append)
    assert result.mismatches == []
    assert result.verified is True
    assert result.compared_layers == 4 * (len(compiled.program.nodes) - 1)
    assert len(result.slice_seconds) == 4
    assert result.seconds > 0
    assert set(result.peak_memory_bytes) == {"alice", "bob"}
    if "readout" not in architecture:
        exact = [oracle.run(compiled.program, compiled.weights, x)["readout"] for x in np.load(tmp_path / "inputs.npy")]
        # Roundings differ between runs, labels near the boundary with them.
        assert np.mean(result.masks == np.stack(exact).reshape(result.masks.shape)) > 0.9
    for role in ("alice", "bob"):
        assert sum(isinstance(e, SliceFinished) and e.role == role for e in events) == 4
        assert sum(isinstance(e, SessionFinished) and e.role == role for e in events) == 1


@pytest.mark.parametrize("ot", ["iknp", "softspoken-8"])
def test_measured_traffic_is_the_plans(tmp_path: Path, ot: str) -> None:
    """Every layer's bytes and rounds in a real run are those that its protocol states."""
    compiled = small(16, 2, pooling="max", activation="hybrid")
    events: list[Any] = []
    run_pair(prepare(tmp_path, compiled, 1, settings={"ot": ot}), events.append)
    plan = {line.name: line for e in events if type(e).__name__ == "SessionStarted" for line in e.plan}
    layers = [e for e in events if isinstance(e, LayerFinished)]
    assert len(layers) == 2 * len(compiled.program.nodes)
    for event in layers:
        sent, received = plan[event.name].alice_bytes, plan[event.name].bob_bytes
        if event.role == "bob":
            sent, received = received, sent
        assert (event.bytes_sent, event.bytes_received) == (sent, received), event.name
    for name in plan:
        assert max(e.rounds for e in layers if e.name == name) == plan[name].rounds, name


def test_a_bad_model_file_is_one_sentence(tmp_path: Path) -> None:
    job = prepare(tmp_path, small(), 1)
    job.model.write_bytes(b"nonsense")
    with pytest.raises(LocalError, match="not a compiled model"):
        run_pair(job, lambda event: None)


def test_a_refused_plan_is_one_sentence(tmp_path: Path) -> None:
    job = prepare(tmp_path, small(), 1, protocols={"relu": "magic"})
    with pytest.raises(PeerError, match="no protocol 'magic' for relu"):
        run_pair(job, lambda event: None)


def test_values_beyond_calibration_are_reported_and_are_no_mismatch(tmp_path: Path) -> None:
    """Ranges far too small: values leave their rings inside. The parties do what the program defines, and say so."""
    shape = Architecture(features=2, depth=2)
    weights, graph = seeded_weights(shape, 0), lower(shape)
    ranges = calibrate(graph, fold(graph, weights.tensors), calibration(shape, 16, 0))
    small_ranges = {name: value / (2 if name == "input" else 16) for name, value in ranges.items()}
    compiled = compile_model(weights, 16, 16, "8.4", small_ranges)
    events: list[Any] = []
    result = run_pair(prepare(tmp_path, compiled, 2, record=2), events.append)
    assert (result.verified, result.mismatches) == (True, [])
    assert result.beyond
    name, count = next(iter(result.beyond.items()))
    (line,) = beyond_calibration(result.beyond)
    assert line.startswith(f"beyond calibration: {count} values in layer {name}")
    (note,) = [e.text for e in events if isinstance(e, Note) and "calibrated" in e.text]
    assert note.startswith("values of 2 of 2 slices, at most ")
    numbers = np.load(tmp_path / "inputs.npy")
    shares = {f"z{10 + k}": float((np.abs(numbers[k][2]) > compiled.program.calibrated).mean()) for k in range(2)}
    assert result.input_beyond == shares
    within = run_pair(prepare(tmp_path, small(16, 2), 1, record=1), events.append)
    assert (within.beyond, beyond_calibration(within.beyond), within.input_beyond) == ({}, [], {})
    unrecorded = run_pair(prepare(tmp_path, small(16, 2), 1), events.append)
    assert (unrecorded.beyond, beyond_calibration(unrecorded.beyond)) == (None, [])


class Service:
    """Bob in a thread of this process."""

    def __init__(self, compiled: Compiled) -> None:
        self.events: list[Any] = []
        self.listener = zeromq.Listener("tcp://127.0.0.1:*")
        self.stop = threading.Event()
        service = bob_party.Service(CompiledStore([compiled]), RunOptions(), Hooks(self.events.append))
        self.thread = threading.Thread(target=bob_party.serve, args=(self.listener, service), kwargs={"stop": self.stop})

    def __enter__(self) -> Service:
        self.thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop.set()
        self.thread.join()
        self.listener.close()

    def failures(self, count: int, timeout_s: float = 15.0) -> list[Failed]:
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            failed = [e for e in self.events if isinstance(e, Failed)]
            if len(failed) >= count:
                return failed
            time.sleep(0.05)
        raise AssertionError(f"Bob noticed nothing within {timeout_s} s: {self.events[-3:]}")


def worker(folder: Path, address: str, role: str = "alice") -> subprocess.Popen[bytes]:
    process = subprocess.Popen(
        [sys.executable, "-m", "bunet.parties.local.worker", role, str(folder / f"{role}.json")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    process.stdin.write(json.dumps({"connect": address}).encode() + b"\n")
    process.stdin.flush()
    return process


def outcome(process: subprocess.Popen[bytes], timeout_s: int) -> tuple[bytes, bytes]:
    """What it writes until it ends; its standard input, which tells it that its parent lives, stays open."""
    clock = threading.Timer(timeout_s, process.kill)
    clock.start()
    written = process.stdout.read(), process.stderr.read()
    process.wait()
    clock.cancel()
    for pipe in (process.stdin, process.stdout, process.stderr):
        pipe.close()
    return written


def test_bob_outlives_a_killed_client_and_a_liar(tmp_path: Path) -> None:
    compiled = small(64, 8)
    job = prepare(tmp_path, compiled, 50)
    job.write("alice")
    with Service(compiled) as service:
        process = worker(tmp_path, service.listener.address)
        for line in process.stdout:  # in the middle of the slices
            if json.loads(line).get("event") == "SliceFinished":
                break
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdin.close()
        process.stdout.close()
        process.stderr.close()
        begun = time.monotonic()
        (failed,) = service.failures(1)
        assert time.monotonic() - begun < 10
        assert failed.fault == "peer"

        liar = zeromq.connect(service.listener.address)
        liar.send(Frame(0, 0, 0, 1, "surprise", (np.zeros(4, np.uint8),)))
        assert "sent data where 'open' was due" in service.failures(2)[1].message
        liar.close()

        mute = zeromq.connect(service.listener.address)
        mute.send(Control("open", {"version": "nonsense"}))
        answer = mute.receive(10)
        assert isinstance(answer, Control)
        assert answer.type == "error"
        assert "versions differ" in answer.body["message"]
        mute.close()

        good = prepare(tmp_path, compiled, 1)
        good.write("alice")
        done = worker(tmp_path, service.listener.address)
        out, err = outcome(done, 120)
        assert done.returncode == 0, err.decode()
        assert b'"done": "alice"' in out


def test_slices_cut_from_a_volume_are_kept_as_they_come(tmp_path: Path) -> None:
    """Alice cuts what she needs and writes each slice; what she writes is what the oracle says of the slice."""
    compiled = small(32, 4, readout="logits")
    volume = np.random.default_rng(3).random((8, 48, 40), dtype=np.float32)
    np.save(tmp_path / "volume.npy", volume)
    save_compiled(compiled, tmp_path / "model.safetensors")
    job = PairJob(
        folder=tmp_path,
        model=tmp_path / "model.safetensors",
        inputs=VolumeSlices(volume=tmp_path / "volume.npy", size=32),
        labels=(("z", 2), ("z", 5)),
        record=2,
        results=tmp_path / "kept",
    )
    job.results.mkdir()
    result = run_pair(job, lambda event: None)
    assert result.verified is True, result.mismatches
    assert result.masks.size == 0
    assert sorted(path.name for path in job.results.iterdir()) == ["slice-0002.safetensors", "slice-0005.safetensors"]
    for index in (2, 5):
        image = quantise_input(compiled.program, SliceSource.of(volume, "z", 32).image(index))
        logits = oracle.run(compiled.program, compiled.weights, image)["readout"]
        expected = outcomes.compact(compiled.program, logits)
        assert expected.std() > 0.05
        np.testing.assert_allclose(outcomes.read(job.results, index, np.float32), expected, atol=0.2)


@pytest.mark.parametrize("role", ["alice", "bob"])
def test_a_party_ends_with_the_process_that_started_it(tmp_path: Path, role: str) -> None:
    job = prepare(tmp_path, small(), 1)
    for each in ("alice", "bob"):
        job.write(each)
    bob, _ = listening_bob(tmp_path)
    party = worker(tmp_path, "tcp://127.0.0.1:9") if role == "alice" else bob
    for process in {party, bob}:
        process.stdin.close()
        assert process.wait(timeout=30) != 0
        process.stdout.close()
        process.stderr.close()


def listening_bob(folder: Path) -> tuple[subprocess.Popen[bytes], str]:
    """Bob's worker process and his address."""
    process = worker(folder, "", "bob")
    for line in process.stdout:
        document = json.loads(line)
        if "listening" in document:
            return process, document["listening"]
    pytest.fail(process.stderr.read().decode())


@pytest.mark.parametrize("sent", [signal.SIGKILL, signal.SIGSTOP], ids=["killed", "silent"])
def test_alice_ends_by_herself_when_bob_is_gone(tmp_path: Path, sent: Any) -> None:
    """Nobody but the network tells Alice: no parent watches both processes."""
    job = prepare(tmp_path, small(64, 8), 50)
    for role in ("alice", "bob"):
        job.write(role)
    bob, address = listening_bob(tmp_path)
    drain = threading.Thread(target=bob.stdout.read, daemon=True)  # a full pipe must not be what stops him
    drain.start()
    alice = worker(tmp_path, address)
    try:
        documents = []
        for line in alice.stdout:
            documents.append(json.loads(line))
            if documents[-1].get("event") == "SliceFinished":
                break
        assert documents[-1].get("event") == "SliceFinished", documents[-3:]
        bob.send_signal(sent)
        begun = time.monotonic()
        out, err = outcome(alice, 60)
        assert time.monotonic() - begun < 10
        assert alice.returncode == 1
        (sentence,) = err.decode().strip().splitlines()
        assert sentence.startswith("alice: ")
        assert "127.0.0.1" in sentence
        documents += [json.loads(line) for line in out.splitlines()]
        (failed,) = [d for d in documents if d.get("event") == "Failed"]
        assert failed["fault"] == "peer"
        assert sentence == f"alice: {failed['message']}"
        assert not any("done" in d for d in documents)
        assert not (tmp_path / "masks.npy").exists(), "no partial result that looks whole"
    finally:
        for process in (alice, bob):
            process.kill()
            process.wait()
        drain.join()
        for pipe in (alice.stdin, alice.stdout, alice.stderr, bob.stdin, bob.stdout, bob.stderr):
            pipe.close()
