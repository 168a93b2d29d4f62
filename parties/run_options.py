"""How a pair of parties runs: what a run is told that is neither its data nor its model. One record for everybody.

Jobs of local processes, requests to Bob and the settings of experiments hold it whole.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PlainSerializer, PlainValidator

from bunet.models.errors import UsageError
from bunet.models.printable import reason
from bunet.net.link import Link

MAX_IN_FLIGHT = 64
MAX_SESSIONS = 4  # of one Bob at the same time, where nobody says otherwise
MAX_CORES = 4096


def _whole_number(low: int, high: int) -> AfterValidator:
    def check(value: int) -> int:
        if not low <= value <= high:
            raise ValueError(f"must be a whole number from {low} to {high}, not {value}")
        return value

    return AfterValidator(check)


def _link(value: Any) -> Link:
    try:
        return value if isinstance(value, Link) else Link.of_description(value)
    except (UsageError, KeyError, TypeError) as error:  # of these, pydantic takes a ValueError only
        raise ValueError(f"not a link: {reason(error)}") from error


def _settings(value: Mapping[str, str]) -> Mapping[str, str]:
    if value:
        from bunet.parties.planner import check_settings  # loads the kernels: not for every `bunet --help`

        try:
            check_settings(value)
        except UsageError as error:
            raise ValueError(str(error)) from error
    return value


class RunOptions(BaseModel):
    """Checked when it is made (pydantic's ValidationError, a ValueError), and never changed.

    link: what is emulated; each party delays what it sends. in_flight: slices that interleave, 1 to MAX_IN_FLIGHT. cores:
    threads that compute, of each party. protocols: choices by operation or layer name. settings: public settings of the
    protocols by name (`planner.check_settings`), such as the OT extension under `ot`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    link: Annotated[Link, PlainValidator(_link), PlainSerializer(Link.describe)] = Link()
    in_flight: Annotated[int, _whole_number(1, MAX_IN_FLIGHT)] = 1
    cores: Annotated[int, _whole_number(1, MAX_CORES)] = 1
    protocols: Mapping[str, str] = Field(default_factory=dict)
    settings: Annotated[Mapping[str, str], AfterValidator(_settings)] = Field(default_factory=dict)

    @property
    def ot(self) -> str:
        """The OT extension of the run's sessions."""
        from bunet.protocols.ot import extension  # loads the kernels

        return extension.of(self.settings)

    def choices(self) -> dict[str, Any]:
        """What results depend on, for documents: protocols and OT extension."""
        return {"protocols": dict(self.protocols), "ot": self.ot}

    def pace(self) -> dict[str, Any]:
        """What, like the link, changes no result, for documents: slices in flight and cores."""
        return {"in_flight": self.in_flight, "cores": self.cores}
