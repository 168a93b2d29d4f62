"""Passes over the layer program, one a file."""
