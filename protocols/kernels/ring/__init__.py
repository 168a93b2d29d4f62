"""Arithmetic in the ciphertext ring: NTT, sampling, RLWE, multiply-accumulate."""
