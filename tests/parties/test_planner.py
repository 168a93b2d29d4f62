"""The public settings of a run are those that the protocols register."""

from dataclasses import replace

import pytest

from bunet.models.errors import UsageError
from bunet.parties.planner import check_settings
from bunet.protocols import registry


def test_a_protocol_may_have_a_setting_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    protocol = replace(registry.get("square", "mt"), name="toy", settings={"order": ("rows", "columns")})
    with pytest.raises(UsageError, match="there is no setting 'order'; known are garbler, ot"):
        check_settings({"order": "rows"})
    monkeypatch.setattr(registry, "_PROTOCOLS", dict(registry._PROTOCOLS))
    registry.register(protocol)
    check_settings({"order": "columns", "garbler": "bob"})
    with pytest.raises(UsageError, match="setting order=diagonals is not one of rows, columns"):
        check_settings({"order": "diagonals"})
