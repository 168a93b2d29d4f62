"""AES-128 in plain integer operations: constant time, no tables, no intrinsics; LLVM vectorises it where it can.

A lane is 64 blocks under one key, bit-sliced: bit j of a lane's word is a bit of its block j. A call encrypts several
lanes side by side, each under its own key. The state is planes[bit][byte][lane]; a schedule is schedules[22][lane],
round key r of a lane at [2r], [2r + 1] as the (low, high) words of sixteen little-endian bytes.
"""

from __future__ import annotations

import numpy as np

from bunet.protocols.kernels.machine.compiled import kernel
from bunet.protocols.kernels.machine.types import Words

LANES = 32  # side by side, so that the loops over lanes fill the widest registers
LANE_BLOCKS = 64


@kernel
def _sub_bytes(planes: Words) -> None:  # pragma: no cover - compiled
    """The S-box on bit planes (8, n), in place: the circuit of Boyar and Peralta (eprint 2009/191)."""
    p0, p1, p2, p3 = planes[0], planes[1], planes[2], planes[3]
    p4, p5, p6, p7 = planes[4], planes[5], planes[6], planes[7]
    for i in range(planes.shape[1]):
        x0, x1, x2, x3, x4, x5, x6, x7 = p7[i], p6[i], p5[i], p4[i], p3[i], p2[i], p1[i], p0[i]
        y14 = x3 ^ x5
        y13 = x0 ^ x6
        y9 = x0 ^ x3
        y8 = x0 ^ x5
        t0 = x1 ^ x2
        y1 = t0 ^ x7
        y4 = y1 ^ x3
        y12 = y13 ^ y14
        y2 = y1 ^ x0
        y5 = y1 ^ x6
        y3 = y5 ^ y8
        t1 = x4 ^ y12
        y15 = t1 ^ x5
        y20 = t1 ^ x1
        y6 = y15 ^ x7
        y10 = y15 ^ t0
        y11 = y20 ^ y9
        y7 = x7 ^ y11
        y17 = y10 ^ y11
        y19 = y10 ^ y8
        y16 = t0 ^ y11
        y21 = y13 ^ y16
        y18 = x0 ^ y16
        # inversion in GF(2^4)
        t2 = y12 & y15
        t4 = (y3 & y6) ^ t2
        t6 = (y4 & x7) ^ t2
        t7 = y13 & y16
        t9 = (y5 & y1) ^ t7
        t11 = (y2 & y7) ^ t7
        t12 = y9 & y11
        t14 = (y14 & y17) ^ t12
        t16 = (y8 & y10) ^ t12
        t21 = t4 ^ t14 ^ y20
        t22 = t6 ^ t16 ^ y19
        t23 = t9 ^ t14 ^ y21
        t24 = t11 ^ t16 ^ y18
        t25 = t21 ^ t22
        t26 = t21 & t23
        t27 = t24 ^ t26
        t29 = (t25 & t27) ^ t22
        t30 = t23 ^ t24
        t31 = t22 ^ t26
        t33 = (t31 & t30) ^ t24
        t34 = t23 ^ t33
        t35 = t27 ^ t33
        t36 = t24 & t35
        t37 = t36 ^ t34
        t38 = t27 ^ t36
        t40 = t25 ^ (t29 & t38)
        t41 = t40 ^ t37
        t42 = t29 ^ t33
        t43 = t29 ^ t40
        t44 = t33 ^ t37
        t45 = t42 ^ t41
        # products, then the affine map
        z0 = t44 & y15
        z1 = t37 & y6
        z2 = t33 & x7
        z3 = t43 & y16
        z4 = t40 & y1
        z5 = t29 & y7
        z6 = t42 & y11
        z7 = t45 & y17
        z8 = t41 & y10
        z9 = t44 & y12
        z10 = t37 & y3
        z11 = t33 & y4
        z12 = t43 & y13
        z13 = t40 & y5
        z14 = t29 & y2
        z15 = t42 & y9
        z16 = t45 & y14
        z17 = t41 & y8
        t46 = z15 ^ z16
        t48 = z5 ^ z13
        t50 = z2 ^ z12
        t53 = z0 ^ z3
        t54 = z6 ^ z7
        t57 = t50 ^ t53
        t58 = z4 ^ t46
        t59 = z3 ^ t54
        t60 = t46 ^ t57
        t61 = z14 ^ t57
        t62 = z7 ^ z8 ^ t58
        t63 = z9 ^ z10 ^ t58
        t64 = z4 ^ t59
        t65 = t61 ^ t62
        t66 = z1 ^ t63
        s0 = t59 ^ t63
        s6 = z12 ^ t48 ^ ~t62
        s7 = t48 ^ ~t60
        s3 = t53 ^ t66
        s4 = z2 ^ z5 ^ t66
        s5 = z10 ^ z11 ^ t65
        s1 = t64 ^ ~s3
        s2 = z16 ^ z17 ^ ~(t64 ^ t65)
        p7[i], p6[i], p5[i], p4[i], p3[i], p2[i], p1[i], p0[i] = s0, s1, s2, s3, s4, s5, s6, s7


@kernel
def expand_lanes(low: Words, high: Words, schedules: Words) -> None:  # pragma: no cover - compiled
    """Key schedules of the keys (low[l], high[l]) into schedules (22, lanes), FIPS-197 section 5.2."""
    lanes = low.shape[0]
    for l in range(lanes):
        schedules[0, l], schedules[1, l] = low[l], high[l]
    rcon = np.uint64(1)
    word = np.uint64(0xFFFFFFFF)
    lsb = np.uint64(0x01010101)  # of each byte
    planes = np.empty((8, lanes), np.uint64)
    for r in range(1, 11):
        a, b = schedules[2 * r - 2], schedules[2 * r - 1]
        c, d = schedules[2 * r], schedules[2 * r + 1]
        for l in range(lanes):  # RotWord of the last column, one bit plane after the other
            x = b[l] >> np.uint64(32)
            x = (x >> np.uint64(8) | x << np.uint64(24)) & word
            for bit in range(8):
                planes[bit, l] = x >> np.uint64(bit) & lsb
        _sub_bytes(planes)
        for l in range(lanes):
            y = rcon
            for bit in range(8):
                y ^= (planes[bit, l] & lsb) << np.uint64(bit)
            w0 = a[l] & word ^ y
            w1 = w0 ^ a[l] >> np.uint64(32)
            w2 = w1 ^ b[l] & word
            c[l] = w0 | w1 << np.uint64(32)
            d[l] = w2 | (w2 ^ b[l] >> np.uint64(32)) << np.uint64(32)
        rcon = rcon << np.uint64(1) ^ (rcon >> np.uint64(7)) * np.uint64(0x11B)


@kernel
def _transpose(words: Words, lanes: int) -> None:  # pragma: no cover - compiled
    """Transposes one 64x64 bit matrix a lane: bit j of words[i, l] with bit i of words[j, l]."""
    mask = np.uint64(0x00000000FFFFFFFF)
    step = 32
    while step:
        shift = np.uint64(step)
        for base in range(0, 64, 2 * step):
            for k in range(base, base + step):
                upper, lower = words[k], words[k + step]
                for l in range(lanes):
                    swap = (upper[l] >> shift ^ lower[l]) & mask
                    lower[l] ^= swap
                    upper[l] ^= swap << shift
        step >>= 1
        mask ^= mask << np.uint64(step)


@kernel
def _linear(source: Words, target: Words, schedules: Words, r: int, lanes: int) -> None:  # pragma: no cover - compiled
    """ShiftRows, MixColumns (not in round 10) and AddRoundKey from source to target, planes (8, 16, lanes)."""
    one = np.uint64(1)
    zero = np.uint64(0)
    for column in range(4):
        for row in range(4):
            byte = 4 * column + row
            keys = schedules[2 * r + (byte >> 3)]
            # the bytes that ShiftRows brings to this column, from this row downwards
            i = 4 * ((column + row) & 3) + row
            j = 4 * ((column + row + 1) & 3) + ((row + 1) & 3)
            m = 4 * ((column + row + 2) & 3) + ((row + 2) & 3)
            n = 4 * ((column + row + 3) & 3) + ((row + 3) & 3)
            for bit in range(8):
                shift = np.uint64(8 * (byte & 7) + bit)
                out = target[bit, byte]
                if r == 10:
                    a = source[bit, i]
                    for l in range(lanes):
                        out[l] = a[l] ^ (zero - (keys[l] >> shift & one))
                    continue
                # 2 (a ^ b) ^ b ^ c ^ d; doubling moves bit 7 into bits 0, 1, 3, 4
                double_a, double_b = source[(bit - 1) & 7, i], source[(bit - 1) & 7, j]
                b, c, d = source[bit, j], source[bit, m], source[bit, n]
                if bit == 1 or bit == 3 or bit == 4:
                    top_a, top_b = source[7, i], source[7, j]
                    for l in range(lanes):
                        x = double_a[l] ^ double_b[l] ^ top_a[l] ^ top_b[l] ^ b[l] ^ c[l] ^ d[l]
                        out[l] = x ^ (zero - (keys[l] >> shift & one))
                else:
                    for l in range(lanes):
                        x = double_a[l] ^ double_b[l] ^ b[l] ^ c[l] ^ d[l]
                        out[l] = x ^ (zero - (keys[l] >> shift & one))


@kernel
def encrypt_lanes(rows: Words, schedules: Words, lanes: int) -> None:  # pragma: no cover - compiled
    """AES in place on rows (64 * lanes, 2) uint64: rows [64 l, 64 l + 64) under schedules[:, l]."""
    a = np.empty((8, 16, lanes), np.uint64)
    b = np.empty((8, 16, lanes), np.uint64)
    words = np.empty((64, lanes), np.uint64)
    one = np.uint64(1)
    for half in range(2):
        for i in range(64):
            for l in range(lanes):
                words[i, l] = rows[64 * l + i, half]
        _transpose(words, lanes)
        keys = schedules[half]
        for i in range(64):
            out = a[i & 7, 8 * half + (i >> 3)]
            for l in range(lanes):
                out[l] = words[i, l] ^ (np.uint64(0) - (keys[l] >> np.uint64(i) & one))
    for r in range(1, 11):
        _sub_bytes(a.reshape((8, 16 * lanes)))
        _linear(a, b, schedules, r, lanes)
        a, b = b, a
    for half in range(2):
        for i in range(64):
            for l in range(lanes):
                words[i, l] = a[i & 7, 8 * half + (i >> 3), l]
        _transpose(words, lanes)
        for i in range(64):
            for l in range(lanes):
                rows[64 * l + i, half] = words[i, l]
