"""Checks where arrays enter the kernels: inside, nothing is checked, and a wrong length would touch foreign memory."""

from __future__ import annotations

import numpy as np
from numpy.typing import DTypeLike


def check(name: str, array: np.ndarray, kind: DTypeLike, *shape: int | None) -> None:
    """ValueError unless `array` is a C-contiguous array of that kind and shape; None stands for any length."""
    if isinstance(array, np.ndarray) and array.dtype == kind and array.flags.c_contiguous and len(shape) == array.ndim:
        for have, want in zip(array.shape, shape, strict=True):
            if want is not None and have != want:
                break
        else:
            return
    wanted = f"{np.dtype(kind)} ({', '.join('any' if n is None else str(n) for n in shape)})"
    if not isinstance(array, np.ndarray):
        raise ValueError(f"{name} must be an array {wanted}, not {type(array).__name__}")
    order = "" if array.flags.c_contiguous else " that is not C-contiguous"
    raise ValueError(f"{name} must be C-contiguous {wanted}, not {array.dtype} {array.shape}{order}")
