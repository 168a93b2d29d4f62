"""Names for the types of kernels: of what compiled code takes, and of what code generators handle.

numba reads none of this: it infers types from what a kernel is called with. The names are for readers and for mypy.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np
from llvmlite import ir
from numba.core.base import BaseContext
from numba.core.typing import Signature as NumbaSignature
from numpy.typing import NDArray

# --- arrays and scalars; kernels want arrays C-contiguous --------------------------------------------------------------

Word: TypeAlias = np.uint64
Index: TypeAlias = int | np.signedinteger[Any]  # numba compiles a version for literals and one for int64
Words: TypeAlias = NDArray[np.uint64]
Octets: TypeAlias = NDArray[np.uint8]
Integers: TypeAlias = NDArray[np.int64]
Shares: TypeAlias = NDArray[Any]  # uint32 or uint64, by width

# --- registers: locals of compiled functions, which no Python object ever holds, so mypy cannot tell them apart ----------

V128: TypeAlias = Any
V512: TypeAlias = Any
Registers: TypeAlias = tuple[Any, ...]

# --- code generators ---------------------------------------------------------------------------------------------------

Builder: TypeAlias = ir.IRBuilder
Value: TypeAlias = ir.Value
Values: TypeAlias = Sequence[Value]
LlvmType: TypeAlias = ir.Type
NumbaType: TypeAlias = Any  # of numba.core.types, whose classes have different attributes
Context: TypeAlias = BaseContext
Signature: TypeAlias = NumbaSignature
Code: TypeAlias = Callable[[Context, Builder, Signature, Values], Value]
Emission: TypeAlias = tuple[Signature, Code]  # what an intrinsic answers: types, and what emits code for them
Intrinsic: TypeAlias = Callable[..., Any]
