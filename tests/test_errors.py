"""Every exception class that the five packages define is one of the three ways to fail."""

from __future__ import annotations

import importlib
import pkgutil
from types import ModuleType

import bunet.experiments
import bunet.models
import bunet.net
import bunet.parties
import bunet.protocols
from bunet.models.errors import BunetError, LocalError, PeerError, UsageError

PACKAGES = (bunet.models, bunet.net, bunet.protocols, bunet.parties, bunet.experiments)
WAYS = (UsageError, LocalError, PeerError)
EXTRAS = {"torch", "matplotlib", "nibabel", "pydicom", "highdicom", "phe"}  # without which a module may not be imported


def modules() -> list[ModuleType]:
    found = []
    for package in PACKAGES:
        for info in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            try:
                found.append(importlib.import_module(info.name))
            except ModuleNotFoundError as error:
                if error.name not in EXTRAS:
                    raise
    return found


def test_every_exception_is_the_users_ours_or_the_peers() -> None:
    ours = {
        value
        for module in modules()
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, BaseException) and value.__module__ == module.__name__
    }
    assert len(ours) > 20
    wrong = {kind for kind in ours - {BunetError} if sum(issubclass(kind, way) for way in WAYS) != 1}
    assert not wrong
    builtin = (ValueError, LookupError, OSError, RuntimeError, ImportError, TypeError, ArithmeticError)
    assert not {kind for kind in ours if issubclass(kind, builtin)}, "nobody catches one of ours by a class of Python's"


def test_there_are_three_and_each_says_its_status() -> None:
    assert set(BunetError.__subclasses__()) == set(WAYS)
    assert {way: way.exit_status for way in WAYS} == {UsageError: 2, LocalError: 1, PeerError: 1}
    for module in modules():
        for value in vars(module).values():
            if isinstance(value, type) and issubclass(value, WAYS):
                assert "exit_status" not in vars(value) or value in WAYS, f"{value} has a status of its own"
