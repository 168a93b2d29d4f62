"""The security level: declared once, read by everything that depends on it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True)
class Security:
    """Declared levels, in bits; other levels are refused rather than approximated.

    computational: work of an attack. It fixes the length of keys, of garbled labels and of OT rows, the number of base OTs, and
    the table of PAHE parameters. Hashes of rows keep it but for 8 bits, `hash_tile_bits` of which are the price of a key that a
    whole tile of rows shares (`kernels.symmetric.aes.hash_rows`).
    statistical: distance from uniform of what masks a number without wrapping: floods of noise, masks of products in slots.
    """

    computational: int = 128
    statistical: int = 40
    hash_tile_bits: ClassVar[int] = 6

    def __post_init__(self) -> None:
        if (self.computational, self.statistical) != (128, 40):
            raise ValueError("only 128-bit computational and 40-bit statistical security are implemented")


# What a session declares, and what parameters and costs are computed for where there is no session.
DECLARED = Security()
