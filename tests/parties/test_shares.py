"""Shares of slices on disk: whole, private, and never paired with those of another session."""

import contextlib
import stat
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Never

import numpy as np
import pytest

from bunet.models import oracle
from bunet.models.compiled import Compiled
from bunet.models.errors import BunetError, LocalError, PeerError
from bunet.models.files import private
from bunet.models.files.sealed import SealError
from bunet.net import zeromq
from bunet.parties import alice as alice_party
from bunet.parties import bob as bob_party
from bunet.parties import shares
from bunet.parties.engine.scheduler import SliceJob
from bunet.parties.input_slices import InputSlices
from bunet.parties.run_options import RunOptions
from bunet.parties.session import handshake
from bunet.parties.session.handshake import Request
from bunet.parties.session.run import Hooks
from bunet.parties.store import CompiledStore
from bunet.protocols.random import Random
from tests.parties.programs import slices, small

FIRST, SECOND = "1" * 32, "2" * 32


def bits(height: int = 5, width: int = 11) -> np.ndarray:
    return Random().bits(height * width).reshape(height, width)


def test_what_is_written_is_read_and_is_the_owners_alone(tmp_path: Path) -> None:
    share = bits()
    folder = private.make_folder(tmp_path / "shares")
    shares.write(folder, ("z", 17), FIRST, share)
    np.testing.assert_array_equal(shares.read(folder, ("z", 17), FIRST), share)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    (path,) = folder.iterdir()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert shares.held(folder) == {("z", 17): {FIRST}}


def test_only_shares_of_one_session_make_a_slice(tmp_path: Path) -> None:
    hers, his = tmp_path / "alice", tmp_path / "bob"
    for folder in (hers, his):
        folder.mkdir()
    assert shares.complete(hers, tmp_path / "nowhere") == {}
    shares.write(hers, ("z", 1), FIRST, bits())  # Bob was cut off before he wrote his
    shares.write(his, ("z", 2), FIRST, bits())  # and here Alice was
    shares.write(his, ("z", 1), SECOND, bits())
    assert shares.complete(hers, his) == {}
    shares.write(hers, ("z", 1), SECOND, bits())
    shares.write(hers, ("x", 2), FIRST, bits())
    assert shares.complete(hers, his) == {("z", 1): SECOND}
    assert shares.discard_unpaired(hers, his) == 3
    assert shares.held(hers) == shares.held(his) == {("z", 1): {SECOND}}
    assert shares.discard_unpaired(hers, his) == 0


def test_what_a_killed_process_was_writing_is_no_share_and_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(source: str, target: Path) -> Never:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("os.replace", killed)
        patch.setattr("pathlib.Path.unlink", lambda path, missing_ok=False: None)  # SIGKILL leaves no time to tidy up
        with pytest.raises(KeyboardInterrupt):
            shares.write(tmp_path, ("z", 1), FIRST, bits())
    (left,) = tmp_path.iterdir()
    assert stat.S_IMODE(left.stat().st_mode) == 0o600
    assert shares.held(tmp_path) == {}
    assert shares.discard_unpaired(tmp_path, tmp_path / "nowhere") == 1
    assert list(tmp_path.iterdir()) == []


def test_a_source_names_slices_and_sessions() -> None:
    first = shares.source({("z", 1): FIRST, ("z", 2): SECOND})
    assert first == shares.source({("z", 2): SECOND, ("z", 1): FIRST})
    assert first != shares.source({("z", 1): FIRST})
    assert first != shares.source({("z", 1): FIRST, ("z", 2): FIRST})


def test_a_share_is_never_written_over(tmp_path: Path) -> None:
    share = bits()
    shares.write(tmp_path, ("z", 1), FIRST, share)
    with pytest.raises(LocalError, match="is there already"):
        shares.write(tmp_path, ("z", 1), FIRST, bits())
    np.testing.assert_array_equal(shares.read(tmp_path, ("z", 1), FIRST), share)


@pytest.mark.parametrize(
    "damage",
    [
        lambda p: p.write_bytes(p.read_bytes()[:-1]),
        lambda p: p.write_bytes(b""),
        lambda p: p.unlink(),
        lambda p: p.rename(p.with_name(p.name.replace("z0001", "z0002"))),
    ],
)
def test_a_damaged_share_is_one_sentence(tmp_path: Path, damage: Callable[..., Any]) -> None:
    shares.write(tmp_path, ("z", 1), FIRST, bits())
    (path,) = tmp_path.iterdir()
    damage(path)
    (at,) = shares.held(tmp_path) or [("z", 1)]
    with pytest.raises(SealError, match=rf"{at[0]}{at[1]:04d}.* (is damaged or not|is not that slice's|there is no such file)"):
        shares.read(tmp_path, at, FIRST)


@pytest.mark.parametrize("wrong", [np.zeros((2, 2), np.uint32), np.zeros(4, np.uint8), np.full((2, 2), 2, np.uint8)])
def test_what_is_no_share_is_refused(tmp_path: Path, wrong: np.ndarray) -> None:
    with pytest.raises(ValueError, match="uint8"):
        shares.write(tmp_path, ("z", 1), FIRST, wrong)
    with pytest.raises(ValueError, match="no file name"):
        shares.path_of(tmp_path, ("z/..", 1), FIRST)


def pair(
    compiled: Compiled, images: np.ndarray, hers: Path, his: Path, request: Request, failed: list[Any] | None = None
) -> None:
    """One session of both parties in threads; each keeps its shares. failed: gets what ended Bob's session, if that may be."""
    failed, may_fail = [] if failed is None else failed, failed is not None
    labels = [("y", 30 + k) for k in range(len(images))]
    with zeromq.Listener("tcp://127.0.0.1:*") as listener:
        service = bob_party.Service(
            CompiledStore([compiled]),
            RunOptions(),
            Hooks(lambda event: None),
            keep=lambda terms: shares.keep_shares(his, terms.session, labels),
        )

        def serve() -> None:
            try:
                bob_party.serve(listener, service, once=True)
            except BunetError as error:
                failed.append(error)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            alice_party.run(
                lambda: zeromq.connect(listener.address),
                request,
                InputSlices(labels, lambda program, k: images[k]),
                shares.keep_shares(hers, request.session, labels),
                Hooks(lambda event: None),
            )
        finally:
            thread.join(60)
    assert may_fail or failed == []


def test_both_parties_of_a_session_keep_what_opens_to_the_label(tmp_path: Path) -> None:
    compiled = small(16, 2, readout="label-share")
    images = slices(compiled, 2)
    request = Request(images.shape[1:], 2)
    hers, his = tmp_path / "hers", tmp_path / "his"
    pair(compiled, images, hers, his, request)
    done = shares.complete(hers, his)
    assert done == {("y", 30): request.session, ("y", 31): request.session}
    for (_, index), number in done.items():
        opened = shares.read(hers, ("y", index), number) ^ shares.read(his, ("y", index), number)
        exact = oracle.run(compiled.program, compiled.weights, images[index - 30])["readout"][0]
        assert np.mean(opened == exact) > 0.9  # roundings differ between runs
    again = Request(images.shape[1:], 2)
    assert again.session != request.session
    pair(compiled, images, hers, his, again)
    assert all(len(sessions) == 2 for sessions in shares.held(hers).values())
    at = ("y", 30)
    first, second = (shares.read(hers, at, number) for number in (request.session, again.session))
    assert 0.2 < np.mean(first ^ second) < 0.8


def test_a_session_number_that_comes_again_ends_the_session(tmp_path: Path) -> None:
    compiled = small(16, 2, readout="label-share")
    images = slices(compiled, 1)
    request = Request(images.shape[1:], 1)
    pair(compiled, images, tmp_path / "a", tmp_path / "b", request)
    failed: list[Any] = []
    with contextlib.suppress(PeerError):  # Alice may have finished, and be gone, before Bob says why he ends
        pair(compiled, images, tmp_path / "another", tmp_path / "b", request, failed)
    assert [str(error).endswith("a session's number was used again") for error in failed] == [True]


def test_another_read_out_leaves_nothing_to_keep(tmp_path: Path) -> None:
    keep = shares.keep_shares(tmp_path, handshake.new_session(), [("z", 0)])
    with pytest.raises(LocalError, match="read-out is not label-share"):
        keep(SliceJob(0, "z", 0, None), None)
    assert list(tmp_path.iterdir()) == []
