"""Oblivious transfer: base OTs, extension, correlated OT."""
