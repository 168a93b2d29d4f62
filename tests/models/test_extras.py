"""Who lacks a package is told an extra that setup.cfg has, and a way that works: BUNET is on no index."""

import configparser
import re
from pathlib import Path

from bunet.models import extras

ROOT = Path(__file__).resolve().parents[2]


def test_the_sentence() -> None:
    assert extras.how("models") == "`python -m pip install '.[models]'` in BUNET's source folder installs it"


def test_every_extra_that_is_named_exists() -> None:
    known = configparser.ConfigParser()
    known.read(ROOT / "setup.cfg")
    floors = ("experiments", "parties", "protocols", "net", "models")
    source = "\n".join(path.read_text(encoding="utf-8") for floor in floors for path in (ROOT / floor).rglob("*.py"))
    named = set(re.findall(r"extras\.how\(['\"](\w+)", source))
    assert named == {"models", "plots", "clinical", "paillier"}
    assert named <= set(known["options.extras_require"])
    assert "bunet[" not in source, "no index has it"
