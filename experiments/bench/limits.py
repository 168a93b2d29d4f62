"""How fast a processor could run a kernel at best: a measured clock times known instruction throughputs.

Known for a kernel that one kind of instruction bounds: rounds of AES (ten a block) or 52-bit multiply-adds. Loads, stores,
shuffles and key schedules are not counted, so a limit is an upper bound that no program reaches altogether. A processor
that is not in the table has none.
"""

from __future__ import annotations

from dataclasses import dataclass

from bunet.experiments.bench.cases import UNITS, Case

ROUNDS = 10


@dataclass(frozen=True)
class Throughput:
    """Instructions a cycle, by register width. Sources: the vendors' optimisation guides and uops.info."""

    aes128: float
    aes512: float
    madd52_512: float


# by LLVM's name of the processor
THROUGHPUTS = {
    "znver4": Throughput(aes128=2, aes512=1, madd52_512=1),  # 256-bit pipes: 512-bit instructions at half the rate
}


def host() -> Throughput | None:
    """This processor's throughputs, or None where they are not known."""
    from llvmlite.binding import get_host_cpu_name

    return THROUGHPUTS.get(get_host_cpu_name())


def limit(case: Case, tier: str, clock_hz: float, throughput: Throughput | None) -> float | None:
    """The case's unit at the limit of a tier of this processor; None where it is not known."""
    if throughput is None:
        return None
    aes_blocks = {"vaes": 4 * throughput.aes512 / ROUNDS, "aesni": throughput.aes128 / ROUNDS}.get(tier)
    if case.aes and aes_blocks:
        cycles = case.aes / aes_blocks
    elif case.madd52 and tier == "vaes":
        cycles = case.madd52 / (8 * throughput.madd52_512)
    else:
        return None
    seconds = cycles / clock_hz
    scale = UNITS[case.unit]
    return seconds * 1e6 if scale is None else 1 / seconds / scale
