"""Negacyclic NTT in 64-bit scalar arithmetic: the tier that runs everywhere."""

from __future__ import annotations

from bunet.protocols.kernels.machine.compiled import kernel
from bunet.protocols.kernels.machine.types import Words
from bunet.protocols.kernels.ring.modular import Q, multiply_shoup


@kernel
def forward(a: Words, factors: Words, constants: Words) -> None:
    """In place on canonical a (n, L, N); factors (3, L, N) of `ntt.Tables.forward`. Lazy range between levels: [0, 4q)."""
    n, limbs, degree = a.shape
    for i in range(n):
        for l in range(limbs):
            q = constants[l, Q]
            q2 = q + q
            row, w, s = a[i, l], factors[0, l], factors[1, l]
            half, groups = degree, 1
            while groups < degree:
                half >>= 1
                for g in range(groups):
                    wg, sg = w[groups + g], s[groups + g]
                    top = row[2 * g * half : (2 * g + 1) * half]
                    bottom = row[(2 * g + 1) * half : (2 * g + 2) * half]
                    for j in range(half):
                        x = min(top[j], top[j] - q2)
                        v = multiply_shoup(bottom[j], wg, sg, q)
                        top[j] = x + v
                        bottom[j] = x - v + q2
                groups <<= 1
            for j in range(degree):
                x = min(row[j], row[j] - q2)
                row[j] = min(x, x - q)


@kernel
def inverse(a: Words, factors: Words, scaling: Words, constants: Words) -> None:
    """In place on canonical a (n, L, N); factors, scaling of `ntt.Tables`. Lazy range between levels: [0, 2q)."""
    n, limbs, degree = a.shape
    for i in range(n):
        for l in range(limbs):
            q = constants[l, Q]
            q2 = q + q
            row, w, s = a[i, l], factors[0, l], factors[1, l]
            half, groups = 1, degree >> 1
            while groups > 1:
                for g in range(groups):
                    wg, sg = w[groups + g], s[groups + g]
                    top = row[2 * g * half : (2 * g + 1) * half]
                    bottom = row[(2 * g + 1) * half : (2 * g + 2) * half]
                    for j in range(half):
                        x, y = top[j], bottom[j]
                        t = x + y
                        top[j] = min(t, t - q2)
                        bottom[j] = multiply_shoup(x - y + q2, wg, sg, q)
                half <<= 1
                groups >>= 1
            k, ks, kw, kws = scaling[l, 0], scaling[l, 1], scaling[l, 3], scaling[l, 4]
            top, bottom = row[:half], row[half:]
            for j in range(half):
                x, y = top[j], bottom[j]
                t = multiply_shoup(x + y, k, ks, q)
                top[j] = min(t, t - q)
                t = multiply_shoup(x - y + q2, kw, kws, q)
                bottom[j] = min(t, t - q)
