"""How far the shaper is from the ideal link: `python -m bunet.net.measure`.

Two processes of this machine exchange messages over ZeroMQ and the shaper, as the parties of a local run do. For each
link and message size two things are timed, from just before `send` to just after `receive`, on the clock they share:
one message on an idle link, and a stream of messages sent back to back until the last has arrived. The ideal link takes
bytes * 8 / bandwidth + RTT/2 for both. Loopback is not shaped: its row shows what lies below the emulation.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass

import numpy as np

from bunet.models.errors import LocalError, UsageError
from bunet.net.channel import Channel, ChannelError
from bunet.net.frame import Control, Frame, encode
from bunet.net.link import PRESETS, Link
from bunet.net.shaper import Shaper
from bunet.net.zeromq import Listener, connect

SIZES = (1 << 10, 1 << 14, 1 << 18, 1 << 22, 1 << 26)
_STREAM_BYTES = 64 << 20  # of a stream, but
_STREAM_MESSAGES = (2, 256)  # at least, at most so many messages
_PATIENCE_S = 120.0


@dataclass(frozen=True, slots=True)
class Timed:
    """Seconds: the ideal link's, and the median, lowest and highest of `repeats` measurements."""

    ideal_s: float
    median_s: float
    low_s: float
    high_s: float
    repeats: int

    @property
    def error_s(self) -> float:
        return self.median_s - self.ideal_s

    @property
    def error_percent(self) -> float | None:
        """None where the ideal takes no time at all."""
        return 100 * self.error_s / self.ideal_s if self.ideal_s else None


@dataclass(frozen=True, slots=True)
class Row:
    """One link and message size (payload bytes)."""

    link: str
    nbytes: int
    one_way: Timed
    stream: Timed
    stream_messages: int


def measure(links: Sequence[Link], sizes: Sequence[int], transport: str = "tcp", seconds: float = 1.0) -> Iterator[Row]:
    """Rows as they are measured. seconds: emulated time to spend on each figure; at least 3 repeats are made."""
    with tempfile.TemporaryDirectory() as folder:
        address = f"ipc://{folder}/measure" if transport == "ipc" else "tcp://127.0.0.1:0"
        with Listener(address) as listener:
            receiver = multiprocessing.get_context("spawn").Process(target=_receiver, args=(listener.address,), daemon=True)
            receiver.start()
            inner = listener.accept(_PATIENCE_S)
            if inner is None:
                raise LocalError("the receiving process did not start")
            for link in links:
                channel = Shaper(inner, link)
                for nbytes in sizes:
                    yield _row(channel, link, nbytes, seconds)
            inner.close()
            receiver.join()


def _row(channel: Channel, link: Link, nbytes: int, seconds: float) -> Row:
    messages = min(max(_STREAM_BYTES // nbytes, _STREAM_MESSAGES[0]), _STREAM_MESSAGES[1])
    frame = Frame(0, 0, 0, 0, "measure", (np.zeros(nbytes, np.uint8),))
    transfer_s = link.transfer_seconds(encode(frame).wire_bytes)
    _time(channel, frame, 1)  # the first of its size finds cold pages
    one_way = _repeat(channel, frame, 1, transfer_s + link.rtt_s / 2, seconds)
    stream = _repeat(channel, frame, messages, messages * transfer_s + link.rtt_s / 2, seconds)
    return Row(link.name, nbytes, one_way, stream, messages)


def _repeat(channel: Channel, frame: Frame, messages: int, ideal_s: float, seconds: float) -> Timed:
    repeats = min(max(3, int(seconds / max(ideal_s, 1e-9))), 31)
    times = sorted(_time(channel, frame, messages) for _ in range(repeats))
    return Timed(ideal_s, statistics.median(times), times[0], times[-1], repeats)


def _time(channel: Channel, frame: Frame, messages: int) -> float:
    start_s = time.monotonic()
    for _ in range(messages):
        channel.send(frame)
    channel.send(Control("end"))
    answer = channel.receive(_PATIENCE_S)
    if not isinstance(answer, Control):
        raise LocalError("the receiving process does not answer")
    return float(answer.body["at_s"]) - start_s


def _receiver(address: str) -> None:
    with connect(address) as channel:
        at_s = 0.0
        while True:
            try:
                message = channel.receive(_PATIENCE_S)
            except ChannelError:
                return
            if isinstance(message, Frame):
                at_s = time.monotonic()
                del message  # now, and not while the next one is being timed
            elif message is not None:
                channel.send(Control("arrived", {"at_s": at_s}))
            else:
                return


def _text(timed: Timed) -> str:
    percent = "" if timed.error_percent is None else f" {timed.error_percent:+7.2f} %"
    return (
        f"{timed.ideal_s * 1e3:10.3f} {timed.median_s * 1e3:10.3f} [{timed.low_s * 1e3:.3f}, {timed.high_s * 1e3:.3f}]{percent}"
    )


def _size(nbytes: int) -> str:
    return f"{nbytes >> 20} MiB" if nbytes >= 1 << 20 else f"{nbytes >> 10} KiB"


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit status."""
    parser = argparse.ArgumentParser(prog="python -m bunet.net.measure", description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--link", action="append", help=f"one of {', '.join(PRESETS)}, or BANDWIDTH,RTT; repeatable")
    parser.add_argument("--kib", type=int, action="append", help="message size in KiB; repeatable")
    parser.add_argument("--transport", choices=("tcp", "ipc"), default="tcp")
    parser.add_argument("--seconds", type=float, default=1.0, help="emulated seconds a figure (at least 3 repeats)")
    parser.add_argument("--json", action="store_true", help="print one JSON document instead of the table")
    options = parser.parse_args(arguments)
    try:
        links = [Link.parse(text) for text in options.link] if options.link else list(PRESETS.values())
    except UsageError as error:
        parser.error(str(error))
    sizes = [kib << 10 for kib in options.kib] if options.kib else list(SIZES)
    if not all(1 << 10 <= nbytes <= 128 << 20 for nbytes in sizes):
        parser.error("a message size is from 1 to 131072 KiB")
    rows = measure(links, sizes, options.transport, options.seconds)
    if options.json:
        json.dump({"version": 1, "transport": options.transport, "rows": [asdict(row) for row in rows]}, sys.stdout)
        print()
        return 0
    print("milliseconds: ideal, measured median [lowest, highest], error of the median")
    for row in rows:
        print(
            f"{row.link:>9} {_size(row.nbytes):>8}  one {_text(row.one_way)}   "
            f"{row.stream_messages:>4} in a row {_text(row.stream)}",
            flush=True,
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
