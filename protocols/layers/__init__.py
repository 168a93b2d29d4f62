"""One protocol per (operation, name) for the layers of the program."""

from __future__ import annotations

from importlib import import_module

_MODULES = ("conv_coefficient", "relu_gc", "square_mt", "pool", "resize", "readout")


def load() -> None:
    """Import every module that registers layer protocols; once is enough, again does nothing."""
    for name in _MODULES:
        import_module(f"{__name__}.{name}")
