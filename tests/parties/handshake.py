"""Both halves of a handshake against each other, over memory."""

import threading
from collections.abc import Callable
from typing import Any

from bunet.models.errors import BunetError
from tests.net.memory import memory_pair


def shake(hers: Callable[[Any], Any], his: Callable[[Any], Any]) -> tuple[Any, Any]:
    """Both halves of a handshake in two threads: what each ended with."""
    alice, bob = memory_pair()
    ended = {}

    def run(role: str, half: Callable[[], Any]) -> None:
        try:
            ended[role] = half()
        except BunetError as error:
            ended[role] = error

    threads = [threading.Thread(target=run, args=pair) for pair in (("alice", lambda: hers(alice)), ("bob", lambda: his(bob)))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    alice.close()
    bob.close()
    return ended["alice"], ended["bob"]
