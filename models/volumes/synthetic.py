"""Synthetic chest CT: seeded, numpy only, no file and no patient behind it.

A volume is built from implicit surfaces in Hounsfield units (body, fat, ribs, spine, heart, great vessels, airways,
lungs, pulmonary vessels, ground-glass lesions), blurred, given correlated noise, and windowed to [0, 1] by the same
window as `intensity.HU_WINDOW`. It is smooth along the slice axis at the scale of a pixel, so that the five slices of a
2.5D input tell something about one another. It looks like a chest; it has no clinical meaning whatsoever.

Axes: (slice, row, column) = (z caudal to cranial, y anterior to posterior, x). Voxels are cubes of 1/size of the
chest.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bunet.models.errors import UsageError
from bunet.models.volumes.content.intensity import HU_WINDOW

Floats = NDArray[np.float32]
Bools = NDArray[np.bool_]
Put = Callable[[Floats, Floats | float], None]

EMBEDDED_SEED = 271_828
# Seeds of the split: `bunet train` draws its volumes from these ranges, so that a held-out seed stays held out. Tests have
# theirs from 3_000_000 on.
TRAINING_SEEDS = range(1_000_000, 2_000_000)
VALIDATION_SEEDS = range(2_000_000, 2_001_000)

MIN_SIZE = 32
AIR, LUNG, FAT, MUSCLE, BLOOD, BONE = -1000.0, -850.0, -100.0, 45.0, 55.0, 420.0


@dataclass(frozen=True)
class SyntheticVolume:
    """volume float32 (Z, H, W) in [0, 1]; lung and lesion bool (Z, H, W); lesion lies within lung."""

    volume: Floats
    lung: Bools
    lesion: Bools
    seed: int


def embedded(size: int = 128, slices: int = 32) -> SyntheticVolume:
    """The demo's volume: a fixed seed, in none of the training, validation and test ranges."""
    return generate(size=size, slices=slices, seed=EMBEDDED_SEED)


def generate(size: int = 128, slices: int = 32, seed: int = 0, lesions: int | None = None) -> SyntheticVolume:
    """One chest, `slices` consecutive slices of size x size pixels.

    slices >= size covers the whole chest; fewer slices are a slab from its middle. lesions: how many to plant
    (default: 1 to 7, drawn from the seed). Equal arguments give equal volumes. Raises UsageError for a size below 32,
    no slices, a negative seed or lesions < 0.
    """
    if size < MIN_SIZE:
        raise UsageError(f"size {size} is below {MIN_SIZE} pixels, too coarse for a chest")
    if slices < 1:
        raise UsageError(f"slices {slices} is not a positive number")
    if seed < 0:
        raise UsageError(f"seed {seed} is negative")
    if lesions is not None and lesions < 0:
        raise UsageError(f"lesions {lesions} is negative")
    chest = _Chest(size, slices, seed)
    return chest.render(int(chest.rng.integers(1, 8)) if lesions is None else lesions)


class _Chest:
    """The draw of one patient, and its grids: t, y, x broadcastable to (Z, H, W)."""

    def __init__(self, size: int, slices: int, seed: int) -> None:
        self.rng = np.random.default_rng([0xB0_0E7, seed])
        rng = self.rng
        self.seed, self.shape = seed, (slices, size, size)
        extent = max(size, slices)
        # A slab is cut from the middle of the chest, where there is lung to see.
        start = (extent - slices) * rng.uniform(0.3, 0.6)
        self.t = ((start + np.arange(slices, dtype=np.float32) + 0.5) / extent).astype(np.float32)[:, None, None]
        line = ((np.arange(size, dtype=np.float32) + 0.5) * (2.0 / size) - 1.0).astype(np.float32)
        # A random pose: shift and in-plane rotation of a few degrees.
        row, column = line[:, None] - rng.uniform(-0.05, 0.05), line[None, :] - rng.uniform(-0.05, 0.05)
        angle = rng.normal(0.0, 0.03)
        self.y = (np.cos(angle) * row - np.sin(angle) * column).astype(np.float32)[None]
        self.x = (np.sin(angle) * row + np.cos(angle) * column).astype(np.float32)[None]
        self.edge = np.float32(1.6 / size)  # half-width of a soft edge: about one pixel
        self.wide = np.float32(rng.uniform(0.82, 0.93))  # half-width of the body
        self.deep = np.float32(rng.uniform(0.58, 0.68))  # half-depth of the body
        self.start = start / extent

    def noise(self, cells: float) -> Floats:
        """Smooth noise with about `cells` cells across the image, mean 0, deviation about 1, alike on all axes."""
        slices, size, _ = self.shape
        across = max(2, round(cells))
        along = max(2, round(cells * slices / size) + 1)
        grid = self.rng.standard_normal((along + 2, across + 2, across + 2)).astype(np.float32)
        field = np.tensordot(_spline(slices, along), grid, axes=(1, 0))
        field = np.matmul(_spline(size, across), field)
        field = np.matmul(field, _spline(size, across).T)
        return np.asarray(field * np.float32(2.2), dtype=np.float32)

    def soft(self, inside: Floats, width: float | None = None) -> Floats:
        """Occupancy in [0, 1] of the set inside > 0, with a soft edge of `width` in the units of `inside`."""
        scale = np.float32(1.0) / np.float32(self.edge if width is None else width)
        return np.asarray(np.clip(inside * scale * np.float32(0.5) + np.float32(0.5), 0.0, 1.0))

    def disc(self, y: Floats | float, x: Floats | float, radius: Floats | float) -> Floats:
        """Positive inside the circle (a tube along t where the arguments follow t): radius minus distance."""
        return np.asarray(radius - np.hypot(self.y - y, self.x - x), dtype=np.float32)

    def render(self, lesions: int) -> SyntheticVolume:
        """Layer the organs from the outside in; later ones replace earlier ones by their occupancy."""
        rng, t, y, x = self.rng, self.t, self.y, self.x
        field = np.full(self.shape, AIR, dtype=np.float32)

        def put(occupancy: Floats, value: Floats | float) -> None:
            field[...] += occupancy * (value - field)

        # Body: a superellipse, wider at the shoulders; skin, fat, then muscle inside.
        wide = self.wide * (1.0 + 0.05 * (t - 0.5))
        body = _superellipse(y / self.deep, x / wide, 2.4)
        fat = rng.uniform(0.07, 0.16)
        put(self.soft((1.0 - body) * self.deep), FAT)
        put(self.soft((1.0 - fat - body) * self.deep), MUSCLE)
        table = 0.012 - np.abs(y - (self.deep + 0.06 - 0.08 * x * x))
        put(self.soft(np.minimum(table, 0.7 - np.abs(x))), -450.0)

        # Thorax: the wall's inside, between which and the muscle run the ribs.
        thorax = _superellipse((y + 0.02) / (self.deep * 0.80), x / (wide * 0.80), 2.2)
        inner = np.asarray((1.0 - thorax) * 0.5, dtype=np.float32)
        run = rng.uniform(11.0, 13.0)
        phase = (t * run + 1.4 * y + 0.5 * np.abs(x) + rng.uniform()) * np.float32(2 * np.pi)
        ribs = self.soft(0.035 - np.abs(inner + 0.035)) * self.soft(np.cos(phase) - 0.25, 0.35)
        put(ribs, BONE + 80.0 * self.noise(24))

        lung = self.lungs(inner)
        put(self.soft(inner), FAT + 60.0)  # mediastinal fat; heart, vessels and lungs replace most of it
        put(self.heart(), BLOOD)
        put(self.soft(self.disc(0.26, 0.10, 0.055)), BLOOD + 20.0)  # descending aorta
        put(self.soft(np.minimum(self.disc(-0.02, 0.05, 0.075), (t - 0.55) * 2.0)), BLOOD + 10.0)  # ascending, arch
        put(self.soft((0.34 + 0.10 * x * x - t) * 1.5) * self.soft(inner), MUSCLE + 15.0)  # under the diaphragm
        self.spine(put)
        put(lung, LUNG + 45.0 * self.noise(6) + 90.0 * (y + 0.1))  # denser at the back, by gravity

        # Pulmonary vessels: the curves where two noise fields vanish together, thicker towards the hilum.
        hilum = np.hypot(np.abs(x) - 0.16, y - 0.03)
        for cells, thickness in ((7.0, 0.20), (13.0, 0.22)):
            distance = np.hypot(self.noise(cells), self.noise(cells))
            radius = thickness * np.clip(1.25 - 1.6 * hilum, 0.25, 1.0) * max(1.0, 64 * cells / 7 / self.shape[1])
            put(lung * self.soft(radius - distance, 0.12), 20.0)

        lesion = self.lesions(lesions, lung, inner, put)
        self.airways(put)
        return SyntheticVolume(self.finish(field), lung > 0.5, lesion, self.seed)

    def lungs(self, inner: Floats) -> Floats:
        """Occupancy of both lungs: inside the wall, above the diaphragm's domes, off the mediastinum and below the
        apex.
        """
        rng, t, y, x = self.rng, self.t, self.y, self.x
        side = np.abs(x)
        dome = 0.22 + rng.uniform(-0.02, 0.02) - 0.5 * ((side - 0.36) ** 2 + (y + 0.05) ** 2) + 0.02 * np.sign(-x)
        apex = 0.97 - 1.1 * ((side - 0.3) ** 2 + (y - 0.05) ** 2)
        # The mediastinum is narrow in front and behind the heart, and bulges to one side with it.
        heart = rng.uniform(0.2, 0.32) * np.exp(-(((t - 0.36) / 0.2) ** 2)) * np.exp(-(((y + 0.16) / 0.2) ** 2))
        middle = 0.09 + 0.05 * np.exp(-(((y - 0.3) / 0.14) ** 2)) + heart * np.where(x > 0, 1.0, 0.3)
        middle = np.where(y < -0.25, np.maximum(middle - 0.6 * (-0.25 - y), 0.03), middle)  # meeting in front
        wobble = 0.012 * self.noise(5)
        inside = np.minimum.reduce(np.broadcast_arrays(inner - 0.02, side - middle, (t - dome) * 1.4, (apex - t) * 1.4))
        return self.soft(np.asarray(inside + wobble, dtype=np.float32))

    def heart(self) -> Floats:
        rng, t = self.rng, self.t
        grow = rng.uniform(0.9, 1.1)
        body = ((self.x - 0.09) / 0.3) ** 2 + ((self.y + 0.14) / 0.23) ** 2 + ((t - 0.37) / 0.2) ** 2
        return self.soft(np.asarray((grow - np.sqrt(body)) * 0.22, dtype=np.float32), 0.06)

    def spine(self, put: Put) -> None:
        """Vertebral bodies with discs between them, the canal, the processes; the sternum in front."""
        t, back = self.t, float(self.deep) * 0.62
        disc = np.cos(t * np.float32(2 * np.pi * 12.0) + self.rng.uniform(0, 6.0))
        bone = np.where(disc > 0.9, 80.0, BONE - 180.0).astype(np.float32) + 50.0 * self.noise(30)
        spread = self.soft(np.minimum(0.03 - np.abs(self.y - back - 0.17 - 0.1 * np.abs(self.x)), 0.2 - np.abs(self.x)))
        put(spread, BONE - 120.0)
        put(self.soft(self.disc(back, 0.0, 0.115)), bone)
        put(self.soft(self.disc(back + 0.15, 0.0, 0.05)), 25.0)
        front = -self.deep * 0.84
        put(self.soft(np.minimum(0.035 - np.abs(self.y - front), 0.12 - np.abs(self.x)) + 0 * t), BONE - 220.0)

    def lesions(self, count: int, lung: Floats, inner: Floats, put: Put) -> Bools:
        """Plant `count` ground-glass opacities, mostly at the rim and the back; their mask, within the lungs."""
        rng = self.rng
        size = self.shape[1]
        total = np.zeros(self.shape, dtype=np.float32)
        likely = (lung > 0.95) * (0.15 + np.exp(-inner / 0.12)) * (1.0 + np.clip(2.0 * self.y, -0.8, 1.5))
        cumulative = np.cumsum(likely.reshape(-1), dtype=np.float64)
        if count == 0 or cumulative[-1] <= 0:
            return np.zeros(self.shape, dtype=np.bool_)
        warp = self.noise(9)
        texture = self.noise(size / 3.5)
        for _ in range(count):
            spot = int(np.searchsorted(cumulative, rng.uniform() * cumulative[-1]))
            k, i, j = np.unravel_index(min(spot, cumulative.size - 1), self.shape)
            radius = rng.uniform(0.07, 0.26) * rng.uniform(0.7, 1.3, size=3)
            offsets = (
                (self.t - self.t[k, 0, 0]) * 2.0 / radius[0],
                (self.y - self.y[0, i, j]) / radius[1],
                (self.x - self.x[0, i, j]) / radius[2],
            )
            inside = 1.0 - np.sqrt(offsets[0] ** 2 + offsets[1] ** 2 + offsets[2] ** 2) + 0.22 * warp
            occupancy = self.soft(np.asarray(inside, dtype=np.float32), rng.uniform(0.10, 0.25)) * lung
            solid = rng.uniform() < 0.25
            value = rng.uniform(-250.0, -60.0) if solid else rng.uniform(-640.0, -380.0)
            put(occupancy * rng.uniform(0.85, 1.0), value + 70.0 * texture)
            np.maximum(total, occupancy, out=total)
        return np.asarray((total > 0.5) & (lung > 0.5))

    def airways(self, put: Put) -> None:
        """Trachea down to the carina at t = 0.6, then the two main bronchi going aside, each with a wall."""
        t = self.t
        below = np.clip(0.60 - t, 0.0, 0.16)
        present = np.where(t > 0.45, 0.0, -1.0)
        for wall, value in ((0.02, MUSCLE - 20.0), (0.0, AIR + 15.0)):
            for sign in (-1.0, 1.0):
                tube = self.disc(0.04 + 0.3 * below, sign * 1.5 * below, 0.052 - 0.12 * below) + present
                put(self.soft(tube + np.float32(wall)), value)

    def finish(self, field: Floats) -> Floats:
        """Point spread (1 2 1 per axis), noise of a scanner (white and correlated), window, clip."""
        for axis in range(3):
            padded = np.pad(field, [(1, 1) if a == axis else (0, 0) for a in range(3)], mode="edge")
            n = field.shape[axis]
            low, mid, high = (np.take(padded, range(s, s + n), axis=axis) for s in range(3))
            field = (low + 4.0 * mid + high) * np.float32(1 / 6)
        sigma = np.float32(self.rng.uniform(8.0, 25.0))
        field = field + sigma * self.rng.standard_normal(self.shape, dtype=np.float32)
        field += sigma * self.noise(self.shape[1] / 2.5)
        low_hu, high_hu = HU_WINDOW
        return np.asarray(np.clip((field - low_hu) * np.float32(1.0 / (high_hu - low_hu)), 0.0, 1.0).astype(np.float32))


def _superellipse(y: Floats, x: Floats, power: float) -> Floats:
    """Below 1 inside; the gradient is about 1 over the half-axis at the rim."""
    return np.asarray((np.abs(y) ** power + np.abs(x) ** power) ** (1.0 / power), dtype=np.float32)


def _spline(points: int, cells: int) -> Floats:
    """(points, cells + 2) matrix of the quadratic B-spline: rows sum to 1, smooth to the first derivative."""
    position = (np.arange(points) + 0.5) * (cells / points)
    cell = np.minimum(position.astype(np.int64), cells - 1)
    f = position - cell
    matrix = np.zeros((points, cells + 2), dtype=np.float32)
    rows = np.arange(points)
    matrix[rows, cell] = 0.5 * (1 - f) ** 2
    matrix[rows, cell + 1] = 0.5 + f - f * f
    matrix[rows, cell + 2] = 0.5 * f**2
    return matrix
