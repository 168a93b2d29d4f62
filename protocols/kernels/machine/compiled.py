"""numba's decorators, as every kernel is compiled: without the interpreter's lock, and kept in the cache that `tier` names.

No module of kernels takes them from numba itself: what is compiled would then be kept where edits in the files that it imports
go unseen.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ParamSpec, TypeVar

from bunet.protocols.kernels.machine import tier  # noqa: F401  (names the compilation cache)

# isort: split
import numba
import numba.extending

from bunet.protocols.kernels.machine.types import Emission, Intrinsic

P = ParamSpec("P")
R = TypeVar("R")


def kernel(function: Callable[P, R]) -> Callable[P, R]:
    """A compiled function."""
    made: Callable[P, R] = numba.njit(nogil=True, cache=True)(function)
    return made


def inlined_by_llvm(function: Callable[P, R]) -> Callable[P, R]:
    """A compiled function of which every call is replaced by its body, after types are known."""
    made: Callable[P, R] = numba.njit(nogil=True, cache=True, forceinline=True)(function)
    return made


def inlined_by_numba(function: Callable[P, R]) -> Callable[P, R]:
    """A compiled function whose body is taken into its callers' before types are known."""
    made: Callable[P, R] = numba.njit(nogil=True, cache=True, inline="always")(function)
    return made


def intrinsic(function: Callable[..., Emission]) -> Intrinsic:
    """(typing context, types of the arguments ...) -> signature and code, as a function for kernels, of arguments."""
    made: Intrinsic = numba.extending.intrinsic(function)
    return made


def literal_intrinsic(function: Callable[..., Emission]) -> Intrinsic:
    """An `intrinsic` that gets the values of arguments that are literals, in their types' `literal_value`."""
    made: Intrinsic = numba.extending.intrinsic(prefer_literal=True)(function)
    return made
