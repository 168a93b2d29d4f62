"""What is left of a ciphertext's room for noise: a diagnostic in slow exact integers, which needs the secret key."""

import numpy as np

from bunet.protocols.kernels.ring import ntt, rlwe
from bunet.protocols.pahe.keys import SecretKey


def phase(key: SecretKey, ciphertexts: np.ndarray) -> np.ndarray:
    """c0 + c1 s, uint64 (n, L, N), in the coefficient domain."""
    tables = key.params.tables
    c0, c1 = ciphertexts[:, 0], ciphertexts[:, 1]
    return ntt.inverse(rlwe.multiply_add(c0, c1, key.fixed(tables), tables), tables)


def noise_budget(key: SecretKey, ciphertexts: np.ndarray, t: int) -> int:
    """Bits by which the largest noise of the batch may still grow before decryption fails (0: it may have failed).

    floor(log2(q / (2 * max |t * phase mod q|))), centred.
    """
    params = key.params
    q = params.modulus
    total = np.zeros((len(ciphertexts), params.degree), object)
    for prime, residues in zip(params.primes, phase(key, ciphertexts).transpose(1, 0, 2), strict=True):
        rest = q // prime
        total += residues.astype(object) * (rest * pow(rest, -1, prime))
    scaled = total * t % q
    largest = max(int(np.minimum(scaled, q - scaled).max()), 1)
    return max((q // (2 * largest)).bit_length() - 1, 0)
