"""The vote in lockstep: what is opened is the clear rule's mask, and it costs what it states."""

from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bunet.models.volumes import ensemble
from bunet.protocols.cost import Cost
from bunet.protocols.counting import Traffic, counted
from bunet.protocols.lockstep import lockstep
from bunet.protocols.steps import Send
from bunet.protocols.vote import election
from bunet.protocols.vote.election import Election
from tests.protocols.contexts import contexts, tapped
from tests.protocols.vote.test_gates import agrees, shared


def in_the_clear(facts: Election, ballots: np.ndarray) -> np.ndarray:
    """The published rule on opened ballots: uint8 (Z, H, W)."""
    mask, start = np.ones(facts.shape, bool), 0
    for size in facts.groups:
        votes = np.sum(ballots[start : start + size], axis=0)
        elected = ensemble.elected(votes, size)
        mask &= ensemble.maximum_filter(elected) if facts.filtered else elected
        start += size
    return mask.astype(np.uint8)


def stated(facts: Election, ot: str = "iknp") -> Cost:
    """Cost of the vote: every step starts where the one before it has ended at both parties, so rounds add up."""
    return Cost().then(*(step.cost for step in election.steps(facts, ot)))


def cast(facts: Election, ballots: np.ndarray, ot: str = "iknp") -> tuple[np.ndarray, Traffic]:
    """(mask, traffic) of the secure vote; Bob has learnt nothing."""
    pairs = [shared(ballot) for ballot in ballots]
    a, b = contexts(ot=ot)
    mask, nothing, traffic = counted(
        election.vote(a, facts, [mine for mine, _ in pairs]), election.vote(b, facts, [theirs for _, theirs in pairs])
    )
    assert nothing is None
    return mask, traffic


@pytest.mark.parametrize("groups", [*product((1, 2, 3)), *product((1, 2, 3), (1, 2, 3))])
def test_every_pattern_of_ballots_of_one_voxel(groups: tuple[int, ...]) -> None:
    """Voxels so far apart that the filter never joins them: one for each pattern."""
    patterns = 1 << sum(groups)
    facts = Election((3 * patterns, 1, 1), groups)
    ballots = np.zeros((sum(groups), *facts.shape), np.uint8)
    for bit in range(sum(groups)):
        ballots[bit, 1::3, 0, 0] = np.arange(patterns) >> bit & 1
    mask, traffic = cast(facts, ballots)
    np.testing.assert_array_equal(mask, in_the_clear(facts, ballots))
    assert agrees(traffic, stated(facts))


@pytest.mark.parametrize("length", range(1, 9))
@pytest.mark.parametrize("axis", range(3))
def test_every_pattern_of_a_line_through_the_filter(length: int, axis: int) -> None:
    """All 2^length lines at once, side by side along another axis of `maximum` on that axis alone."""
    lines = (np.arange(1 << length)[:, None] >> np.arange(length) & 1).astype(np.uint8)
    volume = np.moveaxis(lines[:, :, None], (0, 1), ((axis + 1) % 3, axis))
    mine, theirs = shared(volume[None])
    a, b = contexts()
    hers, his, traffic = counted(election.maximum(a, mine, axis), election.maximum(b, theirs, axis))
    padded = np.pad(lines, ((0, 0), (1, 1)))
    expected = padded[:, :-2] | padded[:, 1:-1] | padded[:, 2:]
    np.testing.assert_array_equal((hers ^ his)[0], np.moveaxis(expected[:, :, None], (0, 1), ((axis + 1) % 3, axis)))
    assert agrees(traffic, election.maximum_cost(Election(volume.shape, (1,)), axis))


@given(
    shape=st.tuples(*[st.integers(1, 9)] * 3),
    groups=st.lists(st.integers(1, 3), min_size=1, max_size=2).map(tuple),
    filtered=st.booleans(),
    ot=st.sampled_from(["iknp", "softspoken-4"]),
    density=st.floats(0, 1),
    seed=st.integers(0, 2**32 - 1),
)
@settings(max_examples=25, deadline=None)
def test_random_votes_are_the_clear_rules_and_cost_what_they_state(
    shape: tuple[int, int, int], groups: tuple[int, ...], filtered: bool, ot: str, density: float, seed: int
) -> None:
    facts = Election(shape, groups, filtered)
    ballots = (np.random.default_rng(seed).random((sum(groups), *shape)) < density).astype(np.uint8)
    mask, traffic = cast(facts, ballots, ot)
    np.testing.assert_array_equal(mask, in_the_clear(facts, ballots))
    assert agrees(traffic, stated(facts, ot))


def test_bob_sends_the_mask_under_alices_share_and_nothing_else_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is opened is opened by the last messages, which are unbiased; before them there are choices and corrections."""
    monkeypatch.setattr(election, "_OPENED", 1 << 12)
    facts = Election((16, 24, 32), (1, 1))
    ballots = np.zeros((2, *facts.shape), np.uint8)
    pairs = [shared(ballot) for ballot in ballots]
    a, b = contexts()
    sent: list[Send] = []

    mask, _ = lockstep(
        election.vote(a, facts, [mine for mine, _ in pairs]), tapped(election.vote(b, facts, [his for _, his in pairs]), sent)
    )
    assert not mask.any()
    opening = [message for message in sent if message.tag == "mask"]
    assert len(opening) == 3
    assert sent[-3:] == opening
    assert {message.tag for message in sent} == {"iknp", "and", "mask"}
    bits = np.unpackbits(np.concatenate([message.arrays[0] for message in opening]))
    assert bits.size == facts.voxels
    assert abs(int(bits.sum()) - bits.size / 2) < 5 * bits.size**0.5 / 2


@pytest.mark.parametrize(
    ("shape", "groups"),
    [((4, 4), (1,)), ((0, 4, 4), (1,)), ((4, 4, 4), ()), ((4, 4, 4), (3, 3, 3)), ((4, 4, 4), (4,)), ((4, 4, 4), (3, 0))],
)
def test_a_vote_that_is_none_is_refused(shape: Any, groups: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="a vote is on"):
        Election(shape, groups)


def test_ballots_that_do_not_fit_are_refused() -> None:
    a, _ = contexts()
    facts = Election((2, 3, 4), (2,))
    for ballots in ([np.zeros((2, 3, 4), np.uint8)], [np.zeros((2, 3, 4), np.uint8), np.zeros((2, 4, 3), np.uint8)], []):
        with pytest.raises(ValueError, match="2 ballots of uint8"):
            next(election.vote(a, facts, ballots))


@pytest.mark.parametrize("bit", [0, 1])
def test_bytes_of_every_kind_of_message_are_uniform_whatever_the_ballots(bit: int) -> None:
    """Chi-square over byte values of what each party sends, even where its shares are as far from uniform as they can be.
    375 is beyond the 99.9999th percentile of 255 degrees of freedom."""
    facts = Election((16, 32, 32), (3, 2))
    hers, his = [np.full(facts.shape, bit, np.uint8)] * 5, [np.zeros(facts.shape, np.uint8)] * 5
    a, b = contexts()
    of_alice: list[Send] = []
    of_bob: list[Send] = []
    mask, _ = lockstep(tapped(election.vote(a, facts, hers), of_alice), tapped(election.vote(b, facts, his), of_bob))
    assert (mask == bit).all()
    for sent, tags in ((of_alice, {"iknp", "and"}), (of_bob, {"iknp", "and", "mask"})):
        assert {message.tag for message in sent} == tags
        for tag in tags:
            data = np.concatenate([m.arrays[0].view(np.uint8) for m in sent if m.tag == tag])
            assert data.size >= 2048
            expected = data.size / 256
            assert ((np.bincount(data, minlength=256) - expected) ** 2 / expected).sum() < 375, tag
