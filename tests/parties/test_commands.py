"""`bunet bob` and `bunet alice` as a person types them: two processes on loopback."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bunet.models import oracle
from bunet.models.compiled import Compiled, quantise_input, save_compiled
from bunet.models.errors import PeerError
from bunet.models.integers import IntegerWeights
from bunet.models.program import Format, Node, Program, TensorType
from bunet.models.volumes import formats
from bunet.models.volumes.slicing import slices as cutting
from bunet.net import zeromq
from bunet.parties import alice as alice_party
from bunet.parties import bob as bob_party
from bunet.parties.events import Failed, Note
from bunet.parties.input_slices import InputSlices
from bunet.parties.run_options import RunOptions
from bunet.parties.session.handshake import Request
from bunet.parties.session.run import Hooks
from bunet.parties.store import CompiledStore
from tests.parties.programs import named

BUNET = str(Path(sys.executable).with_name("bunet"))
SLICES = 30
SIZE = 16


def exact(seed: int = 3) -> Compiled:
    """A network that never rounds, so that every run of it gives the same labels: conv, ReLU, conv, argmax."""
    random = np.random.default_rng(seed)
    first, last = random.integers(-9, 10, (3, 5, 3, 3), np.int64), random.integers(-9, 10, (2, 3, 1, 1), np.int64)
    wide = TensorType((3, SIZE, SIZE), 30, 4, 24)
    nodes = (
        Node("input", "input", (), TensorType((5, SIZE, SIZE), 30, 4, 11), {"calibrated": 15}),
        Node("first", "conv", ("input",), wide, {"out_channels": 3, "kernel": 3, "norm_bits": 10}),
        Node("relu", "relu", ("first",), wide),
        Node(
            "last",
            "conv",
            ("relu",),
            TensorType((2, SIZE, SIZE), 30, 4, 28),
            {
                "out_channels": 2,
                "kernel": 1,
                "norm_bits": 6,
            },
        ),
        Node("readout", "readout", ("last",), TensorType((1, SIZE, SIZE), 2, 0, 1), {"kind": "argmax"}),
    )
    weights = {
        "first": IntegerWeights(first, random.integers(-50, 50, 3, np.int64)),
        "last": IntegerWeights(last, random.integers(-50, 50, 2, np.int64)),
    }
    return Compiled(Program(Format(8, 4), nodes), weights)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save_compiled(named(exact()), tmp_path / "exact.model")
    np.save(tmp_path / "volume.npy", np.random.default_rng(1).random((SLICES, SIZE, SIZE), np.float32))
    return tmp_path


def expected(folder: Path, positions: range, seed: int = 3) -> np.ndarray:
    """The labels, by the oracle in the clear."""
    compiled = exact(seed)
    volume = formats.load(folder / "volume.npy").volume
    images = [quantise_input(compiled.program, cutting.slice_at(volume, "z", k)) for k in positions]
    return np.stack([oracle.run(compiled.program, compiled.weights, x)["readout"][0] for x in images])


class Bob:
    """`bunet bob` on a port of its own; what it wrote is there once it has ended."""

    def __init__(self, folder: Path, *options: str) -> None:
        command = [BUNET, "bob", "--model", str(folder / "exact.model"), "--listen", "tcp://127.0.0.1:0", *options]
        self.errors = open(folder / "bob.err", "w+")  # noqa: SIM115 - lives as long as the process
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=self.errors, text=True)
        first = self.process.stdout.readline()
        assert first.startswith("Bob listens at "), first + self.said()
        self.address = first.split()[3]
        self.lines: list[str] = []
        self._reader = threading.Thread(target=lambda: self.lines.extend(self.process.stdout), daemon=True)
        self._reader.start()

    def said(self) -> str:
        """What is on standard error so far."""
        return Path(self.errors.name).read_text()

    def end(self, with_signal: int = signal.SIGTERM) -> int:
        if self.process.poll() is None:
            self.process.send_signal(with_signal)
        try:
            status = self.process.wait(20)
        finally:
            self.process.kill()
            self._reader.join(10)
            self.process.stdout.close()
            self.errors.close()
        return status

    def __enter__(self) -> "Bob":
        return self

    def __exit__(self, *exc: object) -> None:
        self.end()


def alice(folder: Path, address: str, *options: str, out: str = "result") -> subprocess.Popen[str]:
    return subprocess.Popen(
        [BUNET, "alice", "--volume", str(folder / "volume.npy"), "--connect", address, "--out", str(folder / out), *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=120)
    return process.returncode, out, err


def mask_of(path: Path) -> np.ndarray:
    with np.load(path / "mask.npz", allow_pickle=False) as stored:
        return stored["array"]


def test_a_run_with_its_document(folder: Path) -> None:
    with Bob(folder) as bob:
        code, out, err = finish(
            alice(
                folder,
                bob.address,
                "--slices",
                "3:7",
                "--in-flight",
                "2",
                "--json",
                str(folder / "run.json"),
            )
        )
        assert code == 0, err
        assert "4 slices in" in out
        assert bob.end() == 0, bob.said()
    assert any("session finished after" in line for line in bob.lines)
    mask = mask_of(folder / "result")
    assert (mask[3:7] == expected(folder, range(3, 7))).all()
    assert mask.shape == (SLICES, SIZE, SIZE)
    assert not mask[:3].any()
    assert not mask[7:].any()
    document = json.loads((folder / "run.json").read_text())
    program = exact().program
    assert (document["version"], document["view"], document["program"]) == (1, "alice", program.digest())
    assert [line["name"] for line in document["plan"]] == [node.name for node in program]
    assert len(document["slices"]) == 4
    stated = sum(line["alice_bytes"] for line in document["plan"])
    assert document["setup"]["bytes_sent"] > 0
    assert all(sum(layer["bytes_sent"] for layer in entry["layers"]) == stated for entry in document["slices"])


def test_a_run_goes_on_after_alice_is_killed(folder: Path) -> None:
    """A killed client leaves whole slices; the same command does the rest, and the files are those of a run in one piece."""
    slow = ("--link", "loopback", "--bandwidth", "200Mbit", "--rtt", "40ms")
    with Bob(folder, *slow) as bob:
        first = alice(folder, bob.address, *slow)
        deadline = time.monotonic() + 60
        while len(list((folder / "result").glob("slice-*.safetensors"))) < 2:
            assert first.poll() is None, first.stderr.read()
            assert time.monotonic() < deadline
            time.sleep(0.02)
        first.kill()
        finish(first)
        there = (folder / "result").glob("slice-*.safetensors")
        done = {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in there}
        assert 2 <= len(done) < SLICES
        assert not (folder / "result" / "mask.npz").exists()

        code, out, err = finish(alice(folder, bob.address, *slow, "--in-flight", "4"))
        assert code == 0, err
        assert f"{len(done)} of {SLICES} slices are done already" in out
        code, _, err = finish(alice(folder, bob.address, *slow, "--in-flight", "8", out="whole"))
        assert code == 0, err

    for name, (content, written) in done.items():
        path = folder / "result" / name
        assert (path.read_bytes(), path.stat().st_mtime_ns) == (content, written), "what was done is not done again"
    files = {path.name for path in (folder / "whole").iterdir()}
    assert {path.name for path in (folder / "result").iterdir()} == files
    assert len(files) == SLICES + 6  # volume_mask.npy, mask.npz, result.json, run.json, alice-warnings.json, .lock
    for name in files - {"mask.npz"}:
        assert (folder / "result" / name).read_bytes() == (folder / "whole" / name).read_bytes(), name
    assert (mask_of(folder / "result") == expected(folder, range(SLICES))).all()
    assert (mask_of(folder / "whole") == mask_of(folder / "result")).all()


def test_of_two_models_of_one_size_alice_gets_the_one_that_she_asks_for(folder: Path) -> None:
    save_compiled(named(exact(4), target="lung", name="lung-z"), folder / "lung.model")
    with Bob(folder, "--model", str(folder / "lung.model")) as bob:
        for target, seed in (("infection", 3), ("lung", 4)):
            code, out, err = finish(alice(folder, bob.address, "--slices", "3:5", "--target", target, out=target))
            assert code == 0, err
            assert f"alice: Bob serves {target} along z, `" in out
            assert (mask_of(folder / target)[3:5] == expected(folder, range(3, 5), seed)).all()
        assert (mask_of(folder / "lung") != mask_of(folder / "infection")).any()
        refused = (
            ((), "2 of Bob's models fit: infection along z (small@1), 5x16x16, format 8.4, read-out argmax; lung along z (lu"),
            (
                ("--axis", "x", "--target", "lung", "--size", "16"),
                "Bob does not serve 5x16x16 slices, target lung, axis x, read-out argmax; he serves infection along z",
            ),
        )
        for options, sentence in refused:
            code, _, err = finish(alice(folder, bob.address, "--slices", "3:5", *options, out="none"))
            assert code == 1
            assert f"bunet: {sentence}" in err
            assert not list((folder / "none").glob("slice-*"))
        assert bob.end() == 0, bob.said()
    assert all(sentence in bob.said() for _, sentence in refused)
    assert bob.lines[0].startswith(f"{folder / 'exact.model'}: infection along z, `small` version 1, trained at 16 pixels, v")
    assert bob.lines[1].startswith(f"{folder / 'lung.model'}: lung along z, `lung-z` version 1")
    assert "serves lung along z (lung-z@1)\n" in bob.lines


def test_a_run_goes_on_after_bob_is_restarted_with_the_same_file_and_with_no_other(folder: Path) -> None:
    with Bob(folder) as bob:
        code, _, err = finish(alice(folder, bob.address, "--slices", "0:2"))
        assert code == 0, err
    noted = json.loads((folder / "result" / "run.json").read_text())
    assert (noted["commitment"], noted["model"]["name"]) == (named(exact()).commitment, "small")
    with Bob(folder) as bob:
        code, out, err = finish(alice(folder, bob.address, "--slices", "0:4"))
        assert code == 0, err
        assert "2 of 4 slices are done already" in out
    assert (mask_of(folder / "result")[:4] == expected(folder, range(4))).all()
    done = sorted(path.name for path in (folder / "result").glob("slice-*"))
    for other in (named(exact(4)), named(exact(), salt=b"1" * 32)):  # retrained; compiled again
        save_compiled(other, folder / "exact.model")
        with Bob(folder) as bob:
            code, _, err = finish(alice(folder, bob.address, "--slices", "0:6"))
            assert code == 1
            sentence = "Bob's weights are not those that this run began with (commitments differ; a model that is compiled ag"
            assert f"bunet: {sentence}" in err
        assert sentence in bob.said()
    assert sorted(path.name for path in (folder / "result").glob("slice-*")) == done
    assert json.loads((folder / "result" / "run.json").read_text()) == noted


def test_values_beyond_calibration_are_said_before_they_are_sent_and_noted(folder: Path) -> None:
    """The grid is 1/16, the calibrated range 15/16: what rounds to 1 lies beyond."""
    volume = np.zeros((SLICES, SIZE, SIZE), np.float32)
    volume[10, :8] = 1.0
    np.save(folder / "volume.npy", volume)
    with Bob(folder) as bob:
        code, out, err = finish(alice(folder, bob.address, "--slices", "10:11", "--json", str(folder / "run.json")))
        assert code == 0, err
    sentence = "alice: 50.0 % of the values of slice z10 lie beyond what the model was calibrated for (-0.9375..0.9375)"
    assert sentence in out
    assert out.index(sentence) < out.index("set-up in")
    assert json.loads((folder / "run.json").read_text())["run"]["input_beyond_calibration"] == {"z10": 0.5}


def test_a_port_in_use_is_one_sentence(folder: Path) -> None:
    with zeromq.Listener("tcp://127.0.0.1:*") as taken:
        refused = subprocess.run(
            [BUNET, "bob", "--model", str(folder / "exact.model"), "--listen", taken.address],
            capture_output=True,
            text=True,
            timeout=60,
        )
    assert refused.returncode == 2
    assert refused.stdout == ""
    (sentence,) = refused.stderr.strip().splitlines()
    assert sentence.startswith(f"bunet: {taken.address} is in use")


def test_nobody_there_is_one_sentence(folder: Path) -> None:
    with zeromq.Listener("tcp://127.0.0.1:*") as gone:
        address = gone.address
    code, _, err = finish(alice(folder, address, "--slices", "0:1"))
    assert code == 1
    (sentence,) = [line for line in err.splitlines() if line.startswith("bunet: ")]
    assert "nobody answered" in sentence
    assert not (folder / "result" / "mask.npz").exists()


def test_links_that_differ_end_both_sides_with_the_same_sentence(folder: Path) -> None:
    with Bob(folder, "--link", "lan") as bob:
        code, _, err = finish(alice(folder, bob.address, "--slices", "0:1"))
        assert code == 1
        sentence = next(line for line in err.splitlines() if line.startswith("bunet: ")).removeprefix("bunet: ")
        assert sentence.startswith("Alice emulates the link")
        assert sentence.endswith("give both the same --link")
        deadline = time.monotonic() + 10
        while sentence not in bob.said():
            assert time.monotonic() < deadline, bob.said()
            time.sleep(0.05)
        assert bob.process.poll() is None, "Bob goes on"
        assert len(bob.said().strip().splitlines()) == 1


def test_bob_once_ends_after_one_session(folder: Path) -> None:
    with Bob(folder, "--once") as bob:
        code, _, err = finish(alice(folder, bob.address, "--slices", "0:1"))
        assert code == 0, err
        assert bob.process.wait(20) == 0


def test_bob_stops_at_an_interrupt(folder: Path) -> None:
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        pytest.skip("this process, and with it Bob's, ignores interrupts")
    with Bob(folder) as bob:
        assert bob.end(signal.SIGINT) == 0
        assert "Traceback" not in Path(bob.errors.name).read_text()
    assert "Bob stops.\n" in bob.lines


def test_clients_beyond_the_limit_are_refused_and_places_come_free() -> None:
    compiled = exact()
    events: list[Any] = []
    stop, hold = threading.Event(), threading.Event()
    image = np.zeros(compiled.program.input.type.shape, np.int64)

    def run(slice_at: Callable[..., Any]) -> np.ndarray:
        results: list[np.ndarray] = []
        alice_party.run(
            lambda: zeromq.connect(listener.address),
            Request(image.shape, 1),
            InputSlices([("z", 0)], slice_at),
            lambda job, result: results.append(result),
            Hooks(lambda event: None),
        )
        return results[0]

    started = threading.Event()

    def held(program: Program, k: int) -> np.ndarray:
        started.set()
        assert hold.wait(30)
        return image

    def ended(kind: type[Failed] | type[Note], words: str) -> bool:
        said = (e for e in list(events) if isinstance(e, kind))
        return any(words in (e.message if isinstance(e, Failed) else e.text) for e in said)

    with zeromq.Listener("tcp://127.0.0.1:*") as listener, contextlib.ExitStack() as clean_up:
        service = bob_party.Service(CompiledStore([compiled]), RunOptions(), Hooks(events.append))
        serving = threading.Thread(target=bob_party.serve, args=(listener, service), kwargs={"stop": stop, "sessions": 1})
        serving.start()
        clean_up.callback(serving.join)
        clean_up.callback(stop.set)
        first: list[np.ndarray] = []
        client = threading.Thread(target=lambda: first.append(run(held)))
        client.start()
        clean_up.callback(client.join)
        clean_up.callback(hold.set)
        assert started.wait(30)

        with pytest.raises(PeerError, match="Bob already serves 1 sessions: try again later"):
            run(lambda program, k: image)
        hold.set()
        client.join(30)
        assert len(first) == 1, "the session that ran is untouched"

        deadline = time.monotonic() + 10
        while not ended(Note, "ended; waiting for the next client"):
            assert time.monotonic() < deadline, events[-3:]
            time.sleep(0.02)
        again = run(lambda program, k: image)
        assert (again == first[0]).all()
        assert not any(isinstance(e, Failed) for e in events)


def test_commands_do_not_trace_back(folder: Path) -> None:
    """BUNET_DEBUG off: a missing model is one sentence, status 2."""
    environment = {k: v for k, v in os.environ.items() if k != "BUNET_DEBUG"}
    refused = subprocess.run(
        [BUNET, "bob", "--model", str(folder / "missing.model")],
        capture_output=True,
        text=True,
        timeout=60,
        env=environment,
    )
    assert refused.returncode == 2
    assert len(refused.stderr.strip().splitlines()) == 1
    assert "missing.model" in refused.stderr
