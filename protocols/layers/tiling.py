"""How an image is cut into polynomials so that a polynomial product is a convolution.

Coefficient packing without rotations (Huang, Lu, Hong, Ding: "Cheetah", USENIX Security 2022, section 3.1). A tile of
the image with its halo, `group` channels of it, becomes the coefficients of one polynomial of degree below N; the
kernels of `bundle` output channels become the coefficients of another; at known positions their negacyclic product
holds the outputs of the tile.

With stride s (positions from one row of a tile to the next) and plane P (positions from one channel to the next),

    x(X) = sum x[c, i, j] X^(c*P + i*s + j)
    w(X) = sum w[m, c, a, b] X^(m*C*P + O - (c*P + a*s + b)),   O = (C-1)*P + (k-1)*(s+1)

the coefficient m*C*P + O + i*s + j of x*w is sum_{c,a,b} x[c, i+a, j+b] w[m, c, a, b], provided that M*C*P <= N and
that the last such position is below N: contributions of other bundled kernels fall outside the data, and what wraps
around X^N falls below O. A tile as wide as the image needs only one pad between rows, since the zeros right of a row
are also the zeros left of the next: s = width + k//2 instead of width + 2*(k//2).

Everything here is public: it follows from shapes, not from values.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np


@dataclass(frozen=True)
class Image:
    """Shape of a stride-1, zero-padded convolution: (channels, height, width) to (out_channels, height, width)."""

    channels: int
    height: int
    width: int
    out_channels: int
    kernel: int

    def __post_init__(self) -> None:
        if min(self.channels, self.height, self.width, self.out_channels) < 1:
            raise ValueError(f"{self} has an empty side")
        if self.kernel < 1 or self.kernel % 2 == 0:
            raise ValueError(f"kernel {self.kernel} is not odd")

    def flat(self) -> Image:
        """The same 1x1 convolution over one long row: it has no neighbours, so any cut of the pixels is a tile."""
        if self.kernel != 1:
            raise ValueError("only a 1x1 convolution can be flattened")
        return Image(self.channels, 1, self.height * self.width, self.out_channels, 1)


@dataclass(frozen=True)
class Tiling:
    """One way to cut an image: tiles of height x width outputs, `group` channels and `bundle` outputs a polynomial.

    Tiles are equal; the last of a row or column may reach beyond the image, where inputs are zero and outputs are
    dropped.
    """

    image: Image
    degree: int
    height: int
    width: int
    group: int
    bundle: int

    def __post_init__(self) -> None:
        if min(self.height, self.width, self.group, self.bundle) < 1:
            raise ValueError(f"{self} has an empty tile")
        if self.last_position >= self.degree or self.bundle * self.group * self.plane > self.degree:
            raise ValueError(f"{self} does not fit a polynomial of {self.degree} coefficients")

    @property
    def pad(self) -> int:
        return self.image.kernel // 2

    @property
    def rows(self) -> int:
        """Tiles from top to bottom."""
        return -(-self.image.height // self.height)

    @property
    def columns(self) -> int:
        """Tiles from left to right."""
        return -(-self.image.width // self.width)

    @property
    def tiles(self) -> int:
        return self.rows * self.columns

    @property
    def groups(self) -> int:
        """Input polynomials a tile."""
        return -(-self.image.channels // self.group)

    @property
    def bundles(self) -> int:
        """Output polynomials a tile."""
        return -(-self.image.out_channels // self.bundle)

    @property
    def stride(self) -> int:
        return stride_of(self.width, self.image)

    @property
    def plane(self) -> int:
        return (self.height + 2 * self.pad) * self.stride

    @property
    def origin(self) -> int:
        """Position of the first output: O above."""
        return (self.group - 1) * self.plane + 2 * self.pad * (self.stride + 1)

    @property
    def last_position(self) -> int:
        """Position of the last output of the last bundled channel."""
        inside = (self.height - 1) * self.stride + self.width - 1
        return (self.bundle - 1) * self.group * self.plane + self.origin + inside

    @property
    def outputs(self) -> int:
        """Needed coefficients of a reply."""
        return self.bundle * self.height * self.width

    @cached_property
    def positions(self) -> np.ndarray:
        """int64 (outputs,): where the outputs stand in a product, ordered (bundled channel, row, column)."""
        m = np.arange(self.bundle)[:, None, None] * (self.group * self.plane)
        i = np.arange(self.height)[:, None] * self.stride
        return (m + self.origin + i + np.arange(self.width)).reshape(-1).astype(np.int64)

    def messages(self, values: np.ndarray, first: int, count: int) -> np.ndarray:
        """Input polynomials first .. first+count-1 in the order (tile, group).

        values: uint32 or uint64 (channels, height, width) of the image. Returns uint64 (count, degree), zero where
        there is no pixel.
        """
        image = self.image
        if values.shape != (image.channels, image.height, image.width):
            raise ValueError(f"an image of shape {values.shape} is not the planned {image}")
        if not 0 <= first <= first + count <= self.tiles * self.groups:
            raise ValueError(f"polynomials {first}..{first + count} are outside {self.tiles * self.groups}")
        out = np.zeros((count, self.degree), np.uint64)
        for k in range(count):
            tile, group = divmod(first + k, self.groups)
            self._fill(out[k], values, tile, group)
        return out

    def _fill(self, polynomial: np.ndarray, values: np.ndarray, tile: int, group: int) -> None:
        row, column = divmod(tile, self.columns)
        top, left = row * self.height - self.pad, column * self.width - self.pad
        channels = values[group * self.group : (group + 1) * self.group]
        block = polynomial[: self.group * self.plane].reshape(self.group, self.height + 2 * self.pad, self.stride)
        i0, i1 = max(top, 0), min(top + block.shape[1], self.image.height)
        j0, j1 = max(left, 0), min(left + self.stride, self.image.width)
        block[: len(channels), i0 - top : i1 - top, j0 - left : j1 - left] = channels[:, i0:i1, j0:j1]

    def taps(self, weight: np.ndarray, first: int, count: int) -> np.ndarray:
        """What stands at `tap_positions` of the weight polynomials of output bundles first .. first+count-1.

        weight: int64 (out_channels, channels, k, k). Returns int64 (groups, count, taps); all other coefficients are zero.
        """
        image, k = self.image, self.image.kernel
        if weight.shape != (image.out_channels, image.channels, k, k):
            raise ValueError(f"weights of shape {weight.shape} do not fit {image}")
        if not 0 <= first <= first + count <= self.bundles:
            raise ValueError(f"bundles {first}..{first + count} are outside {self.bundles}")
        own = weight[first * self.bundle : (first + count) * self.bundle]
        padded = np.zeros((count * self.bundle, self.groups * self.group, k, k), np.int64)
        padded[: own.shape[0], : own.shape[1]] = own
        padded = padded.reshape(count, self.bundle, self.groups, self.group, k, k)
        return padded.transpose(2, 0, 1, 3, 4, 5).reshape(self.groups, count, -1)

    @cached_property
    def tap_positions(self) -> np.ndarray:
        """int64 (taps,): exponents of the weights (bundled channel, channel, row, column).

        They are all different, but for tiles of one column, where weights meet that only multiply padding.
        """
        k = self.image.kernel
        m = np.arange(self.bundle)[:, None, None, None] * (self.group * self.plane)
        c = np.arange(self.group)[:, None, None] * self.plane
        a = np.arange(k)[:, None] * self.stride
        return (m + self.origin - c - a - np.arange(k)).reshape(-1)

    def place(self, image: np.ndarray, tiles: range, bundles: range, values: np.ndarray) -> None:
        """Write the outputs of the replies of these tiles and bundles into the image.

        image: (out_channels, height, width); values: (tiles * bundles, outputs), what stood at `positions`, bundles
        varying fastest.
        """
        if values.shape != (len(tiles) * len(bundles), self.outputs):
            raise ValueError(f"{values.shape} values do not fill {len(tiles)} tiles of {len(bundles)} bundles")
        h, w, m = self.height, self.width, self.bundle
        blocks = values.reshape(len(tiles), len(bundles) * m, h, w)
        channels = image[bundles.start * m : bundles.stop * m]
        for block, tile in zip(blocks, tiles, strict=True):
            row, column = divmod(tile, self.columns)
            target = channels[:, row * h : (row + 1) * h, column * w : (column + 1) * w]
            target[...] = block[: target.shape[0], : target.shape[1], : target.shape[2]]


def stride_of(tile_width: int, image: Image) -> int:
    """Positions from one row of a tile to the next."""
    pad = image.kernel // 2
    return tile_width + (pad if tile_width == image.width else 2 * pad)


def even_cuts(length: int) -> list[int]:
    """Every useful size of equal parts: for each number of parts, the smallest part that covers the length."""
    return sorted({-(-length // parts) for parts in range(1, length + 1)}, reverse=True)


def candidates(image: Image, degree: int, most_bundled: int) -> Iterator[Tiling]:
    """The tilings worth comparing: even cuts of the image and of the channels, as many outputs bundled as fit.

    Tiles that are neither the whole image nor an eighth of a polynomial are mostly halo, and left out.

    most_bundled: limit on output channels a polynomial (their noises add up).
    """
    pad = image.kernel // 2
    for width in even_cuts(image.width):
        stride = stride_of(width, image)
        for height in even_cuts(image.height):
            plane = (height + 2 * pad) * stride
            # The last output stands at most `pad` behind the last plane; see the module's text.
            room = (degree - pad) // plane
            if room > 8 and (height, width) != (image.height, image.width):
                break
            for group in even_cuts(image.channels):
                if group > room:
                    continue
                bundles = -(-image.out_channels // min(room // group, most_bundled, image.out_channels))
                yield Tiling(image, degree, height, width, group, -(-image.out_channels // bundles))
