"""Documents that keep their structure and have other values, by hypothesis: bytes changed at random seldom are documents.

They are tests of their own, and `python -m tests.fuzz` feeds each of them with atheris through `fuzz_one_input`.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fuzz import seeds
from tests.fuzz.targets import experiment, handshake, texts, vote

FREE = settings(database=None, deadline=None, max_examples=60, derandomize=True)  # `make fuzz` looks further

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(-2, 600)
    | st.floats()
    | st.text(max_size=12)
    | st.sampled_from(["lan", "iknp", "gc", "argmax", "8.4", "x", "0" * 32, "0" * 64, "relu", "loopback"])
)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4), max_leaves=8
)


def changed(document: Any) -> st.SearchStrategy[Any]:
    """A document in which any value may be another, be missing, or have company."""
    if isinstance(document, dict):
        inner = st.fixed_dictionaries({}, optional={key: changed(value) for key, value in document.items()})
        whole = st.fixed_dictionaries({key: changed(value) for key, value in document.items()})
        more = st.dictionaries(st.text(max_size=8), VALUES, max_size=2)
        return st.one_of(st.just(document), whole, inner, st.builds(lambda a, b: {**a, **b}, whole, more), VALUES)
    if isinstance(document, list) and document:
        each = st.one_of(*(changed(value) for value in document[:4]))
        return st.one_of(st.just(document), st.lists(each, max_size=2 * len(document)), VALUES)
    return st.just(document) | VALUES


def bodies(said: dict[str, bytes]) -> st.SearchStrategy[Any]:
    return st.one_of(*(changed(json.loads(body)) for body in said.values()))


@FREE
@given(bodies(seeds.handshake()))
def test_handshakes(body: Any) -> None:
    handshake(body)


@FREE
@given(changed(json.loads(seeds.small_model().program.to_json())))
def test_programs_of_a_handshake(program: Any) -> None:
    handshake({**json.loads(seeds.handshake()["accept"]), "program": json.dumps(program)})


@FREE
@given(bodies(seeds.vote()))
def test_handshakes_of_a_vote(body: Any) -> None:
    vote(body)


EXPERIMENT = {
    "name": "a",
    "title": "t",
    "weights": {"relu": "random", "hybrid": "random"},
    "volume": "$CT/a.npz",
    "truth": "b.npz",
    "label_value": "1,2",
    "axis": "z",
    "slices": 2,
    "seed": 0,
    "cores": 1,
    "verify": True,
    "grid": {
        "links": ["lan", {"preset": "wan", "rtt": "2ms", "bandwidth": "1Mbit", "name": "slow"}],
        "protocols": [{"relu": "gc"}],
        "ot": ["iknp"],
        "formats": ["8.4"],
        "in_flight": [1],
        "sizes": [32],
        "features": [4],
        "activations": ["relu"],
        "pools": ["avg"],
    },
}


@FREE
@given(changed(EXPERIMENT))
def test_experiments(document: Any) -> None:
    experiment(yaml.safe_dump(document))
    experiment(yaml.safe_dump(document, default_flow_style=True, allow_unicode=True))


def test_the_documents_that_are_changed_are_good_ones() -> None:
    assert experiment(yaml.safe_dump(EXPERIMENT))
    for said, of_body in ((seeds.handshake(), handshake), (seeds.vote(), vote)):
        assert of_body(json.loads(said["accept"]))["ask"]
        assert of_body(json.loads(said["open"]))["answer"]


@FREE
@given(
    st.one_of(
        st.from_regex(r"\A\s?[-+]?\d{0,5}[x:X.,]?[-+]?\d{0,5}\s?\Z"),
        st.from_regex(r"\A[-+]?\d{0,6}[.e]?\d{0,4}\s?([kMGT]?bit(/s)?|[mun]?s)?(,[-+]?\d{0,4}[.e]?\d{0,3}[mun]?s)?\Z"),
        st.from_regex(r"\A(tcp://)?(\[[0-9:.]{0,20}\]|[0-9.]{0,16}|\*)(:(\d{0,6}|\*))?\Z"),
        st.from_regex(r"\A[a-z0-9.]{0,12}=?[a-z0-9-]{0,12}\Z"),
    )
)
def test_sizes_slices_rates_and_addresses(text: str) -> None:
    texts(text)


def structured() -> dict[str, Callable[[bytes], object]]:
    """The tests above as functions of the bytes that their choices are drawn from."""
    tests: dict[str, Any] = {
        "handshake-values": test_handshakes,
        "program-values": test_programs_of_a_handshake,
        "vote-values": test_handshakes_of_a_vote,
        "experiment-values": test_experiments,
        "texts-values": test_sizes_slices_rates_and_addresses,
    }
    return {name: test.hypothesis.fuzz_one_input for name, test in tests.items()}
