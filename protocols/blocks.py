"""A count of numbers cut into blocks of bounded size: one message each, so that memory stays bounded."""

from __future__ import annotations

from collections.abc import Iterator


def ranges(count: int, size: int) -> Iterator[range]:
    """0..count in ranges of `size`, but for the last."""
    return (range(start, min(start + size, count)) for start in range(0, count, size))


def slices(count: int, size: int) -> list[slice]:
    """`ranges` as slices, to cut arrays with."""
    return [slice(part.start, part.stop) for part in ranges(count, size)]


def length(part: slice) -> int:
    """Numbers in a block of `slices`."""
    return int(part.stop - part.start)
