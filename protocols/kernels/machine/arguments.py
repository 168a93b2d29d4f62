"""Checks of the arguments of kernels: inside, nothing is checked, and a wrong length would touch foreign memory."""

from __future__ import annotations

import numpy as np

U8, U32, U64, I64 = (np.dtype(scalar) for scalar in (np.uint8, np.uint32, np.uint64, np.int64))


def check(name: str, array: np.ndarray, dtype: np.dtype, *shape: int | None) -> None:
    """ValueError unless `array` is a C-contiguous array of that dtype and shape; None stands for any length.

    Quick where all is well: a small extension takes no longer than thirty of these.
    """
    if type(array) is np.ndarray and array.dtype == dtype and array.flags.c_contiguous:
        have = array.shape
        if have == shape:
            return
        if len(have) == len(shape):
            for length, wanted_length in zip(have, shape, strict=True):
                if wanted_length is not None and length != wanted_length:
                    break
            else:
                return
    wanted = f"C-contiguous {dtype} ({', '.join('any' if n is None else str(n) for n in shape)})"
    if not isinstance(array, np.ndarray):
        raise ValueError(f"{name} must be an array, {wanted}, not {type(array).__name__}")
    order = "" if array.flags.c_contiguous else " that is not contiguous"
    raise ValueError(f"{name} must be {wanted}, not {array.dtype} {array.shape}{order}")


def check_writable(name: str, array: np.ndarray) -> None:
    """ValueError if `array` is read-only: stores of whole registers would not notice."""
    if not array.flags.writeable:
        raise ValueError(f"{name} is read-only")
