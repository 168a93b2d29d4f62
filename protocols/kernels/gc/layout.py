"""How labels lie in memory: in tiles of 64 instances."""

from __future__ import annotations

from bunet.protocols.kernels.symmetric import aes

TILE = aes.TILE  # instances; also the number of hashes under one key that an evaluator does not know
WORDS = 2 * TILE  # words of a wire
SCRATCH_WORDS = 88  # key schedules of two gates
