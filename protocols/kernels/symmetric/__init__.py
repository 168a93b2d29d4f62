"""AES: blocks, counter mode, the tweakable hash."""
