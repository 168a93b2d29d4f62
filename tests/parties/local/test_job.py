"""What a party's process is told, and what it is not."""

import json
from pathlib import Path

from bunet.models.volumes.reading import VolumeReading
from bunet.models.volumes.slicing.field_of_view import Crop
from bunet.net.link import Link
from bunet.parties.events import ROLES
from bunet.parties.local.inputs import VolumeSlices
from bunet.parties.local.job import PairJob
from bunet.parties.run_options import RunOptions
from bunet.parties.vote.job import VoteJob

SHARES = {role: Path("/runs") / role for role in ROLES}


def test_a_job_is_read_as_it_was_written() -> None:
    crop = Crop((1, 33), (2, 50), (0.7, 1.1))
    inputs = VolumeSlices(volume=Path("/ct.nii.gz"), size=(32, 48), reading=VolumeReading("2", "hu"), crop=crop)
    run = RunOptions(link=Link(1e9, 1e-3), in_flight=2, settings={"garbler": "bob"})
    job = PairJob(folder=Path("/runs"), run=run, model=Path("/m"), inputs=inputs, labels=(("z", 3), ("z", 9)), record=1)
    assert PairJob.from_json(job.to_json("alice")) == job
    plain = job.model_copy(update={"inputs": Path("/inputs.npy"), "results": Path("/kept")})
    assert PairJob.from_json(plain.to_json("bob")) == plain
    vote = VoteJob(folder=Path("/runs"), shape=(2, 3, 4), ballots=("lung-x",), filtered=False)
    assert VoteJob.from_json(vote.to_json("bob")) == vote
    assert vote.run.ot == "softspoken-4"


def test_a_vote_has_its_own_extension_unless_it_is_told_one() -> None:
    def ot(run: RunOptions) -> str:
        vote = VoteJob(folder=Path("/runs"), shape=(2, 3, 4), ballots=("lung-x",), run=run)
        assert (vote.run.link, vote.run.settings.get("garbler")) == (run.link, run.settings.get("garbler"))
        return VoteJob.from_json(vote.to_json("bob")).run.ot

    assert ot(RunOptions(link=Link(1e9, 1e-3), settings={"garbler": "bob"})) == "softspoken-4"
    assert ot(RunOptions(settings={"ot": "iknp"})) == "iknp"


def test_no_party_is_told_where_the_others_shares_are() -> None:
    job = VoteJob(folder=Path("/runs"), shares=SHARES, shape=(2, 3, 4), ballots=("lung-x",))
    for role, other in (ROLES, ROLES[::-1]):
        assert json.loads(job.to_json(role))["shares"] == {role: f"/runs/{role}"}
        assert f"/runs/{other}" not in job.to_json(role)
