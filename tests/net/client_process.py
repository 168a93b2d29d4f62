"""A client in a process of its own, which tests stop and kill: says hello, then answers each frame with itself."""

from __future__ import annotations

import sys

from bunet.net.channel import ChannelError
from bunet.net.keys import KeyPair, load_public
from bunet.net.zeromq import Timing, connect


def main(address: str, key_file: str = "", server_file: str = "") -> None:
    keys = KeyPair.load(key_file) if key_file else None
    server = load_public(server_file) if server_file else None
    try:
        with connect(address, keys, server, timing=Timing(heartbeat_s=0.3, silence_s=2.0)) as channel:
            while True:
                message = channel.receive(30)
                if message is None:
                    return
                channel.send(message)
    except ChannelError as error:
        print(type(error).__name__, error)


if __name__ == "__main__":
    main(*sys.argv[1:])
