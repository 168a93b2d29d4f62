"""A server in a process of its own: serves one client, sends it a stream, prints how long that took.

    server_process.py ADDRESS KEY_FILE ALLOW_FILE MESSAGES BYTES [LINK]

Prints the address, then, once a client has come, one JSON line; then waits for the client to go and prints why it went.
"""

from __future__ import annotations

import json
import sys
import time

import numpy as np

from bunet.net.channel import Channel, ChannelError
from bunet.net.frame import Frame
from bunet.net.keys import KeyPair, load_allowed
from bunet.net.link import Link
from bunet.net.shaper import Shaper
from bunet.net.zeromq import Listener, Timing


def main(address: str, key_file: str, allow_file: str, messages: str, nbytes: str, link: str = "loopback") -> None:
    timing = Timing(heartbeat_s=0.3, silence_s=2.0)
    with Listener(address, KeyPair.load(key_file), load_allowed(allow_file), timing=timing) as listener:
        print(listener.address, flush=True)
        inner = listener.accept(30)
        if inner is None:
            return
        channel: Channel = Shaper(inner, Link.parse(link))
        words = np.random.default_rng(0).integers(0, 256, int(nbytes), dtype=np.uint8)
        start_s = time.monotonic()
        for number in range(int(messages)):
            channel.send(Frame(0, 0, 0, number, "stream", (words,)))
        same = True
        for number in range(int(messages)):
            got = channel.receive(60)
            same = same and isinstance(got, Frame) and got.round == number and np.array_equal(got.arrays[0], words)
        seconds = time.monotonic() - start_s
        print(
            json.dumps(
                {
                    "same": same,
                    "seconds": seconds,
                    "bytes": channel.counters.wire_bytes_sent,
                    "common_clock": inner.common_clock,
                    "peer": channel.peer,
                }
            ),
            flush=True,
        )
        start_s = time.monotonic()
        try:
            print(f"unexpected: {channel.receive(60)}")
        except ChannelError as error:
            print(json.dumps({"error": type(error).__name__, "after_s": time.monotonic() - start_s}), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
