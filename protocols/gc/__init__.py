"""Garbled circuits: builder, library, half gates."""
