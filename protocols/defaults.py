"""What runs where nobody has chosen otherwise. Imports nothing, so that settings can name it without loading the kernels."""

from __future__ import annotations

# Protocol of each operation; a readout's is named by its attribute `kind` (`registry.default_of`).
DEFAULTS = {
    "conv": "pahe-coefficient",
    "conv_transpose": "pahe-coefficient",
    "relu": "gc-sign",
    "square": "mt",
    "avgpool": "local",
    "maxpool": "gc",
    "extend": "ot",
    "truncate": "local",
}

OT = "iknp"  # the OT extension
