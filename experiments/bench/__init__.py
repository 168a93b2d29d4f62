"""Timings: whole slices, kernels, and other libraries beside them."""
