"""Where the clinical weights lie: in `bunet_clinical`, a package of its own, because they are not under Apache-2.0."""

from __future__ import annotations

import re
from pathlib import Path

from bunet.models.errors import UsageError

NAME = re.compile(r"(lung|infection)-[xyz](-hybrid)?")  # what its files are called, but for the ending
LICENCE = "CC BY-NC-SA 4.0, no commercial use"
HOW = (
    "`python -m pip install ./clinical` in BUNET's source folder installs them, "
    f"or the wheel `bunet_clinical` beside BUNET's own ({LICENCE})"
)


def installed_folder() -> Path | None:
    """The folder of the clinical weights, None where `bunet_clinical` is not installed."""
    try:
        import bunet_clinical
    except ModuleNotFoundError:
        return None
    return bunet_clinical.FOLDER


def needed_folder(asked: str) -> Path:
    """The folder of the clinical weights; UsageError in one sentence where they are not installed.

    asked: the option and the value that need them.
    """
    folder = installed_folder()
    if folder is None:
        raise UsageError(f"{asked}: the clinical weights are not installed; {HOW}")
    return folder
