"""Bits packed into bytes, and bit matrices transposed."""
