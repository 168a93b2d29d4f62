"""What the conformance suite cannot ask: several clients, keys, and peers that vanish or misbehave."""

from __future__ import annotations

import os
import signal
import socket as sockets
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgpack
import numpy as np
import pytest
import zmq

from bunet.net import endpoint
from bunet.net.channel import (
    AddressError,
    Channel,
    ChannelClosed,
    ConnectFailed,
    InsecureChannel,
    NotAllowed,
    PeerGone,
)
from bunet.net.clock import RealClock
from bunet.net.frame import Frame, Limits, MalformedFrame
from bunet.net.keys import BadKey, KeyPair
from bunet.net.link import PRESETS
from bunet.net.shaper import Shaper
from bunet.net.zeromq import Listener, Timing, ZmqChannel, connect

LOCAL = "tcp://127.0.0.1:0"
WAIT_S = 20.0
HASTY = Timing(heartbeat_s=0.1, silence_s=0.8, linger_s=0.3)


def frame(number: int = 0, nbytes: int = 8) -> Frame:
    return Frame(0, 0, 0, number, "t", (np.full(nbytes, number % 256, np.uint8),))


def accept(listener: Listener) -> ZmqChannel:
    channel = listener.accept(WAIT_S)
    assert channel is not None
    return channel


def check_alive(alice: Channel, bob: Channel) -> None:
    alice.send(frame(77))
    got = bob.receive(WAIT_S)
    assert isinstance(got, Frame)
    bob.send(got)
    back = alice.receive(WAIT_S)
    assert isinstance(back, Frame)
    assert back.round == 77


def test_many_clients_each_have_a_channel() -> None:
    with Listener(LOCAL) as listener:
        assert listener.accept(0) is None
        clients = []
        for number in range(4):
            alice = connect(listener.address)
            clients.append((alice, accept(listener)))
            alice.send(frame(number))
        for number, (alice, bob) in enumerate(clients):
            got = bob.receive(WAIT_S)
            assert isinstance(got, Frame)
            assert got.round == number
            bob.send(frame(100 + number))
            back = alice.receive(WAIT_S)
            assert isinstance(back, Frame)
            assert back.round == 100 + number
        clients[1][0].close()
        with pytest.raises(ChannelClosed):
            clients[1][1].receive(WAIT_S)
        for alice, bob in (clients[0], clients[3]):
            check_alive(alice, bob)
        clients[2][1].close()
        with pytest.raises(ChannelClosed, match="peer"):
            clients[2][0].receive(WAIT_S)
        check_alive(*clients[0])
    for alice, _ in clients:
        with pytest.raises(ChannelClosed):
            alice.receive(WAIT_S)
        alice.close()


def test_closing_the_listener_ends_accept_and_channels() -> None:
    listener = Listener(LOCAL)
    alice = connect(listener.address)
    ended: list[BaseException] = []

    def work() -> None:
        accept(listener)
        try:
            listener.accept()
        except ChannelClosed as error:
            ended.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    time.sleep(0.05)
    listener.close()
    listener.close()
    thread.join(WAIT_S)
    assert len(ended) == 1
    with pytest.raises(ChannelClosed):
        listener.accept(0)
    with pytest.raises(ChannelClosed, match="peer"):
        alice.receive(WAIT_S)
    alice.close()


def test_one_machine_shares_a_clock() -> None:
    with Listener(LOCAL) as listener, connect(listener.address) as alice:
        assert alice.common_clock
        assert accept(listener).common_clock


def test_another_machine_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    tokens = iter(["mine", *["theirs"] * 9])
    monkeypatch.setattr(endpoint, "host_token", lambda: next(tokens))
    with Listener(LOCAL) as listener, connect(listener.address) as alice:
        bob = accept(listener)
        assert not alice.common_clock
        assert not bob.common_clock
        shaped = Shaper(alice, PRESETS["lan-1g"], RealClock())  # holds at the sender
        check_alive(shaped, bob)
        alice._post([b"\0\0\0\0\0\0\xf0\x3f" + msgpack.packb([1, 2, "due", {}])])
        with pytest.raises(MalformedFrame, match="clock"):
            bob.receive(WAIT_S)
        shaped.close()


def test_allowed_clients_only(caplog: pytest.LogCaptureFixture) -> None:
    server, client, stranger = (KeyPair.generate() for _ in range(3))
    with Listener(LOCAL, server, {client.public: "ward 3"}) as listener:
        with connect(listener.address, client, server.public) as alice:
            bob = accept(listener)
            assert "ward 3" in bob.peer
            start_s = time.monotonic()
            with pytest.raises(NotAllowed, match="does not allow this client's key"):
                connect(listener.address, stranger, server.public)
            assert time.monotonic() - start_s < 5
            with pytest.raises(ConnectFailed, match="public key"):
                connect(listener.address, client, stranger.public)
            with pytest.raises(ConnectFailed, match="CURVE"):
                connect(listener.address)
            assert listener.accept(0) is None
            check_alive(alice, bob)
    assert stranger.public in caplog.text


def test_any_key_will_do_on_this_machine_without_a_list() -> None:
    server, client = KeyPair.generate(), KeyPair.generate()
    with Listener(LOCAL, server) as listener, connect(listener.address, client, server.public) as alice:
        check_alive(alice, accept(listener))


def test_a_client_with_keys_does_not_talk_to_a_server_without() -> None:
    server, client = KeyPair.generate(), KeyPair.generate()
    with Listener(LOCAL) as listener:
        with pytest.raises(ConnectFailed, match=r"CURVE|public key"):
            connect(listener.address, client, server.public)


def test_insecure_off_loopback_is_refused() -> None:
    pair = KeyPair.generate()
    for address in ("tcp://*:0", "tcp://0.0.0.0:0", "192.0.2.1:5555"):
        for keys, allowed in ((None, None), (pair, None)):
            with pytest.raises(InsecureChannel, match="CURVE"):
                Listener(address, keys, allowed)
    with pytest.raises(InsecureChannel, match="CURVE"):
        connect("192.0.2.1:5555")
    with pytest.raises(InsecureChannel, match="both"):
        connect("127.0.0.1:5555", pair)
    with pytest.raises(InsecureChannel, match="both"):
        connect("127.0.0.1:5555", None, pair.public)
    with pytest.raises(InsecureChannel, match="both"):
        Listener(LOCAL, None, {pair.public})
    with pytest.raises(BadKey):
        Listener(LOCAL, pair, {"not a key"})
    with pytest.raises(BadKey):
        connect("127.0.0.1:5555", pair, "not a key")


def test_port_in_use_and_bad_addresses() -> None:
    with Listener(LOCAL) as listener:
        with pytest.raises(AddressError, match="in use"):
            Listener(listener.address)
        with pytest.raises(AddressError, match="in use"):
            Listener(listener.address, KeyPair.generate())
    Listener(listener.address).close()  # free again at once
    with pytest.raises(AddressError, match="cannot listen"):
        Listener("192.0.2.1:5555", KeyPair.generate(), set())
    with pytest.raises(AddressError, match="not understood"):
        connect("nonsense")


def test_nobody_there() -> None:
    with Listener(LOCAL) as listener:
        pass
    with pytest.raises(ConnectFailed, match="nobody answered"):
        connect(listener.address, timeout_s=0.3)
    with sockets.socket() as mute:  # accepts connections, says nothing
        mute.bind(("127.0.0.1", 0))
        mute.listen()
        with pytest.raises(ConnectFailed, match="nobody answered"):
            connect(f"127.0.0.1:{mute.getsockname()[1]}", timeout_s=0.3)


def test_a_server_that_starts_late_is_found() -> None:
    with Listener(LOCAL) as listener:
        address = listener.address
    found: list[Channel] = []
    thread = threading.Thread(target=lambda: found.append(connect(address, timeout_s=WAIT_S)))
    thread.start()
    time.sleep(0.15)
    with Listener(address) as listener:
        bob = accept(listener)
        thread.join(WAIT_S)
        check_alive(found[0], bob)
        found[0].close()


def test_too_many_clients() -> None:
    with Listener(LOCAL, max_clients=1) as listener:
        with connect(listener.address) as alice:
            with pytest.raises(NotAllowed, match="1 clients"):
                connect(listener.address)
            check_alive(alice, accept(listener))
        deadline_s = time.monotonic() + WAIT_S
        while time.monotonic() < deadline_s:  # a closed channel makes room
            try:
                connect(listener.address).close()
                break
            except NotAllowed:
                time.sleep(0.02)
        else:
            pytest.fail("a closed channel did not make room")


@contextmanager
def dealer(address: str) -> Iterator[zmq.Socket[bytes]]:
    """A client that does not know how to behave."""
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    socket = context.socket(zmq.DEALER)
    socket.linger = 0
    socket.rcvtimeo = int(WAIT_S * 1000)
    socket.connect(address)
    try:
        yield socket
    finally:
        socket.close()
        context.term()


def wire(*fields: object) -> bytes:
    return b"\0" * 8 + msgpack.packb(fields)


def test_a_bad_client_harms_nobody_else() -> None:
    limits = Limits(nbytes=1 << 20)
    with Listener(LOCAL, limits=limits) as listener, connect(listener.address) as alice:
        bob = accept(listener)
        host, port = listener.address.removeprefix("tcp://").split(":")
        with sockets.create_connection((host, int(port))) as raw:
            raw.sendall(b"GET / HTTP/1.1\r\n\r\n" + os.urandom(4096))
            check_alive(alice, bob)
        with dealer(listener.address) as stranger:
            stranger.send(wire(1, 3, "hello", {"version": 99}))
            assert b"wire version" in stranger.recv()
            stranger.send(b"noise")
            assert b"does not know this session" in stranger.recv()
            stranger.send_multipart([wire(1, 1, 0, 0, 0, 0, "t", [["uint8", 1]]), b"x"])  # a good frame without hello
            assert b"does not know this session" in stranger.recv()
            stranger.send(wire(1, 3, "bye", {}))
            stranger.send(wire(1, 3, "hello", {"version": 1, "host": [], "now": "never"}))
            assert b"welcome" in stranger.recv()
            liar = accept(listener)
            assert not liar.common_clock
            stranger.send_multipart([wire(1, 1, 0, 0, 0, 0, "t", [["uint8", 2]]), b"x"])
            with pytest.raises(MalformedFrame, match="1 bytes"):
                liar.receive(WAIT_S)
            check_alive(alice, bob)
        with dealer(listener.address) as glutton:
            glutton.send(b"x" * (2 << 20))  # beyond the limit: libzmq hangs up
            check_alive(alice, bob)
        assert listener.accept(0) is None


def test_a_client_of_no_bunet_service_says_so() -> None:
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    with context, context.socket(zmq.ROUTER) as router:
        port = router.bind_to_random_port("tcp://127.0.0.1")

        def answer() -> None:
            identity, *_ = router.recv_multipart()
            router.send_multipart([identity, b"who are you?"])

        thread = threading.Thread(target=answer)
        thread.start()
        with pytest.raises(ConnectFailed, match="does not speak this protocol"):
            connect(f"127.0.0.1:{port}")
        thread.join()


@contextmanager
def client_process(address: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, str(Path(__file__).with_name("client_process.py")), address]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def ends_within(channel: Channel, seconds: float) -> None:
    start_s = time.monotonic()
    with pytest.raises(PeerGone):
        channel.receive(seconds)
    assert time.monotonic() - start_s < seconds
    with pytest.raises(PeerGone):
        channel.send(frame())
    with pytest.raises(PeerGone):
        channel.receive(0)


def test_a_killed_client_is_noticed_and_the_next_one_served() -> None:
    with Listener(LOCAL) as listener:
        for _ in range(2):
            with client_process(listener.address) as process:
                bob = accept(listener)
                bob.send(frame(3))
                assert isinstance(bob.receive(WAIT_S), Frame)
                process.send_signal(signal.SIGKILL)
                ends_within(bob, 10)
                bob.close()


def test_a_client_that_hangs_is_noticed_and_told() -> None:
    with Listener(LOCAL, timing=HASTY) as listener:
        with client_process(listener.address) as process:
            bob = accept(listener)
            bob.send(frame(3))
            assert isinstance(bob.receive(WAIT_S), Frame)
            process.send_signal(signal.SIGSTOP)
            ends_within(bob, 10)
            process.send_signal(signal.SIGCONT)
            assert process.stdout is not None
            assert process.stdout.readline().startswith("PeerGone")  # it is not left waiting


def test_a_server_that_vanishes_is_noticed() -> None:
    listener = Listener(LOCAL, timing=HASTY)
    alice = connect(listener.address, timing=HASTY)
    accept(listener).send(frame(9))
    server = listener._thread
    server.post(lambda: server.channels.clear())  # as a process that dies: no bye
    server.stop(linger_s=1.0)
    got = alice.receive(WAIT_S)
    assert isinstance(got, Frame)  # what came before the end is not lost
    assert got.round == 9
    ends_within(alice, 10)
    alice.close()


def test_a_server_that_hangs_is_noticed() -> None:
    with Listener(LOCAL, timing=HASTY) as listener:
        alice = connect(listener.address, timing=HASTY)
        listener._thread.post(lambda: time.sleep(1.8))
        ends_within(alice, 10)
        alice.close()


def test_an_idle_session_lives_on_heartbeats() -> None:
    with Listener(LOCAL, timing=HASTY) as listener, connect(listener.address, timing=HASTY) as alice:
        bob = accept(listener)
        assert bob.receive(1.3) is None  # more than the allowed silence
        check_alive(alice, bob)
        assert alice.counters.messages_sent == 1  # heartbeats do not count


def test_a_stalled_reader_is_no_reason_to_give_up() -> None:
    """Silence counts only while this side was able to listen."""
    with Listener(LOCAL, timing=HASTY) as listener, connect(listener.address, timing=HASTY) as alice:
        bob = accept(listener)
        alice._owner.post(lambda: time.sleep(0.5))
        listener._thread.post(lambda: time.sleep(0.5))
        time.sleep(0.6)
        check_alive(alice, bob)


def test_closing_does_not_wait_for_ever_for_a_dead_peer() -> None:
    timing = Timing(linger_s=0.2)
    with Listener(LOCAL, timing=timing) as listener, client_process(listener.address) as process:
        bob = accept(listener)
        process.send_signal(signal.SIGSTOP)
        start_s = time.monotonic()
        bob.close()
        assert time.monotonic() - start_s < 5


def test_an_error_of_the_network_thread_ends_its_channels() -> None:
    def broken() -> None:
        raise RuntimeError("on purpose")

    with Listener(LOCAL) as listener:
        alice = connect(listener.address)
        accept(listener)
        alice._owner.post(broken)
        with pytest.raises(Exception, match="on purpose"):
            alice.receive(WAIT_S)
        with pytest.raises(Exception, match="on purpose"):
            alice.send(frame())
        alice.close()
