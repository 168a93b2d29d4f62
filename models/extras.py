"""How the packages of an extra are installed, in words: BUNET is on no index, so it is done in its source folder."""

from __future__ import annotations


def how(extra: str) -> str:
    """What a sentence says where a package of an extra of setup.cfg is absent, such as `models`."""
    return f"`python -m pip install '.[{extra}]'` in BUNET's source folder installs it"
