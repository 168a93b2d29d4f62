"""A buffer is lent again when its last view is gone, and never before."""

import gc

import numpy as np

from bunet.protocols import buffer_pool
from bunet.protocols.buffer_pool import BUFFER_BYTES, lend


def address(array: np.ndarray) -> int:
    return array.ctypes.data


def test_memory_is_used_again_once_nobody_refers_to_it() -> None:
    first = lend((1000, 2))
    place = address(first)
    del first
    gc.collect()
    assert address(lend((7,))) == place


def test_memory_is_not_used_again_while_a_view_lives() -> None:
    """The views that drivers and channels make: read-only views, reshaped parts, byte views, memoryviews."""
    for hold in (
        lambda array: array.view(),
        lambda array: array[2:3],
        lambda array: array.reshape(-1).view(np.uint8)[5:],
        lambda array: memoryview(array).cast("B"),
        lambda array: np.frombuffer(memoryview(array[1:]), np.uint8),
    ):
        array = lend((64, 4))
        array[:] = 7
        held = hold(array)
        place = address(array)
        del array
        gc.collect()
        others = [lend((64, 4)) for _ in range(len(buffer_pool._free) + 2)]
        assert place not in map(address, others)
        for other in others:
            other[:] = 9
        assert set(np.frombuffer(held, np.uint8).tolist()) <= {7, 0}


def test_arrays_start_at_a_cache_line_and_may_be_large() -> None:
    for shape in ((3,), (BUFFER_BYTES // 8,), (BUFFER_BYTES // 8 + 1,), (0, 5)):
        array = lend(shape)
        assert array.shape == shape
        assert array.dtype == np.uint64
        assert array.flags.c_contiguous
        assert array.flags.writeable
        assert array.size == 0 or address(array) % 64 == 0
