"""Additive secret sharing over Z_2^width."""
