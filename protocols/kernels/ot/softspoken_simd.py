"""Sums over the leaves of a subcube, as SIMD code: every leaf is one AES block that never leaves its register.

The leaves x of a subcube of dimension d are numbered by d bits. Wanted are their sum (XOR), and for every bit j the sum
of the leaves with bit j of x set. Halves are summed first, so 2^d leaves take fewer than 2^(d+1) XORs in all.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from numba.core import types
from numba.core.types.containers import UniTuple

from bunet.protocols.kernels.machine.compiled import literal_intrinsic
from bunet.protocols.kernels.machine.simd import I64, data_pointer, emit_load, emit_settled, v128, v512
from bunet.protocols.kernels.machine.types import Builder, Context, Emission, Intrinsic, NumbaType, Signature, Value, Values
from bunet.protocols.kernels.symmetric.aes_rounds import emit_aes

LoadKey: TypeAlias = Callable[[int, int], Value]  # of a leaf and a round

LEAF_WORDS = 88  # schedules of one leaf of four groups, as `aes.expand_interleaved` has them


def _leaves(builder: Builder, counters: list[Value], load_key: LoadKey, members: Sequence[int]) -> list[list[Value]]:
    """[leaf][counter] of AES blocks, encrypted in step.

    Keys, and in `_sums` sums, are settled: LLVM would load keys long before their round, or delay sums, until it had to
    spill dozens of registers. The stack is aligned to 16 bytes only, so most spills cross a cache line.
    """

    def keys(r: int) -> list[Value]:
        return [key for x in members for key in [emit_settled(builder, load_key(x, r))] * len(counters)]

    blocks = emit_aes(builder, counters * len(members), keys)
    return [blocks[i * len(counters) : (i + 1) * len(counters)] for i in range(len(members))]


def _sums(
    builder: Builder, counters: list[Value], load_key: LoadKey, first: int, levels: int, punctured: bool
) -> list[list[Value | None]]:
    """[counter][sum, sum over bit 0, ..., sum over bit levels - 1] of the leaves first .. first + 2^levels - 1.

    A punctured subcube has no leaf 0 and its own sum is left out.
    """
    xor = builder.xor
    if levels == 2:
        a, b, c, d = range(first, first + 4)
        blocks = dict(
            zip(members := (b, c, d) if punctured else (a, b, c, d), _leaves(builder, counters, load_key, members), strict=True)
        )
        result = []
        for i in range(len(counters)):
            odd, upper = xor(blocks[b][i], blocks[d][i]), xor(blocks[c][i], blocks[d][i])
            total = None if punctured else xor(xor(blocks[a][i], blocks[b][i]), upper)
            result.append([None if sum is None else emit_settled(builder, sum) for sum in (total, odd, upper)])
        return result
    low = _sums(builder, counters, load_key, first, levels - 1, punctured)
    high = _sums(builder, counters, load_key, first + (1 << (levels - 1)), levels - 1, False)
    return [
        [None if p is None else xor(p, q) for p, q in zip(a, b, strict=True)] + [b[0]] for a, b in zip(low, high, strict=True)
    ]


def _summer(register: NumbaType, punctured: bool) -> Intrinsic:
    @literal_intrinsic
    def leaf_sums(typing: Any, counters: NumbaType, schedules: NumbaType, offset: NumbaType, levels: NumbaType) -> Emission:
        dimension = levels.literal_value

        def code(context: Context, builder: Builder, signature: Signature, arguments: Values) -> Value:
            pointer = data_pointer(context, builder, signature.args[1], arguments[1])

            def load_key(x: int, r: int) -> Value:
                return emit_load(builder, register.llvm, pointer, builder.add(arguments[2], I64(LEAF_WORDS * x + 8 * r)))

            blocks = [builder.extract_value(arguments[0], i) for i in range(signature.args[0].count)]
            sums = _sums(builder, blocks, load_key, 0, dimension, punctured)
            flat = [value for of_counter in sums for value in of_counter if value is not None]
            return context.make_tuple(builder, signature.return_type, flat)

        results = UniTuple(register, counters.count * (dimension + (not punctured)))
        return results(counters, schedules, types.intp, levels), code

    return leaf_sums


# leaf_sums*(tuple of counter registers, schedules, offset, literal dimension) -> for each counter in turn its sum and
# its `dimension` sums over bits. Leaf x is encrypted under the round keys at schedules[offset + 88 * x + 8 * round]:
# a key a lane (512), or that of the one lane at the offset (128). The punctured ones do not expand leaf 0 and have no
# sum over all.
leaf_sums512, leaf_sums128, punctured_sums512 = _summer(v512, False), _summer(v128, False), _summer(v512, True)
