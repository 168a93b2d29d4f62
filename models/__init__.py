"""Meaning: volumes, the U-Net, quantisation, the layer program and its integer oracle."""

if __name__ != "bunet.models":  # another name would compile kernels into a second, conflicting cache
    raise ImportError("import bunet.models, not " + __name__)
