"""Bytes: links, frames, channels, the shaper. Knows no cryptography."""

if __name__ != "bunet.net":  # another name would compile kernels into a second, conflicting cache
    raise ImportError("import bunet.net, not " + __name__)
