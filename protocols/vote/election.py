"""From the shared labels of a volume along several axes to one opened mask: the steps of the vote and what they cost.

The rule is the clear one of `models.volumes.ensemble`: of each group of ballots (those of the infection, those of the lung)
a voxel is set where more than half of them are; a 3x3x3 maximum filter (or none) closes the group's mask, and what both groups
have is the mask. It is a circuit of XOR and AND on bits shared by XOR (`gates`), evaluated for all voxels of both groups at
once. Only its output is opened, to Alice: Bob sends his share of it, which is the mask masked by her own.

The maximum filter is three filters along a line, and each takes 1.5 ORs a voxel: the ORs of the pairs (0, 1), (2, 3), ...
serve the two windows of three that hold them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from math import prod
from typing import Any

import numpy as np

from bunet.protocols.blocks import length, slices
from bunet.protocols.context import Context, Role
from bunet.protocols.cost import Cost
from bunet.protocols.kernels.packing.bits import packed_bytes
from bunet.protocols.ot import extension
from bunet.protocols.steps import Receive, Send, Steps, spec
from bunet.protocols.vote import gates

AXES = "zyx"  # the axes of a volume (Z, H, W), slowest first
_OPENED = 1 << 23  # bits of the mask in one message


@dataclass(frozen=True)
class Election:
    """Public facts of a vote. shape: voxels (Z, H, W). groups: ballots of each, one or two groups of 1 to 3.

    filtered: whether a group's mask goes through the maximum filter.
    """

    shape: tuple[int, int, int]
    groups: tuple[int, ...]
    filtered: bool = True

    def __post_init__(self) -> None:
        if len(self.shape) != 3 or min(self.shape) < 1:
            raise ValueError(f"a vote is on a volume of three axes, not {self.shape}")
        if not (1 <= len(self.groups) <= 2 and all(1 <= ballots <= 3 for ballots in self.groups)):
            raise ValueError(f"a vote is on one or two groups of 1 to 3 ballots, not {self.groups}")

    @property
    def voxels(self) -> int:
        return prod(self.shape)


def majority(ctx: Context, election: Election, ballots: Sequence[np.ndarray]) -> Steps[np.ndarray]:
    """Where more than half of a group's ballots are set: shares uint8 (groups, Z, H, W).

    ballots: this party's shares, uint8 (Z, H, W) of 0 and 1, group after group. ValueError where they do not fit.
    """
    if len(ballots) != sum(election.groups) or any(b.shape != election.shape or b.dtype != np.uint8 for b in ballots):
        given = ", ".join(f"{b.dtype} {b.shape}" for b in ballots)
        raise ValueError(f"{sum(election.groups)} ballots of uint8 {election.shape} are due, not {given or 'none'}")
    counted = [size > 1 for size in election.groups]
    left = np.empty((sum(counted), *election.shape), np.uint8)
    right = np.empty_like(left)
    elected = np.zeros((len(election.groups), *election.shape), np.uint8)
    start = at = 0
    for group, size in enumerate(election.groups):
        group_ballots = ballots[start : start + size]
        start += size
        if size == 3:  # maj(a, b, c) = ((a ^ b) & (a ^ c)) ^ a
            np.bitwise_xor(group_ballots[0], group_ballots[1], out=left[at])
            np.bitwise_xor(group_ballots[0], group_ballots[2], out=right[at])
        elif size == 2:
            left[at], right[at] = group_ballots
        if size != 2:
            elected[group] = group_ballots[0]
        at += counted[group]
    elected[counted] ^= yield from gates.and_bits(ctx, left, right)
    return elected


def majority_cost(election: Election, ot: str = extension.DEFAULT) -> Cost:
    """Exact cost of `majority`: one AND a voxel for every group of more than one ballot."""
    return gates.cost(election.voxels * sum(size > 1 for size in election.groups), ot)


def maximum(ctx: Context, x: np.ndarray, axis: int) -> Steps[np.ndarray]:
    """The maximum of each voxel and its two neighbours along an axis; beyond the border nothing is set.

    x: shares uint8 (groups, Z, H, W); axis: 0..2 of the volume. Returns shares of the same shape.
    """
    line = x.shape[axis + 1]
    even, odd = _inner(line)

    def along(array: np.ndarray, start: int, stop: int, step: int = 1) -> np.ndarray:
        part: np.ndarray = array[(slice(None),) * (axis + 1) + (slice(start, stop, step),)]
        return part

    pairs = along(x, 0, line, 2).copy()  # voxels 2k and 2k + 1
    along(pairs, 0, line // 2)[:] = yield from gates.or_bits(ctx, along(x, 0, line - 1, 2), along(x, 1, line, 2))
    # voxel 2k has its left neighbour beside its pair, voxel 2k + 1 its right one; at the ends the pair is all
    beside = np.concatenate([along(x, 1, 2 * even, 2), along(x, 2, 2 * odd + 1, 2)], axis + 1)
    own = np.concatenate([along(pairs, 1, even + 1), along(pairs, 0, odd)], axis + 1)
    either = yield from gates.or_bits(ctx, beside, own)
    out = np.empty(x.shape, np.uint8)
    along(out, 0, 1)[:] = along(pairs, 0, 1)
    along(out, line - 1, line)[:] = along(pairs, even, even + 1)
    along(out, 2, 2 * even + 1, 2)[:] = along(either, 0, even)
    along(out, 1, 2 * odd, 2)[:] = along(either, even, even + odd)
    return out


def _inner(line: int) -> tuple[int, int]:
    """Voxels of a line of so many that reach beyond their pair: (at even places, at odd places)."""
    return (line + 1) // 2 - 1, (line - 1) // 2


def maximum_cost(election: Election, axis: int, ot: str = extension.DEFAULT) -> Cost:
    """Exact cost of `maximum`: n / 2 ORs and n - 2 more (n - 1 if n is odd) for a line of n voxels."""
    line = election.shape[axis]
    lines = len(election.groups) * election.voxels // line
    return gates.cost(lines * (line // 2), ot).then(gates.cost(lines * sum(_inner(line)), ot))


def overlap(ctx: Context, x: np.ndarray) -> Steps[np.ndarray]:
    """What all groups have in common: shares uint8 (Z, H, W) of the AND over (groups, Z, H, W)."""
    if len(x) == 1:
        alone: np.ndarray = x[0]
        return alone
    return (yield from gates.and_bits(ctx, x[0], x[1]))


def overlap_cost(election: Election, ot: str = extension.DEFAULT) -> Cost:
    """Exact cost of `overlap`."""
    return gates.cost(election.voxels * (len(election.groups) - 1), ot)


def opened(ctx: Context, x: np.ndarray) -> Steps[np.ndarray | None]:
    """Both halves of the opening: uint8 like x to Alice, None to Bob, who sends his share."""
    share = x.reshape(-1)
    parts = slices(share.size, _OPENED)
    if ctx.role is Role.BOB:
        for part in parts:
            yield Send("mask", (np.packbits(share[part], bitorder="little"),))
        return None
    mask = share.copy()
    for part in parts:
        (packed,) = yield Receive("mask", (spec(np.uint8, packed_bytes(length(part), 1)),))
        mask[part] ^= np.unpackbits(packed, count=length(part), bitorder="little")
    return mask.reshape(x.shape)


def opened_cost(election: Election) -> Cost:
    """Exact cost of `opened`: one bit a voxel, from Bob."""
    return Cost.flight(Role.BOB, sum(packed_bytes(length(part), 1) for part in slices(election.voxels, _OPENED)))


@dataclass(frozen=True)
class Step:
    """A part of the vote that takes what the one before it gave. run: (ctx, value) -> Steps, the same for both parties."""

    name: str
    run: Callable[[Context, Any], Steps[Any]]
    cost: Cost


def steps(election: Election, ot: str = extension.DEFAULT) -> list[Step]:
    """The vote in order; the first step takes the ballots, the last gives Alice the mask. ot: the OT extension."""

    def elect(ctx: Context, ballots: Sequence[np.ndarray]) -> Steps[np.ndarray]:
        return majority(ctx, election, ballots)

    parts = [Step("majority", elect, majority_cost(election, ot))]
    for axis, name in enumerate(AXES if election.filtered else ""):
        parts.append(Step(f"maximum-{name}", partial(maximum, axis=axis), maximum_cost(election, axis, ot)))
    parts.append(Step("overlap", overlap, overlap_cost(election, ot)))
    return [*parts, Step("open", opened, opened_cost(election))]


def vote(ctx: Context, election: Election, ballots: Sequence[np.ndarray]) -> Steps[np.ndarray | None]:
    """Both halves of the whole vote on one chain: the mask, uint8 (Z, H, W), to Alice, None to Bob."""
    value: Any = ballots
    for step in steps(election):
        value = yield from step.run(ctx, value)
    mask: np.ndarray | None = value
    return mask
