"""Multiplication triples and square pairs."""
